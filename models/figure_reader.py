"""Reads a drawn person off a picture: 18 keypoints and a human-parsing map. A part of the bundled model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.figure.keypoints import FRAME, Keypoints
from twinset.figure.labels import LABELS
from twinset.models.face_finder import warp

KEYPOINTS = 18
STRIDE = 4
"""Pixels per cell of the keypoint heat maps; the parsing map has half of that."""
LOOKS, CLOSER, ROOM, FEWEST = 3, 1.25, 1.15, 40
"""Looks at a picture at most; how much closer another one must be; the frame's sides by the person's; pixels of one."""


@dataclass(frozen=True)
class Figure:
    """A person read off a picture.

    Attributes:
        keypoints: float32 (18, 3) in OpenPose order: pixels of the picture, and the probability that the keypoint is
            seen; 0, 0, 0 below the threshold.
        labels: uint8 (H, W), ATR labels.
    """

    keypoints: Keypoints
    labels: np.ndarray

    @property
    def found(self) -> bool:
        """Whether there is a person at all: at least three keypoints."""
        return int((self.keypoints[:, 2] > 0).sum()) >= 3


class FigureReader(ModelMixin, ConfigMixin):
    """A small pyramid network (Lin et al. 2017) with heat maps at a quarter and labels at half the resolution."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (12, 24, 48, 72), features: int = 32):
        super().__init__()
        self.finest = _conv(3, widths[0], 2)
        self.quarter = nn.Sequential(_conv(widths[0], widths[1], 2), _conv(widths[1], widths[1]))
        self.eighth = nn.Sequential(_conv(widths[1], widths[2], 2), _conv(widths[2], widths[2]))
        self.deep = nn.Sequential(
            _conv(widths[2], widths[3], 2), *(_conv(widths[3], widths[3], dilation=reach) for reach in (1, 2, 4))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, features, 1) for width in widths[1:])
        self.join = nn.ModuleList([_conv(features, features), _conv(features, features)])
        self.heat = nn.Conv2d(features, KEYPOINTS, 1)
        self.labels = nn.Sequential(_conv(features + widths[0], 24), nn.Conv2d(24, len(LABELS), 1))
        nn.init.constant_(self.heat.bias, -4.0)  # type: ignore[arg-type]  # keypoints are rare

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the maps.

        Args:
            pictures: float (B, 3, H, W) in [-1, 1], H and W divisible by 16.

        Returns:
            Keypoint logits (B, 18, H / 4, W / 4) and label logits (B, 18, H / 2, W / 2).
        """
        fine = self.finest(pictures)
        quarter = self.quarter(fine)
        eighth = self.eighth(quarter)
        joined = self.join[0](_twice(self.lateral[2](self.deep(eighth))) + self.lateral[1](eighth))
        joined = self.join[1](_twice(joined) + self.lateral[0](quarter))
        return self.heat(joined), self.labels(torch.cat([_twice(joined), fine], 1))

    @torch.no_grad()
    def read(self, picture: np.ndarray, threshold: float = 0.3) -> Figure:
        """Reads the person of a picture: as a whole, then closer where the person is small in it.

        Args:
            picture: uint8 (H, W, 3) of any size.
            threshold: probability below which a keypoint counts as unseen.
        """
        size = np.array(picture.shape[1::-1])
        scale = float((np.array(FRAME) / size).min())
        shift = (np.array(FRAME) - scale * size) / 2
        for _ in range(LOOKS - 1):
            closer = _closer(self._look(picture, scale, shift, threshold).labels, scale)
            if closer is None:
                break
            scale, shift = closer
        return self._look(picture, scale, shift, threshold)

    def _look(self, picture: np.ndarray, scale: float, shift: np.ndarray, threshold: float) -> Figure:
        """Reads what the frame of 192×256 shows of the picture scaled and shifted."""
        framed = warp(picture, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), FRAME)
        heat, labels = self(self._tensor(framed))
        points = peaks(heat, threshold)[0].cpu().numpy()
        points[:, :2] = (points[:, :2] - shift) / scale
        points[points[:, 2] == 0] = 0
        return Figure(points.astype(np.float32), _unframed(labels.float(), scale, shift, picture.shape[:2]))

    def _tensor(self, picture: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(picture).to(self.device).permute(2, 0, 1)[None]
        return tensor.to(self.dtype) / 127.5 - 1


def peaks(heat: Tensor, threshold: float) -> Tensor:
    """Keypoints (B, K, 3) from logits (B, K, h, w): the centre of mass around the highest cell, and its probability."""
    chance = heat.float().sigmoid()
    height, width = chance.shape[2:]
    highest, at = chance.flatten(2).max(dim=2)
    row, column = at // width, at % width
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ys, xs = ys.to(heat.device), xs.to(heat.device)
    near = ((ys - row[..., None, None]).abs() <= 2) & ((xs - column[..., None, None]).abs() <= 2)
    weight = chance.square() * near
    total = weight.sum((2, 3)).clamp(min=1e-9)
    x, y = (((weight * axis).sum((2, 3)) / total + 0.5) * STRIDE for axis in (xs, ys))
    return torch.stack([x, y, torch.where(highest > threshold, highest, 0.0)], dim=2)


def _closer(labels: np.ndarray, scale: float) -> tuple[float, np.ndarray] | None:
    """Scale and shift at which the person found fills the frame; None where that is nearly so, or nobody is found."""
    rows, columns = np.nonzero(labels)
    if len(rows) < FEWEST:
        return None
    low, high = np.percentile(np.stack([columns, rows]), [1, 99], axis=1)
    closer = float((np.array(FRAME) / (ROOM * (high - low + 1))).min())
    return None if closer < CLOSER * scale else (closer, np.array(FRAME) / 2 - closer * (low + high) / 2)


def _unframed(logits: Tensor, scale: float, shift: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Label logits (1, 18, h, w) of the frame, smoothly at the picture's pixels: uint8 (H, W), 0 outside the frame."""
    ys, xs = (torch.arange(side, device=logits.device) + 0.5 for side in size)
    x = (xs * scale + float(shift[0])) / FRAME[0] * 2 - 1
    y = (ys * scale + float(shift[1])) / FRAME[1] * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    sampled = F.grid_sample(logits, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (grid[0].abs() <= 1).all(-1)
    return (sampled[0].argmax(0) * inside).to(torch.uint8).cpu().numpy()


def _twice(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear")


def _conv(before: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(width),
        nn.SiLU(inplace=True),
    )

"""The networks that judge results. They never take part in making a picture.

Each differs in architecture from the network that conditions the model, and is trained on other people (split
"judge") with other seeds, so that a result that fools one does not fool the other.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.figure.labels import FACE, LABELS
from twinset.models import figure_reader

#: Regions of the parsing map that attribute heads read: background, hair, face, upper, lower, shoes.
REGIONS: tuple[tuple[int, ...], ...] = ((0,), (2,), (11,), (4, 7), (5, 6), (9, 10))
KEYPOINTS = 18
#: Pixels of a picture per cell of PictureJudge's maps.
STRIDE = figure_reader.STRIDE
#: Side of PictureJudge's close-up of the face, px.
CLOSE_UP = 64
#: Side of a garment crop, px.
GARMENT_SIDE = 96


class FaceJudge(ModelMixin, ConfigMixin):
    """A plain convolutional network without short cuts, margins or learnt pooling: every cell goes into the head."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (24, 40, 80, 128), squeezed: int = 48, size: int = 128):
        super().__init__()
        layers: list[nn.Module] = []
        for k, (before, width) in enumerate(zip((3, *widths), widths, strict=False)):
            layers += [_conv(before, width, 2)] + ([_conv(width, width)] if k > 1 else [])
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], squeezed, 1))
        cells = (112 // 2 ** len(widths)) ** 2
        self.head = nn.Sequential(nn.LayerNorm(squeezed * cells), nn.Linear(squeezed * cells, size))

    def forward(self, crops: Tensor) -> Tensor:
        """Aligned crops (B, 3, 112, 112) in [-1, 1] → embeddings (B, 128), not normalised."""
        return self.head(self.body(crops).flatten(1))


class PictureJudge(ModelMixin, ConfigMixin):
    """Reads keypoints, parsing map and attributes off a picture of 192×256.

    Attribute heads see the mean feature of every region that the network itself parses, and of the whole, and a
    close-up of the face where it parses one: a mouth is a few pixels of a whole picture.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(self, classes: dict[str, int], widths: tuple[int, ...] = (16, 32, 64, 112), features: int = 48):
        super().__init__()
        self.fine = nn.Sequential(_conv(3, widths[0], 2), _conv(widths[0], widths[1], 2), _conv(widths[1], widths[1]))
        self.middle = nn.Sequential(_conv(widths[1], widths[2], 2), _conv(widths[2], widths[2]))
        self.coarse = nn.Sequential(
            _conv(widths[2], widths[3], 2), _conv(widths[3], widths[3]), _conv(widths[3], widths[3])
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, features, 1) for width in widths[1:])
        self.join = nn.Sequential(_conv(features, features), _conv(features, features))
        self.maps = nn.Conv2d(features, KEYPOINTS + len(LABELS), 1)
        with torch.no_grad():
            self.maps.bias[:KEYPOINTS] = -4.0  # type: ignore[index]
        self.close = nn.Sequential(_conv(3, 24, 2), _conv(24, 48, 2), _conv(48, 48), _conv(48, 64, 2), _conv(64, 24))
        cells = (CLOSE_UP // 8) ** 2
        self.mien = nn.Sequential(nn.LayerNorm(24 * cells), nn.Linear(24 * cells, 96), nn.SiLU())
        read = len(REGIONS) * (features + 3) + widths[3] + 96
        self.hidden = nn.Sequential(nn.LayerNorm(read), nn.Linear(read, 256), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(256, count) for name, count in classes.items()})

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Pictures (B, 3, 256, 192) in [-1, 1] → keypoint logits (B, 18, 64, 48), label logits, attribute logits."""
        heat, parsing, state = self.read(pictures)
        return heat, parsing, {name: head(state) for name, head in self.heads.items()}

    def read(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, 256, 192) → keypoint logits, label logits, and (B, 256) from which attributes are read."""
        fine = self.fine(pictures)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        joined = F.interpolate(self.lateral[2](coarse), scale_factor=2.0) + self.lateral[1](middle)
        joined = self.join(F.interpolate(joined, scale_factor=2.0) + self.lateral[0](fine))
        heat, parsing = self.maps(joined).split([KEYPOINTS, len(LABELS)], dim=1)
        colours = F.avg_pool2d(pictures, STRIDE).to(joined.dtype)
        probabilities = parsing.detach().float().softmax(1)
        means = _region_means(torch.cat([joined, colours], 1), probabilities)
        mien = self.mien(self.close(close_up(pictures, probabilities[:, FACE])).flatten(1))
        return heat, parsing, self.hidden(torch.cat([means, coarse.mean((2, 3)), mien], dim=1))


class GarmentJudge(ModelMixin, ConfigMixin):
    """Embeds a garment, worn or flat, cut out on white; the same garment is near itself, whatever the pose."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, classes: dict[str, int], widths: tuple[int, ...] = (24, 48, 96, 144), size: int = 128):
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            layers += [_conv(before, width, 2)] + ([_conv(width, width)] if before > 3 else [])
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], size)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.heads = nn.ModuleDict({name: nn.Linear(2 * widths[-1], count) for name, count in classes.items()})

    def forward(self, crops: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Crops (B, 3, 96, 96) in [-1, 1] → unit embeddings (B, 128), logits of kind, colour, pattern and logo."""
        maps = self.body(crops)
        state = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)
        return F.normalize(self.head(state).float(), dim=1), {name: head(state) for name, head in self.heads.items()}


def garment_crop(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cuts a garment out on white, as large as it fits.

    Args:
        picture: uint8 (H, W, 3).
        mask: bool (H, W), where the garment is; everything where it is empty.

    Returns:
        uint8 (96, 96, 3).
    """
    mask = mask if mask.any() else np.ones_like(mask)
    (ys, xs), white = np.nonzero(mask), np.full_like(picture, 255)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    cut = Image.fromarray(np.where(mask[..., None], picture, white)[top:bottom, left:right])
    scale = GARMENT_SIDE / max(cut.size)
    size = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    canvas = Image.new("RGB", (GARMENT_SIDE, GARMENT_SIDE), "white")
    canvas.paste(
        cut.resize(size, Image.Resampling.BILINEAR), ((GARMENT_SIDE - size[0]) // 2, (GARMENT_SIDE - size[1]) // 2)
    )
    return np.asarray(canvas)


def flat_mask(flat: np.ndarray) -> np.ndarray:
    """Where a flat picture on white shows the garment: bool (H, W)."""
    return np.any(flat < 250, axis=-1)


def heatmap_peaks(heat: Tensor, threshold: float = 0.3) -> Tensor:
    """Keypoints from their heat maps.

    Args:
        heat: logits (B, K, h, w).
        threshold: Probability below which a keypoint is not visible.

    Returns:
        float (B, K, 3): x, y in pixels of the picture, and 1 or 0.
    """
    found = figure_reader.peaks(heat, threshold)
    return torch.cat([found[..., :2], (found[..., 2:] > 0).float()], dim=2)


def close_up(pictures: Tensor, face: Tensor) -> Tensor:
    """The square around the face, enlarged.

    Args:
        pictures: (B, 3, H, W).
        face: float (B, h, w), where the face is, on any grid over the picture.

    Returns:
        (B, 3, 64, 64): 1.3 times as far to each side of the face's centre as a disc of its spread reaches.
    """
    height, width = pictures.shape[2:]
    ys = torch.linspace(-1, 1, face.shape[1], device=face.device)[None, :, None]
    xs = torch.linspace(-1, 1, face.shape[2], device=face.device)[None, None]
    weights = face / (face.sum((1, 2), keepdim=True) + 1e-6)
    x, y = (weights * xs).sum((1, 2)), (weights * ys).sum((1, 2))
    spread = (weights * (ys - y[:, None, None]).square()).sum((1, 2)).sqrt()  # of a disc: half its radius
    side = (2 * 1.3 * spread).clamp(0.02, 1.0)
    zero = torch.zeros_like(x)
    rows = [torch.stack([side * height / width, zero, x], 1), torch.stack([zero, side, y], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [len(pictures), 3, CLOSE_UP, CLOSE_UP], align_corners=False)
    return F.grid_sample(pictures.float(), grid, align_corners=False).to(pictures.dtype)


def _region_means(features: Tensor, parsing: Tensor) -> Tensor:
    """Features (B, C, h, w) averaged over REGIONS of label probabilities (B, 18, h, w): (B, 6 · C)."""
    weights = torch.stack([parsing[:, list(labels)].sum(1) for labels in REGIONS], dim=1).to(features.dtype)
    means = torch.einsum("brhw,bchw->brc", weights, features)
    return (means / (weights.sum((2, 3))[..., None] + 1.0)).flatten(1)


def _conv(before: int, width: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.SiLU(inplace=True))

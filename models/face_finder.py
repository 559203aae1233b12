"""Finds faces in pictures and aligns them: ordinary photographs → crops that the face encoder understands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

#: ArcFace's five points in a 112×112 crop, px: eye at the left of the picture, other eye, nose, mouth corners.
#: Source: insightface `face_align.arcface_dst`.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float32
)
#: Size of a face in this module: half the length of the eye line plus the distance from eyes to mouth, px.
CROP = 112
#: Side of the window in which a face is measured closely, and the size of a face in it, px.
WINDOW, WINDOW_FACE = 128, 40.0
STRIDE = 4


@dataclass(frozen=True)
class Face:
    """A face found.

    Attributes:
        landmarks: (5, 2) in pixels of the picture, in the template's order.
        score: 0 to 1.
        box: (4,) left, top, right, bottom in pixels, where the detector gives one.
    """

    landmarks: np.ndarray
    score: float
    box: np.ndarray | None = None


class FaceFinder(ModelMixin, ConfigMixin):
    """Heat maps of face centres and five landmarks, in the manner of CenterNet (Zhou et al., 2019).

    A picture is looked at twice by the same network: whole, to see where faces are and how large; then each face
    in a window of its own at one scale, so that landmarks are equally fine for near and far faces.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (16, 24, 48, 80), longest: int = 256):
        super().__init__()
        self.stem = nn.Sequential(_conv(3, widths[0], 2), _conv(widths[0], widths[1], 2))  # stride 4
        self.middle = nn.Sequential(_conv(widths[1], widths[2], 2), _conv(widths[2], widths[2]))  # stride 8
        self.deep = nn.Sequential(
            _conv(widths[2], widths[3], 2), _conv(widths[3], widths[3]), _conv(widths[3], widths[3], dilation=2)
        )  # stride 16
        self.from_deep = nn.Conv2d(widths[3], widths[2], 1)
        self.from_middle = nn.Conv2d(widths[2], widths[1], 1)
        self.join = _conv(widths[1], 32)
        self.head = nn.Conv2d(32, 7, 1)
        with torch.no_grad():
            self.head.bias[:6] = -4.0  # type: ignore[index]  # faces are rare: start from 2 % (focal loss, Lin et al. 2017)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the maps.

        Args:
            pictures: float (B, 3, H, W) in [-1, 1], H and W divisible by 16.

        Returns:
            heat: logits (B, 6, H / 4, W / 4): face centre, then the five landmarks.
            size: (B, 1, H / 4, W / 4), natural logarithm of `face_size` / `WINDOW_FACE` of a face centred there.
        """
        fine = self.stem(pictures)
        middle = self.middle(fine)
        middle = middle + F.interpolate(self.from_deep(self.deep(middle)), scale_factor=2.0, mode="nearest")
        fine = fine + F.interpolate(self.from_middle(middle), scale_factor=2.0, mode="nearest")
        maps = self.head(self.join(fine))
        return maps[:, :6], maps[:, 6:]

    @torch.no_grad()
    def find(self, picture: np.ndarray, threshold: float = 0.4, most: int = 8) -> list[Face]:
        """Finds the faces of a picture, the largest first.

        Args:
            picture: uint8 (H, W, 3), any size.
            threshold: Score above which something is a face.
            most: Largest number of faces looked at closely.

        Returns:
            Faces; an empty list where there is none.

        Raises:
            ValueError: The picture is not uint8 (H, W, 3).
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"picture is {picture.dtype} {picture.shape}; expected uint8 (height, width, 3)")
        scale = self.config["longest"] / max(picture.shape[:2])
        height, width = (_to_multiple(side * scale, 16) for side in picture.shape[:2])
        whole = warp(picture, np.array([[scale, 0, 0], [0, scale, 0]]), (width, height))
        heat, size = self(self._tensor(whole))
        found = []
        for x, y in _peaks(heat[0, 0], threshold, most):
            face = WINDOW_FACE * float(size[0, 0, y, x].exp()) / scale
            centre = (np.array([x, y]) + 0.5) * STRIDE / scale
            found.append(self._look_closely(picture, centre, face))
        return sorted((face for face in found if face.score >= threshold), key=lambda f: -face_size(f.landmarks))

    def _look_closely(self, picture: np.ndarray, centre: np.ndarray, size: float) -> Face:
        zoom = WINDOW_FACE / size
        offset = WINDOW / 2 - zoom * centre
        window = warp(picture, np.array([[zoom, 0, offset[0]], [0, zoom, offset[1]]]), (WINDOW, WINDOW))
        heat, _ = self(self._tensor(window))
        landmarks = np.array([_peak_position(channel) for channel in heat[0, 1:]])
        middle = WINDOW // STRIDE // 2
        score = float(heat[0, 0, middle - 3 : middle + 3, middle - 3 : middle + 3].max().sigmoid())
        return Face(((landmarks - offset) / zoom).astype(np.float32), score)

    def _tensor(self, picture: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(picture).to(self.device).permute(2, 0, 1)[None]
        return tensor.to(self.dtype) / 127.5 - 1


def face_size(landmarks: np.ndarray) -> float:
    """Size of a face, px: mean of the eye distance and the distance from the eyes' to the mouth's middle.

    In ArcFace's template it is 38.
    """
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    return float(np.linalg.norm(landmarks[1] - landmarks[0]) + np.linalg.norm(mouth - eyes)) / 2


def face_centre(landmarks: np.ndarray) -> np.ndarray:
    """Centre of a face (2,), px: halfway between the middle of the eyes and the middle of the mouth."""
    return (landmarks[:2].mean(0) + landmarks[3:].mean(0)) / 2


def align(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cuts a face out so that its landmarks lie on ArcFace's template.

    Args:
        picture: uint8 (H, W, 3).
        landmarks: (5, 2) px in the template's order.

    Returns:
        uint8 (112, 112, 3); outside the picture its border is repeated.
    """
    return warp(picture, similarity_transform(landmarks, TEMPLATE), (CROP, CROP))


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that bring points closest to others in the least-squares sense.

    With x' = a·x − b·y + c and y' = b·x + a·y + d the problem is linear in (a, b, c, d); mirror images are
    excluded by the form itself (the same minimum as Umeyama, PAMI 1991, without its reflection case).

    Args:
        source: (N, 2) points.
        target: (N, 2) points.

    Returns:
        float64 (2, 3), applied as ``matrix @ (x, y, 1)``.

    Raises:
        ValueError: All source points coincide.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    if np.ptp(source, axis=0).max() == 0:
        raise ValueError(f"all points are {source[0].tolist()}: a similarity needs two different ones")
    x, y = source.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, c, d = np.linalg.lstsq(rows, np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


def warp(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps a picture by `matrix` (2, 3) into (width, height); smooths where it shrinks, repeats the border.

    Coordinates are continuous, as in SVG and PIL: the first pixel covers 0 to 1.
    """
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    corners = (back @ np.array([(x, y, 1) for x in (0, size[0]) for y in (0, size[1])]).T)[:2]
    (left, top), (right, bottom) = np.floor(corners.min(1)).astype(int) - 2, np.ceil(corners.max(1)).astype(int) + 2
    rows = np.clip(np.arange(top, bottom), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, right), 0, picture.shape[1] - 1)
    image = Image.fromarray(picture[rows][:, columns])
    back = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ back
    shrink = np.sqrt(np.linalg.det(back[:2, :2]))
    if shrink > 1.5:  # average over about the area of a target pixel, else small faces alias
        reduced = max(1, round(image.width / shrink)), max(1, round(image.height / shrink))
        back = np.diag([reduced[0] / image.width, reduced[1] / image.height, 1.0]) @ back
        image = image.resize(reduced, Image.Resampling.BOX)
    coefficients = tuple(back[:2].ravel())
    return np.array(image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def _peaks(logits: Tensor, threshold: float, most: int) -> list[tuple[int, int]]:
    """Cells (x, y) that exceed the threshold and their 5×5 neighbours, strongest first."""
    heat = logits.float().sigmoid()
    highest = F.max_pool2d(heat[None], 5, stride=1, padding=2)[0]
    ys, xs = torch.nonzero((heat == highest) & (heat >= threshold), as_tuple=True)
    order = heat[ys, xs].argsort(descending=True)[:most]
    return [(int(xs[k]), int(ys[k])) for k in order]


def _peak_position(logits: Tensor) -> tuple[float, float]:
    """Centre of mass of a heat map around its highest cell, px of the network's input."""
    heat = logits.float().sigmoid()
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    ys, xs = (torch.arange(max(0, at - 2), min(n, at + 3)) for at, n in ((row, heat.shape[0]), (column, heat.shape[1])))
    near = heat[ys][:, xs].cpu() ** 2
    near = near / near.sum()
    x, y = (near.sum(0) * xs).sum(), (near.sum(1) * ys).sum()
    return (float(x) + 0.5) * STRIDE, (float(y) + 0.5) * STRIDE


def _to_multiple(length: float, of: int) -> int:
    return max(of, round(length / of) * of)


def _conv(before: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(width),
        nn.SiLU(inplace=True),
    )

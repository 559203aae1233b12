"""Aspect-ratio buckets: pictures of like shape share a batch, so that little is cut off (NovelAI, 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

Size = tuple[int, int]
"""(width, height), px."""
LONGEST = 2.0
"""Longest side of a bucket by its shortest."""


def bucket_sizes(resolution: int, step: int) -> list[Size]:
    """All sizes of about resolution² pixels, sides multiples of `step`, at most twice as long as wide.

    Args:
        resolution: side of the square bucket, px.
        step: multiple of the sides, px.
    """
    area, sizes = resolution * resolution, set()
    first, last = math.floor(resolution / math.sqrt(LONGEST) / step), math.ceil(resolution * math.sqrt(LONGEST) / step)
    for columns in range(max(1, first), last + 1):
        width = columns * step
        height = area // width // step * step
        if height and max(width, height) <= LONGEST * min(width, height):
            sizes |= {(width, height), (height, width)}
    return sorted(sizes) or [(step, step)]


@dataclass(frozen=True)
class BucketRule:
    """Which bucket a picture goes to; names and meanings of sd-scripts' data sets stand in brackets.

    Attributes:
        size: (width, height) of the bucket that others have the area of (`resolution`).
        step: multiple of the sides, px (`bucket_reso_steps`).
        several: whether there are others at all (`enable_bucket`).
        shortest, longest: limits of a side, px (`min_bucket_reso`, `max_bucket_reso`); None for none.
        upscale: whether a smaller picture is enlarged; else its bucket is as large as it is (not `bucket_no_upscale`).
    """

    size: Size
    step: int = 64
    several: bool = True
    shortest: int | None = None
    longest: int | None = None
    upscale: bool = True

    def bucket(self, size: Size) -> Size:
        """The bucket of a picture of (width, height)."""
        if not self.several:
            return self.size
        area = self.size[0] * self.size[1]
        if not self.upscale and size[0] * size[1] <= area:
            width, height = (max(self.step, side // self.step * self.step) for side in size)
            return width, height
        return nearest_bucket(size, self._sizes(round(math.sqrt(area))))

    def _sizes(self, side: int) -> list[Size]:
        sizes = bucket_sizes(side, self.step)
        least, most = self.shortest or 0, self.longest or math.inf
        return [each for each in sizes if least <= min(each) and max(each) <= most] or [self.size]


def nearest_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket whose aspect ratio is nearest on a log scale; of several the largest."""
    ratio = math.log(size[0] / size[1])
    return min(buckets, key=lambda b: (round(abs(math.log(b[0] / b[1]) - ratio), 6), -b[0] * b[1]))


@dataclass(frozen=True)
class Fit:
    """How a picture is brought to a bucket: scaled, then cut.

    Attributes:
        scaled: (width, height) that it is scaled to, covering the bucket.
        corner: (left, top) of what is kept in the scaled picture.
        bucket: (width, height) of what is kept.
    """

    scaled: Size
    corner: Size
    bucket: Size

    def picture(self, picture: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) → uint8 (height, width, 3) of the bucket."""
        return self._cut(Image.fromarray(picture).resize(self.scaled, Image.Resampling.LANCZOS))

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """uint8 (H, W) → (height, width) of the bucket, no new values."""
        return self._cut(Image.fromarray(labels).resize(self.scaled, Image.Resampling.NEAREST))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """float (H, W) in [0, 1] → float32 (height, width) of the bucket."""
        scaled = Image.fromarray((mask * 255).round().astype(np.uint8)).resize(self.scaled, Image.Resampling.BOX)
        return self._cut(scaled).astype(np.float32) / 255

    def _cut(self, image: Image.Image) -> np.ndarray:
        left, top = self.corner
        return np.array(image.crop((left, top, left + self.bucket[0], top + self.bucket[1])))


def fitted(size: Size, bucket: Size, mask: np.ndarray | None = None) -> Fit:
    """Cover a bucket with a picture, and keep the part around the mask's middle, the picture's middle without one.

    Args:
        size: of the picture.
        bucket: to fill.
        mask: float (H, W) of the picture.
    """
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    scaled = max(bucket[0], round(size[0] * scale)), max(bucket[1], round(size[1] * scale))
    middle = (0.5, 0.5)
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        middle = (columns[0] + columns[-1] + 1) / 2 / size[0], (rows[0] + rows[-1] + 1) / 2 / size[1]
    left, top = (
        int(np.clip(round(centre * length - cut / 2), 0, length - cut))
        for centre, length, cut in zip(middle, scaled, bucket, strict=True)
    )
    return Fit(scaled, (left, top), bucket)

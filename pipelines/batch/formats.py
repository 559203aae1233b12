"""From a drawn picture to the formats of promotion: square, story, banner.

Beyond the picture its edges go on, mirrored, stretched and blurred, so that a horizon stays one; where the picture is
cut, the head stays in it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from twinset.pipelines.sizes import FORMATS as SIZES
from twinset.pipelines.sizes import Size

FORMATS: dict[str, Size | None] = {"original": None, **SIZES}
"""Name → (width, height) in pixels; None for the picture as it is drawn."""
MOST_CUT = 0.25
"""Share of the picture's height or width that may be cut off to fill a format better."""
STRIP, BLUR = 0.04, 0.02
"""Share of the picture at its edge that goes on beyond it, mirrored, and the blur there, by the longer side."""


def in_format(picture: Image.Image, name: str, focus: tuple[float, float] = (0.5, 0.3)) -> Image.Image:
    """A picture in a format.

    Args:
        picture: RGB.
        name: A key of `FORMATS`.
        focus: Shares (x, y) of the picture's width and height around which it is cut: the head.
    """
    size = FORMATS[name]
    if size is None:
        return picture
    inner = _cut(picture, size, focus)
    scale = min(size[0] / inner.width, size[1] / inner.height)
    fitted = inner.resize((round(inner.width * scale), round(inner.height * scale)), Image.Resampling.LANCZOS)
    left, top = (size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2
    page = _fill(fitted, size, (left, top))
    page.paste(fitted, (left, top))
    return page


def _cut(picture: Image.Image, size: Size, focus: tuple[float, float]) -> Image.Image:
    """As near to the format's shape as cutting a part away allows."""
    wanted, width, height = size[0] / size[1], picture.width, picture.height
    keep = 1 - MOST_CUT
    kept_width = int(np.clip(height * wanted, keep * width, width))
    kept_height = int(np.clip(width / wanted, keep * height, height))
    left = int(np.clip(focus[0] * width - kept_width / 2, 0, width - kept_width))
    top = int(np.clip(focus[1] * height - kept_height / 2, 0, height - kept_height))
    return picture.crop((left, top, left + kept_width, top + kept_height))


def _fill(fitted: Image.Image, size: Size, corner: tuple[int, int]) -> Image.Image:
    """A page on which the picture's edges go on to all sides."""
    page, (width, height) = Image.new("RGB", size), fitted.size
    wide, high = max(1, round(STRIP * width)), max(1, round(STRIP * height))
    right, bottom = corner[0] + width, corner[1] + height
    sides = [
        ((0, 0, wide, height), (0, corner[1], corner[0], bottom), Image.Transpose.FLIP_LEFT_RIGHT),
        ((width - wide, 0, width, height), (right, corner[1], size[0], bottom), Image.Transpose.FLIP_LEFT_RIGHT),
        ((0, 0, width, high), (corner[0], 0, right, corner[1]), Image.Transpose.FLIP_TOP_BOTTOM),
        ((0, height - high, width, height), (corner[0], bottom, right, size[1]), Image.Transpose.FLIP_TOP_BOTTOM),
    ]
    page.paste(fitted, corner)
    for strip, (x0, y0, x1, y1), mirrored in sides:
        if x1 > x0 and y1 > y0:
            page.paste(fitted.crop(strip).transpose(mirrored).resize((x1 - x0, y1 - y0)), (x0, y0))
    return page.filter(ImageFilter.GaussianBlur(BLUR * max(size)))

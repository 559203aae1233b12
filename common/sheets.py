"""Pictures on sheets, and what a record keeps of those a user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from scipy.ndimage import binary_erosion

__all__ = ["contact_sheet", "in_rows", "tinted"]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], tile: tuple[int, int] = (192, 256), gap: int = 4
) -> Image.Image:
    """Put pictures on one white sheet.

    Args:
        rows: uint8 (H, W, 3) pictures of any size, row by row; each is fitted whole into its tile.
        tile: Width and height of a tile in pixels.
        gap: Pixels between tiles and around the sheet.

    Returns:
        RGB picture.
    """
    width, height = tile[0] + gap, tile[1] + gap
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * width + gap, len(rows) * height + gap), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            fitted = ImageOps.contain(Image.fromarray(picture), tile, Image.Resampling.LANCZOS)
            left = gap + x * width + (tile[0] - fitted.width) // 2
            sheet.paste(fitted, (left, gap + y * height + (tile[1] - fitted.height) // 2))
    return sheet


def in_rows(pictures: Sequence[np.ndarray], columns: int) -> list[Sequence[np.ndarray]]:
    """Break a list of pictures into rows of at most `columns`."""
    return [pictures[start : start + columns] for start in range(0, len(pictures), columns)]


TINTS = (
    (230, 60, 60), (50, 110, 230), (40, 170, 90), (240, 160, 30), (160, 70, 200), (20, 180, 190), (240, 110, 180),
    (140, 100, 50), (120, 190, 30), (90, 90, 110), (250, 215, 60), (100, 40, 90),
)  # fmt: skip


def tinted(picture: np.ndarray, regions: Mapping[str, np.ndarray], strength: float = 0.45) -> Image.Image:
    """A picture with regions tinted, outlined and named.

    Args:
        picture: uint8 (H, W, 3).
        regions: Name to float (H, W) mask in [0, 1]; soft edges show as paler tint.
        strength: Of the tint, 0 to 1.

    Returns:
        RGB picture, the names in a strip below it.
    """
    colours = {name: np.array(TINTS[i % len(TINTS)]) for i, name in enumerate(regions)}
    canvas = picture.astype(np.float32)
    for name, mask in regions.items():
        canvas += (strength * mask[..., None]) * (colours[name] - canvas)
        canvas[_outline(mask > 0.5)] = colours[name]
    page = Image.new("RGB", (picture.shape[1], picture.shape[0] + 14 * len(regions)), "white")
    page.paste(Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8)))
    draw = ImageDraw.Draw(page)
    for row, (name, colour) in enumerate(colours.items()):
        top = picture.shape[0] + 14 * row
        draw.rectangle((3, top + 3, 11, top + 11), fill=tuple(colour.tolist()))
        draw.text((16, top + 7), name, fill="black", anchor="lm", font_size=11)
    return page


def _outline(inside: np.ndarray) -> np.ndarray:
    """Pixels of a mask (H, W) that touch its outside."""
    return inside & np.logical_not(binary_erosion(inside, border_value=1))

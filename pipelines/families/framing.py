"""A garment's picture as each adapter was trained to see it.

Sizes and grounds are those of the authors' own programs: IMAGDressing `inference_IMAGdressing.py`, MagicClothing
`utils/utils.py` and `gradio_generate.py`, StoryMaker `pipeline_sdxl_storymaker.py`. Where these squash or crop a
picture, the garment is laid on its ground in their proportions first, so that nothing of it is lost or stretched.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from twinset.perception.garments.cutout import plain_mask

IMAGDRESSING_SIZE = (512, 640)
MAGIC_CLOTHING_SIZE = (576, 768)
STORY_MAKER_SIDE = 224


def squared(picture: np.ndarray) -> np.ndarray:
    """In the middle of a white square: CLIP's processor cuts the centre out, which of a square is all of it.

    Args:
        picture: uint8 (H, W, 3).

    Returns:
        uint8 (s, s, 3) with s the longer side.
    """
    side = max(picture.shape[:2])
    return np.asarray(ImageOps.pad(Image.fromarray(picture), (side, side), color="white"))


def on_white(picture: np.ndarray, size: tuple[int, int] = IMAGDRESSING_SIZE) -> np.ndarray:
    """On white at a size (width, height), proportions kept, as IMAGDressing's garments are.

    Args:
        picture: uint8 (H, W, 3) on white.
        size: of the result.

    Returns:
        uint8 (height, width, 3).
    """
    return np.asarray(ImageOps.pad(Image.fromarray(picture), size, Image.Resampling.BILINEAR, color="white"))


def with_mask(picture: np.ndarray, size: tuple[int, int] = MAGIC_CLOTHING_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """On white at a size, and where the garment is: MagicClothing's reader sees grey around it.

    Args:
        picture: uint8 (H, W, 3) on white.
        size: (width, height) of the result.

    Returns:
        uint8 (height, width, 3), and bool (height, width).
    """
    laid = np.asarray(ImageOps.pad(Image.fromarray(picture), size, Image.Resampling.BICUBIC, color="white"))
    mask = plain_mask(np.pad(picture, ((1, 1), (1, 1), (0, 0)), constant_values=255))[1:-1, 1:-1]
    there = ImageOps.pad(Image.fromarray(mask.astype(np.uint8) * 255), size, Image.Resampling.NEAREST, color=0)
    return laid, np.asarray(there) > 127


def squashed(pictures: Sequence[np.ndarray], side: int = STORY_MAKER_SIDE) -> np.ndarray:
    """Pieces one below another on white, then brought to a square as StoryMaker brings a garment: by stretching.

    Args:
        pictures: uint8 (h, w, 3) on white, from the top down.
        side: of the square.

    Returns:
        uint8 (side, side, 3).
    """
    width = max(picture.shape[1] for picture in pictures)
    rows = [ImageOps.pad(Image.fromarray(p), (width, p.shape[0]), color="white") for p in pictures]
    column = np.concatenate([np.asarray(row) for row in rows])
    return np.asarray(Image.fromarray(column).resize((side, side)))

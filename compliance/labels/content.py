"""What a mark says of the picture that it was laid into: a code of the picture's content, bound to the key.

The code has the signs of keyed random projections of what is to be seen in the picture's middle, coarsely (Charikar
2002, "Similarity Estimation Techniques from Rounding Algorithms": two pictures differ in as many signs as the angle
between them says). JPEG, resizing, turning and cutting at the rim change few of them; another picture differs in about
half.
A mark that was lifted onto another picture carries the first one's code, and so tells on itself. A small change of the
same picture does not: for that there is the signature.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

BITS = 32
CELLS, MIDDLE, BROAD = 24, 0.7, 3.5
"""Side of the coarse picture in cells; the side of what it shows by the canonical size; and the standard deviation, in
cells, of the blur that is taken off, since much light above and little below is all pictures' alike."""
MOST_DIFFERING = 7
"""Bits of the code in which a picture may differ from the one that was marked: marked pictures that were sent about
differ in five at most; of pairs of different ones, drawn or photographed, one in sixty does not differ in more than
seven (`tests/compliance/test_label_attacks.py`)."""


def content_code(
    grid: np.ndarray, key: bytes, level: int, matrix: np.ndarray | None = None, shift: tuple[float, float] = (0.0, 0.0)
) -> int:
    """The code of a picture.

    Args:
        grid: float (h, w), luminance on the canonical grid.
        key: of the mark; without it nobody can tell which pictures have a code.
        level: the canonical size that it was marked on.
        matrix, shift: where a place of the marked picture, from its middle, is now: matrix @ place + shift.

    Returns:
        0 to 2^32 - 1.
    """
    coarse = Image.fromarray(_middle(grid, level, np.eye(2) if matrix is None else matrix, np.array(shift)))
    values = np.asarray(coarse.resize((CELLS, CELLS), Image.Resampling.BOX), np.float64)
    values = values - gaussian_filter(values, BROAD)
    values = values / (np.sqrt(gaussian_filter(values**2, BROAD)) + 2.0)  # one strong edge does not decide all signs
    signs = _projections(key) @ values.ravel() > 0
    return int("".join("1" if sign else "0" for sign in signs), 2)


def _middle(grid: np.ndarray, level: int, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The marked picture's middle, float32 (s, s); what was cut off goes on as its rim is."""
    side = round(MIDDLE * level)
    now, then = (np.array(grid.shape) - 1) / 2, np.full(2, (side - 1) / 2)
    offset: Any = now + shift - matrix @ then
    return affine_transform(grid.astype(np.float32), matrix, offset, (side, side), order=1, mode="nearest")


def differing(one: int, other: int) -> int:
    """In how many bits two codes differ, 0 to 32."""
    return (one ^ other).bit_count()


@lru_cache(maxsize=4)
def _projections(key: bytes) -> np.ndarray:
    """float64 (32, 576) of -1 and 1, the same on every machine."""
    drawn = np.frombuffer(hashlib.shake_256(b"twinset content" + key).digest(BITS * CELLS * CELLS // 8), np.uint8)
    return np.unpackbits(drawn).reshape(BITS, CELLS * CELLS) * 2.0 - 1.0

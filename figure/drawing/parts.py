"""A drawn part: one path in the coordinates of a part frame, and pictures of which part is on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twinset.figure.drawing.raster import matrix_text, rasterise
from twinset.figure.keypoints import FRAME


@dataclass(frozen=True)
class BodyPart:
    """One filled path.

    Attributes:
        name: unique within a figure.
        path: SVG path data in part coordinates (head heights).
        matrix: (2, 3) frame from part coordinates to pixels.
        label: ATR label.
        role: what it is made of: skin, face, hair or a garment slot.
        layer: drawing order, low first.
        details: (kind, path) drawn on top in pictures but not in label maps; `twinset.figure.drawing.paint` knows their kinds.
    """

    name: str
    path: str
    matrix: np.ndarray
    label: int
    role: str
    layer: int
    details: tuple[tuple[str, str], ...] = ()


def capsule(start: float, end: float, length: float) -> str:
    """A limb along y from 0 to `length` with round ends of the given radii."""
    return f"M{-start} 0A{start} {start} 0 0 1 {start} 0L{end} {length}A{end} {end} 0 0 1 {-end} {length}Z"


def mirrored(matrix: np.ndarray) -> np.ndarray:
    """The same frame with x turned over."""
    return matrix * np.array([-1.0, 1.0, 1.0])


def in_order(parts: Sequence[BodyPart]) -> list[BodyPart]:
    """Parts from the back to the front."""
    return sorted(parts, key=lambda part: part.layer)


def part_map(parts: Sequence[BodyPart], size: tuple[int, int] = FRAME) -> np.ndarray:
    """Which part is on top: uint8 (height, width), 0 for none, else 1 + index into `parts` (drawn in that order)."""
    body = "".join(
        f'<path d="{part.path}" transform="{matrix_text(part.matrix)}" fill="rgb({4 * index + 4},0,0)"/>'
        for index, part in enumerate(parts)
    )
    return ((rasterise(body, size, crisp=True)[..., 0].astype(np.int32) + 2) // 4).astype(np.uint8)


def label_map(parts: Sequence[BodyPart], size: tuple[int, int] = FRAME) -> np.ndarray:
    """ATR labels uint8 (height, width) of parts in any order."""
    ordered = in_order(parts)
    table = np.array([0, *(part.label for part in ordered)], dtype=np.uint8)
    return table[part_map(ordered, size)]

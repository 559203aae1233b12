"""Layouts: the label map of the average person in a pose, from keypoints alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twinset.figure.body import body_parts, ears_path, head_outline, head_parts
from twinset.figure.drawing.garments import garment_parts
from twinset.figure.drawing.hair import HAIR_STYLES, hair_parts
from twinset.figure.drawing.parts import BodyPart, label_map
from twinset.figure.keypoints import FRAME, Keypoints
from twinset.figure.labels import garment_slot
from twinset.figure.rig import build_rig

__all__ = ["HAIR_STYLES", "draw_layout", "layout_parts"]


def layout_parts(keypoints: Keypoints, garments: Sequence[str], hair: str) -> list[BodyPart]:
    """The parts of the average person wearing the given garment kinds."""
    rig = build_rig(keypoints)
    clothes = [part for kind in garments for part in garment_parts(kind, rig)]
    hat = any(garment_slot(kind) == "hat" for kind in garments)
    return body_parts(rig) + clothes + head_parts(rig, head_outline(), ears_path()) + hair_parts(rig, hair, hat=hat)


def draw_layout(
    keypoints: Keypoints, garments: Sequence[str], hair: str = "short", size: tuple[int, int] = FRAME
) -> np.ndarray:
    """Draws the average head and dressed body as ATR labels.

    Args:
        keypoints: float32 (18, 3) in pixels; unknown joints (0, 0, 0) are filled.
        garments: garment kinds, for instance ("t_shirt", "trousers", "shoes") or ("dress", "shoes").
        hair: one of HAIR_STYLES, or "bald".
        size: (width, height) of the map in pixels.

    Returns:
        uint8 (height, width).

    Raises:
        ValueError: for unknown kinds or styles, or if fewer than two joints are known.
    """
    return label_map(layout_parts(keypoints, garments, hair), size)

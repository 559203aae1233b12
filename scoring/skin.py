"""Whether face and body have the same skin tone."""

from __future__ import annotations

import numpy as np

from twinset.figure.labels import FACE, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG
from twinset.scoring.garment import FEWEST_PIXELS, colour_difference, region_inside

LIMBS = (LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM)


def skin_difference(picture: np.ndarray, labels: np.ndarray) -> float:
    """CIEDE2000 between the skin of face and neck (one label in ATR's maps) and that of arms and legs.

    Medians, which eyes, lips and outlines don't move.

    Args:
        picture: uint8 (H, W, 3).
        labels: uint8 (H, W) parsing map.

    Returns:
        The difference; NaN where either is hardly seen.
    """
    face, limbs = (skin_tone(picture, labels, owned) for owned in ((FACE,), LIMBS))
    return float("nan") if face is None or limbs is None else float(colour_difference(face / 255, limbs / 255))


def skin_tone(picture: np.ndarray, labels: np.ndarray, owned: tuple[int, ...] = (FACE,)) -> np.ndarray | None:
    """Median colour float (3,) in 0 to 255 of the skin with some labels; None where it is hardly seen."""
    region = region_inside(labels, owned)
    return np.median(picture[region], axis=0) if region.sum() >= FEWEST_PIXELS else None

"""Whether the regions of a picture are in one light."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from twinset.scoring.garment import FEWEST_PIXELS

DARKEST = 2.0
"""Of 255; what is darker tells nothing of the light's colour."""


def illuminant(picture: np.ndarray, region: np.ndarray, albedo: np.ndarray) -> np.ndarray | None:
    """The illuminant of a region: its mean pixel divided by its own colour, in sRGB values.

    Args:
        picture: uint8 (H, W, 3).
        region: bool (H, W).
        albedo: float (3,) in 0 to 255, the mean colour of what is there in white light.

    Returns:
        float (3,), gain per channel; None where the region has too few pixels.
    """
    if region.sum() < FEWEST_PIXELS:
        return None
    return picture[region].mean(0) / np.maximum(albedo, DARKEST)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle in degrees between two lights, which their brightness does not change (Finlayson's recovery error)."""
    cosine = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def mismatch(lights: Mapping[str, np.ndarray]) -> float:
    """The largest angle between the lights of two regions, degrees; NaN for fewer than two."""
    angles = [angle(a, b) for a, b in combinations(lights.values(), 2)]
    return max(angles, default=float("nan"))


def shading_slope(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """How fast the logarithm of the brightness rises per pixel downwards and to the right in a region, (2,).

    The least-squares plane: the lowest frequency of the light that falls on it, direction and strength.
    """
    rows, columns = np.nonzero(region)
    brightness = np.log(np.maximum(picture[region].mean(-1), DARKEST))
    plane = np.stack([rows - rows.mean(), columns - columns.mean(), np.ones(len(rows))], -1)
    return np.linalg.lstsq(plane, brightness, rcond=None)[0][:2]

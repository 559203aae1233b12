"""Light and skin where the truth is known: what lit each region of a picture, and whether it is one light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from twinset.figure.labels import BACKGROUND, DRESS, FACE, LEFT_ARM, LEFT_LEG, PANTS, RIGHT_ARM, RIGHT_LEG, SKIRT, UPPER
from twinset.scoring.garment import colour_difference, mean_albedo, region_inside
from twinset.scoring.light import mismatch
from twinset.scoring.skin import skin_difference

REGIONS: dict[str, tuple[int, ...]] = {
    "face": (FACE,),
    "skin": (LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM),
    "upper": (UPPER, DRESS),
    "lower": (SKIRT, PANTS),
    "background": (BACKGROUND,),
}
SCENE, PERSON = ("background",), ("face", "skin", "background")
"""Regions whose own colour is told: by the words, and by the words and a selfie."""
SMALLEST = 0.003
"""Share of the picture that a region must cover to tell its light."""


def albedo_lights(picture: np.ndarray, albedo: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What lit each region: its mean pixel by its mean albedo.

    Args:
        picture: uint8 (H, W, 3).
        albedo: uint8 (H, W, 3), the true picture in white light.
        labels: uint8 (H, W); 255 where it is not known what is seen.

    Returns:
        Region to float (3,), gain per channel; slivers are left out, whose outlines are most of what is seen of them.
    """
    lights = {}
    for name, owned in REGIONS.items():
        region = region_inside(labels, owned)
        if region.mean() >= SMALLEST:
            lights[name] = picture[region].mean(0) / np.maximum(albedo[region].mean(0), 1.0)
    return lights


def own_light(lights: Mapping[str, np.ndarray], told: Sequence[str]) -> np.ndarray:
    """A picture's light (3,), from the regions `told`, none of them a garment; white where none of them is seen."""
    known = [lights[name] for name in told if name in lights]
    return np.median(known, axis=0) if known else np.ones(3)


def light_figures(
    pictures: np.ndarray,
    albedos: np.ndarray,
    labels: np.ndarray,
    owned: list[list[tuple[int, ...]]],
    told: Sequence[str] = PERSON,
) -> dict[str, np.ndarray]:
    """Figures about light, skin and, with the light divided out, the garments' colours.

    Args:
        pictures: uint8 (N, H, W, 3) results.
        albedos: uint8 (N, H, W, 3), the true pictures in white light.
        labels: uint8 (N, H, W) where layout and true parsing agree, 255 elsewhere.
        owned: For each person, the labels of each garment given.
        told: Regions from which the light is read that is divided out of the garments.

    Returns:
        `light_mismatch` in degrees, `skin_difference` and `garment_difference` (CIEDE2000), each (N,).
    """
    found: list[tuple[float, float, float]] = []
    for picture, albedo, seen, garments in zip(pictures, albedos, labels, owned, strict=True):
        lights = albedo_lights(picture, albedo, seen)
        wrong = _garments_off(picture, albedo, seen, garments, own_light(lights, told))
        found.append((mismatch(lights), skin_difference(picture, seen), wrong))
    columns = np.array(found).reshape(-1, 3).T
    return dict(zip(("light_mismatch", "skin_difference", "garment_difference"), columns, strict=True))


def _garments_off(
    picture: np.ndarray, albedo: np.ndarray, labels: np.ndarray, garments: list[tuple[int, ...]], light: np.ndarray
) -> float:
    """CIEDE2000 between garments in this light and in truth, mean over garments."""
    regions = [region_inside(labels, garment) for garment in garments]
    colours = [(mean_albedo(picture, region, light), mean_albedo(albedo, region, np.ones(3))) for region in regions]
    known = [float(colour_difference(*pair)) for pair in colours if np.isfinite(pair).all()]
    return float(np.mean(known)) if known else float("nan")

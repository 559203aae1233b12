"""Colour repair of regions: Reinhard's transfer, illumination compensation, skin tone. Pure functions on pictures.

Each changes only the region that it is given, less towards its rim, and by as much as `strength` says.
"""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2lab

from twinset.pipelines.denoising.blending import inner_feather, rgb_of
from twinset.scoring.garment import FEWEST_PIXELS
from twinset.scoring.light import shading_slope

FEATHER = 2.0
"""Pixels from a region's rim over which a change sets in."""
LARGEST_GAIN = 1.6
"""Of light: more would be a mistaken measurement."""


def reinhard(
    picture: np.ndarray, region: np.ndarray, like: np.ndarray, strength: float = 1.0, spread: bool = True
) -> np.ndarray:
    """Gives a region the mean, and the spread, of other colours in CIELAB (Reinhard et al. 2001).

    Args:
        picture: uint8 (H, W, 3).
        region: bool (H, W), what changes.
        like: uint8 (N, 3), pixels whose colours it takes.
        strength: 0 leaves everything as it is, 1 is the whole transfer.
        spread: take the standard deviation too; without it what is drawn on the region keeps its contrast.

    Returns:
        uint8 (H, W, 3); the picture as it is where a region has too few pixels.
    """
    if min(region.sum(), len(like)) < FEWEST_PIXELS:
        return picture
    lab, other = rgb2lab(picture), rgb2lab(like)
    own = lab[region]
    ratio = (other.std(0) + 1e-3) / (own.std(0) + 1e-3) if spread else 1.0
    return _mixed(picture, rgb_of((lab - own.mean(0)) * ratio + other.mean(0)), region, strength)


def match_skin(picture: np.ndarray, face: np.ndarray, skin: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Brings a face's skin to the tone of other skin: medians in CIELAB, which eyes and lips don't move.

    Args:
        picture: uint8 (H, W, 3).
        face: bool (H, W), what changes.
        skin: bool (H, W), arms and legs.
        strength: 0 leaves everything as it is, 1 makes the medians equal.
    """
    if min(face.sum(), skin.sum()) < FEWEST_PIXELS:
        return picture
    lab = rgb2lab(picture)
    shift = np.median(lab[skin], axis=0) - np.median(lab[face], axis=0)
    return _mixed(picture, rgb_of(lab + shift), face, strength)


def relight(picture: np.ndarray, region: np.ndarray, gain: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Multiplies a region's channels as another light would (von Kries 1902).

    Args:
        picture: uint8 (H, W, 3).
        region: bool (H, W), what changes.
        gain: float (3,), the wanted light by the one there; kept within 1 / 1.6 and 1.6.
        strength: 0 leaves everything as it is, 1 is the whole change.
    """
    if region.sum() < FEWEST_PIXELS:
        return picture
    safe = np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN)
    return _mixed(picture, picture * safe, region, strength)


def even_shading(picture: np.ndarray, region: np.ndarray, like: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Illumination compensation: gives a region the slope of brightness of another, its lowest frequency.

    A plane is fitted to the logarithm of the brightness of each; the region's own is exchanged for the other's slope
    at the same mean.

    Args:
        picture: uint8 (H, W, 3).
        region: bool (H, W), what changes.
        like: bool (H, W), where the light falls as it should.
        strength: 0 leaves everything as it is, 1 is the whole change.
    """
    if min(region.sum(), like.sum()) < FEWEST_PIXELS:
        return picture
    own, other = shading_slope(picture, region), shading_slope(picture, like)
    rows, columns = np.mgrid[: region.shape[0], : region.shape[1]]
    away = np.stack([rows - rows[region].mean(), columns - columns[region].mean()], -1)
    factor = np.exp(away @ (other - own)).clip(1 / LARGEST_GAIN, LARGEST_GAIN)
    return _mixed(picture, picture * factor[..., None], region, strength)


def _mixed(picture: np.ndarray, changed: np.ndarray, region: np.ndarray, strength: float) -> np.ndarray:
    """The picture with its region changed, softly at its rim; pixels outside are the same bytes."""
    share = strength * inner_feather(region, FEATHER)[..., None]
    mixed = (picture + share * (changed - picture)).round().clip(0, 255).astype(np.uint8)
    return np.where(region[..., None], mixed, picture)

"""How well a garment's colour and look are preserved."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion
from skimage.color import deltaE_ciede2000, rgb2lab

NEARLY_WHITE = 250
"""Level from which a pixel of a flat picture counts as its white ground."""
FEWEST_PIXELS = 24
"""A region smaller than this has no colour worth stating."""


def region_inside(labels: np.ndarray, owned: tuple[int, ...], margin: int = 2) -> np.ndarray:
    """The pixels of a garment without its rim, where it blends with its neighbours.

    Args:
        labels: uint8 (H, W) parsing map.
        owned: Labels that belong to the garment.
        margin: Pixels taken off the rim; less where nothing would be left.

    Returns:
        bool (H, W), possibly empty.
    """
    region = np.isin(labels, owned)
    for iterations in range(margin, 0, -1):
        inner = binary_erosion(region, iterations=iterations)
        if inner.sum() >= FEWEST_PIXELS:
            return inner
    return region


def mean_albedo(picture: np.ndarray, region: np.ndarray, illuminant: np.ndarray) -> np.ndarray:
    """Mean colour of a region with the light divided out.

    Args:
        picture: uint8 (H, W, 3).
        region: bool (H, W).
        illuminant: float (3,) gain of the light per channel, white = 1.

    Returns:
        float (3,) RGB in [0, 1]; NaN when the region has too few pixels.
    """
    if region.sum() < FEWEST_PIXELS:
        return np.full(3, np.nan)
    mean = picture[region].mean(0) / 255.0
    return np.clip(mean / illuminant, 0.0, 1.0)


def colour_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """CIEDE2000 between sRGB colours in [0, 1], shape (..., 3) -> (...,). NaN stays NaN."""
    return deltaE_ciede2000(rgb2lab(a), rgb2lab(b))


def retrieved(features: np.ndarray, gallery: np.ndarray, truth: np.ndarray, of: int = 100, seed: int = 0) -> np.ndarray:
    """Whether each result's nearest garment among `of` is its own.

    Args:
        features: float (N, D) of garment regions in results.
        gallery: float (M, D) of true garments.
        truth: int (N,) index of each result's own garment in the gallery.
        of: Size of each draw, the true garment and `of - 1` others (all of them when there are fewer).
        seed: Seed of the draws.

    Returns:
        float (N,) of 0 and 1.
    """
    rng = np.random.default_rng(seed)
    hits = []
    for feature, own in zip(features, truth, strict=True):
        others = np.delete(np.arange(len(gallery)), own)
        drawn = rng.choice(others, min(of - 1, len(others)), replace=False)
        similarity = gallery[np.concatenate([[own], drawn])] @ feature
        hits.append(float(np.argmax(similarity) == 0))
    return np.asarray(hits)

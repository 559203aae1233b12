"""The main colours of cloth, named in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import kmeans2
from skimage.color import deltaE_ciede2000, rgb2lab

#: Name → its Chinese, and sRGB colours that carry it.
COLOURS: dict[str, tuple[str, tuple[tuple[int, int, int], ...]]] = {
    "black": ("黑色", ((20, 20, 22), (44, 44, 48))),
    "grey": ("灰色", ((90, 92, 95), (128, 128, 130), (165, 166, 170))),
    "silver": ("银灰色", ((196, 198, 202),)),
    "white": ("白色", ((250, 250, 250), (235, 236, 238))),
    "cream": ("奶油色", ((250, 240, 215),)),
    "beige": ("米色", ((222, 202, 170), (205, 185, 150))),
    "khaki": ("卡其色", ((160, 140, 95),)),
    "brown": ("棕色", ((120, 75, 45), (85, 55, 35), (150, 95, 60))),
    "red": ("红色", ((205, 30, 40), (230, 50, 50), (180, 25, 35))),
    "burgundy": ("酒红色", ((115, 20, 40),)),
    "orange": ("橙色", ((240, 130, 30), (225, 105, 25))),
    "yellow": ("黄色", ((245, 210, 50), (250, 230, 90), (225, 185, 40))),
    "olive": ("橄榄绿", ((105, 105, 45),)),
    "green": ("绿色", ((45, 150, 65), (20, 110, 50), (95, 180, 95))),
    "mint": ("薄荷绿", ((165, 225, 195),)),
    "teal": ("青色", ((30, 150, 150), (20, 115, 120), (60, 185, 185))),
    "light blue": ("浅蓝色", ((150, 195, 235),)),
    "blue": ("蓝色", ((40, 95, 200), (65, 125, 220), (30, 70, 160))),
    "navy": ("藏青色", ((30, 40, 90), (20, 28, 65))),
    "purple": ("紫色", ((120, 60, 165), (145, 85, 190), (90, 40, 125))),
    "lavender": ("淡紫色", ((195, 175, 225),)),
    "pink": ("粉色", ((245, 140, 180), (250, 185, 205), (235, 105, 160))),
}
LANGUAGES = ("en", "zh")
_TABLE = [(name, colour) for name, (_, colours) in COLOURS.items() for colour in colours]
_NAMES = [name for name, _ in _TABLE]
_RGB = np.array([colour for _, colour in _TABLE], dtype=float)
WHITE_LIGHT = np.ones((1, 3))
SAMPLES, CLUSTERS = 4000, 6


def colour_names(picture: np.ndarray, mask: np.ndarray, language: str = "en", most: int = 3) -> list[str]:
    """Names the main colours of a region, the one that covers most first.

    Args:
        picture: uint8 (H, W, 3) RGB.
        mask: boolean (H, W), the region.
        language: "en" or "zh".
        most: largest number of names.

    Returns:
        Names that each cover at least an eighth of the region; at least one.

    Raises:
        ValueError: the region is empty, or the language is unknown.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is unknown; choose one of {', '.join(LANGUAGES)}")
    shares = colour_shares(picture, mask)
    names = [name for name, share in shares if share >= 1 / 8] or [shares[0][0]]
    return [COLOURS[name][0] if language == "zh" else name for name in names[:most]]


def colour_shares(picture: np.ndarray, mask: np.ndarray, lights: np.ndarray = WHITE_LIGHT) -> list[tuple[str, float]]:
    """English names and their shares of a region, by k-means in CIELAB (fixed seed), the largest first.

    Args:
        picture: uint8 (H, W, 3) RGB.
        mask: boolean (H, W), the region.
        lights: (L, 3) gains of which one may lie on the region; that in which its colours fit the names best is taken.

    Raises:
        ValueError: the region is empty.
    """
    pixels = picture[mask]
    if len(pixels) == 0:
        raise ValueError("the region has no pixels; give one that covers a part of the picture")
    rng = np.random.default_rng(0)
    chosen = pixels if len(pixels) <= SAMPLES else pixels[rng.choice(len(pixels), SAMPLES, replace=False)]
    lab = rgb2lab(chosen[None] / 255)[0]
    centres, owner = _clusters(lab, rng)
    each = np.bincount(owner, minlength=len(centres)) / len(owner)
    shares: dict[str, float] = {}
    for share, name in zip(each, nearest_names(centres, lights, each), strict=True):
        shares[name] = shares.get(name, 0.0) + float(share)
    return sorted(shares.items(), key=lambda entry: -entry[1])


def _clusters(lab: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Medians (k, 3) of clusters, and the cluster of each colour; as many as there are different colours, at most 6."""
    count = min(CLUSTERS, len(np.unique(lab.round(1), axis=0)))
    if count == 1:
        return lab[:1], np.zeros(len(lab), int)
    means, owner = kmeans2(lab, count, minit="++", rng=rng)
    medians = [np.median(lab[owner == k], axis=0) if (owner == k).any() else means[k] for k in range(count)]
    return np.stack(medians), owner


def nearest_names(
    lab: np.ndarray, lights: np.ndarray = WHITE_LIGHT, weights: np.ndarray | None = None
) -> Sequence[str]:
    """The English name of each CIELAB colour (N, 3), by CIEDE2000 (Sharma et al., 2005).

    Args:
        lab: the colours.
        lights: (L, 3) gains of which one may lie on all of them.
        weights: (N,) of the colours in the choice of the light; all alike when absent.
    """
    lit = rgb2lab((_RGB * lights[:, None]).clip(0, 255) / 255)
    distances = deltaE_ciede2000(lab[:, None, None], lit[None])
    fit = np.average(distances.min(2), axis=0, weights=weights)
    return [_NAMES[k] for k in distances[:, fit.argmin()].argmin(1)]

"""Photographs of garments: cut out, flat-lay or worn, what kind they are, and the order in which they are worn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_closing, binary_fill_holes, binary_opening, gaussian_filter
from skimage.color import rgb2lab
from skimage.measure import label
from skimage.segmentation import random_walker

from twinset.errors import InputError
from twinset.figure.labels import (
    BAG,
    DRESS,
    FACE,
    HAIR,
    LEFT_ARM,
    LEFT_LEG,
    LEFT_SHOE,
    PANTS,
    RIGHT_ARM,
    RIGHT_LEG,
    RIGHT_SHOE,
    SKIRT,
    UPPER,
)

PLAIN_BACKGROUND = 12
"""Largest channel difference to the border's colour that still counts as background of a plain picture."""
WORKING_SIDE = 200
"""Longest side at which a background that is not plain is told from the garment, px."""
SHADOW = 22.0
"""Deepest soft shadow on a background, in CIELAB's lightness."""
#: Coarse class → the ATR labels that show it; outerwear has none of its own in ATR and is found as a top.
CLASSES: dict[str, tuple[int, ...]] = {
    "top": (UPPER,), "outerwear": (UPPER,), "dress": (DRESS,), "bottom": (SKIRT, PANTS),
    "shoes": (LEFT_SHOE, RIGHT_SHOE), "bag": (BAG,),
}  # fmt: skip
#: Garment kinds of `figure.labels.ALL_KINDS` by class, the usual one first.
KINDS_OF: dict[str, tuple[str, ...]] = {
    "top": ("t_shirt", "shirt", "tank_top", "hoodie"), "outerwear": ("coat",), "dress": ("dress",),
    "bottom": ("trousers", "skirt", "shorts"), "shoes": ("shoes",), "bag": ("bag",),
}  # fmt: skip
#: Kinds that nothing tells from the usual ones of their class by their outline, so they are never guessed.
_ALIKE = {"jumper": "top", "suit_jacket": "top", "boots": "shoes", "heels": "shoes"}
_BODY = (HAIR, FACE, LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM)


def class_of(kind: str) -> str | None:
    """The class that a garment kind is cut out and warped as; None for hats and eyewear, and for unknown ones."""
    return next((name for name, kinds in KINDS_OF.items() if kind in kinds), _ALIKE.get(kind))


@dataclass(frozen=True)
class Cutout:
    """A garment without its background.

    Attributes:
        picture: uint8 (h, w, 3), white outside.
        mask: boolean (h, w).
        confidence: 0 to 1 that the mask is right: 1 for a plain background or a parsing map.
        way: "parsing", "plain" or "colours".
    """

    picture: np.ndarray
    mask: np.ndarray
    confidence: float
    way: str


@dataclass(frozen=True)
class Guess:
    """A class or a state that was found.

    Attributes:
        name: what it is.
        confidence: 0 to 1; by rules of thumb, not calibrated on photographs.
    """

    name: str
    confidence: float


# Cutting out


def cut_out(picture: np.ndarray, labels: np.ndarray | None = None, garment: str | None = None) -> Cutout:
    """Cuts a garment out: by a parsing map where it is worn, else from its background.

    Args:
        picture: uint8 (H, W, 3) RGB.
        labels: ATR parsing map (H, W) of a worn photograph.
        garment: one of `CLASSES`, which of the map's pieces; the largest when None.

    Returns:
        The garment in its box.

    Raises:
        InputError: nothing is found.
        ValueError: the class is unknown, or the map has another size.
    """
    if labels is not None:
        if labels.shape != picture.shape[:2]:
            raise ValueError(f"parsing map has shape {labels.shape}; expected {picture.shape[:2]}, the picture's")
        mask = _worn(labels, garment)
        return _cut(picture, mask, 1.0, "parsing")
    plain = plain_mask(picture)
    if is_plain(picture):
        if not plain.any():
            raise InputError("a garment's picture shows one plain colour; give the garment on a plain background")
        return _cut(picture, plain, 1.0, "plain")
    mask, confidence = colour_mask(picture)
    if not mask.any():
        raise InputError("a garment does not stand out from its background; use a plain one of another colour")
    return _cut(picture, mask, confidence, "colours")


def _worn(labels: np.ndarray, garment: str | None) -> np.ndarray:
    if garment is not None and garment not in CLASSES:
        raise ValueError(f"garment class {garment!r} is unknown; choose one of {', '.join(CLASSES)}")
    name = garment or max(CLASSES, key=lambda each: int(np.isin(labels, CLASSES[each]).sum()))
    mask = np.isin(labels, CLASSES[name])
    if not mask.any():
        raise InputError(f"the picture shows no {garment or 'garment'}; give another picture, or another kind")
    return mask


def _cut(picture: np.ndarray, mask: np.ndarray, confidence: float, way: str) -> Cutout:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Cutout(np.where(mask[box][..., None], picture[box], 255).astype(np.uint8), mask[box], confidence, way)


def _border(values: np.ndarray) -> np.ndarray:
    """Outermost pixels (N, C) of a picture (H, W, C)."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def is_plain(picture: np.ndarray) -> bool:
    """Whether nearly all of the border has one colour."""
    border = _border(picture).astype(int)
    return float((np.abs(border - np.median(border, 0)).max(-1) <= PLAIN_BACKGROUND).mean()) > 0.9


def plain_mask(picture: np.ndarray) -> np.ndarray:
    """Boolean (H, W): what differs from the border's median colour, holes filled.

    Args:
        picture: uint8 (H, W, 3) RGB.
    """
    differs = np.abs(picture.astype(int) - np.median(_border(picture), 0)).max(-1) > PLAIN_BACKGROUND
    return np.asarray(binary_fill_holes(differs))


def colour_mask(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Tells a garment from a background that is nearly plain: gradients, soft shadow, fabric or grain.

    The background is a surface of second order per CIELAB channel, fitted to the border and refitted without what
    does not follow it; what lies far from it is seed of the garment, what lies near it seed of the background, and a
    random walk (Grady, "Random walks for image segmentation", PAMI 2006) decides the rest.

    Args:
        picture: uint8 (H, W, 3) RGB.

    Returns:
        Boolean (H, W), and a confidence from 0 to 1: how much of the border follows the surface, less what the garment
        touches.
    """
    scale = min(1.0, WORKING_SIDE / max(picture.shape[:2]))
    size = max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    distance, follows = _unlike_background(gaussian_filter(rgb2lab(small / 255), (0.7, 0.7, 0)))
    seeds = np.zeros(distance.shape, np.int64)
    seeds[distance < 2.0] = 1
    seeds[distance > 6.0] = 2
    seeds[binary_opening(seeds == 2) ^ (seeds == 2)] = 0  # lone pixels decide nothing
    if not ((seeds == 1).any() and (seeds == 2).any()):
        return np.zeros(picture.shape[:2], bool), 0.0
    found = seeds == 2
    if (seeds == 0).any():
        weights = np.dstack([rgb2lab(small / 255) / 50, np.minimum(distance, 8)[..., None] / 4])
        found = random_walker(weights, seeds, beta=90, mode="cg_j", tol=1e-4, prob_tol=0.1, channel_axis=-1) == 2
    mask = _pieces(np.asarray(binary_fill_holes(binary_closing(found))))
    whole = Image.fromarray(mask).resize((picture.shape[1], picture.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(whole).astype(bool), max(0.0, follows - float(_border(mask[..., None]).mean()))


def _unlike_background(lab: np.ndarray) -> tuple[np.ndarray, float]:
    """Distance (H, W) to the background's surface in units of its spread, and the border's share on it."""
    height, width = lab.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    edge = max(2, min(height, width) // 25)
    rim = np.ones((height, width), bool)
    rim[edge:-edge, edge:-edge] = False
    known, colours = terms[rim], lab[rim]
    used = np.ones(len(known), bool)
    for _ in range(6):
        surface = np.linalg.lstsq(known[used], colours[used], rcond=None)[0]
        away = np.linalg.norm(colours - known @ surface, axis=1)
        spread = max(1.5, 1.5 * float(np.median(away[used])))
        used = away < 3 * spread
        if used.sum() < len(used) / 4:
            break
    return _shadowless(lab, terms @ surface) / spread, float(used.mean())


def _shadowless(lab: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Distance (H, W) of colours to a background's, which may lie in soft shadow: darker, and less coloured for it."""
    darker = np.clip(background[..., 0] - lab[..., 0], 0, None)
    lighter = np.clip(lab[..., 0] - background[..., 0], 0, None)
    shade = 1 - np.minimum(darker, SHADOW) / np.maximum(background[..., 0], 1)
    chroma = np.linalg.norm(lab[..., 1:] - background[..., 1:] * shade[..., None], axis=-1)
    depth = 0.2 * np.minimum(darker, SHADOW) + np.clip(darker - SHADOW, 0, None)
    return np.hypot(chroma, np.maximum(lighter, depth))


def _pieces(mask: np.ndarray) -> np.ndarray:
    """Without pieces smaller than a twentieth of the largest."""
    pieces = np.asarray(label(mask, connectivity=1))
    sizes = np.bincount(pieces.ravel())
    if len(sizes) < 3:
        return mask
    sizes[0] = 0
    return np.isin(pieces, np.flatnonzero(sizes >= sizes.max() / 20))


# What it is


def worn_or_flat(picture: np.ndarray, labels: np.ndarray | None = None) -> Guess:
    """Whether somebody wears the garment.

    Args:
        picture: uint8 (H, W, 3) RGB.
        labels: ATR parsing map (H, W), if there is one; without it skin colour decides (Chai and Ngan, "Face
            segmentation using skin-color map", 1999), which beige cloth and wooden floors have as well.

    Returns:
        "worn" or "flat".
    """
    if labels is not None:
        body = float(np.isin(labels, _BODY).mean()) / max(1e-6, float((labels > 0).mean()))
        return Guess("worn", 0.95) if body > 0.05 else Guess("flat", 0.9)
    red, green, blue = picture[..., 0] * 1.0, picture[..., 1] * 1.0, picture[..., 2] * 1.0
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    skin = float(((cb > 77) & (cb < 127) & (cr > 133) & (cr < 173)).mean())
    if is_plain(picture) and skin < 0.02:
        return Guess("flat", 0.8)
    return Guess("worn", 0.5) if 0.05 < skin < 0.5 else Guess("flat", 0.5)


def class_by_parsing(labels: np.ndarray) -> Guess:
    """The class that covers most of a parsing map; a coat counts as a top, since ATR does not tell them apart.

    Raises:
        InputError: the map shows no garment.
    """
    areas = {name: int(np.isin(labels, owned).sum()) for name, owned in CLASSES.items() if name != "outerwear"}
    name = max(areas, key=lambda each: areas[each])
    if areas[name] == 0:
        raise InputError("the picture shows no garment; give another picture, or say its kind: kind=picture")
    return Guess(name, areas[name] / sum(areas.values()) * (0.8 if name == "top" else 1.0))

"""Captions: made where nobody wrote one, and varied from step to step."""

from __future__ import annotations

import re

import numpy as np
from skimage.color import rgb2lab

from twinset.perception.garments.colours import colour_names

FEWEST = 24
"""Smallest side of a garment whose pattern is named, px."""
CLEAR = 0.35
"""Share of a garment's variance in lightness that its rows' or columns' means must have to make stripes."""


def noun(kind: str) -> str:
    """A kind or class of garment in words: t_shirt → t-shirt, tank_top → tank top."""
    return kind.replace("_", "-" if kind == "t_shirt" else " ")


def automatic_caption(trigger: str, kind: str, picture: np.ndarray, mask: np.ndarray | None) -> str:
    """A caption by what the garment shows.

    Args:
        trigger: the word that calls it.
        kind: of the garment.
        picture: uint8 (H, W, 3).
        mask: float (H, W), the garment; without one nothing is said of its colours.

    Returns:
        E.g. "a photo of jckt hoodie, red and white, striped"; "a photo of jckt hoodie" where nothing is seen.
    """
    plain = f"a photo of {trigger} {noun(kind)}"
    if mask is None or not (mask > 0.5).any():
        return plain
    region = mask > 0.5
    details = [" and ".join(colour_names(picture, region, most=2)), pattern_word(picture, region)]
    return ", ".join([plain, *filter(None, details)])


def pattern_word(picture: np.ndarray, region: np.ndarray) -> str | None:
    """ "striped" or "checked" where rows or columns of cloth differ clearly; None for all else, dots and prints too.

    Args:
        picture: uint8 (H, W, 3).
        region: boolean (H, W), the garment.
    """
    rows, columns = np.flatnonzero(region.mean(1) > 0.05), np.flatnonzero(region.mean(0) > 0.05)
    if len(rows) < FEWEST or len(columns) < FEWEST:
        return None
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    lightness, inside = rgb2lab(picture[box] / 255)[..., 0], region[box]
    if lightness[inside].std() < 4:  # plain cloth: what varies is its shading
        return None
    across, down = (_banded(lightness, inside, axis) for axis in (1, 0))
    if across > CLEAR / 2 and down > CLEAR / 2:
        return "checked"
    return "striped" if max(across, down) > CLEAR else None


def _banded(lightness: np.ndarray, inside: np.ndarray, axis: int) -> float:
    """Share of the variance that lies in quick changes of the means along one axis; slow ones are shading."""
    counts = inside.sum(axis)
    means = np.where(inside, lightness, 0).sum(axis) / np.maximum(counts, 1)
    used = counts > 0.2 * counts.max()
    window = max(3, int(used.sum()) // 5)
    padded = np.pad(means[used], window // 2, mode="reflect")
    slow = np.convolve(padded, np.ones(window) / window, mode="same")[window // 2 :][: int(used.sum())]
    return float((means[used] - slow).var() / max(1e-6, lightness[inside].var()))


def with_trigger(caption: str, trigger: str) -> str:
    """A caption whose every line says the trigger word: as it is, or behind it."""
    lines = caption.splitlines() or [""]
    return "\n".join(line if calls(line, trigger) else f"{trigger}, {line}" for line in lines)


def without_trigger(caption: str, trigger: str) -> str:
    """A caption that does not call the garment: "a photo of jckt hoodie" → "a photo of hoodie"."""
    uncalled = re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", "", caption, flags=re.IGNORECASE)
    return re.sub(r"\s+(?=,)|\s(?=\s)", "", uncalled).strip(" ,")


def calls(caption: str, trigger: str) -> bool:
    """Whether a caption says the trigger word."""
    return re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, re.IGNORECASE) is not None

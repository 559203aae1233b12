"""Colours that plain clothes keep from stage to stage, where the words alone say what they are.

A small piece without tokens, shoes above all, drifts in hue as it is denoised, and what one stage gets wrong the next
only makes sharper. So between stages, and after the last, such a piece is brought back to its own colour in the
picture's light. That light is told by all held pieces together, within what a light can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.color import rgb2lab

from twinset.figure.colours import RGB
from twinset.pipelines.denoising.blending import inner_feather, rgb_of
from twinset.scoring.garment import FEWEST_PIXELS, region_inside

BRIGHTNESS, TINT = (0.92, 1.0), (0.88, 1.12)
"""Range of a light's brightness, and of a channel beside it: a darker one would make white grey, a brighter one grey
white, and a colour that the words name would lose its name."""
FEATHER = 1 / 96
"""Width over which a change sets in, as a share of the picture's width."""
BLANK = 1.0
"""Spread of levels below which a picture shows nothing, and must not look as if it did."""
DARKEST = 8.0
"""Least level of a channel that a light is told by."""


@dataclass(frozen=True)
class HeldColour:
    """A plain piece.

    Attributes:
        labels: parsing labels that it owns.
        colour: in white light, 0 to 255.
    """

    labels: tuple[int, ...]
    colour: RGB


def hold_colours(picture: np.ndarray, labels: np.ndarray, held: Sequence[HeldColour]) -> np.ndarray:
    """A picture whose plain pieces have their own colours in its light.

    Args:
        picture: uint8 (H, W, 3).
        labels: uint8 (H, W), its parsing map.
        held: the pieces; those with too few pixels are left alone.

    Returns:
        uint8 (H, W, 3); pixels outside these pieces are the same.
    """
    regions = [region_inside(labels, each.labels) for each in held]
    seen = [(each, region) for each, region in zip(held, regions, strict=True) if region.sum() >= FEWEST_PIXELS]
    if not seen or picture.std() < BLANK:
        return picture
    found = np.stack([np.median(picture[region], axis=0) for _, region in seen])
    own = np.array([each.colour for each, _ in seen], float)
    light = light_of(found, own, np.array([region.sum() for _, region in seen]))
    for (each, _), colour, was in zip(seen, own * light, found, strict=True):
        picture = _shifted(picture, np.isin(labels, each.labels), was, np.clip(colour, 0, 255))
    return picture


def light_of(found: np.ndarray, own: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The gain (3,) of the light in which pieces of colours `own` (N, 3) look like `found` (N, 3).

    The mean over the pieces, weighted by pixels, kept within `BRIGHTNESS` and `TINT`: what is beyond is no light.
    """
    gains = (found + DARKEST) / (own + DARKEST)
    gain = np.exp(np.average(np.log(gains), axis=0, weights=pixels))
    brightness = np.exp(np.log(gain).mean())
    return np.clip(brightness, *BRIGHTNESS) * np.clip(gain / brightness, *TINT)


def _shifted(picture: np.ndarray, region: np.ndarray, was: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """A region whose colour `was` becomes `wanted`: the difference in CIELAB is added, so folds and outlines stay."""
    before, after = (rgb2lab(colour[None, None] / 255)[0, 0] for colour in (was, wanted))
    rows, columns = np.nonzero(region)
    inside = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    changed = rgb_of(rgb2lab(picture[inside]) + after - before)
    share = inner_feather(region[inside], FEATHER * picture.shape[1])[..., None]
    done = picture.copy()
    done[inside] = (picture[inside] + share * (changed - picture[inside])).round().clip(0, 255).astype(np.uint8)
    return done

"""Which logo is on a drawn chest: found by comparing with the same person in each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from twinset.scoring.niqe import LUMA
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import LOGOS, Spec

LEAST = 40
"""Pixels by which some two logos must differ, else the chest is hidden or far away."""
SHARE = 8.0
"""Grey levels from which on a pixel belongs to a logo."""


def logo_likeness(spec: Spec, picture: np.ndarray) -> np.ndarray:
    """How much a picture's chest looks like each of `LOGOS`.

    The person is rendered with every logo and with none. What a logo adds to the garment is correlated with what the
    picture has there beyond the plain garment, both without their mean, so neither a cast nor a tint counts.

    Args:
        spec: the person as they should be drawn, in an upper garment.
        picture: uint8 (H, W, 3).

    Returns:
        float (7,), correlations in [-1, 1]; all NaN where no logo could be seen.
    """
    plain = _chest(spec, None)
    added = np.stack([_chest(spec, logo) - plain for logo in LOGOS])
    where = np.abs(added).max(0) > SHARE
    if where.sum() < LEAST:
        return np.full(len(LOGOS), np.nan)
    return np.array([_correlation(one[where], (_grey(picture) - plain)[where]) for one in added])


def logo_is_right(spec: Spec, picture: np.ndarray) -> float:
    """100 where the likest logo is the garment's own, 0 where another is, NaN where none can be seen."""
    logo = spec.garments["upper"].logo
    if logo is None:
        return np.nan
    likeness = logo_likeness(spec, picture)
    own = likeness[LOGOS.index(logo)]
    return np.nan if np.isnan(own) else 100.0 * (own > 0 and own == likeness.max())


def _chest(spec: Spec, logo: str | None) -> np.ndarray:
    upper = replace(spec.garments["upper"], logo=logo)
    return _grey(render.render_picture(replace(spec, garments=spec.garments | {"upper": upper})))


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) @ LUMA


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))

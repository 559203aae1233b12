"""Blends a redrawn part into a photo: with a soft edge, or by its gradients, so that no seam shows."""

from __future__ import annotations

import warnings
from typing import get_args

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.linalg import cg
from skimage.color import lab2rgb

from twinset.pipelines.options import Blend


def blend(
    photo: np.ndarray, drawn: np.ndarray, mask: np.ndarray, how: Blend = "soft", width: float = 3.0
) -> np.ndarray:
    """A photo with a part of it drawn anew; every pixel outside the mask is the photo's own, bit for bit.

    Args:
        photo: uint8 (H, W, 3).
        drawn: uint8 (H, W, 3).
        mask: bool (H, W), where `drawn` is seen.
        how: "soft" fades over from the mask's rim inwards; "poisson" keeps the gradients of `drawn` and takes its level
            from the photo around it (Pérez, Gangnet & Blake 2003).
        width: pixels over which "soft" fades.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: an unknown way, or sizes that differ.
    """
    if how not in get_args(Blend):
        raise ValueError(f"blend = {how!r}: choose one of {', '.join(get_args(Blend))}")
    if not photo.shape == drawn.shape == (*mask.shape, 3):
        raise ValueError(f"photo {photo.shape}, drawn {drawn.shape} and mask {mask.shape} differ in size")
    if not mask.any():
        return photo.copy()
    mixed = _soft(photo, drawn, mask, width) if how == "soft" else _poisson(photo, drawn, mask)
    return np.where(mask[..., None], mixed.round().clip(0, 255).astype(np.uint8), photo)


def inner_feather(mask: np.ndarray, width: float) -> np.ndarray:
    """How far inside a mask a pixel lies: float (H, W), 0 outside, rising to 1 at `width` pixels from its rim."""
    return (np.asarray(distance_transform_edt(mask)) / max(width, 1.0)).clip(0, 1)


def _soft(photo: np.ndarray, drawn: np.ndarray, mask: np.ndarray, width: float) -> np.ndarray:
    share = inner_feather(mask, width)[..., None]
    return share * drawn + (1 - share) * photo


def _poisson(photo: np.ndarray, drawn: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Solves Δf = Δ drawn in the mask with f = photo around it; at the picture's border f has the slope of drawn."""
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    own, other, known, slope = [], [], [], []
    for here, there in _neighbours():
        within = mask[here]
        a, b = number[here][within], number[there][within]
        own.append(a)
        other.append(b)
        known.append(photo[there][within].astype(float))
        slope.append((drawn[here].astype(float) - drawn[there])[within])
    a, b = np.concatenate(own), np.concatenate(other)
    count, rim = int(mask.sum()), b < 0
    ones = np.ones(len(a))
    rows, columns = np.concatenate([a, a[~rim]]), np.concatenate([a, b[~rim]])
    system = coo_array((np.concatenate([ones, -ones[~rim]]), (rows, columns)), (count, count)).tocsr()
    right = np.concatenate(slope) + np.concatenate(known) * rim[:, None]
    solved = photo.astype(float)
    for channel in range(3):
        wanted = np.bincount(a, right[:, channel], count)
        solved[mask, channel], _ = cg(system, wanted, x0=drawn[mask, channel].astype(float), rtol=1e-4, maxiter=2000)
    return solved


def _neighbours() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Views of all pixels that have a neighbour below, above, right and left, and of that neighbour."""
    every, head, tail = slice(None), slice(None, -1), slice(1, None)
    pairs = [((head, every), (tail, every)), ((every, head), (every, tail))]
    return pairs + [(there, here) for here, there in pairs]


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """CIELAB to sRGB in [0, 255]; colours that sRGB lacks come to its border, which is what is wanted of them here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        return 255 * lab2rgb(lab)

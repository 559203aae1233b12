"""NIQE: how far a picture's local statistics are from those of pristine ones, without any reference.

Mittal, Soundararajan & Bovik, "Making a 'Completely Blind' Image Quality Analyzer" (IEEE SPL 2013).
A bound rather than a ranker: its rank correlation with people's scores is 0.38 on KonIQ-10k.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter
from scipy.special import gamma
from skimage.transform import downscale_local_mean

from twinset.common.atomic_files import plain_reason
from twinset.errors import InputError

WINDOW = {"sigma": 7 / 6, "truncate": 3 / (7 / 6), "mode": "nearest"}
"""Gaussian window of 7 x 7 pixels."""
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""To the neighbours whose products are looked at: right, below, and both diagonals."""
SHARP = 0.75
"""Of the sharpest patch; pristine pictures are described by the patches above it."""
LUMA = np.array([0.299, 0.587, 0.114])
FEATURES = 36


@dataclass(frozen=True)
class NiqeModel:
    """What pristine pictures look like: a multivariate Gaussian over the features of patches.

    Attributes:
        mean: float (36,).
        covariance: float (36, 36).
        patch: side of a patch in pixels, even; the paper takes 96.
    """

    mean: np.ndarray
    covariance: np.ndarray
    patch: int = 96

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez_compressed(path, mean=self.mean, covariance=self.covariance, patch=self.patch)

    @classmethod
    def load(cls, path: Path) -> NiqeModel:
        """Read an .npz file of `save`, or the authors' `modelparameters.mat` (`mu_prisparam`, `cov_prisparam`).

        Raises:
            InputError: the file is neither.
        """
        try:
            stored = loadmat(path) if path.suffix == ".mat" else np.load(path, allow_pickle=False)
            if path.suffix == ".mat":
                return cls(np.ravel(stored["mu_prisparam"]), np.asarray(stored["cov_prisparam"]))
            return cls(stored["mean"], stored["covariance"], int(stored["patch"]))
        except (OSError, KeyError, ValueError) as error:
            reason = plain_reason(error)
            raise InputError(f"{str(path)!r} holds no NIQE parameters ({reason}); give an .npz or .mat file") from None


def niqe(picture: np.ndarray, model: NiqeModel) -> float:
    """Distance of a picture from pristine ones (eq. 10); smaller is better.

    Args:
        picture: uint8 (H, W, 3), at least two patches large.
        model: of pristine pictures.

    Returns:
        The distance; NaN for pictures too small.
    """
    features, _ = patch_features(picture, model.patch)
    features = features[np.isfinite(features).all(1)]
    if len(features) < 2:
        return float("nan")
    apart = model.mean - features.mean(0)
    spread = (model.covariance + np.cov(features, rowvar=False)) / 2
    return float(np.sqrt(max(apart @ np.linalg.pinv(spread) @ apart, 0.0)))


def fit_niqe(pictures: Iterable[np.ndarray], patch: int = 96) -> NiqeModel:
    """Describe pristine pictures, each uint8 (H, W, 3), by their sharp patches.

    Raises:
        ValueError: too few patches for a covariance.
    """
    chosen = []
    for picture in pictures:
        features, sharpness = patch_features(picture, patch)
        chosen.append(features[sharpness > SHARP * sharpness.max()] if len(features) else features)
    known = np.concatenate(chosen) if chosen else np.empty((0, FEATURES))
    known = known[np.isfinite(known).all(1)]
    if len(known) <= FEATURES:
        raise ValueError(
            f"{len(known)} sharp patches of {patch} pixels: more than {FEATURES} are needed; give more pictures"
        )
    return NiqeModel(known.mean(0), np.cov(known, rowvar=False), patch)


def patch_features(picture: np.ndarray, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 36) of the whole patches of a picture, and their sharpness (N,): 18 at full size, 18 at half."""
    luma = picture.astype(np.float64) @ LUMA
    rows, columns = (side // patch for side in luma.shape)
    luma = luma[: rows * patch, : columns * patch]
    if not luma.size:
        return np.empty((0, FEATURES)), np.empty(0)
    scales, sharpness = [], np.empty(0)
    for size, image in ((patch, luma), (patch // 2, downscale_local_mean(luma, (2, 2)))):
        normal, deviation = mscn(image)
        scales.append(np.array([natural_scene_features(block) for block in _blocks(normal, size)]))
        if size == patch:
            sharpness = np.array([block.mean() for block in _blocks(deviation, size)])
    return np.concatenate(scales, axis=1), sharpness


def mscn(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean-subtracted, contrast-normalised coefficients of an image (H, W), and its local deviation (eqs. 1 to 3)."""
    mean = gaussian_filter(image, **WINDOW)
    deviation = np.sqrt(np.abs(gaussian_filter(image**2, **WINDOW) - mean**2))
    return (image - mean) / (deviation + 1), deviation


def natural_scene_features(block: np.ndarray) -> np.ndarray:
    """Shape and spread of the coefficients (h, w), and of their products with neighbours; (18,)."""
    alpha, left, right = asymmetric_gaussian(block)
    features = [alpha, (left + right) / 2]
    for shift in SHIFTS:
        alpha, left, right = asymmetric_gaussian(block * np.roll(block, shift, (0, 1)))
        features += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
    return np.array(features)


def asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float]:
    """Shape and the two spreads of an asymmetric generalised Gaussian, by moments (Lasmar et al. 2009).

    Returns:
        alpha, left and right beta; NaN where one side is empty.
    """
    below, above = values[values < 0], values[values > 0]
    if not (len(below) and len(above)):
        return float("nan"), float("nan"), float("nan")
    left, right = np.sqrt((below**2).mean()), np.sqrt((above**2).mean())
    balance = left / right
    ratio = np.abs(values).mean() ** 2 / (values**2).mean()
    wanted = ratio * (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    shapes, ratios = _shapes()
    alpha = float(shapes[np.argmin((ratios - wanted) ** 2)])
    scale = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, float(left * scale), float(right * scale)


@lru_cache(maxsize=1)
def _shapes() -> tuple[np.ndarray, np.ndarray]:
    shapes = np.arange(0.2, 10.001, 0.001)
    return shapes, gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))


def _blocks(image: np.ndarray, size: int) -> np.ndarray:
    """Whole blocks (N, size, size) of an image (H, W)."""
    rows, columns = (side // size for side in image.shape)
    cut = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return cut.swapaxes(1, 2).reshape(-1, size, size)

"""Kernel inception distance: how far a set of pictures is from a set of true ones in an encoder's features."""

from __future__ import annotations

import numpy as np


def polynomial_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x·y / D + 1)³.

    Bińkowski et al., "Demystifying MMD GANs" (ICLR 2018), section 4; Gretton et al. (2012), equation 3.

    Args:
        a: float (M, D) features, M at least 2.
        b: float (N, D) features, N at least 2.

    Returns:
        About 0 for samples of one distribution, and then negative as often as not.
    """
    within = [_off_diagonal_mean(_kernel(x, x)) for x in (a, b)]
    return sum(within) - 2 * float(_kernel(a, b).mean())


def kernel_distances(
    features: np.ndarray, true: np.ndarray, subset: int = 50, subsets: int = 200, seed: int = 0
) -> np.ndarray:
    """The distance of random subsets, each against the truth of *other* people than its own.

    Args:
        features: float (N, D), of pictures.
        true: float (N, D), of the true pictures of the same people.
        subset: people on each side; half of all where there are fewer.
        subsets: how many are drawn.
        seed: of the draw.

    Returns:
        float (subsets,); their mean is the figure.

    Raises:
        ValueError: fewer than four people.
    """
    if len(features) < 4:
        raise ValueError(f"{len(features)} people: the distance needs four or more")
    rng, size = np.random.default_rng(seed), min(subset, len(features) // 2)
    orders = (rng.permutation(len(features)) for _ in range(subsets))
    return np.array([polynomial_mmd(features[o[:size]], true[o[size : 2 * size]]) for o in orders])


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _off_diagonal_mean(kernel: np.ndarray) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))

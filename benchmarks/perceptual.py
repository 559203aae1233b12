"""LPIPS against the true picture, where the package and AlexNet's weights are at hand; nothing is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torchvision.models import AlexNet_Weights

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""uint8 (N, H, W, 3) pictures and true ones → float (N,)."""


def alexnet_file() -> Path:
    """Where torch keeps AlexNet's weights once they were downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(AlexNet_Weights.IMAGENET1K_V1.url).name


@lru_cache(maxsize=1)
def perceptual_distance() -> Distances | None:
    """LPIPS 0.1 on AlexNet (Zhang et al. 2018, by their package), or None where `lpips` or the weights are missing."""
    if find_spec("lpips") is None or not alexnet_file().is_file():
        return None
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package names the weights in torchvision's former way
        network = lpips.LPIPS(net="alex", verbose=False)

    @torch.no_grad()
    def distances(pictures: np.ndarray, truths: np.ndarray) -> np.ndarray:
        pairs = zip(pictures, truths, strict=True)
        return np.array([float(network(_pixels(a), _pixels(b))) for a, b in pairs])

    return distances


def _pixels(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1

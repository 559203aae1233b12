"""From what the judges saw to figures with intervals. Pure functions; one value per person until the last step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from twinset.scoring.identity import copy_paste, cosine
from twinset.scoring.pose import mean_iou, pck, torso_length


@dataclass(frozen=True)
class Estimate:
    """A mean over people and its 95 % bootstrap interval; `people` counts those with a value."""

    mean: float
    low: float
    high: float
    people: int


def bootstrap(values: np.ndarray, draws: int = 2000, seed: int = 0) -> Estimate:
    """Mean and percentile bootstrap interval (Efron 1979) over people.

    Args:
        values: float (N,), NaN where a person has no value.
        draws: Number of resamples.
        seed: Of the resampling.

    Returns:
        The estimate; all NaN when nobody has a value.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    picked = np.random.default_rng(seed).integers(len(known), size=(draws, len(known)))
    low, high = np.percentile(known[picked].mean(1), [2.5, 97.5])
    return Estimate(float(known.mean()), float(low), float(high), len(known))


def spread(values: np.ndarray, people: int) -> Estimate:
    """Mean and the middle 95 % of a figure that is computed of subsets of `people`, not of each one."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high), people)


def summarise(columns: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """An estimate per figure."""
    return {name: bootstrap(np.asarray(values, dtype=float)) for name, values in columns.items()}


def identity_figures(faces: np.ndarray, selfies: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """Figures about the face.

    Args:
        faces: float (N, D) embeddings of results by the judge.
        selfies: float (N, D), of the selfies given.
        others: float (N, D), of another selfie of each person.

    Returns:
        `sim_ref`, `sim_gt`, `copy_paste`, each (N,).
    """
    return {
        "sim_ref": cosine(faces, selfies),
        "sim_gt": cosine(faces, others),
        "copy_paste": copy_paste(faces, others, selfies),
    }


def strangers(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine of each row of `faces` with every row of `others` but its own, averaged; (N,)."""
    similarity = cosine(faces[:, None], others[None])
    count = len(similarity)
    return (similarity.sum(1) - np.diagonal(similarity)) / (count - 1)


def pose_figures(
    found: np.ndarray, keypoints: np.ndarray, parsed: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Figures about pose and parsing.

    Args:
        found: float (N, 18, 2 or 3) by the judge.
        keypoints: float (N, 18, 3) asked for.
        parsed: uint8 (N, H, W) by the judge.
        labels: uint8 (N, H, W) asked for.

    Returns:
        `pck` and `parsing_miou`, each (N,).
    """
    right = [pck(f, k, torso_length(k)) for f, k in zip(found, keypoints, strict=True)]
    overlap = [mean_iou(p, a) for p, a in zip(parsed, labels, strict=True)]
    return {"pck": np.asarray(right), "parsing_miou": np.asarray(overlap)}


def psnr_each(pictures: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of uint8 (N, H, W, 3) pictures against true ones, (N,); at most 60."""
    error = np.square(pictures.astype(np.float64) - truths).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 255**2 * 1e-6))


def ssim(pictures: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004) of uint8 (N, H, W, 3) pictures and true ones, (N,)."""
    pairs = zip(pictures, truths, strict=True)
    return np.array([structural_similarity(a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5) for a, b in pairs])


def attribute_figures(
    found: np.ndarray, truth: np.ndarray, names: tuple[str, ...], named: tuple[str, ...], chinese: np.ndarray
) -> dict[str, np.ndarray]:
    """Shares of attributes that the judge sees as they should be.

    Args:
        found: int (N, A) classes by the judge.
        truth: int (N, A), negative where an attribute is not to be seen.
        names: The A attributes.
        named: Those that prompts name; only they enter the means by language.
        chinese: bool (N,), whose prompts were Chinese.

    Returns:
        `right_<name>`, and `named_english`, `named_chinese` over the attributes in `named`; NaN where not to be seen.
    """
    right = np.where(truth < 0, np.nan, found == truth)
    columns = {f"right_{name}": right[:, index] for index, name in enumerate(names)}
    share = np.nanmean(right[:, [names.index(name) for name in named]], axis=1)
    columns["named_english"] = np.where(chinese, np.nan, share)
    columns["named_chinese"] = np.where(chinese, share, np.nan)
    return columns

"""How well a person's identity is preserved. All functions take face embeddings; rows are compared with rows."""

from __future__ import annotations

import numpy as np


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise cosine similarity.

    Args:
        a: float (..., D).
        b: float (..., D), broadcast against `a`.

    Returns:
        float (...,) in [-1, 1].
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(-1) / np.maximum(lengths, 1e-12)


def copy_paste(generated: np.ndarray, truth: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How much closer a result is to the picture given than to the person's other pictures.

    `(theta_gt - theta_gr) / theta_tr` with theta the angle between embeddings, MultiID-Bench (WithAnyone,
    arXiv:2510.14975): 1 copies the reference, -1 equals the truth.

    Args:
        generated: float (N, D) embeddings of results.
        truth: float (N, D) embeddings of other pictures of the same people.
        reference: float (N, D) embeddings of the selfies given.

    Returns:
        float (N,) in [-1, 1].
    """
    angle_truth = _angle(generated, truth)
    angle_reference = _angle(generated, reference)
    return (angle_truth - angle_reference) / np.maximum(_angle(truth, reference), 1e-6)


def recovery(similarity: np.ndarray, stranger: float, same: float) -> np.ndarray:
    """Identity recovery: 0 is a stranger, 1 is another photograph of the same person.

    Args:
        similarity: float (N,) cosine of result and another picture of the person.
        stranger: Mean cosine of real pictures of different people.
        same: Mean cosine of two real pictures of one person.

    Returns:
        float (N,).

    Raises:
        ValueError: The judge does not tell people apart, so the measure has no scale.
    """
    if same <= stranger:
        raise ValueError(f"same-person cosine {same:.3f} <= stranger cosine {stranger:.3f}: use another judge")
    return (np.asarray(similarity) - stranger) / (same - stranger)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip(cosine(a, b), -1.0, 1.0))

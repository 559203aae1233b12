"""How well a result matches the pose and the parsing map asked for."""

from __future__ import annotations

import numpy as np

NECK, RIGHT_HIP, LEFT_HIP = 1, 8, 11


def torso_length(keypoints: np.ndarray) -> float:
    """Neck to the middle of the hips in pixels, from OpenPose keypoints (18, 3)."""
    hips = (keypoints[RIGHT_HIP, :2] + keypoints[LEFT_HIP, :2]) / 2
    return float(np.linalg.norm(keypoints[NECK, :2] - hips))


def pck(found: np.ndarray, truth: np.ndarray, torso: float, fraction: float = 0.1) -> float:
    """Percentage of correct keypoints (Yang & Ramanan 2013).

    Args:
        found: float (18, 2 or 3) positions in pixels.
        truth: float (18, 3); only visible keypoints count.
        torso: Length of the torso in pixels.
        fraction: Radius within which a keypoint is right, in torsos.

    Returns:
        Share in [0, 1]; NaN when no keypoint is visible.
    """
    visible = truth[:, 2] > 0
    if not visible.any():
        return float("nan")
    distance = np.linalg.norm(found[visible, :2] - truth[visible, :2], axis=-1)
    return float((distance <= fraction * torso).mean())


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean intersection over union over the labels present in the truth, both uint8 (H, W)."""
    shares = []
    for label in np.unique(truth):
        a, b = found == label, truth == label
        shares.append((a & b).sum() / (a | b).sum())
    return float(np.mean(shares))

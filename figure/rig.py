"""From 18 keypoints to one affine frame per body part.

A frame is a (2, 3) matrix from part coordinates (head heights; y along the bone, x across) to pixels. Everything that
lies on the body (skin, cloth, pattern, logo) is drawn in these frames, so a flat garment and the worn one agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twinset.figure import poses
from twinset.figure.keypoints import (
    L_ANKLE,
    L_EAR,
    L_ELBOW,
    L_EYE,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    NOSE,
    R_ANKLE,
    R_EAR,
    R_ELBOW,
    R_EYE,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    Keypoints,
    check_keypoints,
    known_joints,
)

#: Bone frames: name -> (start joint, end joint, length in head heights).
BONES: dict[str, tuple[int, int, float]] = {
    "right_upper_arm": (R_SHOULDER, R_ELBOW, poses.UPPER_ARM),
    "left_upper_arm": (L_SHOULDER, L_ELBOW, poses.UPPER_ARM),
    "right_forearm": (R_ELBOW, R_WRIST, poses.FOREARM),
    "left_forearm": (L_ELBOW, L_WRIST, poses.FOREARM),
    "right_thigh": (R_HIP, R_KNEE, poses.THIGH),
    "left_thigh": (L_HIP, L_KNEE, poses.THIGH),
    "right_shin": (R_KNEE, R_ANKLE, poses.SHIN),
    "left_shin": (L_KNEE, L_ANKLE, poses.SHIN),
}
#: Distances that tell the figure's scale, with their length in head heights.
_RULERS = (
    (R_SHOULDER, L_SHOULDER, 2 * poses.SHOULDER), (R_HIP, NECK, 0.935), (L_HIP, NECK, 0.935),
    (R_EAR, L_EAR, 2 * poses.EAR_X), (R_EYE, L_EYE, 2 * poses.EYE_X),
)  # fmt: skip
_LIMB_RULERS = tuple((a, b, length) for a, b, length in BONES.values())


@dataclass(frozen=True)
class Rig:
    """The resolved figure: all joints (18, 2) px, px per head height, and the part frames."""

    joints: np.ndarray
    unit: float
    frames: dict[str, np.ndarray]


def _scale(points: np.ndarray, known: np.ndarray, rulers: tuple[tuple[int, int, float], ...]) -> float | None:
    found = [np.linalg.norm(points[a] - points[b]) / length for a, b, length in rulers if known[a] and known[b]]
    return float(np.median(found)) if found else None


def complete(keypoints: Keypoints) -> tuple[np.ndarray, float]:
    """Fills unknown joints from a standing figure at the same scale; returns joints (18, 2) px and the scale.

    Raises:
        ValueError: if fewer than two joints are known.
    """
    array = check_keypoints(keypoints)
    known, points = known_joints(array), array[:, :2].astype(np.float64)
    if known.sum() < 2:
        raise ValueError(
            f"only {int(known.sum())} keypoint known; a layout needs at least two, better head and shoulders"
        )
    unit = _scale(points, known, _RULERS) or _scale(points, known, _LIMB_RULERS) or 66.0
    unit = max(unit, 8.0)
    if not known[NECK] and known[R_SHOULDER] and known[L_SHOULDER]:
        points[NECK], known[NECK] = (points[R_SHOULDER] + points[L_SHOULDER]) / 2, True
    rest = poses.pose_joints(poses.PRESETS["standing"]) * unit
    parents = {
        NECK: (R_SHOULDER, L_SHOULDER, NOSE, R_HIP, L_HIP, R_EAR, L_EAR, R_EYE, L_EYE, R_ELBOW, L_ELBOW, R_KNEE, L_KNEE),
        R_SHOULDER: (NECK,), L_SHOULDER: (NECK,), R_ELBOW: (R_SHOULDER,), L_ELBOW: (L_SHOULDER,),
        R_WRIST: (R_ELBOW,), L_WRIST: (L_ELBOW,), R_HIP: (L_HIP, NECK), L_HIP: (R_HIP, NECK), R_KNEE: (R_HIP,),
        L_KNEE: (L_HIP,), R_ANKLE: (R_KNEE,), L_ANKLE: (L_KNEE,), R_EAR: (R_EYE, L_EAR, NOSE, NECK),
        L_EAR: (L_EYE, R_EAR, NOSE, NECK), R_EYE: (R_EAR, L_EYE, NOSE), L_EYE: (L_EAR, R_EYE, NOSE),
        NOSE: (R_EYE, L_EYE, R_EAR),
    }  # fmt: skip
    for joint, sources in parents.items():
        source = next((s for s in sources if known[s]), None)
        if not known[joint] and source is not None:
            points[joint] = points[source] + rest[joint] - rest[source]
            known[joint] = True
    return points, unit


def bone_frame(points: np.ndarray, unit: float, bone: tuple[int, int, float]) -> np.ndarray:
    """Frame (2, 3) of a bone (start, end, length): across it, along it (stretched to its end), and its start."""
    start, end, length = bone
    along = points[end] - points[start]
    reach = float(np.linalg.norm(along))
    direction = along / reach if reach > 1e-3 else np.array([0.0, 1.0])
    stretch = max(reach / length, 0.2 * unit)
    across = np.array([direction[1], -direction[0]]) * unit
    return np.stack([across, direction * stretch, points[start]], axis=1)


def tip_frame(bone: np.ndarray, length: float, unit: float) -> np.ndarray:
    """Frame of hand or foot: the bone's end, unstretched."""
    direction = bone[:, 1] / np.linalg.norm(bone[:, 1])
    return np.stack([bone[:, 0], direction * unit, bone[:, 2] + bone[:, 1] * length], axis=1)


def _head(points: np.ndarray, unit: float) -> np.ndarray:
    """Similarity from the ears' line; the head's size may differ from the body's only within a factor."""
    right, left = points[R_EAR], points[L_EAR]
    across = left - right
    reach = float(np.linalg.norm(across))
    size = float(np.clip(reach / (2 * poses.EAR_X), 0.75 * unit, 1.25 * unit))
    x_axis = across / reach * size if reach > 1e-3 else np.array([size, 0.0])
    y_axis = np.array([-x_axis[1], x_axis[0]])
    return np.stack([x_axis, y_axis, (right + left) / 2 - 0.04 * y_axis], axis=1)


def build_rig(keypoints: Keypoints) -> Rig:
    """All part frames of a figure from its keypoints (unknown joints are filled)."""
    points, unit = complete(keypoints)
    pelvis = (points[R_HIP] + points[L_HIP]) / 2
    x_axis = (points[L_SHOULDER] - points[R_SHOULDER]) / (2 * poses.SHOULDER)
    if x_axis[0] < 0.35 * unit:
        x_axis = np.array([0.35 * unit, x_axis[1]])
    y_axis = (pelvis - points[NECK]) / poses.TORSO
    frames = {name: bone_frame(points, unit, bone) for name, bone in BONES.items()}
    frames["torso"] = np.stack([x_axis, y_axis, points[NECK]], axis=1)
    legs = sum(frames[f"{side}_thigh"][:, 1] for side in ("right", "left")) / 2
    down = 0.5 * y_axis + 0.5 * legs
    down = down / max(float(np.linalg.norm(down)), 1e-3) * unit
    frames["pelvis"] = np.stack([x_axis, down, pelvis], axis=1)
    for side in ("right", "left"):
        frames[f"{side}_hand"] = tip_frame(frames[f"{side}_forearm"], poses.FOREARM, unit)
        frames[f"{side}_foot"] = tip_frame(frames[f"{side}_shin"], poses.SHIN, unit)
    frames["head"] = _head(points, unit)
    neck_end = frames["head"] @ np.array([0.0, 0.25, 1.0])
    span = np.stack([points[NECK], neck_end])
    frames["neck"] = bone_frame(span, unit, (0, 1, poses.HEAD_RISE - 0.25))
    return Rig(points, unit, frames)

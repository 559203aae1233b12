"""Poses in the proportions of ordinary people, in a frame of any size, for the full-size families.

Lengths are shares of the stature, by Drillis and Contini, "Body Segment Parameters" (1966), as Winter, "Biomechanics and
Motor Control of Human Movement", reprints them: chin 0.870, eyes 0.936, shoulders 0.818, hips 0.530, knees 0.285 and
ankles 0.039 above the floor, so that a person is 1 / 0.130 = 7.7 heads tall. The depths of eyes and nose before the ears
are an adult's, rounded to half a per cent of the stature.

`twinset.figure.retarget` goes the other way.
"""

from __future__ import annotations

import numpy as np

from twinset.figure import keypoints as kp
from twinset.figure import poses
from twinset.figure.keypoints import Keypoints, check_keypoints, known_joints, with_visibility
from twinset.figure.retarget import EAR_RISE as FIGURE_EAR_RISE
from twinset.figure.retarget import PROPORTIONS, turn_of
from twinset.figure.rig import BONES, complete

#: Neck keypoint (middle of the shoulders) to the middle of the hips.
TORSO = 0.288
#: Above the neck keypoint: crown, crown with hair, ears, chin. Sole below the ankle; hand beyond the wrist.
CROWN, HAIRDO, EARS, CHIN, SOLE, HAND = 0.182, 0.205, 0.108, 0.052, 0.039, 0.108
#: Joint -> parent and distance from it.
PARENTS: dict[int, tuple[int, float]] = {joint: (row[0], row[2] * TORSO) for joint, row in PROPORTIONS.items()}
#: Limbs: name -> (start joint, end joint, length).
LIMB_BONES: dict[str, tuple[int, int, float]] = {name: (a, b, PARENTS[b][1]) for name, (a, b, _) in BONES.items()}
#: Nose, right eye, left eye, right ear, left ear from the middle between the ears: to the left side of the head, down,
#: to the front.
FACE = np.array([
    (0.0, 0.011, 0.070), (-0.018, -0.010, 0.048), (0.018, -0.010, 0.048), (-0.041, 0.0, 0.0), (0.041, 0.0, 0.0),
])  # fmt: skip
#: Degrees that the head turns at a `Pose.head_turn` of 1.
FULL_TURN = 40.0

#: Framing -> lowest part shown, below the neck, and the share of its scale down to which it is widened for hands that
#: would leave the frame: beyond that they do. `full` shows everything down to the soles.
CUTS: dict[str, tuple[float, float]] = {
    "portrait": (0.18, 0.85), "half": (0.34, 0.66), "three_quarter": (0.56, 0.62), "full": (np.inf, 0.0),
}  # fmt: skip
#: Left and right, top, and bottom margins as shares of the frame.
SIDE, TOP, BOTTOM = 0.04, 0.05, 0.03
#: Half thickness of the body around a joint.
THICK = 0.035
_HEAD = [kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]
_CORE = [*_HEAD, kp.R_SHOULDER, kp.L_SHOULDER]


def ordinary_preset(name: str, framing: str = "three_quarter", size: tuple[int, int] = (512, 768)) -> Keypoints:
    """Keypoints of a named pose as an ordinary person takes it.

    Args:
        name: one of `poses.NAMED`.
        framing: one of `CUTS`.
        size: (width, height) of the frame in pixels.

    Returns:
        float32 (18, 3): x and y in pixels of that frame, visible 0 or 1.

    Raises:
        ValueError: the name, the framing or the size is not possible.
    """
    return ordinary(poses.preset(name, "full"), framing, size)


def ordinary(keypoints: Keypoints, framing: str = "three_quarter", size: tuple[int, int] = (512, 768)) -> Keypoints:
    """Gives ordinary proportions to a pose of the big-headed figure, and frames it.

    Every limb keeps its direction and its foreshortening, the head its direction from the neck, its tilt and its turn.

    Args:
        keypoints: (18, 3) of the figure at any scale; unknown joints 0, 0, 0.
        framing: one of `CUTS`.
        size: (width, height) of the frame in pixels.

    Returns:
        float32 (18, 3) in pixels of that frame. The joints known are the same, except an ear that the turned head hides.

    Raises:
        ValueError: fewer than two joints are known, or the framing or the size is not possible.
    """
    if framing not in CUTS:
        raise ValueError(f"unknown framing {framing!r}; choose one of {', '.join(CUTS)}")
    if min(size) < 16:
        raise ValueError(f"a frame of {size[0]} x {size[1]} pixels holds no person; give at least 16 x 16")
    known = known_joints(check_keypoints(keypoints))
    points, unit = complete(keypoints)
    away = (points - points[kp.NECK]) / unit
    joints = _body(away)
    joints[_HEAD], seen = _head(away, known)
    known[_HEAD] &= seen
    scale, neck = _framed(joints, framing, size)
    return np.where(known[:, None], with_visibility(joints * scale + neck, size), 0).astype(np.float32)


def _body(away: np.ndarray) -> np.ndarray:
    """(18, 2) in statures from the neck, of joints (18, 2) in the figure's head heights; the head is left at 0."""
    joints = np.zeros((18, 2))
    for joint, (parent, length) in PARENTS.items():
        joints[joint] = joints[parent] + (away[joint] - away[parent]) * length / PROPORTIONS[joint][1]
    return joints


def _head(away: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(5, 2) nose, eyes, ears in statures from the neck, and which of them the head does not hide."""
    middle, across = away[[kp.R_EAR, kp.L_EAR]].mean(0), away[kp.L_EAR] - away[kp.R_EAR]
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    down = np.array([-across[1], across[0]])
    down = -down if down @ middle > 0 else down  # seen from behind
    flat = turned_pose(np.radians(FULL_TURN) * turn_of(away, known, across))
    hidden = np.array([False, False, False, flat[3, 0] > flat[1, 0], flat[4, 0] < flat[2, 0]])
    return middle / FIGURE_EAR_RISE * EARS + flat @ np.stack([across, down]), ~hidden


def turned_pose(yaw: float) -> np.ndarray:
    """(5, 2) nose, eyes, ears of a head turned by `yaw` radians to its left, in statures: across and down."""
    return np.stack([FACE[:, 0] * np.cos(yaw) + FACE[:, 2] * np.sin(yaw), FACE[:, 1]], axis=1)


def _outline(joints: np.ndarray) -> np.ndarray:
    """(N, 2) outermost places of a body in statures: around the joints, the crown with hair, finger tips, soles."""
    up = joints[[kp.R_EAR, kp.L_EAR]].mean(0)
    crown = up / max(float(np.linalg.norm(up)), 1e-6) * HAIRDO
    limbs = ((kp.R_ELBOW, kp.R_WRIST, HAND), (kp.L_ELBOW, kp.L_WRIST, HAND))
    feet = ((kp.R_KNEE, kp.R_ANKLE, SOLE), (kp.L_KNEE, kp.L_ANKLE, SOLE))
    tips = [joints[b] + (joints[b] - joints[a]) / PARENTS[b][1] * beyond for a, b, beyond in limbs + feet]
    around = [joints + np.array(shift) * THICK for shift in ((1, 0), (-1, 0), (0, 1))]
    return np.concatenate([*around, crown[None], np.stack(tips)])


def _framed(joints: np.ndarray, framing: str, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Pixels per stature and the neck's place (2,) in pixels."""
    whole, (cut, widest) = _outline(joints), CUTS[framing]
    lowest = min(cut, float(whole[:, 1].max()))
    body = whole[whole[:, 1] <= lowest]
    core = np.concatenate([joints[_CORE] + np.array(s) for s in ((THICK, 0), (-THICK, 0), (0, EARS - HAIRDO))])
    scale = max(_fitting(body, lowest, size), widest * _fitting(core, lowest, size))
    held = core if scale > _fitting(body, lowest, size) else body
    x = _between(held, scale, size[0])
    return scale, np.array([x, _height(float(held[:, 1].min()), float(whole[:, 1].max()), lowest, scale, size[1])])


def _fitting(body: np.ndarray, lowest: float, size: tuple[int, int]) -> float:
    """The scale at which a body (N, 2), down to `lowest`, fills the frame within its margins."""
    tall = size[1] * (1 - TOP - BOTTOM) / (lowest - float(body[:, 1].min()))
    return min(size[0] * (1 - 2 * SIDE) / float(np.ptp(body[:, 0])), tall)


def _between(body: np.ndarray, scale: float, width: int) -> float:
    """The neck's x: in the middle of the frame if the body's sides are within the margins then, else the nearest."""
    left, right = float(body[:, 0].min()) * scale, float(body[:, 0].max()) * scale
    low, high = SIDE * width - left, (1 - SIDE) * width - right
    return min(max(width / 2, low), high) if low <= high else (low + high) / 2


def _height(top: float, bottom: float, lowest: float, scale: float, height: int) -> float:
    """The neck's y: the cut at the lower border, no large gap above `top`; a body that ends higher is centred."""
    cut = min(height - lowest * scale, TOP * height - top * scale)
    return max(cut, TOP * height - top * scale + (height * (1 - TOP - BOTTOM) - (bottom - top) * scale) / 2)

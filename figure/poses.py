"""Joint-angle poses of the drawn figure, and where a framing puts them in the picture.

Lengths are in head heights. Angles are degrees; an arm or leg hangs at 0, points outwards at 90 and up at 180,
and a negative angle crosses the body.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from twinset.figure.keypoints import FRAME, Keypoints, with_visibility

SHOULDER, TORSO, HIP, UPPER_ARM, FOREARM, THIGH, SHIN = 0.33, 0.92, 0.17, 0.48, 0.44, 0.78, 0.76
#: Neck keypoint to the middle between the ears.
HEAD_RISE = 0.58
#: The average face in head coordinates (origin between the ears, head height 1): eye, nose and ear places.
EYE_X, EYE_Y, NOSE_Y, EAR_X = 0.175, 0.015, 0.155, 0.425
#: Sideways shift of the features at a head turn of 1.
TURN_SHIFT = 0.085

#: Lowest visible height below the neck, in head heights, and the share of the frame's height that the figure fills.
FRAMINGS: dict[str, tuple[float, float]] = {
    "portrait": (0.55, 0.93),
    "half": (1.05, 0.93),
    "three_quarter": (1.78, 0.93),
    "full": (2.70, 0.94),
}
#: Crown with hair above the neck.
HEAD_TOP = 1.22


@dataclass(frozen=True)
class Arm:
    """An arm: angles of upper arm and forearm, and their foreshortening (1 = in the picture plane)."""

    upper: float = 10.0
    fore: float = 5.0
    upper_length: float = 1.0
    fore_length: float = 1.0


@dataclass(frozen=True)
class Leg:
    """A leg: angles of thigh and shin, and their foreshortening."""

    thigh: float = 4.0
    shin: float = 2.0
    thigh_length: float = 1.0
    shin_length: float = 1.0


@dataclass(frozen=True)
class Pose:
    """A pose of the whole figure; `lean` and `head_tilt` are degrees to the picture's right."""

    right_arm: Arm = Arm()
    left_arm: Arm = Arm()
    right_leg: Leg = Leg()
    left_leg: Leg = Leg()
    lean: float = 0.0
    head_tilt: float = 0.0
    head_turn: float = 0.0
    shoulder: float = 1.0
    torso: float = 1.0
    hip: float = 1.0


PRESETS: dict[str, Pose] = {
    "standing": Pose(),
    "walking": Pose(Arm(18, -4), Arm(24, 38), Leg(14, 10), Leg(9, -12, 0.96, 0.82), lean=2),
    "waving": Pose(Arm(96, 168), Arm(12, 6), head_tilt=-4),
    "arms_up": Pose(Arm(148, 166), Arm(150, 168)),
    "hands_on_hips": Pose(Arm(46, -44, 0.95, 0.9), Arm(46, -44, 0.95, 0.9), Leg(8, 5), Leg(8, 5)),
    "arms_crossed": Pose(Arm(16, -97, 0.95, 0.95), Arm(16, -102, 0.95, 0.9)),
    "thinking": Pose(Arm(14, -152, 0.95, 1.0), Arm(14, -86, 0.95, 0.95), head_tilt=5, head_turn=0.4),
    "pointing": Pose(Arm(84, 90), Arm(12, 4), head_turn=-0.5),
    "peace": Pose(Arm(40, 158, 0.9, 0.95), Arm(44, -42, 0.95, 0.9), head_tilt=-5),
    "running": Pose(Arm(42, -60, 0.9, 0.8), Arm(36, 128, 0.9, 0.85), Leg(24, -10, 0.85), Leg(14, 30, 0.95, 0.7), lean=6),
    "leaning": Pose(Arm(40, 16), Arm(28, -58, 0.95, 0.9), Leg(-4, 0), Leg(16, 6), lean=-9, head_tilt=-6),
    "dancing": Pose(Arm(122, 62), Arm(64, 142), Leg(22, -6), Leg(12, 18), lean=5, head_tilt=-7),
    "cheering": Pose(Arm(128, 158), Arm(22, -54), Leg(7, 4), Leg(7, 4), head_tilt=4),
    "shrugging": Pose(Arm(34, 112, 0.9, 0.9), Arm(34, 112, 0.9, 0.9), head_tilt=6),
    "hand_on_heart": Pose(Arm(26, -122, 0.9, 0.85), Arm(10, 4), head_tilt=-3),
}  # fmt: skip

#: All poses that a user can name: PRESETS, from which seeds draw, and those that are drawn only when asked for.
NAMED: dict[str, Pose] = {
    **PRESETS,
    "star": Pose(Arm(118, 120), Arm(118, 120), Leg(28, 28), Leg(28, 28)),
    "arms_out": Pose(Arm(88, 92), Arm(88, 92), Leg(6, 4), Leg(6, 4)),
    "striding": Pose(Arm(28, -14), Arm(30, 44, 0.95, 0.85), Leg(26, 8, 0.97), Leg(18, -18, 0.95, 0.8), lean=4),
}  # fmt: skip


def step(angle: float, length: float, side: float) -> np.ndarray:
    """Offset along a limb; side is -1 for the person's right, +1 for the left."""
    radians = math.radians(angle)
    return np.array([side * math.sin(radians), math.cos(radians)]) * length


def rotate(points: np.ndarray, degrees: float, about: np.ndarray) -> np.ndarray:
    """Turns points clockwise in the picture (towards the right when above `about`)."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - about) @ turn.T + about


def head_points(turn: float) -> np.ndarray:
    """(5, 2) average nose, right eye, left eye, right ear, left ear in head coordinates."""
    shift = TURN_SHIFT * turn
    features = [(1.25 * shift, NOSE_Y), (shift - EYE_X, EYE_Y), (shift + EYE_X, EYE_Y)]
    return np.array([*features, (-EAR_X, 0.04), (EAR_X, 0.04)])


def pose_joints(pose: Pose) -> np.ndarray:
    """(18, 2) joints in head heights, x right, y down, origin at the neck."""
    joints = np.zeros((18, 2))
    pelvis = rotate(np.array([[0.0, TORSO * pose.torso]]), pose.lean, np.zeros(2))[0]
    sides = ((-1.0, 2, 8, pose.right_arm, pose.right_leg), (1.0, 5, 11, pose.left_arm, pose.left_leg))
    for side, arm, leg, arm_pose, leg_pose in sides:
        joints[arm] = rotate(np.array([[side * SHOULDER * pose.shoulder, 0.0]]), pose.lean, np.zeros(2))[0]
        joints[arm + 1] = joints[arm] + step(arm_pose.upper, UPPER_ARM * arm_pose.upper_length, side)
        joints[arm + 2] = joints[arm + 1] + step(arm_pose.fore, FOREARM * arm_pose.fore_length, side)
        joints[leg] = pelvis + np.array([side * HIP * pose.hip, 0.0])
        joints[leg + 1] = joints[leg] + step(leg_pose.thigh, THIGH * leg_pose.thigh_length, side)
        joints[leg + 2] = joints[leg + 1] + step(leg_pose.shin, SHIN * leg_pose.shin_length, side)
    head = head_points(pose.head_turn) - np.array([0.0, HEAD_RISE])
    joints[[0, 14, 15, 16, 17]] = rotate(head, pose.lean + pose.head_tilt, np.array([0.0, -0.1]))
    return joints


@dataclass(frozen=True)
class Placement:
    """Where joints lie in the frame: `scale` px per head height and the neck's place in px."""

    scale: float
    x: float
    y: float


def placement(framing: str, zoom: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Placement:
    """The framing's scale and neck place; `dx` and `dy` are shares of the frame.

    Raises:
        ValueError: if the framing is unknown.
    """
    if framing not in FRAMINGS:
        raise ValueError(f"unknown framing {framing!r}; choose one of {', '.join(FRAMINGS)}")
    below, share = FRAMINGS[framing]
    scale = FRAME[1] * share / (HEAD_TOP + below) * zoom
    bottom = FRAME[1] * (0.97 if framing == "full" else 1.0)
    return Placement(scale, FRAME[0] * (0.5 + dx), bottom - below * scale + dy * FRAME[1])


def place(pose: Pose, where: Placement) -> Keypoints:
    """Keypoints float32 (18, 3) of a pose in the frame."""
    return with_visibility(pose_joints(pose) * where.scale + np.array([where.x, where.y]))


def preset(name: str, framing: str = "three_quarter") -> Keypoints:
    """Keypoints of a named pose in the 192x256 frame.

    Raises:
        ValueError: if the name or the framing is unknown.
    """
    if name not in NAMED:
        raise ValueError(f"unknown pose {name!r}; choose one of {', '.join(NAMED)}")
    return place(NAMED[name], placement(framing))


def _jitter_arm(arm: Arm, rng: np.random.Generator, spread: float) -> Arm:
    upper = float(np.clip(arm.upper + rng.normal(0, spread), -8, 170))
    bend = float(np.clip(arm.fore - arm.upper + rng.normal(0, 1.2 * spread), -170, 135))
    lengths = np.clip(rng.uniform(0.9, 1.05, 2) * (arm.upper_length, arm.fore_length), 0.65, 1.05)
    return Arm(upper, upper + bend, float(lengths[0]), float(lengths[1]))


def _jitter_leg(leg: Leg, rng: np.random.Generator) -> Leg:
    thigh = float(np.clip(leg.thigh + rng.normal(0, 4), -8, 32))
    return replace(leg, thigh=thigh, shin=float(np.clip(leg.shin + rng.normal(0, 4), thigh - 40, thigh + 30)))


def _free_arm(rng: np.random.Generator) -> Arm:
    """Any arm within the joint limits; the hand may lie before the body or the face."""
    upper = float(rng.uniform(2, 150))
    bend = float(rng.uniform(-125, 90) if upper < 80 else rng.uniform(-60, 90))
    return Arm(upper, upper + bend, float(rng.uniform(0.8, 1)), float(rng.uniform(0.75, 1)))


def random_pose(rng: np.random.Generator) -> tuple[str, Pose]:
    """A preset with jitter (sometimes mirrored or with a free arm): its name ("free" with a free arm) and the pose."""
    name = str(rng.choice(list(PRESETS)))
    base = PRESETS[name]
    right, left = _jitter_arm(base.right_arm, rng, 7), _jitter_arm(base.left_arm, rng, 7)
    if rng.random() < 0.25:
        name, right = "free", _free_arm(rng)
        left = _free_arm(rng) if rng.random() < 0.5 else left
    right_leg, left_leg = _jitter_leg(base.right_leg, rng), _jitter_leg(base.left_leg, rng)
    lean, tilt = float(base.lean + rng.normal(0, 2)), float(np.clip(base.head_tilt + rng.normal(0, 4), -14, 14))
    if rng.random() < 0.5:
        right, left, right_leg, left_leg, lean, tilt = left, right, left_leg, right_leg, -lean, -tilt
    shoulder, torso, hip = (float(v) for v in rng.uniform(0.92, 1.08, 3))
    turn = float(np.clip(rng.normal(0, 0.45), -1, 1))
    return name, Pose(right, left, right_leg, left_leg, lean, tilt, turn, shoulder, torso, hip)

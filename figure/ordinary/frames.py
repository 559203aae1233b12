"""The posture of an ordinary person from 18 keypoints: scale, view, and one frame per body part, gaps filled.

A frame is a (2, 3) matrix from part coordinates to pixels, as in `rig`, but in hundredths of the stature. Frames of limbs
that cannot be seen are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twinset.errors import InputError
from twinset.figure import keypoints as kp
from twinset.figure.keypoints import Keypoints, check_keypoints, known_joints
from twinset.figure.ordinary.poses import EARS, FACE, LIMB_BONES, PARENTS, TORSO, turned_pose
from twinset.figure.rig import bone_frame, tip_frame

_SHOULDERS = 2 * PARENTS[kp.R_SHOULDER][1]
_FEATURES = (kp.NOSE, kp.R_EYE, kp.L_EYE)
_ARMS_AND_LEGS = ((kp.R_SHOULDER, kp.R_ELBOW, kp.R_WRIST), (kp.L_SHOULDER, kp.L_ELBOW, kp.L_WRIST),
                  (kp.R_HIP, kp.R_KNEE, kp.R_ANKLE), (kp.L_HIP, kp.L_KNEE, kp.L_ANKLE))  # fmt: skip
#: Of the shoulders' full width: below this a person is seen from the side; a trunk is never drawn narrower than that.
_SIDEWAYS, _NARROWEST = 0.5, 0.62
#: A head may be this much smaller or larger than the body's proportions say.
_HEAD_SIZES = (0.85, 1.35)
_EAR, _NOSE_DEPTH, _EYE, _EYE_DEPTH = float(FACE[4, 0]), float(FACE[0, 2]), float(FACE[2, 0]), float(FACE[2, 2])


@dataclass(frozen=True)
class Posture:
    """A person's joints, scale, body-part frames and view.

    Attributes:
        joints: (18, 2) px; those neither known nor completed are meaningless.
        known: bool (18,), which joints the keypoints hold.
        unit: pixels per hundredth of the stature.
        frames: part name to frame.
        yaw: the head's turn to its left, radians; ± about 1.4 in profile.
        face: whether the face is seen, not the back of the head.
        behind: whether the body is seen from behind.
        sideways: whether the body is seen from the side.
        far: side of the arm and leg that lie behind the trunk of a sideways body, or None.
    """

    joints: np.ndarray
    known: np.ndarray
    unit: float
    frames: dict[str, np.ndarray]
    yaw: float
    face: bool
    behind: bool
    sideways: bool
    far: str | None

    @property
    def facing(self) -> float:
        """Direction in the picture that a turned head looks: 1 right, -1 left."""
        return float(np.sign(self.yaw * self.frames["head"][0, 0]) or 1.0)

    def thigh(self, side: str) -> np.ndarray:
        """A thigh's frame; where it is hidden, that of one hanging from the hip."""
        hip = self.joints[kp.R_HIP if side == "right" else kp.L_HIP]
        pelvis = self.frames["pelvis"]
        return self.frames.get(f"{side}_thigh", np.column_stack([pelvis[:, :2], hip]))


def read_posture(keypoints: Keypoints, size: tuple[int, int]) -> Posture:
    """Completes a person and finds how they stand.

    Args:
        keypoints: (18, 3) px; unknown joints 0, 0, 0.
        size: (width, height) of the frame in pixels.

    Raises:
        InputError: fewer than two joints are known that tell a size.
    """
    array = check_keypoints(keypoints)
    known, points = known_joints(array), array[:, :2].astype(np.float64)
    stature = _stature(points, known)
    _complete_trunk(points, known.copy(), stature)
    shoulders, spine = points[kp.L_SHOULDER] - points[kp.R_SHOULDER], _spine(points)
    across = float(shoulders @ np.array([spine[1], -spine[0]])) / (_SHOULDERS * stature)
    face = bool(known[list(_FEATURES)].any()) or (across > 0.2 and not known[[kp.R_EAR, kp.L_EAR]].any())
    behind = across < -0.2 or (not face and across < _SIDEWAYS)
    sideways = abs(across) < _SIDEWAYS
    reached = _reach_out(points, known, stature, spine, size)
    unit, (head, yaw) = stature / 100, _head(points, known, stature, spine, behind)
    frames = {"head": head, **_trunk_frames(points, unit, across, spine), **_limb_frames(points, reached, unit)}
    frames["neck"] = bone_frame(np.stack([points[kp.NECK], head @ (0.0, 1.5, 1.0)]), unit, (0, 1, 8.4))
    far = _far(known, points, yaw) if sideways else None
    return Posture(points, known, unit, frames, yaw, face, behind, sideways, far)


def _measured(points: np.ndarray, known: np.ndarray, rulers: list[tuple[int, int, float]]) -> float:
    """The largest stature that a ruler (two joints and their distance in statures) shows: turning only shortens."""
    found = [float(np.linalg.norm(points[a] - points[b])) / length for a, b, length in rulers if known[a] and known[b]]
    return max(found, default=0.0)


def _stature(points: np.ndarray, known: np.ndarray) -> float:
    """Pixels per stature: by the trunk, else by the limbs, else by the head."""
    hips = [(shoulder, hip, TORSO) for shoulder, hip in ((kp.R_SHOULDER, kp.R_HIP), (kp.L_SHOULDER, kp.L_HIP))]
    trunk = [(kp.R_SHOULDER, kp.L_SHOULDER, _SHOULDERS), *hips]
    trunk += [(kp.NECK, joint, PARENTS[joint][1]) for joint in (kp.R_HIP, kp.L_HIP)]
    limbs = list(LIMB_BONES.values())
    head = [(kp.R_EAR, kp.L_EAR, 2 * _EAR), (kp.R_EYE, kp.L_EYE, 2 * _EYE), (kp.NECK, kp.NOSE, EARS)]
    head += [(kp.NOSE, ear, _NOSE_DEPTH) for ear in (kp.R_EAR, kp.L_EAR)]
    for rulers in (trunk, limbs, head):
        stature = _measured(points, known, rulers)
        if stature > 1:
            return stature
    raise InputError(
        f"{int(known.sum())} known keypoints do not tell a person's size; give at least head and shoulders, "
        "or a limb from joint to joint"
    )


def _complete_trunk(points: np.ndarray, known: np.ndarray, stature: float) -> None:
    """Fills unknown neck, shoulders and hips in place; an unknown half is the other one's mirror image."""
    neck, rest = kp.NECK, {joint: 0.5 * _SHOULDERS * stature for joint in (kp.R_SHOULDER, kp.L_SHOULDER)}
    if not known[neck]:
        points[neck], known[neck] = _neck(points, known, stature), True
    for joint, other, sign in ((kp.R_SHOULDER, kp.L_SHOULDER, -1), (kp.L_SHOULDER, kp.R_SHOULDER, 1)):
        if not known[joint]:
            points[joint] = 2 * points[neck] - points[other] if known[other] else points[neck] + (sign * rest[joint], 0)
    shoulders = points[kp.L_SHOULDER] - points[kp.R_SHOULDER]
    down = np.array([0.0, 1.0])
    if abs(shoulders[0]) > _SIDEWAYS * _SHOULDERS * stature:
        down = np.array([-shoulders[1], shoulders[0]]) * np.sign(shoulders[0]) / np.linalg.norm(shoulders)
    for joint, other, sign in ((kp.R_HIP, kp.L_HIP, -1), (kp.L_HIP, kp.R_HIP, 1)):
        if not known[joint]:
            half = 0.23 * shoulders
            points[joint] = points[other] + sign * 2 * half if known[other] else points[neck] + TORSO * stature * down
            points[joint] += 0 if known[other] else sign * half


def _neck(points: np.ndarray, known: np.ndarray, stature: float) -> np.ndarray:
    """The neck's likely place: between the shoulders, above the hips, below the head, else beside what is known."""
    for joints, rise in (
        ((kp.R_SHOULDER, kp.L_SHOULDER), 0.0), ((kp.R_SHOULDER,), 0.0), ((kp.L_SHOULDER,), 0.0),
        ((kp.R_HIP, kp.L_HIP), TORSO), ((kp.R_EAR, kp.L_EAR), -EARS), ((kp.NOSE,), -EARS), ((kp.R_EYE,), -EARS),
        ((kp.L_EYE,), -EARS), ((kp.R_EAR,), -EARS), ((kp.L_EAR,), -EARS), ((kp.R_HIP,), TORSO), ((kp.L_HIP,), TORSO),
    ):  # fmt: skip
        if known[list(joints)].all():
            return points[list(joints)].mean(0) - (0, rise * stature)
    for above, joint, _ in _ARMS_AND_LEGS:
        rise = TORSO + LIMB_BONES["right_thigh"][2] if above in (kp.R_HIP, kp.L_HIP) else 0.186
        if known[joint]:
            return points[joint] - (0, rise * stature)
    raise InputError(f"{int(known.sum())} known keypoints do not tell where the trunk is; give head or shoulders")


def _spine(points: np.ndarray) -> np.ndarray:
    """Unit vector (2,) from the neck to the middle of the hips."""
    along = (points[kp.R_HIP] + points[kp.L_HIP]) / 2 - points[kp.NECK]
    reach = float(np.linalg.norm(along))
    return along / reach if reach > 1e-3 else np.array([0.0, 1.0])


def _reach_out(points: np.ndarray, known: np.ndarray, stature: float, spine: np.ndarray, size: tuple[int, int]) -> set:
    """Completes limbs in place where a joint lies outside the frame or between known ones; returns the joints had."""
    had = set(np.flatnonzero(known)) | {kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP}
    for root, middle, end in _ARMS_AND_LEGS:
        if middle not in had and end in had:
            points[middle] = (points[root] + points[end]) / 2
            had.add(middle)
        for joint, parent, along in ((middle, root, spine), (end, middle, points[middle] - points[root])):
            if joint in had or parent not in had:
                continue
            step = along / max(float(np.linalg.norm(along)), 1e-6) * PARENTS[joint][1] * stature
            points[joint] = points[parent] + step
            if not ((points[joint] >= 0) & (points[joint] < size)).all():
                had.add(joint)
    return had


def _trunk_frames(points: np.ndarray, unit: float, across: float, spine: np.ndarray) -> dict[str, np.ndarray]:
    """Frames of torso (from the neck) and pelvis (from between the hips): as wide as the shoulders, or the chest deep."""
    hips = (points[kp.R_HIP] + points[kp.L_HIP]) / 2
    side = np.array([spine[1], -spine[0]])
    shoulders = points[kp.L_SHOULDER] - points[kp.R_SHOULDER]
    tilt = float(np.clip(shoulders @ spine / (100 * _SHOULDERS * unit), -0.4, 0.4))
    width = (np.sign(across) or 1.0) * float(np.clip(abs(across), _NARROWEST, 1.15))
    length = max(float(np.linalg.norm(hips - points[kp.NECK])) / (100 * TORSO), 0.4 * unit)
    torso = np.column_stack([(side * width + spine * tilt) * unit, spine * length, points[kp.NECK]])
    pelvis = np.column_stack([side * width * unit, spine * unit, hips])
    return {"torso": torso, "pelvis": pelvis}


def _limb_frames(points: np.ndarray, reached: set, unit: float) -> dict[str, np.ndarray]:
    """Frames of limbs whose joints are there, and of the hands and feet at their ends."""
    frames = {}
    for name, (start, end, length) in LIMB_BONES.items():
        if start in reached and end in reached:
            frames[name] = bone_frame(points, unit, (start, end, 100 * length))
    for tip, bone in (("hand", "forearm"), ("foot", "shin")):
        for side in ("right", "left"):
            if f"{side}_{bone}" in frames:
                frames[f"{side}_{tip}"] = tip_frame(
                    frames[f"{side}_{bone}"], 100 * LIMB_BONES[f"{side}_{bone}"][2], unit
                )
    return frames


def _head(
    points: np.ndarray, known: np.ndarray, stature: float, spine: np.ndarray, behind: bool
) -> tuple[np.ndarray, float]:
    """The head's frame, from the middle between the ears, and its turn in radians."""
    across = _ear_line(points, known, spine, behind)
    down = np.array([-across[1], across[0]])
    down = -down if down @ spine < 0 else down
    yaw = _yaw(points, known, across)
    unit = _head_size(points, known, stature, yaw) / 100
    flat = 100 * unit * turned_pose(yaw)
    joints = [kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]
    places = ((kp.R_EAR, kp.L_EAR), (kp.R_EAR,), (kp.L_EAR,), _FEATURES, *((joint,) for joint in _FEATURES))
    place = next((place for place in places if known[list(place)].all()), None)
    if place is None:
        return np.column_stack([across * unit, down * unit, points[kp.NECK] - spine * EARS * stature]), 0.0
    local = flat[[joints.index(j) for j in place]].mean(0)
    middle = points[list(place)].mean(0) - local[0] * across - local[1] * down
    return np.column_stack([across * unit, down * unit, middle]), yaw


def _ear_line(points: np.ndarray, known: np.ndarray, spine: np.ndarray, behind: bool) -> np.ndarray:
    """Unit vector (2,) to the head's left: by both ears or eyes, else by the side of its ear that the face lies on."""
    for right, left in ((kp.R_EAR, kp.L_EAR), (kp.R_EYE, kp.L_EYE)):
        if known[right] and known[left]:
            return (points[left] - points[right]) / max(float(np.linalg.norm(points[left] - points[right])), 1e-6)
    level = np.array([spine[1], -spine[0]])
    ear = next((joint for joint in (kp.R_EAR, kp.L_EAR) if known[joint]), None)
    feature = next((joint for joint in _FEATURES if known[joint]), None)
    if ear is None or feature is None:
        return -level if behind else level
    towards = float((points[feature] - points[ear]) @ level) * (1 if ear == kp.R_EAR else -1)
    return level if towards >= 0 else -level


def _yaw(points: np.ndarray, known: np.ndarray, across: np.ndarray) -> float:
    """The head's turn to its left in radians, by the nose between the ears, or by which of ears and eyes are hidden."""
    ears, eyes = known[[kp.R_EAR, kp.L_EAR]], known[[kp.R_EYE, kp.L_EYE]]
    if not (known[kp.NOSE] or eyes.any()):
        return 0.0
    if ears[0] != ears[1]:
        return float(np.radians(50 if eyes.all() else 80) * (1 if ears[0] else -1))
    pair, half, depth = (kp.R_EAR, kp.L_EAR), _EAR, _NOSE_DEPTH
    if not ears.all():
        pair, half, depth = (kp.R_EYE, kp.L_EYE), _EYE, _NOSE_DEPTH - _EYE_DEPTH
    if not known[[kp.NOSE, *pair]].all():
        return 0.0
    beside = (points[kp.NOSE] - points[list(pair)].mean(0)) @ across
    span = max(float(np.linalg.norm(points[pair[1]] - points[pair[0]])) / 2, 1e-6)
    return float(np.clip(np.arctan(beside / span * half / depth), -1.1, 1.1))


def _head_size(points: np.ndarray, known: np.ndarray, stature: float, yaw: float) -> float:
    """Stature in pixels that the head's size implies, within reason of the body's."""
    side = _EAR * np.cos(yaw) + _NOSE_DEPTH * abs(np.sin(yaw))
    rulers = [(kp.R_EAR, kp.L_EAR, 2 * _EAR * float(np.cos(yaw)))]
    if known[kp.R_EAR] != known[kp.L_EAR]:
        rulers = [(kp.NOSE, ear, float(np.hypot(side, FACE[0, 1]))) for ear in (kp.R_EAR, kp.L_EAR)]
    elif not known[kp.R_EAR]:
        rulers = [(kp.R_EYE, kp.L_EYE, 2 * _EYE * float(np.cos(yaw)))]
    implied = _measured(points, known, rulers) or stature
    return float(np.clip(implied, _HEAD_SIZES[0] * stature, _HEAD_SIZES[1] * stature))


def _far(known: np.ndarray, points: np.ndarray, yaw: float) -> str | None:
    """The side turned away: of the hidden ear, else the one the head turns to."""
    right, left = known[kp.R_EAR], known[kp.L_EAR]
    if right != left:
        return "left" if right else "right"
    return None if abs(yaw) < 0.3 else "left" if yaw > 0 else "right"

"""From the proportions of people in photographs to the figure's: a big head, its own limb lengths.

Every limb keeps its direction and its foreshortening, the head its place above the neck, its tilt and its turn; the
result takes the same room in the frame.
"""

from __future__ import annotations

import numpy as np

from twinset.figure import keypoints as kp
from twinset.figure import poses
from twinset.figure.keypoints import FRAME, Keypoints, check_keypoints, known_joints, with_visibility

#: Below this share of the figure's head size (by its body), a person counts as ordinary.
ORDINARY = 0.75
#: Joint -> parent, the figure's length in head heights, and an ordinary adult's in torsos (neck to mid-hip).
#: Arms and legs by Drillis and Contini, "Body Segment Parameters" (1966): shares of the stature, a torso being
#: 0.288. Shoulders and hips where pose estimators put them, inside the body's outline.
PROPORTIONS: dict[int, tuple[int, float, float]] = {
    kp.R_SHOULDER: (kp.NECK, poses.SHOULDER, 0.40), kp.L_SHOULDER: (kp.NECK, poses.SHOULDER, 0.40),
    kp.R_ELBOW: (kp.R_SHOULDER, poses.UPPER_ARM, 0.646), kp.L_ELBOW: (kp.L_SHOULDER, poses.UPPER_ARM, 0.646),
    kp.R_WRIST: (kp.R_ELBOW, poses.FOREARM, 0.507), kp.L_WRIST: (kp.L_ELBOW, poses.FOREARM, 0.507),
    kp.R_HIP: (kp.NECK, float(np.hypot(poses.TORSO, poses.HIP)), 1.014),
    kp.L_HIP: (kp.NECK, float(np.hypot(poses.TORSO, poses.HIP)), 1.014),
    kp.R_KNEE: (kp.R_HIP, poses.THIGH, 0.851), kp.L_KNEE: (kp.L_HIP, poses.THIGH, 0.851),
    kp.R_ANKLE: (kp.R_KNEE, poses.SHIN, 0.854), kp.L_ANKLE: (kp.L_KNEE, poses.SHIN, 0.854),
}  # fmt: skip
#: A limb may be this much longer than its table says.
_LONGEST = 1.08
_HEAD = [kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR]
#: Neck to the ears' middle on the figure, and how many times as far the crown with hair is: figure, adult.
EAR_RISE = poses.HEAD_RISE - 0.04
_FIGURE_CROWN, _ADULT_CROWN = poses.HEAD_TOP / EAR_RISE, 1.65
#: Nose beside the ears' (eyes') middle, by half the distance between them, at a head turn of 1.
_TURN_BY_EARS = 1.25 * poses.TURN_SHIFT / poses.EAR_X
_TURN_BY_EYES = 0.25 * poses.TURN_SHIFT / poses.EYE_X


def head_share(keypoints: Keypoints) -> float | None:
    """Head size by body size, the figure's being 1; about 0.3 for an adult. None where head or body cannot be measured.

    Args:
        keypoints: (18, 3), unknown joints 0, 0, 0.
    """
    array = check_keypoints(keypoints)
    points, known = array[:, :2].astype(np.float64), known_joints(array)
    nose_ear = float(np.hypot(poses.EAR_X, poses.NOSE_Y - 0.04))
    rulers = ((kp.R_EAR, kp.L_EAR, 2 * poses.EAR_X), (kp.R_EYE, kp.L_EYE, 2 * poses.EYE_X))
    head = _measure(points, known, rulers) or _measure(
        points, known, ((kp.NOSE, kp.R_EAR, nose_ear), (kp.NOSE, kp.L_EAR, nose_ear))
    )
    body = _measure(points, known, _body_rulers(1))
    return head / body if head and body and known[kp.NECK] else None


def retarget(keypoints: Keypoints, size: tuple[int, int] = FRAME) -> Keypoints:
    """Gives the figure's proportions to a pose taken from a photograph.

    Args:
        keypoints: (18, 3) px in the picture, unknown joints 0, 0, 0.
        size: (width, height) of the picture.

    Returns:
        float32 (18, 3); the same joints are known. A pose that has the figure's proportions already (a
        `head_share` of at least ORDINARY), or that cannot be measured, comes back as it is.
    """
    array = check_keypoints(keypoints)
    share = head_share(array)
    if share is None or share >= ORDINARY:
        return array.copy()
    points, known = array[:, :2].astype(np.float64), known_joints(array)
    torso = _measure(points, known, _body_rulers(2)) or 1.0
    away = points - points[kp.NECK]
    anchor = _head_anchor(away, known)
    up = anchor / max(float(np.linalg.norm(anchor)), 1e-6)
    figure = _body(away, known, torso)
    figure[_HEAD] = _head(away, known, up)
    goal = np.concatenate([away[known], anchor[None] * _ADULT_CROWN]) + points[kp.NECK]
    scale, neck = _fit(np.concatenate([figure[known], up[None] * EAR_RISE * _FIGURE_CROWN]), goal, size)
    placed = with_visibility(figure * scale + neck, size)
    return np.where(known[:, None], placed, 0).astype(np.float32)


def _body_rulers(column: int) -> tuple[tuple[int, int, float], ...]:
    """Shoulders and torso with their lengths in column 1 (the figure's) or 2 (an adult's) of `PROPORTIONS`."""
    return (
        (kp.R_SHOULDER, kp.L_SHOULDER, 2 * PROPORTIONS[kp.R_SHOULDER][column]),
        (kp.NECK, kp.R_HIP, PROPORTIONS[kp.R_HIP][column]),
        (kp.NECK, kp.L_HIP, PROPORTIONS[kp.L_HIP][column]),
    )


def _measure(points: np.ndarray, known: np.ndarray, rulers: tuple[tuple[int, int, float], ...]) -> float | None:
    """The largest scale that a ruler shows: turning and bending only shorten."""
    found = [float(np.linalg.norm(points[a] - points[b])) / length for a, b, length in rulers if known[a] and known[b]]
    return max(found, default=0.0) or None


def _body(away: np.ndarray, known: np.ndarray, torso: float) -> np.ndarray:
    """(18, 2) in head heights from the neck: each known joint from its nearest known ancestor, by its direction."""
    figure = np.zeros((18, 2))
    for joint, (parent, length, ordinary) in PROPORTIONS.items():
        while not known[parent]:
            parent, more, longer = PROPORTIONS[parent]
            length, ordinary = length + more, ordinary + longer
        along = (away[joint] - away[parent]) / (ordinary * torso)
        figure[joint] = figure[parent] + along * length / max(1.0, float(np.linalg.norm(along)) / _LONGEST)
    return figure


def _head_anchor(away: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The head's middle from the neck: between the ears, else the eyes, else the nose or an ear."""
    for joints in ([kp.R_EAR, kp.L_EAR], [kp.R_EYE, kp.L_EYE], [kp.NOSE], [kp.R_EAR], [kp.L_EAR]):
        if known[joints].all():
            return away[joints].mean(0)
    return np.array([0.0, -1.0])


def _head(away: np.ndarray, known: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(5, 2) nose, eyes, ears in head heights from the neck."""
    pair = next((p for p in ((kp.R_EAR, kp.L_EAR), (kp.R_EYE, kp.L_EYE)) if known[list(p)].all()), None)
    across = away[pair[1]] - away[pair[0]] if pair else np.array([-up[1], up[0]])
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    if across @ np.array([-up[1], up[0]]) < 0:  # seen from behind; the head must not turn upside down
        across = -across
    down = np.array([-across[1], across[0]])
    local = poses.head_points(turn_of(away, known, across)) - np.array([0.0, 0.04])
    return up * EAR_RISE + local @ np.stack([across, down])


def turn_of(away: np.ndarray, known: np.ndarray, across: np.ndarray) -> float:
    """Head turn in -1..1 from the nose's place between the ears or eyes; a hidden ear means a full turn."""
    if not known[kp.NOSE]:
        return 0.0
    for right, left, full in ((kp.R_EAR, kp.L_EAR, _TURN_BY_EARS), (kp.R_EYE, kp.L_EYE, _TURN_BY_EYES)):
        if known[right] and known[left]:
            half = max(float(np.linalg.norm(away[left] - away[right])) / 2, 1e-6)
            return float(np.clip((away[kp.NOSE] - (away[left] + away[right]) / 2) @ across / half / full, -1, 1))
        if known[right] != known[left]:
            return float(np.sign((away[kp.NOSE] - away[right if known[right] else left]) @ across))
    return 0.0


def _fit(figure: np.ndarray, goal: np.ndarray, frame: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Scale and shift that give the figure the goal's box: as long on its longer side, nowhere further outside the frame.

    Args:
        figure: (N, 2) in head heights.
        goal: (N, 2) px.
        frame: (width, height) of the picture.
    """
    low, high = figure.min(0), figure.max(0)
    size, box = np.maximum(high - low, 1e-6), (goal.min(0), goal.max(0))
    floor, ceiling = np.minimum(box[0], 0.0), np.maximum(box[1], np.array(frame) - 1.0)
    longer = int(np.argmax(box[1] - box[0]))
    scale = float(min((box[1] - box[0])[longer] / size[longer], *((ceiling - floor) / size)))
    middle = (box[0] + box[1]) / 2
    middle = np.clip(middle, floor + scale * size / 2, ceiling - scale * size / 2)
    return scale, middle - scale * (low + high) / 2

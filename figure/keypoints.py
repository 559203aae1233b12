"""The 18 OpenPose keypoints, their skeleton picture, and the frame all pictures share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

#: Width and height of every picture, in pixels.
FRAME = (192, 256)

#: COCO-18 order of OpenPose. "right" is the person's right: smaller x in a front view.
KEYPOINT_NAMES: tuple[str, ...] = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip

(
    NOSE, NECK, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST,
    R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE, R_EYE, L_EYE, R_EAR, L_EAR,
) = range(18)  # fmt: skip

#: Joint i of these 18 is joint BODY_25[i] of OpenPose's newer 25, whose joint 8 is the middle of the hips.
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)

#: float32 (18, 3): x px, y px, visible 0/1.
Keypoints = np.ndarray

#: Limbs of the OpenPose drawing, in its order.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip

#: OpenPose's rainbow; joint i has colour i, limb j has colour j.
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip


def check_keypoints(keypoints: np.ndarray) -> np.ndarray:
    """Returns keypoints as float32 (18, 3).

    Raises:
        ValueError: if the shape is another or a value is not finite.
    """
    array = np.asarray(keypoints, dtype=np.float32)
    if array.shape != (18, 3):
        raise ValueError(f"keypoints have shape {array.shape}; expected (18, 3): x, y, visible in OpenPose order")
    if not np.isfinite(array).all():
        raise ValueError("keypoints contain NaN or infinity; give unknown joints as 0, 0, 0")
    return array


def known_joints(keypoints: np.ndarray) -> np.ndarray:
    """Boolean (18,): joints with coordinates, whether inside the frame or not. Unknown joints are 0, 0, 0."""
    return (keypoints[:, 2] > 0) | (np.abs(keypoints[:, :2]).sum(1) > 0)


def with_visibility(points: np.ndarray, size: tuple[int, int] = FRAME) -> Keypoints:
    """Adds the visible column to (18, 2) points: 1 inside the frame of `size` (width, height), else 0."""
    inside = (points >= 0).all(1) & (points[:, 0] < size[0]) & (points[:, 1] < size[1])
    return np.concatenate([points, inside[:, None]], axis=1).astype(np.float32)


def rescaled(keypoints: Keypoints, before: tuple[int, int], after: tuple[int, int]) -> Keypoints:
    """Keypoints of a picture of one size (width, height) in the same picture at another size."""
    return (keypoints * np.array([after[0] / before[0], after[1] / before[1], 1.0])).astype(np.float32)


def draw_skeleton(keypoints: Keypoints, size: tuple[int, int] = FRAME) -> np.ndarray:
    """OpenPose's coloured skeleton on black, uint8 (height, width, 3), as the bundled model's pose net learnt it.

    Limbs to a known joint outside the frame are drawn up to the border, since that direction is known.

    Args:
        keypoints: (18, 3) in pixels of the picture.
        size: (width, height) of the picture.
    """
    array = check_keypoints(keypoints)
    known, scale = known_joints(array), 2
    points = array[:, :2] * scale
    image = Image.new("RGB", (size[0] * scale, size[1] * scale))
    draw = ImageDraw.Draw(image)
    for index, (a, b) in enumerate(LIMBS):
        if known[a] and known[b]:
            colour = tuple(int(0.6 * c) for c in COLOURS[index])
            draw.line([tuple(points[a]), tuple(points[b])], fill=colour, width=3 * scale)
    for index in np.flatnonzero(known):
        x, y = points[index]
        r = 2.0 * scale
        draw.ellipse((x - r, y - r, x + r, y + r), fill=COLOURS[index])
    return np.asarray(image.reduce(scale))


def openpose_skeleton(keypoints: Keypoints, size: tuple[int, int], stick: int = 4) -> np.ndarray:
    """The skeleton as OpenPose draws it and public pose ControlNets were trained on it, pixel by pixel.

    Limbs are ellipses `stick` pixels to either side of the bone in 0.6 of their colour, joints are discs over them.
    Their centres, half lengths and angles are cut to integers, as those nets learnt it.

    Args:
        keypoints: (18, 3) in pixels of the picture; unknown joints 0, 0, 0.
        size: (width, height).
        stick: half a limb's width, and a joint's radius; see `stick_of`.

    Returns:
        uint8 (height, width, 3) on black.
    """
    array = check_keypoints(keypoints)
    known, points = known_joints(array), array[:, :2].astype(np.float64)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for index, (a, b) in enumerate(LIMBS):
        if known[a] and known[b]:
            _fill(image, *_rows(_ellipse(points[a], points[b], stick)), [int(0.6 * c) for c in COLOURS[index]])
    for index in np.flatnonzero(known):
        x, y = (int(value) for value in points[index])
        down = np.arange(-stick, stick + 1)
        half = _disc(stick)
        _fill(image, y + down, x - half, x + half, COLOURS[index])
    return image


def stick_of(size: tuple[int, int], thick: bool) -> int:
    """OpenPose's 4 pixels; for SDXL's pose nets (xinsir) as many times more as the picture's longer side asks."""
    longest = max(size)
    return 4 * (1 + sum(longest >= side for side in (500, 1000, 2000, 3000, 4000, 5000))) if thick else 4


def _ellipse(a: np.ndarray, b: np.ndarray, stick: int) -> np.ndarray:
    """Integer corners (n, 2) of the ellipse about a bone, one per degree."""
    centre, along = ((a + b) / 2).astype(int), a - b
    half = int(np.hypot(*along) / 2), stick
    turn = np.radians(int(np.degrees(np.arctan2(along[1], along[0]))) % 360)
    angles = np.radians(np.arange(361))
    x, y = half[0] * np.cos(angles), half[1] * np.sin(angles)
    rim = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
    return np.rint(rim + centre).astype(int)


def _rows(rim: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that a convex polygon covers, and the first and last pixel of each, its edges included."""
    ends = np.stack([rim, np.roll(rim, -1, axis=0)], 1)
    ends = np.where((ends[:, :1, :1] > ends[:, 1:, :1]), ends[:, ::-1], ends)  # from left to right
    starts, ends = ends[:, 0], ends[:, 1]
    steps = np.maximum(np.abs(ends - starts).max(1), 1)
    shares = np.arange(steps.max() + 1)[None] / steps[:, None]
    offsets = np.minimum(shares, 1)[..., None] * (ends - starts)[:, None]
    lines = np.sign(offsets) * np.ceil(np.abs(offsets) - 0.5 - 1e-9)  # halves stay with the start
    fill = np.where(offsets[..., 1:] == np.rint(offsets[..., 1:]), np.floor(offsets + 0.5), lines)  # halves go right
    x, y = (starts[None, :, None] + np.stack([lines, fill])).astype(int).reshape(-1, 2).T
    rows = np.arange(y.min(), y.max() + 1)
    left, right = np.full(len(rows), x.max()), np.full(len(rows), x.min())
    np.minimum.at(left, y - y.min(), x)
    np.maximum.at(right, y - y.min(), x)
    return rows, left, right


def _disc(radius: int) -> np.ndarray:
    """Half widths of a disc's 2 r + 1 rows, by the midpoint circle algorithm (Bresenham 1977)."""
    half = np.zeros(2 * radius + 1, int)
    x, y, error = radius, 0, 0
    plus, minus = 1, 2 * radius - 1
    while x >= y:
        for row, width in ((y, x), (x, y)):
            half[[radius - row, radius + row]] = np.maximum(half[[radius - row, radius + row]], width)
        y, error, plus = y + 1, error + plus, plus + 2
        if error > 0:
            error, x, minus = error - minus, x - 1, minus - 2
    return half


def _fill(image: np.ndarray, rows: np.ndarray, left: np.ndarray, right: np.ndarray, colour: Sequence[int]) -> None:
    """Paints spans, both ends included, as far as they lie in the picture."""
    for row, first, last in zip(rows, left, right, strict=True):
        if 0 <= row < len(image) and last >= 0:
            image[row, max(first, 0) : last + 1] = colour

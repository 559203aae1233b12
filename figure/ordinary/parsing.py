"""The parsing map of an ordinary, dressed person from 18 keypoints alone, by simple geometry.

Lengths are hundredths of the stature. Breadths after Drillis and Contini, "Body Segment Parameters" (1966): shoulders
25.9, chest 17.4, hips 19.1, head 8.7 by 13.0, foot 15.2, hand 10.8; girths of the limbs are an adult's, rounded.
Hair is that of the figure, its head fitted to these proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull

from twinset.figure import keypoints as kp
from twinset.figure.body import HAIR as HAIR_LAYER
from twinset.figure.body import HEAD as HEAD_LAYER
from twinset.figure.body import HOOD, LEFT_LIMB, LEGS, LOWER, NECK, RIGHT_LIMB, SHOES, UPPER, head_outline
from twinset.figure.body import SIDES as LIMBS
from twinset.figure.drawing.accessories import accessory_parts
from twinset.figure.drawing.hair import BALD, hair_parts
from twinset.figure.drawing.parts import BodyPart, label_map
from twinset.figure.keypoints import Keypoints
from twinset.figure.labels import FACE, HAIR, LEFT_SHOE, RIGHT_SHOE, garment_labels, garment_slot
from twinset.figure.labels import UPPER as CLOTHES
from twinset.figure.ordinary.frames import Posture, read_posture
from twinset.figure.poses import EYE_X, EYE_Y
from twinset.figure.rig import Rig

__all__ = ["PersonMap", "body_map", "body_maps"]

#: (half breadth, height along the bone) from top to bottom; a place given twice is a corner.
Outline = tuple[tuple[float, float], ...]

# Skin. Torso heights start at the neck keypoint, the hips are at 28.8; bones start at their upper joint.
_TRUNK: Outline = (
    (3.0, -6), (3.6, -4.6), (7, -3.2), (10, -2.5), (12, -1.4), (13, 0.8), (12.6, 4), (10.3, 8), (8.9, 13), (7.9, 20), (9.0, 26),
    (9.7, 30), (8, 33.5), (2, 34.2),
)  # fmt: skip
_CHEST: Outline = ((3.0, -6), (3.6, -4.6), (7, -3), (9.5, -1.6), (9.5, 1), (8, 6.5), (2, 8.5))
_UPPER_ARM: Outline = ((2.1, 0), (3.3, 4), (2.9, 12), (2.4, 18.6))
_FOREARM: Outline = ((2.4, 0), (2.7, 3.5), (2.0, 10), (1.6, 14.6))
_HAND: Outline = ((1.6, 0), (2.2, 3), (2.4, 5), (1.9, 8), (0.9, 9.6))
_THIGH: Outline = ((4.3, 0), (4.7, 4), (4.1, 14), (3.1, 24.5))
_SHIN: Outline = ((3.1, 0), (3.3, 6.5), (2.4, 16), (1.9, 24.6))

# Cloth.
_SHIRT: Outline = (
    (1.6, -3.4), (3.9, -5.0), (3.9, -5.0), (7.2, -3.7), (10, -3.0), (12.2, -1.8), (13.5, 0.8), (13.2, 4.5), (10.7, 8.8), (9.7, 14), (9.4, 20),
    (10.2, 27), (10.6, 31.5), (10.6, 31.5), (4, 32.2),
)  # fmt: skip
_TANK: Outline = (
    (4.2, 6.2), (5.0, 3.6), (5.2, -4.1), (5.2, -4.1), (8.4, -3.0), (8.4, -3.0), (8.4, 3), (10.5, 8.5), (9.3, 14),
    (8.9, 20), (9.9, 27), (10.3, 31), (10.3, 31), (4, 31.7),
)  # fmt: skip
_BODICE: Outline = (
    (3.0, 3.0), (4.6, 1.0), (5.4, -4.3), (5.4, -4.3), (10, -3.0), (12.2, -1.8), (13.5, 0.8), (13.1, 4.5), (10.5, 8.5), (9.3, 14),
    (8.4, 20), (9.8, 27), (9.8, 27), (3, 27.5),
)  # fmt: skip
_SHORT_SLEEVE: Outline = ((2.5, 0), (3.9, 3), (4.3, 10.5), (4.3, 10.5))
_SLEEVE: Outline = ((2.5, 0), (3.8, 4), (3.6, 12), (3.2, 18.6))
_CUFF: Outline = ((3.2, 0), (3.3, 3), (2.5, 13.4), (2.5, 13.4))
_YOKE: Outline = ((8.7, -8.5), (8.7, -8.5), (9.7, -3), (10.4, 1.5), (9.6, 5), (4, 6.6))
_TROUSER_THIGH: Outline = ((5.0, 0), (5.4, 4), (4.8, 14), (3.9, 24.5))
_TROUSER_SHIN: Outline = ((3.9, 0), (3.9, 7), (3.3, 23), (3.3, 23))
_SHAFT: Outline = ((3.8, 11), (3.8, 11), (3.4, 18), (2.9, 24.6))
_SHORTS: Outline = ((5.2, 0), (5.8, 4), (5.8, 13.5), (5.8, 13.5))
_HANDLE: Outline = ((0.6, -0.6), (2.2, 0.2), (3.6, 4.5), (3.6, 4.5))
_BAG: Outline = ((6.0, 4.2), (6.0, 4.2), (6.8, 8), (7.6, 14.5), (7.6, 14.5))
_HOOD_SHAPE: Outline = ((4.5, -7.5), (6.6, -6.0), (7.8, -3.0), (5.0, 1.0))
#: How much looser than a shirt.
_EASE = {"t_shirt": 0.0, "shirt": 0.0, "hoodie": 0.7, "jumper": 0.6, "suit_jacket": 0.8, "coat": 1.0}
#: Garment with a skirt -> its waist above the hips, its end down the thigh (1 is the knee), its flare at the end.
_SKIRTS = {"skirt": (8.5, 0.85, 3.4), "dress": (8.0, 0.92, 3.8), "coat": (8.5, 0.62, 1.6)}

#: The figure's head coordinates in hundredths of the stature: across, down, and its origin above the ears.
_HEAD_X, _HEAD_Y, _HEAD_LIFT = 10.6, 13.8, 0.5


@dataclass(frozen=True)
class PersonMap:
    """One of several people of a picture.

    Attributes:
        keypoints: float32 (18, 3) in pixels of the picture; unknown joints 0, 0, 0.
        garments: garment kinds worn.
        hair: one of `twinset.figure.drawing.hair.HAIR_STYLES`.
    """

    keypoints: Keypoints
    garments: Sequence[str]
    hair: str = "short"


def body_map(keypoints: Keypoints, size: tuple[int, int], garments: Sequence[str], hair: str = "short") -> np.ndarray:
    """Draws a dressed person of ordinary proportions as ATR labels.

    Trunk and head are completed where joints are unknown. An unknown joint of a limb is taken to be where the limb would
    reach if that is outside the frame; otherwise it is hidden, and the limb is drawn up to it. Arms lie in front of the
    trunk, of one seen from behind behind it, as does the far arm of one seen from the side. Trunk skin below the collar
    counts as upper-clothes, for which ATR has no other label.

    Args:
        keypoints: float32 (18, 3) in pixels; unknown joints 0, 0, 0.
        size: (width, height) of the map in pixels.
        garments: garment kinds, for instance ("t_shirt", "trousers", "shoes") or ("dress", "shoes").
        hair: one of `twinset.figure.drawing.hair.HAIR_STYLES`.

    Returns:
        uint8 (height, width), values 0 to 17; each pixel has the label at its centre.

    Raises:
        ValueError: an unknown kind or style.
        InputError: too few joints are known to tell where the person is.
    """
    return label_map(_parts(read_posture(keypoints, size), garments, hair), size)


def body_maps(people: Sequence[PersonMap], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws several people in one map; who is taller in the picture, so nearer, is in front.

    Args:
        people: whom to draw.
        size: (width, height) of the maps in pixels.

    Returns:
        Labels uint8 (height, width), and the owner int8 (height, width) of each pixel: -1 nobody, else the index into
        `people`.

    Raises:
        ValueError: an unknown kind or style.
        InputError: too few joints of a person are known.
    """
    labels = np.zeros((size[1], size[0]), np.uint8)
    owner = np.full(labels.shape, -1, np.int8)
    postures = [read_posture(person.keypoints, size) for person in people]
    for index in sorted(range(len(people)), key=lambda i: postures[i].unit):
        own = label_map(_parts(postures[index], people[index].garments, people[index].hair), size)
        labels, owner = np.where(own > 0, own, labels), np.where(own > 0, np.int8(index), owner)
    return labels, owner


def _parts(posture: Posture, garments: Sequence[str], hair: str) -> list[BodyPart]:
    clothes = [part for kind in garments for part in _garment(kind, posture)]
    return [*_trunk(posture), *_limbs(posture), *clothes, *_head(posture, garments, hair)]


# Shapes


def _smooth(points: np.ndarray) -> str:
    """Closed SVG path through points (N, 2); one given twice stays a corner."""
    steps = np.roll(points, -1, 0) - points
    tangents = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-6)
    reach = np.linalg.norm(steps, axis=1, keepdims=True) / 3
    near, ends = points + tangents * reach, points + steps
    far = np.roll(points - tangents * np.roll(reach, 1, 0), -1, 0)
    curves = "".join(
        f"C{a:.3f} {b:.3f} {c:.3f} {d:.3f} {e:.3f} {f:.3f}"
        for (a, b), (c, d), (e, f) in zip(near.tolist(), far.tolist(), ends.tolist(), strict=True)
    )
    return f"M{points[0, 0]:.3f} {points[0, 1]:.3f}{curves}Z"


def _outlined(outline: Outline, ease: float = 0.0) -> str:
    """The path of a symmetric shape, `ease` wider on each side."""
    half = np.array(outline) + np.array([ease, 0.0])
    return _smooth(np.concatenate([half, (half * (-1, 1))[::-1]]))


def _tube(outline: Outline, ease: float = 0.0) -> str:
    """The path of a limb; its ends are round, or cut off where the outline ends in a corner."""
    half = np.array(outline) + np.array([ease, 0.0])
    first, last = half[0], half[-1]
    cut = bool((half[-2] == last).all())
    start = [(0.0, first[1] - first[0]), (0.72 * first[0], first[1] - 0.72 * first[0])]
    tip = [] if cut else [(0.72 * last[0], last[1] + 0.72 * last[0]), (0.0, last[1] + last[0])]
    right = np.concatenate([np.array(start), half, np.array(tip).reshape(-1, 2)])
    left = right[1 : None if cut else -1] * (-1, 1)  # without the points on the axis
    return _smooth(np.concatenate([right, left[::-1]]))


def _hull(points: np.ndarray) -> str:
    """The path around all points (N, 2)."""
    around = points[ConvexHull(points).vertices].tolist()
    return "M" + "L".join(f"{x:.3f} {y:.3f}" for x, y in around) + "Z"


def _disc(x: float, y: float, across: float, down: float) -> np.ndarray:
    """(24, 2) points of an ellipse with these half axes."""
    angles = np.arange(24) * (2 * np.pi / 24)
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)


def _on(frame: np.ndarray, *points: tuple[float, float]) -> np.ndarray:
    """Part coordinates to pixels (N, 2)."""
    return np.array(points) @ frame[:, :2].T + frame[:, 2]


_PIXELS = np.eye(2, 3)


# Body


def _trunk(posture: Posture) -> list[BodyPart]:
    torso, neck = posture.frames["torso"], posture.frames["neck"]
    return [
        BodyPart("trunk", _outlined(_TRUNK), torso, CLOTHES, "skin", NECK - 2),
        BodyPart("chest", _outlined(_CHEST), torso, FACE, "skin", NECK),
        BodyPart("neck", _tube(((3.2, 0), (3.1, 3), (3.1, 8.4))), neck, FACE, "skin", NECK),
    ]


def _arm_layer(posture: Posture, side: str) -> int:
    """Where an arm lies: `body.RIGHT_LIMB` and `body.LEFT_LIMB`, or behind the trunk."""
    if posture.far == side:
        return LEGS - 6
    if posture.behind:
        return UPPER - 3
    return RIGHT_LIMB if side == "right" else LEFT_LIMB


def _sides(posture: Posture) -> list[tuple[str, int, int, int]]:
    """Side, labels of arm and leg, layer of the arm; the far side first."""
    rows = [(side, arm, leg, _arm_layer(posture, side)) for side, arm, leg, _ in LIMBS]
    return sorted(rows, key=lambda row: row[0] != posture.far)


def _limbs(posture: Posture) -> list[BodyPart]:
    found = []
    for side, arm, leg, layer in _sides(posture):
        shapes = (
            ("foot", None, leg, LEGS), ("shin", _SHIN, leg, LEGS), ("thigh", _THIGH, leg, LEGS),
            ("upper_arm", _UPPER_ARM, arm, layer), ("forearm", _FOREARM, arm, layer), ("hand", _HAND, arm, layer),
        )  # fmt: skip
        for name, outline, label, height in shapes:
            part = f"{side}_{name}"
            if part in posture.frames:
                path = _foot(posture, side, 0.0) if outline is None else _tube(outline)
                found.append(BodyPart(part, path, posture.frames[part], label, "skin", height))
    return found


def _foot(posture: Posture, side: str, ease: float) -> str:
    """A foot from the ankle: towards the viewer and outwards, to the front of one seen from the side."""
    outwards = -1.4 if side == "right" else 1.4
    toes, down = (-0.5 * outwards, 1.8) if posture.behind else (outwards, 3.6)
    if posture.sideways:
        toes, down = 8.0 * posture.facing, 2.4
    heel = _disc(-0.2 * toes if posture.sideways else 0.0, 1.9, 2.2 + ease, 1.8 + ease)
    ball = _disc(toes, down, 2.6 + ease, 1.4 + ease)
    return _hull(np.concatenate([_disc(0.0, -1.2, 1.9 + ease, 1.6), heel, ball]))


def _face_frame(posture: Posture) -> np.ndarray:
    """The frame of the figure's face on a head that is turned to a side, so narrower."""
    lean = float(np.sin(posture.yaw))
    return _fitted(posture.frames["head"], 1 - 0.34 * abs(lean) ** 1.5, 2.3 * lean)


def _head(posture: Posture, garments: Sequence[str], hair: str) -> list[BodyPart]:
    """Skull, ears and face of one seen from any side, with the figure's hair."""
    head, lean, hat = (
        posture.frames["head"],
        float(np.sin(posture.yaw)),
        any(garment_slot(k) == "hat" for k in garments),
    )
    skull = _hull(_disc(-1.0 * lean, -2.6, 4.4 + 0.9 * abs(lean), 5.3))
    face = _face_frame(posture)
    tail = _fitted(head, -1.0 if lean > 0.3 else 1.0, -0.6 * lean)  # a pony tail hangs to the back
    if hair == BALD:
        bare = [BodyPart("skull", skull, head, FACE, "skin", HEAD_LAYER - 2)]
        return [*bare, BodyPart("head", head_outline(), face, FACE, "face", HEAD_LAYER), *_features(posture, lean)]
    back, cap = hair_parts(Rig(posture.joints, posture.unit, {"head": tail}), hair, hat=hat)
    found = [BodyPart("skull", skull, head, HAIR, "hair", HEAD_LAYER - 2)]
    if not posture.face:
        return [*found, replace(cap, layer=HEAD_LAYER - 1), replace(back, layer=HAIR_LAYER)]
    found += [back, BodyPart("head", head_outline(), face, FACE, "face", HEAD_LAYER), replace(cap, matrix=face)]
    return found + _features(posture, lean)


def _fitted(head: np.ndarray, narrow: float, shift: float) -> np.ndarray:
    """The frame of the figure's head coordinates on this head, narrower and moved to its left."""
    columns = head[:, :2] * (narrow * _HEAD_X, _HEAD_Y)
    return np.column_stack([columns, head @ np.array([shift, -_HEAD_LIFT, 1.0])])


def _features(posture: Posture, lean: float) -> list[BodyPart]:
    """Ears that are seen, and the nose where it stands out."""
    inverse = np.linalg.inv(posture.frames["head"][:, :2])
    seen = [(joint, 0.9, 1.5) for joint in (kp.R_EAR, kp.L_EAR)] + [(kp.NOSE, 1.0, 1.2)] * (abs(lean) > 0.6)
    found = []
    for joint, across, down in seen:
        if posture.known[joint]:
            x, y = inverse @ (posture.joints[joint] - posture.frames["head"][:, 2])
            path = _hull(_disc(x, y, across, down))
            found.append(BodyPart(kp.KEYPOINT_NAMES[joint], path, posture.frames["head"], FACE, "skin", HEAD_LAYER))
    return found


# Garments


def _garment(kind: str, posture: Posture) -> list[BodyPart]:
    slot, label = garment_slot(kind), garment_labels(kind)[0]
    if slot == "shoes":
        return _shoes(kind, posture)
    if slot in ("hat", "eyewear"):
        return _on_head(kind, posture)
    if slot == "bag":
        return _bag(posture, label)
    if kind == "skirt":
        return [BodyPart("skirt", _skirt(kind, posture), _PIXELS, label, slot, LOWER)]
    return _upper(kind, posture, label) if slot == "upper" else _legs(kind, posture, label)


def _upper(kind: str, posture: Posture, label: int) -> list[BodyPart]:
    torso, ease = posture.frames["torso"], _EASE.get(kind, 0.0)
    path = {"tank_top": _TANK, "dress": _BODICE}.get(kind, _SHIRT)
    found = [BodyPart("torso", _outlined(path, ease), torso, label, "upper", UPPER)]
    if kind in _SKIRTS:
        found.append(BodyPart("tail", _skirt(kind, posture), _PIXELS, label, "upper", UPPER - 1))
    if kind == "hoodie":
        found.append(BodyPart("hood", _outlined(_HOOD_SHAPE), torso, label, "upper", HOOD if posture.face else UPPER))
    if kind == "tank_top":
        return found
    return found + _sleeves(posture, label, kind in ("t_shirt", "dress"), ease)


def _sleeves(posture: Posture, label: int, short: bool, ease: float) -> list[BodyPart]:
    frames = posture.frames
    shapes = (("upper_arm", _SHORT_SLEEVE),) if short else (("upper_arm", _SLEEVE), ("forearm", _CUFF))
    return [
        BodyPart(f"{side}_{name}_cloth", _tube(shape, 0.6 * ease), frames[f"{side}_{name}"], label, "upper", layer + 1)
        for side, _, _, layer in _sides(posture)
        for name, shape in shapes
        if f"{side}_{name}" in frames
    ]


def _legs(kind: str, posture: Posture, label: int) -> list[BodyPart]:
    shapes = (("thigh", _SHORTS),) if kind == "shorts" else (("shin", _TROUSER_SHIN), ("thigh", _TROUSER_THIGH))
    legs = [
        BodyPart(f"{side}_{name}_cloth", _tube(shape), posture.frames[f"{side}_{name}"], label, "lower", LOWER)
        for side, _, _, _ in _sides(posture)
        for name, shape in shapes
        if f"{side}_{name}" in posture.frames
    ]
    return [*legs, BodyPart("yoke", _outlined(_YOKE), posture.frames["pelvis"], label, "lower", LOWER)]


def _skirt(kind: str, posture: Posture) -> str:
    """Path in pixels around the waist, the hips and both thighs down to the hem."""
    above, end, flare = _SKIRTS[kind]
    pelvis, ease = posture.frames["pelvis"], _EASE.get(kind, 0.0)
    around = [_on(pelvis, (-8.6 - ease, -above), (8.6 + ease, -above), (-10.4 - ease, 1), (10.4 + ease, 1))]
    for side in ("right", "left"):
        thigh, y = posture.thigh(side), 24.5 * end
        around.append(_on(thigh, (-4.6 - flare, y), (4.6 + flare, y), (0.0, y + 1.0)))
    return _hull(np.concatenate(around))


def _on_head(kind: str, posture: Posture) -> list[BodyPart]:
    """The figure's hat or eyewear, its head fitted to this one; eyewear is not seen from behind."""
    if garment_slot(kind) == "eyewear" and not posture.face:
        return []
    face = _face_frame(posture)
    joints = posture.joints.copy()
    joints[[kp.R_EYE, kp.L_EYE]] = _on(face, (-EYE_X, EYE_Y), (EYE_X, EYE_Y))
    return accessory_parts(kind, Rig(joints, posture.unit, {"head": face}))


def _shoes(kind: str, posture: Posture) -> list[BodyPart]:
    labels = {"right": RIGHT_SHOE, "left": LEFT_SHOE}
    shafts = [
        BodyPart(f"{side}_shaft", _tube(_SHAFT), posture.frames[f"{side}_shin"], labels[side], "shoes", HOOD)
        for side, _, _, _ in _sides(posture)
        if kind == "boots" and f"{side}_shin" in posture.frames
    ]
    return shafts + [
        BodyPart(
            f"{side}_shoe", _foot(posture, side, 0.4), posture.frames[f"{side}_foot"], labels[side], "shoes", SHOES
        )
        for side, _, _, _ in _sides(posture)
        if f"{side}_foot" in posture.frames
    ]


def _bag(posture: Posture, label: int) -> list[BodyPart]:
    """A handbag that hangs straight down from the lower hand, at the hip where no hand is seen."""
    hands = [posture.frames[f"{side}_hand"] for side in ("right", "left") if f"{side}_hand" in posture.frames]
    grips = [_on(hand, (0.0, 5.5))[0] for hand in hands] or [_on(posture.frames["pelvis"], (-11.0, -2.0))[0]]
    hanging = np.column_stack([np.eye(2) * posture.unit, max(grips, key=lambda grip: grip[1])])
    shapes = ((_HANDLE, "handle", LEFT_LIMB + 1), (_BAG, "bag", LEFT_LIMB + 2))
    return [BodyPart(name, _outlined(shape), hanging, label, "bag", layer) for shape, name, layer in shapes]

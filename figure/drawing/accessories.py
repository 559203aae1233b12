"""Footwear, hats, eyewear and the shoulder bag as parts.

A foot's frame starts at the ankle; hats and eyewear are in head coordinates.
"""

from __future__ import annotations

import numpy as np

from twinset.figure.body import HAIR, HEAD, HOOD, SHOES, UPPER
from twinset.figure.drawing.parts import BodyPart, mirrored
from twinset.figure.keypoints import L_EYE, R_EYE
from twinset.figure.labels import LEFT_SHOE, RIGHT_SHOE, garment_labels
from twinset.figure.poses import EAR_X, EYE_Y
from twinset.figure.rig import Rig

#: Drawing layers; boots go over trousers.
BOOTS, HAT, EYEWEAR, BAG = HOOD, HAIR + 2, HEAD + 2, UPPER + 2

#: Furthest that glasses follow the eyes from the middle of the head.
_FURTHEST = 0.12


def _disc(x: float, y: float, rx: float, ry: float, sweep: int = 1) -> str:
    """An ellipse; with `sweep` 0 it runs the other way round, which makes it a hole in another."""
    arc = f"A{rx} {ry} 0 1 {sweep}"
    return f"M{x - rx:.3f} {y}{arc} {x + rx:.3f} {y}{arc} {x - rx:.3f} {y}Z"


def _ribs(left: float, right: float, count: int, top: float, bottom: float, sag: float) -> str:
    """Upright strokes between two heights that hang through by `sag` in the middle."""
    xs = np.linspace(left, right, count)
    drop = sag * (1 - (xs / right) ** 2)
    return "".join(f"M{x:.3f} {top + d:.3f}L{x:.3f} {bottom + d:.3f}" for x, d in zip(xs, drop, strict=True))


# Hats

_BEANIE_CUFF = "M-.525 -.45C-.3 -.37 .3 -.37 .525 -.45C.55 -.4 .54 -.3 .515 -.27C.3 -.21 -.3 -.21 -.515 -.27C-.54 -.3 -.55 -.4 -.525 -.45Z"
_BEANIE = "M-.5 -.36C-.54 -.7 -.3 -.86 0 -.86C.3 -.86 .54 -.7 .5 -.36Z" + _BEANIE_CUFF + _disc(0, -0.9, 0.125, 0.115)
_BEANIE_DETAILS = (
    ("line", "M0 -.8L0 -.4M-.17 -.79C-.22 -.66 -.24 -.55 -.24 -.42M.17 -.79C.22 -.66 .24 -.55 .24 -.42M-.31 -.73C-.38 -.63 -.41 -.55 -.41 -.45M.31 -.73C.38 -.63 .41 -.55 .41 -.45"),
    ("dark", _BEANIE_CUFF),
    ("line", _ribs(-0.45, 0.45, 11, -0.41, -0.31, 0.05)),
    ("light", _disc(0, -0.9, 0.125, 0.115)),
    ("line", "M-.06 -.95l.03 .04M.05 -.96l-.01 .05M-.04 -.86l.04 -.02M.05 -.87l.03 .03M0 -.93l0 .02"),
)  # fmt: skip
_BRIM = "M-.79 -.27C-.8 -.42 -.45 -.48 0 -.48C.45 -.48 .8 -.42 .79 -.27C.7 -.2 .4 -.235 0 -.235C-.4 -.235 -.7 -.2 -.79 -.27Z"
_STRAW_HAT = "M-.46 -.36C-.47 -.66 -.4 -.85 0 -.85C.4 -.85 .47 -.66 .46 -.36Z" + _BRIM
_STRAW_DETAILS = (
    ("weave", "M-.44 -.62C-.2 -.57 .2 -.57 .44 -.62M-.41 -.71C-.2 -.66 .2 -.66 .41 -.71M-.34 -.78C-.15 -.75 .15 -.75 .34 -.78"),
    ("second", "M-.468 -.54C-.25 -.48 .25 -.48 .468 -.54L.465 -.39C.25 -.33 -.25 -.33 -.465 -.39Z"),
    ("weave", "M-.66 -.39C-.6 -.33 -.3 -.31 0 -.31C.3 -.31 .6 -.33 .66 -.39M-.75 -.31C-.65 -.26 -.35 -.272 0 -.272C.35 -.272 .65 -.26 .75 -.31"),
)  # fmt: skip
_VISOR = "M-.43 -.36C-.2 -.43 .2 -.43 .43 -.36C.53 -.31 .56 -.22 .5 -.185C.3 -.265 -.3 -.265 -.5 -.185C-.56 -.22 -.53 -.31 -.43 -.36Z"
_CAP = (
    "M-.49 -.3C-.53 -.66 -.33 -.8 0 -.8C.33 -.8 .53 -.66 .49 -.3C.3 -.38 -.3 -.38 -.49 -.3Z" + _VISOR + _disc(0, -0.81, 0.05, 0.028)
)  # fmt: skip
_CAP_DETAILS = (
    ("line", "M0 -.78L0 -.41M-.06 -.79C-.26 -.74 -.34 -.6 -.34 -.38M.06 -.79C.26 -.74 .34 -.6 .34 -.38"),
    ("dark", _VISOR),
    ("line", "M-.46 -.23C-.28 -.3 .28 -.3 .46 -.23"),
    ("second", _disc(0, -0.57, 0.1, 0.09)),
)
_HATS = {"beanie": (_BEANIE, _BEANIE_DETAILS), "straw_hat": (_STRAW_HAT, _STRAW_DETAILS), "cap": (_CAP, _CAP_DETAILS)}

# Eyewear

_LENS_X, _LENS_Y = 0.185, 0.022


#: From a lens (0) to the ear (1).
_TEMPLE = "M-.15 -.028L1 -.045L1 -.02L-.15 -.004Z"
_TEMPLE_START = 0.315
_BRIDGE = "M-.045 -.02C-.03 -.04 .03 -.04 .045 -.02L.045 .005C.03 -.014 -.03 -.014 -.045 .005Z"
_DARK_LENSES = (
    "M-.05 -.06C-.15 -.1 -.27 -.1 -.335 -.075C-.345 .06 -.3 .155 -.2 .155C-.11 .155 -.055 .07 -.05 -.06Z"
    "M.05 -.06C.15 -.1 .27 -.1 .335 -.075C.345 .06 .3 .155 .2 .155C.11 .155 .055 .07 .05 -.06Z"
)
_DARK_FRAME = (
    "M-.03 -.075C-.15 -.13 -.3 -.13 -.36 -.1C-.38 .06 -.32 .18 -.2 .18C-.09 .18 -.035 .09 -.03 -.075Z"
    "M.03 -.075C.15 -.13 .3 -.13 .36 -.1C.38 .06 .32 .18 .2 .18C.09 .18 .035 .09 .03 -.075Z"
)


def _eyewear(kind: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Frame and details; the label and the colour are the frame's, so of clear glasses the eyes stay a face."""
    if kind == "sunglasses":
        shine = "M-.29 -.05L-.2 -.06L-.26 .06Z" + "M.11 -.05L.2 -.06L.14 .06Z"
        return _DARK_FRAME + _BRIDGE, (("lens", _DARK_LENSES), ("glass", shine))
    rims = "".join(
        _disc(side * _LENS_X, _LENS_Y, 0.15, 0.13) + _disc(side * _LENS_X, _LENS_Y, 0.129, 0.109, 0) for side in (-1, 1)
    )
    glint = "M-.25 -.03L-.21 -.06L-.255 .04Z" + "M.12 -.03L.16 -.06L.115 .04Z"
    return rims + _BRIDGE, (("glass", glint),)


def _temples(frame: np.ndarray, shift: float, label: int) -> list[BodyPart]:
    """Each reaches from its lens to its ear, which stays where it is when the face turns by `shift`."""
    found = []
    for name, side in (("right_temple", -1), ("left_temple", 1)):
        length = max(EAR_X - 0.005 - _TEMPLE_START - side * shift, 0.01)
        start = frame @ np.array([side * _TEMPLE_START, 0.0, 1.0])
        own = np.column_stack([side * length * frame[:, 0], frame[:, 1], start])
        found.append(BodyPart(name, _TEMPLE, own, label, "eyewear", EYEWEAR))
    return found


def _before_eyes(rig: Rig) -> tuple[np.ndarray, float]:
    """The head's frame moved to the eyes, which a turned head has off its middle, and how far sideways."""
    head = rig.frames["head"]
    between = (rig.joints[R_EYE] + rig.joints[L_EYE]) / 2
    x, y = np.linalg.solve(head[:, :2], between - head[:, 2])
    x, y = (float(np.clip(value, -_FURTHEST, _FURTHEST)) for value in (x, y - EYE_Y))
    return np.column_stack([head[:, :2], head @ np.array([x, y, 1.0])]), x


# Bag

_STRAP = "M-.285 -.065L-.225 -.085C-.1 .25 .1 .6 .4 .93L.335 .95C.05 .64 -.16 .3 -.285 -.065Z"
_POUCH = "M.16 -.05C.3 -.075 .46 -.075 .6 -.05C.635 .08 .645 .22 .63 .31C.5 .345 .26 .345 .13 .31C.115 .22 .125 .08 .16 -.05Z"
_POUCH_DETAILS = (
    ("dark", "M.16 -.05C.3 -.075 .46 -.075 .6 -.05C.62 .03 .62 .08 .61 .12C.5 .19 .26 .19 .15 .12C.14 .08 .14 .03 .16 -.05Z"),
    ("metal", "M.35 .14L.41 .14L.41 .2L.35 .2Z"),
)  # fmt: skip


def accessory_parts(kind: str, rig: Rig) -> list[BodyPart]:
    """The parts of a hat, of eyewear or of the shoulder bag on a figure."""
    label = garment_labels(kind)[0]
    if kind in _HATS:
        path, details = _HATS[kind]
        return [BodyPart("hat", path, rig.frames["head"], label, "hat", HAT, details)]
    if kind == "bag":
        return [
            BodyPart("strap", _STRAP, rig.frames["torso"], label, "bag", BAG),
            BodyPart("pouch", _POUCH, rig.frames["pelvis"], label, "bag", BAG, _POUCH_DETAILS),
        ]
    frame, shift = _before_eyes(rig)
    path, details = _eyewear(kind)
    rims = BodyPart("eyewear", path, frame, label, "eyewear", EYEWEAR, details)
    return [*_temples(frame, shift, label), rims]


# Footwear

_SHOE = "M-.092 -.1C-.03 -.085 .03 -.085 .092 -.1C.095 0 .1 .05 .105 .12C.105 .15 -.2 .155 -.205 .12C-.21 .04 -.115 .03 -.092 -.1Z"
_SHOE_DETAILS = (("light", "M.107 .1L.105 .13C.1 .155 -.2 .16 -.205 .125L-.207 .1Z"), ("line", "M-.09 -.03L.09 -.03"))
_SHAFT = "M-.14 .33C-.05 .305 .05 .305 .14 .33L.122 .76C.05 .78 -.05 .78 -.122 .76Z"
_SHAFT_DETAILS = (
    ("dark", "M-.142 .33C-.05 .305 .05 .305 .142 .33L.139 .4C.05 .375 -.05 .375 -.139 .4Z"),
    ("line", "M-.06 .68C-.02 .7 .04 .7 .08 .66"),
)
_BOOT = "M-.122 -.1L.122 -.1C.125 0 .122 .06 .125 .13C.125 .165 -.23 .17 -.237 .13C-.245 .03 -.14 .02 -.122 -.1Z"
_BOOT_DETAILS = (
    ("dark", "M.124 .1L.125 .13C.125 .165 -.23 .17 -.237 .13L-.238 .1C-.15 .12 .05 .12 .124 .1Z"),
    ("line", "M-.125 -.02C-.06 .01 .02 .01 .07 -.02M-.11 -.07C-.05 -.04 .02 -.04 .06 -.07"),
)
_HEEL = (
    "M.092 -.03C.06 .05 0 .085 -.07 .075C-.1 .07 -.115 .05 -.125 .035C-.17 .07 -.225 .13 -.228 .17C-.228 .2 -.17 .205 -.12 .2"
    "C-.05 .19 0 .155 .05 .15L.06 .235L.09 .235L.106 .12C.11 .07 .103 .02 .092 -.03Z"
)
_HEEL_DETAILS = (("dark", "M.05 .15L.06 .235L.09 .235L.104 .125Z"), ("shine", "M-.2 .16C-.19 .12 -.16 .09 -.13 .085C-.16 .11 -.17 .13 -.18 .16Z"))  # fmt: skip
_FEET = {"shoes": (_SHOE, _SHOE_DETAILS, SHOES), "boots": (_BOOT, _BOOT_DETAILS, BOOTS), "heels": (_HEEL, _HEEL_DETAILS, SHOES)}  # fmt: skip


def footwear_parts(kind: str, rig: Rig) -> list[BodyPart]:
    """The parts of "shoes", "boots" or "heels"; heels leave the foot's skin in sight."""
    path, details, layer = _FEET[kind]
    found = []
    for side, label in (("right", RIGHT_SHOE), ("left", LEFT_SHOE)):
        foot, shin = rig.frames[f"{side}_foot"], rig.frames[f"{side}_shin"]
        if side == "left":
            foot, shin = mirrored(foot), mirrored(shin)
        if kind == "boots":
            found.append(BodyPart(f"{side}_shaft", _SHAFT, shin, label, "shoes", layer, _SHAFT_DETAILS))
        found.append(BodyPart(f"{side}_shoe", path, foot, label, "shoes", layer, details))
    return found

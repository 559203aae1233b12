"""Garments as parts that follow the limbs; the same paths draw the worn and the flat garment."""

from __future__ import annotations

from dataclasses import dataclass

from twinset.figure.body import HOOD, LEFT_LIMB, LOWER, RIGHT_LIMB, UPPER
from twinset.figure.colours import RGB
from twinset.figure.drawing.accessories import accessory_parts, footwear_parts
from twinset.figure.drawing.parts import BodyPart, capsule
from twinset.figure.labels import GARMENT_KINDS, garment_slot
from twinset.figure.poses import SHIN, UPPER_ARM
from twinset.figure.rig import Rig


@dataclass(frozen=True)
class GarmentDesign:
    """One piece of clothing. `second` colours the pattern, the logo, a tie and a hat's ribbon."""

    kind: str
    colour_name: str
    colour: RGB
    second: RGB
    pattern: str = "plain"
    logo: str | None = None


_SIDE_R = "C-.31 .42 -.262 .5 -.255 .6C-.25 .74 -.29 .86 -.3 1.0"
_HEM = "C-.15 1.035 .15 1.035 .3 1.0"
_SIDE_L = "C.29 .86 .25 .74 .255 .6C.262 .5 .31 .42 .31 .24"
_TORSO = (
    "M-.15 -.088C-.25 -.062 -.33 -.065 -.375 .02L-.31 .24" + _SIDE_R + _HEM + _SIDE_L
    + "L.375 .02C.33 -.065 .25 -.062 .15 -.088C.12 .0 .06 .03 0 .03C-.06 .03 -.12 .0 -.15 -.088Z"
)  # fmt: skip
_TANK = (
    "M-.22 -.072L-.14 -.085C-.13 .04 -.07 .13 0 .13C.07 .13 .13 .04 .14 -.085L.22 -.072C.225 .08 .25 .17 .31 .24"
    "C.31 .42 .262 .5 .255 .6C.25 .74 .29 .86 .3 1.0C.15 1.035 -.15 1.035 -.3 1.0"
    "C-.29 .86 -.25 .74 -.255 .6C-.262 .5 -.31 .42 -.31 .24C-.25 .17 -.225 .08 -.22 -.072Z"
)
_BODICE = (
    "M-.2 -.075C-.25 -.062 -.33 -.065 -.375 .02L-.31 .24C-.31 .42 -.27 .55 -.258 .7L.258 .7C.27 .55 .31 .42 .31 .24"
    "L.375 .02C.33 -.065 .25 -.062 .2 -.075C.17 .04 .08 .09 0 .09C-.08 .09 -.17 .04 -.2 -.075Z"
)
_SHORT_SLEEVE = (
    "M-.128 .0C-.13 -.09 -.07 -.122 0 -.122C.07 -.122 .13 -.09 .128 .0L.138 .235C.06 .262 -.06 .262 -.138 .235Z"
)
_UPPER_SLEEVE = capsule(0.122, 0.105, UPPER_ARM)
_LOWER_SLEEVE = "M-.105 0A.105 .105 0 0 1 .105 0L.092 .4C.04 .42 -.04 .42 -.092 .4Z"
_HOOD = "M-.2 -.02C-.36 -.12 -.34 -.3 -.2 -.34L.2 -.34C.34 -.3 .36 -.12 .2 -.02C.1 .12 -.1 .12 -.2 -.02Z"
_YOKE = "M-.262 -.17C-.1 -.155 .1 -.155 .262 -.17C.3 -.06 .335 .02 .335 .1C.3 .18 .1 .2 0 .17C-.1 .2 -.3 .18 -.335 .1C-.335 .02 -.3 -.06 -.262 -.17Z"
_SHORT_LEG = "M-.165 0A.165 .165 0 0 1 .165 0L.178 .4C.08 .425 -.08 .425 -.178 .4Z"
_SHIN_LEG = f"M-.128 0A.128 .128 0 0 1 .128 0L.118 {SHIN - 0.09:.2f}C.05 {SHIN - 0.06:.2f} -.05 {SHIN - 0.06:.2f} -.118 {SHIN - 0.09:.2f}Z"
_JACKET = (
    "M-.15 -.088C-.25 -.062 -.335 -.068 -.385 .02L-.315 .24C-.31 .42 -.268 .5 -.262 .6C-.258 .74 -.31 .9 -.325 1.08"
    "C-.22 1.12 -.12 1.1 -.07 1.06L0 .93L.07 1.06C.12 1.1 .22 1.12 .325 1.08C.31 .9 .258 .74 .262 .6C.268 .5 .31 .42 .315 .24"
    "L.385 .02C.335 -.068 .25 -.062 .15 -.088C.12 .0 .06 .03 0 .03C-.06 .03 -.12 .0 -.15 -.088Z"
)

_RIB = "M-.1 .0C-.06 .055 .06 .055 .1 .0"
_T_DETAILS = (("line", "M-.165 -.08C-.13 .03 -.07 .065 0 .065C.07 .065 .13 .03 .165 -.08"),)
_SHIRT_DETAILS = (
    ("line", "M0 .05L0 1.02"),
    ("light", "M-.15 -.1L-.19 .03L-.09 .11L0 .03L.09 .11L.19 .03L.15 -.1C.1 0 .06 .03 0 .03C-.06 .03 -.1 0 -.15 -.1Z"),
    ("dots", "M0 .2h0M0 .38h0M0 .56h0M0 .74h0M0 .92h0"),
)
_HOODIE_DETAILS = (
    (
        "dark",
        "M-.15 -.088C-.2 -.05 -.16 .05 0 .09C.16 .05 .2 -.05 .15 -.088C.12 .0 .06 .03 0 .03C-.06 .03 -.12 .0 -.15 -.088Z",
    ),
    ("line", "M-.13 .7L.13 .7L.19 .9L-.19 .9Z"),
    ("cord", "M-.06 .07L-.07 .24M.06 .07L.07 .24"),
)
_COAT_DETAILS = (
    ("inner", "M-.09 -.06C-.06 .02 .06 .02 .09 -.06L.075 1.03L-.075 1.03Z"),
    ("dark", "M-.15 -.09L-.21 .08L-.07 .42L-.075 .1ZM.15 -.09L.21 .08L.07 .42L.075 .1Z"),
)
_JACKET_DETAILS = (
    ("inner", "M-.15 -.088C-.12 .0 -.06 .03 0 .03C.06 .03 .12 .0 .15 -.088L.02 .57L-.02 .57Z"),
    ("necktie", "M-.038 .035L.038 .035L.026 .1L.042 .4L0 .54L-.042 .4L-.026 .1Z"),
    ("line", "M-.03 .1L.03 .1"),
    ("inner", "M-.15 -.09L-.1 .085L0 .03C-.06 .03 -.12 0 -.15 -.09ZM.15 -.09L.1 .085L0 .03C.06 .03 .12 0 .15 -.09Z"),
    (
        "dark",
        "M-.16 -.088L-.255 .09L-.17 .12L-.205 .19L0 .62L0 .545ZM.16 -.088L.255 .09L.17 .12L.205 .19L0 .62L0 .545Z",
    ),
    ("line", "M0 .6L0 .94M-.26 .79L-.11 .79M.11 .79L.26 .79M.12 .4L.22 .385"),
    ("dots", "M-.0 .68h0M0 .83h0"),
)
_KNIT = "".join(f"M{x} .16" + "q.035 .03 0 .065q-.035 .03 0 .065" * 5 for x in (-0.13, 0.13))
_JUMPER_DETAILS = (
    ("line", _KNIT),
    ("dark", "M-.15 -.088L-.205 -.08C-.165 .06 -.08 .105 0 .105C.08 .105 .165 .06 .205 -.08L.15 -.088C.12 0 .06 .03 0 .03C-.06 .03 -.12 0 -.15 -.088Z"),
    ("dark", "M-.285 .89C-.15 .925 .15 .925 .285 .89L.3 1.0C.15 1.035 -.15 1.035 -.3 1.0Z"),
    ("line", "".join(f"M{x:.2f} .93L{x * 1.03:.3f} 1.005" for x in (-.24, -.18, -.12, -.06, 0, .06, .12, .18, .24))),
)  # fmt: skip
_RIBBED_CUFF = (("dark", "M-.1 .3C-.04 .32 .04 .32 .1 .3L.092 .4C.04 .42 -.04 .42 -.092 .4Z"), ("line", "M-.05 .325L-.047 .395M0 .33L0 .4M.05 .325L.047 .395"))  # fmt: skip
_SLEEVE_HEM = (("line", "M-.135 .2C-.06 .225 .06 .225 .135 .2"),)
_CUFF = (("line", "M-.095 .33C-.04 .35 .04 .35 .095 .33"),)
_UPPER_DETAILS = {
    "t_shirt": _T_DETAILS, "shirt": _SHIRT_DETAILS, "hoodie": _HOODIE_DETAILS, "coat": _COAT_DETAILS,
    "suit_jacket": _JACKET_DETAILS, "jumper": _JUMPER_DETAILS,
}  # fmt: skip


def _sleeves(rig: Rig, label: int, length: str, cuff: tuple[tuple[str, str], ...] = _CUFF) -> list[BodyPart]:
    found: list[BodyPart] = []
    for side, layer in (("right", RIGHT_LIMB + 2), ("left", LEFT_LIMB + 2)):
        upper, fore = rig.frames[f"{side}_upper_arm"], rig.frames[f"{side}_forearm"]
        if length == "short":
            found.append(BodyPart(f"{side}_sleeve", _SHORT_SLEEVE, upper, label, "upper", layer, _SLEEVE_HEM))
        else:
            found.append(BodyPart(f"{side}_sleeve", _UPPER_SLEEVE, upper, label, "upper", layer))
            found.append(BodyPart(f"{side}_cuff", _LOWER_SLEEVE, fore, label, "upper", layer, cuff))
    return found


def _skirt_path(rig: Rig, top: float, waist: float, hem: float, flare: float) -> str:
    """A skirt in pelvis coordinates, wide enough at the hem for both thighs."""
    inverse, sides = rig.frames["pelvis"], []
    for side in (-1.0, 1.0):
        thigh = rig.frames["right_thigh" if side < 0 else "left_thigh"]
        knee = thigh[:, 2] + thigh[:, 1] * hem - inverse[:, 2]
        local = float((_solve(inverse, knee))[0])
        sides.append(side * max(flare, min(side * local + 0.19, flare + 0.35)))
    left, right = sides
    return (
        f"M{-waist} {top}C{-waist / 3:.3f} {top + 0.015} {waist / 3:.3f} {top + 0.015} {waist} {top}"
        f"C{waist + 0.09:.3f} {top * 0.3:.3f} {0.85 * right:.3f} .2 {right:.3f} {hem}"
        f"C{right / 2:.3f} {hem + 0.05} {left / 2:.3f} {hem + 0.05} {left:.3f} {hem}"
        f"C{0.85 * left:.3f} .2 {-waist - 0.09:.3f} {top * 0.3:.3f} {-waist} {top}Z"
    )


def _solve(frame, offset):
    """Part coordinates of a pixel offset from the frame's origin."""
    (a, c), (b, d) = frame[:, :2].tolist()
    det = a * d - b * c or 1e-6
    return (d * offset[0] - c * offset[1]) / det, (a * offset[1] - b * offset[0]) / det


def _upper(kind: str, rig: Rig, label: int) -> list[BodyPart]:
    torso = rig.frames["torso"]
    if kind == "tank_top":
        return [BodyPart("torso", _TANK, torso, label, "upper", UPPER)]
    path = _JACKET if kind == "suit_jacket" else _TORSO
    found = [BodyPart("torso", path, torso, label, "upper", UPPER, _UPPER_DETAILS[kind])]
    if kind == "hoodie":
        found.append(BodyPart("hood", _HOOD, torso, label, "upper", HOOD))
    if kind == "coat":
        tail = (("inner", "M-.075 -.1L.075 -.1L.1 .46L-.1 .46Z"),)
        path = _skirt_path(rig, -0.16, 0.285, 0.4, 0.36)
        found.insert(0, BodyPart("tail", path, rig.frames["pelvis"], label, "upper", UPPER - 1, tail))
    cuff = _RIBBED_CUFF if kind == "jumper" else _CUFF
    return found + _sleeves(rig, label, "short" if kind == "t_shirt" else "long", cuff)


def _dress(rig: Rig, label: int) -> list[BodyPart]:
    folds = (("line", "M-.12 .05L-.19 .5M.12 .05L.19 .5M0 .1L0 .52"),)
    skirt = BodyPart(
        "skirt", _skirt_path(rig, -0.25, 0.26, 0.56, 0.46), rig.frames["pelvis"], label, "upper", UPPER - 1, folds
    )
    belt = (("dark", "M-.262 .64L.262 .64L.26 .71L-.26 .71Z"),)
    bodice = BodyPart("torso", _BODICE, rig.frames["torso"], label, "upper", UPPER, belt)
    return [skirt, bodice, *_sleeves(rig, label, "short")]


def _skirt(rig: Rig, label: int) -> list[BodyPart]:
    details = (
        ("line", "M-.26 -.08C-.1 -.065 .1 -.065 .27 -.08M-.2 -.02L-.29 .4M-.07 0L-.1 .44M.07 0L.1 .44M.2 -.02L.29 .4"),
    )
    path = _skirt_path(rig, -0.17, 0.262, 0.42, 0.42)
    return [BodyPart("skirt", path, rig.frames["pelvis"], label, "lower", LOWER, details)]


def _legs(kind: str, rig: Rig, label: int) -> list[BodyPart]:
    found: list[BodyPart] = []
    for side in ("right", "left"):
        thigh, shin = rig.frames[f"{side}_thigh"], rig.frames[f"{side}_shin"]
        if kind == "shorts":
            hem = (("line", "M-.17 .34C-.08 .365 .08 .365 .17 .34"),)
            found.append(BodyPart(f"{side}_leg", _SHORT_LEG, thigh, label, "lower", LOWER, hem))
        else:
            found.append(BodyPart(f"{side}_lower_leg", _SHIN_LEG, shin, label, "lower", LOWER))
            found.append(BodyPart(f"{side}_leg", capsule(0.165, 0.128, 0.78), thigh, label, "lower", LOWER))
    fly = (
        (
            "line",
            "M-.27 -.08C-.1 -.065 .1 -.065 .27 -.08M0 -.07L0 .14M-.28 -.05C-.2 .04 -.24 .06 -.32 .08M.28 -.05C.2 .04 .24 .06 .32 .08",
        ),
    )
    return [*found, BodyPart("yoke", _YOKE, rig.frames["pelvis"], label, "lower", LOWER, fly)]


def garment_parts(kind: str, rig: Rig) -> list[BodyPart]:
    """The parts of one garment on a figure.

    Raises:
        ValueError: if the kind is unknown.
    """
    slot, labels = garment_slot(kind), GARMENT_KINDS[kind][1]
    if slot == "shoes":
        return footwear_parts(kind, rig)
    if slot in ("hat", "eyewear", "bag"):
        return accessory_parts(kind, rig)
    if kind == "dress":
        return _dress(rig, labels[0])
    if kind == "skirt":
        return _skirt(rig, labels[0])
    return _upper(kind, rig, labels[0]) if slot == "upper" else _legs(kind, rig, labels[0])

"""The bare figure: neck, chest, limbs, hands and the average head, as parts."""

from __future__ import annotations

from twinset.figure.drawing.parts import BodyPart, capsule, mirrored
from twinset.figure.labels import FACE, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG
from twinset.figure.poses import FOREARM, HEAD_RISE, SHIN, THIGH, UPPER_ARM
from twinset.figure.rig import Rig

LEGS, SHOES, LOWER, HOOD, NECK, UPPER, HEAD, HAIR, RIGHT_LIMB, LEFT_LIMB = 10, 12, 14, 15, 16, 20, 30, 34, 40, 50
SIDES = (("right", RIGHT_ARM, RIGHT_LEG, RIGHT_LIMB), ("left", LEFT_ARM, LEFT_LEG, LEFT_LIMB))

_PALM = "M-.064 -.03C-.1 .04 -.108 .13 -.078 .185C-.05 .225 .04 .225 .064 .185C.095 .13 .085 .04 .064 -.03Z"
_THUMB = "M.03 -.01L.03 .1L.085 .125C.1 .15 .14 .145 .145 .11C.15 .06 .1 -.01 .03 -.01Z"
_HAND = _PALM + _THUMB
_FOOT = "M-.05 -.01L.05 -.01C.06 .03 .07 .06 .074 .095C.074 .117 -.158 .12 -.165 .095C-.165 .05 -.09 .045 -.05 -.01Z"
_FINGERS = "M-.03 .21L-.028 .13M.012 .213L.012 .13"
_CHEST = "M-.12 -.1C-.2 -.06 -.33 -.07 -.36 .02L-.3 .3L-.26 .6L.26 .6L.3 .3L.36 .02C.33 -.07 .2 -.06 .12 -.1Z"


def head_outline(width: float = 0.41, jaw: float = 0.30, chin: float = 0.44, square: float = 0.1) -> str:
    """Outline of a head in head coordinates (crown at -0.5).

    Args:
        width: half width at the cheeks.
        jaw: half width at the height of the mouth.
        chin: y of the chin.
        square: half width of the chin's flat part.
    """
    w, j, s, low = width, jaw, square, chin - 0.15
    return (
        f"M0 -.5C{-0.62 * w:.3f} -.5 {-w:.3f} -.33 {-w:.3f} -.06C{-w:.3f} .1 {-j - 0.04:.3f} {low - 0.1:.3f} {-j:.3f} {low:.3f}"
        f"C{-j + 0.06:.3f} {chin - 0.05:.3f} {-s - 0.05:.3f} {chin:.3f} 0 {chin:.3f}"
        f"C{s + 0.05:.3f} {chin:.3f} {j - 0.06:.3f} {chin - 0.05:.3f} {j:.3f} {low:.3f}"
        f"C{j + 0.04:.3f} {low - 0.1:.3f} {w:.3f} .1 {w:.3f} -.06C{w:.3f} -.33 {0.62 * w:.3f} -.5 0 -.5Z"
    )


def ears_path(width: float = 0.41, size: float = 1.0) -> str:
    """Both ears in head coordinates."""
    rx, ry, x = 0.062 * size, 0.085 * size, width + 0.015
    return "".join(
        f"M{side * x - rx:.3f} .05A{rx:.3f} {ry:.3f} 0 1 1 {side * x + rx:.3f} .05"
        f"A{rx:.3f} {ry:.3f} 0 1 1 {side * x - rx:.3f} .05Z"
        for side in (-1, 1)
    )


def head_parts(rig: Rig, outline: str, ears: str) -> list[BodyPart]:
    """Ears and head; the average ones in layouts, a person's own in pictures."""
    frame = rig.frames["head"]
    return [BodyPart("ears", ears, frame, FACE, "skin", HEAD - 1), BodyPart("head", outline, frame, FACE, "face", HEAD)]


def _limbs(rig: Rig, side: str, arm: int, leg: int, layer: int) -> list[BodyPart]:
    frames = rig.frames
    hand, foot = frames[f"{side}_hand"], frames[f"{side}_foot"]
    if side == "left":
        hand, foot = mirrored(hand), mirrored(foot)
    return [
        BodyPart(f"{side}_foot", _FOOT, foot, leg, "skin", LEGS),
        BodyPart(f"{side}_shin", capsule(0.105, 0.07, SHIN), frames[f"{side}_shin"], leg, "skin", LEGS),
        BodyPart(f"{side}_thigh", capsule(0.145, 0.105, THIGH), frames[f"{side}_thigh"], leg, "skin", LEGS),
        BodyPart(
            f"{side}_upper_arm", capsule(0.092, 0.075, UPPER_ARM), frames[f"{side}_upper_arm"], arm, "skin", layer
        ),
        BodyPart(f"{side}_forearm", capsule(0.075, 0.058, FOREARM), frames[f"{side}_forearm"], arm, "skin", layer),
        BodyPart(f"{side}_hand", _HAND, hand, arm, "skin", layer, (("line", _FINGERS),)),
    ]


def body_parts(rig: Rig) -> list[BodyPart]:
    """Skin from neck to feet (the head apart)."""
    neck = BodyPart("neck", capsule(0.125, 0.105, HEAD_RISE - 0.25), rig.frames["neck"], FACE, "skin", NECK)
    chest = BodyPart("chest", _CHEST, rig.frames["torso"], FACE, "skin", NECK)
    return [chest, neck, *(part for side in SIDES for part in _limbs(rig, *side))]

"""Shoes, boots and heels as parts; a foot's frame starts at the ankle."""

from __future__ import annotations

from twinset.figure.body import HOOD, SHOES
from twinset.figure.labels import LEFT_SHOE, RIGHT_SHOE
from twinset.figure.parts import BodyPart, mirrored
from twinset.figure.rig import Rig

#: Boots go over trousers.
BOOTS = HOOD

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

"""Hair styles as a part behind the body and a part over the forehead, in head coordinates."""

from __future__ import annotations

import numpy as np

from twinset.figure.body import HAIR
from twinset.figure.drawing.parts import BodyPart
from twinset.figure.labels import HAIR as HAIR_LABEL
from twinset.figure.rig import Rig

_CAP = "M-.45 .1C-.5 -.3 -.38 -.6 0 -.6C.38 -.6 .5 -.3 .45 .1"
_SWEPT = (
    _CAP
    + "C.44 -.02 .42 -.12 .37 -.2C.2 -.19 -.05 -.27 -.18 -.4C-.24 -.27 -.35 -.2 -.39 -.1C-.42 -.04 -.43 .02 -.45 .1Z"
)
_BLUNT = _CAP + "C.43 0 .41 -.08 .37 -.15C.2 -.12 -.2 -.12 -.37 -.15C-.41 -.08 -.43 0 -.45 .1Z"
_CENTRE = (
    _CAP
    + "C.43 -.02 .42 -.08 .37 -.15C.22 -.2 .08 -.3 .02 -.43C-.08 -.3 -.22 -.2 -.37 -.15C-.42 -.08 -.43 -.02 -.45 .1Z"
)
_ZIGZAG = _CAP + "L.38 -.1L.29 -.23L.2 -.13L.1 -.24L0 -.14L-.1 -.24L-.2 -.13L-.29 -.23L-.38 -.1Z"
_PULLED = _CAP + "C.43 -.08 .38 -.22 .27 -.3C.12 -.37 -.12 -.37 -.27 -.3C-.38 -.22 -.43 -.08 -.45 .1Z"
_LONG_LOCKS = (
    "M-.45 .5C-.49 .2 -.5 -.1 -.47 -.2C-.42 -.5 -.25 -.6 0 -.6C.25 -.6 .42 -.5 .47 -.2C.5 -.1 .49 .2 .45 .5"
    "C.4 .35 .39 .1 .37 -.13C.22 -.18 .08 -.29 .02 -.43C-.08 -.29 -.22 -.18 -.37 -.13C-.39 .1 -.4 .35 -.45 .5Z"
)
_CURLS_FRONT = (
    "M-.47 .12C-.6 .05 -.56 -.1 -.5 -.12C-.6 -.25 -.5 -.4 -.4 -.4C-.42 -.56 -.22 -.64 -.13 -.57C-.06 -.68 .1 -.68 .15 -.57"
    "C.28 -.64 .43 -.53 .4 -.4C.52 -.38 .58 -.22 .5 -.12C.57 -.07 .58 .06 .47 .12C.4 .08 .4 -.02 .42 -.08"
    "C.34 -.08 .28 -.14 .3 -.2C.2 -.14 .12 -.18 .12 -.24C.04 -.17 -.06 -.18 -.08 -.25C-.14 -.16 -.25 -.16 -.28 -.22"
    "C-.29 -.14 -.35 -.08 -.42 -.08C-.4 -.02 -.4 .08 -.47 .12Z"
)
_SPIKES_FRONT = (
    "M-.45 .08L-.52 -.1L-.46 -.16L-.58 -.34L-.44 -.38L-.46 -.6L-.27 -.52L-.2 -.74L-.04 -.58L.1 -.76L.19 -.56L.4 -.66"
    "L.41 -.42L.57 -.4L.47 -.2L.54 -.1L.45 .08L.39 -.1L.31 -.24L.22 -.12L.12 -.26L0 -.13L-.08 -.26L-.2 -.14L-.3 -.26L-.39 -.1Z"
)
_NAPE = "M-.46 .05C-.5 -.4 -.3 -.6 0 -.6C.3 -.6 .5 -.4 .46 .05C.45 .2 .4 .3 .32 .34L-.32 .34C-.4 .3 -.45 .2 -.46 .05Z"
_BOB = "M-.48 .0C-.5 -.4 -.3 -.6 0 -.6C.3 -.6 .5 -.4 .48 .0C.52 .2 .55 .38 .5 .47C.3 .54 -.3 .54 -.5 .47C-.55 .38 -.52 .2 -.48 .0Z"
_LONG = (
    "M-.47 0C-.5 -.4 -.3 -.6 0 -.6C.3 -.6 .5 -.4 .47 0C.54 .4 .6 .9 .52 1.2C.42 1.27 .36 1.2 .3 1.24"
    "C.1 1.3 -.1 1.3 -.3 1.24C-.36 1.2 -.42 1.27 -.52 1.2C-.6 .9 -.54 .4 -.47 0Z"
)
_TAIL = "M.1 -.56C.3 -.78 .62 -.7 .72 -.38C.82 -.02 .86 .4 .66 .82C.6 .6 .5 .45 .5 .2C.5 -.05 .46 -.3 .2 -.42Z"
_TWINS = "".join(
    f"M{s * 0.36} -.34C{s * 0.6} -.5 {s * 0.84} -.25 {s * 0.86} .1C{s * 0.88} .45 {s * 0.8} .75 {s * 0.66} .92"
    f"C{s * 0.6} .7 {s * 0.5} .55 {s * 0.5} .25C{s * 0.5} .0 {s * 0.48} -.15 {s * 0.36} -.34Z"
    for s in (-1, 1)
)
_CURLS_BACK = (
    "M-.46 .3C-.6 .3 -.66 .12 -.56 .04C-.68 -.06 -.66 -.26 -.52 -.28C-.56 -.48 -.4 -.58 -.28 -.54C-.2 -.72 .2 -.72 .28 -.54"
    "C.4 -.58 .56 -.48 .52 -.28C.66 -.26 .68 -.06 .56 .04C.66 .12 .6 .3 .46 .3C.44 .42 .3 .44 .26 .36L-.26 .36"
    "C-.3 .44 -.44 .42 -.46 .3Z"
)


def _disc(x: float, y: float, r: float) -> str:
    return f"M{x - r:.3f} {y}A{r} {r} 0 1 1 {x + r:.3f} {y}A{r} {r} 0 1 1 {x - r:.3f} {y}Z"


_TIES = "".join(_disc(s * 0.47, -0.3, 0.055) for s in (-1, 1))

#: style -> (back path, front path, hair ties drawn over the front)
_PATHS: dict[str, tuple[str, str, str]] = {
    "short": (_NAPE, _SWEPT, ""),
    "bob": (_BOB, _BLUNT, ""),
    "long": (_LONG, _LONG_LOCKS, ""),
    "ponytail": (_NAPE + _TAIL, _SWEPT, _disc(0.33, -0.5, 0.055)),
    "twin_tails": (_NAPE + _TWINS, _ZIGZAG, _TIES),
    "bun": (_NAPE + _disc(0, -0.7, 0.17), _PULLED, ""),
    "curly": (_CURLS_BACK, _CURLS_FRONT, ""),
    "buns": (_NAPE + _disc(-0.34, -0.56, 0.17) + _disc(0.34, -0.56, 0.17), _ZIGZAG, ""),
    "spiky": (_NAPE, _SPIKES_FRONT, ""),
    "centre": (_BOB, _CENTRE, ""),
}
HAIR_STYLES: tuple[str, ...] = tuple(_PATHS)
_LOW_TAIL = "M.3 -.12C.5 -.2 .68 -.1 .72 .1C.79 .35 .8 .6 .66 .86C.6 .6 .52 .48 .44 .3Z"
_LOW_TWINS = "".join(
    f"M{s * 0.36} -.08C{s * 0.58} -.2 {s * 0.8} 0 {s * 0.82} .25C{s * 0.84} .5 {s * 0.78} .8 {s * 0.66} .96"
    f"C{s * 0.6} .75 {s * 0.5} .6 {s * 0.5} .38C{s * 0.5} .2 {s * 0.46} .1 {s * 0.36} -.08Z"
    for s in (-1, 1)
)
_LOW_TIES = "".join(_disc(s * 0.46, -0.02, 0.05) for s in (-1, 1))
_LOW_CURLS = (
    "M-.46 .3C-.6 .3 -.66 .12 -.56 .04C-.66 -.03 -.62 -.2 -.46 -.24L.46 -.24C.62 -.2 .66 -.03 .56 .04"
    "C.66 .12 .6 .3 .46 .3C.44 .42 .3 .44 .26 .36L-.26 .36C-.3 .44 -.44 .42 -.46 .3Z"
)
#: What a hat leaves of the styles that would stand out beside or above it.
_UNDER_HAT: dict[str, tuple[str, str, str]] = {
    "ponytail": (_NAPE + _LOW_TAIL, _SWEPT, ""),
    "twin_tails": (_NAPE + _LOW_TWINS, _ZIGZAG, _LOW_TIES),
    "bun": (_NAPE, _PULLED, ""),
    "buns": (_NAPE, _ZIGZAG, ""),
    "curly": (_LOW_CURLS, _SWEPT, ""),
    "spiky": (_NAPE, _ZIGZAG, ""),
}
#: The style without any hair; seeds draw it apart from the others.
BALD = "bald"
#: Hair length of each style: "short", "medium", "long" or "none".
HAIR_LENGTHS: dict[str, str] = {
    "short": "short", "bob": "medium", "long": "long", "ponytail": "long", "twin_tails": "long", "bun": "medium",
    "curly": "short", "buns": "medium", "spiky": "short", "centre": "medium", BALD: "none",
}  # fmt: skip
_SHINE = "M-.3 -.4C-.15 -.52 .15 -.52 .3 -.4C.15 -.47 -.15 -.47 -.3 -.4Z"


def hair_parts(rig: Rig, style: str, width: float = 0.41, hat: bool = False) -> list[BodyPart]:
    """Back and front hair, none of the bald.

    Args:
        rig: the figure, of which the head's frame is read.
        style: one of HAIR_STYLES, or BALD.
        width: half width of the head that the hair must fit.
        hat: whether a hat covers the crown, so that no hair may stand out there.

    Raises:
        ValueError: if the style is unknown.
    """
    if style == BALD:
        return []
    if style not in _PATHS:
        raise ValueError(f"unknown hair style {style!r}; choose one of {', '.join(HAIR_LENGTHS)}")
    back, front, ties = _UNDER_HAT.get(style, _PATHS[style]) if hat else _PATHS[style]
    frame = rig.frames["head"] * np.array([width / 0.41, 1.0, 1.0])
    details = (("shine", _SHINE), *((("tie", ties),) if ties else ()))
    return [
        BodyPart("hair_back", back, frame, HAIR_LABEL, "hair", 0),
        BodyPart("hair_front", front, frame, HAIR_LABEL, "hair", HAIR, details),
    ]

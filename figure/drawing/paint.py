"""From parts to coloured SVG: fills, patterns, logos, outlines and soft shading."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from twinset.figure import colours
from twinset.figure.drawing.garments import GarmentDesign
from twinset.figure.drawing.parts import BodyPart, in_order
from twinset.figure.drawing.raster import matrix_text

#: Logos within a unit square around 0.
_LOGO_PATHS = {
    "star": "M0 -.5L.13 -.16L.49 -.15L.2 .07L.31 .42L0 .21L-.31 .42L-.2 .07L-.49 -.15L-.13 -.16Z",
    "heart": "M0 .45C-.3 .2 -.5 .02 -.5 -.2C-.5 -.48 -.13 -.52 0 -.24C.13 -.52 .5 -.48 .5 -.2C.5 .02 .3 .2 0 .45Z",
    "bolt": "M.12 -.55L-.32 .1L-.04 .08L-.14 .55L.32 -.12L.03 -.1Z",
    "ring": "M-.45 0A.45 .45 0 1 1 .45 0A.45 .45 0 1 1 -.45 0ZM-.24 0A.24 .24 0 1 0 .24 0A.24 .24 0 1 0 -.24 0Z",
    "A": "M-.4 .48L-.11 -.48L.11 -.48L.4 .48L.19 .48L.13 .26L-.13 .26L-.19 .48ZM-.07 .09L0 -.18L.07 .09Z",
    "B": "M-.32 -.48L.08 -.48C.4 -.48 .4 -.06 .16 -.02C.46 .02 .44 .48 .1 .48L-.32 .48ZM-.12 -.3L-.12 -.1L.04 -.1C.16 -.1 .16 -.3 .04 -.3ZM-.12 .08L-.12 .3L.06 .3C.2 .3 .2 .08 .06 .08Z",
    "T": "M-.38 -.48L.38 -.48L.38 -.27L.1 -.27L.1 .48L-.1 .48L-.1 -.27L-.38 -.27Z",
}
_LOGO_FRAME = "translate(0 .33) scale(.235)"
LINE = 0.017
#: Brightness from which a tie would not show on a white shirt, and the tie that is worn instead.
PALE_TIE, RED_TIE = 190, (168, 36, 48)
#: Soft shading over patterned cloth.
SHADE = (
    '<linearGradient id="s"><stop offset="0" stop-color="#000" stop-opacity="0"/>'
    '<stop offset="1" stop-color="#000" stop-opacity=".2"/></linearGradient>'
)


def _shading(name: str, colour: Sequence[float] | np.ndarray) -> str:
    """An opaque gradient across a part: a little lighter on the left, darker on the right (one pass, so it is fast)."""
    light, dark = colours.shaded(colour, 1.1), colours.shaded(colour, 0.86)
    return f'<linearGradient id="{name}"><stop offset="0" stop-color="{light}"/><stop offset="1" stop-color="{dark}"/></linearGradient>'


def _lines(step: float, offset: float, upright: bool = False) -> str:
    """Lines across the whole tile, `step` apart."""
    if upright:
        return "".join(f"M{offset + step * i:.3f} 0v1.68" for i in range(round(1.4 / step)))
    return "".join(f"M0 {offset + step * i:.3f}h1.4" for i in range(round(1.68 / step)))


def pattern_defs(garment: GarmentDesign, name: str) -> str:
    """The <pattern> of a garment in part coordinates; empty for plain ones.

    One tile covers a whole part, because resvg rounds tiles to pixels and small ones would drift along the cloth.
    """
    if garment.pattern == "plain":
        return ""
    first, second = colours.shaded(garment.colour, 1.0), colours.shaded(garment.second, 1.0)
    marks = {
        "stripes": f'<path d="{_lines(0.14, 0.07)}" stroke-width=".058"/>',
        "dots": f'<path d="{_lines(0.14, 0.035)}" stroke-width=".056" stroke-dasharray="0 .14" stroke-dashoffset="-.035" stroke-linecap="round"/>'
        f'<path d="{_lines(0.14, 0.105)}" stroke-width=".056" stroke-dasharray="0 .14" stroke-dashoffset="-.105" stroke-linecap="round"/>',
        "checks": f'<path d="{_lines(0.14, 0.07)}{_lines(0.14, 0.07, True)}" stroke-width=".06" stroke-opacity=".5"/>'
        f'<path d="{_lines(0.14, 0.07, True)}" stroke-width=".06" stroke-opacity=".5" stroke-dasharray=".06 .08" stroke-dashoffset="-.04"/>',
    }
    return (
        f'<pattern id="{name}" patternUnits="userSpaceOnUse" x="-.7" y="-.42" width="1.4" height="1.68">'
        f'<rect width="1.4" height="1.68" fill="{first}"/><g stroke="{second}">{marks[garment.pattern]}</g></pattern>'
    )


def logo(garment: GarmentDesign) -> str:
    """The logo on the chest, in torso coordinates."""
    if garment.logo is None:
        return ""
    fill = colours.shaded(garment.second, 1.0)
    return f'<path d="{_LOGO_PATHS[garment.logo]}" transform="{_LOGO_FRAME}" fill="{fill}" fill-rule="evenodd"/>'


def _detail(kind: str, path: str, colour: Sequence[float] | np.ndarray, second: Sequence[float]) -> str:
    line = colours.outline_of(colour)
    fills = {
        "dark": colours.shaded(colour, 0.72), "light": colours.shaded(colour, 1.55), "inner": "#f1efea",
        "shine": colours.shaded(colour, 1.5), "tie": "#ef5f86", "second": colours.shaded(second, 1.0),
        "necktie": colours.shaded(second if colours.luminance(second) < PALE_TIE else RED_TIE, 1.0),
        "lens": "#22222b", "glass": "#ffffff", "metal": "#e0c468",
    }  # fmt: skip
    if kind in fills:
        opacity = ' fill-opacity=".6"' if kind in ("shine", "glass") else ""
        stroke = "" if kind in ("shine", "glass") else f' stroke="{line}" stroke-width=".01"'
        return f'<path d="{path}" fill="{fills[kind]}"{stroke}{opacity}/>'
    width, tone = {
        "dots": (0.04, colours.shaded(colour, 1.6)),
        "cord": (0.022, colours.shaded(colour, 1.8)),
        "weave": (0.011, colours.shaded(colour, 0.78)),
    }.get(kind, (0.013, line))
    return f'<path d="{path}" fill="none" stroke="{tone}" stroke-width="{width}" stroke-linecap="round"/>'


def _group(
    parts: Sequence[BodyPart],
    fill: str,
    colour: Sequence[float] | np.ndarray,
    extra: str,
    second: Sequence[float] = (0, 0, 0),
) -> str:
    """Parts of one material at one layer: one outline around their union, then fills, shading and details."""
    line = colours.outline_of(colour)
    under, over = [], []
    for part in parts:
        frame = matrix_text(part.matrix)
        under.append(
            f'<path d="{part.path}" transform="{frame}" fill="none" stroke="{line}" stroke-width="{2 * LINE}" stroke-linejoin="round"/>'
        )
        details = "".join(_detail(kind, path, colour, second) for kind, path in part.details)
        mark = extra if part.name in ("torso", "head") else ""
        shade = f'<path d="{part.path}" fill="url(#s)"/>' if fill.startswith("url(#p") else ""
        over.append(f'<g transform="{frame}"><path d="{part.path}" fill="{fill}"/>{shade}{details}{mark}</g>')
    return "".join(under) + "".join(over)


def paint_person(
    parts: Sequence[BodyPart],
    skin: np.ndarray,
    hair: Sequence[float],
    garments: dict[str, GarmentDesign],
    features: str = "",
) -> str:
    """SVG of a figure from the back to the front.

    Args:
        parts: in any order.
        skin: RGB of the skin.
        hair: RGB of the hair.
        garments: slot -> garment.
        features: SVG inside the face, in head coordinates.
    """
    defs = SHADE + _shading("c-skin", skin) + _shading("c-hair", hair)
    defs += "".join(pattern_defs(g, f"p-{slot}") or _shading(f"c-{slot}", g.colour) for slot, g in garments.items())
    drawn = []
    for (_, role), group in groupby(in_order(parts), key=lambda part: (part.layer, part.role)):
        if role in garments:
            garment = garments[role]
            fill = f"url(#{'c' if garment.pattern == 'plain' else 'p'}-{role})"
            drawn.append(_group(list(group), fill, garment.colour, logo(garment), garment.second))
        else:
            name, colour = ("hair", hair) if role == "hair" else ("skin", skin)
            drawn.append(_group(list(group), f"url(#c-{name})", colour, features if role == "face" else ""))
    return f"<defs>{defs}</defs>" + "".join(drawn)

"""Beards in head coordinates: along the person's own jaw, around the mouth of the expression."""

from __future__ import annotations

from collections.abc import Sequence

from twinset.figure.colours import shaded
from twinset.figure.poses import TURN_SHIFT
from twinset.training.mannequin import face
from twinset.training.mannequin.spec import Identity

#: Style -> opacity of the cheeks' and chin's hair.
_OPACITY = {"full": 1.0, "stubble": 0.32}


def beard_svg(identity: Identity, style: str, hair: Sequence[float], expression: str, turn: float) -> str:
    """SVG of a beard under the features of a face.

    Args:
        identity: whose jaw it follows.
        style: "full", "stubble", "moustache", or "none" for an empty text.
        hair: RGB of the hair; a beard is a little darker.
        expression: which places the mouth.
        turn: of the head, -1..1.
    """
    if style == "none":
        return ""
    fill, line = shaded(hair, 0.86), shaded(hair, 0.5)
    shift = TURN_SHIFT * turn
    half, y = face.mouth_place(identity, expression)
    lip = _moustache(shift, half, y, face.nose_y(identity))
    if style == "moustache":
        return f'<path d="{lip}" fill="{fill}" stroke="{line}" stroke-width=".01" stroke-linejoin="round"/>'
    opacity = _OPACITY[style]
    stroke = f' stroke="{line}" stroke-width=".014"' if style == "full" else ""
    jaw = _jaw(identity, shift, half, y, 0.05 if style == "full" else -0.012)
    bushy = f'<path d="{lip}" fill="{fill}"/>' if style == "full" else ""
    return f'<path d="{jaw}" fill="{fill}" fill-opacity="{opacity}" fill-rule="evenodd"{stroke} stroke-linejoin="round"/>{bushy}'


def _moustache(shift: float, half: float, mouth: float, nose: float) -> str:
    """Two wings under the nose that end beside the mouth's corners."""
    top = min(nose + 0.035, mouth - 0.055)
    reach = max(half, 0.1) + 0.035
    wings = []
    for side in (-1, 1):
        wings.append(
            f"M{shift:.3f} {top:.3f}C{shift + 0.45 * side * reach:.3f} {top - 0.012:.3f} {shift + 0.85 * side * reach:.3f} {mouth - 0.04:.3f}"
            f" {shift + side * reach:.3f} {mouth + 0.02:.3f}C{shift + 0.75 * side * reach:.3f} {mouth - 0.005:.3f}"
            f" {shift + 0.35 * side * reach:.3f} {mouth - 0.02:.3f} {shift:.3f} {mouth - 0.022:.3f}Z"
        )
    return "".join(wings)


def _jaw(identity: Identity, shift: float, half: float, mouth: float, beyond: float) -> str:
    """From ear to ear along the jaw, `beyond` it at the chin, with an opening for the mouth."""
    width = face.face_width(identity)
    jaw = width * (0.74 + 0.15 * identity.jaw_width)
    chin = 0.445 + 0.045 * identity.chin_length
    low, out = chin - 0.15, max(beyond, 0.0) * 0.3
    outer = (
        f"M{-width - 0.3 * out:.3f} .02C{-width - out:.3f} .12 {-jaw - 0.04 - out:.3f} {low - 0.1:.3f} {-jaw - out:.3f} {low:.3f}"
        f"C{-jaw + 0.05:.3f} {chin - 0.05 + beyond:.3f} -.13 {chin + beyond:.3f} 0 {chin + beyond:.3f}"
        f"C.13 {chin + beyond:.3f} {jaw - 0.05:.3f} {chin - 0.05 + beyond:.3f} {jaw + out:.3f} {low:.3f}"
        f"C{jaw + 0.04 + out:.3f} {low - 0.1:.3f} {width + out:.3f} .12 {width + 0.3 * out:.3f} .02"
    )
    cheek, top = max(half, 0.085) + 0.06, mouth - 0.07
    inner = (
        f"C{width - 0.05:.3f} .1 {shift + cheek + 0.1:.3f} {top + 0.06:.3f} {shift + cheek:.3f} {top:.3f}"
        f"C{shift + 0.5 * cheek:.3f} {top - 0.035:.3f} {shift - 0.5 * cheek:.3f} {top - 0.035:.3f} {shift - cheek:.3f} {top:.3f}"
        f"C{shift - cheek - 0.1:.3f} {top + 0.06:.3f} {-width + 0.05:.3f} .1 {-width - 0.3 * out:.3f} .02Z"
    )
    rx, ry = half + 0.025, 0.05
    opening = f"M{shift - rx:.3f} {mouth + 0.012:.3f}A{rx:.3f} {ry} 0 1 0 {shift + rx:.3f} {mouth + 0.012:.3f}A{rx:.3f} {ry} 0 1 0 {shift - rx:.3f} {mouth + 0.012:.3f}Z"
    return outer + inner + opening

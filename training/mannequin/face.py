"""A person's face in head coordinates: outline, features by expression, and landmarks."""

from __future__ import annotations

import numpy as np

from twinset.figure.body import ears_path, head_outline
from twinset.figure.colours import IRIS, SKIN, along, shaded
from twinset.figure.poses import EAR_X, EYE_X, EYE_Y, NOSE_Y, TURN_SHIFT
from twinset.training.mannequin.spec import Identity


def skin_colour(identity: Identity) -> np.ndarray:
    """RGB float (3,) of the skin in white light."""
    base = along(SKIN, identity.skin_depth)
    return np.clip(base + np.array([3.0, -1.0, -9.0]) * identity.skin_warmth, 0, 255)


def face_width(identity: Identity) -> float:
    """Half width of the head at the cheeks."""
    return 0.41 + 0.038 * identity.face_width


def outline(identity: Identity) -> str:
    """The head's outline."""
    width = face_width(identity)
    return head_outline(
        width,
        width * (0.74 + 0.15 * identity.jaw_width),
        0.445 + 0.045 * identity.chin_length,
        0.11 + 0.07 * identity.chin_width,
    )


def ears(identity: Identity) -> str:
    """Both ears."""
    return ears_path(face_width(identity), 1 + 0.28 * identity.ear_size)


def eye_place(identity: Identity) -> tuple[float, float]:
    """Distance of the eyes from the middle, and their y."""
    return EYE_X + 0.03 * identity.eye_spacing, EYE_Y + 0.035 * identity.eye_height


def nose_y(identity: Identity) -> float:
    """y of the nose's tip."""
    return NOSE_Y + 0.025 * identity.eye_height + 0.035 * identity.nose_length


def mouth_place(identity: Identity, expression: str) -> tuple[float, float]:
    """Half width of the mouth and its y."""
    widen = {"smile": 1.2, "laugh": 1.2, "surprised": 0.62, "sad": 0.85}.get(expression, 1.0)
    return widen * (0.098 + 0.033 * identity.mouth_width), 0.285 + 0.028 * identity.mouth_height


def landmarks(identity: Identity, expression: str, turn: float) -> np.ndarray:
    """(5, 2) image-left eye, image-right eye, nose, mouth corners in head coordinates."""
    shift = TURN_SHIFT * turn
    x, y = eye_place(identity)
    half, mouth = mouth_place(identity, expression)
    return np.array(
        [(shift - x, y), (shift + x, y), (1.25 * shift, nose_y(identity)), (shift - half, mouth), (shift + half, mouth)]
    )


def head_keypoints(identity: Identity, turn: float) -> np.ndarray:
    """(5, 2) nose, right eye, left eye, right ear, left ear in head coordinates."""
    five, ear = landmarks(identity, "neutral", turn), face_width(identity) + EAR_X - 0.41
    return np.array([five[2], five[0], five[1], (-ear, 0.04), (ear, 0.04)])


def _closed_eye(rx: float, happy: bool, line: str) -> str:
    bend = -0.075 if happy else 0.06
    return f'<path d="M{-rx:.3f} .015Q0 {bend} {rx:.3f} .015" fill="none" stroke="{line}" stroke-width=".026" stroke-linecap="round"/>'


def _open_eye(identity: Identity, rx: float, ry: float, line: str, side: float) -> str:
    iris = along(IRIS, identity.iris)
    r = min(0.9 * rx, 0.92 * ry, 0.07)
    lash = f"M{-rx - 0.006:.3f} {0.1 * ry:.3f}C{-0.75 * rx:.3f} {-1.28 * ry:.3f} {0.75 * rx:.3f} {-1.28 * ry:.3f} {rx + 0.006:.3f} {0.1 * ry:.3f}"
    flick = f"M{side * rx:.3f} {0.05 * ry:.3f}l{side * 0.03:.3f} {-0.025:.3f}"
    return (
        f'<ellipse rx="{rx:.3f}" ry="{ry:.3f}" fill="#fdfdfd"/>'
        f'<circle r="{r:.3f}" fill="{shaded(iris, 0.62)}"/><circle r="{0.86 * r:.3f}" cy="{0.08 * r:.3f}" fill="{shaded(iris, 1.0)}"/>'
        f'<ellipse rx="{0.55 * r:.3f}" ry="{0.4 * r:.3f}" cy="{0.45 * r:.3f}" fill="{shaded(iris, 1.45)}" fill-opacity=".7"/>'
        f'<circle r="{0.46 * r:.3f}" fill="#171420"/>'
        f'<circle r="{0.25 * r:.3f}" cx="{-0.35 * r:.3f}" cy="{-0.4 * r:.3f}" fill="#fff"/>'
        f'<path d="{lash}{flick}" fill="none" stroke="{line}" stroke-width=".024" stroke-linecap="round"/>'
    )


def _eyes(identity: Identity, expression: str, line: str) -> str:
    x, y = eye_place(identity)
    rx = 0.086 + 0.02 * identity.eye_size
    ry = rx * (0.8 + 0.17 * identity.eye_aspect) * {"surprised": 1.15, "smile": 0.94, "sad": 0.88}.get(expression, 1.0)
    found = []
    for side in (-1.0, 1.0):
        closed = expression == "wink" and side > 0
        happy = expression == "laugh"
        drawn = (
            _closed_eye(rx, happy or closed, line)
            if closed
            else _open_eye(identity, rx, ry * (0.84 if happy else 1), line, side)
        )
        tilt = -side * 9 * identity.eye_tilt
        found.append(f'<g transform="translate({side * x:.3f} {y:.3f}) rotate({tilt:.1f})">{drawn}</g>')
    return "".join(found)


def _brows(identity: Identity, expression: str) -> str:
    x, y = eye_place(identity)
    tone = along(np.array([(34, 26, 24), (88, 60, 42), (130, 96, 66)]), identity.brow_tone)
    raised = {"surprised": 0.035, "sad": 0.01, "laugh": 0.012}.get(expression, 0.0)
    height = y - 0.125 - 0.022 * identity.brow_height - raised
    half, thick = 0.088 + 0.018 * identity.brow_length, 0.025 + 0.014 * identity.brow_thickness
    inner = 0.028 * identity.brow_angle - (0.04 if expression == "sad" else 0.0)
    return "".join(
        f'<path d="M{s * (x - half):.3f} {height + inner:.3f}Q{s * x:.3f} {height - 0.035:.3f} {s * (x + half):.3f} {height - 0.2 * inner + 0.012:.3f}"'
        f' fill="none" stroke="{shaded(tone, 1.0)}" stroke-width="{thick:.3f}" stroke-linecap="round"/>'
        for s in (-1, 1)
    )


def _nose(identity: Identity, shift: float, line: str) -> str:
    y, w = nose_y(identity), 0.036 + 0.018 * identity.nose_width
    arch = 0.028 + 0.02 * identity.nose_shape
    bridge = (
        f"M{0.6 * w:.3f} {y - 0.1 - 0.02 * identity.nose_length:.3f}Q{1.1 * w:.3f} {y - 0.04:.3f} {w:.3f} {y:.3f}"
        if identity.nose_shape > 0
        else ""
    )
    return (
        f'<path d="M{-w:.3f} {y - 0.3 * arch:.3f}Q{-0.4 * w:.3f} {y + arch:.3f} 0 {y + 0.4 * arch:.3f}Q{0.4 * w:.3f} {y + arch:.3f} {w:.3f} {y - 0.3 * arch:.3f}{bridge}"'
        f' transform="translate({0.25 * shift:.3f} 0)" fill="none" stroke="{line}" stroke-width=".017" stroke-linecap="round"/>'
    )


def _mouth(identity: Identity, expression: str, skin: np.ndarray) -> str:
    half, y = mouth_place(identity, expression)
    lip = skin * np.array([0.86, 0.58, 0.58]) + np.array([22, 0, 6]) * (0.5 + 0.5 * identity.lip_tone)
    full = 0.014 + 0.011 * identity.lip_fullness + 0.011
    colour, dark = shaded(lip, 1.0), shaded(lip, 0.55)
    if expression == "laugh":
        low = y + 0.075 + full
        return (
            f'<path d="M{-half:.3f} {y:.3f}Q0 {y + 0.03:.3f} {half:.3f} {y:.3f}Q{0.75 * half:.3f} {low:.3f} 0 {low:.3f}Q{-0.75 * half:.3f} {low:.3f} {-half:.3f} {y:.3f}Z"'
            f' fill="#7a2430" stroke="{colour}" stroke-width="{0.9 * full:.3f}"/>'
            f'<path d="M{-0.8 * half:.3f} {y + 0.012:.3f}Q0 {y + 0.038:.3f} {0.8 * half:.3f} {y + 0.012:.3f}L{0.68 * half:.3f} {y + 0.035:.3f}Q0 {y + 0.055:.3f} {-0.68 * half:.3f} {y + 0.035:.3f}Z" fill="#fff"/>'
        )
    if expression == "surprised":
        return f'<ellipse cy="{y + 0.012:.3f}" rx="{half * 0.75:.3f}" ry="{0.05 + full / 2:.3f}" fill="#6a1c28" stroke="{colour}" stroke-width="{full:.3f}"/>'
    bend = {"smile": 0.055, "wink": 0.045, "sad": -0.045}.get(expression, 0.008)
    corner = -0.35 * bend
    middle = y + bend
    return (
        f'<path d="M{-half:.3f} {y + corner:.3f}Q{-0.4 * half:.3f} {middle - 1.5 * full:.3f} 0 {middle - 0.5 * full:.3f}Q{0.4 * half:.3f} {middle - 1.5 * full:.3f} {half:.3f} {y + corner:.3f}'
        f'Q0 {middle + 2.4 * full:.3f} {-half:.3f} {y + corner:.3f}Z" fill="{colour}"/>'
        f'<path d="M{-half:.3f} {y + corner:.3f}Q0 {middle + 0.3 * full:.3f} {half:.3f} {y + corner:.3f}" fill="none" stroke="{dark}" stroke-width=".014" stroke-linecap="round"/>'
    )


def _marks(identity: Identity, skin: np.ndarray) -> str:
    found, tone = [], shaded(skin * np.array([0.82, 0.68, 0.58]), 1.0)
    blush = 0.10 + 0.16 * max(identity.blush, 0.0)
    _, eye_y = eye_place(identity)
    for side in (-1, 1):
        found.append(
            f'<ellipse cx="{side * 0.25}" cy="{eye_y + 0.15:.3f}" rx=".075" ry=".045" fill="#f0506a" fill-opacity="{blush:.2f}"/>'
        )
    if identity.freckles > -1:
        radius = 0.011 + 0.005 * identity.freckles
        spots = ((0.16, 0.11), (0.21, 0.14), (0.27, 0.115), (0.24, 0.17), (0.31, 0.15), (0.19, 0.165))
        found += [
            f'<circle cx="{side * x}" cy="{eye_y + y - 0.01:.3f}" r="{radius:.3f}" fill="{tone}"/>'
            for side in (-1, 1)
            for x, y in spots
        ]
    if identity.mole > 0:
        x, y = 0.23 * identity.mole_x, 0.26 + 0.09 * identity.mole_y
        found.append(
            f'<circle cx="{x:.3f}" cy="{y:.3f}" r="{0.014 + 0.009 * identity.mole:.3f}" fill="{shaded(skin, 0.32)}"/>'
        )
    return "".join(found)


def features(identity: Identity, expression: str, turn: float, beard: str = "") -> str:
    """SVG of everything inside the face, in head coordinates; `beard` is drawn under nose and mouth."""
    skin, shift = skin_colour(identity), TURN_SHIFT * turn
    line = "#241a20"
    drawn = (
        _marks(identity, skin) + _nose(identity, shift, shaded(skin, 0.62)) + _mouth(identity, expression, skin)
        + _eyes(identity, expression, line) + _brows(identity, expression)
    )  # fmt: skip
    return f'{beard}<g transform="translate({shift:.3f} 0)">{drawn}</g>'

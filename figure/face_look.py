"""A face's looks apart from its identity: expression, turn and beard, as numbers for the identity adapter's canvas."""

from __future__ import annotations

import numpy as np

from twinset.figure.colours import RGB
from twinset.figure.keypoints import L_EAR, L_EYE, R_EAR, R_EYE, Keypoints, known_joints
from twinset.figure.poses import EAR_X, TURN_SHIFT

EXPRESSIONS = ("neutral", "smile", "laugh", "surprised", "wink", "sad")
BEARDS = ("none", "full", "stubble", "moustache")
LOOKS = len(EXPRESSIONS) + 1 + (len(BEARDS) - 1) + 3
"""Numbers of `face_look`."""


def face_look(
    expression: str = "neutral", turn: float = 0.0, beard: str = "none", hair_colour: RGB = (0, 0, 0)
) -> np.ndarray:
    """Float32 (LOOKS,): expression one-hot, turn, beard one-hot, and the beard's colour in [0, 1] where there is one.

    Args:
        expression: one of EXPRESSIONS.
        turn: sideways turn of the head, -1 to 1.
        beard: one of BEARDS.
        hair_colour: 0 to 255; a beard is a little darker.
    """
    expressions = [float(expression == name) for name in EXPRESSIONS]
    beards = [float(beard == name) for name in BEARDS[1:]]
    colour = [level / 255 * any(beards) for level in hair_colour]
    return np.array([*expressions, turn, *beards, *colour], np.float32)


def head_turn_of(keypoints: Keypoints) -> float:
    """How far a drawn figure's head is turned, -1 to 1: its eyes beside the middle of its ears; 0 where unknown."""
    if not known_joints(keypoints)[[R_EYE, L_EYE, R_EAR, L_EAR]].all():
        return 0.0
    points = keypoints[:, :2].astype(np.float64)
    across = points[L_EAR] - points[R_EAR]
    reach = float(np.linalg.norm(across))
    if reach < 1e-3:
        return 0.0
    beside = (points[[R_EYE, L_EYE]].mean(0) - points[[R_EAR, L_EAR]].mean(0)) @ across / reach
    return float(np.clip(beside / reach * 2 * EAR_X / TURN_SHIFT, -1, 1))

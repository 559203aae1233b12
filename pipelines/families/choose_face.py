"""Which face of a selfie is used, and the warnings about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twinset.errors import InputError
from twinset.models.face_finder import Face
from twinset.perception.faces.onnx import choose_face
from twinset.perception.faces.quality import FaceReport, judge_face


def chosen_face(
    picture: np.ndarray, faces: Sequence[Face], path: Path, notes: list[str], choice: str = "largest"
) -> tuple[Face, FaceReport]:
    """The face that is meant and how good it is; `notes` receives what makes it hard to recognise.

    Args:
        picture: uint8 (H, W, 3).
        faces: found in it, the largest first.
        path: of the picture, for messages.
        notes: one line each: several faces, a small, blurred, turned or covered one.
        choice: see `choose_face`.

    Raises:
        InputError: there is no face, or none of that number.
    """
    if not faces:
        raise InputError(f"selfie {str(path)!r} shows no face; give a picture with the face upright and well visible")
    face = choose_face(faces, choice, (picture.shape[1], picture.shape[0]))
    if len(faces) > 1:
        taken = {"largest": "the largest", "centre": "the middle one"}.get(choice, f"number {choice} from the left")
        notes.append(f"selfie {str(path)!r} shows {len(faces)} faces; {taken} is used")
    report = judge_face(picture, face)
    notes += [f"selfie {str(path)!r}: {warning}" for warning in report.warnings]
    return face, report

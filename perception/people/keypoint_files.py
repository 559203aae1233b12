"""Poses from files of the public layouts, as OpenPose's 18 keypoints fitted into a frame; mirroring.

| layout | told by | people | canvas |
|---|---|---|---|
| OpenPose | `people[].pose_keypoints_2d`, 18 or 25 triples | several | `canvas_width`, `canvas_height` |
| VITON-HD (Choi et al. 2021) | OpenPose with 25, in a folder `openpose_json` | one | 768 × 1024 |
| DressCode (Morelli et al. 2022) | `keypoints`, 18 × (x, y, score, id), `*_2.json` | one | 384 × 512 |
| COCO | `annotations[].keypoints`, or results: 17 triples | several | `images[].width`, `height` |
| plain | a list of 17, 18 or 25 triples | one | none |

Hands and faces in a file are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twinset.errors import InputError
from twinset.figure.keypoints import BODY_25, FRAME, L_SHOULDER, NECK, R_SHOULDER, Keypoints, with_visibility

MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""Joint `MIRRORED[i]` stands where joint `i` stood once the picture is flipped."""
COCO_17 = (0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""Joint i of OpenPose's 18 is joint COCO_17[i] of COCO's 17, which have no neck (joint 1)."""
MOST_BYTES = 4_000_000
"""Larger files are refused: one picture's people take kilobytes, COCO's whole annotations hundreds of megabytes."""
FARTHEST = 100_000
"""Coordinates beyond this many pixels belong to no picture."""
VITON_HD, DRESS_CODE = (768, 1024), (384, 512)
FITTED = 0.84
"""Share of the frame that a pose of unknown canvas is fitted to."""


@dataclass(frozen=True)
class _Person:
    """Joints (18, 3) of a person as a file gives them, and the (width, height) of their canvas where known."""

    joints: np.ndarray
    canvas: tuple[float, float] | None


def mirror(keypoints: Keypoints, width: int = FRAME[0]) -> Keypoints:
    """The pose seen in a mirror: flipped in a frame of `width` pixels, left and right exchanged."""
    flipped = keypoints[list(MIRRORED)].copy()
    known = np.abs(flipped[:, :2]).sum(1) > 0
    flipped[known, 0] = width - 1 - flipped[known, 0]
    return flipped


def openpose_of(joints: np.ndarray) -> np.ndarray:
    """The 18 joints of OpenPose of any layout's (n, 3): x, y, confidence.

    Args:
        joints: 17 of COCO, 18 or 25 of OpenPose; a confidence of 0 is an unknown joint.

    Returns:
        (18, 3); COCO's neck is the middle of the shoulders, known when both are, with the lesser confidence.

    Raises:
        ValueError: another number of joints.
    """
    if joints.shape == (18, 3):
        return joints
    if joints.shape == (25, 3):
        return joints[list(BODY_25)]
    if joints.shape != (17, 3):
        raise ValueError(f"{len(joints)} joints, expected 17, 18 or 25")
    found = joints[list(COCO_17)]
    shoulders = found[[R_SHOULDER, L_SHOULDER]]
    found[NECK] = (*shoulders[:, :2].mean(0), shoulders[:, 2].min())
    return found


def read_keypoints(path: Path, size: tuple[int, int] = FRAME, notes: list[str] | None = None) -> Keypoints:
    """Read a pose from a JSON file of one of the layouts above.

    The canvas, where it is known, is fitted into the frame; without one, a pose that is not yet inside the frame is,
    and values from 0 to 1 are shares of the frame.

    Args:
        path: JSON file.
        size: (width, height) of the frame in pixels.
        notes: receives a line when the file shows several people: the largest is taken.

    Raises:
        InputError: The file is missing, too large, or holds no such pose.
    """
    if not path.is_file():
        raise InputError(f"pose {str(path)!r} is not a file; check the path")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"pose {str(path)!r} has {path.stat().st_size / 1e6:.1f} MB; "
            f"give the pose of one picture, below {MOST_BYTES / 1e6:.0f} MB"
        )
    try:
        people = sorted(_people(json.loads(path.read_text(encoding="utf-8"))), key=_area, reverse=True)
        if not people:
            raise ValueError("nobody in it")
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"pose {str(path)!r} is not OpenPose JSON ({_reason(error)}); "
            "give pose_keypoints_2d, COCO's keypoints, or a list of 18 [x, y, c]"
        ) from None
    if len(people) > 1 and notes is not None:
        notes.append(f"pose {str(path)!r} shows {len(people)} people; the largest is taken")
    return _into_frame(people[0].joints, people[0].canvas or _canvas_of_layout(path, people[0].joints), size)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__} {error}".replace("\n", " ")[:120]


def _people(data: Any) -> Iterator[_Person]:
    """Everybody in a file who has a known joint."""
    for values, canvas in _found(data):
        joints = openpose_of(_triples(values))
        if (joints[:, 2] > 0).any():
            yield _Person(joints, canvas)


def _found(data: Any) -> Iterator[tuple[Any, tuple[float, float] | None]]:
    """Lists of numbers that stand for a person, each with its canvas."""
    if isinstance(data, list) and data and isinstance(data[0], dict):
        for item in data:
            yield from _found(item)
    elif not isinstance(data, dict):
        yield data, None
    elif "annotations" in data:
        sizes = {image.get("id"): _size(image.get("width"), image.get("height")) for image in data.get("images", [])}
        yield from ((one["keypoints"], sizes.get(one.get("image_id"))) for one in data["annotations"])
    elif "keypoints" in data:
        yield data["keypoints"], None
    else:
        canvas = _size(data.get("canvas_width"), data.get("canvas_height"))
        people = data.get("people", [data])
        yield from ((one["pose_keypoints_2d"] if isinstance(one, dict) else one, canvas) for one in people)


def _size(width: Any, height: Any) -> tuple[float, float] | None:
    if not (width or height):
        return None
    if not all(isinstance(side, int | float) and 0 < side <= FARTHEST for side in (width, height)):
        raise ValueError(f"canvas {width!r} × {height!r}")
    return float(width), float(height)


def _triples(values: Any) -> np.ndarray:
    """Numbers, flat or in rows, as (n, 3); of DressCode's rows of four the last, an id, is dropped."""
    flat = list(_numbers(values))
    if len(flat) == 4 * 18:
        flat = [value for index, value in enumerate(flat) if index % 4 < 3]
    joints = np.array(flat, dtype=np.float64).reshape(-1, 3)
    if not (np.abs(joints) <= FARTHEST).all():  # NaN too
        raise ValueError("a coordinate that is not finite or in no picture")
    joints[(joints[:, :2] == -1).all(1), 2] = 0  # how some writers mark unknown joints
    return joints


def _numbers(values: Any, depth: int = 0) -> Iterator[float]:
    for value in values:
        if isinstance(value, list) and depth == 0:
            yield from _numbers(value, 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield float(value)
        else:
            raise ValueError(f"{str(value)[:20]!r} where a number belongs")


def _area(person: _Person) -> float:
    """Of the box around the known joints, px²; a person on a larger canvas may look larger than she is."""
    known = person.joints[person.joints[:, 2] > 0, :2]
    return float(np.ptp(known, axis=0).prod())


def _canvas_of_layout(path: Path, joints: np.ndarray) -> tuple[float, float] | None:
    """The canvas of the two data sets, whose files do not name it; drawn people in VITON-HD's layout have the frame."""
    farthest = joints[joints[:, 2] > 0, :2].max(0)
    if path.resolve().parent.name == "openpose_json":
        return next((canvas for canvas in (FRAME, VITON_HD) if (farthest < canvas).all()), None)
    if path.resolve().parent.name == "keypoints" and path.stem.endswith("_2"):
        return DRESS_CODE if (farthest < DRESS_CODE).all() else None
    return None


def _into_frame(points: np.ndarray, canvas: tuple[float, float] | None, size: tuple[int, int]) -> Keypoints:
    """Scale joints (18, 3: x, y, confidence) into the frame; unknown joints become 0, 0, 0."""
    known = points[:, 2] > 0
    room = np.array(size, float)
    xy = points[:, :2]
    if np.abs(xy[known]).max() <= 1:  # shares of the canvas
        xy = xy * (canvas or room)
    low, high = xy[known].min(0), xy[known].max(0)
    if canvas:
        low, high = np.zeros(2), np.array(canvas)
    elif (low >= 0).all() and (high < room).all():
        low, high = np.zeros(2), room
    else:
        room = room * FITTED
    scale = (room / np.maximum(high - low, 1e-6)).min()
    placed = with_visibility((xy - (low + high) / 2) * scale + np.array(size) / 2, size)
    return np.where(known[:, None], placed, 0).astype(np.float32)

"""Poses from files of the public layouts, as OpenPose's 18 keypoints fitted into a frame; mirroring.

| layout | told by | people | canvas |
|---|---|---|---|
| OpenPose | `people[].pose_keypoints_2d`, 18 or 25 triples | several | `canvas_width`, `canvas_height`, or bare |
| VITON-HD (Choi et al. 2021) | OpenPose with 25, in a folder `openpose_json` | one | 768 × 1024 |
| DressCode (Morelli et al. 2022) | `keypoints`, 18 × (x, y, score, id), `*_2.json` | one | 384 × 512 |
| COCO | `annotations[].keypoints`, or results: 17 triples | several | `images[].width`, `height` |
| COCO-WholeBody, Halpe | the same with 133, 26 or 136 | several | the same |
| MMPose | `keypoints`, pairs, and `keypoint_scores`, also in `instance_info[].instances` | several | none |
| fkunn's and other editors | `keypoints[]`: of every person, pairs | several | `width`, `height` |
| plain | a list of any of these numbers of triples or pairs | one | none |

An unknown joint has confidence 0 or is null, and without confidences also (0, 0) or (-1, -1). Numbers may be quoted,
and a byte order mark may come first. Hands and faces in a file are ignored.
"""

from __future__ import annotations

import json
import re
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
COUNTS = (17, 18, 25, 26, 133, 136)
"""Joints of the layouts: COCO, OpenPose's two, Halpe, COCO-WholeBody, Halpe with hands and face."""
HALPE_NECK = 18
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
        joints: 17 of COCO, 18 or 25 of OpenPose, 26 or 136 of Halpe, 133 of COCO-WholeBody; a confidence of 0 is an
            unknown joint.

    Returns:
        (18, 3); COCO's neck is the middle of the shoulders, known when both are, with the lesser confidence.

    Raises:
        ValueError: another number of joints.
    """
    if len(joints) not in COUNTS or joints.shape[1:] != (3,):
        raise ValueError(f"{len(joints)} joints, expected {', '.join(map(str, COUNTS))}")
    if len(joints) == 18:
        return joints
    if len(joints) == 25:
        return joints[list(BODY_25)]
    found = joints[list(COCO_17)]  # the others begin with COCO's 17
    if len(joints) in (26, 136):
        found[NECK] = joints[HALPE_NECK]
        return found
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
        people = sorted(_people(json.loads(path.read_text(encoding="utf-8-sig"))), key=_area, reverse=True)
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"pose {str(path)!r} is not OpenPose JSON ({_reason(error)}); "
            "give pose_keypoints_2d, COCO's keypoints, or a list of 18 [x, y, c]"
        ) from None
    if not people:
        raise InputError(f"pose {str(path)!r} shows nobody's body; give a file with the joints of somebody's body")
    if len(people) > 1 and notes is not None:
        notes.append(f"pose {str(path)!r} shows {len(people)} people; the largest is taken")
    return _into_frame(people[0].joints, people[0].canvas or _canvas_of_layout(path, people[0].joints), size)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__} {error}".replace("\n", " ")[:120]


def _people(data: Any) -> Iterator[_Person]:
    """Everybody in a file who has a known joint of the body."""
    for values, scores, canvas in _found(data):
        joints = openpose_of(_triples(values, scores))
        if (joints[:, 2] > 0).any():
            yield _Person(joints, canvas)


_Canvas = tuple[float, float] | None


def _found(data: Any, canvas: _Canvas = None) -> Iterator[tuple[Any, Any, _Canvas]]:
    """What stands for a person: the joints' numbers, their confidences where they are apart, and the canvas."""
    if isinstance(data, list) and data and isinstance(data[0], dict | list) and not _is_row(data[0]):
        for item in data:
            yield from _found(item, canvas)
    elif not isinstance(data, dict):
        yield data, None, canvas
    elif "annotations" in data:
        sizes = {image.get("id"): _size(image.get("width"), image.get("height")) for image in data.get("images", [])}
        yield from ((one["keypoints"], None, sizes.get(one.get("image_id"))) for one in data["annotations"])
    else:
        canvas = _canvas_of(data) or canvas
        inside = next(
            (data[key] for key in ("people", "instance_info", "instances", "predictions") if key in data), None
        )
        if inside is not None:
            yield from _found(inside, canvas) if inside else ()
        elif "keypoints" in data:
            several = (
                bool(data["keypoints"]) and not _is_row(data["keypoints"][0]) and isinstance(data["keypoints"][0], list)
            )
            scores = data.get("keypoint_scores")
            yield from _found(data["keypoints"], canvas) if several else ((data["keypoints"], scores, canvas),)
        elif data["pose_keypoints_2d"]:  # null or empty: a face or hands without a body
            yield data["pose_keypoints_2d"], None, canvas


def _is_row(values: Any) -> bool:
    """Whether something is the numbers of one joint: a short list, of which any may be unknown."""
    return isinstance(values, list) and len(values) <= 4 and not any(isinstance(value, list | dict) for value in values)


def _canvas_of(data: dict[str, Any]) -> _Canvas:
    """The canvas that a file names, under any of the editors' keys."""
    for prefix in ("canvas_", "image_", ""):
        if found := _size(data.get(f"{prefix}width"), data.get(f"{prefix}height")):
            return found
    return None


def _size(width: Any, height: Any) -> _Canvas:
    if not (width or height):
        return None
    sides = [_number(side) for side in (width, height)]
    if not all(0 < side <= FARTHEST for side in sides):
        raise ValueError(f"canvas {width!r} × {height!r}")
    return sides[0], sides[1]


def _triples(values: Any, scores: Any = None) -> np.ndarray:
    """Numbers, flat or in rows, as (n, 3): x, y, confidence."""
    rows = values if any(isinstance(value, list) for value in values) else _rows(values)
    found = [_joint(row, None if scores is None else scores[index]) for index, row in enumerate(rows)]
    joints = np.array(found, dtype=np.float64).reshape(-1, 3)
    if not (np.abs(joints) <= FARTHEST).all():  # NaN too
        raise ValueError("a coordinate that is not finite or in no picture")
    joints[(joints[:, :2] == -1).all(1), 2] = 0  # how some writers mark unknown joints
    return joints


def _rows(flat: list[Any]) -> list[Any]:
    """Numbers without rows, which may be triples, pairs, or DressCode's fours."""
    width = next((width for width in (3, 2, 4) if len(flat) % width == 0 and len(flat) // width in COUNTS), 3)
    if len(flat) % width:
        raise ValueError(f"{len(flat)} numbers, which are no triples")
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _joint(row: Any, score: Any) -> tuple[float, float, float]:
    """One joint; an id in DressCode's rows is dropped."""
    if row is None or row[0] is None or row[1] is None:
        return 0.0, 0.0, 0.0
    x, y = _number(row[0]), _number(row[1])
    if score is not None:
        return x, y, _number(score)
    if len(row) > 2:
        return x, y, 0.0 if row[2] is None else _number(row[2])
    return x, y, float((x, y) != (0, 0))


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+(\.\d*)?(e[-+]?\d+)?\s*", value, re.I):
        return float(value)
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

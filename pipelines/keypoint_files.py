"""Poses from files, fitted into a frame, and mirrored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from twinset.errors import InputError
from twinset.models.figure.keypoints import BODY_25, FRAME, Keypoints, with_visibility

MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""Joint `MIRRORED[i]` stands where joint `i` stood once the picture is flipped."""


def mirror(keypoints: Keypoints, width: int = FRAME[0]) -> Keypoints:
    """The pose seen in a mirror: flipped in a frame of `width` pixels, left and right exchanged."""
    flipped = keypoints[list(MIRRORED)].copy()
    known = np.abs(flipped[:, :2]).sum(1) > 0
    flipped[known, 0] = width - 1 - flipped[known, 0]
    return flipped


def read_keypoints(path: Path, size: tuple[int, int] = FRAME) -> Keypoints:
    """Read a pose from JSON: OpenPose's own format (18 or 25 joints) or a plain list of 18 `[x, y, confidence]`.

    The canvas, when the file names it, is fitted into the frame; without one, a pose that is not yet inside the
    frame is.

    Args:
        path: JSON file.
        size: (width, height) of the frame in pixels.

    Raises:
        InputError: The file is missing or holds no such pose.
    """
    if not path.is_file():
        raise InputError(f"pose {str(path)!r} is not a file; check the path")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data = data[0] if isinstance(data, list) and isinstance(data[0], dict) else data
        points = np.asarray(_flat_list(data), dtype=np.float32).reshape(-1, 3)
        points = points[list(BODY_25)] if len(points) == 25 else points
        if points.shape != (18, 3) or not np.isfinite(points).all() or not (points[:, 2] > 0).any():
            raise ValueError(f"{len(points)} joints")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"pose {str(path)!r} is not OpenPose JSON ({error}); give pose_keypoints_2d or a list of 18 [x, y, c]"
        ) from None
    canvas = (data.get("canvas_width"), data.get("canvas_height")) if isinstance(data, dict) else (None, None)
    return _into_frame(points, canvas, size)


def _flat_list(data: Any) -> Any:
    person = data["people"][0] if isinstance(data, dict) and "people" in data else data
    return person["pose_keypoints_2d"] if isinstance(person, dict) else person


def _into_frame(points: np.ndarray, canvas: tuple[Any, Any], size: tuple[int, int]) -> Keypoints:
    """Scale joints (18, 3: x, y, confidence) into the frame; unknown joints become 0, 0, 0."""
    known = points[:, 2] > 0
    xy = points[:, :2]
    low, high = xy[known].min(0), xy[known].max(0)
    if all(canvas):
        if high.max() <= 1:  # normalised to the canvas
            xy = xy * np.array(canvas)
        low, high, room = np.zeros(2), np.array(canvas, float), np.array(size, float)
    elif (low >= 0).all() and (high < size).all() and high.max() > 1:
        low, high, room = np.zeros(2), np.array(size, float), np.array(size, float)
    else:
        room = np.array(size) * 0.84
    scale = (room / np.maximum(high - low, 1e-6)).min()
    placed = with_visibility((xy - (low + high) / 2) * scale + np.array(size) / 2, size)
    return np.where(known[:, None], placed, 0).astype(np.float32)

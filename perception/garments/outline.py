"""Outlines of flat garments: what class they suggest, and where trunk, sleeves and legs begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.measure import label

from twinset.perception.garments.cutout import Guess


@dataclass(frozen=True)
class Shape:
    """Measures of a cut-out's outline.

    Attributes:
        tall: height over width.
        pieces: large pieces.
        legs: share of the rows, from the bottom, in which it is two pieces side by side.
        sleeves: width of the widest row of the upper two thirds over the width near the hem, where one piece.
        neck: width near the top over the largest width.
        hem: width near the bottom over the largest width.
        waist: narrowest row between a fifth and three fifths over the hem's width.
        full: share of the box that is covered.
    """

    tall: float
    pieces: int
    legs: float
    sleeves: float
    neck: float
    hem: float
    waist: float
    full: float


def shape_of(mask: np.ndarray) -> Shape:
    """Measures a cut-out's outline.

    Args:
        mask: boolean (h, w), cropped to its box.
    """
    height, width = mask.shape
    sizes = np.bincount(np.asarray(label(mask, connectivity=1)).ravel())[1:]
    widths = mask.sum(1)
    inner = [_middle_run(row) for row in mask]
    runs = np.array([_runs(row) for row in mask])
    apart = [run >= 2 and middle == 0 for run, middle in zip(runs, inner, strict=True)]
    hem = float(np.median(widths[int(0.9 * height) : max(int(0.97 * height), int(0.9 * height) + 1)]))
    body = np.array([middle or covered for middle, covered in zip(inner, widths, strict=True)])
    return Shape(
        tall=height / width,
        pieces=int((sizes > sizes.max() / 5).sum()) if len(sizes) else 0,
        legs=_run_from_bottom(apart) / height,
        sleeves=float(widths[: max(1, 2 * height // 3)].max()) / max(hem, 1),
        neck=float(np.median(widths[: max(1, height // 25)])) / width,
        hem=hem / width,
        waist=float(body[height // 5 : max(3 * height // 5, height // 5 + 1)].min()) / max(hem, 1),
        full=float(mask.mean()),
    )


def _runs(row: np.ndarray) -> int:
    """Pieces of a row, those narrower than a fortieth left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return int((edges[1::2] - edges[::2] > len(row) / 40).sum())


def _middle_run(row: np.ndarray) -> int:
    """Length of the run that holds the row's middle, 0 where there is a gap."""
    middle = len(row) // 2
    if not row[middle]:
        return 0
    left, right = row[:middle][::-1], row[middle:]
    return int((left.argmin() if not left.all() else len(left)) + (right.argmin() if not right.all() else len(right)))


def _run_from_bottom(rows: Sequence[bool]) -> int:
    """Length of the longest run of true rows that ends in the lowest tenth."""
    last = max((k for k, row in enumerate(rows) if row), default=-1)
    if last < 0.9 * len(rows):
        return 0
    start = last
    while start > 0 and rows[start - 1]:
        start -= 1
    return last - start + 1


def class_by_shape(mask: np.ndarray) -> Guess:
    """Guesses a flat-lay's class from its outline by rules of thumb.

    Args:
        mask: boolean (h, w), cropped to its box.

    Returns:
        The class; below a confidence of 0.6 better ask. Bags are hardly told from skirts, nor open coats from shirts.
    """
    shape = shape_of(mask)
    if shape.pieces >= 2 and shape.tall < 1.3:
        return Guess("shoes", 0.85 if shape.pieces == 2 else 0.5)
    if shape.tall < 0.62 and shape.sleeves < 1.6:
        return Guess("shoes", 0.5)
    if shape.legs > 0.25:
        return Guess("bottom", 0.9 if shape.neck > 0.3 else 0.6)
    flared = shape.waist < 0.8
    if shape.sleeves > 1.25 and shape.hem < 0.85:  # wider above its hem: sleeves
        return _with_sleeves(shape, flared)
    if shape.hem > 0.85 and shape.neck > 0.45 and shape.tall < 1.4:
        return Guess("bottom", 0.65)
    if shape.tall > 1.9 or (shape.tall > 1.4 and flared):
        return Guess("dress", 0.7)
    return Guess("top", 0.6)


def _with_sleeves(shape: Shape, flared: bool) -> Guess:
    if shape.tall > 1.5 or (shape.tall > 1.2 and flared):
        return Guess("dress", 0.7)
    return Guess("outerwear", 0.6) if flared and shape.sleeves > 1.4 else Guess("top", 0.75)


# Places on an outline


def middle_column(mask: np.ndarray) -> int:
    """The column of the mirror axis: the middle of the lower half's extent."""
    columns = np.flatnonzero(mask[mask.shape[0] // 2 :].any(0))
    return int((columns[0] + columns[-1]) // 2) if len(columns) else mask.shape[1] // 2


def armpit_row(mask: np.ndarray, middle: int) -> int:
    """The row below which the sleeves are apart from the trunk, or end; a fifth of the height where there are none."""
    height, narrow = mask.shape[0], _trunk_widths(mask, middle)
    whole = mask.sum(1)
    hem = float(np.median(narrow[int(0.85 * height) : int(0.97 * height) + 1]))
    beside = (whole - narrow > 0.12 * hem) & (narrow > 0)
    rows = np.flatnonzero(beside[height // 10 :]) + height // 10
    if len(rows):
        return int(np.clip(rows[0], height // 8, 2 * height // 3))
    wide = np.flatnonzero(narrow > 1.3 * max(hem, 1))
    return (
        int(np.clip(wide[-1] + 1, height // 8, 2 * height // 3))
        if len(wide) and wide[-1] < 0.7 * height
        else height // 5
    )


def _trunk_widths(mask: np.ndarray, middle: int) -> np.ndarray:
    """Width of the run around the middle column, row by row; 0 where it is a gap."""
    left, right = _runs_around(mask, middle)
    return np.where(mask[:, middle], right - left, 0)


def _runs_around(mask: np.ndarray, middle: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right end (exclusive) of the run that holds the middle column, row by row."""
    before, after = ~mask[:, :middle][:, ::-1], ~mask[:, middle:]
    left = middle - np.where(before.any(1), before.argmax(1), before.shape[1])
    right = middle + np.where(after.any(1), after.argmax(1), after.shape[1])
    return left, right


def torso_sides(mask: np.ndarray, middle: int, armpit: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the trunk's left and right edge, row by row from the armpits down; gaps keep the edge above."""
    left, right = (edge.astype(float) for edge in _runs_around(mask, middle))
    rows, columns = np.arange(mask.shape[0]), np.flatnonzero(mask[armpit:].any(0))
    for row in rows[armpit:]:
        if not mask[row, middle]:  # an open front
            here = np.flatnonzero(mask[row])
            left[row], right[row] = (here[0], here[-1] + 1) if len(here) else (columns[0], columns[-1] + 1)
    return left, right


def top_of_column(mask: np.ndarray, column: int) -> int:
    """First covered row of a column, or of its nearest neighbours."""
    for away in range(mask.shape[1]):
        for at in (column - away, column + away):
            if 0 <= at < mask.shape[1] and mask[:, at].any():
                return int(mask[:, at].argmax())
    return 0


def crotch_row(mask: np.ndarray) -> int:
    """The row from which two legs are apart down to the hem; 0 for a skirt."""
    height, column = mask.shape[0], mask.shape[1] // 2
    near = mask[:, max(0, column - 2) : column + 3]
    open_rows = [not row.all() for row in near]
    row = height - 1
    while row > 0 and (open_rows[row] or row > 0.96 * height):
        row -= 1
    return row + 1 if row + 1 < 0.9 * height else 0

"""Several people in one picture: each has a column of it, with a pose, a face and an outfit of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from twinset.adapters.condition import Layout
from twinset.errors import InputError
from twinset.figure.labels import BACKGROUND
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.request import Request

COUNTS = ("no", "one person", "two people", "three people")
GRID = 8


@dataclass(frozen=True)
class Member:
    """One of several people.

    Attributes:
        request: what is asked of that person alone.
        selfie: the face, or None.
        flats: garment kind to its picture, uint8 (h, w, 3), as the family takes it.
        pose: name of the preset, the keypoint file or the picture.
        kinds: garment kinds that the person wears.
        layout: of that person in the whole picture; `others` are the rest.
    """

    request: Request
    selfie: Selfie | None
    flats: dict[str, np.ndarray]
    pose: str
    kinds: tuple[str, ...]
    layout: Layout


def require_families(request: Request, draws_one: bool) -> None:
    """Refuse several people where they cannot be drawn.

    Raises:
        InputError: the model draws one person, or the identity adapter knows one face.
    """
    if draws_one:
        raise InputError(
            "--person: the bundled model draws one person; use --model sd15 or sdxl, or draw them one by one"
        )
    if request.identity_adapter == "instantid":
        raise InputError(
            "--identity-adapter instantid knows one face only; with --person take faceid-plusv2, faceid or plus-face"
        )


def columns(size: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Left edge and width of each person's column, from the left, on the grid of the latents.

    Args:
        size: (width, height) of the picture in pixels.
        count: of people.
    """
    edges = [round(size[0] * number / count / GRID) * GRID for number in range(count)] + [size[0]]
    return [(left, right - left) for left, right in pairwise(edges)]


def placed(layout: Layout, left: int, size: tuple[int, int]) -> Layout:
    """A column's layout in the whole picture, whose background it leaves alone.

    Args:
        layout: of the column.
        left: pixels before it.
        size: (width, height) of the picture.
    """
    labels = np.full((size[1], size[0]), BACKGROUND, np.uint8)
    labels[:, left : left + layout.labels.shape[1]] = layout.labels
    known = (layout.keypoints != 0).any(1)
    keypoints = layout.keypoints + np.where(known[:, None], np.array([left, 0, 0], np.float32), 0)
    return Layout(keypoints.astype(np.float32), labels)


def beside_each_other(layouts: Sequence[Layout]) -> list[Layout]:
    """The same layouts, each knowing the keypoints of the others."""
    everybody = [layout.keypoints for layout in layouts]
    return [
        Layout(layout.keypoints, layout.labels, tuple(everybody[:number] + everybody[number + 1 :]))
        for number, layout in enumerate(layouts)
    ]


def together(layouts: Sequence[Layout]) -> Layout:
    """One layout of all people: columns do not overlap."""
    labels = np.maximum.reduce([layout.labels for layout in layouts])
    return Layout(layouts[0].keypoints, labels, layouts[0].others)


def with_count(prompt: str, count: int, said: int | None) -> str:
    """An English prompt that says how many people there are, unless it does already.

    Args:
        prompt: in English.
        count: of people.
        said: how many the sentence itself names, where it does.
    """
    return prompt if said == count else f"{COUNTS[count]}, {prompt}"

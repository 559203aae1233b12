"""A photo in which somebody is to have another face, another outfit, or both: what changes, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from twinset.adapters.condition import Layout
from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.figure.labels import (
    BACKGROUND,
    DRESS,
    FACE,
    LABELS,
    LEFT_SHOE,
    PANTS,
    RIGHT_SHOE,
    SKIRT,
    UPPER,
    garment_labels,
)
from twinset.models.figure_reader import Figure
from twinset.pipelines.denoising.blending import Blend, blend
from twinset.pipelines.families.backend import FamilyBackend
from twinset.scoring.skin import LIMBS

IN_FRONT = tuple(LABELS.index(name) for name in ("hat", "hair", "sunglasses", "face", "bag", "scarf"))
"""What covers clothes and is not covered by them."""
GIVES_WAY: dict[int, tuple[int, ...]] = {
    UPPER: (UPPER, DRESS),
    DRESS: (UPPER, DRESS, SKIRT, PANTS),
    SKIRT: (SKIRT, PANTS, DRESS),
    PANTS: (SKIRT, PANTS, DRESS),
    LEFT_SHOE: (LEFT_SHOE, RIGHT_SHOE),
}
"""First label of a new garment → labels of worn ones that it replaces."""
RIM, FADE = 4, 2
"""Pixels of the frame by which a change reaches over its edge, where the old outline is; and those of the fade."""
ROOM, SMALL = 1.3, 0.6
"""Sides of the window by the person's; a person who fills less of the photo's height is looked at closer."""


@dataclass(frozen=True)
class Photo:
    """A photo of which a part is drawn anew.

    Attributes:
        picture: uint8 (H, W, 3) as given.
        window: left, top, width and height, in pixels of the photo, of the part shown in the family's frame.
        seen: uint8 (h, w, 3), the window at the frame's size.
        redrawn: bool (h, w), what may change.
    """

    picture: np.ndarray
    window: tuple[int, int, int, int]
    seen: np.ndarray
    redrawn: np.ndarray

    def with_part(self, drawn: np.ndarray, how: Blend = "soft") -> np.ndarray:
        """The photo with what was drawn, uint8 (h, w, 3), where it may change; the rest is as it was, bit for bit."""
        left, top, width, height = self.window
        scale = width / drawn.shape[1]
        part = np.asarray(Image.fromarray(drawn).resize((width, height), Image.Resampling.LANCZOS))
        mask = Image.fromarray(self.redrawn).resize((width, height), Image.Resampling.NEAREST)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.picture.shape[1]), min(top + height, self.picture.shape[0])
        inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        done = self.picture.copy()
        area = done[y0:y1, x0:x1]
        done[y0:y1, x0:x1] = blend(area, part[inside], np.asarray(mask)[inside], how, width=FADE * max(1.0, scale))
        return done

    def part_of(self, whole: np.ndarray) -> np.ndarray:
        """The window of a picture of the photo's size, at the frame's size."""
        return _cut(whole, self.window, (self.seen.shape[1], self.seen.shape[0]))


def read_photo(
    people: FamilyBackend, path: Path, flats: Sequence[str], face: bool, notes: list[str]
) -> tuple[Photo, Layout, tuple[str, ...]]:
    """Read the photo in which the outfit, the face or both are to change.

    Args:
        people: who looks.
        path: of the photo.
        flats: kinds of the garments given.
        face: whether the face changes, and with it the skin of arms and legs, which is the same person's.
        notes: receives what the user should know.

    Returns:
        The photo, the layout of what it shall show, and the kinds worn in it then.

    Raises:
        InputError: nobody is seen, or there is nothing to change.
    """
    if not flats and not face:
        raise InputError(f"photo {str(path)!r}: nothing to change; give --selfie, --garment or both")
    picture = read_picture(path, "photo")
    window = choose_window(people.figure(picture), people.size)
    seen = _cut(picture, window, people.size)
    figure = people.figure(seen)
    if not figure.found:
        raise InputError(f"photo {str(path)!r} shows nobody; give a picture of one person")
    if face and not (figure.labels == FACE).any():
        raise InputError(f"photo {str(path)!r} shows no face to replace; leave --selfie out, or give another photo")
    kinds = dressed_as(figure.labels, flats)
    wanted = dressed_anew(figure.labels, people.labels(figure.keypoints, kinds, "short"), flats)
    redrawn = changes(figure.labels, wanted, flats, face)
    share = redrawn.mean()
    notes.append(f"photo {str(path)!r}: {share:.0%} of the edited window is redrawn")
    return Photo(picture, window, seen, redrawn), Layout(figure.keypoints, wanted), kinds


def choose_window(figure: Figure, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the part of a photo to work on, in the frame's proportions.

    The whole photo, unless the person is small in it.

    Args:
        figure: of the whole photo.
        size: (width, height) of the family's frame.
    """
    height, width = figure.labels.shape
    rows, columns = np.nonzero(figure.labels)
    box = (0, 0, width, height)
    if len(rows) and np.ptp(rows) + 1 < SMALL * height:
        centre = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
        extent = (np.ptp(columns) + 1) * ROOM, (np.ptp(rows) + 1) * ROOM
        box = (centre[0] - extent[0] / 2, centre[1] - extent[1] / 2, *extent)
    scale = max(box[2] / size[0], box[3] / size[1])
    wide, high = round(scale * size[0]), round(scale * size[1])
    return round(box[0] + box[2] / 2 - wide / 2), round(box[1] + box[3] / 2 - high / 2), wide, high


def dressed_as(labels: np.ndarray, flats: Sequence[str]) -> tuple[str, ...]:
    """The outfit after the change: the garments given, and a plain kind for each worn one that stays."""
    plain = {UPPER: "t_shirt", SKIRT: "skirt", PANTS: "trousers", DRESS: "dress", LEFT_SHOE: "shoes"}
    gone = {label for kind in flats for label in GIVES_WAY.get(garment_labels(kind)[0], ())}
    stays = [kind for label, kind in plain.items() if label not in gone and (labels == label).any()]
    if DRESS in gone and (labels == DRESS).any() and not any(garment_labels(k)[0] in (SKIRT, PANTS) for k in flats):
        stays.append("skirt")  # somebody whose dress becomes a coat wears something below it
    return (*flats, *(kind for kind in stays if kind not in flats))


def dressed_anew(labels: np.ndarray, drawn: np.ndarray, flats: Sequence[str]) -> np.ndarray:
    """The photo's parsing map with new garments in it, occlusions kept.

    Where old garments were, the figure drawn in the new ones says what is seen now; where new ones reach further they
    cover background, limbs and other clothes, but nothing that was before the body.

    Args:
        labels: uint8 (H, W) of the photo.
        drawn: uint8 (H, W) of the same pose in the new outfit.
        flats: kinds of the garments given.

    Returns:
        uint8 (H, W).
    """
    made = labels.copy()
    for kind in flats:
        own = garment_labels(kind)
        old = np.isin(labels, GIVES_WAY.get(own[0], own))
        filled = np.where(np.isin(drawn, IN_FRONT), BACKGROUND, drawn)  # the photo's own head is where it was
        made[old] = filled[old]
        covered = np.isin(drawn, own) & ~np.isin(labels, IN_FRONT)
        made[covered] = drawn[covered]
    return made


def changes(labels: np.ndarray, wanted: np.ndarray, flats: Sequence[str], face: bool) -> np.ndarray:
    """The pixels to draw anew, bool (H, W): all that is labelled otherwise, new garments, and the face with its skin.

    Hair and whatever else is before the body stays as it is.

    Args:
        labels: uint8 (H, W) of the photo.
        wanted: uint8 (H, W) afterwards.
        flats: kinds of the garments given.
        face: whether the face changes.
    """
    new = [label for kind in flats for label in garment_labels(kind)]
    skin = (FACE, *LIMBS) if face else ()
    anew = (labels != wanted) | np.isin(wanted, new) | np.isin(wanted, skin)
    stays = ~anew & ~np.isin(labels, (BACKGROUND, *LIMBS))
    return binary_dilation(anew, iterations=RIM) & ~stays


def _cut(picture: np.ndarray, window: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """What a window shows, at a size (width, height); beyond the picture its edge goes on."""
    left, top, width, height = window
    rows = np.clip(np.arange(top, top + height), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, left + width), 0, picture.shape[1] - 1)
    part = picture[rows][:, columns]
    return part if (width, height) == size else np.asarray(Image.fromarray(part).resize(size, Image.Resampling.LANCZOS))

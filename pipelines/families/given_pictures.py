"""The pictures that a request gives of a person: selfies become a face, garments what the family takes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_fill_holes

from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.perception.faces.quality import fuse
from twinset.perception.garments.colours import colour_names
from twinset.perception.garments.cutout import KINDS_OF, class_by_parsing, class_of, cut_out
from twinset.pipelines.families.backend import FamilyBackend, Selfie
from twinset.pipelines.named_files import GarmentPicture
from twinset.pipelines.wardrobe import slots
from twinset.scoring.garment import NEARLY_WHITE

MARGIN = 8


def read_selfies(people: FamilyBackend, paths: Sequence[Path], choice: str, notes: list[str]) -> Selfie:
    """Find and align the face of each picture; several become one identity, of which the best is shown.

    Args:
        people: the family's backend.
        paths: pictures of one person.
        choice: which of several faces in one picture.
        notes: receives a line where there was something to decide, or a picture shows somebody else.
    """
    found = [people.selfie(read_picture(path, "selfie"), path, notes, choice) for path in paths]
    if len(found) == 1:
        return found[0]
    embeddings = np.stack([people.embedding(selfie) for selfie in found])
    together = fuse(embeddings, [selfie.quality for selfie in found])
    notes += together.notes
    best = found[max(together.kept, key=lambda index: found[index].quality)]
    return replace(best, embedding=together.embedding * np.linalg.norm(embeddings, axis=1).mean())


def read_garments(people: FamilyBackend, garments: Sequence[GarmentPicture], notes: list[str]) -> dict[str, np.ndarray]:
    """Read garment pictures and fit each to what the family takes.

    Returns:
        Kind to uint8 (h, w, 3).

    Raises:
        InputError: An unknown kind, an empty picture, or two garments for one place.
    """
    flats: dict[str, np.ndarray] = {}
    for garment in garments:
        picture, worn = laid_flat(people, garment, notes)
        kind = garment.kind or worn or people.guess_kind(picture, garment.path)
        if garment.kind is None:
            notes.append(f"garment {str(garment.path)!r} was recognised as {kind}; write KIND=FILE to override")
        if kind not in people.kinds:
            raise InputError(f"garment kind {kind!r} is unknown to this model; choose one of {', '.join(people.kinds)}")
        clash = next((other for other in flats if slots(other) & slots(kind)), None)
        if clash:
            raise InputError(f"garment {str(garment.path)!r} ({kind}) cannot be worn with {clash}; give one of them")
        flats[kind] = people.fit(picture, kind)
    return flats


def laid_flat(people: FamilyBackend, garment: GarmentPicture, notes: list[str]) -> tuple[np.ndarray, str | None]:
    """A garment's picture; where somebody wears it, the piece cut out on white.

    Returns:
        uint8 (h, w, 3), and the kind where the parsing map leaves no choice.

    Raises:
        InputError: the picture cannot be read, or does not show such a piece.
    """
    picture = read_picture(garment.path, "garment")
    try:
        labels = people.worn(picture)
    except InputError as error:
        notes.append(
            f"garment {str(garment.path)!r} is taken as laid flat: nothing here tells worn from flat ({error})"
        )
        return picture, None
    if labels is None:
        return picture, None
    piece = class_of(garment.kind or "") or class_by_parsing(labels).name
    notes.append(f"garment {str(garment.path)!r} shows somebody wearing it; the {piece} is cut out")
    cut = cut_out(picture, labels, piece).picture
    padded = np.pad(cut, ((MARGIN,) * 2, (MARGIN,) * 2, (0, 0)), constant_values=255)
    return padded, KINDS_OF[piece][0] if len(KINDS_OF[piece]) == 1 else None


def colours_of(flats: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Names of the colours that garments on white show, the main one first."""
    masks = {kind: binary_fill_holes((flat < NEARLY_WHITE).any(-1)) for kind, flat in flats.items()}
    return {kind: colour_names(flats[kind], np.asarray(mask)) for kind, mask in masks.items() if np.any(mask)}

"""What the program sees in pictures, drawn: faces and landmarks, skeleton, parsing map, garment cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from twinset.common.image_io import read_picture
from twinset.common.sheets import contact_sheet, tinted
from twinset.errors import InputError
from twinset.figure.keypoints import KEYPOINT_NAMES, openpose_skeleton, stick_of
from twinset.figure.labels import LABELS
from twinset.models.face_finder import Face, face_centre, face_size
from twinset.models.figure_reader import Figure
from twinset.perception.faces.quality import FaceReport, judge_face
from twinset.perception.garments.colours import colour_names
from twinset.perception.garments.cutout import Cutout, cut_out
from twinset.pipelines.families.backend import FamilyBackend

TILE = (288, 384)
WORN = {"upper-clothes": (4,), "dress": (7,), "skirt": (5,), "trousers": (6,), "shoes": (9, 10), "bag": (16,)}
"""Cut out of a worn picture, and the labels that they own."""
LEAST = 0.004
"""Share of the picture that a worn piece must have to be shown."""


@dataclass(frozen=True)
class Findings:
    """What was seen in one picture.

    Attributes:
        path: of the picture.
        picture: uint8 (H, W, 3).
        faces: the largest first.
        figure: keypoints and parsing map; None where there is no person, or nobody to read one.
        kind: of the garment, where the picture shows one laid flat.
        pieces: name to cut-out.
        colours: name of each piece to the names of its main colours, the largest first.
        reports: of the faces, in their order.
        notes: one line each.
    """

    path: Path
    picture: np.ndarray
    faces: tuple[Face, ...]
    figure: Figure | None
    kind: str | None
    pieces: dict[str, Cutout]
    colours: dict[str, list[str]]
    reports: tuple[FaceReport, ...]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """One line."""
        said = [f"{len(self.faces)} face{'s' * (len(self.faces) != 1)}"]
        if self.figure is not None:
            said.append(f"a person with {int((self.figure.keypoints[:, 2] > 0).sum())} of 18 keypoints")
        if self.kind is not None:
            said.append(f"laid flat: {self._coloured(self.kind)}")
        elif self.pieces:
            said.append(f"wearing {', '.join(map(self._coloured, self.pieces))}")
        return ", ".join(said)

    def _coloured(self, piece: str) -> str:
        return f"{piece} ({' and '.join(self.colours.get(piece, ['?']))})"

    def to_json(self) -> dict[str, Any]:
        """`{picture, width, height, faces, keypoints, labels, kind, pieces, notes}`; positions in pixels."""
        keypoints, shares = {}, {}
        if self.figure is not None:
            rows = zip(KEYPOINT_NAMES, self.figure.keypoints.astype(float).round(2).tolist(), strict=True)
            keypoints = {name: row for name, row in rows if row[2] > 0}
            counted = np.bincount(self.figure.labels.ravel(), minlength=len(LABELS)) / self.figure.labels.size
            shares = {name: round(float(share), 4) for name, share in zip(LABELS, counted, strict=True) if share > 0}
        faces = [
            {"score": round(face.score, 3), "landmarks": face.landmarks.astype(float).round(1).tolist()}
            | {"yaw": round(report.yaw), "eyes": round(report.eyes, 1), "quality": round(report.quality, 3)}
            for face, report in zip(self.faces, self.reports, strict=True)
        ]
        size = {"width": self.picture.shape[1], "height": self.picture.shape[0]}
        seen = {
            "faces": faces,
            "keypoints": keypoints,
            "labels": shares,
            "kind": self.kind,
            "pieces": {name: {"colours": self.colours.get(name, [])} for name in self.pieces},
        }
        return {"picture": str(self.path), **size, **seen, "notes": list(self.notes)}


def inspect_picture(people: FamilyBackend, path: Path) -> Findings:
    """Run all of a family's perception networks on one picture.

    Raises:
        InputError: the file is no picture.
    """
    picture, notes = read_picture(path), []
    faces = _tried(lambda: people.faces(picture), notes) or []
    figure = _tried(lambda: people.figure(picture), notes)
    if figure is not None and not figure.found:
        figure = None
    kind, pieces = None, {}
    if figure is not None:
        pieces = worn_pieces(picture, figure.labels)
    elif not faces:
        kind = _tried(lambda: people.guess_kind(picture, path), notes)
        pieces = {kind or "garment": cut} if (cut := _tried(lambda: cut_out(picture), notes)) is not None else {}
    colours = {name: colour_names(piece.picture, piece.mask) for name, piece in pieces.items()}
    labels = None if figure is None or not figure.labels.any() else figure.labels
    reports = tuple(judge_face(picture, face, labels) for face in faces)
    return Findings(path, picture, tuple(faces), figure, kind, pieces, colours, reports, tuple(notes))


def worn_pieces(picture: np.ndarray, labels: np.ndarray) -> dict[str, Cutout]:
    """The garments of a worn picture, each cut out by the parsing map (H, W), on white."""
    found = {}
    for name, owned in WORN.items():
        mask = np.isin(labels, owned)
        if mask.mean() >= LEAST:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            cut = np.where(mask[box][..., None], picture[box], 255).astype(np.uint8)
            found[name] = Cutout(cut, mask[box], 1.0, "parsing")
    return found


def inspection_sheet(findings: Sequence[Findings]) -> Image.Image:
    """One page: a row per picture, with what was seen in it."""
    return contact_sheet([_row(one) for one in findings], TILE)


def _row(seen: Findings) -> list[np.ndarray]:
    tiles = [marked(seen)]
    if seen.figure is not None:
        owned = {name: seen.figure.labels == index for index, name in enumerate(LABELS) if index}
        regions = {name: mask.astype(np.float32) for name, mask in owned.items() if mask.mean() >= LEAST / 4}
        tiles.append(np.array(tinted(seen.picture, regions, 0.6)))
    return [*tiles, *(piece.picture for piece in seen.pieces.values())]


def marked(seen: Findings) -> np.ndarray:
    """The picture with skeleton, face boxes and landmarks drawn in."""
    height, width = seen.picture.shape[:2]
    canvas = seen.picture
    if seen.figure is not None:
        bones = openpose_skeleton(seen.figure.keypoints, (width, height), stick_of((width, height), thick=False))
        canvas = np.where(bones.any(-1, keepdims=True), (0.35 * canvas + 0.65 * bones).astype(np.uint8), canvas)
    page = Image.fromarray(canvas)
    draw, line = ImageDraw.Draw(page), max(1, round(max(page.size) / 300))
    for index, face in enumerate(seen.faces):
        reach, centre = 1.9 * face_size(face.landmarks), face_centre(face.landmarks)
        colour = (255, 215, 0) if index == 0 else (150, 150, 150)
        draw.rectangle((*(centre - reach), *(centre + reach)), outline=colour, width=line)
        for x, y in face.landmarks:
            draw.ellipse((x - 2 * line, y - 2 * line, x + 2 * line, y + 2 * line), fill=colour, outline="black")
    return np.array(page)


def _tried(look: Any, notes: list[str]) -> Any:
    """What is seen, or a note why nothing is."""
    try:
        return look()
    except InputError as error:
        notes.append(str(error))
        return None

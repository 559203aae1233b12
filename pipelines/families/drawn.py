"""The bundled model's people: stylised figures with big heads, and garments as flat drawings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image, ImageOps

from twinset.adapters.condition import Condition, Layout
from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import flat_keypoints, warp_flat
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.face_look import face_look
from twinset.figure.keypoints import FRAME, Keypoints, with_visibility
from twinset.figure.labels import FACE, GARMENT_KINDS, garment_labels
from twinset.figure.poses import preset
from twinset.figure.retarget import ORDINARY, head_share, retarget
from twinset.models.clip import GARMENT_SENTENCES
from twinset.models.face_finder import CROP, Face, align
from twinset.models.figure_reader import Figure
from twinset.perception.garments.cutout import cut_out
from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.families.choose_face import chosen_face
from twinset.pipelines.families.looks import Looks, read_hair
from twinset.pipelines.families.photo_adapters import USUAL, AuthorSettings
from twinset.pipelines.request import Request
from twinset.pipelines.stages import face_view, within_frame
from twinset.scoring.clip_score import clip_score, clip_similarity
from twinset.scoring.garment import FEWEST_PIXELS
from twinset.scoring.iqa import clip_iqa, rn50
from twinset.scoring.niqe import NiqeModel, niqe

if TYPE_CHECKING:
    from twinset.pipelines.studio import StudioPipeline

WIDTH, HEIGHT = FRAME
LEAST_FACE = 0.015
"""Share of a picture that the face must have for somebody to be in it."""
FAR_STRENGTH, NEAR_STRENGTH = 0.42, 0.17
"""Shares of the steps of a second stage, for small faces and for large ones."""
NIQE_FILE = "niqe.npz"
CHEEKS = (slice(50, 84), slice(33, 78))
"""Rows and columns of ArcFace's frame that show skin, nose and eyes' lower lids."""
FLAT_FILL = 0.86
"""Share of the frame that a garment spans in the flat pictures that CLIP was trained on."""


class StudioBackend:
    """The `FamilyBackend` of the bundled model."""

    frame: tuple[int, int] = FRAME
    usual_size: tuple[int, int] = (2 * WIDTH, 2 * HEIGHT)
    usual_scheduler: SchedulerName | None = None
    kinds: tuple[str, ...] = tuple(GARMENT_KINDS)
    family: str = "studio"

    def __init__(self, pipe: StudioPipeline, size: tuple[int, int] = FRAME):
        self.pipe, self.size = pipe, size

    def at(self, size: tuple[int, int]) -> Self:
        """The same for pictures of another size."""
        return type(self)(self.pipe, size)

    def stage_sizes(self) -> list[tuple[int, int]]:
        """The frame grown to the picture's proportions, then doubled."""
        return within_frame(self.size, self.frame)

    def hires_strength(self, layout: Layout) -> float:
        """Less where the face is large: the network has seen none of that size."""
        return FAR_STRENGTH if face_view(layout, self.frame) is not None else NEAR_STRENGTH

    @property
    def draws_clothes(self) -> bool:
        """Where there is an adapter that takes them."""
        return None not in (getattr(self.pipe, "garment_adapter", None), self.pipe.image_encoder)

    def preset(self, name: str, framing: str) -> Keypoints:
        """A named pose of the figure, its frame in the middle."""
        scale = min(self.size[0] / FRAME[0], self.size[1] / FRAME[1])
        margin = (np.array(self.size) - scale * np.array(FRAME)) / 2
        return with_visibility(preset(name, framing)[:, :2] * scale + margin, self.size)

    def adopt(self, keypoints: Keypoints, name: str, notes: list[str]) -> Keypoints:
        """Keypoints in the figure's proportions: those of an ordinary person are retargeted, with a note."""
        share = head_share(keypoints)
        if share is None or share >= ORDINARY:
            return keypoints
        notes.append(
            f"pose {name!r} has a smaller head than drawn people ({share:.2f} of the figure's); it is retargeted"
        )
        return retarget(keypoints, self.size)

    def labels(self, keypoints: Keypoints, kinds: Sequence[str], hair: str) -> np.ndarray:
        """The figure's parsing map."""
        return draw_layout(keypoints, kinds, hair, self.size)

    def selfie(self, picture: np.ndarray, path: Path, notes: list[str], choice: str = "largest") -> Selfie:
        """The face of an ordinary picture, or of an aligned 112 × 112 crop."""
        faces = self.faces(picture)
        if not faces and picture.shape[:2] == (CROP, CROP):
            notes.append(f"selfie {str(path)!r} is taken as an aligned crop: no face was found in it")
            return Selfie(picture, picture)
        face, report = chosen_face(picture, faces, path, notes, choice)
        crop = align(picture, face.landmarks).copy()
        found = Selfie(crop, crop, report.quality)
        if None in (getattr(self.pipe, "figure_reader", None), getattr(self.pipe, "identity_adapter", None)):
            return found
        return replace(found, hair=read_hair(picture, self.figure(picture), self.skin(found)))

    def embedding(self, selfie: Selfie) -> np.ndarray:
        """By the bundled face encoder."""
        return self.pipe.embedding(selfie.face)[0].float().cpu().numpy()

    def faces(self, picture: np.ndarray) -> list[Face]:
        """The faces of a picture uint8 (H, W, 3), the largest first."""
        finder = self.pipe.face_finder
        return found_faces(
            lambda: finder.find(picture), picture, self.pipe.perception_cache, lambda: weights_hash(finder)
        )

    def figure(self, picture: np.ndarray) -> Figure:
        """Keypoints and parsing map by the bundled reader."""
        reader = self.pipe.figure_reader
        if reader is None:
            raise InputError("this model has no figure_reader; use the bundled model 'studio'")

        def work() -> dict[str, np.ndarray]:
            figure = reader.read(picture)
            return {"keypoints": figure.keypoints, "labels": figure.labels}

        return Figure(**self.pipe.perception_cache("figure", work, picture, revision=lambda: weights_hash(reader)))

    def worn(self, picture: np.ndarray) -> np.ndarray | None:
        """Told by the face: the reader has seen people only, and takes sleeves for arms."""
        if getattr(self.pipe, "figure_reader", None) is None:
            return None
        figure = self.figure(picture)
        return figure.labels if figure.found and (figure.labels == FACE).mean() > LEAST_FACE else None

    def guess_kind(self, picture: np.ndarray, path: Path) -> str:
        """Zero-shot by the bundled CLIP: as it is, and with the margins that CLIP is used to."""
        known = self.pipe.perception_cache(
            "kind",
            lambda: {"kind": np.array(self._likeliest(picture))},
            picture,
            revision=lambda: weights_hash(self.pipe.clip),
        )
        return str(known["kind"])

    def _likeliest(self, picture: np.ndarray) -> str:
        cut = Image.fromarray(cut_garment(picture))
        inner = ImageOps.contain(cut, (round(FLAT_FILL * WIDTH), round(FLAT_FILL * HEIGHT)), Image.Resampling.LANCZOS)
        framed = Image.new("RGB", FRAME, "white")
        framed.paste(inner, ((WIDTH - inner.width) // 2, (HEIGHT - inner.height) // 2))
        sentences = list(GARMENT_SENTENCES.values())
        likely = sum(self.pipe.clip.choose(view, sentences) for view in (picture, np.array(framed)))
        return list(GARMENT_SENTENCES)[int(np.argmax(likely))]

    def fit(self, picture: np.ndarray, kind: str) -> np.ndarray:
        """Fitted to the flat frame of its kind."""
        return fit_flat(picture, kind)

    def settings(self, request: Request) -> AuthorSettings:
        """The model's own, whatever is asked for."""
        return USUAL

    def person(
        self, selfie: Selfie | None, flats: Mapping[str, np.ndarray], layout: Layout, weight: float
    ) -> Condition | None:
        """None: face and garments are conditions of their own."""
        return None

    def identity(self, selfie: Selfie, layout: Layout, weight: float, looks: Looks | None = None) -> Condition:
        """By the bundled identity adapter, the face drawn beforehand with its expression, turn and beard."""
        look = None if looks is None else looks.face(layout.keypoints)
        return self.pipe.identity(selfie.face, layout, weight, embedding=selfie.embedding, look=look)

    def figure_condition(self, layout: Layout, looks: Looks, selfie: Selfie | None, hat: bool) -> Condition | None:
        """Hair, and with a selfie the skin of arms and legs, drawn on the average figure."""
        skin = None if selfie is None else self.skin(selfie)
        return self.pipe.figure(layout, looks.hair, looks.hair_colour, skin, hat)

    def garment(self, flat: np.ndarray, kind: str, layout: Layout, weight: float) -> Condition:
        """By the bundled garment adapter."""
        return self.pipe.garment(flat, kind, layout, weight)

    def scores(self, picture: np.ndarray) -> dict[str, float]:
        """CLIP-IQA by the paper's CLIP where it is here, else by the bundled one; NIQE by what comes with the model."""
        judge = rn50()
        found = clip_iqa(self.pipe.clip, picture) if judge is None else judge(picture)
        values = {f"clip_iqa_{name}": value for name, value in found.items()}
        pristine = Path(self.pipe.name_or_path or ".") / NIQE_FILE
        return values | ({"niqe": niqe(picture, NiqeModel.load(pristine))} if pristine.is_file() else {})

    @property
    def scored_by(self) -> str:
        """OpenAI's RN50 where its weights are here, else the bundled CLIP."""
        return "studio-clip" if rn50() is None else "clip-rn50"

    def embedded(self, picture: np.ndarray) -> np.ndarray | None:
        """By the bundled face encoder."""
        faces = self.pipe.face_finder.find(picture)
        if not faces:
            return None
        crop = align(picture, faces[0].landmarks).copy()
        return self.embedding(Selfie(crop, crop))

    @torch.no_grad()
    def skin(self, selfie: Selfie) -> np.ndarray | None:
        """Of the canvas: the neutral face in white light that the embedding means."""
        networks: Any = (self.pipe.face_encoder, self.pipe.identity_adapter, self.pipe.vae)
        return self.pipe.condition_cache(self._skin, selfie.face, networks)

    def _skin(self, face: np.ndarray) -> np.ndarray:
        canvas = self.pipe.canvas(self.pipe.embedding(face), face_look())
        return np.median(canvas[CHEEKS].reshape(-1, 3), axis=0)

    def similarities(
        self, picture: np.ndarray, labels: np.ndarray, flats: Mapping[str, np.ndarray], prompt: str | None
    ) -> dict[str, float]:
        """By the bundled CLIP."""
        clip = self.pipe.clip
        worn = {kind: np.isin(labels, garment_labels(kind)) for kind in flats}
        alike = [
            clip_similarity(clip, np.where(worn[kind][..., None], picture, np.uint8(255)), flat)
            for kind, flat in flats.items()
            if worn[kind].sum() >= FEWEST_PIXELS
        ]
        found = {"garment_similarity": float(np.mean(alike))} if alike else {}
        return found if prompt is None else found | {"prompt": clip_score(clip, picture, prompt)}


def found_faces(
    find: Callable[[], list[Face]], picture: np.ndarray, seen: PerceptionCache, revision: str | Callable[[], str]
) -> list[Face]:
    """Faces, or those found in an earlier run.

    Args:
        find: looks for them.
        picture: in which.
        seen: what was found before.
        revision: of the detector's weights.
    """

    def work() -> dict[str, np.ndarray]:
        faces = find()
        boxes = [np.full(4, np.nan) if face.box is None else face.box for face in faces]
        return {
            "landmarks": np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
            "scores": np.array([face.score for face in faces]),
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        }

    known = seen("faces", work, picture, revision=revision)
    rows = zip(known["landmarks"], known["scores"], known["boxes"], strict=True)
    return [Face(points, float(score), None if np.isnan(box).any() else box) for points, score, box in rows]


def fit_flat(picture: np.ndarray, kind: str) -> np.ndarray:
    """Fit a garment picture to the flat frame: its box becomes the box in which the kind is drawn flat.

    Args:
        picture: uint8 (H, W, 3), the garment on a plain background.
        kind: A key of `GARMENT_KINDS`.

    Returns:
        uint8 (256, 192, 3) on white.

    Raises:
        InputError: The picture has one colour, so there is no garment to find.
    """
    rows, columns = flat_box(kind)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    flat = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    flat[rows, columns] = np.asarray(Image.fromarray(cut_garment(picture)).resize(size, Image.Resampling.LANCZOS))
    return flat


def cut_garment(picture: np.ndarray) -> np.ndarray:
    """Cut a garment out of its picture: its box, on white.

    Args:
        picture: uint8 (H, W, 3) on a plain background, or one that is nearly so.

    Returns:
        uint8 (h, w, 3).

    Raises:
        InputError: The picture has one colour, or the garment cannot be told from its background.
    """
    return cut_out(picture).picture


def flat_box(kind: str) -> tuple[slice, slice]:
    """Rows and columns that a kind covers in its flat frame."""
    _, coverage = warp_flat(np.zeros((HEIGHT, WIDTH, 3), np.uint8), kind, flat_keypoints(kind))
    return _box(coverage > 0)


def _box(region: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

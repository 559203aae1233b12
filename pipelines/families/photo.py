"""Ordinary people in the full-size families: faces by ONNX graphs, layouts from the pose, public adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from twinset.adapters.condition import FACE_LABELS, Condition, Layout
from twinset.adapters.regions import soften
from twinset.errors import InputError
from twinset.figure.keypoints import Keypoints
from twinset.figure.labels import ALL_KINDS, garment_labels
from twinset.figure.ordinary.parsing import body_map
from twinset.figure.ordinary.poses import ordinary_preset
from twinset.models.face_finder import Face
from twinset.models.figure_reader import Figure
from twinset.perception.faces.insightface_package import InsightFace, profile_faces
from twinset.perception.faces.onnx import Detector, Recogniser, aligned
from twinset.perception.garments.cutout import KINDS_OF, cut_out, worn_or_flat
from twinset.perception.garments.outline import class_by_shape
from twinset.perception.people.parsing import onnx_parser
from twinset.pipelines.denoising.controlled import PERSON
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.families.choose_face import chosen_face
from twinset.pipelines.families.drawn import cut_garment, found_faces
from twinset.pipelines.families.framing import on_white, squared, squashed, with_mask
from twinset.pipelines.families.looks import Looks
from twinset.pipelines.families.photo_adapters import AdapterChoice, AuthorSettings, choose_adapters, settings_for
from twinset.pipelines.families.photo_pose import PhotoReader
from twinset.pipelines.loading.public_adapters import PersonReference, PublicAdapterMixin
from twinset.pipelines.request import Request
from twinset.pipelines.stages import by_area
from twinset.scoring.iqa import rn50

CROP = 224
SOFT = 1 / 64
"""Width of a region's soft edge, as a share of the picture's width."""
HIRES_STRENGTH = 0.42
"""Share of the steps of a stage after the first."""
SURE = 0.7
"""Least confidence of a garment's class by its outline that is taken without asking."""


class PhotoBackend:
    """`twinset.pipelines.families.backend.FamilyBackend` of SD1.5 and SDXL.

    Args:
        pipe: with the adapters that `adapters` names fitted in, once they are needed.
        size: (width, height) in pixels that the model knows.
        recogniser: the one that the identity adapter was trained with.
        detector: finds faces.
        photos: reads the people on photographs.
        scheduler: that its parts' authors draw with; None for the base's own.

    Attributes:
        adapters: which of the public adapters act.
    """

    kinds = tuple(ALL_KINDS)
    draws_clothes = False

    def __init__(
        self,
        pipe: PublicAdapterMixin,
        size: tuple[int, int],
        recogniser: Recogniser | None,
        detector: Detector | None,
        photos: PhotoReader | None = None,
        scheduler: SchedulerName | None = None,
    ):
        self.family = "sd15" if getattr(pipe, "text_encoder_2", None) is None else "sdxl"
        self.pipe, self.photos = pipe, photos
        self.usual_scheduler: SchedulerName | None = scheduler
        self.frame = self.usual_size = self.size = size
        self.recogniser, self.detector = recogniser, detector
        self.adapters = choose_adapters(None, None)
        self.chosen_faces: Detector | InsightFace | None = None

    def at(self, size: tuple[int, int]) -> Self:
        """The same for pictures of another size."""
        there = copy(self)
        there.size = size
        return there

    def stage_sizes(self) -> list[tuple[int, int]]:
        """About the model's own area first, then the picture's size."""
        return by_area(self.size, self.frame)

    def hires_strength(self, layout: Layout) -> float:
        """What hires fix usually has."""
        return HIRES_STRENGTH

    def settings(self, request: Request) -> AuthorSettings:
        """How the authors of the adapters that a request uses draw with them."""
        return settings_for(request, self.commercial)

    @property
    def commercial(self) -> bool:
        """Whether only what may be used commercially is taken."""
        return self.photos is not None and self.photos.commercial

    @contextmanager
    def using(self, request: Request) -> Iterator[None]:
        """The packages and files by which a request wants faces, poses and parsing maps, while this is open.

        Raises:
            InputError: one of them does not load, or this model reads no photographs.
        """
        photos = self.photos
        if photos is None:
            raise InputError("this model has no networks that read people; omit --faces, --pose-estimator and --parser")
        before = self.chosen_faces, photos.pose_estimator, photos.parser
        try:
            if request.faces == "insightface":
                self.chosen_faces = profile_faces(photos.profile)
            elif request.faces != "profile":
                self.chosen_faces = Detector(request.faces)
            photos.pose_estimator = request.pose_estimator
            photos.parser = onnx_parser(request.parser.path, request.parser.form) if request.parser else photos.parser
            yield
        finally:
            self.chosen_faces, photos.pose_estimator, photos.parser = before

    def _finds(self) -> Detector | InsightFace | None:
        return self.chosen_faces or self.detector

    def _recognises(self) -> Recogniser | InsightFace | None:
        """InsightFace's package stands in for the profile's recogniser, not for its absence."""
        chosen = self.chosen_faces
        return chosen if self.recogniser is not None and isinstance(chosen, InsightFace) else self.recogniser

    def preset(self, name: str, framing: str) -> Keypoints:
        """A named pose in ordinary proportions."""
        return ordinary_preset(name, framing, self.size)

    def adopt(self, keypoints: Keypoints, name: str, notes: list[str]) -> Keypoints:
        """Keypoints as they are."""
        return keypoints

    def labels(self, keypoints: Keypoints, kinds: Sequence[str], hair: str) -> np.ndarray:
        """A parsing map made from the pose alone."""
        return body_map(keypoints, self.size, kinds, hair)

    def selfie(self, picture: np.ndarray, path: Path, notes: list[str], choice: str = "largest") -> Selfie:
        """The chosen face of a photograph; `notes` receives what makes it hard to recognise."""
        face, report = chosen_face(picture, self.faces(picture), path, notes, choice)
        crop, small = (aligned(picture, face.landmarks, size) for size in (CROP, 112))
        return Selfie(crop, small, report.quality)

    def embedding(self, selfie: Selfie) -> np.ndarray:
        """By the recogniser that the identity adapter was trained with, as long as it gives it."""
        recogniser = self._recognises()
        if recogniser is None:
            raise InputError("this model has no recogniser; pull one: twinset models pull <profile> --part recogniser")

        def work() -> dict[str, np.ndarray]:
            return {"said": recogniser.embed(selfie.face)}

        return self.pipe.perception_cache("embedding", work, selfie.face, revision=recogniser.sha256)["said"]

    def faces(self, picture: np.ndarray) -> list[Face]:
        """The faces of a photograph, the largest first."""
        detector = self._finds()
        if detector is None:
            raise InputError("this model has no face detector; pull one: twinset models pull <profile>")
        return found_faces(lambda: detector.find(picture), picture, self.pipe.perception_cache, detector.sha256)

    def figure(self, picture: np.ndarray) -> Figure:
        """Keypoints and parsing map by the profile's networks."""
        if self.photos is None:
            raise InputError("this model has no networks that read people; give a preset or a keypoint file as pose")
        return self.photos.read(picture)

    def worn(self, picture: np.ndarray) -> np.ndarray | None:
        """By the profile's parser; what is clearly laid flat is not looked at."""
        if clearly_flat(picture):
            return None
        labels = self.figure(picture).labels
        return labels if labels.any() and worn_or_flat(picture, labels).name == "worn" else None

    def guess_kind(self, picture: np.ndarray, path: Path) -> str:
        """By the outline of a flat-lay, where it leaves little doubt; tops and bottoms of all lengths are refused."""
        guess = class_by_shape(cut_out(picture).mask)
        kinds = KINDS_OF[guess.name]
        if guess.confidence >= SURE and len(kinds) == 1 and worn_or_flat(picture).name == "flat":
            return kinds[0]
        known = ", ".join(self.kinds)
        likely = f" (by its outline {' or '.join(kinds)})"
        raise InputError(
            f"garment {str(path)!r} needs its kind with this model: kind={path}, kind one of {known}{likely}"
        )

    def fit(self, picture: np.ndarray, kind: str) -> np.ndarray:
        """Cut out, on white; each adapter frames it in its own way."""
        return cut_garment(picture)

    def figure_condition(self, layout: Layout, looks: Looks, selfie: Selfie | None, hat: bool) -> Condition | None:
        """None: hair and skin of a photograph are left to the words."""
        return None

    def identity(self, selfie: Selfie, layout: Layout, weight: float, looks: Looks | None = None) -> Condition | None:
        """By the identity adapter that was chosen; None without one."""
        name = self.adapters.identity.name
        if name == "none":
            return None
        part, region = self._part(self.adapters.identity), self._soft(layout, FACE_LABELS)
        if name == "plus-face":
            return replace(self.pipe.image_condition(part, selfie.crop, region, weight=weight), kind="identity")
        embedding = self.embedding(selfie) if selfie.embedding is None else selfie.embedding
        crop = selfie.crop if self.adapters.identity.reads_clip else None
        return self.pipe.face_condition(part, embedding, region, crop, weight=weight)

    def garment(self, flat: np.ndarray, kind: str, layout: Layout, weight: float) -> Condition | None:
        """By the garment adapter that was chosen; None without one."""
        name = self.adapters.garment.name
        if name == "none" or self.adapters.person_at_once:
            return None
        part, region = self._part(self.adapters.garment), self._soft(layout, garment_labels(kind))
        if name == "imagdressing":
            return self.pipe.garment_condition(part, on_white(flat), region, weight=weight)
        if name == "magic-clothing":
            picture, mask = with_mask(flat)
            return self.pipe.garment_condition(part, picture, region, mask, weight=weight)
        return self.pipe.image_condition(part, squared(flat), region, weight=weight)

    def person(
        self, selfie: Selfie | None, flats: Mapping[str, np.ndarray], layout: Layout, weight: float
    ) -> Condition | None:
        """Face and outfit at once where the chosen adapter takes them so (StoryMaker); None elsewhere."""
        if selfie is None or not flats or not self.adapters.person_at_once:
            return None
        embedding = self.embedding(selfie) if selfie.embedding is None else selfie.embedding
        body = squashed([flats[kind] for kind in sorted(flats, key=[*ALL_KINDS].index)])
        where = (
            self._soft(layout, PERSON) if layout.others else None
        )  # alone, it acts everywhere as its authors have it
        reference = PersonReference(embedding, selfie.crop, body, where)
        part = self._part(self.adapters.garment)
        strength = self.pipe.adapters[part].adapter.strength * weight
        (condition,) = self.pipe.person_conditions(part, [reference], weight=strength)
        return condition

    def _part(self, choice: AdapterChoice) -> str:
        """Name under which an adapter is loaded.

        Raises:
            InputError: it is not.
        """
        (part, *_) = choice.parts_for(self.family)
        if part not in self.pipe.adapters:
            raise InputError(f"this model has no {choice.name} adapter; leave it out, or pull its part {part}")
        return part

    def scores(self, picture: np.ndarray) -> dict[str, float]:
        """CLIP-IQA where the paper's CLIP is here; the bundled judges know drawings only."""
        judge = rn50()
        return {} if judge is None else {f"clip_iqa_{name}": value for name, value in judge(picture).items()}

    @property
    def scored_by(self) -> str:
        """OpenAI's RN50, where its weights are here."""
        return "" if rn50() is None else "clip-rn50"

    def embedded(self, picture: np.ndarray) -> np.ndarray | None:
        """By the recogniser, of the largest face that the detector finds."""
        detector, recogniser = self._finds(), self._recognises()
        if detector is None or recogniser is None:
            return None
        faces = detector.find(picture)
        return recogniser.embed(aligned(picture, faces[0].landmarks, 112)) if faces else None

    def skin(self, selfie: Selfie) -> np.ndarray | None:
        """Not told: the light of a photograph is unknown."""
        return None

    def similarities(
        self, picture: np.ndarray, labels: np.ndarray, flats: Mapping[str, np.ndarray], prompt: str | None
    ) -> dict[str, float]:
        """None yet: the bundled CLIP knows drawings only."""
        return {}

    def _soft(self, layout: Layout, labels: tuple[int, ...]):
        return soften(layout.region(labels), SOFT * layout.labels.shape[1])


def clearly_flat(picture: np.ndarray) -> bool:
    """Whether a garment's picture uint8 (H, W, 3) shows one laid flat beyond doubt."""
    guess = worn_or_flat(picture)
    return guess.name == "flat" and guess.confidence >= SURE

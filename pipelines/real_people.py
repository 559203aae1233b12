"""Ordinary people in the full-size families: faces by ONNX graphs, layouts from the pose, public adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from twinset.adapters.condition import FACE_LABELS, Condition, Layout
from twinset.adapters.regions import soften
from twinset.errors import InputError
from twinset.models.figure.body_map import body_map
from twinset.models.figure.keypoints import Keypoints
from twinset.models.figure.labels import ALL_KINDS, garment_labels
from twinset.models.figure.ordinary import ordinary_preset
from twinset.models.figure_reader import Figure
from twinset.models.onnx_faces import Detector, Recogniser, aligned

from .fitted import AdapterRack
from .people import Selfie, cut_garment, no_face, note_several
from .photo_pose import PhotoReader

CROP = 224
SOFT = 1 / 64
"""Width of a region's soft edge, as a share of the picture's width."""


class RealPeople:
    """`twinset.pipelines.people.People` of SD1.5 and SDXL.

    Args:
        pipe: with the adapters `identity_adapter` or `face_adapter`, and `garment_adapter`, fitted in.
        size: (width, height) of the pictures in pixels.
        recogniser: the one that the identity adapter was trained with.
        detector: finds faces.
        photos: reads the people on photographs.
    """

    kinds = tuple(ALL_KINDS)

    def __init__(
        self,
        pipe: AdapterRack,
        size: tuple[int, int],
        recogniser: Recogniser | None,
        detector: Detector | None,
        photos: PhotoReader | None = None,
    ):
        self.pipe, self.size, self.recogniser, self.detector, self.photos = pipe, size, recogniser, detector, photos

    def preset(self, name: str, framing: str) -> Keypoints:
        """A named pose in ordinary proportions."""
        return ordinary_preset(name, framing, self.size)

    def adopt(self, keypoints: Keypoints, name: str, notes: list[str]) -> Keypoints:
        """Keypoints as they are."""
        return keypoints

    def labels(self, keypoints: Keypoints, kinds: Sequence[str], hair: str) -> np.ndarray:
        """A parsing map made from the pose alone."""
        return body_map(keypoints, self.size, kinds, hair)

    def selfie(self, picture: np.ndarray, path: Path, notes: list[str]) -> Selfie:
        """The largest face of a photograph."""
        if self.detector is None:
            raise InputError("this model has no face detector; pull one: twinset models pull <profile>")
        faces = self.detector.find(picture)
        if not faces:
            raise no_face(path)
        note_several(len(faces), path, notes)
        return Selfie(*(aligned(picture, faces[0].landmarks, size) for size in (CROP, 112)))

    def figure(self, picture: np.ndarray) -> Figure:
        """Keypoints and parsing map by the profile's networks."""
        if self.photos is None:
            raise InputError("this model has no networks that read people; give a preset or a keypoint file as pose")
        return self.photos.read(picture)

    def guess_kind(self, picture: np.ndarray, path: Path) -> str:
        """Always refused: there is no judge of garments on photographs yet."""
        known = ", ".join(self.kinds)
        raise InputError(f"garment {str(path)!r} needs its kind with this model: kind={path}, kind one of {known}")

    def fit(self, picture: np.ndarray, kind: str) -> np.ndarray:
        """Cut out, on white."""
        return cut_garment(picture)

    def identity(self, selfie: Selfie, layout: Layout, weight: float) -> Condition:
        """By FaceID where it is fitted in, else by what CLIP sees of the face (IP-Adapter-Plus-Face)."""
        region = self._soft(layout, FACE_LABELS)
        if "identity_adapter" in self.pipe.adapters and self.recogniser is not None:
            embedding = self.recogniser.embed(selfie.face)
            return self.pipe.face("identity_adapter", embedding, region, selfie.crop, weight=weight)
        if "face_adapter" in self.pipe.adapters:
            return replace(self.pipe.look("face_adapter", selfie.crop, region, weight=weight), kind="identity")
        raise InputError("this model has neither identity_adapter nor face_adapter; leave the selfie out, or pull one")

    def garment(self, flat: np.ndarray, kind: str, layout: Layout, weight: float) -> Condition:
        """By IP-Adapter-Plus."""
        if "garment_adapter" not in self.pipe.adapters:
            raise InputError("this model has no garment_adapter; leave the garments out, or pull it")
        return self.pipe.look("garment_adapter", flat, self._soft(layout, garment_labels(kind)), weight=weight)

    def scores(self, picture: np.ndarray) -> dict[str, float]:
        """None yet: the bundled judges know drawings only."""
        return {}

    def _soft(self, layout: Layout, labels: tuple[int, ...]):
        return soften(layout.region(labels), SOFT * self.size[0])

"""Prepares the training pictures: cut to buckets, analysed and encoded, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.condition import FACE_LABELS, Layout
from twinset.adapters.identity import face_draft
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import garment_draft
from twinset.figure.face_look import face_look, head_turn_of
from twinset.figure.keypoints import (
    L_EYE,
    NOSE,
    R_EYE,
    draw_skeleton,
    known_joints,
    openpose_skeleton,
    stick_of,
    with_visibility,
)
from twinset.figure.labels import colourise, garment_labels, garment_slot
from twinset.models.face_finder import CROP
from twinset.pipelines.compose import backend_of
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.families.framing import squared
from twinset.pipelines.joint_pass import JointPass
from twinset.training.adapters.options import AdapterOptions, ControlOptions, GarmentOptions, IdentityOptions
from twinset.training.adapters.shown import Shown, Source, sources
from twinset.training.core.batches import EncodedPicture
from twinset.training.core.buckets import Fit, Size
from twinset.training.core.encoding import PictureEncoder
from twinset.training.core.tensor_cache import TensorCache, Tensors, tensor_key
from twinset.training.core.training_run import Report

FEWEST = 16
"""Pixels of the smallest face or garment that is learnt from."""


class Unusable(Exception):
    """A picture that does not show what is to be learnt."""


def encode_people(pipe: JointPass, options: AdapterOptions, store: TensorCache, report: Report) -> list[EncodedPicture]:
    """Read or render the pictures and put what a step needs of each into the store.

    Args:
        pipe: the base model.
        options: of the training.
        store: where tensors are kept.
        report: told in one line what was left out.

    Raises:
        InputError: a file cannot be used, or too few pictures show what is to be learnt.
    """
    encoder, rows, left = PeopleEncoder(pipe, options, store), [], []
    for source in track(sources(options), "encoding", console=Console(stderr=True)):
        try:
            rows.append(encoder.row(source))
        except Unusable as reason:
            left.append(str(reason))
    if left:
        report(f"{len(left)} picture(s) left out, such as {left[0]}")
    if len(rows) <= options.held_out:
        raise InputError(
            f"{len(rows)} usable picture(s), {options.held_out} held out; give more, or a lower --held-out"
        )
    apart = np.random.default_rng([options.seed, 5]).permutation(len(rows))[: options.held_out]
    return [replace(row, validation=number in apart) for number, row in enumerate(rows)]


class PeopleEncoder(PictureEncoder):
    """Cuts pictures to their buckets and encodes what a kind of adapter learns from.

    Args:
        pipe: the base model.
        options: of the training.
        store: where tensors are kept.
    """

    def __init__(self, pipe: JointPass, options: AdapterOptions, store: TensorCache):
        self.drawn, self.options = backend_of(pipe).family == "studio", options
        super().__init__(pipe, options, store, self.drawn)
        self.revision = tensor_key(type(options).__name__, getattr(options, "kind", None), pipe_revision(pipe))

    def row(self, source: Source) -> EncodedPicture:
        """One picture, encoded.

        Raises:
            Unusable: it does not show what is to be learnt.
        """
        shown = source()
        fit = self.fit(shown.picture)
        key = tensor_key(*content(shown), fit, self.revision)
        size = (shown.picture.shape[1], shown.picture.shape[0])
        self.store(key, lambda: self._tensors(self._cut(shown, fit), size, fit))
        return EncodedPicture(caption=shown.caption, bucket=fit.bucket, keys=(key,))

    def _cut(self, shown: Shown, fit: Fit) -> Shown:
        """The picture as it is learnt from, and what is known of it, on the same pixels."""
        keypoints = shown.keypoints
        if keypoints is not None:
            scale = np.array(fit.scaled) / np.array([shown.picture.shape[1], shown.picture.shape[0]])
            known = known_joints(keypoints)[:, None]
            points = np.where(known, keypoints[:, :2] * scale - np.array(fit.corner), 0)  # unknown ones stay 0, 0
            keypoints = np.where(known, with_visibility(points, fit.bucket), 0).astype(np.float32)
        labels = None if shown.labels is None else fit.labels(shown.labels)
        return replace(shown, picture=fit.picture(shown.picture), labels=labels, keypoints=keypoints)

    def _tensors(self, shown: Shown, size: Size, fit: Fit) -> Tensors:
        """Latents (C, h, w), the learnt region on their grid (1, h, w), SDXL's sizes (6,), and the condition.

        Args:
            shown: as it was cut.
            size: (width, height) before that.
            fit: how it was cut.
        """
        found = self.picture_tensors(shown.picture, size, fit)
        grid = (found["latents"].shape[1], found["latents"].shape[2])
        if self.drawn or isinstance(self.options, ControlOptions):
            shown = self._read(shown)
        if self.drawn:
            found |= _seen_by_nets(shown)
        region, condition = self._condition(shown, grid)
        return found | {"mask": region} | condition

    def _read(self, shown: Shown) -> Shown:
        """With parsing map and keypoints, read from the picture where nobody gave them."""
        if shown.labels is not None and shown.keypoints is not None:
            return shown
        figure = self.people.figure(shown.picture)
        if not figure.found:
            raise Unusable(f"{shown.name!r}, which shows no person")
        labels, keypoints = shown.labels, shown.keypoints
        return replace(
            shown,
            labels=figure.labels if labels is None else labels,
            keypoints=figure.keypoints if keypoints is None else keypoints,
        )

    def _condition(self, shown: Shown, grid: tuple[int, int]) -> tuple[Tensor, Tensors]:
        if isinstance(self.options, IdentityOptions):
            return self._identity(shown, grid)
        if isinstance(self.options, GarmentOptions):
            return self._garment(shown, grid)
        return torch.ones(1, *grid), self._control(shown)

    def _identity(self, shown: Shown, grid: tuple[int, int]) -> tuple[Tensor, Tensors]:
        selfie = self._selfie(shown)
        embedding = torch.from_numpy(np.array(self.people.embedding(selfie), np.float32)).flatten()
        found: Tensors = {"embedding": F.normalize(embedding, dim=0)}  # recognisers give other lengths, FaceID takes 1
        if self.drawn:
            pipe: Any = self.pipe
            keypoints = shown.keypoints
            if keypoints is None or not keypoints[[NOSE, R_EYE, L_EYE], 2].all():
                raise Unusable(f"{shown.name!r}, whose face is turned away")
            found["crop_states"] = pipe.drawing_states(selfie.face)[0].float().cpu()
            face = pipe.canvas(found["embedding"], face_look(turn=head_turn_of(keypoints)))
            size = (shown.picture.shape[1], shown.picture.shape[0])
            found["face_draft"] = pipe.encode(face_draft(face, keypoints, size))[0].float().cpu()
        return self._region(shown, FACE_LABELS, grid), found

    def _selfie(self, shown: Shown) -> Selfie:
        face = shown.picture if shown.face is None else shown.face
        if face.shape[:2] == (CROP, CROP):  # aligned already
            return Selfie(face, face)
        if not self.people.faces(face):
            raise Unusable(f"{shown.name!r}, which shows no face")
        return self.people.selfie(face, Path(shown.name), [])

    def _garment(self, shown: Shown, grid: tuple[int, int]) -> tuple[Tensor, Tensors]:
        if not shown.garments:
            raise Unusable(f"{shown.name!r}, which has no picture of a garment")
        rng = np.random.default_rng(int(tensor_key(shown.picture.tobytes())[:12], 16))
        kinds = [k for k in shown.garments if not self.drawn or garment_slot(k) in ("upper", "lower")]
        if not kinds:
            raise Unusable(f"{shown.name!r}, whose garments the bundled model does not draw")
        kind = kinds[int(rng.integers(len(kinds)))]
        region = self._region(shown, garment_labels(kind), grid)
        flat = self.people.fit(shown.garments[kind], kind)
        return region, self._flat(flat, kind, shown) if self.drawn else self._states(flat)

    def _states(self, flat: np.ndarray) -> Tensors:
        pipe: Any = self.pipe
        states = pipe.drawing_states(flat) if self.drawn else pipe.clip_states(squared(flat))
        return {"garment_states": states[0].float().cpu()}

    def _flat(self, flat: np.ndarray, kind: str, shown: Shown) -> Tensors:
        """What the bundled model sees of a garment: CLIP's states, the draft in the pose, latents for the reference."""
        small = np.asarray(Image.fromarray(flat).resize((flat.shape[1] // 2, flat.shape[0] // 2), Image.Resampling.BOX))
        draft = garment_draft(shown.labels, shown.keypoints, {kind: flat})  # type: ignore[arg-type]
        return self._states(small) | {
            "draft": self.pipe.encode(draft)[0].float().cpu(),
            "flat": self.pipe.encode(small)[0].float().cpu(),
        }

    def _control(self, shown: Shown) -> Tensors:
        if self.drawn:
            return {}
        options, layout = self.options, Layout(shown.keypoints, shown.labels)  # type: ignore[arg-type]
        size = (shown.picture.shape[1], shown.picture.shape[0])
        if getattr(options, "kind", "") == "parsing":
            picture = colourise(layout.labels)
        else:
            picture = openpose_skeleton(layout.keypoints, size, stick_of(size, self.pipe.thick_skeleton))
        return {"picture": torch.from_numpy(np.array(picture)).permute(2, 0, 1)}

    def _region(self, shown: Shown, labels: tuple[int, ...], grid: tuple[int, int]) -> Tensor:
        """Share of each cell that carries one of the labels; everywhere, where the parsing map is not known."""
        known = shown.labels
        if known is None:
            try:
                known = self.people.figure(shown.picture).labels
            except InputError:  # the model has no network that reads people
                return torch.ones(1, *grid)
        owned = np.isin(known, labels)
        if owned.sum() < FEWEST:
            raise Unusable(f"{shown.name!r}, which does not show the region to learn")
        return F.adaptive_avg_pool2d(torch.from_numpy(owned.astype(np.float32))[None], grid)


def _seen_by_nets(shown: Shown) -> Tensors:
    """Skeleton (3, H, W) and parsing map (H, W), which the bundled model's ControlNets see in every picture."""
    size = (shown.picture.shape[1], shown.picture.shape[0])
    skeleton = np.array(draw_skeleton(shown.keypoints, size))  # type: ignore[arg-type]
    return {
        "skeleton": torch.from_numpy(skeleton).permute(2, 0, 1),
        "labels": torch.from_numpy(np.array(shown.labels)),
    }


def content(shown: Shown) -> list[object]:
    """Everything that is shown, to be hashed."""
    known = [shown.picture, shown.face, shown.labels, shown.keypoints, *(shown.garments or {}).values()]
    arrays = [None if one is None else np.ascontiguousarray(one).tobytes() for one in known]
    return [*arrays, list(shown.garments or {}), shown.picture.shape]


def pipe_revision(pipe: JointPass) -> str:
    """Of the networks that encode, so that another model finds nothing of this one's."""
    from twinset.pipelines.denoising.condition_cache import weights_hash

    names = ("vae", "image_encoder", "figure_reader", "face_finder", "face_encoder")
    parts = [getattr(pipe, name, None) for name in names]
    recogniser = getattr(backend_of(pipe), "recogniser", None)
    return tensor_key(*(weights_hash(part) for part in parts if part is not None), getattr(recogniser, "sha256", None))

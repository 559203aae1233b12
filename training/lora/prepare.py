"""From files to what a step gathers: every picture is looked at, masked, captioned, cut and encoded, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from twinset.adapters.condition import Condition, Layout
from twinset.figure.keypoints import L_EYE, NOSE, R_EYE, draw_skeleton
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.compose import backend_of
from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.batches import EncodedPicture
from twinset.training.core.buckets import Fit
from twinset.training.core.encoding import PictureEncoder
from twinset.training.core.tensor_cache import TensorCache, Tensors, tensor_key
from twinset.training.core.training_run import Report
from twinset.training.lora.captions import automatic_caption, with_trigger
from twinset.training.lora.dataset import Example, read_examples
from twinset.training.lora.masks import (
    ParsedPicture,
    garment_mask,
    likeliest_class,
    owned_labels,
    read_parsed,
    said_kind,
)
from twinset.training.lora.options import LoraOptions


@dataclass(frozen=True, kw_only=True)
class EncodedExample(EncodedPicture):
    """A picture of a garment's training, ready.

    Attributes:
        example: where it comes from.
        mask: where its garment's mask comes from, see `twinset.training.lora.masks.garment_mask`.
    """

    example: Example
    mask: str

    @property
    def content(self) -> tuple[Any, ...]:
        """What tells one data set from another, for a run that goes on."""
        return *super().content, self.repeats, self.example.regularisation, self.example.words, self.batch


def sees_layouts(pipe: JointPass) -> bool:
    """Whether the pipeline's own ControlNets are part of every picture it draws, so that training must see them."""
    return any(isinstance(net, RegionControlNetModel) for net in pipe.nets)


def encode_examples(
    pipe: JointPass, options: LoraOptions, store: TensorCache, report: Report = lambda line: None
) -> list[EncodedExample]:
    """Read a data set and put what a step needs of every picture into the store.

    Args:
        pipe: the base model.
        options: of the training.
        store: where tensors are kept.
        report: told in one line what was decided.

    Raises:
        InputError: a picture, mask or caption cannot be used.
    """
    people = backend_of(pipe)
    looks = [read_parsed(example, people) for example in read_examples(options, report)]
    learnt = [look for look in looks if not look.example.regularisation]
    found = likeliest_class(learnt)
    told = options.garment_kind
    if told is None and found is not None:
        report(f"the garment was recognised as {found}, which covers most of the pictures; use --kind to override")
    owned, kind = owned_labels(told, found), said_kind(told, found)
    encoder = ExampleEncoder(pipe, options, store)
    if encoder.one_frame and any(look.example.frame for look in looks):
        width, height = encoder.rule.size
        report(f"the bundled model draws {width} x {height} px alone: sizes and buckets of the data set are left aside")
    rows = [encoder.row(look, *garment_mask(look, owned), kind) for look in looks]
    _report_masks(rows, options, report)
    return rows


def _report_masks(rows: Sequence[EncodedExample], options: LoraOptions, report: Report) -> None:
    ways = Counter(row.mask for row in rows if not row.example.regularisation)
    if options.masked and ways["none"]:
        report(f"{ways['none']} picture(s) show no recognisable garment and are learnt whole; give name.mask.png")
    written = ", ".join(f"{count} by {way}" for way, count in sorted(ways.items()) if way != "none")
    report(f"{len(rows)} picture(s) in {len({row.bucket for row in rows})} bucket(s); masks: {written or 'none'}")


class ExampleEncoder(PictureEncoder):
    """Cuts pictures of a garment to their buckets and encodes them.

    Args:
        pipe: the base model.
        options: of the training.
        store: where tensors are kept.
    """

    def __init__(self, pipe: JointPass, options: LoraOptions, store: TensorCache):
        self.options, self.layouts = options, sees_layouts(pipe)
        super().__init__(pipe, options, store, self.layouts)
        parts = [pipe.vae, *(part for part in self._eyes() if part is not None)]
        self.revision = tensor_key(*(weights_hash(part) for part in parts))

    def _eyes(self) -> list[Any]:
        names = ("figure_reader", "face_finder", "face_encoder", "image_encoder", "identity_adapter")
        return [getattr(self.pipe, name, None) for name in names] if self.layouts else []

    def row(self, look: ParsedPicture, mask: np.ndarray | None, way: str, kind: str) -> EncodedExample:
        """One picture, encoded as it is, and mirrored where it may be."""
        rule = self.rule if self.one_frame else look.example.bucket_rule(self.rule)
        fit = self.fit(look.picture, mask, rule)
        ways = (False, True) if look.example.flip else (False,)
        return EncodedExample(
            caption=self._caption(look, mask, kind),
            bucket=fit.bucket,
            keys=tuple(self._encoded(look, mask, fit, mirrored) for mirrored in ways),
            repeats=look.example.repeats,
            validation=look.example.validation,
            batch=look.example.batch,
            example=look.example,
            mask=way,
        )

    def _caption(self, look: ParsedPicture, mask: np.ndarray | None, kind: str) -> str:
        if look.example.regularisation:
            return look.example.caption or f"a photo of a {kind}"
        if look.example.caption is None:
            return automatic_caption(self.options.word, kind, look.picture, mask)
        return with_trigger(look.example.caption, self.options.word)

    def _encoded(self, look: ParsedPicture, mask: np.ndarray | None, fit: Fit, mirrored: bool) -> str:
        """The key of its tensors, which are in the store afterwards."""
        pixels = look.picture.tobytes(), None if mask is None else mask.tobytes()
        key = tensor_key(*pixels, look.picture.shape, fit, mirrored, self.layouts, self.revision)
        self.store(key, lambda: self._tensors(look, mask, fit, mirrored))
        return key

    def _tensors(self, look: ParsedPicture, mask: np.ndarray | None, fit: Fit, mirrored: bool) -> Tensors:
        """Latents (C, h, w), the mask on their grid (1, h, w), the sizes SDXL reads (6,), and conditions."""
        picture, area = fit.picture(look.picture), None if mask is None else fit.mask(mask)
        if mirrored:
            picture, area = np.ascontiguousarray(picture[:, ::-1]), None if area is None else area[:, ::-1].copy()
        found = self.picture_tensors(picture, (look.picture.shape[1], look.picture.shape[0]), fit)
        grid = (found["latents"].shape[1], found["latents"].shape[2])
        own = torch.ones(1, *grid) if area is None else F.adaptive_avg_pool2d(torch.from_numpy(area)[None], grid)
        conditions = self._conditions(picture, look.example.picture, grid) if self.layouts else {}
        return {**found, "mask": own, **conditions}

    @torch.no_grad()
    def _conditions(self, picture: np.ndarray, path: Path, grid: tuple[int, int]) -> Tensors:
        """What generation gives beside the words: skeleton, parsing map, face; `layout_on`, `face_on` are 0 or 1."""
        figure = self.people.figure(picture)
        layout = Layout(figure.keypoints, figure.labels)
        skeleton = torch.from_numpy(np.array(draw_skeleton(figure.keypoints, self.people.size))).permute(2, 0, 1)
        facing = figure.found and bool(figure.keypoints[[NOSE, R_EYE, L_EYE], 2].all())
        face = self._face(picture, path, layout) if facing else None
        return {
            "skeleton": skeleton,
            "labels": torch.from_numpy(np.array(figure.labels)),
            "layout_on": torch.tensor(float(figure.found)),
            **self._identity(face, grid),
        }

    def _face(self, picture: np.ndarray, path: Path, layout: Layout) -> Condition | None:
        if not self.people.faces(picture):
            return None
        return self.people.identity(self.people.selfie(picture, path, []), layout, 1.0)

    def _identity(self, face: Condition | None, grid: tuple[int, int]) -> Tensors:
        """Tokens (n, X), draft (C, h, w) and region (1, h, w) of a face; zeros where there is none."""
        if face is not None and face.tokens is not None and face.draft is not None:
            tensors = {"face_tokens": face.tokens[0], "face_draft": face.draft[0], "face_region": face.mask(grid)[0]}
            return {name: tensor.float() for name, tensor in tensors.items()} | {"face_on": torch.tensor(1.0)}
        channels, width = self.pipe.unet.config["in_channels"], self.pipe.unet.config["cross_attention_dim"]
        tokens: Any = getattr(self.pipe, "identity_adapter", None)
        count = 1 if tokens is None else tokens.config.get("tokens", 4)
        return {
            "face_tokens": torch.zeros(count, width),
            "face_draft": torch.zeros(channels, *grid),
            "face_region": torch.zeros(1, *grid),
            "face_on": torch.tensor(0.0),
        }

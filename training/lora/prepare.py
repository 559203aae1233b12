"""From files to what a step gathers: every picture is looked at, masked, captioned, cut and encoded, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from twinset.adapters.condition import Condition, Layout
from twinset.figure.keypoints import L_EYE, NOSE, R_EYE, draw_skeleton
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.compose import people_of
from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.families.drawn import People
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.buckets import Fit, Size, bucket_sizes, fitted, nearest_bucket
from twinset.training.core.latents import latents_of
from twinset.training.core.tensor_cache import Stored, Tensors, key_of
from twinset.training.lora.captions import automatic_caption, with_trigger
from twinset.training.lora.dataset import Example, read_examples
from twinset.training.lora.masks import Look, garment_mask, likeliest_class, look_at, owned_labels, said_kind
from twinset.training.lora.options import LoraOptions

Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """A picture ready for training.

    Attributes:
        example: where it comes from.
        caption: with the trigger word; for regularisation pictures without.
        bucket: its (width, height), px.
        keys: of its tensors in the store: as it is, and mirrored where it may be.
        mask: where its garment's mask comes from, see `twinset.training.lora.masks.garment_mask`.
    """

    example: Example
    caption: str
    bucket: Size
    keys: tuple[str, ...]
    mask: str

    @property
    def repeats(self) -> int:
        """How often it comes in an epoch."""
        return self.example.repeats

    @property
    def validation(self) -> bool:
        """Whether it is only measured on."""
        return self.example.validation


def sees_layouts(pipe: JointPass) -> bool:
    """Whether the pipeline's own ControlNets are part of every picture it draws, so that training must see them."""
    return any(isinstance(net, RegionControlNetModel) for net in pipe.nets)


def prepare(pipe: JointPass, options: LoraOptions, store: Stored, say: Say = lambda line: None) -> list[Row]:
    """Read a data set and put what a step needs of every picture into the store.

    Args:
        pipe: the base model.
        options: of the training.
        store: where tensors are kept.
        say: told in one line what was decided.

    Raises:
        InputError: a picture, mask or caption cannot be used.
    """
    people = people_of(pipe)
    looks = [look_at(example, people) for example in read_examples(options)]
    learnt = [look for look in looks if not look.example.regularisation]
    found = likeliest_class(learnt)
    if options.kind is None and found is not None:
        say(f"the garment is taken as {found}, which covers most of the pictures; --kind says otherwise")
    owned, kind = owned_labels(options.kind, found), said_kind(options.kind, found)
    encoder = Encoder(pipe, people, options, store)
    rows = [encoder.row(look, *garment_mask(look, owned), kind) for look in looks]
    _tell(rows, options, say)
    return rows


def _tell(rows: Sequence[Row], options: LoraOptions, say: Say) -> None:
    ways = Counter(row.mask for row in rows if not row.example.regularisation)
    if options.masked and ways["none"]:
        say(f"{ways['none']} picture(s) show no garment that can be told; they are learnt whole (give name.mask.png)")
    written = ", ".join(f"{count} by {way}" for way, count in sorted(ways.items()) if way != "none")
    say(f"{len(rows)} picture(s) in {len({row.bucket for row in rows})} bucket(s); masks: {written or 'none'}")


class Encoder:
    """Cuts pictures to their buckets and encodes them.

    Args:
        pipe: the base model.
        people: how its family sees people.
        options: of the training.
        store: where tensors are kept.
    """

    def __init__(self, pipe: JointPass, people: People, options: LoraOptions, store: Stored):
        self.pipe, self.people, self.options, self.store = pipe, people, options, store
        self.layouts = sees_layouts(pipe)
        self.buckets = self._buckets()
        parts = [pipe.vae, *(part for part in self._eyes() if part is not None)]
        self.revision = key_of(*(weights_hash(part) for part in parts))

    def _eyes(self) -> list[Any]:
        names = ("figure_reader", "face_finder", "face_encoder", "image_encoder", "identity_adapter")
        return [getattr(self.pipe, name, None) for name in names] if self.layouts else []

    def _buckets(self) -> list[Size]:
        if self.layouts:  # the ControlNets know this frame alone
            return [self.people.size]
        side = self.options.resolution or self._usual_side()
        return bucket_sizes(side, self.options.bucket_step)

    def _usual_side(self) -> int:
        size = self.pipe.unet.config["sample_size"]
        side = size if isinstance(size, int) else max(size)
        return side * self.pipe.vae_scale_factor

    def row(self, look: Look, mask: np.ndarray | None, way: str, kind: str) -> Row:
        """One picture, encoded."""
        height, width = look.picture.shape[:2]
        fit = fitted((width, height), nearest_bucket((width, height), self.buckets), mask)
        keys = [self._encoded(look, mask, fit, False)]
        if look.example.flip:
            keys.append(self._encoded(look, mask, fit, True))
        return Row(look.example, self._caption(look, mask, kind), fit.bucket, tuple(keys), way)

    def _caption(self, look: Look, mask: np.ndarray | None, kind: str) -> str:
        if look.example.regularisation:
            return look.example.caption or f"a photo of a {kind}"
        if look.example.caption is None:
            return automatic_caption(self.options.word, kind, look.picture, mask)
        return with_trigger(look.example.caption, self.options.word)

    def _encoded(self, look: Look, mask: np.ndarray | None, fit: Fit, mirrored: bool) -> str:
        """The key of its tensors, which are in the store afterwards."""
        given = look.picture.tobytes(), None if mask is None else mask.tobytes()
        key = key_of(*given, look.picture.shape, fit, mirrored, self.layouts, self.revision)
        self.store(key, lambda: self._tensors(look, mask, fit, mirrored))
        return key

    def _tensors(self, look: Look, mask: np.ndarray | None, fit: Fit, mirrored: bool) -> Tensors:
        """Latents (C, h, w), the mask on their grid (1, h, w), the sizes SDXL reads (6,), and conditions."""
        picture, area = fit.picture(look.picture), None if mask is None else fit.mask(mask)
        if mirrored:
            picture, area = np.ascontiguousarray(picture[:, ::-1]), None if area is None else area[:, ::-1].copy()
        latents = latents_of(self.pipe, picture)
        grid = (latents.shape[1], latents.shape[2])
        own = torch.ones(1, *grid) if area is None else F.adaptive_avg_pool2d(torch.from_numpy(area)[None], grid)
        height, width = look.picture.shape[:2]
        sizes = torch.tensor([height, width, fit.corner[1], fit.corner[0], fit.bucket[1], fit.bucket[0]])
        conditions = self._conditions(picture, look.example.picture, grid) if self.layouts else {}
        return {"latents": latents, "mask": own, "sizes": sizes, **conditions}

    @torch.no_grad()
    def _conditions(self, picture: np.ndarray, path: Path, grid: tuple[int, int]) -> Tensors:
        """What generation gives beside the words: skeleton, parsing map, face; `layout_on`, `face_on` are 0 or 1."""
        figure = self.people.figure(picture)
        layout = Layout(figure.keypoints, figure.labels)
        skeleton = torch.from_numpy(np.array(draw_skeleton(figure.keypoints, self.people.size))).permute(2, 0, 1)
        seen = figure.found and bool(figure.keypoints[[NOSE, R_EYE, L_EYE], 2].all())
        face = self._face(picture, path, layout) if seen else None
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

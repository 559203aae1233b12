"""Batches of encoded pictures: a pure function of the step, so that a resumed run goes on as if it never stopped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.denoising.locks import unet_lock
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.buckets import Size
from twinset.training.core.forward import Batch
from twinset.training.core.options import DenoisingOptions
from twinset.training.core.tensor_cache import TensorCache, Tensors, tensor_key
from twinset.training.core.validation import LEVELS

BY_ROW, BY_EPOCH, BY_CHECK = 1, 2, 3
"""First numbers of the seeds of different draws."""
REMEMBERED = 256
"""Captions whose states are kept in memory."""


@dataclass(frozen=True, kw_only=True)
class EncodedPicture:
    """A picture ready for training.

    Attributes:
        caption: what it shows, in words.
        bucket: its (width, height), px.
        keys: of its tensors in the store, one for each way it may be seen.
        repeats: how often it comes in an epoch.
        validation: whether it is only measured on.
        batch: pictures per step with it; the training's own number when None.
    """

    caption: str
    bucket: Size
    keys: tuple[str, ...]
    repeats: int = 1
    validation: bool = False
    batch: int | None = None

    @property
    def content(self) -> tuple[Any, ...]:
        """Identifies a data set, so that a resumed run can check that it is the same."""
        return self.caption, self.bucket, self.keys


class TextStates:
    """Hidden states of captions by a pipeline's text encoders, cached on disk.

    Args:
        pipe: whose text encoders are not trained.
        store: where states are kept.
    """

    def __init__(self, pipe: JointPass, store: TensorCache):
        self.pipe, self.store = pipe, store
        encoders = [pipe.text_encoder, getattr(pipe, "text_encoder_2", None)]  # type: ignore[attr-defined]
        self.revision = tensor_key(*(weights_hash(encoder) for encoder in encoders if encoder is not None))
        self.known: OrderedDict[str, Tensors] = OrderedDict()

    def __call__(self, caption: str, keep: bool = True) -> Tensors:
        """`states` (77, X), and for SDXL `pooled` (D,).

        Args:
            caption: to encode.
            keep: on disk; shuffled captions are too many for that.
        """
        with unet_lock(self.pipe.unet):  # a tokenizer changes while it works, and previews encode in another thread
            if caption not in self.known:
                key = tensor_key("text", caption, self.revision)
                self.known[caption] = self.store(key, lambda: self._encode(caption)) if keep else self._encode(caption)
            self.known.move_to_end(caption)
            while len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
            return self.known[caption]

    @torch.no_grad()
    def _encode(self, caption: str) -> Tensors:
        return {name: tensor[0].float() for name, tensor in text_states(self.pipe, [caption]).items()}


def text_states(pipe: Any, captions: Sequence[str]) -> Tensors:
    """`states` (B, 77, X) of the pipeline's text encoders, and for SDXL `pooled` (B, D) of the second one.

    Where SDXL was trained so (`force_zeros_for_empty_prompt`), the empty text is zeros.
    """
    prompts = list(captions)
    if getattr(pipe, "text_encoder_2", None) is None:
        return {"states": pipe.encode_prompt(prompts, pipe.text_encoder.device, 1, False)[0]}
    states, _, pooled, _ = pipe.encode_prompt(prompts, None, pipe.text_encoder.device, 1, False)
    if pipe.config.force_zeros_for_empty_prompt:
        spoken = torch.tensor([bool(caption) for caption in prompts], device=states.device)
        states, pooled = states * spoken[:, None, None], pooled * spoken[:, None]
    return {"states": states, "pooled": pooled}


class PictureData:
    """Batches of prepared pictures; what a kind of training does differently is in `caption`, `keeps` and `completed`.

    Args:
        rows: prepared pictures.
        checked: those that a validation measures on.
        options: of the training.
        store: where the rows' tensors are.
        texts: of frozen text encoders; None where they are trained and read the captions themselves.
    """

    def __init__(
        self,
        rows: Sequence[Any],
        checked: Sequence[Any],
        options: DenoisingOptions,
        store: TensorCache,
        texts: TextStates | None,
    ):
        self.store, self.texts = store, texts
        self.size, self.seed, self.noise_offset = options.batch, options.seed, options.noise_offset
        self.coarser, self.discount = options.multires_noise, options.multires_discount
        self.rows: list[Any] = [row for row in rows if not row.validation]
        self.checked: list[Any] = list(checked)
        self.buckets = self._by_bucket()
        self.length = sum(-(-len(places) // size) for size, places in self.buckets)

    def caption(self, row: Any, rng: np.random.Generator, epoch: int) -> str:
        """A row's caption as a step of an epoch sees it."""
        return row.caption

    def plain_caption(self, row: Any) -> str:
        """A row's caption as a validation sees it, always the same."""
        return row.caption

    def keeps(self, row: Any) -> bool:
        """Whether the hidden states of a row's caption are worth caching."""
        return True

    def completed(
        self, batch: Batch, rows: Sequence[Any], captions: Sequence[str], rng: np.random.Generator | None
    ) -> Batch:
        """The batch with what a kind of training adds; `rng` is None in a validation, where nothing is drawn."""
        return batch

    def _by_bucket(self) -> list[tuple[int, np.ndarray]]:
        """For each bucket the pictures per step, and its rows' numbers as often as they are repeated."""
        places: dict[tuple[Size, int], list[int]] = {}
        for number, row in enumerate(self.rows):
            places.setdefault((row.bucket, row.batch or self.size), []).extend([number] * row.repeats)
        return [(key[1], np.array(places[key])) for key in sorted(places)]

    def chosen(self, number: int) -> list[int]:
        """Row numbers of a batch: every epoch sees every row, shuffled within and over buckets."""
        epoch, place = divmod(number, self.length)
        rng = np.random.default_rng([BY_EPOCH, self.seed, epoch])
        batches = [one for size, bucket in self.buckets for one in _cut(rng.permutation(bucket), size)]
        return batches[rng.permutation(len(batches))[place]].tolist()

    def batch(self, number: int) -> Batch:
        """Batch `number`: latents (B, C, h, w), noise, weights, levels in [0, 1], texts, and what was stored."""
        rng = np.random.default_rng([BY_ROW, self.seed, number])
        rows = [self.rows[k] for k in self.chosen(number)]
        keys = [row.keys[int(rng.integers(len(row.keys)))] for row in rows]
        captions = [self.caption(row, rng, number // self.length) for row in rows]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # stratified levels: every batch covers the schedule evenly
        count = len(rows)
        levels = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
        return self.completed(self._gathered(rows, keys, captions, levels, generator), rows, captions, rng)

    def check(self, number: int, level: int) -> Batch:
        """Picture `number` of a validation at one of `LEVELS` noise levels; always the same noise."""
        row = self.checked[number]
        generator = torch.Generator().manual_seed(int(np.random.default_rng([BY_CHECK, number, level]).integers(2**62)))
        levels = torch.tensor([(level + 0.5) / LEVELS])
        captions = [self.plain_caption(row)]
        batch = self._gathered([row], [row.keys[0]], captions, levels, generator)
        return self.completed(batch, [row], captions, None)

    def _gathered(
        self, rows: Sequence[Any], keys: Sequence[str], captions: list[str], levels: Tensor, generator: torch.Generator
    ) -> Batch:
        def missing() -> Tensors:
            raise FileNotFoundError("an encoded picture was deleted while training; run again to encode it anew")

        found = [self.store(key, missing) for key in keys]
        batch: Batch = {name: torch.stack([tensors[name] for tensors in found]) for name in found[0]}
        batch["noise"] = pyramid_noise(batch["latents"].shape, self.coarser, self.discount, generator)
        offset = torch.randn(*batch["latents"].shape[:2], 1, 1, generator=generator)
        batch["noise"] = batch["noise"] + self.noise_offset * offset
        batch["level"], batch["weight"] = levels, torch.ones(len(rows))
        return batch | self._texts(rows, captions)

    def _texts(self, rows: Sequence[Any], captions: list[str]) -> Batch:
        if self.texts is None:
            return {"captions": captions}
        states = [self.texts(caption, self.keeps(row)) for row, caption in zip(rows, captions, strict=True)]
        return {name: torch.stack([tensors[name] for tensors in states]) for name in states[0]}


def pyramid_noise(shape: Sequence[int], coarser: int, discount: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise with ever coarser noises laid over it, of variance 1 (Whitaker 2023, "Multi-resolution noise").

    Args:
        shape: (B, C, h, w).
        coarser: number of noises laid over the first.
        discount: strength of each by the one before.
        generator: of all of them.
    """
    noise, (height, width) = torch.randn(*shape, generator=generator), shape[2:]
    for level in range(1, coarser + 1):
        shrink = (2 + 2 * float(torch.rand((), generator=generator))) ** level
        size = max(1, round(height / shrink)), max(1, round(width / shrink))
        coarse = torch.randn(*shape[:2], *size, generator=generator)
        noise = noise + F.interpolate(coarse, (height, width), mode="bilinear") * discount**level
        if size == (1, 1):
            break
    return noise / noise.std() if coarser else noise


def _cut(places: np.ndarray, size: int) -> list[np.ndarray]:
    """Batches of full size; the last is completed from the front."""
    count = -(-len(places) // size)
    return list(np.resize(places, count * size).reshape(count, size))

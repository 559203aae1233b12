"""Batches of a LoRA's training: a pure function of the step, so that a resumed run goes on as if it never stopped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.memo import weights_hash

from .captions import calls, varied, without_trigger
from .options import LoraOptions
from .prepare import Row
from .stored import Stored, Tensors, key_of

Batch = dict[str, Any]
BY_ROW, BY_EPOCH, BY_CHECK = 1, 2, 3
"""First numbers of the seeds of different draws."""
CHECKED, LEVELS = 8, 4
"""Pictures of a validation, and noise levels each is seen at."""
REMEMBERED = 256
"""Captions whose states are kept in memory."""


class TextStates:
    """What a pipeline's text encoders say, kept on disk by the caption.

    Args:
        pipe: whose text encoders are not trained.
        store: where states are kept.
    """

    def __init__(self, pipe: JointPass, store: Stored):
        self.pipe, self.store = pipe, store
        encoders = [pipe.text_encoder, getattr(pipe, "text_encoder_2", None)]  # type: ignore[attr-defined]
        self.revision = key_of(*(weights_hash(encoder) for encoder in encoders if encoder is not None))
        self.known: OrderedDict[str, Tensors] = OrderedDict()

    def __call__(self, caption: str, keep: bool = True) -> Tensors:
        """`states` (77, X), and for SDXL `pooled` (D,).

        Args:
            caption: to encode.
            keep: on disk; shuffled captions are too many for that.
        """
        if caption not in self.known:
            key = key_of("text", caption, self.revision)
            self.known[caption] = self.store(key, lambda: self._say(caption)) if keep else self._say(caption)
        self.known.move_to_end(caption)
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
        return self.known[caption]

    @torch.no_grad()
    def _say(self, caption: str) -> Tensors:
        return {name: tensor[0].float() for name, tensor in text_states(self.pipe, [caption]).items()}


def text_states(pipe: Any, captions: Sequence[str]) -> Tensors:
    """`states` (B, 77, X) of the pipeline's text encoders, and for SDXL `pooled` (B, D) of the second one.

    Where SDXL was trained so (`force_zeros_for_empty_prompt`), the empty text is zeros.
    """
    prompts = list(captions)
    if getattr(pipe, "text_encoder_2", None) is None:
        return {"states": pipe.encode_prompt(prompts, pipe.device, 1, False)[0]}
    states, _, pooled, _ = pipe.encode_prompt(prompts, None, pipe.device, 1, False)
    if pipe.config.force_zeros_for_empty_prompt:
        spoken = torch.tensor([bool(caption) for caption in prompts], device=states.device)
        states, pooled = states * spoken[:, None, None], pooled * spoken[:, None]
    return {"states": states, "pooled": pooled}


class LoraData:
    """Batches of prepared pictures.

    Args:
        rows: from `prepare`.
        options: of the training.
        store: where the rows' tensors are.
        texts: of frozen text encoders; None where they are trained and read the captions themselves.
    """

    def __init__(self, rows: Sequence[Row], options: LoraOptions, store: Stored, texts: TextStates | None):
        self.options, self.store, self.texts = options, store, texts
        self.rows = [row for row in rows if not row.example.validation]
        self.checked = self._checked(rows)
        self.buckets = self._by_bucket()
        self.length = sum(-(-len(places) // options.batch) for places in self.buckets)

    def _checked(self, rows: Sequence[Row]) -> list[Row]:
        """Pictures held out, else the first that are learnt."""
        held_out = [row for row in rows if row.example.validation]
        return (held_out or [row for row in rows if not row.example.regularisation])[:CHECKED]

    def _by_bucket(self) -> list[np.ndarray]:
        """Row numbers by bucket, as often as they are repeated."""
        places: dict[tuple[int, int], list[int]] = {}
        for number, row in enumerate(self.rows):
            places.setdefault(row.bucket, []).extend([number] * row.example.repeats)
        return [np.array(places[bucket]) for bucket in sorted(places)]

    def chosen(self, number: int) -> list[int]:
        """Row numbers of a batch: every epoch sees every row, shuffled within and over buckets."""
        epoch, place = divmod(number, self.length)
        rng = np.random.default_rng([BY_EPOCH, self.options.seed, epoch])
        batches = [one for bucket in self.buckets for one in self._cut(rng.permutation(bucket))]
        return batches[rng.permutation(len(batches))[place]].tolist()

    def _cut(self, places: np.ndarray) -> list[np.ndarray]:
        """Batches of full size; the last is completed from the front."""
        size = self.options.batch
        count = -(-len(places) // size)
        return list(np.resize(places, count * size).reshape(count, size))

    def batch(self, number: int) -> Batch:
        """Batch `number`: latents (B, C, h, w), noise, mask, weights, timesteps, texts and conditions."""
        rng = np.random.default_rng([BY_ROW, self.options.seed, number])
        rows = [self.rows[k] for k in self.chosen(number)]
        keys = [row.keys[int(rng.integers(len(row.keys)))] for row in rows]
        captions = [self._said(row, rng) for row in rows]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # stratified levels: every batch covers the schedule evenly
        levels = (torch.randperm(len(rows), generator=generator) + torch.rand(len(rows), generator=generator)) / len(
            rows
        )
        batch = self._gathered(rows, keys, captions, levels, generator)
        unseen = torch.from_numpy(rng.random(len(rows)) < self.options.identity_dropout)
        if "face_on" in batch:
            batch["face_on"] = batch["face_on"].masked_fill(unseen, 0.0)
        return self._uncalled(batch, rows, captions)

    def _said(self, row: Row, rng: np.random.Generator) -> str:
        """A row's caption as a step sees it; with `preserve` some lack the trigger word."""
        caption, uncalled = varied(row.caption, row.example, rng), rng.random() < self.options.uncalled
        held = self.options.preserve and not row.example.regularisation
        return without_trigger(caption, self.options.word) if held and uncalled else caption

    def _uncalled(self, batch: Batch, rows: Sequence[Row], captions: list[str]) -> Batch:
        """Rows that do not call the garment teach nothing but to stay with the base model, everywhere."""
        if self.options.preserve:
            pairs, word = zip(rows, captions, strict=True), self.options.word
            learns = [row.example.regularisation or calls(caption, word) for row, caption in pairs]
            on = torch.tensor(learns, dtype=torch.float32)
            batch["weight"], batch["mask"] = batch["weight"] * on, batch["mask"] * on.view(-1, 1, 1, 1)
        return batch

    def check(self, number: int, level: int) -> Batch:
        """Picture `number` of a validation at one of `LEVELS` noise levels; always the same noise."""
        row = self.checked[number]
        generator = torch.Generator().manual_seed(int(np.random.default_rng([BY_CHECK, number, level]).integers(2**62)))
        levels = torch.tensor([(level + 0.5) / LEVELS])
        return self._gathered([row], [row.keys[0]], [row.caption], levels, generator)

    def _gathered(
        self, rows: Sequence[Row], keys: Sequence[str], captions: list[str], levels: Tensor, generator: torch.Generator
    ) -> Batch:
        def missing() -> Tensors:
            raise FileNotFoundError("an encoded picture was deleted while training; run again to encode it anew")

        found = [self.store(key, missing) for key in keys]
        batch: Batch = {name: torch.stack([tensors[name] for tensors in found]) for name in found[0]}
        batch["noise"] = torch.randn(batch["latents"].shape, generator=generator)
        offset = torch.randn(*batch["latents"].shape[:2], 1, 1, generator=generator)
        batch["noise"] = batch["noise"] + self.options.noise_offset * offset
        batch["level"] = levels
        prior = torch.tensor([row.example.regularisation for row in rows])
        batch["weight"] = torch.where(prior, self.options.prior_weight, 1.0)
        return batch | self._texts(rows, captions)

    def _texts(self, rows: Sequence[Row], captions: list[str]) -> Batch:
        if self.texts is None:
            return {"captions": captions}
        said = [self.texts(caption, not row.example.shuffle) for row, caption in zip(rows, captions, strict=True)]
        return {name: torch.stack([one[name] for one in said]) for name in said[0]}

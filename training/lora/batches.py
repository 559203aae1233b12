"""What a LoRA's batches have beside those of every training: the trigger word, and pictures of other garments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from twinset.training.core.batches import PictureData, TextStates
from twinset.training.core.forward import Batch
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.lora.caption_rules import varied_caption
from twinset.training.lora.captions import calls, without_trigger
from twinset.training.lora.options import LoraOptions
from twinset.training.lora.prepare import EncodedExample

CHECKED = 8
"""Pictures of a validation."""


class LoraData(PictureData):
    """Batches of prepared pictures.

    Args:
        rows: from `encode_examples`.
        options: of the training.
        store: where the rows' tensors are.
        texts: of frozen text encoders; None where they are trained and read the captions themselves.
    """

    def __init__(
        self, rows: Sequence[EncodedExample], options: LoraOptions, store: TensorCache, texts: TextStates | None
    ):
        super().__init__(rows, _checked(rows), options, store, texts)
        self.options = options

    def caption(self, row: EncodedExample, rng: np.random.Generator, epoch: int) -> str:
        """A row's caption as a step sees it; with `preserve` some lack the trigger word."""
        caption, uncalled = (
            varied_caption(row.caption, row.example.words, rng, epoch),
            rng.random() < self.options.uncalled,
        )
        held = self.options.preserve and not row.example.regularisation
        return without_trigger(caption, self.options.word) if held and uncalled else caption

    def plain_caption(self, row: EncodedExample) -> str:
        """With its prefix and suffix, in its own order, nothing left out."""
        still = {"dropout": 0.0, "dropout_epochs": 0, "tag_dropout": 0.0, "shuffle": False}
        return varied_caption(row.caption, replace(row.example.words, **still), np.random.default_rng(0))  # type: ignore[arg-type]

    @property
    def texts_vary(self) -> bool:
        """Whether captions are read anew at every step."""
        return any(row.example.words.varies for row in self.rows)

    def encode_texts(self) -> None:
        """Every caption that a step can see, encoded and kept, so that the text encoders can go."""
        if self.texts is None or self.texts_vary:
            return
        captions = {self.plain_caption(row) for row in (*self.rows, *self.checked)} | {""}
        captions |= {without_trigger(caption, self.options.word) for caption in captions}
        for caption in sorted(captions):
            self.texts(caption)

    def keeps(self, row: EncodedExample) -> bool:
        """Captions that vary are too many to keep."""
        return not row.example.words.varies

    def completed(
        self, batch: Batch, rows: Sequence[EncodedExample], captions: Sequence[str], rng: np.random.Generator | None
    ) -> Batch:
        """Regularisation pictures weighted, some faces unseen, and nothing learnt where the garment is not called."""
        prior = torch.tensor([row.example.regularisation for row in rows])
        batch["weight"] = torch.where(prior, self.options.prior_weight, 1.0)
        if rng is None:
            return batch
        unseen = torch.from_numpy(rng.random(len(rows)) < self.options.identity_dropout)
        if "face_on" in batch:
            batch["face_on"] = batch["face_on"].masked_fill(unseen, 0.0)
        return self._uncalled(batch, rows, captions)

    def _uncalled(self, batch: Batch, rows: Sequence[EncodedExample], captions: Sequence[str]) -> Batch:
        """Rows that do not call the garment teach nothing but to stay with the base model, everywhere."""
        if self.options.preserve:
            pairs, word = zip(rows, captions, strict=True), self.options.word
            learns = [row.example.regularisation or calls(caption, word) for row, caption in pairs]
            on = torch.tensor(learns, dtype=torch.float32)
            batch["weight"], batch["mask"] = batch["weight"] * on, batch["mask"] * on.view(-1, 1, 1, 1)
        return batch


def _checked(rows: Sequence[EncodedExample]) -> list[EncodedExample]:
    """Pictures held out, else the first that are learnt."""
    held_out = [row for row in rows if row.example.validation]
    return (held_out or [row for row in rows if not row.example.regularisation])[:CHECKED]

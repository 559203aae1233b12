"""Batches of an adapter's training, and previews drawn by the adapter so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import send_to_device

from twinset.common.sheets import contact_sheet, in_rows
from twinset.pipelines.record import save_picture
from twinset.training.adapters.networks import AdapterNetworks
from twinset.training.adapters.options import AdapterOptions
from twinset.training.core.batches import EncodedPicture, PictureData, TextStates
from twinset.training.core.denoising import Loss
from twinset.training.core.forward import Batch
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.core.validation import Validation

STEPS = 12
"""Denoising steps of sample pictures."""


class AdapterData(PictureData):
    """Batches of prepared pictures.

    Args:
        rows: from `encode_people`.
        options: of the training.
        store: where the rows' tensors are.
        texts: of the pipeline's text encoders.
    """

    def __init__(self, rows: Sequence[EncodedPicture], options: AdapterOptions, store: TensorCache, texts: TextStates):
        super().__init__(rows, [row for row in rows if row.validation], options, store, texts)
        self.silent, self.absent = options.caption_dropout, options.condition_dropout

    def caption(self, row: EncodedPicture, rng: np.random.Generator, epoch: int) -> str:
        """A row's caption; now and then the empty one."""
        return "" if rng.random() < self.silent else row.caption

    def completed(
        self, batch: Batch, rows: Sequence[EncodedPicture], captions: Sequence[str], rng: np.random.Generator | None
    ) -> Batch:
        """With `on` (B,): 0 where the condition is left out."""
        shares = np.ones(len(rows)) if rng is None else rng.random(len(rows)) >= self.absent
        return batch | {"on": torch.from_numpy(np.asarray(shares, np.float32))}


class AdapterPreviews(Validation):
    """The validation loss, and validation pictures drawn beside the truth, from the same noise each time."""

    def __init__(self, networks: AdapterNetworks, data: AdapterData, loss_fn: Loss, options: AdapterOptions, run: Path):
        super().__init__(networks, data, loss_fn, options, run, networks.pipe.unet.device)
        self.networks, self.count = networks, options.samples

    def __call__(self, step: int) -> dict[str, float | np.ndarray]:
        """Loss and sheet."""
        return super().__call__(step) | ({"samples": self.sheet(step)} if self.count else {})

    def sheet(self, step: int) -> np.ndarray:
        """Truth and drawing of each picture side by side, uint8 (H, W, 3); also written as a PNG."""
        pairs = [pair for number in range(min(self.count, len(self.data.checked))) for pair in self._pair(number)]
        sheet = contact_sheet(in_rows(pairs, columns=8))
        path = self.run / "samples" / f"{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(sheet, path)
        return np.asarray(sheet)

    @torch.no_grad()
    def _pair(self, number: int) -> list[np.ndarray]:
        pipe = self.networks.pipe
        batch: Batch = send_to_device(self.data.check(number, 0), self.device)  # type: ignore[assignment]
        scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        with self.autocast():
            latents = self.networks.sample(batch, scheduler, STEPS)
        return [pipe.decode(batch["latents"]), pipe.decode(latents)]

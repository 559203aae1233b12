"""What is looked at while a LoRA is trained: sample pictures by the real joint pipeline, and a validation loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from twinset.common.sheets import contact_sheet, in_rows
from twinset.pipelines.compose import compose
from twinset.pipelines.draw import draw
from twinset.pipelines.generate import with_model_defaults
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.record import save_picture
from twinset.pipelines.request import Request
from twinset.training.core.denoising import Loss
from twinset.training.core.validation import Validation
from twinset.training.lora.batches import LoraData
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.options import LoraOptions
from twinset.training.lora.sample_prompts import sample_requests


class LoraPreviews(Validation):
    """Called between steps; keeps the validation losses in `validation.jsonl` and samples in `samples/` of the run.

    Args:
        networks: whose additions are in the pipeline.
        data: with the pictures that are measured on.
        loss_fn: of the training.
        options: prompt, selfie, garment, pose and number of samples; patience.
        run: folder of the run.
    """

    def __init__(self, networks: LoraNetworks, data: LoraData, loss_fn: Loss, options: LoraOptions, run: Path):
        super().__init__(networks, data, loss_fn, options, run, networks.pipe.unet.device)
        self.networks, self.options = networks, options

    def __call__(self, step: int) -> dict[str, float | np.ndarray]:
        """The validation loss, and a sheet of sample pictures (H, W, 3)."""
        losses = super().__call__(step)
        sheet = self.samples(step) if self.options.samples or self.options.sample_prompts else None
        return losses | ({} if sheet is None else {"samples": sheet})

    def samples(self, step: int) -> np.ndarray | None:
        """Pictures of fixed seeds, in one row, written as a PNG; None where the model has no way to draw people."""
        with self.whole_pipeline():
            pictures = [np.asarray(one) for one in self._drawn()]
        if not pictures:
            return None
        sheet = contact_sheet(in_rows(pictures, columns=8))
        path = self.run / "samples" / f"{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(sheet, path)
        return np.asarray(sheet)

    def _drawn(self) -> list[Any]:
        pipe, requests = self.networks.pipe, sample_requests(self.options)
        if self._composes():
            requests = [with_model_defaults(pipe, request) for request in requests]
            return [draw(pipe, request, compose(pipe, request), 0) for request in requests]
        return [] if pipe.nets else [self._plain(pipe, request) for request in requests]

    def _composes(self) -> bool:
        """Whether the family sees people: the bundled model, or a profile's pipeline."""
        pipe: Any = self.networks.pipe
        return pipe.backend is not None or getattr(pipe, "figure_reader", None) is not None

    def _plain(self, pipe: JointPass, request: Request) -> Any:
        generator = torch.Generator().manual_seed(request.seed or 0)
        return pipe(request.prompt, generator=generator).images[0]

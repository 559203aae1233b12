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
from twinset.pipelines.named_files import GarmentPicture
from twinset.pipelines.record import save_picture
from twinset.pipelines.request import Request
from twinset.training.core.denoising import Loss
from twinset.training.core.validation import Validation
from twinset.training.lora.batches import LoraData
from twinset.training.lora.captions import noun
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.options import LoraOptions


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
        super().__init__(networks, data, loss_fn, options, run, networks.pipe.device)
        self.networks, self.options = networks, options

    def __call__(self, step: int) -> dict[str, float | np.ndarray]:
        """The validation loss, and a sheet of sample pictures (H, W, 3)."""
        losses = super().__call__(step)
        sheet = self.samples(step) if self.options.samples else None
        return losses | ({} if sheet is None else {"samples": sheet})

    def samples(self, step: int) -> np.ndarray | None:
        """Pictures of fixed seeds, in one row, written as a PNG; None where the model has no way to draw people."""
        pictures = [np.asarray(one) for one in self._drawn()]
        if not pictures:
            return None
        sheet = contact_sheet(in_rows(pictures, columns=8))
        path = self.run / "samples" / f"{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(sheet, path)
        return np.asarray(sheet)

    def _drawn(self) -> list[Any]:
        pipe, o = self.networks.pipe, self.options
        request = Request(
            prompt=o.sample_prompt or f"a photo of a person wearing {o.word} {noun(o.kind or 'clothes')}",
            selfies=() if o.sample_selfie is None else (o.sample_selfie,),
            garments=() if o.sample_garment is None else (GarmentPicture(path=o.sample_garment),),
            pose=o.sample_pose,
            seed=o.seed,
            num=o.samples,
            model=o.model,
        )
        if self._composes():
            request = with_model_defaults(pipe, request)
            composition = compose(pipe, request)
            return [draw(pipe, request, composition, index) for index in range(o.samples)]
        return [] if pipe.nets else [self._plain(pipe, request, index) for index in range(o.samples)]

    def _composes(self) -> bool:
        """Whether the family sees people: the bundled model, or a profile's pipeline."""
        pipe: Any = self.networks.pipe
        return pipe.backend is not None or getattr(pipe, "figure_reader", None) is not None

    def _plain(self, pipe: JointPass, request: Request, index: int) -> Any:
        generator = torch.Generator().manual_seed(self.options.seed + index)
        return pipe(request.prompt, generator=generator).images[0]

"""What is looked at while a LoRA is trained: sample pictures by the real joint pipeline, and a validation loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device

from twinset.pipelines.compose import compose
from twinset.pipelines.generate import draw, settled
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.pictures import contact_sheet, in_rows
from twinset.pipelines.record import save_picture
from twinset.pipelines.request import GarmentPicture, Request

from .batches import LEVELS, LoraData
from .captions import noun
from .networks import DTYPES, LoraNetworks
from .objective import Loss
from .options import LoraOptions

BETTER = 1e-4
"""Share by which a validation loss must fall to count as better."""


class Previews:
    """Called between steps; keeps the validation losses in `validation.jsonl` and samples in `samples/` of the run.

    Args:
        networks: whose additions are in the pipeline.
        data: with the pictures that are measured on.
        loss_fn: of the training.
        options: prompt, selfie, garment, pose and number of samples; patience.
        run: folder of the run.
    """

    def __init__(self, networks: LoraNetworks, data: LoraData, loss_fn: Loss, options: LoraOptions, run: Path):
        self.networks, self.data, self.loss_fn, self.options, self.run = networks, data, loss_fn, options, run

    def __call__(self, step: int) -> dict[str, float | np.ndarray]:
        """The validation loss, and a sheet of sample pictures (H, W, 3)."""
        loss = self.validation()
        self._keep(step, loss)
        sheet = self.samples(step) if self.options.samples else None
        return {"loss": loss} | ({} if sheet is None else {"samples": sheet})

    @torch.no_grad()
    def validation(self) -> float:
        """Mean loss of fixed pictures under fixed noise at fixed levels: comparable over steps and runs."""
        device, dtype = self.networks.pipe.device, DTYPES.get(self.options.precision)
        losses = []
        for number in range(len(self.data.checked)):
            for level in range(LEVELS):
                batch: Any = send_to_device(self.data.check(number, level), device)
                with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
                    losses.append(float(self.loss_fn(self.networks, batch)[0]))
        return float(np.mean(losses))

    def losses(self, before: int | None = None) -> list[tuple[int, float]]:
        """(step, validation loss) so far, of steps below `before`."""
        path = self.run / "validation.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        found = {entry["step"]: entry["loss"] for entry in map(json.loads, filter(str.strip, lines))}
        return sorted((step, loss) for step, loss in found.items() if before is None or step < before)

    def _keep(self, step: int, loss: float) -> None:
        """What a run that was stopped wrote of later steps is replaced."""
        entries = [*self.losses(before=step), (step, loss)]
        text = "".join(json.dumps({"step": s, "loss": value}) + "\n" for s, value in entries)
        partial = self.run / "validation.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.run / "validation.jsonl")

    def stale(self) -> bool:
        """Whether the last `patience` validations were no better than the best before them."""
        losses, patience = [loss for _, loss in self.losses()], self.options.patience
        if not patience or len(losses) <= patience:
            return False
        return min(losses[-patience:]) > min(losses[:-patience]) * (1 - BETTER)

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
            request = settled(pipe, request)
            composition = compose(pipe, request)
            return [draw(pipe, request, composition, index) for index in range(o.samples)]
        return [] if pipe.nets else [self._plain(pipe, request, index) for index in range(o.samples)]

    def _composes(self) -> bool:
        """Whether the family sees people: the bundled model, or a profile's pipeline."""
        pipe: Any = self.networks.pipe
        return pipe.draws is not None or getattr(pipe, "figure_reader", None) is not None

    def _plain(self, pipe: JointPass, request: Request, index: int) -> Any:
        generator = torch.Generator().manual_seed(self.options.seed + index)
        return pipe(request.prompt, generator=generator).images[0]


def stops(previews: Previews) -> Callable[[], bool]:
    """What ends a run early; reads the losses only when there are new ones."""
    state: dict[str, Any] = {"at": None, "stale": False}

    def until() -> bool:
        path = previews.run / "validation.jsonl"
        at = path.stat().st_mtime_ns if path.is_file() else None
        if at != state["at"]:
            state.update(at=at, stale=previews.stale())
        return state["stale"]

    return until

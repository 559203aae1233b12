"""The validation loss of a training: fixed pictures under fixed noise, kept beside the run, and early stops by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import nn

from twinset.common.atomic_files import write_atomic
from twinset.training.core.denoising import Loss
from twinset.training.core.options import DenoisingOptions

if TYPE_CHECKING:
    from twinset.training.core.frozen import ParkedParts

BETTER = 1e-4
"""Share by which a validation loss must fall to count as better."""
LEVELS = 4
"""Noise levels that each picture of a validation is seen at."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What `precision` means."""


class Checked(Protocol):
    """Data with pictures that are only measured on."""

    checked: list[Any]

    def check(self, number: int, level: int) -> Any:
        """Picture `number` at one of `LEVELS` noise levels; always the same noise."""
        ...


class Validation:
    """Called between steps; keeps the losses in `validation.jsonl` of the run.

    Args:
        networks: what is trained.
        data: with the pictures that are measured on.
        loss_fn: of the training.
        options: precision and patience.
        run: folder of the run.
        device: where the networks are.
    """

    def __init__(
        self,
        networks: nn.Module,
        data: Checked,
        loss_fn: Loss,
        options: DenoisingOptions,
        run: Path,
        device: torch.device,
    ):
        self.trained, self.data, self.loss_fn, self.run, self.device = networks, data, loss_fn, run, device
        self.dtype, self.patience = DTYPES.get(options.precision), options.patience
        self.parked: ParkedParts | None = None

    def __call__(self, step: int) -> dict[str, float | np.ndarray]:
        """The validation loss."""
        loss = self.validation()
        self._keep(step, loss)
        return {"loss": loss}

    @torch.no_grad()
    def validation(self) -> float:
        """Mean loss of fixed pictures under fixed noise at fixed levels: comparable over steps and runs."""
        losses = []
        for number in range(len(self.data.checked)):
            for level in range(LEVELS):
                batch: Any = send_to_device(self.data.check(number, level), self.device)
                with self.autocast():
                    losses.append(float(self.loss_fn(self.trained, batch)[0]))
        return float(np.mean(losses))

    @contextmanager
    def whole_pipeline(self) -> Iterator[None]:
        """While open, the parts that no step needs are on the device too."""
        if self.parked is not None:
            self.parked.back()
        try:
            yield
        finally:
            if self.parked is not None:
                self.parked.away()

    def autocast(self) -> torch.autocast:
        """The training's own precision, for what is computed between its steps."""
        return torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None)

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
        write_atomic(self.run / "validation.jsonl", text)

    def stale(self) -> bool:
        """Whether the last `patience` validations were no better than the best before them."""
        losses = [loss for _, loss in self.losses()]
        if not self.patience or len(losses) <= self.patience:
            return False
        return min(losses[-self.patience :]) > min(losses[: -self.patience]) * (1 - BETTER)


def stops(validation: Validation) -> Callable[[], bool]:
    """What ends a run early; reads the losses only when there are new ones."""
    state: dict[str, Any] = {"at": None, "stale": False}

    def until() -> bool:
        path = validation.run / "validation.jsonl"
        at = path.stat().st_mtime_ns if path.is_file() else None
        if at != state["at"]:
            state.update(at=at, stale=validation.stale())
        return state["stale"]

    return until

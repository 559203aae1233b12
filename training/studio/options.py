"""What the trainings of the bundled model's networks share: options, and a network's way to its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from twinset.training.core.loop import FitSettings, fit
from twinset.training.core.options import TrainOptions


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 is computed by the machine's own instructions: a GPU's, or AVX-512's and AMX's."""
    return torch.cuda.is_available() or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class StudioOptions(TrainOptions):
    """A training of one of the bundled model's networks.

    Attributes:
        out: Folder of the run, in which the network is written too.
        minutes: Length of the run, what was resumed included.
        steps: Length in steps instead, for exact repeats; 0 for by `minutes`.
        bf16: Compute in bfloat16, where the processor has instructions for it; others are fifty times slower so.
    """

    out: Path
    minutes: float = Field(default=10.0, gt=0)
    steps: int = Field(default=0, ge=0)
    bf16: bool = True

    def loop(self, **more: Any) -> FitSettings:
        """The loop's settings.

        Args:
            more: fields of `FitSettings` beside these options, or in their place.
        """
        own: dict[str, Any] = {
            "out": self.out,
            "minutes": None if self.steps else self.minutes,
            "steps": self.steps or None,
            "learning_rate": self.learning_rate,
            "bf16": self.bf16 and has_fast_bfloat16(),
            "seed": self.seed,
        }
        return FitSettings(**own | more)


@dataclass(frozen=True)
class NetworkTask:
    """What the training of a network consists of.

    Attributes:
        network: what is kept.
        model: what is trained: the network, perhaps with heads that are not kept.
        batch_fn: step number → batch.
        loss_fn: (model, batch) → (loss, figures).
        measure: figures on what was held out.
    """

    network: Any
    model: nn.Module
    batch_fn: Callable[[int], dict[str, Tensor]]
    loss_fn: Callable[[Any, Any], tuple[Tensor, dict[str, Tensor]]]
    measure: Callable[[], Mapping[str, float]]

    def train(self, settings: FitSettings, folder: Path) -> Path:
        """Train, and write the network in half precision and its `figures.json`; returns the folder."""
        result = fit(self.model, self.batch_fn, self.loss_fn, settings, preview=lambda step: self.measure())
        self.network.half().save_pretrained(folder)
        write_figures(folder, {**result.figures, "steps": result.step, "seconds": result.seconds})
        return folder


def write_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Writes what a training measured beside its weights, as `figures.json` with four digits."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    (folder / "figures.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")

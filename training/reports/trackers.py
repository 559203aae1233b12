"""Where a training's numbers and pictures go: tensorboard's files, Weights & Biases, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from twinset.errors import InputError

TrackerName = Literal["tensorboard", "wandb", "both"]


class Tracker(Protocol):
    """What takes the figures of a step."""

    def write(self, room: str, figures: Mapping[str, float | np.ndarray], step: int) -> None:
        """Numbers, and uint8 pictures (H, W, 3), under the heading `room`."""
        ...

    def close(self) -> None:
        """Nothing comes any more."""
        ...


class Tensorboard:
    """Event files in the run's folder.

    Args:
        run: the folder.
        step: from which on earlier entries are replaced.
    """

    def __init__(self, run: Path, step: int):
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step)

    def write(self, room: str, figures: Mapping[str, float | np.ndarray], step: int) -> None:
        """See `Tracker`."""
        for name, value in figures.items():
            if isinstance(value, np.ndarray) and value.ndim == 3:
                self.writer.add_image(f"{room}/{name}", value, step, dataformats="HWC")
            else:
                self.writer.add_scalar(f"{room}/{name}", float(value), step)

    def close(self) -> None:
        """See `Tracker`."""
        self.writer.close()


class WeightsAndBiases:
    """A run of wandb's, which is continued under the name of the run's folder.

    Args:
        run: the folder.
        config: of the training, as wandb shows it.
    """

    def __init__(self, run: Path, config: Mapping[str, Any]):
        self.library = wandb()
        identity = "".join(c if c.isalnum() else "-" for c in run.absolute().stem)
        self.run = self.library.init(
            project="twinset", name=run.stem, id=identity, resume="allow", dir=str(run), config=dict(config)
        )

    def write(self, room: str, figures: Mapping[str, float | np.ndarray], step: int) -> None:
        """See `Tracker`."""
        shown = {
            f"{room}/{name}": self.library.Image(value) if isinstance(value, np.ndarray) and value.ndim == 3 else value
            for name, value in figures.items()
        }
        self.run.log(shown, step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self.run.finish()


def wandb() -> Any:
    """The package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module("wandb")
    except ImportError:
        raise InputError("--log-with wandb needs the package wandb; run: pip install 'twinset[wandb]'") from None


def trackers(name: TrackerName, run: Path, step: int, config: Mapping[str, Any]) -> Sequence[Tracker]:
    """Those that were asked for."""
    found: list[Tracker] = [Tensorboard(run, step)] if name in ("tensorboard", "both") else []
    return [*found, WeightsAndBiases(run, config)] if name in ("wandb", "both") else found

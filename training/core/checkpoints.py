"""What a training run keeps: the running average of its weights, and checkpoints that survive a kill."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from twinset.common.atomic_files import atomic_path, plain_reason


class WeightAverage:
    """Exponential running average of the trainable weights, with a short memory at first (as in TensorFlow's EMA)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = {name: p.detach().clone() for name, p in _trainable(model)} if decay else {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the weights after a step; nothing to do where the decay is 0."""
        if not self.weights:
            return
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = dict(_trainable(model))
        torch._foreach_lerp_(list(self.weights.values()), [current[name] for name in self.weights], 1 - keep)

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Overwrites the model's weights by their average."""
        for name, parameter in _trainable(model):
            parameter.copy_(self.weights.get(name, parameter))

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Lends the average to the model for the length of the block."""
        own = {name: p.detach().clone() for name, p in _trainable(model)} if self.weights else {}
        self.put_into(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in _trainable(model):
                    parameter.copy_(own.get(name, parameter))


class Checkpoints:
    """The last two states of a run, each one file that is either whole or not there."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def files(self) -> list[Path]:
        """Checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def write(self, step: int, state: Mapping[str, Any]) -> Path:
        """Writes beside the final name, flushes to disk, then renames: a kill at any moment harms nothing.

        Raises:
            OSError: The disk is full or read-only; earlier checkpoints are as they were.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        try:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:  # torch's writer says a full disk as RuntimeError
            last = next(iter(self.files()), "none yet")
            raise OSError(
                f"checkpoint {path} cannot be written ({plain_reason(error)[:200]}); free some space "
                f"and run again: it resumes from the last one ({last})"
            ) from error
        for old in self.files()[self.keep :]:
            old.unlink()
        return path

    def newest(self) -> dict[str, Any] | None:
        """The newest sound state; a damaged file is passed over with a warning. None where there are no files.

        Raises:
            ValueError: All are damaged: starting from nothing unasked would lose the run silently.
        """
        files = self.files()
        for path in files:
            if _is_whole(path):
                return torch.load(path, map_location="cpu", weights_only=True)
            warnings.warn(f"{path} cannot be read; trying the one before", stacklevel=2)
        if files:
            raise ValueError(f"no checkpoint in {self.folder} can be read; delete the folder to start from nothing")
        return None


def _is_whole(path: Path) -> bool:
    """Whether a file is torch's zip archive and its checksums are right."""
    if not zipfile.is_zipfile(path):  # cut short
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def snapshot(
    step: int,
    seconds: float,
    figures: Mapping[str, float],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: WeightAverage,
    scaler: torch.amp.GradScaler,  # type: ignore[attr-defined]
) -> dict[str, Any]:
    """Everything that a run needs to go on exactly where it was."""
    return {
        "step": step,
        "seconds": seconds,
        "figures": dict(figures),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average.weights,
        "updates": average.updates,
        "scaler": scaler.state_dict(),
        "generator": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def restore(
    checkpoints: Checkpoints,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: WeightAverage,
    scaler: torch.amp.GradScaler,  # type: ignore[attr-defined]
) -> tuple[int, float, dict[str, float]]:
    """Loads the newest snapshot into model, optimiser, average and generators; (0, 0, {}) where there is none."""
    state = checkpoints.newest()
    if state is None:
        return 0, 0.0, {}
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    for name, weight in average.weights.items():
        weight.copy_(state["average"].get(name, state["model"][name]))
    average.updates = state["updates"]
    if state.get("scaler"):
        scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["generator"])
    torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    return state["step"], state["seconds"], state["figures"]


def _trainable(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)

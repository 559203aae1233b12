"""The training loop that every network of the bundled model goes through.

A training script supplies three things: a model, a function from the step number to a batch, and a function
from model and batch to a loss. Because batches are a pure function of the step, a run that was interrupted and
resumed is bit-equal to one that was not (as long as its length is given in steps; see ``FitSettings.minutes``).

    def loss_fn(model, batch):
        loss = F.mse_loss(model(batch["x"]), batch["y"])
        return loss, {"mse": loss.detach()}

    fit(model, batch_fn, loss_fn, FitSettings(out=Path("runs/example"), steps=1000))
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter

from twinset.training.checkpoints import Checkpoints, WeightAverage, restore, snapshot

Settings = TypeVar("Settings")
BatchFn = Callable[[int], Any]
LossFn = Callable[[Any, Any], tuple[Tensor, Mapping[str, "float | Tensor"]]]
Preview = Callable[[int], "Mapping[str, float | np.ndarray] | None"]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long, how fast and where to.

    Attributes:
        out: Folder of the run: ``checkpoints/`` and ``tensorboard/`` are written below it.
        steps: Optimiser steps of the whole run.
        minutes: Wall-clock budget of the whole run, resumed parts included. The learning rate follows
            whichever of `steps` and `minutes` is nearer to its end; give `steps` alone for exact repeats.
        learning_rate: Peak rate of AdamW; reached after `warmup` steps, then a cosine to `final_rate` of it.
        weight_decay: Applied to matrices and kernels only, never to biases, norms and gains.
        clip: Largest norm of the gradient.
        bf16: Autocast the loss function to bfloat16.
        ema: Decay of the running average of the weights (0 = none). The average is the result.
        checkpoint_seconds: Time between checkpoints.
        log_every: Steps between log lines; loss is checked, and a checkpoint possible, at these steps only.
        preview_every: Steps between previews (0 = only at the end).
        threads: Threads that prepare batches ahead of the optimiser.
    """

    out: Path
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    warmup: int = 100
    final_rate: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    bf16: bool = False
    ema: float = 0.0
    checkpoint_seconds: float = 60.0
    log_every: int = 10
    preview_every: int = 0
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("steps=None and minutes=None: give the length of the run in one of them")


@dataclass(frozen=True)
class FitResult:
    """What a finished run came to.

    Attributes:
        step: Optimiser steps.
        seconds: Wall clock, interrupted parts included.
        figures: The last logged losses and the numbers that the last preview returned.
    """

    step: int
    seconds: float
    figures: dict[str, float]


def fit(
    model: nn.Module,
    batch_fn: BatchFn,
    loss_fn: LossFn,
    settings: FitSettings,
    *,
    groups: list[dict[str, Any]] | None = None,
    preview: Preview | None = None,
) -> FitResult:
    """Trains `model` in place, resuming from the newest good checkpoint below ``settings.out``.

    Args:
        model: Its trainable parameters are those with ``requires_grad``. Left in ``eval`` mode with the
            resulting weights (the running average where ``settings.ema`` asks for one).
        batch_fn: Step number → batch (any nest of tensors, on the CPU). Called from another thread and ahead of
            time, so it must draw its random numbers from a generator seeded by the step.
        loss_fn: (model, batch) → (scalar loss, figures to log). May use the global generator.
        settings: See `FitSettings`.
        groups: AdamW parameter groups in place of all trainable parameters; each may set its own ``lr``.
        preview: Called with the step number on the averaged weights in ``eval`` mode, without gradients; what it
            returns is logged, numbers as scalars and uint8 arrays (H, W, 3) as pictures.

    Raises:
        FloatingPointError: The loss is not finite; no checkpoint was written since it was.
    """
    # accelerate places the model; autocast is our own because its precision is one per process, ours one per run
    accelerator = Accelerator(mixed_precision="no")
    torch.manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(
        groups or parameter_groups(model, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas
    )
    peaks = [group["lr"] for group in optimiser.param_groups]  # of these settings, whatever a checkpoint says
    model, optimiser = accelerator.prepare(model, optimiser)
    average = WeightAverage(model, settings.ema)
    checkpoints = Checkpoints(settings.out / "checkpoints")
    step, spent, figures = restore(checkpoints, model, optimiser, average)
    writer = SummaryWriter(str(settings.out / "tensorboard"), purge_step=step)
    began, saved_at, logged_step = time.monotonic() - spent, time.monotonic(), step
    world, rank = accelerator.num_processes, accelerator.process_index

    def show(at: int) -> dict[str, float]:
        if preview is None or not accelerator.is_main_process:
            return {}
        with average.applied(model), torch.random.fork_rng(), torch.no_grad():
            model.eval()
            measured = preview(at) or {}
        model.train()
        log(writer, "held_out", measured, at)
        return {name: float(value) for name, value in measured.items() if np.ndim(value) == 0}

    def save() -> None:
        if accelerator.is_main_process:
            checkpoints.write(step, snapshot(step, time.monotonic() - began, figures, model, optimiser, average))

    model.train()
    total = torch.zeros((), device=accelerator.device)
    with _bar(settings, accelerator.is_main_process) as advance:
        batches = _ahead(lambda at: batch_fn(at * world + rank), step, settings.threads)
        while (done := progress(step, time.monotonic() - began, settings)) < 1:
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * rate(step, done, settings)
            batch = send_to_device(next(batches), accelerator.device)
            with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.bf16):
                loss, named = loss_fn(model, batch)
            optimiser.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), settings.clip)
            optimiser.step()
            average.update(model)
            step += 1
            total += loss.detach().float()
            if step % settings.log_every == 0 or step == settings.steps:
                mean, total = float(total) / (step - logged_step), torch.zeros_like(total)
                _require_finite(mean, step, checkpoints)
                figures = {"loss": mean, **{name: _number(value) for name, value in named.items()}}
                learning = optimiser.param_groups[0]["lr"]
                log(writer, "train", {**figures, "learning_rate": learning}, step)
                advance(progress(step, time.monotonic() - began, settings), step, figures)
                logged_step = step
                if time.monotonic() - saved_at >= settings.checkpoint_seconds:
                    save()
                    saved_at = time.monotonic()
            if settings.preview_every and step % settings.preview_every == 0:
                show(step)
        batches.close()
    _require_finite(float(total), step, checkpoints)
    save()
    measured = show(step)
    writer.close()
    average.put_into(model)
    model.eval()
    return FitResult(step, time.monotonic() - began, {**figures, **measured})


def progress(step: int, seconds: float, settings: FitSettings) -> float:
    """How much of the run is over, 0 to 1 (or a little more): by steps or by time, whichever is further."""
    by_step = step / settings.steps if settings.steps else 0.0
    by_time = seconds / (60 * settings.minutes) if settings.minutes else 0.0
    return max(by_step, by_time)


def rate(step: int, done: float, settings: FitSettings) -> float:
    """Factor of the learning rate: linear warm-up over steps, cosine over the run (Loshchilov & Hutter, 2017)."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return warm * (settings.final_rate + (1 - settings.final_rate) * cosine)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Splits the trainable parameters into those that decay (matrices, kernels) and those that don't."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def log(writer: SummaryWriter, room: str, figures: Mapping[str, float | np.ndarray], step: int) -> None:
    """Writes numbers as tensorboard scalars and uint8 arrays (H, W, 3) as pictures."""
    for name, value in figures.items():
        if isinstance(value, np.ndarray) and value.ndim == 3:
            writer.add_image(f"{room}/{name}", value, step, dataformats="HWC")
        else:
            writer.add_scalar(f"{room}/{name}", float(value), step)


def _number(value: float | Tensor) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)


def _require_finite(loss: float, step: int, checkpoints: Checkpoints) -> None:
    if not math.isfinite(loss):
        last = next(iter(checkpoints.files()), "none yet")
        raise FloatingPointError(
            f"loss is {loss} at step {step}; nothing was saved since the last checkpoint "
            f"({last}). Lower the learning rate, or look at the batches of these steps"
        )


def _ahead(batch_fn: BatchFn, start: int, threads: int) -> Generator[Any, None, None]:
    """Yields batch_fn(start), batch_fn(start + 1), … in order, prepared `threads` ahead."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
    try:
        waiting = deque(pool.submit(batch_fn, start + k) for k in range(threads))
        following = start + threads
        while True:
            batch = waiting.popleft().result()
            waiting.append(pool.submit(batch_fn, following))
            following += 1
            yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _bar(settings: FitSettings, shown: bool) -> Iterator[Callable[[float, int, Mapping[str, float]], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*columns, disable=not shown, refresh_per_second=1) as bar:
        task = bar.add_task(settings.out.name, total=1.0, line="")

        def advance(done: float, step: int, figures: Mapping[str, float]) -> None:
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            bar.update(task, completed=min(done, 1.0), line=f"step {step}  {numbers}")

        yield advance


def settings_from_command_line(kind: type[Settings], description: str | None) -> Settings:
    """Builds a settings dataclass from the command line: field `batch_size` is `--batch-size`, all else is refused."""
    parser = argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    hints = get_type_hints(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        option, needed = "--" + field.name.replace("_", "-"), field.default is MISSING
        default = None if needed else field.default
        if hints[field.name] is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(
                option,
                type=hints[field.name],
                required=needed,
                default=default,
                help="required" if needed else f"{default}",
            )
    return kind(**vars(parser.parse_args()))


def write_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Writes what a training measured beside its weights, as `figures.json` with four digits."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    (folder / "figures.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")

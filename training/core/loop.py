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

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast, send_to_device
from torch import Tensor, nn

from twinset.training.core.checkpoints import Checkpoints, WeightAverage, restore, snapshot
from twinset.training.core.fused import FusedBackward
from twinset.training.reports.bar import progress_of
from twinset.training.reports.trackers import Tracker, TrackerName, trackers

BatchFn = Callable[[int], Any]
LossFn = Callable[[Any, Any], tuple[Tensor, Mapping[str, "float | Tensor"]]]
OptimiserFn = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
_ALWAYS, _NEVER = 0.0, math.inf
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
        checkpoint_steps: Steps between checkpoints, in place of `checkpoint_seconds`; 0 for those.
        accumulate: Batches per optimiser step; batch numbers count them all.
        fp16: Autocast the loss function to float16, the gradient scaled (CUDA alone).
        fused_backward: Update each weight during the backward pass, see `FusedBackward`; one process, no accumulation.
        log_every: Steps between log lines; loss is checked, and a checkpoint possible, at these steps only, and where
            `checkpoint_steps` asks for one.
        preview_every: Steps between previews (0 = only at the end).
        threads: Threads that prepare batches ahead of the optimiser.
        tracker: Where figures go.
        described: What a tracker shows of the run's options.
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
    checkpoint_steps: int = 0
    accumulate: int = 1
    fp16: bool = False
    fused_backward: bool = False
    log_every: int = 10
    preview_every: int = 0
    threads: int = 1
    seed: int = 0
    tracker: TrackerName = "tensorboard"
    described: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("steps=None and minutes=None: give the length of the run in one of them")
        if self.fused_backward and (self.accumulate > 1 or self.fp16):
            raise ValueError("fused_backward=True takes neither accumulate > 1 nor fp16: leave one of them")


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
    optimiser: OptimiserFn | None = None,
    schedule: Callable[[int], float] | None = None,
    until: Callable[[], bool] = lambda: False,
    after_step: Callable[[int], None] = lambda step: None,
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
        optimiser: Parameter groups → optimiser, in place of AdamW.
        schedule: Step → factor of the learning rates, in place of warm-up and cosine.
        until: Asked before each step; true ends the run early.
        after_step: Called with the number of steps done after each; may change the weights.

    Raises:
        FloatingPointError: The loss or a weight is not finite; no checkpoint was written since it was.
    """
    run = _Run(model, loss_fn, settings, groups, preview, optimiser or partial(_adamw, settings), schedule)
    start = run.step * settings.accumulate
    batches = _ahead(lambda at: batch_fn(at * run.world + run.rank), start, settings.threads)
    with progress_of(settings.out.stem, settings.steps, shown=run.first) as advance:
        model.train()
        run.learning(True)
        while (done := run.done(until)) < 1:
            run.learn(batches, done)
            after_step(run.step)
            saves = bool(settings.checkpoint_steps) and run.step % settings.checkpoint_steps == 0
            if saves or run.step % settings.log_every == 0 or run.step == settings.steps:
                advance(run.done(), run.step, run.report())
                run.save(_ALWAYS if saves else _NEVER if settings.checkpoint_steps else settings.checkpoint_seconds)
            if settings.preview_every and run.step % settings.preview_every == 0:
                run.show()
        batches.close()
    return run.finish()


def _adamw(settings: FitSettings, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


class _Run:
    """What the steps of a `fit` share; resumed where its folder holds a checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        settings: FitSettings,
        groups: list[dict[str, Any]] | None,
        preview: Preview | None,
        optimiser_of: OptimiserFn,
        schedule: Callable[[int], float] | None,
    ):
        # accelerate places the model; autocast is our own because its precision is one per process, ours one per run
        partly_used = DistributedDataParallelKwargs(find_unused_parameters=True)  # conditions are dropped in training
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[partly_used])
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.first = self.accelerator.is_main_process  # writes; the others only compute
        torch.manual_seed(settings.seed)
        groups = groups or parameter_groups(model, settings.weight_decay)
        self.fused = FusedBackward(groups, optimiser_of, settings.clip) if settings.fused_backward else None
        optimiser = self.fused or optimiser_of(groups)
        self.peaks = [group["lr"] for group in optimiser.param_groups]  # of these settings, whatever a checkpoint says
        self.bare, self.loss_fn, self.settings, self.preview = model, loss_fn, settings, preview
        self.schedule, self.scaler = schedule, torch.amp.GradScaler(enabled=settings.fp16)  # type: ignore[attr-defined]
        self.model, self.optimiser = self.accelerator.prepare(model, optimiser)
        self.average = WeightAverage(model, settings.ema)
        self.checkpoints = Checkpoints(settings.out / "checkpoints")
        self.step, spent, self.figures = restore(self.checkpoints, model, self.optimiser, self.average, self.scaler)
        where = (settings.tracker, settings.out, self.step, settings.described)
        self.trackers: list[Tracker] = list(trackers(*where)) if self.first else []
        self.began, self.saved_at, self.reported = time.monotonic() - spent, time.monotonic(), self.step
        self.total, self.named = torch.zeros((), device=self.accelerator.device), {}

    @property
    def seconds(self) -> float:
        """Wall clock, interrupted parts included."""
        return time.monotonic() - self.began

    def done(self, until: Callable[[], bool] = lambda: False) -> float:
        """The first process's progress, for all: clocks differ, and nobody may stop while others wait for gradients."""
        done = 1.0 if self.first and until() else progress(self.step, self.seconds, self.settings)
        if self.world == 1:
            return done
        own = torch.tensor(done, dtype=torch.float64, device=self.accelerator.device)
        return cast(Tensor, broadcast(own)).item()

    def learn(self, batches: Iterator[Any], done: float) -> None:
        """One optimiser step, over as many batches as are accumulated."""
        factor = rate(self.step, done, self.settings) if self.schedule is None else self.schedule(self.step)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.optimiser.zero_grad(set_to_none=True)
        parts = self.settings.accumulate
        for part in range(parts):
            with nullcontext() if part == parts - 1 else self.accelerator.no_sync(self.model):
                loss = self._loss(next(batches)) / parts
                self.accelerator.backward(self.scaler.scale(loss))
            self.total += loss.detach().float()
        self.scaler.unscale_(self.optimiser)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update(self.bare)
        self.step += 1

    def _loss(self, batch: Any) -> Tensor:
        device, s = self.accelerator.device, self.settings
        dtype = torch.float16 if s.fp16 else torch.bfloat16
        with torch.autocast(device.type, dtype, enabled=s.bf16 or s.fp16):
            loss, self.named = self.loss_fn(self.model, send_to_device(batch, device))
        return loss

    def report(self) -> dict[str, float]:
        """Logs the mean loss since the last report and the figures of the last step."""
        mean = float(self.total) / max(1, self.step - self.reported)
        _require_finite(mean, self.step, self.checkpoints)
        self.total, self.reported = torch.zeros_like(self.total), self.step
        self.figures = {"loss": mean, **{name: _number(value) for name, value in self.named.items()}}
        self._track("train", {**self.figures, "learning_rate": self.optimiser.param_groups[0]["lr"]})
        return self.figures

    def _track(self, room: str, figures: Mapping[str, float | np.ndarray]) -> None:
        for tracker in self.trackers:
            tracker.write(room, figures, self.step)

    def learning(self, on: bool) -> None:
        """Schedule-free optimisers keep two sets of weights: those that learn, and those that are the result."""
        switch = getattr(getattr(self.optimiser, "optimizer", self.optimiser), "train" if on else "eval", None)
        if switch is not None:
            switch()

    def save(self, every: float = 0.0) -> None:
        """Writes a checkpoint if the last one is `every` seconds old."""
        if self.first and time.monotonic() - self.saved_at >= every:
            _require_sound(self.bare, self.step, self.checkpoints)
            state = snapshot(
                self.step, self.seconds, self.figures, self.bare, self.optimiser, self.average, self.scaler
            )
            self.checkpoints.write(self.step, state)
            self.saved_at = time.monotonic()

    def show(self) -> dict[str, float]:
        """Calls the preview on the averaged weights and logs what it returns; its numbers."""
        if self.preview is None or not self.first:
            return {}
        with self._result_weights(), self.average.applied(self.bare), torch.random.fork_rng(), torch.no_grad():
            self.bare.eval()
            measured = self.preview(self.step) or {}
        self.bare.train()
        self._track("held_out", measured)
        return {name: float(value) for name, value in measured.items() if np.ndim(value) == 0}

    @contextmanager
    def _result_weights(self) -> Iterator[None]:
        """What a schedule-free optimiser would end with; afterwards, to the bit, the weights that learn."""
        if not hasattr(getattr(self.optimiser, "optimizer", self.optimiser), "eval"):
            yield
            return
        learning = [parameter.detach().clone() for parameter in self.bare.parameters() if parameter.requires_grad]
        self.learning(False)
        yield
        self.learning(True)
        with torch.no_grad():
            for parameter, own in zip((p for p in self.bare.parameters() if p.requires_grad), learning, strict=True):
                parameter.copy_(own)

    def finish(self) -> FitResult:
        """Last checkpoint and preview; leaves the averaged weights in the model."""
        _require_finite(float(self.total), self.step, self.checkpoints)
        self.save()
        measured = self.show()
        for tracker in self.trackers:
            tracker.close()
        self.learning(False)
        self.average.put_into(self.bare)
        self.bare.eval()
        if self.fused:
            self.fused.close()
        return FitResult(self.step, self.seconds, {**self.figures, **measured})


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


def _number(value: float | Tensor) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)


def _require_finite(loss: float, step: int, checkpoints: Checkpoints) -> None:
    if not math.isfinite(loss):
        last = next(iter(checkpoints.files()), "none yet")
        raise FloatingPointError(
            f"loss is {loss} at step {step}; nothing was saved since the last checkpoint "
            f"({last}). Lower the learning rate, or look at the batches of these steps"
        )


def _require_sound(model: nn.Module, step: int, checkpoints: Checkpoints) -> None:
    for name, weight in model.named_parameters():
        if weight.requires_grad and not bool(weight.isfinite().all()):
            last = next(iter(checkpoints.files()), "none yet")
            raise FloatingPointError(
                f"weight {name} is not finite at step {step}; nothing was saved since the last checkpoint ({last}). "
                "Lower the learning rate"
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

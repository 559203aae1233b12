"""A training around a pipeline, from its options to what it writes: one story for every kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.batches import EncodedPicture, PictureData
from twinset.training.core.denoising import Loss, denoising_loss, noise_schedule
from twinset.training.core.frozen import ParkedParts, PipelineNetworks
from twinset.training.core.loop import FitResult, fit
from twinset.training.core.optimisers import fit_settings, optimiser_of, rate_of
from twinset.training.core.options import DenoisingOptions, recipe_text
from twinset.training.core.run_folder import claimed, processes, same_run
from twinset.training.core.tensor_cache import TensorCache, tensor_key
from twinset.training.core.validation import Validation, stops

Report = Callable[[str], None]
"""Takes one line for the user."""


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        out: the LoRA or adapter: a file, or a folder.
        recipe: TOML beside it, which gives the same again.
        run: folder with checkpoints, samples, validation losses and tensorboard's scalars.
        fit: steps, seconds and last figures.
    """

    out: Path
    recipe: Path
    run: Path
    fit: FitResult


@dataclass(frozen=True)
class Learnt:
    """What a finished run knows, for what is written.

    Attributes:
        rows: the pictures.
        content: hashes of what the options do not say, by name: "data" and "base".
        fit: steps, seconds and last figures.
    """

    rows: Sequence[Any]
    content: dict[str, str]
    fit: FitResult


class PipelineTraining(ABC):
    """What a kind of training around a pipeline does in its own way.

    Args:
        pipe: the base model.
        options: of the training, paths absolute.
    """

    def __init__(self, pipe: JointPass, options: Any):
        self.pipe, self.options = pipe, options

    @abstractmethod
    def encode(self, store: TensorCache, report: Report) -> Sequence[EncodedPicture]:
        """Read the pictures and put what a step needs of each into the store."""

    @abstractmethod
    def data(self, rows: Sequence[Any], store: TensorCache) -> PictureData:
        """The batches."""

    @abstractmethod
    def networks(self) -> PipelineNetworks:
        """What is trained, in place around the pipeline."""

    def unused(self, data: Any) -> Sequence[str]:
        """The pipeline's parts that no step needs once everything is encoded."""
        return ()

    @abstractmethod
    def previews(self, networks: Any, data: Any, loss_fn: Loss, run: Path) -> Validation:
        """What is measured and drawn between steps."""

    def after_step(self, networks: Any, learnt: Learnt, out: Path, step: int) -> None:
        """What is done between two steps; nothing if a kind does not say it."""
        return None

    @abstractmethod
    def publish(self, networks: Any, out: Path, learnt: Learnt) -> None:
        """Write the result; the pipeline is as before by then."""


def run_training(training: PipelineTraining, out: Path, run: Path | None, report: Report) -> Trained:
    """Train around a pipeline; a run that was interrupted goes on where its last checkpoint is.

    Started by `accelerate launch` in several processes, each learns from batches of its own and gradients are averaged.

    Args:
        training: the kind, its pipeline and its options; the pipeline is as before when this returns or raises.
        out: file or folder to write.
        run: folder of the run; `out` with the ending `.run` when absent.
        report: told in one line what was decided.

    Raises:
        InputError: the data, an option or the run's folder cannot be used.
        FloatingPointError: the loss is not finite; earlier checkpoints are kept.
        OSError: the disk is full; earlier checkpoints are kept.
    """
    run, pipe = run or out.with_suffix(".run"), training.pipe
    options = training.options = settled(training.options, pipe.unet.device)
    optimiser_of(options)  # says what is missing before anything is encoded
    with claimed(run):
        store, state = TensorCache(run / "cache"), processes()
        with state.main_process_first():  # the others find everything encoded
            rows = training.encode(store, report if state.is_main_process else lambda line: None)
            content = {"data": tensor_key(*(row.content for row in rows)), "base": weights_hash(pipe.unet)}
            same_run(run, options, content)
        data = training.data(rows, store)
        if options.epochs is not None:
            steps = -(-options.epochs * data.length // options.accumulate)
            training.options = options.model_copy(update={"steps": steps})
            report(f"{options.epochs} epoch(s) of {data.length} batch(es) are {steps} steps")
        parked = ParkedParts(pipe, training.unused(data))
        networks = training.networks()
        try:
            parked.away()
            result = _fit(training, networks, data, run, Learnt(rows, content, FitResult(0, 0.0, {})), out, parked)
        finally:
            parked.back()
            networks.take_off()
        recipe = out.with_suffix(".toml")
        if state.is_main_process:
            training.publish(networks, out, Learnt(rows, content, result))
            recipe.write_text(recipe_text(options), encoding="utf-8")
        state.wait_for_everyone()
        return Trained(out, recipe, run, result)


def settled(options: DenoisingOptions, device: torch.device) -> Any:
    """The options with "auto" decided: half the memory where the device computes with it as fast."""
    if options.precision != "auto":
        return options
    half = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return options.model_copy(update={"precision": "bf16" if half else "no"})


def _fit(
    training: PipelineTraining, networks: PipelineNetworks, data: PictureData, run: Path, learnt: Learnt, out: Path,
    parked: ParkedParts,
) -> FitResult:  # fmt: skip
    options: DenoisingOptions = training.options
    loss_fn = denoising_loss(noise_schedule(networks.pipe.scheduler, options), options)
    previews = training.previews(networks, data, loss_fn, run)
    previews.parked = parked
    # fused attention is slow backwards on a CPU
    kernel = nullcontext() if networks.pipe.unet.device.type == "cuda" else sdpa_kernel(SDPBackend.MATH)
    with kernel:
        return fit(
            networks, data.batch, loss_fn, fit_settings(options, run),
            groups=networks.groups(), preview=previews, optimiser=optimiser_of(options), schedule=rate_of(options),
            until=stops(previews) if options.patience else lambda: False,
            after_step=lambda step: training.after_step(networks, learnt, out, step),
        )  # fmt: skip

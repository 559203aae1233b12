"""Train one adapter: the story from people shown to a file.

from twinset.training.adapters.train import train_adapter
train_adapter(pipe, IdentityOptions(data=Path("my_people"), model="sd15"), Path("faces.safetensors"))
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from torch.nn.attention import SDPBackend, sdpa_kernel

from twinset.errors import InputError
from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.joint_pass import JointPass
from twinset.training.adapters.data import AdapterData, Drawn
from twinset.training.adapters.networks import AdapterNetworks
from twinset.training.adapters.options import AdapterOptions
from twinset.training.adapters.prepare import prepare
from twinset.training.adapters.trained import TrainedAdapter, adapter_kind
from twinset.training.core.batches import TextStates
from twinset.training.core.denoising import denoising_loss, noise_schedule
from twinset.training.core.loop import FitResult, fit
from twinset.training.core.optimisers import fit_settings, optimiser_of, rate_of
from twinset.training.core.options import recipe_text
from twinset.training.core.run_folder import Trained, claimed, processes, same_run
from twinset.training.core.tensor_cache import Stored, key_of
from twinset.training.core.validation import stops

Say = Callable[[str], None]


def train_adapter(
    pipe: JointPass, options: AdapterOptions, out: Path, run: Path | None = None, say: Say = lambda line: None
) -> Trained:
    """Train an adapter on a pipeline; a run that was interrupted goes on where its last checkpoint is.

    Args:
        pipe: the base model; as before when this returns or raises.
        options: `IdentityOptions`, `GarmentOptions` or `ControlOptions`.
        out: what to write: `.safetensors` for identity and garment adapters of SD1.5 and SDXL, else a folder.
        run: folder of the run; `out` with the ending `.run` when absent.
        say: told in one line what was decided.

    Raises:
        InputError: the data, an option or the run's folder cannot be used.
        FloatingPointError: the loss is not finite; earlier checkpoints are kept.
        OSError: the disk is full; earlier checkpoints are kept.
    """
    _check_name(out, adapter_kind(pipe, options))
    options, run = options.located(), run or out.with_suffix(".run")
    optimiser_of(options)  # says what is missing before anything is encoded
    with claimed(run):
        return _train(pipe, options, out, run, say)


def _check_name(out: Path, kind: type[TrainedAdapter]) -> None:
    if out.suffix != kind.suffix:
        ending = f"ends in {kind.suffix}" if kind.suffix else "is a folder without an ending"
        raise InputError(f"output {str(out)!r}: an adapter of this model {ending}; call it {out.stem}{kind.suffix}")


def _train(pipe: JointPass, options: AdapterOptions, out: Path, run: Path, say: Say) -> Trained:
    store = Stored(run / "cache")
    with (state := processes()).main_process_first():  # the others find everything encoded
        rows = prepare(pipe, options, store, say if state.is_main_process else lambda line: None)
        content = key_of(*((row.caption, row.bucket, row.keys) for row in rows))
        same_run(run, options, {"data": content, "base": weights_hash(pipe.unet)})
    data = AdapterData(rows, options, store, TextStates(pipe, store))
    networks = AdapterNetworks(pipe, options)
    recipe = out.with_suffix(".toml")
    try:
        result = _fit(networks, data, options, run)
        if state.is_main_process:
            write_whole(networks.adapter, out)
            recipe.write_text(recipe_text(options), encoding="utf-8")
    finally:
        networks.take_off()
    state.wait_for_everyone()
    return Trained(out, recipe, run, result)


def write_whole(adapter: TrainedAdapter, out: Path) -> None:
    """Write an adapter beside its final name first, so that no file is there in part.

    Args:
        adapter: what was trained.
        out: its file or folder; in a folder that is there, other files stay.

    Raises:
        OSError: the disk is full; what was there before is as it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.stem}.partial{out.suffix}")
    try:
        adapter.write(partial)
        if partial.is_file():
            os.replace(partial, out)
            return
        out.mkdir(exist_ok=True)
        for path in partial.iterdir():
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)


def _fit(networks: AdapterNetworks, data: AdapterData, options: AdapterOptions, run: Path) -> FitResult:
    loss_fn = denoising_loss(noise_schedule(networks.pipe.scheduler, options), options)
    drawn = Drawn(networks, data, loss_fn, options, run)
    # fused attention is slow backwards on a CPU
    kernel = nullcontext() if networks.pipe.device.type == "cuda" else sdpa_kernel(SDPBackend.MATH)
    with kernel:
        return fit(
            networks, data.batch, loss_fn, replace(fit_settings(options, run), minutes=options.minutes),
            groups=[{"params": list(networks.parameters()), "lr": options.learning_rate}], preview=drawn,
            optimiser=optimiser_of(options), schedule=rate_of(options),
            until=stops(drawn) if options.patience else lambda: False,
        )  # fmt: skip

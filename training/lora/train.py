"""Train a garment LoRA: the story from a folder of pictures to a file.

from twinset.training.lora.train import train_lora
train_lora(pipe, LoraOptions(data=Path("my_jacket"), steps=600), Path("jacket.safetensors"))
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from torch.nn.attention import SDPBackend, sdpa_kernel

from twinset.adapters.lora.files import Layers, read_lora
from twinset.adapters.lora.write import standard_metadata, write_lora
from twinset.errors import InputError
from twinset.pipelines.denoising.condition_cache import weights_hash
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.batches import TextStates
from twinset.training.core.denoising import denoising_loss, noise_schedule
from twinset.training.core.loop import FitResult, fit
from twinset.training.core.optimisers import fit_settings, optimiser_of, rate_of
from twinset.training.core.options import recipe_text
from twinset.training.core.run_folder import Trained, claimed, processes, same_run
from twinset.training.core.tensor_cache import Stored, key_of
from twinset.training.core.validation import stops
from twinset.training.lora.batches import LoraData
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.options import LoraOptions
from twinset.training.lora.prepare import Row, Say, prepare
from twinset.training.lora.previews import Previews


def family_of(pipe: JointPass) -> str:
    """ "studio", "sd15" or "sdxl", told from the pipeline's parts."""
    if getattr(pipe, "text_encoder_2", None) is not None:
        return "sdxl"
    return "studio" if getattr(pipe, "identity_adapter", None) is not None else "sd15"


def train_lora(
    pipe: JointPass, options: LoraOptions, out: Path, run: Path | None = None, say: Say = lambda line: None
) -> Trained:
    """Train a garment LoRA on a pipeline; a run that was interrupted goes on where its last checkpoint is.

    Started by `accelerate launch` in several processes, each learns from batches of its own and gradients are averaged.

    Args:
        pipe: the base model; as before when this returns or raises.
        options: of the training.
        out: the LoRA file to write, `.safetensors`.
        run: folder of the run; `out` with the ending `.run` when absent.
        say: told in one line what was decided.

    Raises:
        InputError: the data, an option or the run's folder cannot be used.
        FloatingPointError: the loss is not finite; earlier checkpoints are kept.
        OSError: the disk is full; earlier checkpoints are kept.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"LoRA file {str(out)!r} needs the ending .safetensors; call it {out.name}.safetensors")
    options, run = options.located(), run or out.with_suffix(".run")
    optimiser_of(options)  # says what is missing before anything is encoded
    with claimed(run):
        return _train(pipe, options, out, run, say)


def _train(pipe: JointPass, options: LoraOptions, out: Path, run: Path, say: Say) -> Trained:
    store = Stored(run / "cache")
    with (state := processes()).main_process_first():  # the others find everything encoded
        rows = prepare(pipe, options, store, say if state.is_main_process else lambda line: None)
        base, data_hash = weights_hash(pipe.unet), _data_hash(rows)
        same_run(run, options, {"data": data_hash, "base": base})
    data = LoraData(rows, options, store, None if options.text_encoder else TextStates(pipe, store))
    networks = LoraNetworks(pipe, options)
    try:
        result = _fit(networks, data, options, run)
        components = networks.layers()
    finally:
        networks.take_off()
    recipe = out.with_suffix(".toml")
    if state.is_main_process:
        described = _described(options, rows, result, data_hash, base)
        _write(pipe, components, out, options, described)
        recipe.write_text(recipe_text(options), encoding="utf-8")
    state.wait_for_everyone()
    return Trained(out, recipe, run, result)


def _write(
    pipe: JointPass, components: dict[str, Layers], out: Path, options: LoraOptions, described: dict[str, str]
) -> None:
    """The LoRA's file, read back once."""
    models = {component: getattr(pipe, component) for component in components}
    if getattr(pipe, "text_encoder_2", None) is not None:
        models["text_encoder_2"] = pipe.text_encoder_2  # type: ignore[attr-defined]
    metadata = standard_metadata(components, family_of(pipe), out.stem, options.word, **described)
    read_lora(write_lora(out, components, models, options.form, metadata))


def _fit(networks: LoraNetworks, data: LoraData, options: LoraOptions, run: Path) -> FitResult:
    loss_fn = denoising_loss(noise_schedule(networks.pipe.scheduler, options), options)
    previews = Previews(networks, data, loss_fn, options, run)
    until: Callable[[], bool] = stops(previews) if options.patience else lambda: False
    # fused attention is slow backwards on a CPU
    kernel = nullcontext() if networks.pipe.device.type == "cuda" else sdpa_kernel(SDPBackend.MATH)
    with kernel:
        return fit(
            networks, data.batch, loss_fn, fit_settings(options, run),
            groups=networks.groups(), preview=previews, optimiser=optimiser_of(options), schedule=rate_of(options),
            until=until,
        )  # fmt: skip


def _data_hash(rows: list[Row]) -> str:
    return key_of(
        *((row.caption, row.bucket, row.keys, row.example.repeats, row.example.regularisation) for row in rows)
    )


def _described(options: LoraOptions, rows: list[Row], result: FitResult, data: str, base: str) -> dict[str, str]:
    """Entries of the header beside the standard ones."""
    learnt = [row for row in rows if not row.example.regularisation and not row.example.validation]
    text_rate = options.text_learning_rate or options.learning_rate / 2
    portable = {"data": Path(options.data.name), "sample_selfie": None, "sample_garment": None}
    recipe = recipe_text(options.model_copy(update=portable))
    captions: dict[str, int] = {}
    for row in learnt:
        captions[row.caption] = captions.get(row.caption, 0) + 1
    return {
        "ss_learning_rate": str(options.learning_rate),
        "ss_unet_lr": str(options.learning_rate),
        "ss_text_encoder_lr": str(text_rate) if options.text_encoder else "None",
        "ss_lr_scheduler": options.scheduler,
        "ss_lr_warmup_steps": str(options.warmup),
        "ss_optimizer": options.optimiser,
        "ss_max_train_steps": str(options.steps),
        "ss_steps": str(result.step),
        "ss_batch_size_per_device": str(options.batch),
        "ss_gradient_accumulation_steps": str(options.accumulate),
        "ss_gradient_checkpointing": str(options.gradient_checkpointing),
        "ss_mixed_precision": options.precision,
        "ss_num_train_images": str(sum(row.example.repeats for row in learnt)),
        "ss_num_reg_images": str(sum(row.example.regularisation for row in rows)),
        "ss_seed": str(options.seed),
        "ss_min_snr_gamma": str(options.min_snr_gamma),
        "ss_noise_offset": str(options.noise_offset),
        "ss_tag_frequency": json.dumps({options.data.name: captions}, ensure_ascii=False),
        "modelspec.date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "twinset.recipe": recipe,
        "twinset.data": data,
        "twinset.base": base,
        "twinset.loss": f"{result.figures.get('loss', float('nan')):.6g}",
    }

"""Train a garment LoRA: the story from a folder of pictures to a file.

from twinset.training.lora.train import train_lora
train_lora(pipe, LoraOptions(data=Path("my_jacket"), steps=600), Path("jacket.safetensors"))
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from torch.nn.attention import SDPBackend, sdpa_kernel

from twinset.adapters.public.lora_files import read_lora
from twinset.adapters.public.lora_write import standard_metadata, write_lora
from twinset.errors import InputError
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.memo import weights_hash
from twinset.training.loop import FitResult, FitSettings, fit

from .batches import LoraData, TextStates
from .networks import LoraNetworks
from .objective import lora_loss, noise_schedule
from .optimisers import optimiser_of, rate_of
from .options import LoraOptions, read_options, read_recipe, recipe_text
from .prepare import Row, Say, prepare
from .previews import Previews, stops
from .stored import Stored, key_of

RECIPE = "recipe.toml"
#: Options that a run may be continued with although they differ, since they do not change what is learnt.
FREE = {
    "save_every", "sample_every", "sample_prompt", "sample_selfie", "sample_garment", "sample_pose", "samples", "form"
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        file: the LoRA.
        recipe: TOML beside it, which gives the same again.
        run: folder with checkpoints, samples, validation losses and tensorboard's scalars.
        fit: steps, seconds and last figures.
    """

    file: Path
    recipe: Path
    run: Path
    fit: FitResult


def family_of(pipe: JointPass) -> str:
    """ "studio", "sd15" or "sdxl", told from the pipeline's parts."""
    if getattr(pipe, "text_encoder_2", None) is not None:
        return "sdxl"
    return "studio" if getattr(pipe, "identity_adapter", None) is not None else "sd15"


def train_lora(
    pipe: JointPass, options: LoraOptions, out: Path, run: Path | None = None, say: Say = lambda line: None
) -> Trained:
    """Train a garment LoRA on a pipeline; a run that was interrupted goes on where its last checkpoint is.

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
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"run {str(run)!r} is in use by another process; wait for it, or give another --run") from None
    try:
        return _train(pipe, options, out, run, say)
    finally:
        lock.release()


def _train(pipe: JointPass, options: LoraOptions, out: Path, run: Path, say: Say) -> Trained:
    store = Stored(run / "cache")
    rows = prepare(pipe, options, store, say)
    base, data_hash = weights_hash(pipe.unet), _data_hash(rows)
    _same_run(run, options, {"data": data_hash, "base": base})
    data = LoraData(rows, options, store, None if options.text_encoder else TextStates(pipe, store))
    networks = LoraNetworks(pipe, options)
    try:
        result = _fit(networks, data, options, run)
        components = networks.layers()
    finally:
        networks.take_off()
    models = {component: getattr(pipe, component) for component in components}
    if getattr(pipe, "text_encoder_2", None) is not None:
        models["text_encoder_2"] = pipe.text_encoder_2  # type: ignore[attr-defined]
    metadata = standard_metadata(
        components, family_of(pipe), out.stem, options.word, **_described(options, rows, result, data_hash, base)
    )
    file = write_lora(out, components, models, options.form, metadata)
    read_lora(file)  # what was written can be read
    recipe = out.with_suffix(".toml")
    recipe.write_text(recipe_text(options), encoding="utf-8")
    return Trained(file, recipe, run, result)


def _fit(networks: LoraNetworks, data: LoraData, options: LoraOptions, run: Path) -> FitResult:
    loss_fn = lora_loss(noise_schedule(networks.pipe.scheduler, options), options)
    previews = Previews(networks, data, loss_fn, options, run)
    until: Callable[[], bool] = stops(previews) if options.patience else lambda: False
    settings = FitSettings(
        out=run,
        steps=options.steps,
        learning_rate=options.learning_rate,
        clip=options.clip,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        ema=options.ema,
        checkpoint_steps=options.save_every,
        accumulate=options.accumulate,
        preview_every=options.sample_every,
        log_every=min(10, max(1, options.steps // 50)),
        seed=options.seed,
    )
    # fused attention is slow backwards on a CPU
    kernel = nullcontext() if networks.pipe.device.type == "cuda" else sdpa_kernel(SDPBackend.MATH)
    with kernel:
        return fit(
            networks, data.batch, loss_fn, settings,
            groups=networks.groups(), preview=previews, optimiser=optimiser_of(options), schedule=rate_of(options),
            until=until,
        )  # fmt: skip


def _data_hash(rows: list[Row]) -> str:
    return key_of(
        *((row.caption, row.bucket, row.keys, row.example.repeats, row.example.regularisation) for row in rows)
    )


def _same_run(run: Path, options: LoraOptions, content: dict[str, str]) -> None:
    """Compare with what the run was begun with; write that down when it is new.

    Raises:
        InputError: it was begun with other options, pictures or another base model.
    """
    path = run / RECIPE
    if not path.is_file():
        text = "".join(f"# {name} {value}\n" for name, value in content.items())
        partial = path.with_suffix(".partial")
        partial.write_text(text + recipe_text(options), encoding="utf-8")
        partial.replace(path)
        return
    begun = read_options(read_recipe(path), str(path))
    for name in LoraOptions.model_fields:
        now, then = getattr(options, name), getattr(begun, name)
        if now != then and name not in FREE:
            raise InputError(
                f"run {str(run)!r} was begun with {name} = {then}, not {now}; give that, or another --run, or --fresh"
            )
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, value in content.items():
        if f"# {name} {value}" not in lines:
            raise InputError(f"run {str(run)!r} was begun with another {name}; give another --run, or --fresh")


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


def forget_run(run: Path) -> None:
    """Delete what a run keeps, the encoded pictures aside, so that it starts from nothing.

    Raises:
        InputError: the folder is no run's.
    """
    if not run.exists():
        return
    if not (run / RECIPE).is_file():
        raise InputError(f"{str(run)!r} holds no run ({RECIPE} is missing); give the folder of a run")
    for path in [*(run / "checkpoints").glob("step-*"), run / "validation.jsonl", run / RECIPE]:
        path.unlink(missing_ok=True)

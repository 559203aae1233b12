"""Train a garment LoRA: the story from a folder of pictures to a file.

from twinset.training.lora.train import train_lora
train_lora(pipe, LoraOptions(data=Path("my_jacket"), steps=600), Path("jacket.safetensors"))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.write import standard_metadata, write_lora
from twinset.errors import InputError
from twinset.pipelines.joint_pass import JointPass
from twinset.training.core.batches import TextStates
from twinset.training.core.denoising import Loss
from twinset.training.core.loop import FitResult
from twinset.training.core.optimisers import optimiser_of
from twinset.training.core.options import recipe_text
from twinset.training.core.run_folder import processes, same_options
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.core.training_run import Learnt, PipelineTraining, Report, Trained, run_training, settled
from twinset.training.lora.batches import LoraData
from twinset.training.lora.dataset import read_examples
from twinset.training.lora.networks import LoraNetworks
from twinset.training.lora.options import LoraOptions
from twinset.training.lora.prepare import EncodedExample, encode_examples, sees_layouts
from twinset.training.lora.previews import LoraPreviews
from twinset.training.lora.sample_prompts import sample_requests
from twinset.training.reports.trackers import wandb


def train_lora(
    pipe: JointPass, options: LoraOptions, out: Path, run: Path | None = None, report: Report = lambda line: None
) -> Trained:
    """Train a garment LoRA on a pipeline, see `twinset.training.core.training_run.run_training`.

    Args:
        pipe: the base model; as before when this returns or raises.
        options: of the training.
        out: the LoRA file to write, `.safetensors`.
        run: folder of the run; `out` with the ending `.run` when absent.
        report: told in one line what was decided.

    Raises:
        InputError: the data, an option or the run's folder cannot be used.
        FloatingPointError: the loss is not finite; earlier checkpoints are kept.
        OSError: the disk is full; earlier checkpoints are kept.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"LoRA file {str(out)!r} needs the ending .safetensors; call it {out.name}.safetensors")
    return run_training(LoraTraining(pipe, options.located()), out, run, report)


def check_before_loading(options: LoraOptions, out: Path, run: Path) -> None:
    """Everything that can be told without the model, so that nobody waits for it in vain.

    Raises:
        InputError: pictures, captions, an option, a file to start from, sample prompts or the run's folder cannot be
            used.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"LoRA file {str(out)!r} needs the ending .safetensors; call it {out.name}.safetensors")
    options = options.located()
    read_examples(options)
    optimiser_of(options)
    if options.log_with != "tensorboard":
        wandb()
    sample_requests(options)
    if options.start is not None:
        read_lora(options.start)
    same_options(run, settled(options, torch.device("cuda" if torch.cuda.is_available() else "cpu")))


class LoraTraining(PipelineTraining):
    """The training of a LoRA from pictures of a garment."""

    options: LoraOptions

    def encode(self, store: TensorCache, report: Report) -> list[EncodedExample]:
        """Read the data set."""
        return encode_examples(self.pipe, self.options, store, report)

    def data(self, rows: Sequence[EncodedExample], store: TensorCache) -> LoraData:
        """Captions are read by text encoders that are trained, else encoded once."""
        texts = None if self.options.text_encoder else TextStates(self.pipe, store)
        data = LoraData(rows, self.options, store, texts)
        data.encode_texts()
        return data

    def unused(self, data: LoraData) -> tuple[str, ...]:
        """The VAE, what reads faces and garments, ControlNets that the training does not see; text encoders as well
        where every caption is encoded."""
        encoders = () if data.texts is None or data.texts_vary else ("text_encoder", "text_encoder_2")
        controls = () if sees_layouts(self.pipe) else ("controlnet",)
        return ("vae", "image_encoder", "safety_checker", *controls, *encoders)

    def networks(self) -> LoraNetworks:
        """The additions."""
        return LoraNetworks(self.pipe, self.options)

    def previews(self, networks: LoraNetworks, data: LoraData, loss_fn: Loss, run: Path) -> LoraPreviews:
        """Pictures by the real pipeline."""
        return LoraPreviews(networks, data, loss_fn, self.options, run)

    def after_step(self, networks: LoraNetworks, learnt: Learnt, out: Path, step: int) -> None:
        """Norms over the limit brought down; a file on the way, named by its step, where one is due."""
        networks.limit()
        every = self.options.write_every
        if every and step % every == 0 and step < self.options.steps and processes().is_main_process:
            so_far = replace(learnt, fit=FitResult(step, 0.0, {}))
            self.publish(networks, out.with_stem(f"{out.stem}-{step:06d}"), so_far)

    def publish(self, networks: LoraNetworks, out: Path, learnt: Learnt) -> None:
        """Write the LoRA's file and read it back once."""
        pipe, options, components = self.pipe, self.options, networks.layers()
        models = {component: getattr(pipe, component) for component in components}
        if getattr(pipe, "text_encoder_2", None) is not None:
            models["text_encoder_2"] = pipe.text_encoder_2  # type: ignore[attr-defined]
        described = _described(options, learnt)
        metadata = standard_metadata(components, pipeline_family(pipe), out.stem, options.word, **described)
        read_lora(write_lora(out, components, models, options.form, metadata))


def pipeline_family(pipe: JointPass) -> str:
    """ "studio", "sd15" or "sdxl", told from the pipeline's parts."""
    if getattr(pipe, "text_encoder_2", None) is not None:
        return "sdxl"
    return "studio" if getattr(pipe, "identity_adapter", None) is not None else "sd15"


def _described(options: LoraOptions, learnt: Learnt) -> dict[str, str]:
    """Entries of the header beside the standard ones."""
    rows = [row for row in learnt.rows if not row.example.regularisation and not row.validation]
    text_rate = options.text_learning_rate or options.learning_rate / 2
    paths = {name: None for name in options.path_fields()}
    portable = {**paths, "data": Path(options.data.name)}
    recipe = recipe_text(options.model_copy(update=portable))
    captions: dict[str, int] = {}
    for row in rows:
        captions[row.caption] = captions.get(row.caption, 0) + 1
    return {
        "ss_learning_rate": str(options.learning_rate),
        "ss_unet_lr": str(options.learning_rate),
        "ss_text_encoder_lr": str(text_rate) if options.text_encoder else "None",
        "ss_lr_scheduler": options.scheduler,
        "ss_lr_warmup_steps": str(options.warmup),
        "ss_optimizer": options.optimiser,
        "ss_max_train_steps": str(options.steps),
        "ss_steps": str(learnt.fit.step),
        "ss_batch_size_per_device": str(options.batch),
        "ss_gradient_accumulation_steps": str(options.accumulate),
        "ss_gradient_checkpointing": str(options.gradient_checkpointing),
        "ss_mixed_precision": options.precision,
        "ss_num_train_images": str(sum(row.repeats for row in rows)),
        "ss_num_reg_images": str(sum(row.example.regularisation for row in learnt.rows)),
        "ss_seed": str(options.seed),
        "ss_min_snr_gamma": str(options.min_snr_gamma),
        "ss_noise_offset": str(options.noise_offset),
        "ss_tag_frequency": json.dumps({options.data.name: captions}, ensure_ascii=False),
        "modelspec.date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "twinset.recipe": recipe,
        "twinset.data": learnt.content["data"],
        "twinset.base": learnt.content["base"],
        "twinset.loss": f"{learnt.fit.figures.get('loss', float('nan')):.6g}",
    }

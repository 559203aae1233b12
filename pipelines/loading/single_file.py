"""One checkpoint file in the layout that Stable Diffusion was published in, read without any network.

diffusers reads such files by the configurations of the family's own repository, which it would download; here they are
written down (numbers of `stable-diffusion-v1-5` and `stable-diffusion-xl-base-1.0`, as published).
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, PNDMScheduler

from twinset.adapters.lora.bases import base_models
from twinset.errors import InputError
from twinset.models.clip import tokenizer
from twinset.pipelines.loading.pretrained import INDEX

NOISE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
SCALING = {"sd15": (512, 0.18215), "sdxl": (1024, 0.13025)}
"""Side of the pictures that the VAE was trained on, and the factor of its latents."""
PADDING = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}


def read_single_file(cls: Any, path: Path, family: str, dtype: torch.dtype, **given: Any) -> Any:
    """The pipeline of a checkpoint file.

    Args:
        cls: pipeline class of the family.
        path: a `.safetensors` file with UNet and text encoders.
        family: "sd15" or "sdxl".
        dtype: of the networks.
        given: parts in place of the file's own (`vae`), and settings of the pipeline.

    Raises:
        InputError: the file lacks weights.
    """
    with TemporaryDirectory(prefix="twinset-") as folder:
        write_configuration(family, Path(folder))
        try:
            return cls.from_single_file(str(path), config=folder, local_files_only=True, dtype=dtype, **given)
        except NotImplementedError as error:  # torch, of a tensor that was never filled
            raise InputError(f"model {str(path)!r} lacks some of its weights; download it again") from error


def write_configuration(family: str, folder: Path) -> None:
    """Writes all that a family's repository has but weights: configurations, scheduler, tokenizers, index."""
    index: dict[str, Any] = {"_class_name": f"StableDiffusion{'XL' if family == 'sdxl' else ''}Pipeline"}
    for name, network in base_models(family).items():
        if name == "unet":
            network.save_config(folder / name)  # type: ignore[operator]
        else:
            network.config.save_pretrained(folder / name)  # type: ignore[union-attr, operator]
        index[name] = ["diffusers" if name == "unet" else "transformers", type(network).__name__]
    side, scaling = SCALING[family]
    with torch.device("meta"):
        AutoencoderKL(**VAE, sample_size=side, scaling_factor=scaling).save_config(folder / "vae")
    scheduler_of(family).save_pretrained(folder / "scheduler")
    for name in list(PADDING)[: 2 if family == "sdxl" else 1]:
        words = tokenizer()
        words.pad_token = PADDING[name]
        words.save_pretrained(folder / name)
        index[name] = ["transformers", "CLIPTokenizer"]
    index |= {"vae": ["diffusers", "AutoencoderKL"]}
    index |= {"scheduler": ["diffusers", type(scheduler_of(family)).__name__]}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def scheduler_of(family: str) -> Any:
    """The scheduler of the family's own repository."""
    if family == "sdxl":
        return EulerDiscreteScheduler(**NOISE, timestep_spacing="leading")
    return PNDMScheduler(**NOISE, skip_prk_steps=True, set_alpha_to_one=False)

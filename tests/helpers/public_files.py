"""Public adapter files with their authors' keys and random values, and UNets to use them with.

The keys are spelled out here a second time, from the authors' code, so that a slip in the readers' tables shows.
"""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

WIDTH = 128
RANK = 128
Shapes = dict[str, tuple[int, ...]]


def tiny_unet(layers: int = 1, in_channels: int = 4) -> UNet2DConditionModel:
    """A UNet of few channels with three cross-attention blocks, or with SDXL's deeper transformers."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
        transformer_layers_per_block=layers,
        use_linear_projection=layers > 1,
    )
    return unet.eval().requires_grad_(False)


def full_unet(family: str) -> UNet2DConditionModel:
    """The UNet of SD1.5 or SDXL at full size on the meta device."""
    with torch.device("meta"):
        if family == "sd15":
            return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        return UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )


def channels(unet: UNet2DConditionModel) -> list[int]:
    """Channels of every attention processor, by number."""
    return [unet.get_submodule(name.removesuffix(".processor")).to_k.out_features for name in unet.attn_processors]  # type: ignore[union-attr]


def linear(key: str, out: int, into: int) -> Shapes:
    return {f"{key}.weight": (out, into), f"{key}.bias": (out,)}


def norm(key: str, size: int) -> Shapes:
    return {f"{key}.weight": (size,), f"{key}.bias": (size,)}


def resampler(prefix: str, dim: int, features: int, out: int, queries: int = 0) -> Shapes:
    shapes: Shapes = {f"{prefix}latents": (1, queries, dim)} if queries else {}
    shapes |= linear(f"{prefix}proj_in", dim, features) | linear(f"{prefix}proj_out", out, dim)
    shapes |= norm(f"{prefix}norm_out", out)
    for i in range(4):
        layer = f"{prefix}layers.{i}"
        shapes |= norm(f"{layer}.0.norm1", dim) | norm(f"{layer}.0.norm2", dim) | norm(f"{layer}.1.0", dim)
        shapes |= {f"{layer}.0.to_q.weight": (dim, dim), f"{layer}.0.to_kv.weight": (2 * dim, dim)}
        shapes |= {f"{layer}.0.to_out.weight": (dim, dim)}
        shapes |= {f"{layer}.1.1.weight": (4 * dim, dim), f"{layer}.1.3.weight": (dim, 4 * dim)}
    return shapes


def face_mlp(prefix: str, x: int) -> Shapes:
    return linear(f"{prefix}proj.0", 1024, 512) | linear(f"{prefix}proj.2", 4 * x, 1024) | norm(f"{prefix}norm", x)


def cross(c: list[int], x: int) -> Shapes:
    return {f"ip_adapter.{i}.to_{kv}_ip.weight": (c[i], x) for i in range(1, len(c), 2) for kv in "kv"}


def lora(c: list[int], x: int, rank: int = RANK) -> Shapes:
    shapes: Shapes = {}
    for i, size in enumerate(c):
        for target in ("q", "k", "v", "out"):
            into = x if i % 2 and target in ("k", "v") else size
            shapes[f"ip_adapter.{i}.to_{target}_lora.down.weight"] = (rank, into)
            shapes[f"ip_adapter.{i}.to_{target}_lora.up.weight"] = (size, rank)
    return shapes


def shapes_of(form: str, unet: UNet2DConditionModel) -> Shapes:
    """Every key of a form's file with its shape, for a UNet."""
    c, x = channels(unet), unet.config["cross_attention_dim"]
    if form == "face-id":
        return face_mlp("image_proj.", x) | cross(c, x) | lora(c, x)
    if form.startswith("face-id-plus"):
        reader = resampler("image_proj.perceiver_resampler.", x, 1280, x)
        return face_mlp("image_proj.", x) | reader | cross(c, x) | lora(c, x)
    if form == "ip-adapter-plus":
        return resampler("image_proj.", 1280 if x == 2048 else x, 1280, x, 16) | cross(c, x)
    if form == "instant-id":
        return resampler("image_proj.", 1280, 512, x, 16) | cross(c, x)
    if form == "story-maker":
        p = "image_proj_model."
        shapes = face_mlp(p, x) | {f"{p}pos_embed": (3, 20, x), f"{p}bg_embed": (1, 20, x)}
        shapes |= linear(f"{p}proj_out", x, x) | norm(f"{p}norm_out", x)
        shapes |= resampler(f"{p}perceiver_resampler.", x, 1280, x) | resampler(f"{p}resample.", 1280, 1280, x, 16)
        return shapes | cross(c, x) | lora(c, x)
    plain = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    if form == "magic-clothing":
        return plain
    shapes = {f"module.{name}.{key}": shape for name in ("unet", "ref_unet") for key, shape in plain.items()}
    shapes |= resampler("module.proj.", x, 1280, x, 16)
    for i in range(0, len(c), 2):
        shapes |= {f"module.adapter_modules.{i}.to_{kv}_ref.weight": (c[i], c[i]) for kv in "kv"}
    return shapes


def random_state(shapes: Shapes) -> dict[str, Tensor]:
    """Random values of a size that keeps activations near 1."""
    return {k: torch.randn(s) / math.sqrt(s[-1] if len(s) > 1 else 4) for k, s in shapes.items()}


def nested(state: dict[str, Tensor], groups: Iterable[str]) -> dict[str, Any]:
    """{"image_proj.x": t} → {"image_proj": {"x": t}}, as the `.bin` files are."""
    return {
        group: {k.removeprefix(f"{group}."): t for k, t in state.items() if k.startswith(f"{group}.")}
        for group in groups
    }


def write(path: Path, state: dict[str, Tensor]) -> Path:
    """Save a flat state as its authors do: flat safetensors, or nested dictionaries."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(nested(state, dict.fromkeys(key.split(".")[0] for key in state)), path)
    return path

"""Small parts as one file in the layout that Stable Diffusion was published in (CompVis `ldm`, Stability `sgm`).

The layout numbers the UNet's blocks in the order of the modules' lists (`input_blocks`, `middle_block`, `output_blocks`
of `openaimodel.UNetModel`), the VAE's by resolution, and names the text encoders as transformers (CLIP) or
open_clip (OpenCLIP, with q, k and v in one matrix) do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn": "attn",
    "final_layer_norm": "ln_final",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
}


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for theirs, original in names.items():
        name = name.replace(theirs, original)
    return name


def unet_name(name: str, layers: int, attentive: set[str]) -> str:
    """The original name of a UNet's parameter.

    Args:
        name: diffusers' name.
        layers: ResNets per block on the way down; one more on the way up.
        attentive: prefixes of the blocks that have attention; there an upsampler stands third, else second.
    """
    for theirs, original in ENDS.items():
        if name.startswith(theirs + "."):
            return original + name.removeprefix(theirs)
    kind, rest = re.fullmatch(r"(down_blocks\.\d+|mid_block|up_blocks\.\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
    part, number, tail = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", rest).groups()  # type: ignore[union-attr]
    tail = _renamed(tail, RESNET) if part == "resnets" else tail
    if kind == "mid_block":
        return f"middle_block.{2 * int(number) if part == 'resnets' else 1}.{tail}"
    first = int(kind.split(".")[1]) * (layers + 1)
    if part == "downsamplers":
        return f"input_blocks.{1 + first + layers}.0.op.{tail.removeprefix('conv.')}"
    if part == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if kind in attentive else 1}.{tail}"
    stack, offset = ("input_blocks", 1) if kind.startswith("down") else ("output_blocks", 0)
    return f"{stack}.{offset + first + int(number)}.{int(part == 'attentions')}.{tail}"


def unet_state(unet: Any) -> State:
    """A UNet's weights under their original names."""
    attentive = {key.split(".attentions.")[0] for key in unet.state_dict() if ".attentions." in key}
    layers = unet.config["layers_per_block"]
    return {unet_name(key, layers, attentive): value for key, value in unet.state_dict().items()}


def vae_state(vae: Any) -> State:
    """A VAE's weights under their original names; its attention is made of 1×1 convolutions."""
    highest, state = len(vae.config["block_out_channels"]) - 1, {}
    for key, value in vae.state_dict().items():
        name = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{highest - int(m[1])}", key)
        name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        name = name.replace(".resnets.", ".block.").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
        name = name.replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in name:
            name = _renamed(name.replace("mid_block.attentions.0", "mid.attn_1"), VAE_ATTENTION)
            value = value[:, :, None, None] if value.ndim == 2 else value
        state[name] = value
    return state


def clip_state(encoder: nn.Module) -> State:
    """A CLIP text encoder as transformers had it when the layout was made, under `text_model`."""
    return {f"text_model.{key.removeprefix('text_model.')}": value for key, value in encoder.state_dict().items()}


def open_clip_state(encoder: nn.Module) -> State:
    """A text encoder under open_clip's names."""
    own = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    state = {"text_projection": own.pop("text_projection.weight").T, "logit_scale": torch.tensor(1.0)}
    for key in list(own):
        if ".q_proj." in key:
            q, k, v = (own.pop(key.replace("q_proj", f"{letter}_proj")) for letter in "qkv")
            state[_renamed(key, OPEN_CLIP).replace("q_proj.", "in_proj_")] = torch.cat([q, k, v])
    return state | {_renamed(key, OPEN_CLIP): value for key, value in own.items()}


def _under(prefix: str, state: State) -> State:
    return {prefix + key: value.contiguous().clone() for key, value in state.items()}


def original_state(parts: Mapping[str, Any]) -> State:
    """A whole checkpoint of SD1.5, or of SDXL where there is a second text encoder."""
    state = _under("model.diffusion_model.", unet_state(parts["unet"]))
    state |= _under("first_stage_model.", vae_state(parts["vae"]))
    if "text_encoder_2" not in parts:
        return state | _under("cond_stage_model.transformer.", clip_state(parts["text_encoder"]))
    state |= _under("conditioner.embedders.0.transformer.", clip_state(parts["text_encoder"]))
    return state | _under("conditioner.embedders.1.model.", open_clip_state(parts["text_encoder_2"]))

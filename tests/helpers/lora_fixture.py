"""Tiny SD1.5 and SDXL pipelines, LoRA files with the public keys, and what they must do, stated without any library.

The keys are spelled out from the formats' definitions: diffusers' `save_lora_weights` of 2023 and of today, PEFT's
`save_pretrained`, kohya-ss/sd-scripts `networks/lora.py` and LyCORIS.
"""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

Parts = dict[str, nn.Module]
Outputs = dict[str, Tensor]
IDS = torch.tensor([[90, 5, 17, 42, 3, 91]])


def clip_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=32, intermediate_size=40, num_attention_heads=4, num_hidden_layers=2, projection_dim=24,
        vocab_size=92, max_position_embeddings=8, eos_token_id=91, bos_token_id=90, pad_token_id=91,
    )  # fmt: skip


def sd15() -> StableDiffusionPipeline:
    """UNet of convolutions as projections, three levels as the full one has attention on."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=2, norm_num_groups=8, attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=None, text_encoder=CLIPTextModel(clip_config()).eval(), tokenizer=None, unet=unet.eval(), scheduler=None,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> StableDiffusionXLPipeline:
    """SDXL's blocks and depth of blocks, so that its public keys name the same layers."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32, 32), layers_per_block=2, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2), attention_head_dim=(2, 4, 4), cross_attention_dim=64,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=72,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=None, text_encoder=CLIPTextModel(clip_config()).eval(), tokenizer=None, tokenizer_2=None, scheduler=None,
        text_encoder_2=CLIPTextModelWithProjection(clip_config()).eval(), unet=unet.eval(), add_watermarker=False,
    )  # fmt: skip


def parts(pipe: Any) -> Parts:
    found = {name: getattr(pipe, name, None) for name in ("unet", "text_encoder", "text_encoder_2")}
    return {name: module for name, module in found.items() if module is not None}


@torch.no_grad()
def outputs(models: Parts) -> Outputs:
    """What each model makes of fixed random input."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(models["unet"].parameters()).dtype
    latent, text = (torch.randn(s, generator=generator).to(dtype) for s in ((2, 4, 8, 8), (2, 6, 32)))
    added = None
    if "text_encoder_2" in models:
        text = torch.cat([text, text], dim=-1)
        added = {"text_embeds": text[:, 0, :24], "time_ids": torch.tensor([[64, 64, 0, 0, 64, 64]] * 2)}
    found = {"unet": models["unet"](latent, 500, text, added_cond_kwargs=added).sample}
    found["text_encoder"] = models["text_encoder"](IDS).last_hidden_state
    if "text_encoder_2" in models:
        found["text_encoder_2"] = models["text_encoder_2"](IDS).text_embeds
    return found


def bits(models: Parts) -> dict[str, Tensor]:
    """Copies of all base weights, by their names without any wrapper."""
    return {
        f"{part}.{key.replace('.base_layer', '')}": tensor.clone()
        for part, model in models.items()
        for key, tensor in model.state_dict().items()
        if ".lora_" not in key
    }


@dataclass(frozen=True)
class Pair:
    """One layer in a file: keys, the layer it must change, and random values."""

    keys: dict[str, str]  # down, up, alpha, magnitude → key
    layer: str  # component and module
    down: Tensor
    up: Tensor
    alpha: float | None = None
    magnitude: Tensor | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        tensors = {"down": self.down, "up": self.up, "magnitude": self.magnitude}
        if self.alpha is not None:
            tensors["alpha"] = torch.tensor(self.alpha)
        return {self.keys[part]: tensor for part, tensor in tensors.items() if tensor is not None}

    @property
    def delta(self) -> Tensor:
        """alpha / rank · up · down, in the layer's shape."""
        rank = len(self.down)
        product = self.up.reshape(-1, rank) @ self.down.reshape(rank, -1)
        scale = 1.0 if self.alpha is None else self.alpha / rank
        return scale * product.reshape(len(self.up), *self.down.shape[1:])


def find(models: Parts, layer: str) -> Any:
    """A module by component and name, with or without transformers' `text_model.`."""
    part, _, name = layer.partition(".")
    modules = dict(models[part].named_modules())
    return modules.get(name) or modules.get(f"text_model.{name}") or modules[name.removeprefix("text_model.")]


def pair(pipe: Any, layer: str, keys: dict[str, str], rank: int = 4, alpha: float | None = None) -> Pair:
    """Random values for a layer, of a size that shows in the output."""
    weight = find(parts(pipe), layer).weight
    down = torch.randn(rank, *weight.shape[1:]) / weight[0].numel() ** 0.5
    up = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2)) / rank**0.5
    return Pair(keys, layer, down, up, alpha)


def merged(pipe: Any, *loras: tuple[float, list[Pair]]) -> Parts:
    """The models with `W + weight · alpha / rank · up · down` written into copies of their weights."""
    models = copy.deepcopy(parts(pipe))
    for weight, pairs in loras:
        for one in pairs:
            find(models, one.layer).weight.data += weight * one.delta
    return models


def write(path: Path, pairs: list[Pair], metadata: dict[str, str] | None = None) -> Path:
    state = {key: tensor.contiguous() for one in pairs for key, tensor in one.state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path, metadata=metadata)
    else:
        torch.save(state, path)
    return path


def endings(stem: str, down: str, up: str) -> dict[str, str]:
    return {"down": f"{stem}{down}", "up": f"{stem}{up}", "alpha": f"{stem}.alpha", "magnitude": f"{stem}.dora_scale"}


BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
TEXT = "text_model.encoder.layers.1"
SD15_LAYERS = [
    f"unet.{BLOCK}.attn1.to_q", f"unet.{BLOCK}.attn2.to_k", f"unet.{BLOCK}.attn2.to_out.0",
    f"unet.{BLOCK}.ff.net.0.proj", "unet.up_blocks.1.attentions.2.proj_in", "unet.mid_block.resnets.1.conv2",
    f"text_encoder.{TEXT}.self_attn.q_proj", f"text_encoder.{TEXT}.mlp.fc1",
]  # fmt: skip


def diffusers_today(pipe: Any) -> list[Pair]:
    return [pair(pipe, layer, endings(layer, ".lora_A.weight", ".lora_B.weight")) for layer in SD15_LAYERS]


def diffusers_2023(pipe: Any) -> list[Pair]:
    """`.lora.down` in the UNet, `lora_linear_layer` in the text encoder."""
    inner = {True: ".lora", False: ".lora_linear_layer"}
    return [
        pair(pipe, layer, endings(f"{layer}{inner[layer.startswith('unet')]}", ".down.weight", ".up.weight"))
        for layer in SD15_LAYERS
    ]


def diffusers_first(pipe: Any) -> list[Pair]:
    """Attention processors' own layers; the text encoder's were named as the UNet's."""
    spelled = {
        f"unet.{BLOCK}.attn1.processor.to_q_lora": f"unet.{BLOCK}.attn1.to_q",
        f"unet.{BLOCK}.attn2.processor.to_v_lora": f"unet.{BLOCK}.attn2.to_v",
        f"unet.{BLOCK}.attn2.processor.to_out_lora": f"unet.{BLOCK}.attn2.to_out.0",
        f"text_encoder.{TEXT}.self_attn.to_k_lora": f"text_encoder.{TEXT}.self_attn.k_proj",
        f"text_encoder.{TEXT}.self_attn.to_out_lora": f"text_encoder.{TEXT}.self_attn.out_proj",
    }
    return [pair(pipe, layer, endings(stem, ".down.weight", ".up.weight")) for stem, layer in spelled.items()]


def diffusers_unprefixed(pipe: Any) -> list[Pair]:
    """The very first files hold the UNet's processors alone."""
    stem = f"{BLOCK}.attn1.processor.to_out_lora"
    return [pair(pipe, f"unet.{BLOCK}.attn1.to_out.0", endings(stem, ".down.weight", ".up.weight"))]


def peft_unet(pipe: Any) -> list[Pair]:
    layers = [layer for layer in SD15_LAYERS if layer.startswith("unet.")]
    stems = {f"base_model.model.{layer.removeprefix('unet.')}": layer for layer in layers}
    return [pair(pipe, layer, endings(stem, ".lora_A.weight", ".lora_B.weight")) for stem, layer in stems.items()]


def peft_text(pipe: Any) -> list[Pair]:
    stem = f"base_model.model.{TEXT}.mlp.fc2"
    return [pair(pipe, f"text_encoder.{TEXT}.mlp.fc2", endings(stem, ".lora_A.weight", ".lora_B.weight"))]


def _kohya(pipe: Any, spelled: dict[str, str]) -> list[Pair]:
    """Ranks of 3, 4 and 5 and alphas of 1 and 2.5, as files of resized and mixed layers have them."""
    return [
        pair(pipe, layer, endings(stem, ".lora_down.weight", ".lora_up.weight"), 3 + i % 3, (1.0, 2.5)[i % 2])
        for i, (stem, layer) in enumerate(spelled.items())
    ]


def kohya_sd15(pipe: Any) -> list[Pair]:
    block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"
    return _kohya(pipe, {
        f"{block}_attn1_to_q": f"unet.{BLOCK}.attn1.to_q",
        f"{block}_attn2_to_v": f"unet.{BLOCK}.attn2.to_v",
        f"{block}_attn2_to_out_0": f"unet.{BLOCK}.attn2.to_out.0",
        f"{block}_ff_net_0_proj": f"unet.{BLOCK}.ff.net.0.proj",
        f"{block}_ff_net_2": f"unet.{BLOCK}.ff.net.2",
        "lora_unet_mid_block_attentions_0_proj_out": "unet.mid_block.attentions.0.proj_out",
        "lora_unet_down_blocks_0_resnets_1_conv1": "unet.down_blocks.0.resnets.1.conv1",
        "lora_unet_down_blocks_1_resnets_0_conv_shortcut": "unet.down_blocks.1.resnets.0.conv_shortcut",
        "lora_unet_down_blocks_0_downsamplers_0_conv": "unet.down_blocks.0.downsamplers.0.conv",
        "lora_unet_up_blocks_0_resnets_2_time_emb_proj": "unet.up_blocks.0.resnets.2.time_emb_proj",
        "lora_unet_time_embedding_linear_1": "unet.time_embedding.linear_1",
        "lora_unet_conv_in": "unet.conv_in",
        "lora_te_text_model_encoder_layers_0_self_attn_out_proj": "text_encoder.encoder.layers.0.self_attn.out_proj",
        "lora_te_text_model_encoder_layers_1_mlp_fc1": "text_encoder.encoder.layers.1.mlp.fc1",
    })  # fmt: skip


def kohya_sdxl(pipe: Any) -> list[Pair]:
    return _kohya(pipe, {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q":
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "lora_unet_input_blocks_8_1_transformer_blocks_1_attn2_to_out_0":
            "unet.down_blocks.2.attentions.1.transformer_blocks.1.attn2.to_out.0",
        "lora_unet_middle_block_1_transformer_blocks_1_ff_net_2":
            "unet.mid_block.attentions.0.transformer_blocks.1.ff.net.2",
        "lora_unet_output_blocks_2_1_proj_in": "unet.up_blocks.0.attentions.2.proj_in",
        "lora_unet_output_blocks_3_1_transformer_blocks_0_ff_net_0_proj":
            "unet.up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj",
        "lora_unet_input_blocks_0_0": "unet.conv_in",
        "lora_unet_input_blocks_1_0_in_layers_2": "unet.down_blocks.0.resnets.0.conv1",
        "lora_unet_input_blocks_3_0_op": "unet.down_blocks.0.downsamplers.0.conv",
        "lora_unet_input_blocks_4_0_skip_connection": "unet.down_blocks.1.resnets.0.conv_shortcut",
        "lora_unet_middle_block_0_emb_layers_1": "unet.mid_block.resnets.0.time_emb_proj",
        "lora_unet_middle_block_2_out_layers_3": "unet.mid_block.resnets.1.conv2",
        "lora_unet_output_blocks_2_2_conv": "unet.up_blocks.0.upsamplers.0.conv",
        "lora_unet_output_blocks_8_0_in_layers_2": "unet.up_blocks.2.resnets.2.conv1",
        "lora_unet_time_embed_2": "unet.time_embedding.linear_2",
        "lora_unet_label_emb_0_0": "unet.add_embedding.linear_1",
        "lora_unet_out_2": "unet.conv_out",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": "text_encoder.encoder.layers.0.self_attn.q_proj",
        "lora_te2_text_model_encoder_layers_1_mlp_fc2": "text_encoder_2.text_model.encoder.layers.1.mlp.fc2",
        "lora_te2_text_projection": "text_encoder_2.text_projection",
    })  # fmt: skip


ATTENTION = ("attn1_to_q", "attn1_to_k", "attn1_to_v", "attn1_to_out_0", "attn2_to_q", "attn2_to_k", "attn2_to_v",
             "attn2_to_out_0", "ff_net_0_proj", "ff_net_2")  # fmt: skip


def transformers_of(blocks: dict[str, int]) -> list[str]:
    inner = [
        f"{b}_transformer_blocks_{d}_{name}" for b, depth in blocks.items() for d in range(depth) for name in ATTENTION
    ]
    return inner + [f"{block}_{name}" for block in blocks for name in ("proj_in", "proj_out")]


def full_kohya_keys(family: str) -> list[str]:
    """Every layer of sd-scripts' "attn-mlp" LoRA of a UNet: 192 of SD1.5, 722 of SDXL."""
    if family == "sdxl":
        depths = {4: 2, 5: 2, 7: 10, 8: 10}
        blocks = {f"lora_unet_input_blocks_{n}_1": depth for n, depth in depths.items()}
        blocks |= {f"lora_unet_output_blocks_{n}_1": 10 if n < 3 else 2 for n in range(6)}
        return transformers_of(blocks | {"lora_unet_middle_block_1": 10})
    blocks = {f"lora_unet_down_blocks_{i}_attentions_{j}": 1 for i in range(3) for j in range(2)}
    blocks |= {f"lora_unet_up_blocks_{i}_attentions_{j}": 1 for i in range(1, 4) for j in range(3)}
    return transformers_of(blocks | {"lora_unet_mid_block_attentions_0": 1})


RESNET = ("in_layers_2", "out_layers_3", "emb_layers_1")
SDXL_CONVOLUTIONS = [
    *[f"lora_unet_input_blocks_{n}_0_{name}" for n in (1, 2, 4, 5, 7, 8) for name in RESNET],
    *[f"lora_unet_output_blocks_{n}_0_{name}" for n in range(9) for name in (*RESNET, "skip_connection")],
    *[f"lora_unet_middle_block_{n}_{name}" for n in (0, 2) for name in RESNET],
    "lora_unet_input_blocks_3_0_op", "lora_unet_input_blocks_6_0_op", "lora_unet_output_blocks_2_2_conv",
    "lora_unet_output_blocks_5_2_conv", "lora_unet_input_blocks_4_0_skip_connection",
    "lora_unet_input_blocks_7_0_skip_connection", "lora_unet_input_blocks_0_0", "lora_unet_out_2",
    "lora_unet_time_embed_0", "lora_unet_time_embed_2", "lora_unet_label_emb_0_0", "lora_unet_label_emb_0_2",
]  # fmt: skip

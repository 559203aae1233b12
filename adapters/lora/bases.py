"""The layers of the families' base models, without their weights: enough to tell what a LoRA file names.

Sizes are those of the published configurations of `stable-diffusion-v1-5` and `stable-diffusion-xl-base-1.0`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from twinset.adapters.lora.files import Layers, LoraFile
from twinset.adapters.lora.install import fitted_layers
from twinset.adapters.weights import LayoutError
from twinset.models.hub.profiles import BUNDLED

FAMILIES = ("sd15", "sdxl", "studio")
_SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@cache
def base_models(family: str) -> dict[str, nn.Module]:
    """UNet and text encoders of a family on the meta device.

    Args:
        family: "sd15", "sdxl" or "studio".

    Raises:
        ValueError: the family is unknown.
    """
    if family not in FAMILIES:
        raise ValueError(f"family {family!r} is unknown; choose one of {', '.join(FAMILIES)}")
    with torch.device("meta"):
        if family == "studio":
            unet = json.loads((BUNDLED / "unet" / "config.json").read_text(encoding="utf-8"))
            text = CLIPTextConfig.from_pretrained(BUNDLED / "text_encoder")
            return {"unet": UNet2DConditionModel.from_config(unet), "text_encoder": CLIPTextModel(text)}  # type: ignore[dict-item]
        first = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
        if family == "sd15":
            unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
            return {"unet": unet, "text_encoder": first}
        large = CLIPTextConfig(
            hidden_size=1280,
            intermediate_size=5120,
            num_attention_heads=20,
            num_hidden_layers=32,
            projection_dim=1280,
            hidden_act="gelu",
        )
        second = CLIPTextModelWithProjection(large)
        return {"unet": UNet2DConditionModel(**_SDXL), "text_encoder": first, "text_encoder_2": second}


def lora_family(lora: LoraFile) -> str:
    """The family whose layers a file names, all of them and in their shapes.

    Raises:
        LayoutError: it fits none.
    """
    for family in FAMILIES:
        try:
            named_layers(lora, base_models(family))
        except LayoutError:
            continue
        return family
    raise LayoutError(f"{lora.path} fits none of {', '.join(FAMILIES)}; give a LoRA of one of these families")


def named_layers(lora: LoraFile, models: dict[str, nn.Module]) -> dict[str, Layers]:
    """Component → module name → addition in float32, under the names that diffusers and transformers use here.

    Args:
        lora: from `read_lora`.
        models: by component; on the meta device or not.

    Raises:
        LayoutError: a layer is not there or has another shape.
    """
    found: dict[str, Layers] = {}
    for component, layers in lora.components.items():
        if component not in models:
            raise LayoutError(f"{lora.path} has layers for {component}, which this family lacks; give another LoRA")
        found[component] = fitted_layers(layers, models[component], component, lora.path)
    return found

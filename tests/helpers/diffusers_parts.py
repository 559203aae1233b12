"""Small random parts of both families, as diffusers' own tests make them, and arguments for a call."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.helpers.small_tokenizer import small_tokenizer


def _speaking(net: nn.Module) -> nn.Module:
    """Layers that start at zero get values, so that every path is heard."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return net


def _shared(unet: UNet2DConditionModel) -> dict[str, Any]:
    tokenizer = small_tokenizer()
    text = CLIPTextConfig(
        hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=4, projection_dim=32,
        vocab_size=49408, eos_token_id=49407, bos_token_id=49406, pad_token_id=49407,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4,
    )  # fmt: skip
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    return {
        "unet": unet,
        "controlnet": _speaking(net),
        "vae": vae,
        "text_encoder": CLIPTextModel(text),
        "tokenizer": tokenizer,
        "feature_extractor": None,
        "image_encoder": None,
    }


def components() -> dict[str, Any]:
    """SD1.5's."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(4, 8), layers_per_block=2, sample_size=32, cross_attention_dim=32, norm_num_groups=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    return _shared(unet) | {"scheduler": scheduler, "safety_checker": None}


def components_xl() -> dict[str, Any]:
    """SDXL's."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, sample_size=32, cross_attention_dim=64, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
    )  # fmt: skip
    parts = _shared(unet)
    second = CLIPTextModelWithProjection(parts["text_encoder"].config)
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1)
    return parts | {"text_encoder_2": second, "tokenizer_2": parts["tokenizer"], "scheduler": scheduler}


def inputs(device: Any = "cpu", seed: int = 0) -> dict[str, Any]:
    """Arguments of a short call; the ControlNet sees noise."""
    generator = torch.Generator(device=device).manual_seed(seed)
    image = torch.rand((1, 3, 64, 64), generator=generator, device=device)
    return {
        "prompt": "A painting of a squirrel eating a burger",
        "image": image,
        "generator": generator,
        "num_inference_steps": 2,
        "guidance_scale": 6.0,
        "output_type": "np",
    }

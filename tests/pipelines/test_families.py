"""The SDXL family, and plain folders of SD1.5: the same pass on diffusers' own parts."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.helpers.small_tokenizer import small_tokenizer
from tests.helpers.tiny import dressed, seeded, tiny_pipeline
from twinset.adapters.condition import FACE_LABELS, Condition
from twinset.adapters.joint_attention import SiteProjections, site_names
from twinset.figure.keypoints import openpose_skeleton, stick_of
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline

PROMPT = "short hair, on the beach"


def tiny_xl() -> dict[str, Any]:
    """SDXL's parts at a size that tests can run, with random weights; one pose ControlNet."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=32, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
    )  # fmt: skip
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 16))
    for parameter in controlnet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    tokenizer = small_tokenizer()
    text = CLIPTextConfig(
        hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=3, projection_dim=32,
        vocab_size=49408, eos_token_id=49407, bos_token_id=49406, pad_token_id=49407,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4,
    )  # fmt: skip
    parts = {
        "unet": unet, "controlnet": controlnet, "vae": vae, "text_encoder": CLIPTextModel(text),
        "text_encoder_2": CLIPTextModelWithProjection(text), "tokenizer": tokenizer, "tokenizer_2": tokenizer,
        "scheduler": EulerDiscreteScheduler(timestep_spacing="leading", beta_schedule="scaled_linear"),
    }  # fmt: skip
    return {k: v.eval() if isinstance(v, torch.nn.Module) else v for k, v in parts.items()}


def face_condition(unet: UNet2DConditionModel, weight: float = 1.0) -> Condition:
    """Random tokens in the layout's face, as an adapter from a file would give."""
    torch.manual_seed(2)
    sites = SiteProjections(site_names(unet)[1], 64).requires_grad_(False)
    for projection in sites.parameters():
        torch.nn.init.normal_(projection, std=0.5)
    return Condition("identity", torch.randn(1, 4, 64), dressed().region(FACE_LABELS), sites, weight=weight)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("negative", ["", "blurred"])
def test_without_conditions_sdxl_equals_diffusers(guidance: float, negative: str) -> None:
    """The same latents as StableDiffusionXLControlNetPipeline, to 1e-4 of their size (sums in another order)."""
    parts, layout = tiny_xl(), dressed()
    start = torch.randn(1, 4, 32, 24, generator=torch.Generator().manual_seed(3))
    skeleton = (
        torch.tensor(openpose_skeleton(layout.keypoints, (192, 256), stick_of((192, 256), True)))
        .permute(2, 0, 1)[None]
        .float()
        / 255
    )
    plain = StableDiffusionXLControlNetPipeline(**parts, add_watermarker=False)
    theirs: Any = plain(
        PROMPT, image=skeleton, negative_prompt=negative or None, latents=start, num_inference_steps=3, height=256,
        width=192, guidance_scale=guidance, controlnet_conditioning_scale=0.7, output_type="latent", return_dict=False,
    )[0]  # fmt: skip
    ours = JointXLPipeline(**parts, add_watermarker=False)(
        PROMPT, layout=layout, negative_prompt=negative or None, latents=start, num_inference_steps=3,
        guidance_scale=guidance, controlnet_conditioning_scale=0.7,
        conditions=[face_condition(parts["unet"], weight=0.0)], output_type="latent",
    ).images  # fmt: skip
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_a_condition_changes_its_region_of_an_sdxl_picture() -> None:
    pipe, layout = JointXLPipeline(**tiny_xl(), add_watermarker=False), dressed()

    def latents(*conditions: Condition) -> torch.Tensor:
        images = pipe(
            PROMPT,
            layout=layout,
            conditions=conditions,
            generator=seeded(0),
            num_inference_steps=1,
            guidance_scale=1.0,
            output_type="latent",
        ).images
        assert isinstance(images, torch.Tensor)
        return images

    face = face_condition(pipe.unet)
    change = (latents(face) - latents()).abs().mean(1)[0]
    inside = torch.nn.functional.adaptive_avg_pool2d(face.region, (32, 24))[0, 0] > 0.9
    assert change[inside].mean() > 2 * change[~inside].mean()


def test_sdxl_makes_pictures_and_survives_saving(tmp_path: Path) -> None:
    pipe = JointXLPipeline(**tiny_xl(), add_watermarker=False)
    pipe.save_pretrained(tmp_path)
    again = JointXLPipeline.from_pretrained(tmp_path, add_watermarker=False)
    ours, theirs = (
        np.asarray(p(PROMPT, layout=dressed(), num_inference_steps=2, generator=seeded(4)).images[0])
        for p in (pipe, again)
    )
    assert ours.shape == (256, 192, 3) and ours.std() > 1
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # memory layout differs, so not to the last bit


def test_sd15_without_adapters_of_its_own(tmp_path: Path) -> None:
    """A folder that diffusers' own pipeline saved: no adapters, no face encoder, ControlNets given beside it."""
    own = tiny_pipeline()
    plain = JointPipeline(
        vae=own.vae, text_encoder=own.text_encoder, tokenizer=own.tokenizer, unet=own.unet,
        controlnet=own.controlnet.nets[0], scheduler=own.scheduler,
    )  # fmt: skip
    plain.save_pretrained(tmp_path)
    again = JointPipeline.from_pretrained(tmp_path)
    assert type(again) is JointPipeline and not hasattr(again, "identity_adapter")
    assert again(PROMPT, layout=dressed(), num_inference_steps=1).images[0].size == (192, 256)


def test_sd15_without_any_controlnet(tmp_path: Path) -> None:
    own = tiny_pipeline()
    StableDiffusionPipeline(
        vae=own.vae, text_encoder=own.text_encoder, tokenizer=own.tokenizer, unet=own.unet, scheduler=own.scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(tmp_path)  # fmt: skip
    pipe = JointPipeline.from_pretrained(tmp_path)
    assert pipe(PROMPT, layout=dressed(), num_inference_steps=1).images[0].size == (192, 256)

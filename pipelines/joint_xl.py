"""Stable Diffusion XL's family: the same pass under its two text encoders and its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    MultiControlNetModel,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from twinset.adapters.condition import Words
from twinset.adapters.joint_attention import JointAttention

from .joint_pass import JointPass, several


class JointXLPipeline(JointPass, StableDiffusionXLControlNetPipeline):
    """The same pass for the SDXL family, on diffusers' SDXL ControlNet pipeline.

    With no conditions a pass equals `StableDiffusionXLControlNetPipeline` on the same weights.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        tokenizer_2: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel | Sequence[ControlNetModel] | MultiControlNetModel,
        scheduler: Any,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
        feature_extractor: Any = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
    ):
        super().__init__(
            vae,
            text_encoder,
            text_encoder_2,
            tokenizer,
            tokenizer_2,
            unet,
            cast("Any", several(controlnet)),
            scheduler,
            force_zeros_for_empty_prompt,
            add_watermarker,
            feature_extractor,
            cast("Any", image_encoder),
        )
        self.attention = JointAttention(unet).inject()

    def words(self, text: str, size: tuple[int, int]) -> Words:
        """States of both text encoders side by side (1, 77, X), the pooled text of the second, and the sizes."""
        states, _, pooled, _ = self.encode_prompt(
            text, device=self._execution_device, do_classifier_free_guidance=False
        )
        width = self.text_encoder_2.config.projection_dim
        times = self._get_add_time_ids(size, (0, 0), size, states.dtype, text_encoder_projection_dim=width)
        return Words(states, {"text_embeds": pooled, "time_ids": times.to(states.device)})

    def no_words(self, size: tuple[int, int]) -> Words:
        """Zeros where the model was trained so (`force_zeros_for_empty_prompt`), else the empty text."""
        empty = self.words("", size)
        if not self.config["force_zeros_for_empty_prompt"]:
            return empty
        pooled = torch.zeros_like(empty.added["text_embeds"])
        return Words(torch.zeros_like(empty.states), {**empty.added, "text_embeds": pooled})

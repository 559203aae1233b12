"""Stable Diffusion XL's family: the same pass under its two text encoders and its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    MultiControlNetModel,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from twinset.adapters.condition import TextConditioning
from twinset.pipelines.joint_pass import JointPass, Text, several


class JointXLPipeline(JointPass, StableDiffusionXLControlNetPipeline):
    """The same pass for the SDXL family, on diffusers' SDXL ControlNet pipeline.

    With no conditions a pass equals `StableDiffusionXLControlNetPipeline` on the same weights.
    """

    thick_skeleton = True
    _callback_tensor_inputs: ClassVar[list[str]] = [
        *JointPass._callback_tensor_inputs,
        "add_text_embeds",
        "add_time_ids",
    ]
    _optional_components: ClassVar[list[str]] = [
        *StableDiffusionXLControlNetPipeline._optional_components,
        "controlnet",
    ]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        tokenizer_2: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel | Sequence[ControlNetModel] | MultiControlNetModel | None,
        scheduler: Any,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
        feature_extractor: Any = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        default_steps: int = 50,
        default_guidance: float = 5.0,
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
        self._ready(default_steps, default_guidance)

    def encode_texts(
        self,
        prompt: Text,
        negative_prompt: Text,
        each: int,
        size: tuple[int, int],
        *,
        prompt_2: Text = None,
        original_size: tuple[int, int] | None = None,
        crops_coords_top_left: tuple[int, int] = (0, 0),
        target_size: tuple[int, int] | None = None,
        **given: Any,
    ) -> tuple[TextConditioning, TextConditioning]:
        """States of both text encoders side by side (B · each, 77, X), the pooled text of the second, and the sizes.

        Without a negative prompt zeros stand for it where the model was trained so (`force_zeros_for_empty_prompt`).
        """
        encode: Any = self.encode_prompt
        states, negative, pooled, negative_pooled = encode(
            prompt, prompt_2, self._execution_device, each, True, negative_prompt, **given
        )
        width = pooled.shape[-1] if self.text_encoder_2 is None else self.text_encoder_2.config.projection_dim
        sizes = (original_size or size, crops_coords_top_left, target_size or size)
        times = self._get_add_time_ids(*sizes, states.dtype, text_encoder_projection_dim=width)
        times = times.to(states.device).expand(len(states), -1)
        ours, theirs = ({"text_embeds": x, "time_ids": times} for x in (pooled, negative_pooled))
        return TextConditioning(states, ours), TextConditioning(negative, theirs)

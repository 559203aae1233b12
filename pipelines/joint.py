"""Stable Diffusion 1.5's family: face and outfit in one denoising pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    MultiControlNetModel,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from twinset.adapters.condition import Layout, TextConditioning
from twinset.models.clip import plain_forms
from twinset.pipelines.joint_pass import JointPass, Text, several

__all__ = ["JointPipeline", "Layout"]


class JointPipeline(JointPass, StableDiffusionControlNetPipeline):
    """Face and outfit in one denoising pass, on diffusers' ControlNet pipeline, whose components it has.

    With no conditions (or all weights 0) a pass equals `StableDiffusionControlNetPipeline` on the same weights.
    `from_pretrained("studio")` gives the bundled model's `StudioPipeline`, which is one of these.
    """

    _optional_components: ClassVar[list[str]] = [*StableDiffusionControlNetPipeline._optional_components, "controlnet"]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel | Sequence[ControlNetModel] | MultiControlNetModel | None,
        scheduler: Any,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        requires_safety_checker: bool = False,
        default_steps: int = 50,
        default_guidance: float = 7.5,
    ):
        super().__init__(
            vae,
            text_encoder,
            tokenizer,
            unet,
            cast("Any", several(controlnet)),
            scheduler,
            safety_checker,
            feature_extractor,
            cast("Any", image_encoder),
            requires_safety_checker,
        )
        self._ready(default_steps, default_guidance)

    @classmethod
    def class_for(cls, index: dict[str, Any]) -> type[Self]:
        """`StudioPipeline` for a folder with its adapters, whatever class its index names; older ones name this."""
        from twinset.pipelines.studio import ADAPTERS, StudioPipeline  # which is made of this class

        own = any(index.get(name, [None])[0] for name in ADAPTERS)
        return cast("type[Self]", StudioPipeline) if own and cls is JointPipeline else cls

    def encode_texts(
        self, prompt: Text, negative_prompt: Text, each: int, size: tuple[int, int], **given: Any
    ) -> tuple[TextConditioning, TextConditioning]:
        """Hidden states of the texts, (B · each, 77, X)."""
        encode: Any = self.encode_prompt
        states, negative = encode(prompt, self._execution_device, each, True, negative_prompt, **given)
        return TextConditioning(states), TextConditioning(negative)

    def maybe_convert_prompt(self, prompt: Any, tokenizer: Any) -> Any:
        """Full-width forms folded to plain ones (，→ ,): bytes are dear in Chinese; then textual inversions by name."""
        return super().maybe_convert_prompt(plain_forms(prompt), tokenizer)

    def _pictures(self, latents: Tensor, output_type: str) -> tuple[Any, list[bool] | None]:
        if self.safety_checker is None:
            return super()._pictures(latents, output_type)
        pixels, _ = super()._pictures(latents, "pt")
        checker: Any = self.run_safety_checker
        checked, flags = checker(pixels * 2 - 1, self._execution_device, pixels.dtype)
        return self.image_processor.postprocess(checked, output_type, [not flag for flag in flags]), flags

"""The pass that all families share: words, layout and conditions are computed once, then one loop obeys them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, MultiControlNetModel
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from twinset.adapters.condition import Condition, Layout, TextConditioning
from twinset.adapters.garment import reference_features
from twinset.adapters.joint_attention import JointAttention
from twinset.models.region_controlnet import JointControlNets
from twinset.models.vae import decode_latents, encode_picture
from twinset.pipelines.denoising.callbacks import AfterStep, Callback
from twinset.pipelines.denoising.condition_cache import ConditionCache
from twinset.pipelines.denoising.controlled import ControlNetsMixin, NetPictures, load_offloaded
from twinset.pipelines.denoising.denoise import denoise
from twinset.pipelines.denoising.economy import EXACT, Economy
from twinset.pipelines.denoising.guidance import Guidance
from twinset.pipelines.denoising.kept_photo import PreservedRegion, photo_condition
from twinset.pipelines.denoising.locks import locked
from twinset.pipelines.denoising.schedule import noisy_start, set_schedule
from twinset.pipelines.loading.pretrained import PretrainedMixin
from twinset.pipelines.loading.public_adapters import PublicAdapterMixin

Text = str | list[str] | None
"""One prompt, several, or none (embeddings are given)."""


class JointPass(ControlNetsMixin, PublicAdapterMixin, PretrainedMixin):
    """What both families share."""

    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds", "negative_prompt_embeds", "image"]

    vae: AutoencoderKL
    scheduler: Any
    image_processor: Any
    config: Any
    device: torch.device
    name_or_path: str
    attention: JointAttention
    backend: Any = None  # the `twinset.pipelines.families.backend.FamilyBackend` of a full-size family
    interrupt: bool
    progress_bar: Any
    condition_cache: ConditionCache
    register_to_config: Callable[..., None]
    maybe_free_model_hooks: Callable[[], None]
    prepare_ip_adapter_image_embeds: Callable[..., list[Tensor]]
    prepare_extra_step_kwargs: Callable[..., dict[str, Any]]

    def _ready(self, default_steps: int, default_guidance: float) -> None:
        """The end of both constructors: what is neither a file nor a module of the pipeline."""
        self.register_to_config(default_steps=default_steps, default_guidance=default_guidance)
        self.attention = JointAttention(self.unet)
        self.adapters = {}
        self.condition_cache = ConditionCache()

    def encode_texts(
        self, prompt: Text, negative_prompt: Text, each: int, size: tuple[int, int], **given: Any
    ) -> tuple[TextConditioning, TextConditioning]:
        """Hidden states of prompts and negative prompts, by the family's text encoders.

        Args:
            prompt, negative_prompt: one or several texts; None with embeddings in `given`.
            each: pictures, so rows, per prompt.
            size: (height, width) of the pictures in pixels.
            given: the family's further arguments for its text encoders.
        """
        raise NotImplementedError

    @locked
    @torch.no_grad()
    def __call__(
        self,
        # what it shows
        prompt: Text = None,
        image: Any = None,
        *,
        layout: Layout | None = None,
        conditions: Sequence[Condition] = (),
        negative_prompt: Text = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        ip_adapter_image: Any = None,
        ip_adapter_image_embeds: list[Tensor] | None = None,
        # size, number and noise
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        init_image: np.ndarray | None = None,
        strength: float = 1.0,
        # how strictly it obeys
        guidance_scale: float | Guidance | None = None,
        controlnet_conditioning_scale: float | Sequence[float | Sequence[float]] = 1.0,
        control_guidance_start: float | Sequence[float] = 0.0,
        control_guidance_end: float | Sequence[float] = 1.0,
        controlnet_reads: Sequence[Condition | None] = (),
        # how it goes
        num_inference_steps: int | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
        eta: float = 0.0,
        economy: Economy = EXACT,
        cross_attention_kwargs: dict[str, Any] | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        output_type: str = "pil",
        return_dict: bool = True,
        **text: Any,
    ) -> Any:
        """Generate pictures that obey words, layout and conditions together, in one denoising pass.

        Arguments that diffusers' ControlNet pipelines have too mean the same here; those of its SDXL pipeline for
        texts and sizes may be given as `text`.

        Args:
            image: what the ControlNets see, one entry per net; drawn from `layout` where it is not given.
            layout: pose and parsing map; the pictures have its size.
            conditions: identities, garments, and a photo (`photo`) of which a part stays.
            guidance_scale: one weight, or a `Guidance` with weights for text, identity and garment; the model's own
                default without it.
            controlnet_conditioning_scale: one for all ControlNets, or one for each; of a Union net one for each role.
            controlnet_reads: for each ControlNet a condition whose tokens it reads in place of the words, or None;
                InstantID's IdentityNet reads the face.
            num_inference_steps: denoising steps; the model's own default without it.
            init_image: uint8 (H, W, 3), a picture to go on from; its noise is that of `strength`.
            strength: share of the schedule that is run, as in diffusers' image-to-image pipelines: 1 starts from noise
                alone, 0.4 keeps what is large.
            generator: one for all, or one per picture; with its own a picture is the same alone or among others.
            economy: what may be reused although the picture comes out a little different.
            callback_on_step_end: may set `_interrupt` and `_guidance_scale` of the pipeline, and give back latents and
                words to go on with.

        Returns:
            `StableDiffusionPipelineOutput` (`images`, `nsfw_content_detected`), or both as a tuple.

        Raises:
            ValueError: arguments that don't fit together.
            FloatingPointError: the latents are not finite.
        """
        self._interrupt, self._cross_attention_kwargs = False, cross_attention_kwargs
        asked = self.config["default_guidance"] if guidance_scale is None else guidance_scale
        self._asked = asked if isinstance(asked, Guidance) else None
        self._guidance_scale = asked.text if isinstance(asked, Guidance) else asked  # a callback may change it
        self._check(prompt, prompt_embeds, callback_on_step_end_tensor_inputs)
        if not 0 < strength <= 1 or (strength < 1 and init_image is None):
            raise ValueError(f"strength = {strength}: it must be in (0, 1], and below 1 needs an init_image")
        conditions = [c for c in conditions if isinstance(c.weight, Tensor) or c.weight]
        count = num_images_per_prompt * (1 if isinstance(prompt, str) else len(cast(Any, prompt or prompt_embeds)))
        pictures = self._pictures_for_nets(image, layout, height, width, count)
        shown = [picture for of_one_net in pictures for picture in of_one_net]
        size = self._size(pictures, layout, height, width)

        text |= {"prompt_embeds": prompt_embeds, "negative_prompt_embeds": negative_prompt_embeds}
        text |= {"lora_scale": (cross_attention_kwargs or {}).get("scale")}
        words, empty = self.encode_texts(prompt, negative_prompt, num_images_per_prompt, size, **text)
        words, empty = self._with_pictures(words, empty, ip_adapter_image, ip_adapter_image_embeds, count)
        scales = (controlnet_conditioning_scale, control_guidance_start, control_guidance_end)
        reads = controlnet_reads or [None] * len(pictures)
        controls = self._controls(pictures, reads, conditions, words, empty, scales, layout)
        steps = num_inference_steps or self.config["default_steps"]
        schedule, passed = set_schedule(self.scheduler, steps, self._execution_device, timesteps, sigmas, strength)
        self._num_timesteps = len(schedule)
        noise = (self._noise(generator, count, size) if latents is None else latents).to(words.states)
        clean = None if init_image is None else self.encode(init_image)
        kinds = sorted({c.kind for c in conditions})
        photos = [PreservedRegion.of(c, noise, schedule, self.scheduler) for c in conditions if c.kind == "photo"]
        with self._remembering(conditions, noise), self.progress_bar(total=len(schedule)) as bar:
            clean = denoise(
                *(self.unet, controls, self.attention, self.scheduler),
                *(noisy_start(self.scheduler, noise, schedule, clean), schedule),
                *(words, empty, lambda step, steps: self._guidance().at(step, steps, kinds)),
                *(photos[-1] if photos else None, passed, economy),
                {**self._unet_options(count), "cross_attention_kwargs": cross_attention_kwargs},
                self.prepare_extra_step_kwargs(generator, eta),
                AfterStep(self, bar, callback_on_step_end, callback_on_step_end_tensor_inputs, shown),
                lambda: self.interrupt,
            )
        images, flags = (clean, None) if output_type == "latent" else self._pictures(clean, output_type)
        self.maybe_free_model_hooks()
        output: Any = StableDiffusionPipelineOutput
        return output(images, flags) if return_dict else (images, flags)

    def no_text(self) -> TextConditioning:
        """The empty text, one row."""
        return self.encode_texts("", None, 1, (self.unet.config["sample_size"] * self.vae_scale_factor,) * 2)[0]

    @locked
    def reference(self, picture: np.ndarray) -> dict[str, Tensor]:
        """Features of a garment picture, uint8 (H, W, 3), at every self-attention site of the UNet at t = 0."""
        return reference_features(self.attention, self.unet, self.encode(picture), self.no_text())

    @torch.no_grad()
    def photo(self, picture: np.ndarray, redrawn: np.ndarray) -> Condition:
        """The condition "this photo, except here".

        Args:
            picture: uint8 (H, W, 3), of the layout's size.
            redrawn: bool (H, W) of the pixels that may change. The pass changes whole cells of the latent grid, and
                those next to them: `twinset.pipelines.denoising.blending` lays the other pixels over the result.
        """
        return photo_condition(self.encode(picture), redrawn)

    def encode(self, picture: np.ndarray) -> Tensor:
        """uint8 (H, W, 3) to scaled latents (1, C, H / f, W / f)."""
        return encode_picture(self.vae, self._pixels(picture))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Scaled latents (1, C, H / f, W / f) to uint8 (H, W, 3)."""
        pixels = decode_latents(self.vae, latents.to(self._execution_device, self.vae.dtype))[0].float()
        return ((pixels.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()

    def set_ip_adapter_scale(self, scale: Any) -> None:
        """As diffusers has it, during a pass too: the adapters' processors are then behind joint attention."""
        diffusers_own: Any = super()
        with self.attention.aside():
            diffusers_own.set_ip_adapter_scale(scale)

    def _check(self, prompt: Any, prompt_embeds: Tensor | None, inputs: Sequence[str]) -> None:
        if (prompt is None) == (prompt_embeds is None):
            raise ValueError(f"prompt = {prompt!r}: give either prompt or prompt_embeds")
        known = self._callback_tensor_inputs
        if set(inputs) - set(known):
            raise ValueError(f"callback_on_step_end_tensor_inputs = {list(inputs)}: choose among {', '.join(known)}")

    # Words, noise, steps, pictures

    def _with_pictures(
        self, words: TextConditioning, empty: TextConditioning, image: Any, embeds: list[Tensor] | None, count: int
    ) -> tuple[TextConditioning, TextConditioning]:
        """Image embeddings for IP-Adapters that diffusers put into the UNet."""
        if image is None and embeds is None:
            return words, empty
        guided = self._guidance().text > 1
        both = self.prepare_ip_adapter_image_embeds(image, embeds, self._execution_device, count, guided)
        halves = [x.chunk(2) if guided else (x, x) for x in both]
        absent, present = zip(*halves, strict=True)
        return TextConditioning(words.states, words.added, present), TextConditioning(empty.states, empty.added, absent)

    @contextmanager
    def _remembering(self, conditions: Sequence[Condition], latents: Tensor) -> Iterator[None]:
        """Joint attention in the UNet, with all conditions remembered, for as long as this is open."""
        with self.attention.injected():
            load_offloaded(*(getattr(self, f"{c.kind}_adapter", None) for c in conditions))
            for condition in conditions:
                self.attention.attach(condition, (latents.shape[2], latents.shape[3]))
            yield

    def _noise(self, generator: Any, count: int, size: tuple[int, int]) -> Tensor:
        """Unit noise (count, C, h, w); with CPU generators the same on every device."""
        shape = (count, self.unet.config["in_channels"], *(side // self.vae_scale_factor for side in size))
        return randn_tensor(shape, generator, self._execution_device, self.unet.dtype)

    def _guidance(self) -> Guidance:
        """As it is now: a callback may change it. Distilled UNets (LCM) take it as an input and run one branch."""
        if self.unet.config["time_cond_proj_dim"] is not None:
            return Guidance(text=1.0)
        now = Guidance.of(self._guidance_scale)
        if self._asked is None or self._guidance_scale <= 0:  # 0 is diffusers' word for "off from here"
            return now
        return replace(self._asked, text=self._guidance_scale)

    def _unet_options(self, count: int) -> dict[str, Any]:
        """The embedding of the guidance weight that distilled UNets take."""
        width = self.unet.config["time_cond_proj_dim"]
        if width is None:
            return {}
        weight = torch.tensor(Guidance.of(self._guidance_scale).text - 1).repeat(count)
        embedded = cast(Any, self).get_guidance_scale_embedding(weight, embedding_dim=width)
        return {"timestep_cond": embedded.to(self._execution_device, self.unet.dtype)}

    def _size(
        self, pictures: list[NetPictures], layout: Layout | None, height: int | None, width: int | None
    ) -> tuple[int, int]:
        """(height, width) in pixels: the layout's, the images', what is asked for, or the UNet's own."""
        if layout is not None:
            return cast("tuple[int, int]", layout.labels.shape)
        if pictures:
            return pictures[0][0].shape[2], pictures[0][0].shape[3]
        side = self.unet.config["sample_size"] * self.vae_scale_factor
        return height or side, width or side

    def _pictures(self, latents: Tensor, output_type: str) -> tuple[Any, list[bool] | None]:
        """Latents (N, C, h, w) to pictures, and what a safety checker says of each."""
        pixels = torch.cat([decode_latents(self.vae, one) for one in latents.split(1)])
        return self.image_processor.postprocess(pixels, output_type=output_type), None


def several(controlnet: ControlNetModel | Sequence[ControlNetModel] | MultiControlNetModel | None) -> Any:
    """Several ControlNets as one module that saves and loads each as the class it is."""
    return JointControlNets(list(controlnet)) if isinstance(controlnet, list | tuple) else controlnet

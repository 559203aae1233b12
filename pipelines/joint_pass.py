"""The pass that all families share: words, layout and conditions are computed once, then one loop obeys them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, MultiControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import Tensor

from twinset.adapters.condition import Condition, Layout, Words, paint
from twinset.adapters.garment import reference_features
from twinset.adapters.joint_attention import JointAttention
from twinset.models.figure.keypoints import draw_skeleton
from twinset.models.figure.labels import colourise
from twinset.models.region_controlnet import JointControlNets, Paint, RegionControlNetModel
from twinset.models.vae import decode, encode

from .denoise import Control, denoise
from .guidance import Branch, Guidance


@dataclass(frozen=True)
class JointOutput:
    """Pictures (PIL images, or latents (N, C, h, w) for `output_type="latent"`)."""

    images: list[Image.Image] | Tensor


class JointPass:
    """What both families share: words, layout and conditions are computed once, then one pass obeys them all."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    controlnet: Any  # ControlNetModel, MultiControlNetModel or None
    scheduler: Any
    image_processor: Any
    vae_scale_factor: int
    attention: JointAttention
    _execution_device: torch.device

    def words(self, text: str, size: tuple[int, int]) -> Words:
        """What the family's text encoders say of `text`, for pictures of `size` (height, width) in pixels."""
        raise NotImplementedError

    def no_words(self, size: tuple[int, int]) -> Words:
        """What stands for no text at all in the branch that guidance leads away from."""
        return self.words("", size)

    def encode(self, picture: np.ndarray) -> Tensor:
        """uint8 (H, W, 3) to scaled latents (1, C, H / f, W / f)."""
        return encode(self.vae, self._pixels(picture))

    def reference(self, picture: np.ndarray) -> dict[str, Tensor]:
        """Features of a garment picture, uint8 (H, W, 3), at every self-attention site of the UNet at t = 0."""
        self.attention.forget()
        empty = self.words("", (picture.shape[0], picture.shape[1]))
        return reference_features(self.attention, self.unet, self.encode(picture), empty)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        *,
        layout: Layout,
        conditions: Sequence[Condition] = (),
        negative_prompt: str = "",
        num_images: int = 1,
        seed: int = 0,
        steps: int = 12,
        guidance: float | Guidance = 1.5,
        pose_strength: float = 1.0,
        parsing_strength: float = 1.0,
        latents: Tensor | None = None,
        output_type: str = "pil",
        callback: Callable[[int, int], None] | None = None,
    ) -> JointOutput:
        """Generate pictures that obey words, layout and conditions together.

        Pictures are denoised one after another, so that picture i is the same bytes whether it is made alone (seed + i)
        or among others.

        Args:
            prompt, negative_prompt: the words.
            layout: pose and parsing map; the pictures have its size.
            conditions: identities and garments, from `identity` and `garment`.
            num_images: number of pictures; picture i has seed `seed + i`.
            steps: denoising steps.
            guidance: weight for all, or a `Guidance` with weights for text, identity and garment.
            pose_strength, parsing_strength: scales of the two ControlNets.
            latents: (N, C, h, w) noise in place of the seeds'.
            output_type: "pil" or "latent".
            callback: called after each step with (steps done, steps of all pictures).
        """
        guidance = guidance if isinstance(guidance, Guidance) else Guidance(text=guidance)
        conditions, size = [c for c in conditions if c.weight], layout.labels.shape
        words = self.words(prompt, size)
        empty = self.words(negative_prompt, size) if negative_prompt else self.no_words(size)
        controls = self._controls(layout, conditions, words, empty, pose_strength, parsing_strength)
        self.attention.forget()
        for condition in conditions:
            self.attention.remember(condition, self._latent_size(layout))
        latents = self._noise(seed, num_images, self._latent_size(layout)) if latents is None else latents
        done = []
        for i, noise in enumerate(latents.to(words.states).split(1)):
            done.append(
                denoise(
                    self.unet,
                    controls,
                    self.attention,
                    self.scheduler,
                    noise,
                    words,
                    empty,
                    guidance,
                    kinds=sorted({c.kind for c in conditions}),
                    steps=steps,
                    on_step=callback and (lambda k, n, _, i=i: callback(i * n + k, num_images * n)),
                )
            )
        self.attention.forget()
        clean = torch.cat(done)
        return JointOutput(clean if output_type == "latent" else self._pictures(clean))

    def _noise(self, seed: int, count: int, size: tuple[int, int]) -> Tensor:
        """Unit noise (count, C, h, w) on the CPU, so that it is the same on every device; row i is of `seed + i`."""
        shape = (1, self.unet.config["in_channels"], *size)
        return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)])

    def _controls(
        self,
        layout: Layout,
        conditions: list[Condition],
        words: Words,
        empty: Words,
        pose_strength: float,
        parsing_strength: float,
    ) -> list[Control]:
        """Every ControlNet with its condition embedding, made once: ours sees the parsing map, others the skeleton."""
        nets = [] if self.controlnet is None else getattr(self.controlnet, "nets", [self.controlnet])
        height, width = layout.labels.shape
        controls = []
        for net in nets:
            if isinstance(net, RegionControlNetModel):
                controls.append(Control(net, self._painter(net, layout, conditions, words, empty), parsing_strength))
            else:
                skeleton = (self._pixels(draw_skeleton(layout.keypoints, (width, height))) + 1) / 2
                pose = cast("Any", net).controlnet_cond_embedding(skeleton)
                controls.append(Control(net, lambda _, pose=pose: pose, pose_strength))
        return controls

    def _painter(
        self, net: RegionControlNetModel, layout: Layout, conditions: list[Condition], words: Words, empty: Words
    ) -> Callable[[Branch], Tensor]:
        """The painted parsing map by guidance branch, each painted once."""
        palette = (self._pixels(colourise(layout.labels)) + 1) / 2
        painted: dict[Branch, Tensor] = {}

        def paint_for(branch: Branch) -> Tensor:
            if branch not in painted:
                text = words.states if branch.prompted else empty.states
                blank = Paint.blank(1, net.latent_channels, text.shape[-1], self._latent_size(layout), text)
                acting = [c for c in conditions if c.kind in branch.kinds]
                painted[branch] = net.embed(palette, text, paint(acting, 1, blank))
            return painted[branch]

        return paint_for

    def _pixels(self, picture: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        return pixels.to(self._execution_device, self.unet.dtype) / 127.5 - 1

    def _latent_size(self, layout: Layout) -> tuple[int, int]:
        height, width = layout.labels.shape
        return height // self.vae_scale_factor, width // self.vae_scale_factor

    def _pictures(self, latents: Tensor) -> list[Image.Image]:
        pixels = torch.cat([decode(self.vae, one) for one in latents.split(1)])
        return cast("list[Image.Image]", self.image_processor.postprocess(pixels, output_type="pil"))


def several(controlnet: ControlNetModel | Sequence[ControlNetModel] | MultiControlNetModel | None) -> Any:
    """Several ControlNets as one module that saves and loads each as the class it is."""
    return JointControlNets(list(controlnet)) if isinstance(controlnet, list | tuple) else controlnet

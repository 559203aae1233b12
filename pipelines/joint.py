"""One denoising pass under words, layout, identity and garments: Stable Diffusion + ControlNets + joint attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    MultiControlNetModel,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from twinset.adapters.condition import FACE_LABELS, Condition, Layout, garment_labels, paint
from twinset.adapters.garment import GarmentAdapter, reference_features
from twinset.adapters.identity import IdentityAdapter, face_placement
from twinset.adapters.joint_attention import JointAttention
from twinset.errors import InputError
from twinset.models.clip import StudioCLIP, letterbox, token_ids
from twinset.models.face_encoder import FaceEncoder
from twinset.models.face_finder import FaceFinder
from twinset.models.figure.flat import garment_draft
from twinset.models.figure.keypoints import draw_skeleton
from twinset.models.figure.labels import colourise
from twinset.models.region_controlnet import Paint
from twinset.models.vae import decode, encode

from .denoise import Control, denoise
from .guidance import Branch, Guidance

BUNDLED = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class JointOutput:
    """Pictures (PIL images, or latents (N, C, h, w) for `output_type="latent"`)."""

    images: list[Image.Image] | Tensor


class JointPipeline(StableDiffusionControlNetPipeline):
    """Face and outfit in one denoising pass, on diffusers' ControlNet pipeline.

    With no conditions (or all weights 0) a pass equals `StableDiffusionControlNetPipeline` on the same weights.

    Example:
        pipe = JointPipeline.from_pretrained("studio")
        layout = Layout(preset("walking"), draw_layout(preset("walking"), ["dress", "shoes"], "short"))
        conditions = [pipe.identity(crop, layout), pipe.garment(flat, "dress", layout)]
        pipe("short hair, on the beach", layout=layout, conditions=conditions, seed=7).images[0]
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: MultiControlNetModel,
        scheduler: DDIMScheduler,
        image_encoder: CLIPVisionModelWithProjection,
        identity_adapter: IdentityAdapter,
        garment_adapter: GarmentAdapter,
        face_encoder: FaceEncoder,
        face_finder: FaceFinder,
        safety_checker: Any = None,
        feature_extractor: Any = None,
        requires_safety_checker: bool = False,
    ):
        super().__init__(
            vae,
            text_encoder,
            tokenizer,
            unet,
            controlnet,
            scheduler,  # type: ignore[arg-type]
            safety_checker,
            feature_extractor,
            image_encoder,
            requires_safety_checker,
        )
        self.register_modules(
            identity_adapter=identity_adapter,
            garment_adapter=garment_adapter,
            face_encoder=face_encoder,
            face_finder=face_finder,
        )
        self.attention = JointAttention(unet).inject()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> JointPipeline:
        """Load a bundled profile by name ("studio"), or a folder that `save_pretrained` wrote.

        Raises:
            InputError: there is no such model.
        """
        folder = Path(pretrained_model_name_or_path)
        folder = BUNDLED / folder if (BUNDLED / folder / "model_index.json").is_file() else folder
        if not (folder / "model_index.json").is_file():
            raise InputError(
                f"model {str(pretrained_model_name_or_path)!r} is neither bundled nor a folder with "
                "model_index.json; the bundled model is 'studio'"
            )
        if not {"dtype", "torch_dtype"} & kwargs.keys():
            kwargs["dtype"] = torch.float32
        return super().from_pretrained(str(folder), **kwargs)

    @cached_property
    def clip(self) -> StudioCLIP:
        """Text and image encoder in their common space, for zero-shot recognition and CLIP-IQA."""
        return StudioCLIP.from_pretrained(self.name_or_path).to(self.device)

    # What is computed once, before the pass

    @torch.no_grad()
    def identity(
        self, crop: np.ndarray, layout: Layout, weight: float = 1.0, start: float = 0.0, end: float = 1.0
    ) -> Condition:
        """The condition "this person": uint8 (112, 112, 3) crop, aligned to ArcFace's template, in the layout's face.

        Args:
            crop: from `twinset.models.face_finder.align`.
            layout: where the face goes.
            weight: strength, 0 to about 1.5; 1 as trained.
            start, end: part of the pass in which it acts.
        """
        pixels = self._pixels(crop)
        embedding = self.face_encoder.embed(pixels)
        placement = face_placement(layout.keypoints, layout.labels.shape).to(pixels)[None]
        face = IdentityAdapter.place(self.identity_adapter.face(embedding), placement, self._latent_size(layout))
        tokens = self.identity_adapter(embedding, self._states(crop))
        region = layout.region(FACE_LABELS).to(pixels)
        return Condition("identity", tokens, region, face, None, weight, start, end)

    @torch.no_grad()
    def garment(
        self, flat: np.ndarray, kind: str, layout: Layout, weight: float = 1.0, start: float = 0.0, end: float = 1.0
    ) -> Condition:
        """The condition "this garment": a picture of it laid flat, in its region of the layout.

        Args:
            flat: uint8 (256, 192, 3) on white, in the flat frame of its kind (`twinset.pipelines.compose.fit_flat`).
            kind: garment kind, a key of `GARMENT_KINDS`.
            layout: where it goes.
            weight, start, end: as for `identity`.
        """
        mask = layout.region(garment_labels(kind))
        draft = self._encode(garment_draft(layout.labels, layout.keypoints, {kind: flat}))
        small = np.asarray(Image.fromarray(flat).resize((flat.shape[1] // 2, flat.shape[0] // 2), Image.Resampling.BOX))
        self.attention.forget()
        words = self._words("")
        features = reference_features(self.attention, self.unet, self._encode(small), words)
        tokens = self.garment_adapter(self._states(small))
        return Condition("garment", tokens, mask.to(draft), draft, features, weight, start, end)

    def _pixels(self, picture: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        return pixels.to(self.device, self.unet.dtype) / 127.5 - 1

    def _encode(self, picture: np.ndarray) -> Tensor:
        return encode(self.vae, self._pixels(picture))

    def _states(self, picture: np.ndarray) -> Tensor:
        return self.image_encoder(letterbox(self._pixels(picture)), output_hidden_states=True).hidden_states[-2]

    def _words(self, text: str) -> Tensor:
        return self.text_encoder(token_ids(self.tokenizer, [text]).to(self.device))[0]

    def _latent_size(self, layout: Layout) -> tuple[int, int]:
        height, width = layout.labels.shape
        return height // self.vae_scale_factor, width // self.vae_scale_factor

    # The pass

    @torch.no_grad()
    def __call__(  # type: ignore[override]
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
            layout: pose and parsing map.
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
        conditions = [c for c in conditions if c.weight]
        size = self._latent_size(layout)
        words, empty = self._words(prompt), self._words(negative_prompt)
        controls = self._controls(layout, conditions, words, empty, pose_strength, parsing_strength)
        self._remember(conditions, size)
        latents = self._noise(seed, num_images, size) if latents is None else latents
        done = []
        for i, noise in enumerate(latents.to(words).split(1)):
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
        shape = (1, self.unet.config.in_channels, *size)
        return torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)])

    def _remember(self, conditions: Sequence[Condition], size: tuple[int, int]) -> None:
        self.attention.forget()
        for c in conditions:
            if c.kind == "identity":
                self.attention.remember(c, self.identity_adapter.sites, None, size)
            else:
                self.attention.remember(c, self.garment_adapter.sites, self.garment_adapter.reference_sites, size)

    def _controls(
        self,
        layout: Layout,
        conditions: list[Condition],
        words: Tensor,
        empty: Tensor,
        pose_strength: float,
        parsing_strength: float,
    ) -> list[Control]:
        """Both ControlNets with their condition embeddings, made once for each guidance branch."""
        pose_net, parsing_net = self.controlnet.nets
        skeleton, palette = (
            (self._pixels(p) + 1) / 2 for p in (draw_skeleton(layout.keypoints), colourise(layout.labels))
        )
        pose = pose_net.controlnet_cond_embedding(skeleton)
        painted: dict[Branch, Tensor] = {}

        def paint_for(branch: Branch) -> Tensor:
            if branch not in painted:
                text = words if branch.prompted else empty
                blank = Paint.blank(1, self.unet.config.in_channels, text.shape[-1], self._latent_size(layout), text)
                acting = [c for c in conditions if c.kind in branch.kinds]
                painted[branch] = parsing_net.embed(palette, text, paint(acting, 1, blank))
            return painted[branch]

        return [Control(pose_net, lambda _: pose, pose_strength), Control(parsing_net, paint_for, parsing_strength)]

    def _pictures(self, latents: Tensor) -> list[Image.Image]:
        pixels = torch.cat([decode(self.vae, one) for one in latents.split(1)])
        return cast("list[Image.Image]", self.image_processor.postprocess(pixels, output_type="pil"))

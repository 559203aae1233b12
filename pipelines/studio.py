"""The bundled model's pipeline: Stable Diffusion's classes with identity and garment adapters of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, MultiControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from twinset.adapters.condition import FACE_LABELS, Condition, Layout
from twinset.adapters.garment import GarmentAdapter
from twinset.adapters.identity import IdentityAdapter, face_draft
from twinset.errors import InputError
from twinset.figure.colours import RGB
from twinset.figure.drawing.figure_draft import figure_draft
from twinset.figure.drawing.flat_garments import GREY, garment_draft
from twinset.figure.face_look import face_look, head_turn_of
from twinset.figure.labels import HAIR, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, garment_labels, garment_slot
from twinset.models.clip import StudioCLIP, letterbox
from twinset.models.face_encoder import FaceEncoder
from twinset.models.face_finder import FaceFinder
from twinset.models.figure_reader import FigureReader
from twinset.pipelines.denoising.condition_cache import Networks
from twinset.pipelines.denoising.controlled import load_offloaded
from twinset.pipelines.joint import JointPipeline

ADAPTERS = ("identity_adapter", "garment_adapter", "face_encoder", "face_finder", "figure_reader")
"""What the bundled model has beyond a ControlNet pipeline's components."""
WITH_TOKENS = ("upper", "lower")
"""Slots whose garments have tokens and reference features; shoes, hats and the like have a draft alone."""
FIGURE_LABELS = (HAIR, LEFT_LEG, RIGHT_LEG, LEFT_ARM, RIGHT_ARM)
"""What `StudioPipeline.figure` owns."""


class StudioPipeline(JointPipeline):
    """`JointPipeline` with the bundled model's own adapters and eyes; each may be absent.

    Example:
        pipe = StudioPipeline.from_pretrained("studio")
        layout = Layout(preset("walking"), draw_layout(preset("walking"), ["dress", "shoes"], "short"))
        conditions = [pipe.identity(crop, layout), pipe.garment(flat, "dress", layout)]
        noise = torch.Generator().manual_seed(7)
        pipe("short hair, on the beach", layout=layout, conditions=conditions, generator=noise).images[0]
    """

    _optional_components: ClassVar[list[str]] = [*JointPipeline._optional_components, *ADAPTERS]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel | Sequence[ControlNetModel] | MultiControlNetModel | None,
        scheduler: Any,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        identity_adapter: IdentityAdapter | None = None,
        garment_adapter: GarmentAdapter | None = None,
        face_encoder: FaceEncoder | None = None,
        face_finder: FaceFinder | None = None,
        figure_reader: FigureReader | None = None,
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
            controlnet,
            scheduler,
            image_encoder,
            safety_checker,
            feature_extractor,
            requires_safety_checker,
            default_steps,
            default_guidance,
        )
        self.register_modules(
            identity_adapter=identity_adapter,
            garment_adapter=garment_adapter,
            face_encoder=face_encoder,
            face_finder=face_finder,
            figure_reader=figure_reader,
        )

    @cached_property
    def clip(self) -> StudioCLIP:
        """Text and image encoder in their common space, for zero-shot recognition and CLIP-IQA."""
        return StudioCLIP.from_pretrained(self.name_or_path).to(self.device)

    @torch.no_grad()
    def identity(
        self,
        crop: np.ndarray,
        layout: Layout,
        weight: float = 1.0,
        start: float = 0.0,
        end: float = 1.0,
        embedding: np.ndarray | None = None,
        look: np.ndarray | None = None,
    ) -> Condition:
        """The condition "this person": uint8 (112, 112, 3) crop, aligned to ArcFace's template, in the layout's face.

        Args:
            crop: from `twinset.models.face_finder.align`.
            layout: where the face goes.
            weight: strength, 0 to about 1.5; 1 as trained.
            start, end: part of the pass in which it acts.
            embedding: (512,) of several selfies, in place of the crop's own.
            look: expression, beard and turn, of `twinset.figure.face_look`; neutral and shaven without, as the layout
                has the head.
        """
        self._need("identity_adapter", "face_encoder")
        networks = (self.face_encoder, self.image_encoder, self.identity_adapter)
        if embedding is None:
            tokens, given = self.condition_cache(self._face, crop, cast(Networks, networks))
        else:
            tokens, given = self._face(crop, embedding)
        look = face_look(turn=head_turn_of(layout.keypoints)) if look is None else look
        size = (layout.labels.shape[1], layout.labels.shape[0])
        draft = self.encode(face_draft(self.canvas(given, look), layout.keypoints, size))
        region = layout.region(FACE_LABELS).to(draft)
        return Condition(
            "identity", tokens, region, self.identity_adapter.sites, draft, weight=weight, start=start, end=end
        )

    @torch.no_grad()
    def canvas(self, embedding: Tensor | np.ndarray, look: np.ndarray) -> np.ndarray:
        """The face that an embedding, 512 numbers, means, so looking, in white light: uint8 (112, 112, 3)."""
        load_offloaded(self.identity_adapter)
        given, looks = (self._like_unet(torch.as_tensor(x).reshape(1, -1)) for x in (embedding, look))
        return self.decode(self.identity_adapter.face(given, looks))

    @torch.no_grad()
    def figure(
        self, layout: Layout, hair: str, hair_colour: RGB, skin: np.ndarray | None, hat: bool = False
    ) -> Condition:
        """The condition "hair and skin of these colours", laid where the layout has them.

        Args:
            layout: where they go.
            hair: the layout's hair style.
            hair_colour: 0 to 255.
            skin: (3,) 0 to 255, in white light; None leaves arms and legs open.
            hat: whether a hat covers the crown.
        """
        size = (layout.labels.shape[1], layout.labels.shape[0])
        shown = np.full(3, GREY, float) if skin is None else skin
        draft = self.encode(figure_draft(layout.keypoints, hair, hair_colour, shown, hat, size))
        owned = layout.region(FIGURE_LABELS if skin is not None else (HAIR,))
        return Condition("figure", None, owned.to(draft), None, draft)

    def _face(self, crop: np.ndarray, embedding: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (1, 4, X) of an aligned crop, and the embedding (1, 512): its own, or another's."""
        given = self.embedding(crop) if embedding is None else self._like_unet(torch.from_numpy(embedding)[None])
        return self.identity_adapter(given, self.drawing_states(crop)), given

    @torch.no_grad()
    def embedding(self, crop: np.ndarray) -> Tensor:
        """(1, 512) embedding of length 1 of an aligned crop uint8 (112, 112, 3)."""
        encoder = self.face_encoder
        return self.remembered("embedding", encoder, lambda: encoder.embed(self._pixels(crop)), crop)

    @torch.no_grad()
    def garment(
        self, flat: np.ndarray, kind: str, layout: Layout, weight: float = 1.0, start: float = 0.0, end: float = 1.0
    ) -> Condition:
        """The condition "this garment": a picture of it laid flat, in its region of the layout.

        Args:
            flat: uint8 (256, 192, 3) on white, in the flat frame of its kind
                (`twinset.pipelines.families.drawn.fit_flat`).
            kind: garment kind, a key of `GARMENT_KINDS`.
            layout: where it goes.
            weight, start, end: as for `identity`.
        """
        self._need("garment_adapter", "image_encoder")
        mask = layout.region(garment_labels(kind))
        draft = self.encode(garment_draft(layout.labels, layout.keypoints, {kind: flat}))
        if garment_slot(kind) not in WITH_TOKENS:
            return Condition("garment", None, mask.to(draft), None, draft, weight=weight, start=start, end=end)
        small = np.asarray(Image.fromarray(flat).resize((flat.shape[1] // 2, flat.shape[0] // 2), Image.Resampling.BOX))
        networks = (self.vae, self.text_encoder, self.unet, self.image_encoder, self.garment_adapter)
        tokens, reference = self.condition_cache(self._piece, small, cast(Networks, networks))
        return Condition(
            "garment",
            tokens,
            mask.to(draft),
            self.garment_adapter.sites,
            draft,
            reference,
            self.garment_adapter.reference_sites,
            weight=weight,
            start=start,
            end=end,
        )

    def _piece(self, flat: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        """Tokens (1, 8, X) and reference features of a small flat picture."""
        return self.garment_adapter(self.drawing_states(flat)), self.reference(flat)

    def _need(self, *parts: str) -> None:
        missing = [part for part in parts if getattr(self, part) is None]
        if missing:
            raise InputError(
                f"this model has no {' and no '.join(missing)}; use the bundled model 'studio', or give the part "
                f"to from_pretrained ({missing[0]}=...)"
            )

    @torch.no_grad()
    def drawing_states(self, picture: np.ndarray) -> Tensor:
        """The bundled CLIP's states before its last layer, (1, 50, 192), of a picture uint8 (H, W, 3)."""
        encoder = self._clip()

        def work() -> Tensor:
            return encoder(letterbox(self._pixels(picture)), output_hidden_states=True).hidden_states[-2]

        return self.remembered("clip", encoder, work, picture)

"""Public adapters fitted into a pipeline: a face, a picture or a garment becomes a condition of the joint pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from twinset.adapters.condition import Condition, TextConditioning
from twinset.adapters.garment import reference_features
from twinset.adapters.joint_attention import JointAttention
from twinset.adapters.lora.install import install_lora, remove_lora
from twinset.adapters.public import PublicAdapter, read_adapter
from twinset.adapters.public.embedded_lora import own_lora
from twinset.adapters.public.projectors import FaceIDPlusTokens, FaceIDTokens, QueryResampler, StoryMakerTokens
from twinset.adapters.public.read import Form
from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError
from twinset.models.vae import encode_picture
from twinset.pipelines.denoising.condition_cache import weights_hash

REMEDY = (
    "use face_condition for FaceID and InstantID, image_condition for IP-Adapter-Plus, garment_condition for "
    "IMAGDressing and MagicClothing, person_conditions for StoryMaker"
)


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """A public adapter in a pipeline: its networks on the pipeline's device, its LoRA asleep in the UNet.

    Attributes:
        name: under which it was loaded; its LoRA has the same.
        adapter: what its file holds.
        reference_unet: the UNet that reads a garment, where the adapter brings one.
    """

    name: str
    adapter: PublicAdapter
    reference_unet: UNet2DConditionModel | None = None

    def needs(self, *projectors: type) -> Any:
        """Its token maker, which must be one of `projectors`.

        Raises:
            InputError: the adapter takes something else.
        """
        if not isinstance(self.adapter.projector, projectors):
            takes = type(self.adapter.projector).__name__
            raise InputError(f"adapter {self.name!r} ({takes}) does not take this; {REMEDY}")
        return self.adapter.projector


@dataclass(frozen=True, eq=False)
class PersonReference:
    """One person for StoryMaker.

    Attributes:
        embedding: (512,) or (1, 512) embedding of buffalo_l.
        crop: uint8 (224, 224, 3) aligned face.
        body: uint8 (s, s, 3) the person cut out on white, or the garment alone, brought to a square.
        region: (1, 1, H, W) mask where the person goes; None for everywhere.
    """

    embedding: np.ndarray
    crop: np.ndarray
    body: np.ndarray
    region: Tensor | None = None


class Schedule(TypedDict, total=False):
    """Strength and schedule of a condition; the authors' strengths, the whole pass without them.

    `lora_weight` is that of the LoRA which the adapter's file brings; other adapters have none. It acts in the steps in
    which the condition does.
    """

    weight: float
    start: float
    end: float
    lora_weight: float


class PublicAdapterMixin:
    """The part of a pipeline that holds public adapters and makes conditions of what they take."""

    unet: UNet2DConditionModel
    vae: Any
    image_encoder: CLIPVisionModelWithProjection | None
    adapters: dict[str, LoadedAdapter]
    parts_on_demand: Any = None
    """The `PartsOnDemand` of a pipeline that is around a base of the user's own."""
    perception_cache: PerceptionCache = PerceptionCache()
    """What perception found before; keeps nothing unless it has a folder."""
    _execution_device: torch.device

    def load_adapter(self, path: str | Path, name: str, *, form: Form | None = None) -> LoadedAdapter:
        """Read a public adapter file and fit it in, beside whatever is loaded already.

        A LoRA in it sleeps: passes without a condition of this adapter are, to the bit, what they were before.

        Args:
            path: e.g. `ip-adapter-faceid-plusv2_sd15.bin`; the form is told from keys and file name.
            name: under which it is used and taken out again.
            form: where the file does not have its published name.

        Raises:
            LayoutError: the file is damaged, unknown, or made for another family.
            InputError: the name is taken.
        """
        if name in self.adapters:
            raise InputError(f"adapter {name!r} is loaded already; unload it first, or choose another name")
        adapter = read_adapter(path, self.unet, form)
        if adapter.lora is not None:
            install_lora(cast(Any, self), own_lora(Path(path), adapter.lora), name, weight=0.0)
        for module in (adapter.projector, adapter.sites, adapter.reference_sites):
            if module is not None:
                module.to(self._execution_device, self.unet.dtype)
        self.adapters[name] = LoadedAdapter(name, adapter, self._reference_unet(adapter))
        return self.adapters[name]

    def unload_adapter(self, name: str) -> None:
        """Take an adapter out again; what else is loaded stays, and so do the base weights, to the bit.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.adapters:
            known = ", ".join(self.adapters) or "none"
            raise InputError(f"adapter {name!r} is not loaded; loaded: {known}")
        if self.adapters.pop(name).adapter.lora is not None:
            remove_lora(cast(Any, self), name)

    def face_condition(
        self,
        name: str,
        embedding: np.ndarray,
        region: Tensor,
        crop: np.ndarray | None = None,
        *,
        structure: float = 1.0,
        **schedule: Unpack[Schedule],
    ) -> Condition:
        """The condition "this face" by FaceID, FaceID-Plus, FaceID-PlusV2 or InstantID.

        Args:
            name: of the adapter.
            embedding: (512,) of the recogniser that the adapter was trained with, as that gives it: FaceID's is
                normed here, InstantID's is not.
            region: (1, 1, H, W) mask of where the face goes.
            crop: uint8 (224, 224, 3) aligned face, for the Plus forms.
            structure: how much of the crop's structure PlusV2 takes.
            schedule: `weight`, `start`, `end`, `lora_weight` of the condition.
        """
        fitted = self._fitted(name)
        projector = fitted.needs(FaceIDTokens, QueryResampler)
        given = self._like_unet(torch.as_tensor(embedding).float().reshape(1, -1))
        if isinstance(projector, QueryResampler):
            return self._tokens(
                fitted, projector(given[:, None]), projector(torch.zeros_like(given[:, None])), region, schedule
            )
        given = given / given.norm()
        if not isinstance(projector, FaceIDPlusTokens):
            return self._tokens(fitted, projector(given), projector(torch.zeros_like(given)), region, schedule)
        if crop is None:
            raise InputError(f"adapter {name!r} also reads the face crop; give the aligned face of 224 pixels as crop")
        present = projector(given, self.clip_states(crop), structure)
        absent = projector(torch.zeros_like(given), self._no_states(), structure)
        return self._tokens(fitted, present, absent, region, schedule)

    def image_condition(
        self, name: str, picture: np.ndarray, region: Tensor, **schedule: Unpack[Schedule]
    ) -> Condition:
        """The condition "this look": a garment (or whatever a picture shows) by IP-Adapter-Plus.

        Args:
            name: of the adapter.
            picture: uint8 (H, W, 3); CLIP sees its middle square, so lay a garment on one first
                (`twinset.pipelines.families.framing.squared`).
            region: (1, 1, H, W) mask of where it goes.
            schedule: `weight`, `start`, `end` of the condition.
        """
        fitted = self._fitted(name)
        projector = fitted.needs(QueryResampler)
        return self._tokens(
            fitted, projector(self.clip_states(picture)), projector(self._no_states()), region, schedule
        )

    def garment_condition(
        self,
        name: str,
        picture: np.ndarray,
        region: Tensor,
        mask: np.ndarray | None = None,
        **schedule: Unpack[Schedule],
    ) -> Condition:
        """The condition "this garment" by an adapter with a garment UNet: IMAGDressing or MagicClothing.

        The garment's clean latent goes through the garment UNet once, at t = 0.

        Args:
            name: of the adapter.
            picture: uint8 (H, W, 3), sides divisible by 8: for IMAGDressing the garment on white.
            region: (1, 1, H, W) mask of where it goes.
            mask: bool (H, W) of the garment; what is around it is then mid-grey, as MagicClothing was trained.
            schedule: `weight`, `start`, `end` of the condition.
        """
        fitted = self._fitted(name)
        if fitted.reference_unet is None:
            raise InputError(f"adapter {name!r} brings no garment UNet; {REMEDY}")
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
        pixels = self._like_unet(pixels if mask is None else pixels * torch.from_numpy(mask))
        projector = fitted.adapter.projector
        words = self.no_text() if projector is None else TextConditioning(projector(self.clip_states(picture)))
        unet = fitted.reference_unet
        features = reference_features(JointAttention(unet), unet, encode_picture(self.vae, pixels), words)
        region = self._like_unet(region)
        return Condition(
            "garment",
            None,
            region,
            None,
            None,
            features,
            fitted.adapter.reference_sites,
            **self._strength(fitted, schedule),
        )

    def person_conditions(
        self, name: str, people: Sequence[PersonReference], **schedule: Unpack[Schedule]
    ) -> list[Condition]:
        """The conditions "these people, so dressed" by StoryMaker.

        Without regions all tokens stand in one attention, as the authors have it; with them each person's tokens,
        beside the background's, speak in the person's region only.

        Args:
            name: of the adapter.
            people: one to three.
            schedule: `weight`, `start`, `end`, `lora_weight` of the conditions.
        """
        fitted = self._fitted(name)
        projector = fitted.needs(StoryMakerTokens)
        embeddings = self._like_unet(torch.stack([torch.as_tensor(p.embedding).float().reshape(-1) for p in people]))
        faces, bodies = (
            torch.cat([self.clip_states(x) for x in side])
            for side in zip(*((p.crop, p.body) for p in people), strict=True)
        )
        rows = projector(embeddings / embeddings.norm(dim=1, keepdim=True), faces, bodies)
        silence = projector(*(torch.zeros_like(x) for x in (embeddings, faces, bodies)))
        regions = [p.region for p in people if p.region is not None]
        if not regions:
            whole = self._like_unet(torch.ones(1, 1, 8, 8))
            return [self._tokens(fitted, rows.flatten(0, 1)[None], silence.flatten(0, 1)[None], whole, schedule)]
        if len(regions) < len(people):
            raise InputError(f"{len(regions)} of {len(people)} people have a region; give one to each, or to none")
        own = [[0, 1 + i] for i in range(len(people))]
        return [
            self._tokens(fitted, rows[at].flatten(0, 1)[None], silence[at].flatten(0, 1)[None], region, schedule)
            for at, region in zip(own, regions, strict=True)
        ]

    # names of version 0.1
    face, look, cloth, people = face_condition, image_condition, garment_condition, person_conditions

    def _fitted(self, name: str) -> LoadedAdapter:
        """An adapter where the pipeline is now: that may have moved, been cast or offloaded since it was loaded."""
        if name not in self.adapters:
            raise InputError(f"adapter {name!r} is not loaded; loaded: {', '.join(self.adapters) or 'none'}")
        fitted = self.adapters[name]
        adapter = fitted.adapter
        for module in (adapter.projector, adapter.sites, adapter.reference_sites, fitted.reference_unet):
            if module is not None:
                cast(Any, module).to(self._execution_device, self.unet.dtype)
        return fitted

    def remembered(self, what: str, network: nn.Module, work: Callable[[], Tensor], picture: np.ndarray) -> Tensor:
        """A network's output for a picture, from the cache where an earlier run stored it.

        Args:
            what: name of the result.
            network: whose output it is; its weights are part of the cache key.
            work: computes the output.
            picture: uint8 (H, W, 3), its input.
        """
        if self.perception_cache.folder is None:
            return work()
        known = self.perception_cache(
            what,
            lambda: {"said": work().float().cpu().numpy()},
            picture,
            revision=lambda: weights_hash(network),
            dtype=str(self.unet.dtype),
        )
        return self._like_unet(torch.from_numpy(known["said"]))

    def clip_states(self, picture: np.ndarray) -> Tensor:
        """CLIP's states before its last layer, (1, 257, 1280) for ViT-H, of a picture's middle square."""
        side = self._clip().config.image_size
        processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size=side)
        ready = processor(Image.fromarray(picture), return_tensors="pt")
        return self.remembered("clip", self._clip(), lambda: self._states_of(ready.pixel_values), picture)

    def _no_states(self) -> Tensor:
        side = self._clip().config.image_size
        return self._states_of(torch.zeros(1, 3, side, side))

    @torch.no_grad()
    def _states_of(self, pixels: Tensor) -> Tensor:
        return self._clip()(self._like_unet(pixels), output_hidden_states=True).hidden_states[-2]

    def _clip(self) -> Any:
        if self.image_encoder is None:
            raise InputError("this adapter reads pictures through CLIP; give the pipeline its image_encoder (ViT-H)")
        return self.image_encoder

    def no_text(self) -> TextConditioning:
        """The empty text, one row."""
        raise NotImplementedError

    def _tokens(
        self, fitted: LoadedAdapter, present: Tensor, absent: Tensor, region: Tensor, schedule: Schedule
    ) -> Condition:
        adapter, options = fitted.adapter, self._strength(fitted, schedule)
        lora = None if adapter.lora is None else fitted.name
        where = self._like_unet(region), adapter.sites
        return Condition(adapter.kind, present, *where, absent=absent, lora=lora, **options)

    @staticmethod
    def _strength(fitted: LoadedAdapter, schedule: Schedule) -> Schedule:
        own: Schedule = {"weight": fitted.adapter.strength, "lora_weight": fitted.adapter.strength}
        return {**own, **schedule}

    def _reference_unet(self, adapter: PublicAdapter) -> UNet2DConditionModel | None:
        """The garment UNet with its weights; it has the main UNet's shape and reads a latent alone."""
        if adapter.reference_unet_state is None:
            return None
        config = {k: v for k, v in self.unet.config.items() if not k.startswith("_")}
        config["in_channels"] = self.unet.config["out_channels"]
        with torch.device("meta"):
            unet = cast(UNet2DConditionModel, UNet2DConditionModel.from_config(config))
        own = {key: tensor.clone() for key, tensor in adapter.reference_unet_state.items()}
        unet.load_state_dict(own, strict=True, assign=True)
        return cast(Any, unet).to(self._execution_device, self.unet.dtype).eval().requires_grad_(False)

    def _like_unet(self, x: Tensor) -> Tensor:
        return x.to(self._execution_device, self.unet.dtype)

"""Networks, adapters and inputs of the speed benchmark: real sizes and formats, random numbers.

On the meta device the same parts have shapes alone, which is all that counting FLOPs needs.
"""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from twinset.adapters.condition import TextConditioning
from twinset.adapters.joint_attention import SiteProjections
from twinset.adapters.public.embedded_lora import lora_state
from twinset.adapters.public.face_id import face_id_projector, face_id_shapes
from twinset.adapters.public.ip_adapter import CLIP_WIDTH, ip_adapter_shapes, query_resampler
from twinset.adapters.public.sites import (
    cross_sites,
    numbered_sites,
    projection_shapes,
    self_sites,
    site_projections,
    text_width,
)
from twinset.adapters.state_tables import Shapes, filled, part

Net = TypeVar("Net", bound=nn.Module)
LATENT = 8  # pixels per latent position
CLIP_TOKENS = 257
SIZES = 6  # numbers in SDXL's `time_ids`
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sdxl": {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""What differs from diffusers' defaults, which are SD1.5's."""
TINY: dict[str, dict[str, Any]] = {
    "sd15": {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 128,
        "norm_num_groups": 8,
    },
    "sdxl": {
        "block_out_channels": (32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "transformer_layers_per_block": (1, 2),
        "attention_head_dim": (2, 4),
        "cross_attention_dim": 128,
        "norm_num_groups": 8,
    },
}
"""The same kinds of block, fewer and with few channels, for tests and for trying the benchmark out."""


@dataclass(frozen=True)
class Setting:
    """One size of the benchmark.

    Attributes:
        family: "sd15" or "sdxl".
        pixels: side of the pictures.
        steps: denoising steps measured.
        batch: pictures at once.
        device: torch device; "meta" for shapes alone.
        dtype: of weights and latents.
        tiny: few channels.
        channels_last: memory format of the networks.
    """

    family: str
    pixels: int
    steps: int
    batch: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    tiny: bool = False
    channels_last: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for new tensors."""
        return {"device": self.device, "dtype": getattr(torch, self.dtype)}

    def counted(self) -> Setting:
        """The same as shapes alone."""
        return replace(self, device="meta", dtype="float32", channels_last=False)


class HostDDIM(DDIMScheduler):
    """DDIM with its timesteps on the host: on the meta device a loop could not read them."""

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """As DDIM's, without the device."""
        super().set_timesteps(num_inference_steps, "cpu")


def twin(net: Net) -> Net:
    """Another module tree over the same weights, so that adapters on one leave the other alone."""
    shared = [*net.parameters(), *net.buffers()]
    return copy.deepcopy(net, {id(tensor): tensor for tensor in shared})


class NetworkParts:
    """Everything that contestants are made of; each part is made when first asked for.

    Args:
        setting: family, size and device.
    """

    def __init__(self, setting: Setting):
        self.setting = setting
        self.noise = None if setting.device == "meta" else torch.Generator(setting.device).manual_seed(0)

    def random(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normal numbers."""
        tensor = torch.empty(shape, **self.setting.options)
        return tensor if self.noise is None else tensor.normal_(0, scale, generator=self.noise)

    def filled(self, net: Net) -> Net:
        """A network of the meta device with random weights that keep activations near 1; biases 0, norms 1."""
        nn.Module.to(net, dtype=self.setting.options["dtype"]).eval().requires_grad_(False)  # in place
        if self.noise is None:
            return net
        net = net.to_empty(device=self.setting.device)
        for name, weight in net.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1 / math.sqrt(weight[0].numel()), generator=self.noise)
            else:
                weight.fill_(float(name.endswith("weight")))
        return net.to(memory_format=torch.channels_last) if self.setting.channels_last else net

    # Networks

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        """The family's UNet, without any adapter; contestants get a `twin`."""
        options = UNETS[self.setting.family] | (TINY[self.setting.family] if self.setting.tiny else {})
        with torch.device("meta"):
            return self.filled(UNet2DConditionModel(**options))

    @cached_property
    def controlnet(self) -> ControlNetModel:
        """A plain ControlNet of the UNet's size; pose and parsing are two twins of it."""
        channels = (8, 8, 8, 8) if self.setting.tiny else (16, 32, 96, 256)
        with torch.device("meta"):
            return self.filled(ControlNetModel.from_unet(self.unet, "rgb", channels, load_weights_from_unet=False))

    def controlnets(self) -> list[ControlNetModel]:
        """Pose and parsing."""
        return [twin(self.controlnet), twin(self.controlnet)]

    def scheduler(self) -> DDIMScheduler:
        """DDIM as SD1.5 is used with."""
        kind = HostDDIM if self.noise is None else DDIMScheduler
        options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
        return kind(**options, clip_sample=False, set_alpha_to_one=False, steps_offset=1)

    # Adapters

    def _state(self, shapes: Shapes) -> dict[str, Tensor]:
        return {key: self.random(*shape, scale=1 / math.sqrt(shape[-1])) for key, shape in shapes.items()}

    @cached_property
    def face_state(self) -> dict[str, Tensor]:
        """FaceID-Plus: four tokens, K and V, and a LoRA of rank 128."""
        state = self._state(face_id_shapes("face-id-plus", self.unet))
        return {key: value * (0.1 if "_lora." in key else 1) for key, value in state.items()}

    @cached_property
    def garment_state(self) -> dict[str, Tensor]:
        """IP-Adapter-Plus: sixteen tokens, K and V."""
        width = 1280 if self.setting.family == "sdxl" and not self.setting.tiny else text_width(self.unet)
        return self._state(ip_adapter_shapes("ip-adapter-plus", self.unet, width))

    @cached_property
    def face_tokens(self) -> nn.Module:
        """Embedding and CLIP states → four tokens."""
        projector = face_id_projector("face-id-plus", text_width(self.unet))
        return filled(projector, part(self.face_state, "image_proj."))

    @cached_property
    def face_sites(self) -> SiteProjections:
        """K and V of the face's tokens."""
        state = part(self.face_state, "ip_adapter.")
        return site_projections(state, cross_sites(self.unet), text_width(self.unet), "ip")

    @cached_property
    def lora(self) -> dict[str, Tensor]:
        """The LoRA in the face adapter's file."""
        return lora_state(part(self.face_state, "ip_adapter."), numbered_sites(self.unet))

    @cached_property
    def garment_tokens(self) -> nn.Module:
        """CLIP states → sixteen tokens."""
        state = part(self.garment_state, "image_proj.")
        width = state["latents"].shape[-1]
        return filled(query_resampler(CLIP_WIDTH, width, text_width(self.unet)), state)

    @cached_property
    def garment_sites(self) -> SiteProjections:
        """K and V of the garment's tokens."""
        state = part(self.garment_state, "ip_adapter.")
        return site_projections(state, cross_sites(self.unet), text_width(self.unet), "ip")

    @cached_property
    def reference_sites(self) -> SiteProjections:
        """K and V of the garment's features at self-attention sites, as in IMAGDressing."""
        sites = self_sites(self.unet)
        return site_projections(self._state(projection_shapes(sites, None, "ref")), sites, None, "ref")

    def dressed_unet(self, lora: str) -> UNet2DConditionModel:
        """A twin of the UNet, plain or with the face adapter's LoRA.

        Args:
            lora: "none"; "beside" the weights (unmerged); "merged" into weights of its own.
        """
        unet = twin(self.unet)
        if lora == "none":
            return unet
        if lora == "merged":
            for site in numbered_sites(unet):
                for linear in unet.get_submodule(site.name).modules():
                    if isinstance(linear, nn.Linear):
                        linear.weight = nn.Parameter(linear.weight.clone(), requires_grad=False)
        unet.load_lora_adapter(dict(self.lora), prefix=None, adapter_name="face")
        if lora == "merged":
            unet.fuse_lora()
            unet.unload_lora()
        return unet.requires_grad_(False)

    # Inputs

    @cached_property
    def latents(self) -> Tensor:
        """Noise to begin with, (N, 4, h, w)."""
        return self.random(self.setting.batch, 4, *self.latent_size)

    @property
    def latent_size(self) -> tuple[int, int]:
        """(h, w)."""
        side = self.setting.pixels // LATENT
        return side, side

    @cached_property
    def words(self) -> TextConditioning:
        """The prompt, one row."""
        return self._words()

    @cached_property
    def empty(self) -> TextConditioning:
        """The negative prompt, one row."""
        return self._words()

    def _words(self) -> TextConditioning:
        states = self.random(1, 77, text_width(self.unet))
        if self.setting.family == "sd15":
            return TextConditioning(states)
        side = self.setting.pixels
        times = torch.tensor([[side, side, 0, 0, side, side]]).to(states)
        return TextConditioning(states, {"text_embeds": self.random(1, self.pooled_width), "time_ids": times})

    @property
    def pooled_width(self) -> int:
        """Channels of SDXL's pooled text."""
        into = self.unet.config["projection_class_embeddings_input_dim"]
        return into - SIZES * self.unet.config["addition_time_embed_dim"]

    @cached_property
    def pictures(self) -> list[Tensor]:
        """What the ControlNets see, (1, 3, H, W) in [0, 1] each."""
        side = self.setting.pixels
        return [self.random(1, 3, side, side).sigmoid() for _ in range(2)]

    @cached_property
    def regions(self) -> tuple[Tensor, Tensor]:
        """Masks (1, 1, H, W) of face and garment: the left half and the right one, real numbers on any device."""
        side, options = self.setting.pixels, self.setting.options
        left = torch.zeros(1, 1, side, side, **options | ({"device": "cpu"} if self.noise is None else {}))
        left[..., : side // 2] = 1
        return left, 1 - left

    @cached_property
    def face(self) -> tuple[Tensor, Tensor]:
        """Embedding (1, 512) and CLIP states (1, 257, 1280) of a face."""
        return self.random(1, 512, scale=1 / math.sqrt(512)), self.random(1, CLIP_TOKENS, CLIP_WIDTH)

    @cached_property
    def nobody(self) -> tuple[Tensor, Tensor]:
        """The same of no face: a zero embedding, and what CLIP says of a black picture."""
        return torch.zeros_like(self.face[0]), self.random(1, CLIP_TOKENS, CLIP_WIDTH)

    @cached_property
    def clothes(self) -> Tensor:
        """CLIP states (1, 257, 1280) of a garment."""
        return self.random(1, CLIP_TOKENS, CLIP_WIDTH)

    @cached_property
    def nothing(self) -> Tensor:
        """CLIP states of a black picture."""
        return self.nobody[1]

    @cached_property
    def garment_latents(self) -> Tensor:
        """Clean latents of the garment's picture, (1, 4, h, w)."""
        return self.random(1, 4, *self.latent_size)

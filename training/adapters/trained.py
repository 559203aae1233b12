"""The adapters that are trained, each of which makes conditions of a batch and writes itself to disk."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn

from twinset.adapters.condition import Condition
from twinset.adapters.joint_attention import SiteProjections
from twinset.adapters.lora.install import remove_lora
from twinset.adapters.public.embedded_lora import RANK, TARGETS
from twinset.adapters.public.projectors import FaceIDTokens, QueryResampler
from twinset.adapters.public.sites import cross_sites, numbered_sites, text_width
from twinset.figure.labels import LABELS, PALETTE
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.joint_pass import JointPass
from twinset.training.adapters.options import AdapterOptions, ControlOptions, GarmentOptions, IdentityOptions
from twinset.training.core.forward import Batch, ControlInput

NAME = "adapter-in-training"
EMBEDDING = (16, 32, 96, 256)
"""Channels by which a ControlNet halves its picture down to the latent grid; the public ones have all four."""


class TrainedAdapter(nn.Module):
    """What is trained: its parameters are the training's, the pipeline's are not among them."""

    suffix = ".safetensors"
    """Ending of the file that is written; "" for a folder."""
    renewed: type[nn.Module] | None = None
    """Class of the ControlNet in the pipeline whose place this takes."""

    def conditions(self, batch: Batch) -> list[Condition]:
        """The conditions of a batch.

        Args:
            batch: tensors of `twinset.training.adapters.prepare`, and `on` (B,): 1 where the condition is there, 0
                where it is left out.
        """
        return []

    def controls(self, batch: Batch) -> list[ControlInput]:
        """A trained ControlNet and what it sees; none for others."""
        return []

    def write(self, out: Path) -> Path:
        """Write the adapter in the layout that others read; returns where it is."""
        raise NotImplementedError

    def take_off(self) -> None:
        """Give the pipeline back as it was."""


def adapter_kind(pipe: JointPass, options: AdapterOptions) -> type[TrainedAdapter]:
    """The class of the adapter that a training of these options is about."""
    studio = getattr(pipe, "identity_adapter", None) is not None
    if isinstance(options, IdentityOptions):
        return StudioIdentity if studio else FaceID
    if isinstance(options, GarmentOptions):
        return StudioGarment if studio else IPAdapterPlus
    return StudioControlNet if studio else TrainedControlNet


def adapter_of(pipe: JointPass, options: AdapterOptions) -> TrainedAdapter:
    """That adapter, on the pipeline's device; the seed decides how new weights start."""
    torch.manual_seed(options.seed)
    kind: Any = adapter_kind(pipe, options)
    return kind(pipe, options).to(pipe.device)


class FaceID(TrainedAdapter):
    """IP-Adapter-FaceID (Ye et al. 2023): tokens of an embedding, their keys and values, and a LoRA of the attention.

    Where the face is left out, the tokens are those of an embedding of zeros, as its authors have it.
    """

    def __init__(self, pipe: JointPass, options: IdentityOptions):
        super().__init__()
        self.__dict__.update(pipe=pipe)
        unet = pipe.unet
        self.projector, self.sites = FaceIDTokens(text_width(unet)), text_projections(unet)
        self.additions = nn.ParameterDict(_added_lora(unet) if options.attention_lora else {})

    def conditions(self, batch: Batch) -> list[Condition]:
        """Tokens of the embeddings, where the faces are."""
        tokens = self.projector(batch["embedding"] * batch["on"][:, None])
        return [Condition("identity", tokens, batch["mask"], self.sites)]

    def write(self, out: Path) -> Path:
        """`ip-adapter-faceid` in safetensors: `image_proj.*`, `ip_adapter.{i}.*`."""
        unet = cast(Any, self).pipe.unet
        indexed = site_state(self.sites, unet) | self._lora(unet)
        save_file(_named(self.projector, indexed), out, {"format": "pt"})
        return out

    def _lora(self, unet: UNet2DConditionModel) -> dict[str, Tensor]:
        """The LoRA by site number; zeros where none is trained, since the layout has it."""
        found = {}
        for site in numbered_sites(unet):
            for target, layer in TARGETS.items():
                linear: Any = unet.get_submodule(f"{site.name}.{layer}")
                stem = f"{site.index}.to_{target}_lora"
                if self.additions:
                    name = f"{site.name}.{layer}".replace(".", "|")
                    down, up = (self.additions[f"{name}|lora_{part}|{NAME}|weight"] for part in "AB")
                else:
                    down, up = torch.zeros(RANK, linear.in_features), torch.zeros(linear.out_features, RANK)
                found |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
        return found

    def take_off(self) -> None:
        """Take the LoRA out of the UNet."""
        if self.additions:
            remove_lora(cast(Any, self).pipe, NAME)


class IPAdapterPlus(TrainedAdapter):
    """IP-Adapter-Plus (Ye et al. 2023): learned queries read CLIP's states of a garment's picture.

    Where the garment is left out, the tokens are those of a black picture, as its authors have it.
    """

    nothing: Tensor

    def __init__(self, pipe: JointPass, options: GarmentOptions):
        super().__init__()
        unet = pipe.unet
        self.__dict__.update(pipe=pipe)
        out = text_width(unet)
        encoder = cast(Any, pipe).image_encoder
        self.projector = QueryResampler(encoder.config.hidden_size, options.width or min(1280, max(768, out)), out)
        nn.init.normal_(self.projector.latents, std=self.projector.latents.shape[-1] ** -0.5)
        self.sites = text_projections(unet)
        self.register_buffer("nothing", cast(Any, pipe)._no_states()[0].float(), persistent=False)

    def conditions(self, batch: Batch) -> list[Condition]:
        """Tokens of the garments' pictures, where the garments are."""
        states = torch.where(batch["on"][:, None, None] > 0, batch["garment_states"], self.nothing)
        return [Condition("garment", self.projector(states), batch["mask"], self.sites)]

    def write(self, out: Path) -> Path:
        """`ip-adapter-plus` in safetensors: `image_proj.*`, `ip_adapter.{i}.*`."""
        save_file(_named(self.projector, site_state(self.sites, cast(Any, self).pipe.unet)), out, {"format": "pt"})
        return out


class TrainedControlNet(TrainedAdapter):
    """A ControlNet (Zhang et al. 2023) that starts as the UNet's own encoder, with zero residuals."""

    suffix = ""

    def __init__(self, pipe: JointPass, options: ControlOptions):
        super().__init__()
        self.net = self.begun(pipe, options).float().requires_grad_(True).train()
        self.kind = options.kind

    def begun(self, pipe: JointPass, options: ControlOptions) -> ControlNetModel:
        """The net that the training begins with."""
        halvings = int(pipe.vae_scale_factor).bit_length() - 1
        return ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=EMBEDDING[: halvings + 1])

    def controls(self, batch: Batch) -> list[ControlInput]:
        """The net and its picture."""
        embedding: Any = self.net.controlnet_cond_embedding
        on = batch["on"]
        return [ControlInput(self.net, embedding(batch["picture"].to(on) / 255), on.view(-1, 1, 1, 1))]

    def write(self, out: Path) -> Path:
        """A folder that `ControlNetModel.from_pretrained` reads; for parsing maps with their palette."""
        self.net.save_pretrained(out)
        if self.kind == "parsing":
            palette = {name: colour.tolist() for name, colour in zip(LABELS, PALETTE, strict=True)}
            (out / "palette.json").write_text(json.dumps(palette, indent=1) + "\n", encoding="utf-8")
        return out


class StudioControlNet(TrainedControlNet):
    """One of the bundled model's ControlNets, trained on."""

    def begun(self, pipe: JointPass, options: ControlOptions) -> ControlNetModel:
        """A copy of the model's own."""
        self.renewed = RegionControlNetModel if options.kind == "parsing" else ControlNetModel
        return deepcopy(next(net for net in pipe.nets if type(net) is self.renewed))

    def controls(self, batch: Batch) -> list[ControlInput]:
        """None beside the other nets: it stands among them, see `twinset.training.adapters.networks`."""
        return []


class StudioIdentity(TrainedAdapter):
    """The bundled model's identity adapter, trained on; its canvas stays what it is."""

    suffix = ""

    def __init__(self, pipe: Any, options: IdentityOptions):
        super().__init__()
        self.adapter = deepcopy(pipe.identity_adapter).float().requires_grad_(True).train()
        self.adapter.face_decoder.requires_grad_(False)

    def conditions(self, batch: Batch) -> list[Condition]:
        """Tokens, and the canvas laid where the pose has the face."""
        tokens, draft = self.adapter(batch["embedding"], batch["crop_states"]), batch["face_draft"]
        return [Condition("identity", tokens, batch["mask"], self.adapter.sites, draft, weight=batch["on"])]

    def write(self, out: Path) -> Path:
        """A folder that `IdentityAdapter.from_pretrained` reads."""
        self.adapter.save_pretrained(out)
        return out


class StudioGarment(TrainedAdapter):
    """The bundled model's garment adapter, trained on."""

    suffix = ""

    def __init__(self, pipe: Any, options: GarmentOptions):
        super().__init__()
        self.__dict__.update(pipe=pipe)
        self.adapter = deepcopy(pipe.garment_adapter).float().requires_grad_(True).train()

    def conditions(self, batch: Batch) -> list[Condition]:
        """Tokens, reference features of the flat picture (without gradient), and the draft in the pose."""
        from twinset.adapters.garment import reference_features

        pipe: Any = self.__dict__["pipe"]
        reference = reference_features(pipe.attention, pipe.unet, batch["flat"], pipe.no_text())
        tokens = self.adapter(batch["garment_states"])
        own = self.adapter
        return [
            Condition(
                *("garment", tokens, batch["mask"], own.sites),
                *(batch["draft"], reference, own.reference_sites),
                weight=batch["on"],
            )
        ]

    def write(self, out: Path) -> Path:
        """A folder that `GarmentAdapter.from_pretrained` reads."""
        self.adapter.save_pretrained(out)
        return out


def text_projections(unet: UNet2DConditionModel) -> SiteProjections:
    """Keys and values for new tokens, which begin as those of the text."""
    sites = SiteProjections({site.name: site.channels for site in cross_sites(unet)}, text_width(unet))
    with torch.no_grad():
        for site in cross_sites(unet):
            attn, name = cast(Attention, unet.get_submodule(site.name)), site.name.replace(".", "-")
            for mine, its in ((sites.to_k, attn.to_k), (sites.to_v, attn.to_v)):
                mine[name].get_parameter("weight").copy_(its.weight)  # type: ignore[union-attr, arg-type]
    return sites


def site_state(sites: SiteProjections, unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The projections under the public files' keys, `{i}.to_k_ip.weight` and `{i}.to_v_ip.weight`."""
    return {
        f"{site.index}.to_{kv}_ip.weight": getattr(sites, f"to_{kv}")[site.name.replace(".", "-")].weight
        for site in cross_sites(unet)
        for kv in "kv"
    }


def _named(projector: nn.Module, indexed: dict[str, Tensor]) -> dict[str, Tensor]:
    """A public file's two parts under one another."""
    state = {f"image_proj.{name}": tensor for name, tensor in projector.state_dict().items()}
    state |= {f"ip_adapter.{name}": tensor for name, tensor in indexed.items()}
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in state.items()}


def _added_lora(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """Additions of rank 128 to every attention's q, k, v and out; their weights by name."""
    names = [f"{site.name}.{layer}" for site in numbered_sites(unet) for layer in TARGETS.values()]
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names), adapter_name=NAME)
    found = {n.replace(".", "|"): p for n, p in unet.named_parameters() if p.requires_grad and NAME in n}
    for parameter in found.values():
        parameter.data = parameter.data.float()
    return found

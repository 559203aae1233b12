"""The networks of the bundled joint model, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.adapters.condition import Condition, TextConditioning
from twinset.adapters.garment import GarmentAdapter, reference_features
from twinset.adapters.identity import IdentityAdapter
from twinset.adapters.joint_attention import JointAttention, site_names
from twinset.figure.face_look import LOOKS
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.training.core.denoising import Loss
from twinset.training.core.forward import (
    Batch,
    ControlInput,
    DenoisingNetworks,
    level_weights,
    noisy_step,
    paint_regions,
)


@dataclass(frozen=True, kw_only=True)
class JointShape:
    """Sizes of the joint model.

    Attributes:
        widths: channels of the UNet's stages; attention sits in all stages but the first.
        heads: attention heads by stage.
        layers: residual blocks per stage.
        latent_channels, latent_size: the autoencoder's channels and (height, width).
        text_width: channels X of text states and tokens.
        clip_width: channels of the image encoder's hidden states.
        looks: numbers of a face's look that the canvas takes.
        canvas_hidden: width of the canvas's hidden layer.
    """

    widths: tuple[int, ...] = (64, 112, 160)
    heads: tuple[int, ...] = (4, 4, 5)
    layers: int = 1
    latent_channels: int = 16
    latent_size: tuple[int, int] = (32, 24)
    text_width: int = 128
    clip_width: int = 192
    looks: int = LOOKS
    canvas_hidden: int = 768


def studio_scheduler() -> DDIMScheduler:
    """DDIM on x₀ with zero terminal SNR (Lin 2023), trailing steps: few steps suffice and the first sees pure noise."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


class JointModel(DenoisingNetworks):
    """UNet, pose and parsing ControlNets, identity and garment adapters, as trained together."""

    def __init__(self, shape: JointShape):
        super().__init__()
        self.shape = shape
        stages = len(shape.widths)
        common = {
            "in_channels": shape.latent_channels,
            "block_out_channels": shape.widths,
            "layers_per_block": shape.layers,
            "cross_attention_dim": shape.text_width,
            "attention_head_dim": shape.heads,
            "norm_num_groups": 16,
        }
        down = ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (stages - 1)
        up = ("CrossAttnUpBlock2D",) * (stages - 1) + ("UpBlock2D",)
        self.unet = UNet2DConditionModel(
            sample_size=shape.latent_size,
            out_channels=shape.latent_channels,
            down_block_types=down,
            up_block_types=up,
            **common,
        )
        embedding = (8, 16, 32, 64)
        self.pose_net = ControlNetModel(
            down_block_types=("DownBlock2D",) * stages,
            conditioning_embedding_out_channels=embedding,
            mid_block_type="UNetMidBlock2D",
            **common,
        )
        self.parsing_net = RegionControlNetModel(
            down_block_types=("DownBlock2D",) * stages,
            conditioning_embedding_out_channels=embedding,
            mid_block_type="UNetMidBlock2D",
            **common,
        )
        for conv in (
            self.pose_net.controlnet_cond_embedding.conv_out,
            self.parsing_net.controlnet_cond_embedding.conv_out,
        ):
            nn.init.kaiming_uniform_(
                conv.weight, a=5**0.5
            )  # zero starts serve a trained UNet; this one starts with them
        self_sites, cross_sites = site_names(self.unet)
        self.identity = IdentityAdapter(
            cross_sites,
            shape.text_width,
            clip_width=shape.clip_width,
            latent_channels=shape.latent_channels,
            looks=shape.looks,
            canvas_hidden=shape.canvas_hidden,
        )
        self.identity.face_decoder.requires_grad_(False)  # trained before, see `canvas`
        self.garment = GarmentAdapter(cross_sites, self_sites, shape.text_width, clip_width=shape.clip_width)
        self.attention = JointAttention(self.unet).inject()

    def conditions(self, batch: Batch) -> list[Condition]:
        """Conditions of a training batch (see `joint_data.JointData.batch` for its fields)."""
        found = [
            Condition(
                "identity",
                self.identity(batch["face_embedding"], batch["face_states"]),
                batch["face_region"],
                self.identity.sites,
                batch["face_draft"],
                weight=batch["identity_on"],
            ),
            Condition("garment", None, batch["others_region"], None, batch["draft"], weight=batch["others_on"]),
            Condition("figure", None, batch["figure_region"], None, batch["figure_draft"], weight=batch["figure_on"]),
        ]
        features = self.references(batch) if bool(batch["with_reference"]) else None
        for piece in (0, 1):  # upper, lower
            reference = features and {site: f.unflatten(0, (-1, 2))[:, piece] for site, f in features.items()}
            region = batch["garment_region"][:, piece : piece + 1]
            found.append(
                Condition(
                    "garment",
                    self.garment(batch["flat_states"][:, piece]),
                    region,
                    self.garment.sites,
                    batch["draft"],
                    reference,
                    self.garment.reference_sites,
                    weight=batch["garment_on"][:, piece],
                )
            )
        return [*found, Condition("photo", None, batch["photo_region"], None, batch["latents"])]

    def references(self, batch: Batch) -> dict[str, Tensor]:
        """Reference features of both garments, (2·B, m, C) by site; without gradient."""
        self.attention.clear()
        return reference_features(
            self.attention, self.unet, batch["flats"].flatten(0, 1), TextConditioning(batch["empty"])
        )

    def words(self, batch: Batch) -> TextConditioning:
        """The encoded captions."""
        return TextConditioning(batch["words"])

    def controls(self, batch: Batch, words: TextConditioning, conditions: Sequence[Condition]) -> list[ControlInput]:
        """The skeleton, and the parsing map with the conditions laid into their regions."""
        pose: Any = self.pose_net.controlnet_cond_embedding
        painted = paint_regions(
            self.parsing_net, batch["palette"], words, conditions, self.shape.latent_size, batch["masks"]
        )
        return [
            ControlInput(self.pose_net, pose(batch["skeleton"]), batch["pose_on"]),
            ControlInput(self.parsing_net, painted, batch["parsing_on"]),
        ]


def borders(masks: Tensor, photo: Tensor) -> Tensor:
    """Where edges matter, (B, 1, h, w) in [0, 1]: cells of several labels, and the seam around what is drawn anew.

    Args:
        masks: (B, 18, h, w) shares of the labels.
        photo: (B, 1, h, w), 1 where the photo stays.
    """
    near = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
    return (1 - masks.amax(1, keepdim=True) + near(photo) * near(1 - photo)).clamp(0, 1)


def edge_error(predicted: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Edge-aware loss: squared difference of neighbouring cells' differences, (B, C, h, w), weighted by `where`."""
    wrong = predicted - truth
    down, right = wrong.diff(dim=2).square(), wrong.diff(dim=3).square()
    return where * (F.pad(down, (0, 0, 0, 1)) + F.pad(right, (0, 1)))


def joint_loss(scheduler: DDIMScheduler, gamma: float = 5.0, edges: float = 0.25, photo_weight: float = 0.1) -> Loss:
    """x₀ loss weighted by min(SNR + 1, γ), above zero even at zero terminal SNR (Min-SNR, Hang 2023).

    Faces, hands and feet weigh more.

    Args:
        scheduler: gives the noise.
        gamma: of Min-SNR.
        edges: weight of `edge_error`.
        kept: weight of what a photo gives, beside what is drawn anew.
    """
    weights = level_weights(scheduler, gamma, torch.float32)

    def loss_fn(model: JointModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        step = noisy_step(scheduler, batch)
        predicted = model(step.latents, step.timestep, batch).float()
        error = (predicted - step.target).square()
        weight = weights.to(error.device)[step.timestep].view(-1, 1, 1, 1)
        face_mask = batch["face_region"]
        emphasis = (1 + 3 * face_mask + 3 * batch["detail"]) * (1 - (1 - photo_weight) * batch["photo_region"])
        edge = edge_error(predicted, step.target, borders(batch["masks"], batch["photo_region"]))
        loss = (weight * (emphasis * error + edges * edge)).mean()
        face_error = (error * face_mask).sum() / (face_mask.sum() * error.shape[1] + 1e-6)
        figures = {"x0": error.mean(), "face": face_error, "edge": edge.mean()}
        return loss, {name: value.detach() for name, value in figures.items()}

    return loss_fn

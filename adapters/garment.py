"""Garment adapter: CLIP tokens of the garment picture, and reference attention to its features in the UNet itself."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from twinset.adapters.condition import TextConditioning
from twinset.adapters.joint_attention import JointAttention, SiteProjections
from twinset.adapters.resampler import Resampler


class GarmentAdapter(ModelMixin, ConfigMixin):
    """Tokens for cross-attention (IP-Adapter-Plus) and keys and values of reference features for self-attention.

    The reference network is the UNet itself, run once on the garment's clean latent at t = 0 (IMAGDressing trains a
    copy; sharing it keeps the bundled model small).
    """

    @register_to_config
    def __init__(
        self,
        cross_sites: dict[str, int],
        self_sites: dict[str, int],
        token_width: int = 128,
        tokens: int = 8,
        clip_width: int = 192,
    ):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, tokens, token_width) * token_width**-0.5)
        self.resampler = Resampler(clip_width, token_width)
        self.sites = SiteProjections(cross_sites, token_width)
        self.reference_sites = SiteProjections(self_sites, None)
        for to_v in self.reference_sites.to_v.values():  # silent at the start of training
            nn.init.zeros_(to_v.get_parameter("weight"))

    def forward(self, clip_states: Tensor) -> Tensor:
        """(B, m, clip_width) hidden states of the garment picture to tokens (B, tokens, X)."""
        return self.resampler(self.queries.expand(len(clip_states), -1, -1), clip_states)


@torch.no_grad()
def reference_features(
    attention: JointAttention, unet: UNet2DConditionModel, latents: Tensor, words: TextConditioning
) -> dict[str, Tensor]:
    """Inputs of every self-attention site for clean garment latents at t = 0: site → (B, m, C).

    Args:
        attention: joint attention of `unet`.
        unet: the UNet that reads the garment.
        latents: (B, C, h, w) scaled latents of the garment pictures.
        words: the empty text, one row.
    """
    empty, clean = words.repeat(len(latents)), torch.zeros(len(latents), device=latents.device, dtype=torch.long)
    with attention.injected(), attention.recording() as features:
        unet(latents, clean, encoder_hidden_states=empty.states, added_cond_kwargs=dict(empty.added) or None)
    return features

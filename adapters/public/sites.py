"""Numbering of a UNet's attention sites, by which public files index their keys.

Files that were saved as a `ModuleList` of a UNet's attention processors have keys `{i}.to_k_ip.weight` with i in
diffusers' processor order: `down_blocks`, `up_blocks`, then `mid_block`, each transformer block with attn1 (self)
before attn2 (cross). So even numbers are self-attention and odd ones cross-attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from twinset.adapters.joint_attention import SiteProjections
from twinset.adapters.state_tables import Shapes, filled
from twinset.adapters.weights import Weights

BLOCKS = ("down_blocks.", "up_blocks.", "mid_block.")


@dataclass(frozen=True)
class Site:
    """An attention layer of a UNet.

    Attributes:
        index: number in diffusers' processor order.
        name: module name, e.g. `mid_block.attentions.0.transformer_blocks.0.attn2`.
        channels: C of its queries, keys and values.
    """

    index: int
    name: str
    channels: int

    @property
    def cross(self) -> bool:
        """Whether it attends to the text (attn2) rather than to the picture itself (attn1)."""
        return self.name.endswith("attn2")


def numbered_sites(unet: UNet2DConditionModel) -> list[Site]:
    """All attention sites of a UNet, in order; works on the meta device."""
    # `encoder_hid_proj` of a loaded IP-Adapter has attention of its own, which has no number
    names = [name.removesuffix(".processor") for name in unet.attn_processors if name.startswith(BLOCKS)]
    names.sort(key=lambda name: name.startswith("mid_block."))  # stable: only the middle block moves, to the end
    return [Site(i, name, cast(Attention, unet.get_submodule(name)).inner_dim) for i, name in enumerate(names)]


def cross_sites(unet: UNet2DConditionModel) -> list[Site]:
    """The sites that attend to the text."""
    return [site for site in numbered_sites(unet) if site.cross]


def self_sites(unet: UNet2DConditionModel) -> list[Site]:
    """The sites that attend to the picture itself."""
    return [site for site in numbered_sites(unet) if not site.cross]


def text_width(unet: UNet2DConditionModel) -> int:
    """Channels X of the text tokens: 768 for SD1.5, 2048 for SDXL."""
    return unet.config["cross_attention_dim"]


def projection_shapes(sites: Sequence[Site], width: int | None, suffix: str) -> Shapes:
    """Table of the indexed keys `{i}.to_k_{suffix}.weight` and `{i}.to_v_{suffix}.weight`.

    Args:
        sites: the sites that have them.
        width: channels of the tokens; None where a site's own features are projected (C → C).
        suffix: "ip" or "ref".
    """
    return {f"{s.index}.to_{kv}_{suffix}.weight": (s.channels, width or s.channels) for s in sites for kv in "kv"}


def site_projections(state: Weights, sites: Sequence[Site], width: int | None, suffix: str) -> SiteProjections:
    """Key and value projections by site name, from a file's indexed keys; arguments as `projection_shapes`."""
    with torch.device("meta"):
        module = SiteProjections({site.name: site.channels for site in sites}, width)
    named = {
        f"to_{kv}.{s.name.replace('.', '-')}.weight": state[f"{s.index}.to_{kv}_{suffix}.weight"]
        for s in sites
        for kv in "kv"
    }
    return filled(module, named)

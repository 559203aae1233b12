"""StoryMaker (RED-AIGC/StoryMaker; paper: Zhou 2024, arXiv:2409.12576): face, hair, body and clothes of each person.

Code: RedAIGC/StoryMaker `pipeline_sdxl_storymaker.py`, `ip_adapter/ip_adapter_faceid.py`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.public.embedded_lora import lora_state
from twinset.adapters.public.face_id import indexed_shapes
from twinset.adapters.public.projectors import StoryMakerTokens
from twinset.adapters.public.sites import cross_sites, numbered_sites, site_projections, text_width
from twinset.adapters.state_tables import Shapes, expect, filled, part, prefixed, shapes_of
from twinset.adapters.weights import read_weights

STRENGTH = 0.8  # of tokens and LoRA, the authors' defaults


def story_maker_projector(width: int) -> StoryMakerTokens:
    """The token maker for text tokens of `width` channels, without weights (meta device)."""
    with torch.device("meta"):
        return StoryMakerTokens(width)


def story_maker_shapes(unet: UNet2DConditionModel) -> Shapes:
    """Table of the whole file for a UNet."""
    projector = story_maker_projector(text_width(unet))
    return prefixed("image_proj_model.", shapes_of(projector)) | prefixed("ip_adapter.", indexed_shapes(unet))


def read_story_maker(path: str | Path, unet: UNet2DConditionModel) -> PublicAdapter:
    """Read a StoryMaker file.

    Args:
        path: `mask.bin`.
        unet: the SDXL UNet it will be used with.

    Raises:
        LayoutError: the file is damaged or made for another family of UNet.
    """
    state = read_weights(path)
    expect(state, story_maker_shapes(unet), f"story-maker file {path}")
    indexed, width = part(state, "ip_adapter."), text_width(unet)
    return PublicAdapter(
        kind="identity",
        projector=filled(story_maker_projector(width), part(state, "image_proj_model.")),
        sites=site_projections(indexed, cross_sites(unet), width, "ip"),
        lora=lora_state(indexed, numbered_sites(unet)),
        strength=STRENGTH,
    )

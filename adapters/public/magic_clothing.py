"""MagicClothing (ShineChen1024/MagicClothing; paper: Chen 2024, arXiv:2404.09512): a garment UNet, nothing else.

Code: `garment_adapter/garment_diffusion.py`, `attention_processor.py`. The garment's clean latent (masked to the
garment, mode of the VAE, empty text) goes through its UNet once at t = 0. At every attn1 site the site's own attention
runs over `cat([h, ref], 1)` and the first half is kept. The unconditional branch attends to zeros in place of `ref`.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from diffusers import UNet2DConditionModel

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.state_tables import Shapes, expect, shapes_of
from twinset.adapters.weights import read_weights


def reference_unet_shapes(unet: UNet2DConditionModel) -> Shapes:
    """Table of a plain UNet of the same family: it reads a latent alone, even where `unet` reads a mask too."""
    config = dict(unet.config) | {"in_channels": unet.config["out_channels"]}
    config.pop("_use_default_values", None)  # else a default would win over the channels above
    with torch.device("meta"):
        return shapes_of(cast(UNet2DConditionModel, UNet2DConditionModel.from_config(config)))


def read_magic_clothing(path: str | Path, unet: UNet2DConditionModel) -> PublicAdapter:
    """Read a MagicClothing file.

    Args:
        path: e.g. `magic_clothing_768_vitonhd_joint.safetensors`.
        unet: the UNet it will be used with.

    Raises:
        LayoutError: the file is damaged or not a UNet of this family.
    """
    state = read_weights(path)
    expect(state, reference_unet_shapes(unet), f"magic-clothing file {path}")
    return PublicAdapter(kind="garment", reference_unet_state=state, attention="concatenated")

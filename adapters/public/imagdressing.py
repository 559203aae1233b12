"""IMAGDressing-v1 (feishen29/IMAGDressing; paper: Shen 2024, arXiv:2407.12705): a garment UNet and hybrid attention.

Code: muzishen/IMAGDressing `inference_IMAGdressing.py`, `adapter/attention_processor.py`. The garment's clean latent
(mean of the VAE) goes once, at t = 0, through the reference UNet, whose cross-attention reads the projector's sixteen
CLIP tokens in place of text. The inputs of its attn1 sites are kept; each main attn1 site adds
`w · Attn(q, K_ref, V_ref)` before its output layer. The unconditional branch gets no reference.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import UNet2DConditionModel

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.public.ip_adapter import CLIP_WIDTH, query_resampler
from twinset.adapters.public.magic_clothing import reference_unet_shapes
from twinset.adapters.public.sites import projection_shapes, self_sites, site_projections, text_width
from twinset.adapters.state_tables import Shapes, expect, filled, part, prefixed, shapes_of
from twinset.adapters.weights import read_weights

PREFIX = "module."
BASE = "module.unet."  # a copy of the frozen base model, which the authors do not load either


def imagdressing_shapes(unet: UNet2DConditionModel) -> Shapes:
    """Table of the file for a UNet, without the base model's copy."""
    projector = query_resampler(CLIP_WIDTH, text_width(unet), text_width(unet))
    return prefixed(
        PREFIX,
        prefixed("ref_unet.", reference_unet_shapes(unet))
        | prefixed("proj.", shapes_of(projector))
        | prefixed("adapter_modules.", projection_shapes(self_sites(unet), None, "ref")),
    )


def read_imagdressing(path: str | Path, unet: UNet2DConditionModel) -> PublicAdapter:
    """Read an IMAGDressing file.

    Args:
        path: `IMAGDressing-v1_512.pt`.
        unet: the UNet it will be used with.

    Raises:
        LayoutError: the file is damaged or made for another family of UNet.
    """
    state = {key: tensor for key, tensor in read_weights(path).items() if not key.startswith(BASE)}
    expect(state, imagdressing_shapes(unet), f"imagdressing file {path}")
    width = text_width(unet)
    return PublicAdapter(
        kind="garment",
        projector=filled(query_resampler(CLIP_WIDTH, width, width), part(state, f"{PREFIX}proj.")),
        reference_sites=site_projections(part(state, f"{PREFIX}adapter_modules."), self_sites(unet), None, "ref"),
        reference_unet_state=part(state, f"{PREFIX}ref_unet."),
    )

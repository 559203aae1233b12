"""IP-Adapter-Plus (h94/IP-Adapter) and InstantID (InstantX/InstantID): learned queries and decoupled cross-attention.

Code: tencent-ailab/IP-Adapter `resampler.py`, InstantID `pipeline_stable_diffusion_xl_instantid.py`. The two layouts
differ in what the queries read: CLIP ViT-H states (1280) or one face embedding (512).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from diffusers import UNet2DConditionModel

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.public.projectors import HEAD, QueryResampler
from twinset.adapters.public.sites import cross_sites, projection_shapes, site_projections, text_width
from twinset.adapters.state_tables import Shapes, expect, filled, part, prefixed, shapes_of
from twinset.adapters.weights import Weights, read_weights

CLIP_WIDTH, FACE_WIDTH = 1280, 512
QueryForm = Literal["ip-adapter-plus", "instant-id"]


def query_resampler(features: int, width: int, out: int) -> QueryResampler:
    """The token maker without weights (meta device)."""
    with torch.device("meta"):
        return QueryResampler(features, width, out)


def query_width(state: Weights, key: str) -> int:
    """Channels of the learned queries at `key`: 768 in SD1.5 files, 1280 in SDXL ones; 1280 where there are none."""
    shape: tuple[int, ...] = tuple(state[key].shape) if key in state else ()
    return shape[-1] if len(shape) == 3 and shape[-1] % HEAD == 0 else 1280


def ip_adapter_shapes(form: QueryForm, unet: UNet2DConditionModel, width: int) -> Shapes:
    """Table of the whole file for a UNet and queries of `width` channels."""
    features = FACE_WIDTH if form == "instant-id" else CLIP_WIDTH
    projector = query_resampler(features, width, text_width(unet))
    indexed = projection_shapes(cross_sites(unet), text_width(unet), "ip")
    return prefixed("image_proj.", shapes_of(projector)) | prefixed("ip_adapter.", indexed)


def read_ip_adapter(path: str | Path, unet: UNet2DConditionModel, form: QueryForm) -> PublicAdapter:
    """Read an IP-Adapter-Plus or InstantID file.

    Args:
        path: e.g. `ip-adapter-plus_sd15.safetensors`, or InstantID's `ip-adapter.bin`.
        unet: the UNet it will be used with, which gives the sites and X.
        form: "ip-adapter-plus" (a garment's CLIP states) or "instant-id" (a face embedding).

    Raises:
        LayoutError: the file is damaged, of another form, or made for another family of UNet.
    """
    state = read_weights(path)
    width, out = query_width(state, "image_proj.latents"), text_width(unet)
    expect(state, ip_adapter_shapes(form, unet, width), f"{form} file {path}")
    features = FACE_WIDTH if form == "instant-id" else CLIP_WIDTH
    return PublicAdapter(
        kind="identity" if form == "instant-id" else "garment",
        projector=filled(query_resampler(features, width, out), part(state, "image_proj.")),
        sites=site_projections(part(state, "ip_adapter."), cross_sites(unet), out, "ip"),
    )

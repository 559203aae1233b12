"""IP-Adapter-FaceID, -Plus and -PlusV2 (h94/IP-Adapter-FaceID; code: tencent-ailab/IP-Adapter, `ip_adapter_faceid.py`).

The `.bin` already holds its LoRA; the `_lora.safetensors` beside it on the hub is the same, so only one may be applied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from diffusers import UNet2DConditionModel

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.public.embedded_lora import lora_shapes, lora_state
from twinset.adapters.public.projectors import FaceIDPlusTokens, FaceIDTokens
from twinset.adapters.public.sites import cross_sites, numbered_sites, projection_shapes, site_projections, text_width
from twinset.adapters.state_tables import Shapes, expect, filled, part, prefixed, shapes_of
from twinset.adapters.weights import read_weights

FaceIDForm = Literal["face-id", "face-id-plus", "face-id-plus-v2"]


def face_id_projector(form: FaceIDForm, width: int) -> FaceIDTokens:
    """The form's token maker for text tokens of `width` channels, without weights (meta device)."""
    with torch.device("meta"):
        return FaceIDTokens(width) if form == "face-id" else FaceIDPlusTokens(width, form == "face-id-plus-v2")


def indexed_shapes(unet: UNet2DConditionModel) -> Shapes:
    """Table of `ip_adapter`: K and V at the cross sites, the LoRA at all sites."""
    width = text_width(unet)
    return projection_shapes(cross_sites(unet), width, "ip") | lora_shapes(numbered_sites(unet), width)


def face_id_shapes(form: FaceIDForm, unet: UNet2DConditionModel) -> Shapes:
    """Table of the whole file for a UNet."""
    projector = face_id_projector(form, text_width(unet))
    return prefixed("image_proj.", shapes_of(projector)) | prefixed("ip_adapter.", indexed_shapes(unet))


def read_face_id(path: str | Path, unet: UNet2DConditionModel, form: FaceIDForm) -> PublicAdapter:
    """Read a FaceID file.

    Args:
        path: e.g. `ip-adapter-faceid_sd15.bin`.
        unet: the UNet it will be used with, which gives the sites and X.
        form: "face-id", "face-id-plus" or "face-id-plus-v2"; the last two cannot be told apart by their keys.

    Raises:
        LayoutError: the file is damaged, of another form, or made for another family of UNet.
    """
    state = read_weights(path)
    expect(state, face_id_shapes(form, unet), f"{form} file {path}")
    indexed, width = part(state, "ip_adapter."), text_width(unet)
    return PublicAdapter(
        kind="identity",
        projector=filled(face_id_projector(form, width), part(state, "image_proj.")),
        sites=site_projections(indexed, cross_sites(unet), width, "ip"),
        lora=lora_state(indexed, numbered_sites(unet)),
    )

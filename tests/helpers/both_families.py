"""Pipelines of both families on small parts, ours and diffusers' own, and short calls of them."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from torch import Tensor

from tests.helpers.diffusers_parts import components, components_xl, inputs
from twinset.adapters.condition import Condition
from twinset.adapters.joint_attention import SiteProjections, site_names
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline

FAMILIES = ("sd15", "sdxl")


@cache
def _made(family: str) -> dict[str, Any]:
    return components_xl() | {"add_watermarker": False} if family == "sdxl" else components()


def parts_of(family: str) -> dict[str, Any]:
    """A copy of the family's parts; the tokenizers, slow to copy, are shared by those who leave them as they are."""
    return {name: part if "tokenizer" in name else copy.deepcopy(part) for name, part in _made(family).items()}


def ours(family: str, parts: dict[str, Any] | None = None) -> Any:
    """Our pipeline."""
    cls: Any = JointXLPipeline if family == "sdxl" else JointPipeline
    pipe = cls(**(parts or parts_of(family)))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(family: str, parts: dict[str, Any] | None = None) -> Any:
    """diffusers' own ControlNet pipeline."""
    cls: Any = StableDiffusionXLControlNetPipeline if family == "sdxl" else StableDiffusionControlNetPipeline
    pipe = cls(**(parts or parts_of(family)), **({} if family == "sdxl" else {"requires_safety_checker": False}))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents(pipe: Any, **options: Any) -> Tensor:
    """Latents of a short call."""
    return pipe(**inputs() | {"output_type": "latent"} | options).images


def close(one: Tensor, other: Tensor, share: float = 1e-4) -> None:
    """Equal to a share of their size."""
    assert other.std() > 0.05
    torch.testing.assert_close(one, other, rtol=share, atol=share * float(other.abs().max()))


def face(unet: Any, weight: float = 1.0, device: Any = None) -> Condition:
    """Random tokens in the left half of the picture, as an adapter from a file would give."""
    torch.manual_seed(2)
    sites = SiteProjections(site_names(unet)[1], 16).requires_grad_(False)
    for projection in sites.parameters():
        torch.nn.init.normal_(projection, std=0.5)
    region = torch.zeros(1, 1, 64, 64)
    region[..., :32] = 1
    tokens, where = torch.randn(1, 4, 16), {"device": device or unet.device, "dtype": unet.dtype}
    return Condition("identity", tokens.to(**where), region.to(**where), sites.to(**where), weight=weight)


def cloth(unet: Any, joined: bool = False) -> Condition:
    """Random features of a garment in the lower half, with projections of their own or joined to the site's own."""
    torch.manual_seed(3)
    widths = site_names(unet)[0]
    sites = SiteProjections(widths, None).requires_grad_(False)
    region = torch.zeros(1, 1, 64, 64)
    region[..., 32:, :] = 1
    where = {"device": unet.device, "dtype": unet.dtype}
    features = {name: torch.randn(1, 12, width).to(**where) for name, width in widths.items()}
    return Condition(
        "garment", None, region.to(**where), None, None, features, None if joined else sites.to(**where), weight=1.5
    )

"""Latents whose sides do not halve evenly: every attention site sees its conditions where their regions are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional as F

from twinset.adapters.condition import Condition
from twinset.adapters.joint_attention import JointAttention, SiteProjections, site_names

ODD = ((13, 9), (9, 13), (5, 3))
WIDTH, WEIGHT = 24, 0.7


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    """Three levels with attention, so that a latent is halved twice."""
    torch.manual_seed(0)
    net = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16, 16), down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3, layers_per_block=1, cross_attention_dim=WIDTH,
        attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    return net.eval().requires_grad_(False)


def conditions(unet: UNet2DConditionModel) -> list[Condition]:
    """Tokens in the upper left, features in the rest, of pictures of any size."""
    torch.manual_seed(1)
    widths, crossing = site_names(unet)
    projections = SiteProjections(crossing, WIDTH), SiteProjections(widths, None)
    for parameter in (p for sites in projections for p in sites.parameters()):
        torch.nn.init.normal_(parameter, std=0.5)
    corner = torch.zeros(1, 1, 60, 44)
    corner[..., :31, :20] = 1
    features = {name: torch.randn(1, 6, width) for name, width in widths.items()}
    tokens, own = (sites.requires_grad_(False) for sites in projections)
    return [
        Condition("identity", torch.randn(1, 4, WIDTH), corner, tokens, weight=WEIGHT),
        Condition("garment", None, 1 - corner, None, None, features, own, weight=WEIGHT),
    ]


def output(unet: UNet2DConditionModel, present: list[Condition], size: tuple[int, int]) -> Tensor:
    """The UNet's answer to the same latents and text with these conditions."""
    same = torch.Generator().manual_seed(2)
    latents, text = torch.randn(2, 4, *size, generator=same), torch.randn(2, 5, WIDTH, generator=same)
    attention = JointAttention(unet)
    with torch.no_grad(), attention.injected():
        for condition in present:
            attention.attach(condition, size)
        attention.set_weights(0, 1, [("identity", "garment")], len(latents))
        return unet(latents, 500, encoder_hidden_states=text).sample


def softmax_attention(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v, written out."""
    q, k, v = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
    return ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("size", ODD)
def test_every_site_adds_its_conditions_where_their_regions_are(
    unet: UNet2DConditionModel, size: tuple[int, int]
) -> None:
    """Against the formula, with the height and width that the site's own feature map has."""
    face, garment = conditions(unet)
    maps: list[tuple[int, int]] = []
    heard: dict[str, tuple[Tensor, Tensor, tuple[int, int], Tensor]] = {}
    hooks = []
    for name, module in unet.named_modules():
        if name.rpartition(".")[2].isdigit() and "attentions" in name.split(".")[-2:]:
            hooks.append(module.register_forward_pre_hook(lambda _, args: maps.append(args[0].shape[2:])))
        if isinstance(module, Attention):

            def keep(_: Any, args: Any, options: Any, out: Tensor, name: str = name) -> None:
                text = options.get("encoder_hidden_states")
                heard[name] = args[0], args[0] if text is None else text, tuple(maps[-1]), out  # type: ignore[assignment]

            hooks.append(module.register_forward_hook(keep, with_kwargs=True))
    output(unet, [face, garment], size)
    for hook in hooks:
        hook.remove()

    assert len({shape for _, _, shape, _ in heard.values()}) == 3 and len(heard) == 2 * len(maps)
    for name, (asking, context, shape, out) in heard.items():
        attn = cast(Attention, unet.get_submodule(name))
        query, key = attn.to_q(asking), name.replace(".", "-")
        own = face if name.endswith("attn2") else garment
        sites = cast(SiteProjections, face.sites if own is face else garment.reference_sites)
        told = cast(Tensor, face.tokens) if own is face else cast(dict, garment.reference)[name]
        added = softmax_attention(
            attn, query, *(x.expand(2, -1, -1) for x in (sites.to_k[key](told), sites.to_v[key](told)))
        )
        mask = F.adaptive_avg_pool2d(own.region, shape).reshape(1, -1, 1)
        plain = softmax_attention(attn, query, attn.to_k(context), attn.to_v(context))
        torch.testing.assert_close(out, attn.to_out[0](plain + WEIGHT * mask * added), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", ODD)
def test_two_regions_are_together_the_whole(unet: UNet2DConditionModel, size: tuple[int, int]) -> None:
    """One condition in two regions that share the picture says what it says everywhere."""
    for whole in conditions(unet):
        parts = [replace(whole, region=whole.region), replace(whole, region=1 - whole.region)]
        everywhere = output(unet, [replace(whole, region=torch.ones_like(whole.region))], size)
        torch.testing.assert_close(output(unet, parts, size), everywhere, rtol=1e-4, atol=1e-4)
        assert (output(unet, parts[:1], size) - everywhere).abs().max() > 1e-3

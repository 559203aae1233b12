"""The tables of public adapter files at full size, against the published layouts."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import math

import pytest

from tests.helpers.public_files import full_unet, shapes_of
from twinset.adapters.public.face_id import face_id_shapes
from twinset.adapters.public.imagdressing import imagdressing_shapes
from twinset.adapters.public.ip_adapter import ip_adapter_shapes
from twinset.adapters.public.magic_clothing import reference_unet_shapes
from twinset.adapters.public.sites import numbered_sites
from twinset.adapters.public.story_maker import story_maker_shapes


def spans(*pairs: tuple[int, int, int]) -> dict[int, int]:
    """(first, last, channels) of odd numbers → number: channels."""
    return {i: c for first, last, c in pairs for i in range(first, last + 1, 2)}


CROSS = {
    "sd15": spans((1, 3, 320), (5, 7, 640), (9, 17, 1280), (19, 23, 640), (25, 29, 320), (31, 31, 1280)),
    "sdxl": spans((1, 7, 640), (9, 107, 1280), (109, 119, 640), (121, 139, 1280)),
}


@pytest.mark.parametrize(("family", "count"), [("sd15", 32), ("sdxl", 140)])
def test_sites_of_the_real_unets_are_numbered_as_in_the_files(family: str, count: int):
    unet = full_unet(family)
    sites = numbered_sites(unet)
    assert [s.index for s in sites] == list(range(count))
    assert [s.cross for s in sites] == [bool(i % 2) for i in range(count)]
    assert {s.index: s.channels for s in sites if s.cross} == CROSS[family]
    assert [f"{s.name}.processor" for s in sites] == list(unet.attn_processors)
    assert sites[-1].name.startswith("mid_block.") and not sites[0].name.startswith("mid_block.")


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_tables_at_full_size(family: str):
    unet = full_unet(family)
    x, width = (768, 768) if family == "sd15" else (2048, 1280)
    for form in ("face-id", "face-id-plus", "face-id-plus-v2"):
        assert face_id_shapes(form, unet) == shapes_of(form, unet)
    assert ip_adapter_shapes("ip-adapter-plus", unet, width) == shapes_of("ip-adapter-plus", unet)
    assert ip_adapter_shapes("instant-id", unet, 1280) == shapes_of("instant-id", unet)
    assert story_maker_shapes(unet) == shapes_of("story-maker", unet)
    facts = face_id_shapes("face-id-plus", unet)
    assert facts["image_proj.proj.2.weight"] == (4 * x, 1024)
    assert facts["image_proj.perceiver_resampler.layers.3.0.to_kv.weight"] == (2 * x, x)
    assert facts["ip_adapter.1.to_k_ip.weight"] == (CROSS[family][1], x)
    assert facts["ip_adapter.0.to_k_lora.down.weight"] == (128, CROSS[family][1])


def test_garment_tables_at_full_size():
    unet = full_unet("sd15")
    table, theirs = imagdressing_shapes(unet), shapes_of("imagdressing", unet)
    assert table == {k: s for k, s in theirs.items() if not k.startswith("module.unet.")}
    assert reference_unet_shapes(unet) == shapes_of("magic-clothing", unet)
    assert sum(math.prod(s) for s in reference_unet_shapes(unet).values()) == 859_520_964  # SD1.5's UNet

"""The attention that a user chooses, in our way or in diffusers', really runs, and conditions act with any of them."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.callbacks import IPAdapterScaleCutoffCallback
from diffusers.models.attention_processor import AttnProcessor, FusedAttnProcessor2_0, SlicedAttnProcessor

from tests.helpers.both_families import FAMILIES, close, cloth, face, latents, ours, theirs
from twinset.adapters import joint_attention
from twinset.adapters.condition import Condition
from twinset.adapters.joint_attention import site_names
from twinset.errors import InputError


def conditions(pipe: Any, joined: bool = False) -> list[Condition]:
    return [face(pipe.unet), cloth(pipe.unet, joined)]


@pytest.fixture
def dispatched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backends through which attention went, one entry a call."""
    calls, real = [], joint_attention.dispatch_attention_fn

    def counted(*args: Any, backend: Any = None, **kwargs: Any) -> Any:
        calls.append(backend.value)
        return real(*args, backend=backend, **kwargs)

    monkeypatch.setattr(joint_attention, "dispatch_attention_fn", counted)
    return calls


def sites_of(pipe: Any) -> int:
    selves, crosses = site_names(pipe.unet)
    return len(selves) + len(crosses)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("joined", [False, True])
def test_a_backend_runs_at_every_site_and_for_every_condition(family: str, joined: bool, dispatched: list[str]) -> None:
    pipe, given = ours(family), {"num_inference_steps": 1, "guidance_scale": 1.0}
    by_default = latents(pipe, **given), latents(pipe, conditions=conditions(pipe, joined), **given)
    assert dispatched == [] and not torch.allclose(*by_default, rtol=1e-2)
    pipe.attention.use("_native_math")
    assert set(dispatched) == {"_native_math"}  # it is tried before it is chosen
    dispatched.clear()
    close(latents(pipe, **given), by_default[0])
    assert dispatched == ["_native_math"] * sites_of(pipe)
    dispatched.clear()
    close(latents(pipe, conditions=conditions(pipe, joined), **given), by_default[1])
    assert dispatched == ["_native_math"] * 2 * sites_of(pipe)
    for plain in ("native", None):
        pipe.attention.use("_native_math")
        pipe.attention.use(plain)
        dispatched.clear()
        assert torch.equal(latents(pipe, **given), by_default[0]) and dispatched == []


@pytest.mark.parametrize("name", ["no-such-attention", "xformers", "flash", "sage"])
def test_a_backend_that_does_not_run_is_refused_by_name(name: str) -> None:
    pipe = ours("sd15")
    pipe.attention.use("_native_math")
    try:
        pipe.attention.use(name)
    except InputError as error:
        assert name in str(error)
        assert pipe.attention.frame.backend.value == "_native_math"  # the choice before stands
    else:
        assert name != "no-such-attention"
        latents(pipe, conditions=conditions(pipe))  # it is there, so it runs


def test_some_backend_does_not_run_on_a_cpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("flash attention may run on a GPU")
    with pytest.raises(InputError, match="flash"):
        ours("sd15").attention.use("flash")


def by_set_attn_processor(pipe: Any) -> type:
    pipe.unet.set_attn_processor(AttnProcessor())
    return AttnProcessor


def by_slicing(pipe: Any) -> type:
    pipe.enable_attention_slicing(1)
    return SlicedAttnProcessor


def by_fusing(pipe: Any) -> type:
    pipe.fuse_qkv_projections(vae=False)
    return FusedAttnProcessor2_0


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("choose", [by_set_attn_processor, by_slicing, by_fusing])
def test_a_processor_chosen_in_diffusers_way_runs(family: str, choose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, given = ours(family), {"num_inference_steps": 1, "guidance_scale": 1.0}
    others = [face(pipe.unet), cloth(pipe.unet)]
    plain, dressed = latents(pipe, **given), latents(pipe, conditions=others, **given)
    chosen, calls = choose(pipe), []
    real = chosen.__call__

    def counted(self: Any, attn: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(attn)
        return real(self, attn, hidden_states, *args, **kwargs)

    before = pipe.unet.attn_processors
    monkeypatch.setattr(chosen, "__call__", counted)
    close(latents(pipe, **given), plain)
    own = set(pipe.unet.modules())
    assert len([attn for attn in calls if attn in own]) == sites_of(pipe)
    calls.clear()
    close(latents(pipe, conditions=others, **given), dressed)
    assert len([attn for attn in calls if attn in own]) == sites_of(pipe)
    after = pipe.unet.attn_processors
    assert before.keys() == after.keys() and all(after[name] is before[name] for name in before)
    assert all(type(processor) is chosen for processor in after.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fused_unet_unfuses(family: str) -> None:
    pipe = ours(family)
    plain = latents(pipe, conditions=conditions(pipe))
    pipe.fuse_qkv_projections(vae=False)
    latents(pipe)
    pipe.unfuse_qkv_projections(vae=False)
    assert torch.equal(latents(pipe, conditions=conditions(pipe)), plain)


def test_a_joined_reference_says_that_it_needs_the_plain_processor() -> None:
    pipe = ours("sd15")
    pipe.unet.set_attn_processor(AttnProcessor())
    before = pipe.unet.attn_processors
    with pytest.raises(InputError, match="AttnProcessor"):
        latents(pipe, conditions=[cloth(pipe.unet, joined=True)])
    after = pipe.unet.attn_processors  # an error leaves no trace either
    assert all(after[name] is before[name] for name in before)


def ip_adapter(unet: Any) -> dict[str, Any]:
    """A small IP-Adapter of random weights, in its published layout: cross-attention sites have the odd numbers."""
    torch.manual_seed(5)
    width, weights = unet.config["cross_attention_dim"], {}
    crosses = [name for name in unet.attn_processors if "attn2" in name]
    for number, name in enumerate(crosses):
        channels = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        weights |= {f"{2 * number + 1}.to_{kind}_ip.weight": 0.3 * torch.randn(channels, width) for kind in "kv"}
    projection = {
        "proj.weight": torch.randn(4 * width, 24),
        "proj.bias": torch.randn(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    return {"image_proj": projection, "ip_adapter": weights}


def pictured(pipe: Any) -> dict[str, Any]:
    pipe.unet._load_ip_adapter_weights([ip_adapter(pipe.unet)])
    generator = torch.Generator().manual_seed(6)
    return {"ip_adapter_image_embeds": [torch.randn(2, 1, 24, generator=generator)]}


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_an_ip_adapter_of_diffusers_acts_beside_a_condition(family: str) -> None:
    pipe, plain = ours(family), theirs(family)
    without = latents(pipe)
    given = pictured(pipe)
    assert pictured(plain).keys() == given.keys()
    alone = latents(pipe, **given)
    close(alone, latents(plain, **given))
    assert not torch.allclose(alone, without, rtol=1e-2)
    before = pipe.unet.attn_processors
    both = latents(pipe, conditions=[face(pipe.unet)], **given)
    pipe.set_ip_adapter_scale(0.0)
    faced = latents(pipe, conditions=[face(pipe.unet)], **given)
    assert not torch.allclose(both, alone, rtol=1e-2) and not torch.allclose(both, faced, rtol=1e-2)
    close(faced, latents(ours(family), conditions=[face(pipe.unet)]))
    assert all(pipe.unet.attn_processors[name] is before[name] for name in before)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_an_ip_adapter_is_cut_off_by_diffusers_callback(family: str) -> None:
    made = []
    for pipe in (ours(family), theirs(family)):
        given = pictured(pipe) | {"num_inference_steps": 3}
        cut = IPAdapterScaleCutoffCallback(None, cutoff_step_index=0)
        made.append(latents(pipe, callback_on_step_end=cut, **given))
        pipe.set_ip_adapter_scale(1.0)
        assert not torch.allclose(latents(pipe, **given), made[-1], rtol=1e-3)
    close(*made)

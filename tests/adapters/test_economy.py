"""Exact economy: what needs no second computation gets none, and the picture is that of the naive way."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import nn

from tests.helpers.tiny import batches, dressed, noise_picture, seeded, tiny_pipeline
from twinset.adapters import joint_attention
from twinset.adapters.attention_memory import RegionTokens
from twinset.adapters.condition import Condition
from twinset.adapters.joint_attention import attend
from twinset.pipelines.denoising.economy import Economy
from twinset.pipelines.denoising.guidance import Guidance
from twinset.pipelines.studio import StudioPipeline

PROMPT = "short hair, on the beach"


@pytest.fixture
def pipe() -> StudioPipeline:
    return tiny_pipeline()


def latents_of(pipe: StudioPipeline, conditions: list[Condition], **options: Any) -> torch.Tensor:
    given = {"layout": dressed(), "generator": seeded(1), "num_inference_steps": 4, "output_type": "latent"} | options
    latents = pipe(PROMPT, conditions=conditions, **given).images
    assert isinstance(latents, torch.Tensor)
    return latents


def person(pipe: StudioPipeline, seed: int = 0, **options: Any) -> Condition:
    return pipe.identity(noise_picture(112, 112, seed), dressed(), **options)


def shirt(pipe: StudioPipeline, seed: int = 1, **options: Any) -> Condition:
    return pipe.garment(noise_picture(256, 192, seed), "t_shirt", dressed(), **options)


def test_branches_run_in_one_batch_and_only_those_needed(pipe: StudioPipeline) -> None:
    conditions = [person(pipe), shirt(pipe)]
    for guidance, branches in ((1.0, 1), (2.0, 2)):
        with batches(pipe.unet) as seen:
            latents_of(pipe, conditions, guidance_scale=guidance)
        assert seen == [branches] * 4


def test_the_reference_network_runs_once_for_a_garment(pipe: StudioPipeline) -> None:
    with batches(pipe.unet) as seen:
        latents_of(pipe, [shirt(pipe)], guidance_scale=1.0, num_images_per_prompt=2, generator=seeded(1, 2))
    assert seen == [1] + [2] * 4


def test_control_embeddings_are_made_once(pipe: StudioPipeline) -> None:
    pose_net, parsing_net = pipe.controlnet.nets
    with batches(pose_net.controlnet_cond_embedding) as pose, batches(parsing_net.painter) as painted:
        latents_of(pipe, [person(pipe)], guidance_scale=2.0, num_images_per_prompt=2, generator=seeded(1, 2))
    assert len(pose) == 1 and len(painted) == 2  # the painted words differ between the two branches


@pytest.mark.parametrize("index", [0, 1])
def test_a_controlnet_of_strength_0_does_not_run(pipe: StudioPipeline, index: int) -> None:
    """The naive way runs it and multiplies what it says by 0."""
    scales, net = [1.0, 1.0], pipe.controlnet.nets[index]
    scales[index] = 0.0
    with batches(net) as seen:
        without = latents_of(pipe, [person(pipe)], controlnet_conditioning_scale=scales)
    assert seen == []
    with silenced(net):
        naive = latents_of(pipe, [person(pipe)])
    torch.testing.assert_close(without, naive, rtol=1e-5, atol=1e-5)


@contextmanager
def silenced(net: nn.Module) -> Iterator[None]:
    def nothing(_module: nn.Module, _inputs: object, output: Any) -> Any:
        down, mid = output
        return [0 * x for x in down], 0 * mid

    hook = net.register_forward_hook(nothing)
    try:
        yield
    finally:
        hook.remove()


def test_a_controlnet_does_not_run_outside_its_schedule(pipe: StudioPipeline) -> None:
    pose_net, parsing_net = pipe.controlnet.nets
    with batches(pose_net) as pose, batches(parsing_net) as parsing:
        latents_of(pipe, [], control_guidance_start=[0.25, 0.0], control_guidance_end=[1.0, 0.5])
    assert (len(pose), len(parsing)) == (3, 2)


def test_a_condition_that_is_over_is_the_same_as_none(pipe: StudioPipeline) -> None:
    """Four steps; painting has no schedule, so parsing is off."""
    quiet = {"controlnet_conditioning_scale": [1.0, 0.0]}
    never = latents_of(pipe, [person(pipe, end=0.1)], **quiet)
    assert torch.equal(never, latents_of(pipe, [], **quiet))
    early = latents_of(pipe, [person(pipe, end=0.25)], **quiet)
    assert not torch.equal(early, never) and not torch.equal(early, latents_of(pipe, [person(pipe)], **quiet))


def test_two_persons_each_in_a_region_of_their_own(pipe: StudioPipeline) -> None:
    left = torch.zeros(1, 1, 256, 192)
    left[..., :96] = 1
    halves = (left, 1 - left)
    conditions = [
        Condition("identity", c.tokens, region, c.sites)
        for c, region in zip((person(pipe, 2), person(pipe, 3)), halves, strict=True)
    ]

    def one_step(*chosen: Condition) -> torch.Tensor:
        return latents_of(
            pipe, list(chosen), num_inference_steps=1, guidance_scale=1.0, controlnet_conditioning_scale=[1.0, 0.0]
        )[0].mean(0)

    plain = one_step()
    somebody = person(pipe, 2)
    here, there = (
        (one_step(Condition("identity", somebody.tokens, region, somebody.sites)) - plain).abs() for region in halves
    )
    inside = nn.functional.adaptive_avg_pool2d(left, (32, 24))[0, 0] > 0.5
    # the same person in either half; convolutions and self-attention carry some across
    own, other = here[inside].sum() + there[~inside].sum(), here[~inside].sum() + there[inside].sum()
    assert own > 1.1 * other, (own, other)
    together, alone = one_step(*conditions), [one_step(c) for c in conditions]
    assert not any(torch.allclose(together, one, atol=1e-4) for one in alone)


def test_lora_identity_and_garment_together_leave_no_trace(pipe: StudioPipeline) -> None:
    weights = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    conditions = [person(pipe), shirt(pipe)]
    plain, dressed_up = latents_of(pipe, []), latents_of(pipe, conditions)
    for adapter in ("garment", "face"):
        config = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
        pipe.unet.add_adapter(config, adapter)
    pipe.unet.set_adapters(["garment", "face"], [0.8, 0.5])
    both = latents_of(pipe, conditions)
    assert not torch.allclose(both, dressed_up)
    pipe.unet.delete_adapters("face")
    assert not torch.allclose(latents_of(pipe, conditions), both)
    pipe.unet.unload_lora()
    assert all(torch.equal(weights[name], weight) for name, weight in pipe.unet.state_dict().items())
    assert torch.equal(latents_of(pipe, conditions), dressed_up) and torch.equal(latents_of(pipe, []), plain)


def test_text_is_projected_once_a_pass(pipe: StudioPipeline) -> None:
    to_k = next(m for name, m in pipe.unet.named_modules() if name.endswith("attn2.to_k"))
    with batches(to_k) as seen:
        latents_of(pipe, [person(pipe)], guidance_scale=2.0)
    assert seen == [2]


def test_conditions_are_attended_to_only_where_they_act(pipe: StudioPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two branches the unconditional one has no face, so no attention to the face is computed for it."""
    sizes: list[tuple[int, int]] = []

    def counting(attn: Any, query: torch.Tensor, key: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append((len(query), key.shape[1]))
        return attend(attn, query, key, *rest)

    monkeypatch.setattr(joint_attention, "attend", counting)
    latents_of(pipe, [person(pipe)], guidance_scale=2.0, num_inference_steps=1)
    assert {rows for rows, tokens in sizes if tokens == 4} == {1}
    assert {rows for rows, tokens in sizes if tokens == 77} == {2}


@pytest.mark.long
def test_shared_control_runs_for_one_branch(pipe: StudioPipeline) -> None:
    """Where there is one branch only it changes nothing; where there are two it changes little."""
    conditions, net = [person(pipe)], pipe.controlnet.nets[0]
    shared = {"economy": Economy(shared_control=True)}
    alone = {"guidance_scale": 1.0}
    assert torch.equal(latents_of(pipe, conditions, **alone), latents_of(pipe, conditions, **alone, **shared))
    with batches(net) as seen:
        cheap = latents_of(pipe, conditions, guidance_scale=2.0, **shared)
    assert seen == [1] * 4
    exact = latents_of(pipe, conditions, guidance_scale=2.0)
    without = latents_of(pipe, conditions, guidance_scale=2.0, controlnet_conditioning_scale=0.0)
    assert 0 < (cheap - exact).norm() < 0.5 * (without - exact).norm()


def test_controlnets_may_rest_between_steps(pipe: StudioPipeline) -> None:
    with batches(pipe.controlnet.nets[0]) as seen:
        cheap = latents_of(pipe, [], economy=Economy(control_every=3), guidance_scale=2.0)
    exact = latents_of(pipe, [], guidance_scale=2.0)
    without = latents_of(pipe, [], guidance_scale=2.0, controlnet_conditioning_scale=0.0)
    assert len(seen) == 2 and 0 < (cheap - exact).norm() < (without - exact).norm()


def test_deep_blocks_may_rest_between_steps(pipe: StudioPipeline) -> None:
    unet: Any = pipe.unet
    blocks = [*pipe.unet.down_blocks, pipe.unet.mid_block, *pipe.unet.up_blocks]
    with batches(unet.mid_block.resnets[0]) as deep, batches(unet.down_blocks[0].resnets[0]) as shallow:
        cheap = latents_of(pipe, [], economy=Economy(deep_every=2))
    assert (len(deep), len(shallow)) == (2, 4)
    assert not any("forward" in block.__dict__ for block in blocks)
    exact = latents_of(pipe, [])
    assert torch.equal(exact, latents_of(pipe, [], economy=Economy(deep_every=1))) and not torch.equal(cheap, exact)
    with pytest.raises(ValueError, match="deep_every = 0"):
        Economy(deep_every=0)


def test_guidance_in_an_interval_runs_one_branch_outside(pipe: StudioPipeline) -> None:
    with batches(pipe.unet) as seen:
        latents_of(pipe, [person(pipe)], guidance_scale=Guidance(2.0, start=0.25, end=0.75))
    assert seen == [1, 2, 2, 1]


def test_conditions_are_asked_only_where_their_region_is(pipe: StudioPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions, asked = [person(pipe), shirt(pipe)], []

    def noted(attn: Any, query: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append(query.shape[0] * query.shape[1])
        return attend(attn, query, *rest)

    def everywhere(region: torch.Tensor, size: tuple[int, int], _device: torch.device) -> RegionTokens:
        return RegionTokens(torch.nn.functional.adaptive_avg_pool2d(region, size).flatten(2).transpose(1, 2), None)

    monkeypatch.setattr(joint_attention, "attend", noted)
    made = latents_of(pipe, conditions)
    fewer = sum(asked)
    asked.clear()
    monkeypatch.setattr(RegionTokens, "of", everywhere)
    torch.testing.assert_close(made, latents_of(pipe, conditions), atol=1e-5, rtol=1e-5)
    assert fewer < 0.75 * sum(asked)


def test_a_region_that_is_nowhere_leaves_the_picture_alone(pipe: StudioPipeline) -> None:
    hidden = replace(person(pipe), region=torch.zeros(1, 1, 256, 192), draft=None)
    plain = latents_of(pipe, [], layout=dressed())
    torch.testing.assert_close(latents_of(pipe, [hidden]), plain, atol=1e-6, rtol=1e-6)

"""Callbacks that change or halve the words, as in diffusers' guide, and the bundled model offloaded."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback, SDXLCFGCutoffCallback, SDXLControlnetCFGCutoffCallback
from torch import Tensor

from tests.helpers.both_families import FAMILIES, close, latents, ours, theirs
from tests.helpers.tiny import dressed, noise_picture, seeded, tiny_pipeline
from tests.pipelines.test_offload import WAYS

PROMPTS = ["A painting of a squirrel", "short hair, on the beach"]


def dynamic_guidance(pipe: Any, step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """As diffusers' guide has it: no guidance after a step, and of each tensor the half with the words goes on."""
    if step == 0:
        pipe._guidance_scale = 0.0
        return {name: tensor.chunk(2)[-1] for name, tensor in given.items()}
    return given


@pytest.mark.parametrize("prompts", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_ends_as_in_diffusers_guide(family: str, prompts: int) -> None:
    """With several pictures each keeps its own words."""
    texts: Any = {"prompt": PROMPTS[:prompts], "num_inference_steps": 3}
    tensors = ["prompt_embeds", "image", *(["add_text_embeds", "add_time_ids"] if family == "sdxl" else [])]
    options: Any = {"callback_on_step_end": dynamic_guidance, "callback_on_step_end_tensor_inputs": tensors}
    made = [latents(p(family), **options, **texts) for p in (ours, theirs)]
    close(*made)
    assert not torch.allclose(made[0], latents(ours(family), **texts), rtol=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("prompts", [1, 2])
@pytest.mark.parametrize("official", [SDCFGCutoffCallback, SDXLCFGCutoffCallback, SDXLControlnetCFGCutoffCallback])
def test_diffusers_own_cutoffs_of_guidance(official: Any, prompts: int) -> None:
    """diffusers' own ControlNet pipelines fail with two of them, and with several pictures; here all just end it."""
    family = "sd15" if official is SDCFGCutoffCallback else "sdxl"

    def ends(pipe: Any, _step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe._guidance_scale = 0.0
        return given

    options: Any = {"num_inference_steps": 3, "prompt": PROMPTS[:prompts]}
    callbacks = official(None, cutoff_step_index=0), ends
    made = [latents(ours(family), callback_on_step_end=c, **options) for c in callbacks]
    close(made[0], made[1], 1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_words_changed_in_a_callback_take_effect(family: str) -> None:
    """Another text from the second step on, as diffusers' own pipeline goes on with what a callback returns."""

    def half(_pipe: Any, _step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"prompt_embeds": given["prompt_embeds"] / 2}

    options: Any = {"callback_on_step_end": half, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    changed = latents(ours(family), num_inference_steps=3, **options)
    close(changed, latents(theirs(family), num_inference_steps=3, **options))
    assert not torch.allclose(changed, latents(ours(family), num_inference_steps=3), rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_negative_words_changed_alone_take_effect(family: str) -> None:
    """As if the callback had changed the negative rows of both; the positive ones stay."""

    def negative(_pipe: Any, _step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"negative_prompt_embeds": given["negative_prompt_embeds"] + 1}

    def both(_pipe: Any, _step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        empty, words = given["prompt_embeds"].chunk(2)
        return {"prompt_embeds": torch.cat([empty + 1, words])}

    def drawn(callback: Any, name: str) -> Tensor:
        options: Any = {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": [name]}
        return latents(ours(family), num_inference_steps=3, **options)

    changed = drawn(negative, "negative_prompt_embeds")
    assert torch.equal(changed, drawn(both, "prompt_embeds"))
    assert not torch.allclose(changed, latents(ours(family), num_inference_steps=3), rtol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_the_bundled_model_offloaded(way: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own adapters are parts as well; conditions are made before a pass and serve several, some from memory."""
    pipe, layout = tiny_pipeline(), dressed()

    def drawn() -> list[Tensor]:
        made = []
        for _ in range(2):
            worn = [
                pipe.identity(noise_picture(112, 112), layout),
                pipe.garment(noise_picture(256, 192, 1), "t_shirt", layout),
            ]
            for _ in range(2):
                options: Any = {"num_inference_steps": 2, "generator": seeded(1), "output_type": "latent"}
                made.append(pipe("short hair", layout=layout, conditions=worn, **options).images)
        return made

    expected = drawn()[0]
    pipe.condition_cache = type(pipe.condition_cache)()
    way(pipe, tmp_path, monkeypatch)
    for made in drawn():
        close(made, expected, 1e-5)

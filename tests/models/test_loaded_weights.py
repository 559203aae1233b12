"""LoRA and textual inversions, loaded by diffusers' own functions, act in a joint pass and leave without a trace."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.both_families import FAMILIES, close, face, latents, ours, parts_of, theirs
from twinset.errors import InputError
from twinset.models.clip import StudioCLIP
from twinset.pipelines.joint import JointPipeline

KOHYA = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}


@dataclass(frozen=True)
class Delta:
    """What a LoRA adds to a layer: alpha / rank · up @ down."""

    part: str
    layer: str
    down: Tensor
    up: Tensor
    alpha: float = 2.0

    @property
    def weight(self) -> Tensor:
        return self.alpha / len(self.down) * self.up @ self.down


def deltas(pipe: Any, parts: tuple[str, ...] = ("unet", "text_encoder", "text_encoder_2")) -> list[Delta]:
    """Random ones of rank 4 for layers of the UNet's attention and of the text encoders."""
    endings = {
        "unet": ("attn1.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"),
        "text": ("q_proj", "out_proj", "fc1"),
    }
    found = []
    for part in parts:
        named: Any = getattr(pipe, part).named_modules() if hasattr(pipe, part) else []
        for name, layer in named:
            if isinstance(layer, nn.Linear) and name.endswith(endings["unet" if part == "unet" else "text"]):
                down, up = torch.randn(4, layer.in_features), torch.randn(layer.out_features, 4)
                found.append(Delta(part, name, down * 0.3, up * 0.3))
    return found


def kohya(given: list[Delta], two_encoders: bool) -> dict[str, Tensor]:
    """As sd-scripts names them; of the text encoders as they were named then, under `text_model`."""
    state = {}
    for d in given:
        layer = d.layer if d.part == "unet" else "text_model." + d.layer.removeprefix("text_model.")
        stem = (
            KOHYA[d.part] + ("1" if two_encoders and d.part == "text_encoder" else "") + "_" + layer.replace(".", "_")
        )
        state |= {f"{stem}.lora_down.weight": d.down, f"{stem}.lora_up.weight": d.up}
        state[f"{stem}.alpha"] = torch.tensor(d.alpha)
    return state


def diffusers_form(given: list[Delta]) -> dict[str, Tensor]:
    """As `save_lora_weights` writes them; the strength of alpha is in `up`."""
    state = {}
    for d in given:
        stem = f"{d.part}.{d.layer}"
        state |= {f"{stem}.lora_A.weight": d.down, f"{stem}.lora_B.weight": d.up * d.alpha / len(d.down)}
    return state


def merged(family: str, given: list[Delta], scale: float = 1.0) -> Any:
    """A pipeline with the deltas added to its weights: what a LoRA means."""
    pipe = ours(family)
    for d in given:
        getattr(pipe, d.part).get_submodule(d.layer).weight.data += scale * d.weight
    return pipe


def bits(pipe: Any) -> dict[str, Tensor]:
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    return {f"{name}.{key}": value.clone() for name, part in parts.items() for key, value in part.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_a_lora_means_its_deltas_at_any_strength(family: str, form: str) -> None:
    pipe = ours(family)
    before, plain, given = bits(pipe), latents(pipe), deltas(pipe)
    assert {d.part for d in given} >= {"unet", "text_encoder"}
    state = kohya(given, family == "sdxl") if form == "kohya" else diffusers_form(given)
    pipe.load_lora_weights(dict(state), adapter_name="style")
    assert not torch.allclose(latents(pipe), plain, rtol=1e-2)
    close(latents(pipe), latents(merged(family, given)))
    pipe.set_adapters("style", 0.5)
    close(latents(pipe), latents(merged(family, given, 0.5)))
    pipe.set_adapters("style", 1.0)
    close(latents(pipe, cross_attention_kwargs={"scale": 0.0}), plain)
    close(latents(pipe, cross_attention_kwargs={"scale": 0.5}), latents(merged(family, given, 0.5)))
    pipe.unload_lora_weights()
    assert same_bits(bits(pipe), before) and torch.equal(latents(pipe), plain)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_two_loras_one_taken_out(family: str) -> None:
    pipe = ours(family)
    first, second = deltas(pipe), deltas(pipe, ("unet",))
    pipe.load_lora_weights(diffusers_form(first), adapter_name="first")
    pipe.load_lora_weights(diffusers_form(second), adapter_name="second")
    pipe.set_adapters(["first", "second"], [1.0, 1.0])
    close(latents(pipe), latents(merged(family, first + second)))
    pipe.delete_adapters("first")
    assert pipe.get_list_adapters() == {"unet": ["second"]}
    pipe.set_adapters("second")
    close(latents(pipe), latents(merged(family, second)))


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fused_lora_and_back(family: str) -> None:
    pipe = ours(family)
    plain, given = latents(pipe), deltas(pipe)
    pipe.load_lora_weights(diffusers_form(given), adapter_name="style")
    pipe.set_adapters("style", 0.7)
    pipe.fuse_lora()
    close(latents(pipe), latents(merged(family, given, 0.7)))
    pipe.unfuse_lora()
    close(latents(pipe), latents(merged(family, given, 0.7)))
    pipe.unload_lora_weights()
    close(latents(pipe), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_acts_beside_conditions(family: str) -> None:
    pipe = ours(family)
    given = deltas(pipe)
    condition = face(pipe.unet)
    pipe.load_lora_weights(diffusers_form(given), adapter_name="style")
    both = latents(pipe, conditions=[condition])
    other = merged(family, given)
    close(both, latents(other, conditions=[face(other.unet)]))
    assert not torch.allclose(both, latents(pipe), rtol=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_a_callback_may_change_a_loras_strength(family: str) -> None:
    """What was projected under the old strength is not kept."""

    def without(pipe: Any, step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe.set_adapters("style", 0.0)
        return given

    options, made = {"num_inference_steps": 3, "callback_on_step_end": without}, []
    for pipe in (ours(family), theirs(family)):
        torch.manual_seed(0)
        pipe.load_lora_weights(diffusers_form(deltas(pipe, ("unet",))), adapter_name="style")
        made.append(latents(pipe, **options))
    close(*made)


def own_tokenizers(family: str) -> dict[str, Any]:
    """Parts whose tokenizers are nobody else's."""
    parts = parts_of(family)
    for name in [name for name in parts if name.startswith("tokenizer")]:
        parts[name] = StudioCLIP.new(text_width=32, image_width=32, layers=1).tokenizer
    return parts


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("vectors", [1, 2])
def test_a_textual_inversion_has_its_meaning(family: str, vectors: int) -> None:
    """In both texts, as in diffusers' own pipeline; gone once it is unloaded."""
    embedding = 3 * torch.randn(vectors, 32)
    state = {"string_to_param": {"*": embedding}, "name": "<dress>"}
    made, plain = [], []
    for pipe in (ours(family, own_tokenizers(family)), theirs(family, own_tokenizers(family))):
        texts: Any = {"prompt": "a <dress> on the beach", "negative_prompt": "not <dress>"}
        before = latents(pipe, **texts)
        sides = [(pipe.tokenizer, pipe.text_encoder)]
        sides += [(pipe.tokenizer_2, pipe.text_encoder_2)] if family == "sdxl" else []
        for tokenizer, encoder in sides:
            pipe.load_textual_inversion(dict(state), token="<dress>", tokenizer=tokenizer, text_encoder=encoder)
        made.append(latents(pipe, **texts))
        for tokenizer, encoder in sides:
            pipe.unload_textual_inversion("<dress>", tokenizer=tokenizer, text_encoder=encoder)
        plain.append((before, latents(pipe, **texts)))
    close(*made)
    assert not torch.allclose(made[0], plain[0][0], rtol=1e-3)
    close(*plain[0])


def test_a_folder_of_pickles_is_refused_with_the_switch_that_reads_it(tmp_path: Path) -> None:
    pipe = ours("sd15")
    pipe.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(InputError, match=r"\.bin' is a pickle, which may hold code; .*use_safetensors=False"):
        JointPipeline.from_pretrained(tmp_path)
    given: Any = {"text_encoder": pipe.text_encoder}  # transformers writes safetensors whatever it is told
    again = JointPipeline.from_pretrained(tmp_path, use_safetensors=False, **given)
    assert all(torch.equal(value, again.unet.state_dict()[key]) for key, value in pipe.unet.state_dict().items())

"""LoRAs on a pipeline: each form adds exactly what its pairs say, and nothing is left when it is taken off."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import lora_conversion_utils
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.helpers import lora_fixture as fx
from tests.helpers.public_files import full_unet
from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.install import install_lora, layer_spellings, remove_lora, set_lora_weight
from twinset.adapters.public import LayoutError
from twinset.errors import InputError

FORMS: dict[str, tuple[Callable[[], Any], Callable[[Any], list[fx.Pair]], str]] = {
    "diffusers today": (fx.sd15, fx.diffusers_today, "x.safetensors"),
    "diffusers of 2023": (fx.sd15, fx.diffusers_2023, "x.safetensors"),
    "diffusers' first": (fx.sd15, fx.diffusers_first, "x.bin"),
    "diffusers without prefix": (fx.sd15, fx.diffusers_unprefixed, "x.bin"),
    "peft unet": (fx.sd15, fx.peft_unet, "adapter_model.safetensors"),
    "peft text encoder": (fx.sd15, fx.peft_text, "adapter_model.bin"),
    "kohya SD1.5": (fx.sd15, fx.kohya_sd15, "x.safetensors"),
    "kohya SDXL": (fx.sdxl, fx.kohya_sdxl, "x.safetensors"),
}


def close(found: fx.Outputs, expected: fx.Outputs) -> bool:
    """To 1e-5 of values around 1."""
    return all(torch.allclose(found[part], expected[part], rtol=0, atol=1e-5) for part in expected)


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def kinds(pipe: Any) -> dict[str, type]:
    """Every module's class: wrappers that were left behind would show."""
    return {f"{part}.{n}": type(m) for part, model in fx.parts(pipe).items() for n, m in model.named_modules()}


def style(pipe: Any, folder: Path, name: str = "style", weight: float = 1.0) -> list[fx.Pair]:
    """A kohya LoRA on the pipeline, read from a file."""
    pairs = fx.kohya_sd15(pipe)
    install_lora(pipe, read_lora(fx.write(folder / f"{name}.safetensors", pairs)), name, weight)
    return pairs


@pytest.mark.long
@pytest.mark.parametrize("case", FORMS)
def test_each_form_adds_what_its_pairs_say(tmp_path: Path, case: str) -> None:
    make, spell, file = FORMS[case]
    pipe = make()
    plain, base, classes = fx.outputs(fx.parts(pipe)), fx.bits(fx.parts(pipe)), kinds(pipe)
    pairs = spell(pipe)
    expected = fx.outputs(fx.merged(pipe, (0.7, pairs)))
    for part in {one.layer.partition(".")[0] for one in pairs}:
        assert (expected[part] - plain[part]).abs().max() > 0.05, "the LoRA must be seen"
    lora = read_lora(fx.write(tmp_path / file, pairs))
    assert (lora.form, lora.rank) == (case.split()[0].rstrip("'"), max(len(one.down) for one in pairs))
    install_lora(pipe, lora, "style", 0.7)
    assert close(fx.outputs(fx.parts(pipe)), expected)
    assert same(fx.bits(fx.parts(pipe)), base)
    remove_lora(pipe, "style")
    assert same(fx.bits(fx.parts(pipe)), base) and kinds(pipe) == classes
    assert same(fx.outputs(fx.parts(pipe)), plain)


@pytest.mark.long
def test_each_pair_matters() -> None:
    """The comparison above would see any one layer left out."""
    for make, spell in ((fx.sd15, fx.kohya_sd15), (fx.sdxl, fx.kohya_sdxl)):
        pipe = make()
        pairs = spell(pipe)
        whole = fx.outputs(fx.merged(pipe, (0.7, pairs)))
        for one in pairs:
            rest = [other for other in pairs if other is not one]
            assert not close(fx.outputs(fx.merged(pipe, (0.7, rest))), whole), one.layer


# --- several at once --------------------------------------------------------------------------------------------


def test_loras_add_up_and_go_one_by_one(tmp_path: Path) -> None:
    pipe = fx.sd15()
    plain, base, classes, bare = fx.outputs(fx.parts(pipe)), fx.bits(fx.parts(pipe)), kinds(pipe), copy.deepcopy(pipe)
    first = style(pipe, tmp_path, "first", 0.4)
    second = fx.diffusers_today(bare)
    install_lora(pipe, read_lora(fx.write(tmp_path / "y.safetensors", second)), "second", -0.6)

    def added(*loras: tuple[float, list[fx.Pair]]) -> bool:
        return close(fx.outputs(fx.parts(pipe)), fx.outputs(fx.merged(bare, *loras)))

    assert added((0.4, first), (-0.6, second))
    set_lora_weight(pipe, "first", 1.1)
    assert added((1.1, first), (-0.6, second))
    set_lora_weight(pipe, "first", 0.0)
    assert added((-0.6, second)) and not added((1.1, first), (-0.6, second))
    third = style(pipe, tmp_path, "third", 0.5)  # what was switched off stays so
    assert added((-0.6, second), (0.5, third))
    set_lora_weight(pipe, "first", 0.3)
    remove_lora(pipe, "second")
    assert added((0.3, first), (0.5, third))
    remove_lora(pipe, "first")
    assert added((0.5, third)) and same(fx.bits(fx.parts(pipe)), base)
    remove_lora(pipe, "third")
    assert same(fx.outputs(fx.parts(pipe)), plain) and kinds(pipe) == classes
    style(pipe, tmp_path, "first", 0.4)  # and again
    assert not same(fx.outputs(fx.parts(pipe)), plain)


def test_adapters_of_others_stay_active_with_their_weights(tmp_path: Path) -> None:
    """A LoRA that diffusers' own calls installed, as loading a FaceID file does."""
    pipe, bare = fx.sd15(), fx.sd15()
    theirs = fx.diffusers_today(pipe)
    pipe.load_lora_weights({key: t for one in theirs[:-1] for key, t in one.state.items()}, adapter_name="faceid_0")
    pipe.set_adapters(["faceid_0"], [0.3])
    alone = fx.outputs(fx.parts(pipe))
    ours = style(pipe, tmp_path, "style", 0.8)
    assert close(fx.outputs(fx.parts(pipe)), fx.outputs(fx.merged(bare, (0.3, theirs[:-1]), (0.8, ours))))
    assert pipe.get_active_adapters() == ["faceid_0", "style"]
    remove_lora(pipe, "style")
    assert same(fx.outputs(fx.parts(pipe)), alone) and not close(alone, fx.outputs(fx.parts(bare)))


def test_what_is_trained_and_what_is_frozen_stays(tmp_path: Path) -> None:
    pipe = fx.sd15()
    pipe.unet.conv_in.requires_grad_(False)
    pipe.text_encoder.requires_grad_(False)

    def gradients() -> dict[str, bool]:
        return {n: p.requires_grad for part in fx.parts(pipe).values() for n, p in part.named_parameters()}

    trained = gradients()
    style(pipe, tmp_path)
    now = gradients()
    assert not any(grad for name, grad in now.items() if ".lora_" in name)
    assert {n.replace(".base_layer", ""): g for n, g in now.items() if ".lora_" not in n} == trained
    set_lora_weight(pipe, "style", 0.5)
    remove_lora(pipe, "style")
    assert gradients() == trained


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_lora_takes_the_dtype_of_its_layers(tmp_path: Path, dtype: torch.dtype) -> None:
    pipe = fx.sd15()
    pairs = fx.kohya_sd15(pipe)
    lora = read_lora(fx.write(tmp_path / "x.safetensors", pairs))
    pipe.to(dtype=dtype)
    install_lora(pipe, lora, "style")
    wrapped = [p for model in fx.parts(pipe).values() for n, p in model.named_parameters() if ".lora_" in n]
    assert len(wrapped) == 2 * len(pairs) and {p.dtype for p in wrapped} == {dtype}
    expected, found = fx.outputs(fx.merged(fx.sd15(), (1.0, pairs))), fx.outputs(fx.parts(pipe))
    assert all((found[part].float() - expected[part]).abs().mean() < 0.02 for part in expected)


# --- alphas and DoRA --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_peft_options_give_the_alphas(tmp_path: Path, beside: bool) -> None:
    """From `adapter_config.json` beside PEFT's file, and from the header that diffusers writes."""
    pipe = fx.sd15()
    pairs = fx.peft_unet(pipe) if beside else [p for p in fx.diffusers_today(pipe) if p.layer.startswith("unet")]
    special = "mid_block.resnets.1.conv2"
    options = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "alpha_pattern": {f"^{special}": 2, "attn2.to_k": 1}}
    name = "adapter_model.safetensors"
    if beside:
        fx.write(tmp_path / name, pairs)
        (tmp_path / "adapter_config.json").write_text(json.dumps(options))
    else:
        header = json.dumps({f"unet.{key}": value for key, value in options.items()})
        fx.write(tmp_path / name, pairs, {"lora_adapter_metadata": header})
    alphas = {f"unet.{special}": 2.0, f"unet.{fx.BLOCK}.attn2.to_k": 1.0}
    scaled = [dataclasses.replace(one, alpha=alphas.get(one.layer, 6.0)) for one in pairs]
    expected = fx.outputs(fx.merged(pipe, (0.5, scaled)))
    install_lora(pipe, read_lora(tmp_path / name), "style", 0.5)
    assert close(fx.outputs(fx.parts(pipe)), expected)


def test_rank_stabilised_scale(tmp_path: Path) -> None:
    pipe = fx.sd15()
    pairs = fx.peft_unet(pipe)
    fx.write(tmp_path / "adapter_model.safetensors", pairs)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 3, "use_rslora": True}))
    scaled = [dataclasses.replace(one, alpha=3 * math.sqrt(len(one.down))) for one in pairs]  # 3 / √rank
    expected = fx.outputs(fx.merged(pipe, (1.0, scaled)))
    install_lora(pipe, read_lora(tmp_path / "adapter_model.safetensors"), "style")
    assert close(fx.outputs(fx.parts(pipe)), expected)


def with_magnitudes(pipe: Any, pairs: list[fx.Pair]) -> tuple[list[fx.Pair], fx.Parts]:
    """DoRA scales as LyCORIS stores them, and the models with `m · (W + Δ) / ‖W + Δ‖` over each output row."""
    models, scaled = copy.deepcopy(fx.parts(pipe)), []
    for one in pairs:
        weight = fx.find(models, one.layer).weight.data
        total = weight + one.delta
        length = total.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
        magnitude = length * torch.empty_like(length).uniform_(0.5, 1.5)
        weight.copy_(magnitude * total / length)
        scaled.append(dataclasses.replace(one, magnitude=magnitude))
    return scaled, models


@pytest.mark.long
@pytest.mark.parametrize("case", ["kohya SD1.5", "kohya SDXL"])
def test_dora_of_kohya_files(tmp_path: Path, case: str) -> None:
    make, spell, file = FORMS[case]
    pipe = make()
    plain, base = fx.outputs(fx.parts(pipe)), fx.bits(fx.parts(pipe))
    pairs, models = with_magnitudes(pipe, spell(pipe))
    expected = fx.outputs(models)
    without = fx.outputs(fx.merged(pipe, (1.0, pairs)))
    install_lora(pipe, read_lora(fx.write(tmp_path / file, pairs)), "style")
    assert close(fx.outputs(fx.parts(pipe)), expected) and not close(without, expected)
    set_lora_weight(pipe, "style", 0)
    assert same(fx.outputs(fx.parts(pipe)), plain)
    remove_lora(pipe, "style")
    assert same(fx.bits(fx.parts(pipe)), base)


def test_dora_of_peft_files(tmp_path: Path) -> None:
    pipe = fx.sd15()
    pairs, models = with_magnitudes(pipe, fx.peft_unet(pipe))
    state = {key: t.contiguous() for one in pairs for key, t in one.state.items() if "dora" not in key}
    for one in pairs:
        stem = one.keys["down"].removesuffix(".lora_A.weight")
        assert one.magnitude is not None
        shape = (1, -1, 1, 1) if one.down.ndim == 4 else (-1,)
        state[f"{stem}.lora_magnitude_vector.weight"] = one.magnitude.reshape(shape)
    torch.save(state, tmp_path / "adapter_model.bin")
    install_lora(pipe, read_lora(tmp_path / "adapter_model.bin"), "style")
    assert close(fx.outputs(fx.parts(pipe)), fx.outputs(models))


# --- refusals ---------------------------------------------------------------------------------------------------

Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def pairs_of(*layers: tuple[str, tuple[int, ...], tuple[int, ...]]) -> list[fx.Pair]:
    return [
        fx.Pair(fx.endings(stem, ".lora_down.weight", ".lora_up.weight"), "", torch.randn(down), torch.randn(up))
        for stem, down, up in layers
    ]


GOOD = (Q, (3, 16), (16, 3))
UNFIT: dict[str, tuple[list[fx.Pair], str]] = {
    "wrong width": (pairs_of(GOOD, (Q.replace("to_q", "to_k"), (3, 17), (16, 3))),
                    r"attn1_to_k has down, up of \(\(3, 17\), \(16, 3\)\) instead of \(\(3, 16\), \(16, 3\)\)"),
    "flat for a convolution": (pairs_of(GOOD, ("lora_unet_conv_in", (3, 36), (16, 3))), r"\(3, 4, 3, 3\)"),
    "unknown layer": (pairs_of(GOOD, ("lora_unet_down_blocks_7_x", (3, 16), (16, 3))), "blocks_7_x is not there"),
    "seven unknown": (pairs_of(*[(f"lora_unet_x{i}", (3, 16), (16, 3)) for i in range(7)]), r"\(7\) x0 .* …; use a"),
    "norm": (pairs_of(("lora_unet_conv_norm_out", (3, 16), (16, 3))), "conv_norm_out is not there"),
    "text encoder": (pairs_of(GOOD, ("lora_te_text_model_encoder_layers_0_mlp_fc1", (3, 33), (40, 3))),
                     "does not fit this text_encoder: .*layers_0_mlp_fc1"),
    "SDXL": (pairs_of(GOOD, ("lora_te2_text_projection", (3, 32), (24, 3))), "layers for text_encoder_2, which Stable"),
    "twice": ([*pairs_of(("lora_unet_conv_in", (3, 4, 3, 3), (16, 3, 1, 1))),
               *pairs_of(("lora_unet_input_blocks_0_0", (3, 4, 3, 3), (16, 3, 1, 1)))], "is given twice"),
    "half a DoRA": ([dataclasses.replace(pairs_of(GOOD)[0], magnitude=torch.ones(16, 1)),
                     *pairs_of(("lora_unet_conv_in", (3, 4, 3, 3), (16, 3, 1, 1)))], "DoRA scale and some have none"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("case", UNFIT)
def test_files_that_do_not_fit_change_nothing(tmp_path: Path, case: str) -> None:
    pairs, fault = UNFIT[case]
    pipe = fx.sd15()
    style(pipe, tmp_path, "garment", 0.6)
    base, before, classes = fx.bits(fx.parts(pipe)), fx.outputs(fx.parts(pipe)), kinds(pipe)
    lora = read_lora(fx.write(tmp_path / "x.safetensors", pairs))
    with pytest.raises(LayoutError, match=fault):
        install_lora(pipe, lora, "other")
    assert same(fx.bits(fx.parts(pipe)), base) and same(fx.outputs(fx.parts(pipe)), before) and kinds(pipe) == classes
    assert pipe.get_list_adapters() == {"unet": ["garment"], "text_encoder": ["garment"]}


def test_numbers_too_large_for_fp16_are_refused(tmp_path: Path) -> None:
    pipe = fx.sd15().to(dtype=torch.float16)
    pairs = pairs_of(GOOD)
    pairs[0].up.mul_(1e6)
    lora = read_lora(fx.write(tmp_path / "x.safetensors", pairs))
    with pytest.raises(LayoutError, match=r"in torch\.float16 holds NaN or infinity"):
        install_lora(pipe, lora, "style")


def test_names_and_weights_are_checked(tmp_path: Path) -> None:
    pipe = fx.sd15()
    style(pipe, tmp_path)
    lora, before = read_lora(tmp_path / "style.safetensors"), fx.outputs(fx.parts(pipe))
    for name in ("style", "", "a.b", "a b", "x" * 65, "training", "items", "encoder", "a"):
        with pytest.raises(InputError, match=re.escape(repr(name))):
            install_lora(pipe, lora, name)
    for weight in (math.nan, math.inf):
        with pytest.raises(InputError, match=str(weight)):
            install_lora(pipe, lora, "other", weight)
        with pytest.raises(InputError, match=str(weight)):
            set_lora_weight(pipe, "style", weight)
    for act in (lambda: remove_lora(pipe, "absent"), lambda: set_lora_weight(pipe, "absent", 1.0)):
        with pytest.raises(InputError, match=r"no LoRA is named 'absent'; installed are \(1\) style"):
            act()
    assert same(fx.outputs(fx.parts(pipe)), before)


def test_fused_loras_are_refused(tmp_path: Path) -> None:
    pipe = fx.sd15()
    style(pipe, tmp_path)
    pipe.fuse_lora()
    base = fx.bits(fx.parts(pipe))
    with pytest.raises(InputError, match="unfuse_lora"):
        remove_lora(pipe, "style")
    with pytest.raises(InputError, match="unfuse_lora"):
        install_lora(pipe, read_lora(tmp_path / "style.safetensors"), "other")
    assert same(fx.bits(fx.parts(pipe)), base)


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = fx.sd15()
    style(pipe, tmp_path, "garment", 0.6)
    base, before, classes = fx.bits(fx.parts(pipe)), fx.outputs(fx.parts(pipe)), kinds(pipe)

    def out_of_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(CLIPTextModel, "load_adapter", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        style(pipe, tmp_path, "other")
    assert same(fx.bits(fx.parts(pipe)), base) and same(fx.outputs(fx.parts(pipe)), before) and kinds(pipe) == classes
    assert pipe.get_list_adapters() == {"unet": ["garment"], "text_encoder": ["garment"]}


# --- full size --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_keys_of_full_size_files_name_the_layers_that_diffusers_finds(family: str) -> None:
    unet = full_unet(family)
    keys = fx.full_kohya_keys(family)
    assert len(keys) == {"sd15": 192, "sdxl": 722}[family]
    keys += fx.SDXL_CONVOLUTIONS if family == "sdxl" else []
    table = layer_spellings(unet)
    ours = {key: table[key.removeprefix("lora_unet_")] for key in keys}
    assert len(set(ours.values())) == len(keys)
    for key in keys:
        mapped = dict.fromkeys([f"{key}.lora_down.weight"])
        mapped = lora_conversion_utils._maybe_map_sgm_blocks_to_diffusers(mapped, unet.config)
        name = lora_conversion_utils._convert_unet_lora_key(next(iter(mapped)))
        layer = re.sub(r"[._]lora\.down\.weight$", "", name).replace(".processor", "")
        assert re.sub(r"to_out$", "to_out.0", layer) == ours[key], key


@pytest.mark.parametrize(
    ("kind", "width", "depth"), [(CLIPTextModel, 768, 12), (CLIPTextModelWithProjection, 1280, 32)]
)
def test_keys_of_full_size_text_encoders_name_every_layer(kind: Any, width: int, depth: int) -> None:
    config = CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=depth)
    with torch.device("meta"):
        table = layer_spellings(kind(config))
    names = ["self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2"]
    keys = [f"text_model_encoder_layers_{i}_{name}" for i in range(depth) for name in names]
    found = [table[key] for key in keys]
    assert len(set(found)) == len(keys) == 6 * depth
    assert all(
        name.replace(".", "_").endswith(key.removeprefix("text_model_")) for key, name in zip(keys, found, strict=True)
    )

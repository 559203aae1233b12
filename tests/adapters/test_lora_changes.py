"""LoHa, LoKr, OFT, GLoRA, LoCon in Tucker's form and DoRA of either axis, as LyCORIS' own modules have them."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
from __future__ import annotations

from pathlib import Path
from typing import Any

import lycoris
import pytest
import torch
from lycoris.modules.boft import ButterflyOFTModule
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.helpers import lora_fixture as fx
from twinset.adapters.lora.bases import base_models
from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.install import install_lora, remove_lora, set_lora_weight
from twinset.adapters.weights import LayoutError

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
KERNELS = "down_blocks.0.resnets.0.conv1"
MODULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "LoHa": (lycoris.LohaModule, {"lora_dim": 3, "alpha": 1.5}),
    "LoHa Tucker": (lycoris.LohaModule, {"lora_dim": 3, "alpha": 1.5, "use_tucker": True}),
    "LoKr": (lycoris.LokrModule, {"lora_dim": 2, "alpha": 1.0, "factor": 2}),
    "LoKr whole": (lycoris.LokrModule, {"lora_dim": 10_000, "alpha": 1.0, "factor": 4}),
    "LoKr both": (lycoris.LokrModule, {"lora_dim": 1, "alpha": 1.0, "decompose_both": True, "factor": 4}),
    "LoKr DoRA": (lycoris.LokrModule, {"lora_dim": 2, "alpha": 1.0, "factor": 2, "weight_decompose": True}),
    "LoCon Tucker": (lycoris.LoConModule, {"lora_dim": 3, "alpha": 2.0, "use_tucker": True}),
    "DoRA of rows": (lycoris.LoConModule, {"lora_dim": 3, "alpha": 2.0, "weight_decompose": True}),
    "DoRA of columns": (lycoris.LoConModule, {"lora_dim": 3, "weight_decompose": True, "wd_on_out": False}),
    "OFT": (lycoris.DiagOFTModule, {"lora_dim": 4}),
    "OFT bound": (lycoris.DiagOFTModule, {"lora_dim": 4, "constraint": 1e-3}),
    "OFT rescaled": (lycoris.DiagOFTModule, {"lora_dim": 4, "rescaled": True}),
    "BOFT": (ButterflyOFTModule, {"lora_dim": 4}),
    "GLoRA": (lycoris.GLoRAModule, {"lora_dim": 3, "alpha": 2.0}),
}  # fmt: skip


def weight_of(layer: nn.Module, base: nn.Module) -> Tensor:
    """What a layer does, told as a weight by feeding it unit vectors, or single pixels."""
    if isinstance(base, nn.Linear):
        return (layer(torch.eye(base.in_features)) - (0 if base.bias is None else base.bias)).T
    pixels = torch.zeros(base.in_channels, base.in_channels, 5, 5)
    pixels[range(base.in_channels), range(base.in_channels), 2, 2] = 1
    answer = layer(pixels) - base.bias.view(1, -1, 1, 1)
    return answer[:, :, 1:4, 1:4].flip(2, 3).transpose(0, 1)


def weights_of(pipe: Any) -> dict[str, Tensor]:
    layers = {name: pipe.unet.get_submodule(name) for name in (LINEAR, KERNELS)}
    return {name: weight_of(layer, getattr(layer, "base_layer", layer)) for name, layer in layers.items()}


def lycoris_file(pipe: Any, path: Path, case: str) -> dict[str, Tensor]:
    """A file of two layers as LyCORIS saves them; the layers' new weights by its own modules."""
    algorithm, options = MODULES[case]
    state: dict[str, Tensor] = {}
    merged: dict[str, Tensor] = {}
    torch.manual_seed(3)
    for name in (LINEAR, KERNELS):
        module = algorithm("x", pipe.unet.get_submodule(name), **options)
        for key, parameter in module.named_parameters():
            if parameter.requires_grad and "dora_scale" not in key and not key.startswith("org_"):
                parameter.data = torch.randn_like(parameter) / 4
        stem = f"lora_unet_{name.replace('.', '_')}"
        own = module.state_dict()
        state |= {f"{stem}.{key}": value.detach().clone().float().contiguous() for key, value in own.items()}
        merged[name] = weight_of(module, pipe.unet.get_submodule(name))
    save_file(state, path)
    return merged


@pytest.mark.parametrize("case", MODULES)
@torch.no_grad()
def test_each_algorithm_draws_as_its_own_module_does(tmp_path: Path, case: str) -> None:
    pipe = fx.sd15()
    plain = weights_of(pipe)
    expected = lycoris_file(pipe, tmp_path / "x.safetensors", case)
    lora = read_lora(tmp_path / "x.safetensors")
    install_lora(pipe, lora, "style")
    found = weights_of(pipe)
    for name, weight in expected.items():
        assert (weight - plain[name]).abs().max() > 1e-3, "the change must be seen"
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=2e-5)
    if case not in ("DoRA of rows", "LoCon Tucker"):  # ComfyUI's meaning of a weight: W + weight · (W' - W)
        set_lora_weight(pipe, "style", 0.5)
        for name, weight in weights_of(pipe).items():
            torch.testing.assert_close(weight, (plain[name] + expected[name]) / 2, rtol=1e-4, atol=2e-5)
    remove_lora(pipe, "style")
    assert all(torch.equal(weight, plain[name]) for name, weight in weights_of(pipe).items())
    assert type(pipe.unet.get_submodule(LINEAR)) is nn.Linear


@torch.no_grad()
def test_whole_changes_go_beside_low_rank_ones(tmp_path: Path) -> None:
    pipe = fx.sd15()
    plain = weights_of(pipe)
    loha = lycoris_file(pipe, tmp_path / "x.safetensors", "LoHa")
    pairs = fx.kohya_sd15(pipe)
    install_lora(pipe, read_lora(fx.write(tmp_path / "y.safetensors", pairs)), "other", 1.0)
    other = weights_of(pipe)
    install_lora(pipe, read_lora(tmp_path / "x.safetensors"), "style", 0.5)
    for name, weight in weights_of(pipe).items():
        torch.testing.assert_close(weight, other[name] + (loha[name] - plain[name]) / 2, rtol=1e-4, atol=2e-5)
    remove_lora(pipe, "style")
    assert all(torch.equal(weight, other[name]) for name, weight in weights_of(pipe).items())


@torch.no_grad()
def test_old_glora_biases_and_both_shapes_of_projections_are_read(tmp_path: Path) -> None:
    pipe, torch_ = fx.sd15(), torch.Generator().manual_seed(0)
    stem = f"lora_unet_{LINEAR.replace('.', '_')}"
    plain = weights_of(pipe)[LINEAR]
    a1, a2, b1, b2 = (torch.randn(s, generator=torch_) / 4 for s in ((2, 16), (16, 2), (2, 16), (16, 2)))
    save_file(dict(zip((f"{stem}.{n}.weight" for n in ("a1", "a2", "b1", "b2")), (a1, a2, b1, b2), strict=True)),
              tmp_path / "g.safetensors")  # fmt: skip
    install_lora(pipe, read_lora(tmp_path / "g.safetensors"), "glora")
    torch.testing.assert_close(weights_of(pipe)[LINEAR], plain + plain @ a2 @ a1 + b2 @ b1, rtol=1e-4, atol=2e-5)
    remove_lora(pipe, "glora")

    bias = pipe.unet.get_submodule(KERNELS).bias.clone()
    stem, kernels = f"lora_unet_{KERNELS.replace('.', '_')}", weights_of(pipe)[KERNELS]
    save_file(
        {f"{stem}.diff_b": torch.full((16,), 2.0), f"{stem}.diff": (kernels / 2).contiguous()},
        tmp_path / "b.safetensors",
    )
    install_lora(pipe, read_lora(tmp_path / "b.safetensors"), "offsets", 0.5)
    answer = pipe.unet.get_submodule(KERNELS)(torch.zeros(1, 16, 5, 5))
    torch.testing.assert_close(answer[0, :, 2, 2], bias + 1.0)
    torch.testing.assert_close(weights_of(pipe)[KERNELS], kernels * 1.25 + 1.0, rtol=1e-4, atol=2e-5)
    remove_lora(pipe, "offsets")

    projection = "lora_unet_down_blocks_0_attentions_0_proj_in"
    down, up = torch.randn(2, 16, generator=torch_), torch.randn(16, 2, generator=torch_)
    layer = pipe.unet.down_blocks[0].attentions[0]
    expected = layer.proj_in.weight + (up @ down).view(16, 16, 1, 1)
    for number, ones in enumerate(((), (1, 1))):  # SD1.5's is a convolution, SDXL's a linear layer: files mix them up
        save_file({f"{projection}.lora_down.weight": down.view(2, 16, *ones),
                   f"{projection}.lora_up.weight": up.view(16, 2, *ones)}, tmp_path / "p.safetensors")  # fmt: skip
        install_lora(pipe, read_lora(tmp_path / "p.safetensors"), f"proj{number}")
        found = layer.proj_in(torch.eye(16).view(16, 16, 1, 1))[:, :, 0, 0] - layer.proj_in.base_layer.bias
        torch.testing.assert_close(found.T, expected[:, :, 0, 0], rtol=1e-4, atol=2e-5)
        remove_lora(pipe, f"proj{number}")


def test_files_of_eight_bits_and_with_embeddings_are_read(tmp_path: Path) -> None:
    pipe = fx.sd15()
    state = {key: tensor for pair in fx.kohya_sd15(pipe) for key, tensor in pair.state.items()}
    plain = read_lora(_saved(state, tmp_path / "x.safetensors"))
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        eight = {k: t if k.endswith(".alpha") else t.to(dtype) for k, t in state.items()}
        found = read_lora(_saved(eight, tmp_path / "8.safetensors")).components["unet"]
        for layer, low in plain.components["unet"].items():
            assert torch.equal(found[layer].up, low.up.to(dtype).to(torch.float16))
    bundled = read_lora(
        _saved(state | {"bundle_emb.myword.string_to_param.*": torch.ones(2, 32)}, tmp_path / "b.safetensors")
    )
    assert bundled.embeddings == ("myword",) and bundled.components.keys() == plain.components.keys()


def _saved(state: dict[str, Tensor], path: Path) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    return path


def test_a_loha_is_written_again_and_brought_to_a_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the refusals name as remedies works."""
    name, models = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q", base_models("studio")
    wide = models["unet"].get_submodule(name).weight.shape[0]
    shapes = {"hada_w1_a": (wide, 2), "hada_w1_b": (2, wide), "hada_w2_a": (wide, 2), "hada_w2_b": (2, wide)}
    torch.manual_seed(0)
    state = {f"lora_unet_{name.replace('.', '_')}.{part}": torch.randn(shape) for part, shape in shapes.items()}
    path = _saved(state, tmp_path / "loha.safetensors")
    a, b, c, d = state.values()
    expected = (a @ b) * (c @ d)

    def twinset(*arguments: str) -> str:
        from twinset.cli import main

        monkeypatch.setattr("sys.argv", ["twinset", "lora", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return str(end.value.code)

    again, lower, other = (str(tmp_path / f"{name}.safetensors") for name in ("again", "lower", "diffusers"))
    assert twinset("convert", str(path), again, "--dtype", "fp32") == "0"
    assert load_file(again).keys() == state.keys()
    assert twinset("convert", str(path), other, "--to", "diffusers") == "2"
    assert twinset("merge", str(path), "-o", lower) == "2"  # no rank
    assert twinset("merge", str(path), "--rank", "4", "-o", lower, "--dtype", "fp32") == "0"
    low = read_lora(lower).components["unet"][name.replace(".", "_")]
    torch.testing.assert_close(low.up @ low.down * (low.alpha / low.rank), expected, rtol=1e-3, atol=1e-3)
    assert twinset("convert", lower, other, "--to", "diffusers") == "0"


Q = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight"
FOREIGN = {
    "Flux": ("lora_unet_single_blocks_3_linear1.lora_down.weight", (4, 3072)),
    "Flux ": ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", (4, 3072)),
    "Stable Diffusion 3": ("lora_unet_joint_blocks_3_context_block_attn_qkv.lora_down.weight", (4, 1536)),
    "Stable Diffusion 2": (Q, (4, 1024)),
    "a transformer model": ("diffusion_model.blocks.0.cross_attn.k.lora_A.weight", (4, 5120)),
    "Stable Cascade": ("lora_prior_unet_blocks.lora_down.weight", (4, 5120)),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_loras_of_other_models_are_refused_by_name(tmp_path: Path, case: str) -> None:
    key, shape = FOREIGN[case]
    path = _saved({key: torch.ones(shape)}, tmp_path / "x.safetensors")
    with pytest.raises(LayoutError, match=f"is a LoRA for {case.strip()}.*; Twinset draws with SD1.5, SDXL") as error:
        read_lora(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"hada_w1_a": (16, 2)}, "has hada_w1_a and lacks the rest of it"),
        ({"oft_blocks": (3, 5, 5)}, "cannot change a weight of|changes a weight of"),
        ({"diff": (16, 17)}, "changes a weight of .16, 17. instead of .16, 16."),
        ({"lokr_w1": (3, 3), "lokr_w2": (4, 4)}, "changes a weight of .12, 12. instead of"),
        ({"lokr_w1": (16, 16), "lokr_w2": (4096, 4096)}, "changes a weight of .65536, 65536. instead of"),
    ],
)
def test_changes_that_do_not_fit_are_refused_by_their_shapes(tmp_path: Path, parts: dict[str, Any], fault: str) -> None:
    stem = f"lora_unet_{LINEAR.replace('.', '_')}"
    path = _saved({f"{stem}.{part}": torch.ones(shape) for part, shape in parts.items()}, tmp_path / "x.safetensors")
    pipe = fx.sd15()
    with pytest.raises(LayoutError, match=fault):
        install_lora(pipe, read_lora(path), "style")
    assert type(pipe.unet.get_submodule(LINEAR)) is nn.Linear

"""Files and folders that are not Stable Diffusion 1.5 or XL: each is refused in one line that says what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers.full_size import networks, saved_base
from tests.helpers.ldm_layout import original_state
from tests.pipelines.test_own_base import PROMPT, run
from twinset.errors import InputError
from twinset.pipelines.loading import single_file
from twinset.pipelines.loading.load import load_pipeline

UNET = "model.diffusion_model."


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key.replace(old, new): value for key, value in state.items()}


def wider(state: dict[str, Any], channels: int) -> dict[str, Any]:
    first = state[f"{UNET}input_blocks.0.0.weight"]
    return state | {f"{UNET}input_blocks.0.0.weight": torch.zeros(len(first), channels, 3, 3)}


def only(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {key: torch.zeros(4, 4) for key in keys}


def sd2(state: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in state.items() if not key.startswith("cond_stage")}
    return kept | {"cond_stage_model.model.transformer.resblocks.0.ln_1.weight": torch.zeros(4)}


FILES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "inpainting": (lambda s: wider(s, 9), "is an inpainting model (its UNet reads 9 channels, not 4)"),
    "by instructions": (lambda s: wider(s, 8), "is a model that edits by instructions"),
    "2": (sd2, "is Stable Diffusion 2;"),
    "refiner": (renamed("cond_stage_model.transformer.", "conditioner.embedders.0.model."), "is the refiner of"),
    "unet alone": (lambda s: {k: v for k, v in s.items() if k.startswith(UNET)}, "is a UNet without its text encoder"),
    "flux": (only(f"{UNET}double_blocks.0.img_attn.qkv.weight"), "is Flux, or a model like it"),
    "3": (only(f"{UNET}joint_blocks.0.x_block.attn.qkv.weight"), "is Stable Diffusion 3"),
    "kohya": (only("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"), "is a LoRA; give it as --lora"),
    "peft": (only("unet.down_blocks.0.attentions.0.proj_in.lora_A.weight"), "is a LoRA; give it as --lora"),
    "controlnet": (only("controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"),
                   "is a ControlNet"),
    "adapter": (only("image_proj.latents", "ip_adapter.1.to_k_ip.weight"), "is an IP-Adapter"),
    "part": (only("down_blocks.0.resnets.0.conv1.weight"), "is a network of a diffusers folder; give the folder"),
    "vae": (only("decoder.conv_in.weight"), "is a VAE"),
    "unknown": (only("a.weight", "b.weight"), "is of no known layout (its keys begin a.weight, b.weight)"),
    "nan": (lambda s: s | {f"{UNET}out.2.bias": torch.full((4,), torch.nan)}, "its unet holds NaN or infinity"),
    "gaps": (lambda s: {k: v for k, v in s.items() if k != f"{UNET}out.2.bias"}, "lacks some of its weights"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("case", FILES)
def test_other_files_are_refused_by_name(
    case: str, tmp_path: Path, small_file: Path, monkeypatch: Any, capsys: Any
) -> None:
    change, fault = FILES[case]
    path = tmp_path / "other.safetensors"
    save_file({key: value.contiguous().clone() for key, value in change(load_file(small_file)).items()}, path)
    refused(monkeypatch, capsys, path, fault)


def refused(monkeypatch: pytest.MonkeyPatch, capsys: Any, path: Path, fault: str) -> None:
    """Exit code 2, and one line that says what it is."""
    out = path.parent / "out"
    assert run(monkeypatch, "generate", "--model", path, "--prompt", PROMPT, "-o", out) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("twinset:")]
    assert fault in line and str(path) in line and not out.exists()


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_base("sd15", networks("sd15"), tmp_path_factory.mktemp("plain") / "base")


@pytest.fixture
def small_file(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def small(family: str, folder: Path) -> None:
        shutil.copytree(small_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)

    monkeypatch.setattr(single_file, "write_configuration", small)
    save_file(original_state(networks("sd15")), tmp_path / "sound.safetensors")
    return tmp_path / "sound.safetensors"


def test_files_that_are_no_safetensors(tmp_path: Path, small_file: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "short.safetensors").write_bytes(small_file.read_bytes()[:-100])
    refused(monkeypatch, capsys, tmp_path / "short.safetensors", "the file is cut off; download it again")
    torch.save(load_file(small_file), tmp_path / "model.ckpt")
    refused(monkeypatch, capsys, tmp_path / "model.ckpt", "is a pickle, which may hold code; get it as .safetensors")
    shutil.copy(tmp_path / "model.ckpt", tmp_path / "disguised.safetensors")
    refused(monkeypatch, capsys, tmp_path / "disguised.safetensors", "is a pickle named .safetensors")
    (tmp_path / "notes.txt").write_text("a model")
    refused(monkeypatch, capsys, tmp_path / "notes.txt", "is not a model; give Stable Diffusion 1.5 or XL")
    refused(monkeypatch, capsys, tmp_path / "gone.safetensors", "no file at")


FOLDERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "flux": ({"_class_name": "FluxPipeline", "unet": None, "transformer": ["diffusers", "FluxTransformer2DModel"]}, {},
             "is FluxPipeline, without a UNet of Stable Diffusion"),
    "inpainting": ({}, {"in_channels": 9}, "is an inpainting model"),
    "2": ({}, {"cross_attention_dim": 1024}, "is Stable Diffusion 2"),
    "refiner": ({"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "text_encoder": [None, None]}, {},
                "lacks text_encoder, text_encoder_2, tokenizer_2"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_other_folders_are_refused_by_name(
    case: str, small_folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    index, unet, fault = FOLDERS[case]
    model = Path(shutil.copytree(small_folder, tmp_path / "model"))
    for path, change in ((model / "model_index.json", index), (model / "unet" / "config.json", unet)):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(monkeypatch, capsys, model, fault)


@pytest.mark.parametrize("entry", ["_class_name", "text_encoder"])
def test_code_in_a_folder_of_plain_stable_diffusion_is_not_run(
    entry: str, small_folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    model, mark = Path(shutil.copytree(small_folder, tmp_path / "model")), tmp_path / "mark"
    for place in (model, model / "text_encoder"):
        (place / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil:\n    pass\n")
    index = model / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {entry: ["evil", "Evil"]}))
    refused(monkeypatch, capsys, model, "does not load")
    assert not mark.exists()


def test_a_model_without_a_licence_is_not_commercial(small_file: Path) -> None:
    with pytest.raises(InputError, match="states no licence"):
        load_pipeline(str(small_file), commercial=True)

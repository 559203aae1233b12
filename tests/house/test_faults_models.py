"""Model folders, requests and manifests of strangers: refused in one line, and nothing in them is run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.adapters.test_weight_files import Command
from tests.helpers.tiny import noise_picture, save_tiny
from tests.pipelines.test_batch import manifest
from twinset.errors import InputError
from twinset.pipelines import generate as generating
from twinset.pipelines.batch.manifest import items_of, read_batch_manifest
from twinset.pipelines.generate import generate
from twinset.pipelines.loading import load as loading
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.request import Request

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
PICKLE = "unet/diffusion_pytorch_model.bin"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def index(**entries: Any) -> Change:
    """Changes `model_index.json`."""

    def change(model: Path) -> None:
        path = model / "model_index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return change


def bytes_of(name: str, edit: Callable[[bytes], bytes]) -> Change:
    """Changes a file."""

    def change(model: Path) -> None:
        (model / name).write_bytes(edit((model / name).read_bytes()))

    return change


def weights(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Changes the UNet's weights."""

    def change(model: Path) -> None:
        kept = {name: tensor.clone() for name, tensor in load_file(model / WEIGHTS).items()}
        save_file(edit(kept), model / WEIGHTS)

    return change


def pickled(model: Path) -> None:
    torch.save(load_file(model / WEIGHTS), model / PICKLE)
    (model / WEIGHTS).unlink()


BAD: dict[str, tuple[Change, str]] = {
    "cut off": (bytes_of(WEIGHTS, lambda data: data[:-100]), "the file is cut off; download it again"),
    "trailing bytes": (bytes_of(WEIGHTS, lambda data: data + bytes(9)), "9 trailing bytes"),
    "NaN": (weights(lambda w: w | {"conv_in.bias": w["conv_in.bias"] * torch.nan}),
            "its unet holds NaN or infinity in 'conv_in.bias'; save or download it again"),
    "lacks a tensor": (weights(lambda w: {k: v for k, v in w.items() if k != "conv_in.bias"}), "lacks 'conv_in.bias'"),
    "another shape": (weights(lambda w: w | {"conv_in.bias": torch.zeros(3)}), "does not load"),
    "a pickle instead": (pickled, r"diffusion_pytorch_model.bin' is a pickle, which may.*use_safetensors=False"),
    "a pickle in disguise": (lambda model: torch.save({"a": Command(model.parent / "mark")}, model / WEIGHTS),
                             "is a pickle named .safetensors"),
    "a config of other weights": (
        bytes_of("unet/config.json", lambda data: data.replace(b'"norm_num_groups": ', b'"norm_num_groups": 7')),
        "does not load"),
    "index cut off": (bytes_of("model_index.json", lambda data: data[:40]), "is no JSON table; save or download"),
    "index of a list": (bytes_of("model_index.json", lambda data: b"[]"), "is no JSON table"),
    "index of bytes": (bytes_of("model_index.json", lambda data: b"\xff\xfe"), "is no JSON table"),
    "index names a number": (index(_class_name=3), "does not load"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_refused_in_one_line(case: str, model: Path) -> None:
    change, fault = BAD[case]
    change(model)
    with pytest.raises(InputError, match=fault) as error:
        load_pipeline(str(model))
    assert "\n" not in str(error.value) and not (model.parent / "mark").exists()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        ("evil.py", {"_class_name": ["evil", "Evil"]}), ("unet/evil.py", {"unet": ["evil", "Evil"]}),
        ("evil.py", {"unet": ["evil", "Evil"]}), ("none.py", {"unet": ["os", "system"]}),
    ],
)  # fmt: skip
def test_code_in_a_folder_is_not_run(file: str, entries: dict[str, Any], model: Path) -> None:
    mark = model.parent / "mark"
    (model / file).write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil:\n    pass\n")
    index(**entries)(model)
    with pytest.raises(InputError, match="does not load"):
        load_pipeline(str(model))
    assert not mark.exists()


def test_weights_exchanged_while_they_are_loaded_are_not_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = loading.open_weights

    def exchanged(path: Path) -> Any:
        checked = plain(path)
        if path == model / WEIGHTS:
            (model / "new").write_bytes(path.read_bytes())
            os.replace(model / "new", path)
        return checked

    monkeypatch.setattr(loading, "open_weights", exchanged)
    with pytest.raises(InputError, match="changed while it was loaded"):
        load_pipeline(str(model))


def test_inputs_exchanged_while_they_are_read_are_not_drawn(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What consent was asked for, what is drawn from and what the record says are one file."""
    garment, plain = tmp_path / "g.png", generating.compose
    sleeve = np.full((120, 120, 3), 255, np.uint8)
    sleeve[20:100, 30:90] = (20, 60, 200)
    Image.fromarray(sleeve).save(garment)

    def exchanged(pipe: Any, request: Request) -> Any:
        composition = plain(pipe, request)
        Image.fromarray(noise_picture(120, 120)).save(garment)
        return composition

    monkeypatch.setattr(generating, "compose", exchanged)
    asked = Request(prompt="hat", seed=1, steps=1, repair=False, garments=(f"dress={garment}",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"input '.*g.png' changed while it was read"):
        generate(studio, asked, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.png"))


# Manifests


def laughs(levels: int) -> str:
    """Aliases of YAML: a kilobyte that names 9^levels values."""
    rows = ["&a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"&a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return f"[{', '.join(rows)}]"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"defaults: {{steps: {laughs(9)}}}", r"steps = \[\[1, 1"), ("defaults: {steps: &c [*c]}", "steps = "),
        (f"prompt: {laughs(9)}", "prompt: Input should be a valid string"), ("seed: 2001-13-45", "is not YAML"),
        ("defaults: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("variants: " + "[" * 50_000, "is not YAML"),
    ],
)  # fmt: skip
def test_manifests_cannot_fill_the_memory(text: str, fault: str, tmp_path: Path) -> None:
    path = manifest(tmp_path)
    path.write_text(path.read_text("utf-8") + text + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=fault) as error:
        items_of(read_batch_manifest(path), tmp_path)
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)

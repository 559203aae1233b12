"""LoRA files of strangers: what is read from them, and what is refused before it is used."""

# pyright: reportAttributeAccessIssue=false
# (a file's layers may be changes of other kinds)
from __future__ import annotations

import json
import math
import resource
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers import lora_fixture as fx
from twinset.adapters.lora.files import read_lora
from twinset.adapters.public import LayoutError


def test_metadata_is_kept(tmp_path: Path) -> None:
    metadata = {"ss_network_dim": "4", "ss_tag_frequency": '{"<script>": 1}', "modelspec.title": "絵", "format": "pt"}
    path = fx.write(tmp_path / "x.safetensors", fx.kohya_sd15(fx.sd15()), metadata)
    assert read_lora(path).metadata == metadata


Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
DOWN, UP = f"{Q}.lora_down.weight", f"{Q}.lora_up.weight"
UNREADABLE: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "no up": ({UP: None}, r"layer '.*attn1_to_q' of the unet has no up; download"),
    "no down": ({DOWN: None}, "has no down;"),
    "only alpha": ({UP: None, DOWN: None}, "has no down and no up;"),
    "ranks differ": ({UP: torch.ones(16, 5)}, r"down of shape \(3, 16\) and up of shape \(16, 5\) do not pair"),
    "dimensions differ": ({UP: torch.ones(16, 3, 1, 1)}, "do not pair"),
    "wide up": ({DOWN: torch.ones(3, 16, 1, 1), UP: torch.ones(16, 3, 3, 3)}, "do not pair"),
    "three dimensions": ({DOWN: torch.ones(3, 16, 1), UP: torch.ones(16, 3, 1)}, "do not pair"),
    "rank": ({DOWN: torch.ones(1025, 16), UP: torch.ones(16, 1025)}, "has rank 1025, over 1024; resize"),
    "NaN": ({UP: torch.full((16, 3), math.nan)}, r"up of layer '.*attn1_to_q' holds NaN or infinity; download"),
    "infinity": ({DOWN: torch.full((3, 16), -math.inf)}, "down of layer .* holds NaN or infinity"),
    "whole numbers": ({DOWN: torch.ones(3, 16).int()}, "holds whole numbers"),
    "alpha NaN": ({f"{Q}.alpha": torch.tensor(math.nan)}, "alpha of layer .* holds NaN"),
    "alpha large": ({f"{Q}.alpha": torch.tensor(1e9)}, "is '1000000000.0'; write a number"),
    "alphas": ({f"{Q}.alpha": torch.ones(2)}, r"alpha of shape \(2,\) is not one number"),
    "LoHa": ({f"{Q}.hada_w1_a": torch.ones(2, 2)}, "has hada_w1_a and lacks the rest of it; download"),
    "six unknown": ({f"k{i}": torch.ones(1) for i in range(6)}, r"keys \(6\) k0, k1, k2, k3, k4 …; LoRA, LoCon"),
    "tucker": ({f"{Q}.lora_mid.weight": torch.ones(2, 2, 3, 3)}, r"mid of shape \(2, 2, 3, 3\) does not go with"),
    "two forms": ({"unet.conv_out.lora_A.weight": torch.ones(1, 4, 3, 3)}, "mixes the keys of diffusers and kohya"),
    "two names": (
        {DOWN.replace("lora_unet", t): torch.ones(3, 16) for t in ("lora_te", "lora_te1")},
        "gives down of .* again",
    ),
    "DoRA": ({f"{Q}.dora_scale": torch.ones(1, 15)}, r"DoRA scale of shape \(1, 15\) for down of shape \(3, 16\)"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_files_that_are_no_sound_lora_are_refused(tmp_path: Path, case: str) -> None:
    changes, fault = UNREADABLE[case]
    state = {key: t.contiguous() for one in fx.kohya_sd15(fx.sd15()) for key, t in one.state.items()} | changes
    torch.save({key: tensor for key, tensor in state.items() if tensor is not None}, tmp_path / "x.bin")
    with pytest.raises(LayoutError, match=fault) as caught:
        read_lora(tmp_path / "x.bin")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_disguised_pickle_is_refused(tmp_path: Path) -> None:
    torch.save(fx.diffusers_today(fx.sd15())[0].state, tmp_path / "x.safetensors")
    with pytest.raises(LayoutError, match=r"a pickle named \.safetensors"):
        read_lora(tmp_path / "x.safetensors")


def test_an_enormous_rank_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    """Rank 100,000 of 10,240 channels: 8 GB of holes in the file."""
    path, size = tmp_path / "x.safetensors", 4 * 100_000 * 10_240
    shapes = {"unet.conv.lora_A.weight": [100_000, 10_240], "unet.conv.lora_B.weight": [10_240, 100_000]}
    entries = {
        key: {"dtype": "F32", "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
        for i, (key, shape) in enumerate(shapes.items())
    }
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2 * size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LayoutError, match="has rank 100000, over 1024"):
        read_lora(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


OPTIONS: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "options are not JSON"),
    "a list": ("[]", "options are not a table"),
    "nested": ("[" * 100_000, "options are not JSON"),
    "LoKr": ('{"peft_type": "LOKR"}', "peft_type 'LOKR'; only 'LORA'"),
    "hanging pattern": ('{"alpha_pattern": {"(a+)+b": 2}}', "no table of layers' names"),
    "patterns": ('{"alpha_pattern": 3}', "no table of layers' names"),
    "alpha": ('{"lora_alpha": "3"}', "is '3'; write a number"),
    "alpha NaN": ('{"lora_alpha": NaN}', "is 'nan'; write a number"),
    "alpha endless": ('{"lora_alpha": 1' + 400 * "0" + "}", "write a number"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_unsound_options_are_refused(tmp_path: Path, case: str) -> None:
    text, fault = OPTIONS[case]
    path = fx.write(tmp_path / "adapter_model.safetensors", fx.peft_unet(fx.sd15()))
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(LayoutError, match=fault):
        read_lora(path)


def test_metadata_that_are_no_strings_are_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
    entries = {"unet.x.lora_A.weight": entry, "unet.x.lora_B.weight": entry | {"data_offsets": [4, 8]}}
    header = json.dumps(entries | {"__metadata__": {"ss_steps": 3}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(LayoutError, match="its metadata are not strings"):
        read_lora(tmp_path / "x.safetensors")


def test_a_file_changed_later_changes_nothing(tmp_path: Path) -> None:
    path = fx.write(tmp_path / "x.safetensors", fx.diffusers_today(fx.sd15()))
    lora = read_lora(path)
    before = {layer: low.up.clone() for layer, low in lora.components["unet"].items()}
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b"\xff" * 1000)
    assert all(torch.equal(low.up, before[layer]) for layer, low in lora.components["unet"].items())

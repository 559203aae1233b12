"""Weight files of strangers: sound ones are read exactly, damaged and hostile ones are refused in one clear line."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from twinset.adapters.public import LayoutError, read_weights

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}  # fmt: skip  # noqa: E501
DATA = struct.pack("<3f", 1.0, 2.0, 3.0)


def raw(header: Any, data: bytes = DATA, length: int | None = None) -> bytes:
    """A safetensors file of any header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def changed(key: str, **entry: Any) -> dict[str, Any]:
    return GOOD | {key: GOOD[key] | entry}


DUPLICATE = (
    b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'
)
BAD_SAFETENSORS: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "header of 0 bytes in a file of 0"),
    "no header": (raw(b""), "header of 0 bytes"),
    "header longer than the file": (raw(GOOD, length=10_000), "header of 10000 bytes in a file of"),
    "absurd header length": (raw(GOOD, length=2**63), f"header of {2**63} bytes"),
    "9 MiB of metadata": (raw({"__metadata__": {"x": "y" * 9 * 2**20}} | GOOD), "at most 8388608 are read"),
    "not JSON": (raw(b"{not json}"), "header is not a JSON table"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "header is not a JSON table"),
    "deep nesting": (raw(b"[" * 200_000), "header is not a JSON table"),
    "a list": (raw([1, 2]), "header is not a table"),
    "duplicate key": (raw(DUPLICATE), "duplicate key a"),
    "no tensors": (raw({}, b""), "holds no tensors"),
    "entry is no table": (raw(GOOD | {"b": 3}), "entry of tensor 'b' needs exactly"),
    "extra field": (raw(changed("b", code="import os")), "entry of tensor 'b' needs exactly"),
    "unknown dtype": (raw(changed("b", dtype="F4")), "tensor 'b' has dtype 'F4'; convert it to one of F64"),
    "cut off": (raw(GOOD)[:-1], "tensor 'b' ends at byte 12 of 11: the file is cut off"),
    "trailing bytes": (raw(GOOD) + b"\0" * 5, "5 trailing bytes after the last tensor"),
    "overlap": (raw(changed("b", data_offsets=[4, 8]), DATA[:8]), "overlaps the one before"),
    "hole": (raw(changed("b", data_offsets=[12, 16]), DATA + DATA[:4]), "'b' leaves a hole of 4 bytes"),
    "range beyond the file": (raw(changed("b", shape=[2**40], data_offsets=[8, 8 + 2**42])), "the file is cut off"),
    "range backwards": (raw(changed("b", data_offsets=[12, 8])), "its range has -4"),
    "negative offset": (raw(changed("a", data_offsets=[-8, 0])), r"data_offsets \[-8, 0\]"),
    "too short for its shape": (raw(changed("b", shape=[2])), "needs 8 bytes, its range has 4"),
    "empty and absurd": (raw(changed("b", shape=[0, 2**40], data_offsets=[8, 8]), DATA[:8]), r"shape \[0, 10995"),
    "negative shape": (raw(changed("b", shape=[-1])), r"shape \[-1\]"),
    "true for one": (raw(changed("b", shape=[True])), r"shape \[True\]"),
    "hundred dimensions": (raw(changed("b", shape=[1] * 100)), r"tensor 'b' has shape \[1, 1"),
    "key of control characters": (raw({"a\n\x1b[31m": GOOD["a"], "b": GOOD["b"]}), "or not printable"),
    "key of a megabyte": (raw({"k" * 2**20: GOOD["a"], "b": GOOD["b"]}), "longer than 200 characters"),
    "NaN": (raw(GOOD, struct.pack("<3f", 1.0, float("nan"), 3.0)), "tensor 'a' holds NaN or infinity"),
    "infinity": (raw(GOOD, struct.pack("<3f", 1.0, 2.0, float("inf"))), "tensor 'b' holds NaN or infinity"),
    "bare pickle": (pickle.dumps({"a": 1}), "a pickle named .safetensors"),
}


def refused(path: Path, fault: str) -> None:
    with pytest.raises(LayoutError, match=fault) as caught:
        read_weights(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and "\x1b" not in text and len(text) < 600
    assert ";" in text  # the remedy


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_bad_safetensors_are_refused(tmp_path: Path, case: str):
    content, fault = BAD_SAFETENSORS[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    refused(path, fault)


def test_sound_safetensors_are_read_exactly(tmp_path: Path):
    state = {
        "half": torch.randn(3, 4).half(),
        "brain": torch.randn(5).bfloat16(),
        "whole": torch.tensor(7),
        "bytes": torch.arange(3, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "double": torch.randn(2, 1, 3).double(),
    }
    path = tmp_path / "x.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    before = path.read_bytes()
    read = read_weights(path)
    assert read.keys() == state.keys() and all(torch.equal(read[k], state[k]) for k in state)
    assert all(read[k].dtype == state[k].dtype for k in state)
    read["double"].zero_()  # writing to a tensor does not write to the file
    assert path.read_bytes() == before == save(state, metadata={"format": "pt"})


@pytest.mark.parametrize("spaces", range(4))
def test_unaligned_data_is_read(tmp_path: Path, spaces: int):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(json.dumps(GOOD).encode() + b" " * spaces))
    assert torch.equal(read_weights(path)["a"], torch.tensor([1.0, 2.0]))


# --- torch.save -------------------------------------------------------------------------------------------------


class Command:
    """Unpickled without restriction it would make a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_code_in_a_pickle_is_never_run(tmp_path: Path):
    mark = tmp_path / "mark"
    for name in ("x.bin", "x.pt", "x.ckpt"):
        torch.save({"a": torch.ones(1), "b": Command(mark)}, tmp_path / name)
        refused(tmp_path / name, "damaged or carries code; get a .safetensors file")
    (tmp_path / "y.bin").write_bytes(pickle.dumps(Command(mark)))
    refused(tmp_path / "y.bin", "not a zip archive of torch.save")
    torch.save({"a": Command(mark)}, tmp_path / "z.safetensors")
    refused(tmp_path / "z.safetensors", "a pickle named .safetensors")
    torch.save({"a": torch.ones(1), "b": Command(mark)}, tmp_path / "w.bin", _use_new_zipfile_serialization=False)
    refused(tmp_path / "w.bin", "not a zip archive of torch.save")
    assert not mark.exists()


def deep(levels: int) -> Any:
    return {"x": deep(levels - 1)} if levels else torch.ones(1)


def wide(levels: int) -> Any:
    """A few hundred bytes that name 100^levels tensors."""
    tree: Any = torch.ones(1)
    for _ in range(levels):
        tree = {str(i): tree for i in range(100)}
    return tree


BAD_PICKLES: dict[str, tuple[Any, str]] = {
    "a list": ([torch.ones(1)], "holds a list instead of a dictionary"),
    "a tensor": (torch.ones(1), "holds a Tensor instead of a dictionary"),
    "no tensors": ({"step": 3}, "holds no tensors"),
    "deep": (deep(9), "nested deeper than 4"),
    "wide": (wide(4), "more than 20000 entries"),
    "one key twice": ({"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}, "two tensors have the key 'a.b'"),
    "NaN": ({"a": {"b": torch.tensor([float("nan")])}}, "tensor 'a.b' holds NaN or infinity"),
    "endless view": ({"a": torch.ones(1).expand(2**40)}, r"tensor 'a' has shape \(1099511627776,\) on 4 bytes"),
    "empty": ({"a": torch.ones(0, 2**40)}, r"tensor 'a' has shape \(0, 1099511627776\)"),
    "many views": ({str(i): t for i, t in enumerate([torch.ones(10_000)] * 50)}, "more than twice its"),
    "sparse": ({"a": torch.eye(3).to_sparse()}, "'a' is not a dense tensor"),
    "on meta": ({"a": torch.ones(3, device="meta")}, "'a' is not a dense tensor"),
    "complex": ({"a": torch.ones(3, dtype=torch.complex64)}, "'a' is not a dense tensor"),
    "control characters": ({"a\n\x1b[31m": torch.ones(1)}, "or not printable"),
}


@pytest.mark.parametrize("case", BAD_PICKLES)
def test_bad_pickles_are_refused(tmp_path: Path, case: str):
    content, fault = BAD_PICKLES[case]
    torch.save(content, tmp_path / "x.bin")
    refused(tmp_path / "x.bin", fault)


def test_zip_bombs_and_cut_archives_are_refused(tmp_path: Path):
    path = tmp_path / "x.bin"
    torch.save({"a": torch.zeros(100_000)}, path)
    bomb, large = tmp_path / "bomb.bin", tmp_path / "large.bin"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    refused(bomb, "zip members are compressed or larger than the file")
    with zipfile.ZipFile(large, "w") as target:
        target.writestr("x/data.pkl", b"\0" * (8 * 2**20 + 1))
    refused(large, "pickle of 8388609 bytes")
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, "not a zip archive of torch.save")


def test_nested_dictionaries_are_flattened(tmp_path: Path):
    shared = torch.randn(4)
    state = {"image_proj": {"norm.weight": shared}, "module": {"ref": {"a": torch.nn.Parameter(shared)}}, "step": 3}
    torch.save(state, tmp_path / "x.pt")
    read = read_weights(tmp_path / "x.pt")
    assert list(read) == ["image_proj.norm.weight", "module.ref.a"]
    assert all(torch.equal(t, shared) and not t.requires_grad for t in read.values())


def test_other_files_are_refused(tmp_path: Path):
    refused(tmp_path / "absent.safetensors", "no file at .*; download it or correct the path")
    refused(tmp_path, "no file at")
    text = tmp_path / "weights.txt"
    text.write_text("hello")
    refused(text, r"ends in '.txt'; a weight file ends in one of .safetensors, .bin, .pt, .pth, .ckpt")
    text.rename(tmp_path / "weights.bin")
    refused(tmp_path / "weights.bin", "not a zip archive of torch.save")

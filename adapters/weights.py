"""Untrusted weight files: everything is checked before it is used, and nothing in a file is ever executed.

Safetensors are read from one open descriptor by the format's own rules (github.com/huggingface/safetensors, "Format"),
more strictly than the library, which accepts duplicate keys, huge headers and NaN. Files of `torch.save` are read by
PyTorch's restricted unpickler only, which knows tensors and plain containers.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from twinset.errors import InputError

HEADER_LIMIT = 8 * 2**20  # bytes of a safetensors header or of a pickle; the largest public adapter needs 0.3 MiB
TENSOR_LIMIT = 20_000
DIMENSION_LIMIT = 8
DEPTH_LIMIT = 4
KEY_LIMIT = 200  # characters
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)

Weights = dict[str, Tensor]


class LayoutError(InputError):
    """A weight file that is damaged, unsafe, or not laid out as its format says."""


def read_weights(path: str | Path) -> Weights:
    """Read the tensors of a weight file, all of them finite.

    Args:
        path: a `.safetensors` file, or a `.bin`, `.pt`, `.pth` or `.ckpt` file of `torch.save`.

    Returns:
        Dotted key → tensor on the CPU, mapped from the file: clone what must outlive it. Nested dictionaries such as
        `image_proj` and `module` are flattened; values that are not tensors (step counts, options) are left out.

    Raises:
        LayoutError: the file is missing, damaged, unsafe or holds NaN or infinity.
    """
    weights = open_weights(path)
    for key, tensor in weights.items():
        if tensor.dtype in EIGHT_BITS:  # nothing calculates with them
            weights[key] = tensor = tensor.to(torch.float16)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise LayoutError(f"{path}: tensor {key!r} holds NaN or infinity; download the file again")
    return weights


def open_weights(path: str | Path) -> Weights:
    """Map the tensors of a weight file without looking at their values; otherwise as `read_weights`."""
    path = Path(path)
    if not path.is_file():
        raise LayoutError(f"no file at {path}; download it or correct the path")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        weights = _map_safetensors(path)
    elif suffix in PICKLE_SUFFIXES:
        weights = _load_pickle(path)
    else:
        known = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        raise LayoutError(f"{path} ends in {suffix!r}; a weight file ends in one of {known}")
    if not weights:
        raise LayoutError(f"{path} holds no tensors; download it again")
    return weights


def _damaged(path: Path, fault: str) -> LayoutError:
    return LayoutError(f"{path} is not a sound weight file: {fault}; download it again")


def _check_key(key: str, path: Path) -> None:
    if len(key) > KEY_LIMIT or not key.isprintable():
        raise _damaged(path, f"key {key[:40]!r} is longer than {KEY_LIMIT} characters or not printable")


# --- safetensors ------------------------------------------------------------------------------------------------


def _map_safetensors(path: Path) -> Weights:
    with path.open("rb") as file:
        header, start = _header(file, path)
        size = os.fstat(file.fileno()).st_size - start
        entries = {key: _entry(key, header[key], path) for key in header if key != "__metadata__"}
        _check_ranges([(begin, end, key) for key, (_, _, begin, end) in entries.items()], size, path)
        if not entries:
            return {}
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # private: writing to a tensor spares the file
    return {
        key: torch.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=start + begin).reshape(shape)
        for key, (dtype, shape, begin, _) in entries.items()
    }


def _header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int]:
    """The header's entries by key, and where the data starts."""
    first = file.read(8)
    size = os.fstat(file.fileno()).st_size
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    if not 2 <= length <= min(HEADER_LIMIT, size - 8):
        if first[:2] == b"PK" or first[:1] == b"\x80":  # a zip of torch.save, or a bare pickle
            raise LayoutError(f"{path} is a pickle named .safetensors; get the real .safetensors file from its author")
        raise _damaged(path, f"header of {length} bytes in a file of {size} (at most {HEADER_LIMIT} are read)")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"header is not a JSON table ({str(error)[:KEY_LIMIT]!r})") from error
    if not isinstance(header, dict) or len(header) > TENSOR_LIMIT:
        raise _damaged(path, f"header is not a table of at most {TENSOR_LIMIT} tensors")
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"duplicate key {key}")
        table[key] = value
    return table


def _entry(key: str, entry: Any, path: Path) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """A tensor's dtype, shape, first and last byte; the byte count must be what dtype and shape need."""
    _check_key(key, path)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"entry of tensor {key!r} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise LayoutError(f"{path}: tensor {key!r} has dtype {dtype!r}; convert it to one of {', '.join(DTYPES)}")
    if not _whole(shape, 1) or len(shape) > DIMENSION_LIMIT:
        raise _damaged(path, f"tensor {key!r} has shape {str(shape)[:80]}")
    if not _whole(offsets, 0) or len(offsets) != 2:
        raise _damaged(path, f"tensor {key!r} has data_offsets {str(offsets)[:80]}")
    begin, end = offsets
    needed = math.prod(shape) * DTYPES[dtype].itemsize
    if end - begin != needed:
        raise _damaged(path, f"tensor {key!r} of shape {shape} needs {needed} bytes, its range has {end - begin}")
    return DTYPES[dtype], tuple(shape), begin, end


def _whole(numbers: Any, least: int) -> bool:
    """Whether this is a list of integers of at least `least`."""
    return isinstance(numbers, list) and all(type(n) is int and n >= least for n in numbers)


def _check_ranges(ranges: list[tuple[int, int, str]], size: int, path: Path) -> None:
    """Ranges must cover the data exactly: inside the file, no overlap, no hole, no trailing bytes."""
    position = 0
    for begin, end, key in sorted(ranges):
        if end > size:
            raise _damaged(path, f"tensor {key!r} ends at byte {end} of {size}: the file is cut off")
        if begin != position:
            fault = "overlaps the one before" if begin < position else f"leaves a hole of {begin - position} bytes"
            raise _damaged(path, f"tensor {key!r} {fault}")
        position = end
    if position != size:
        raise _damaged(path, f"{size - position} trailing bytes after the last tensor")


# --- torch.save -------------------------------------------------------------------------------------------------


def _load_pickle(path: Path) -> Weights:
    size = _check_archive(path)
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the unpickler fails with whatever the bytes provoke
        fault = f"refused by the restricted unpickler ({type(error).__name__})"
        raise LayoutError(
            f"{path} was {fault}: it is damaged or carries code; get a .safetensors file instead"
        ) from error
    weights: Weights = {}
    for key, tensor in _leaves(tree, path):
        _check_tensor(key, tensor, path)
        weights[key] = tensor.detach()
    if sum(t.numel() * t.element_size() for t in weights.values()) > 2 * size:  # tied weights are counted twice
        raise _damaged(path, f"its tensors are more than twice its {size} bytes")
    return weights


def _check_archive(path: Path) -> int:
    """`torch.save` writes an uncompressed zip with a small pickle; anything else may be a bomb. Returns its bytes."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile fails with whatever the bytes provoke
        fault = "not a zip archive of torch.save"
        raise LayoutError(f"{path} is {fault}; get a .safetensors file, or save it again with torch ≥ 1.6") from error
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > size:
        raise _damaged(path, f"its zip members are compressed or larger than the file ({size} bytes)")
    for member in members:
        if member.filename.endswith(".pkl") and member.file_size > HEADER_LIMIT:
            raise _damaged(path, f"pickle of {member.file_size} bytes (at most {HEADER_LIMIT} are read)")
    return size


def _leaves(tree: Any, path: Path) -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested dictionaries by dotted key."""
    if not isinstance(tree, dict):
        raise _damaged(path, f"holds a {type(tree).__name__} instead of a dictionary of tensors")
    stack: list[tuple[str, Any, int]] = [("", tree, 0)]
    seen, visited = set(), 0
    while stack:
        prefix, value, depth = stack.pop()
        visited += 1
        if depth > DEPTH_LIMIT or visited > TENSOR_LIMIT:
            raise _damaged(path, f"nested deeper than {DEPTH_LIMIT} or more than {TENSOR_LIMIT} entries")
        if isinstance(value, dict):
            dotted = [(f"{prefix}.{k}" if prefix else str(k), v, depth + 1) for k, v in value.items()]
            stack += reversed(dotted)
        elif isinstance(value, Tensor):
            if prefix in seen:
                raise _damaged(path, f"two tensors have the key {prefix!r}")
            seen.add(prefix)
            yield prefix, value


def _check_tensor(key: str, tensor: Tensor, path: Path) -> None:
    """A plain, dense tensor whose elements are all really in the file."""
    _check_key(key, path)
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided and not tensor.is_quantized
    if not plain or tensor.device.type != "cpu" or tensor.dtype not in DTYPES.values():
        raise _damaged(path, f"{key!r} is not a dense tensor of numbers ({tensor.dtype}, {tensor.layout})")
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() == 0 or tensor.ndim > DIMENSION_LIMIT or tensor.numel() * tensor.element_size() > stored:
        raise _damaged(path, f"tensor {key!r} has shape {tuple(tensor.shape)} on {stored} bytes")

"""Pasted generation parameters and LoRA tags in a prompt → the fields of a request, and notes on what has no place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twinset.pipelines.denoising.schedulers import SCHEDULERS, WITH_TERMINAL_NOISE
from twinset.pipelines.named_files import LoraChoice
from twinset.pipelines.sizes import SIZE_PATTERN, check_size
from twinset.prompts.pasted import TAKEN_OVER, split_pasted

LARGEST_SEED = 2**64 - 1
"""What a torch generator takes."""
MOST_LORAS = 8
_SAMPLERS = {"plms": "pndm", "euler_ancestral": "euler_a"}


def pasted_fields(prompt: str, model: str) -> dict[str, Any]:
    """Fields of a request that a prompt's pasted parameters say; values that no request takes are left out.

    Args:
        prompt: as the user gave it.
        model: the bundled one draws with few samplers only.
    """
    return {field: value for field, value, _ in _read(prompt, model) if value is not None}


def unused_settings(prompt: str, model: str) -> list[str]:
    """One line on the pasted parameters that have a field and a value that it does not take, if any."""
    wrong = [
        f"{name}: {split_pasted(prompt).settings[name]}" for _, value, name in _read(prompt, model) if value is None
    ]
    return [f"pasted settings that this model does not take: {', '.join(wrong)}"] if wrong else []


def _read(prompt: str, model: str) -> Iterator[tuple[str, Any, str]]:
    """(field, value or None, name in the paste) of every setting that has a field."""
    settings = split_pasted(prompt).settings
    for name, field in TAKEN_OVER.items():
        if name in settings:
            yield field, _READERS[field](settings, settings[name], model), name


def _whole(low: int, high: int) -> Callable[[Mapping[str, str], str, str], int | None]:
    def read(_settings: Mapping[str, str], value: str, _model: str) -> int | None:
        return int(value) if value.isdecimal() and low <= int(value) <= high else None

    return read


def _guidance(_settings: Mapping[str, str], value: str, _model: str) -> float | None:
    return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) and float(value) <= 30 else None


def _size(_settings: Mapping[str, str], value: str, _model: str) -> str | None:
    said = value.lower().replace(" ", "")
    try:
        return check_size(said) if re.fullmatch(SIZE_PATTERN, said) else None
    except ValueError:
        return None


def _scheduler(settings: Mapping[str, str], value: str, model: str) -> str | None:
    """ "DPM++ 2M Karras", or "DPM++ 2M" with "Schedule type: Karras" → dpmpp_2m_karras."""
    kind = settings.get("schedule type", "")
    said = f"{value} {kind}" if kind.lower() == "karras" and "karras" not in value.lower() else value
    name = re.sub(r"[^a-z0-9]+", "_", said.lower().replace("++", "pp")).strip("_")
    name = _SAMPLERS.get(name, name)
    known = WITH_TERMINAL_NOISE if model == "studio" else tuple(SCHEDULERS)
    return name if name in known else None


_READERS: dict[str, Callable[[Mapping[str, str], str, str], Any]] = {
    "steps": _whole(1, 1000),
    "seed": _whole(0, LARGEST_SEED),
    "guidance": _guidance,
    "size": _size,
    "scheduler": _scheduler,
}


def tagged_loras(prompt: str, loras: tuple[LoraChoice, ...]) -> tuple[tuple[LoraChoice, ...], list[str]]:
    """The LoRAs of a request with those that its prompt names, `<lora:name:0.8>`, and notes on the others.

    A name is looked for among the request's files and in their folders, nowhere else: whoever writes a prompt does not
    choose files of the machine that draws.
    """
    from twinset.prompts.notation import read_notation

    found, notes = list(loras), []
    for tag in read_notation(prompt).tags:
        if any(tag.name in (lora.path.name, lora.path.stem) for lora in loras):
            continue
        near = [path for lora in loras for path in _files_named(tag.name, lora.path.parent)]
        if near and len(found) < MOST_LORAS and abs(tag.weight) <= 4:
            found.append(LoraChoice(path=near[0], weight=tag.weight))
        else:
            notes.append(f"LoRA {tag.name!r} of the prompt is not used: give its file with --lora FILE={tag.weight:g}")
    return tuple(found), notes


def _files_named(name: str, folder: Path) -> list[Path]:
    if not re.fullmatch(r"[\w .+()-]+", name):  # no path
        return []
    return [path for path in (folder / f"{name}.safetensors", folder / name) if path.is_file()]

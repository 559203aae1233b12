"""Models as they are saved: bundled by name, diffusers' folders, hub ids."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch

from twinset.errors import InputError

BUNDLED = Path(__file__).resolve().parents[2] / "models"
INDEX = "model_index.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def read_index(folder: Path) -> dict[str, Any]:
    """What a diffusers folder says of its parts.

    Raises:
        InputError: it is no JSON table.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        index = None
    if not isinstance(index, dict):
        raise InputError(f"{str(folder / INDEX)!r} is no JSON table; save or download the model again")
    return index


def refuse_pickles(folder: Path, given: Mapping[str, Any]) -> None:
    """Refuse a model folder of which a part is there as a pickle alone.

    Args:
        folder: of the model; one that is not here is passed over.
        given: parts that are not read from it.

    Raises:
        InputError: the line names the file, and the switch that reads it.
    """
    for pickled in sorted(folder.glob("*/*.bin")):
        if pickled.parent.name not in given and not any(pickled.parent.glob("*.safetensors")):
            raise InputError(
                f"{str(pickled)!r} is a pickle, which may hold code; save the model as safetensors, or, if you trust "
                "where it is from, pass use_safetensors=False, which reads its tensors alone"
            )


class PretrainedMixin:
    """`from_pretrained` of both families, and where a pipeline's weights are from.

    Attributes:
        revision: of all its files, where they are not one folder's.
        licences: of its parts in use, by name, where it has several.
    """

    revision: str | None = None
    licences: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a bundled profile by name ("studio"), a diffusers folder, or a hub id ("owner/name").

        A folder of plain Stable Diffusion will do: parts that it lacks may be given by name (`controlnet=`), and
        without any it draws from words alone.

        Weights are read from safetensors alone; `use_safetensors=False` reads pickles too, tensors only.

        Raises:
            InputError: there is no such model, or it is a folder of pickles.
        """
        name, kind = str(pretrained_model_name_or_path), cls
        folder = BUNDLED / name if (BUNDLED / name / INDEX).is_file() else Path(name)
        if (folder / INDEX).is_file():
            name, index = str(folder), read_index(folder)
            kind = cls.class_for(index)
            if "controlnet" not in index:
                kwargs.setdefault("controlnet", None)
        elif folder.exists() or not HUB_ID.fullmatch(name):
            raise InputError(
                f"model {name!r} is neither bundled, nor a folder with model_index.json, nor a hub id such as "
                "owner/name; the bundled model is 'studio'"
            )
        if not {"dtype", "torch_dtype"} & kwargs.keys():
            kwargs["dtype"] = torch.float32
        if kwargs.setdefault("use_safetensors", True):
            refuse_pickles(folder, kwargs)
        diffusers_own: Any = super(PretrainedMixin, kind)
        return diffusers_own.from_pretrained(name, **kwargs)

    @classmethod
    def class_for(cls, index: dict[str, Any]) -> type[Self]:
        """The class of a saved model, by its `model_index.json`."""
        return cls

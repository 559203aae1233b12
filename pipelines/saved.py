"""Models as they are saved: bundled by name, diffusers' folders, hub ids."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Self

import torch

from twinset.errors import InputError

BUNDLED = Path(__file__).resolve().parent.parent / "models"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Saved:
    """`from_pretrained` of both families."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a bundled profile by name ("studio"), a diffusers folder, or a hub id ("owner/name").

        A folder of plain Stable Diffusion will do: parts that it lacks may be given by name (`controlnet=`), and
        without any it draws from words alone.

        Raises:
            InputError: there is no such model.
        """
        name = str(pretrained_model_name_or_path)
        folder = BUNDLED / name if (BUNDLED / name / "model_index.json").is_file() else Path(name)
        if (folder / "model_index.json").is_file():
            name = str(folder)
            if "controlnet" not in json.loads((folder / "model_index.json").read_text(encoding="utf-8")):
                kwargs.setdefault("controlnet", None)
        elif folder.exists() or not HUB_ID.fullmatch(name):
            raise InputError(
                f"model {name!r} is neither bundled, nor a folder with model_index.json, nor a hub id such as "
                "owner/name; the bundled model is 'studio'"
            )
        if not {"dtype", "torch_dtype"} & kwargs.keys():
            kwargs["dtype"] = torch.float32
        diffusers_own: Any = super()
        return diffusers_own.from_pretrained(name, **kwargs)

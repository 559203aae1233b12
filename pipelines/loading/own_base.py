"""A base model of the user's own: a folder of plain Stable Diffusion 1.5 or XL, or one checkpoint file.

Which it is, is told from tables and shapes before any network is made; everything else is refused in one line that
names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinset.adapters.weights import PICKLE_SUFFIXES, Weights, open_weights
from twinset.common.hashing import remembered_hash
from twinset.errors import InputError
from twinset.pipelines.loading.pretrained import INDEX, read_index

WANTED = "give Stable Diffusion 1.5 or XL: a .safetensors checkpoint, or a folder with model_index.json"
BUNDLED_ONLY = ("identity_adapter", "garment_adapter", "figure_reader")
"""Parts that only models of the bundled family have."""
NEEDED_BY_BOTH = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
NEEDED = {"sd15": NEEDED_BY_BOTH, "sdxl": (*NEEDED_BY_BOTH, "text_encoder_2", "tokenizer_2")}
TABLES = {".json", ".txt", ".model"}
"""Files of configurations and vocabularies."""
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CHANNELS = {9: "an inpainting model", 8: "a model that edits by instructions", 5: "a depth model", 7: "an upscaler"}
"""What a UNet is for by the channels that it reads; plain ones read 4."""
SD2_WIDTH = 1024
"""Channels of Stable Diffusion 2's text tokens."""
LORA = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", ".hada_w1_a", ".lokr_w1")
FOREIGN: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (LORA, "a LoRA", "give it as --lora"),
    (("control_model.", "controlnet_cond_embedding."), "a ControlNet", WANTED),
    (("ip_adapter.", "image_proj."), "an IP-Adapter", WANTED),
    (("joint_blocks.",), "Stable Diffusion 3", WANTED),
    (("double_blocks.",), "Flux, or a model like it", WANTED),
    (("emb_params", "clip_l", "string_to_param"), "a textual inversion", WANTED),
    (("down_blocks.",), "a network of a diffusers folder", "give the folder in which model_index.json lies"),
    (("text_model.encoder.", "transformer.resblocks."), "a text encoder", WANTED),
    (("decoder.conv_in.", "decoder.up."), "a VAE", WANTED),
)
"""Parts of keys → what has them, and what to do instead."""


@dataclass(frozen=True)
class OwnBase:
    """A base model that was looked at and found to be of a known family.

    Attributes:
        path: of the folder or the file.
        family: "sd15" or "sdxl".
        files: all that is read of it.
        variant: of a folder's weight files, as `from_pretrained` takes it: "fp16" or None.
        absent: networks that one would expect: "vae" of a file without one, and what a folder's index names in vain.
    """

    path: Path
    family: str
    files: tuple[Path, ...]
    variant: str | None = None
    absent: tuple[str, ...] = ()

    @property
    def is_file(self) -> bool:
        """Whether it is one checkpoint file."""
        return self.files == (self.path,)

    @property
    def weights(self) -> list[Path]:
        """Its weight files."""
        return [path for path in self.files if path.suffix == ".safetensors"]

    def revision(self) -> str:
        """SHA-256 of the file; of a folder one over all files that are read, names included.

        Files are hashed anew only when they have changed since.
        """
        if self.is_file:
            return remembered_hash(self.path)
        lines = [f"{path.relative_to(self.path).as_posix()} {remembered_hash(path)}" for path in sorted(self.files)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def own_base(model: str) -> OwnBase | None:
    """The base model that a user names by a path; None where this is no file and no folder of plain Stable Diffusion.

    Raises:
        InputError: it is something else, or damaged; the line says what it is.
    """
    path = Path(model)
    if path.suffix.lower() in (".safetensors", *PICKLE_SUFFIXES) or path.is_file():
        return _of_file(path)
    if not (path / INDEX).is_file():
        return None
    index = read_index(path)
    return None if any(_class_of(index, name) for name in BUNDLED_ONLY) else _of_folder(path, index)


# One file


def _of_file(path: Path) -> OwnBase:
    if path.is_file() and path.suffix.lower() in PICKLE_SUFFIXES:
        raise InputError(f"model {str(path)!r} is a pickle, which may hold code; get it as .safetensors, or convert it")
    if path.is_file() and path.suffix.lower() != ".safetensors":
        raise InputError(f"model {str(path)!r} is not a model; {WANTED}")
    state = open_weights(path)
    family = _family_of_keys(state, path)
    absent = () if any(key.startswith(VAE) for key in state) else ("vae",)
    return OwnBase(path, family, (path,), absent=absent)


def _family_of_keys(state: Weights, path: Path) -> str:
    """The family, told from names and shapes of a checkpoint in the layout of its authors."""
    first = state.get(f"{UNET}input_blocks.0.0.weight")
    if first is None:
        what, remedy = next(
            ((what, remedy) for marks, what, remedy in FOREIGN if any(m in key for key in state for m in marks)),
            (f"of no known layout (its keys begin {', '.join(list(state)[:3])})", WANTED),
        )
        raise InputError(f"model {str(path)!r} is {what}; {remedy}")
    widths = {t.shape[1] for key, t in state.items() if key.startswith(UNET) and key.endswith("attn2.to_k.weight")}
    _require_plain(first.shape[1], widths, path)
    encoders = {
        "conditioner.embedders.1.model.": "sdxl",
        "cond_stage_model.transformer.": "sd15",
        "conditioner.embedders.0.model.": "the refiner of Stable Diffusion XL",
        "cond_stage_model.model.": "Stable Diffusion 2",
    }
    found = next((kind for begin, kind in encoders.items() if any(key.startswith(begin) for key in state)), None)
    if found is None:
        raise InputError(f"model {str(path)!r} is a UNet without its text encoder; {WANTED}")
    if found not in NEEDED:
        raise InputError(f"model {str(path)!r} is {found}; {WANTED}")
    return found


def _require_plain(channels: Any, widths: set[Any], path: Path) -> None:
    """Refuses UNets for other tasks, and those of Stable Diffusion 2."""
    if channels != 4:
        told = CHANNELS.get(channels, "a model for another task")
        raise InputError(f"model {str(path)!r} is {told} (its UNet reads {channels} channels, not 4); {WANTED}")
    if SD2_WIDTH in widths:
        raise InputError(f"model {str(path)!r} is Stable Diffusion 2; {WANTED}")


# A folder


def _of_folder(folder: Path, index: Mapping[str, Any]) -> OwnBase:
    told = str(index.get("_class_name", "of no class"))
    if _class_of(index, "unet") != "UNet2DConditionModel":
        raise InputError(f"model {str(folder)!r} is {told}, without a UNet of Stable Diffusion; {WANTED}")
    family = "sdxl" if _class_of(index, "text_encoder_2") else "sd15"
    if lacking := [name for name in NEEDED[family] if not (_class_of(index, name) and (folder / name).is_dir())]:
        raise InputError(f"model {str(folder)!r} ({told}) lacks {', '.join(lacking)}; save or download it again")
    config = _read_config(folder / "unet" / "config.json")
    width = config.get("cross_attention_dim")
    _require_plain(config.get("in_channels"), {width} if isinstance(width, int) else set(), folder)
    named = [name for name, value in index.items() if isinstance(value, list) and _class_of(index, name)]
    present = [name for name in named if (folder / name).is_dir()]
    variant = None if _stored(folder / "unet", None) else "fp16"
    files = [folder / INDEX, *(path for name in present for path in _read_of(folder / name, variant))]
    return OwnBase(folder, family, tuple(files), variant, tuple(name for name in named if name not in present))


def _class_of(index: Mapping[str, Any], name: str) -> str | None:
    """Class of a part by the index; None for a part that is not there."""
    value = index.get(name)
    return str(value[1]) if isinstance(value, list) and len(value) == 2 and value[1] else None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{str(path)!r} is missing or no JSON table; save or download the model again")
    return config


def _read_of(folder: Path, variant: str | None) -> Iterator[Path]:
    """What is read of a part's folder: its tables, and its weight files of the variant, else of none."""
    yield from (path for path in folder.iterdir() if path.suffix in TABLES)
    yield from _stored(folder, variant) or _stored(folder, None)


def _stored(folder: Path, variant: str | None) -> list[Path]:
    """Weight files of a variant: `name.safetensors`, `name.fp16.safetensors`, or either in shards."""
    found = sorted(folder.glob("*.safetensors"))
    return [path for path in found if path.stem.partition(".")[2].partition("-")[0] == (variant or "")]

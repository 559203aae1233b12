"""Data sets as sd-scripts' TOML (or JSON) says them: `[general]`, `[[datasets]]`, `[[datasets.subsets]]`.

    [general]
    shuffle_caption = true

    [[datasets]]
    resolution = 1024
    batch_size = 2

    [[datasets.subsets]]
    image_dir = "worn"
    num_repeats = 2

    [[datasets.subsets]]
    image_dir = "other_jackets"
    is_reg = true
    class_tokens = "a photo of a jacket"

What a table says of its pictures goes before the options of the training.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from twinset.common.validation import one_line
from twinset.errors import InputError
from twinset.training.core.options import nearest
from twinset.training.core.picture_files import decoded

TABLES = (".toml", ".json")
Side = Field(default=None, ge=64, le=4096, multiple_of=8)
#: Key → the values that ask for nothing, and why anything else is refused.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "color_aug": ((False,), "a garment's colours are what is learnt"),
    "random_crop": ((False,), "pictures are cut around the garment and encoded once"),
    "face_crop_aug_range": ((), "pictures are cut around the garment and encoded once"),
    "token_warmup_min": ((1,), "captions are read whole from the first step"),
    "token_warmup_step": ((0,), "captions are read whole from the first step"),
    "resize_interpolation": (("lanczos",), "pictures are scaled by Lanczos' filter"),
    "custom_attributes": (({},), "nothing reads them here"),
    "network_multiplier": ((1,), "write the weight where the LoRA is used: --lora file=0.8"),
    "debug_dataset": ((False,), "what a run saw is in its folder"),
    "max_token_length": ((75,), "the text encoders read 75 tokens"),
    "conditioning_data_dir": ((), "ControlNets are trained by `twinset train control`"),
    "prior_loss_weight": ((), "it is the option --prior-weight"),
}


class Subset(BaseModel):
    """One folder of a table, with what its data set and `[general]` say; names and meanings are sd-scripts'.

    Attributes:
        image_dir: The folder, from the table's own or from the current one.
        metadata_file: JSON of captions and tags by picture, in place of caption files.
        num_repeats: How often each picture comes in an epoch.
        is_reg: Whether these are regularisation pictures.
        is_validation: Whether these are only measured on (ours).
        class_tokens: Caption of pictures that have none.
        caption_extension: Of the caption files; `.txt`, else `.caption`, when absent.
        cache_info, alpha_mask: As they are always: sizes are not cached, and a transparent background is a mask.
        resolution, batch_size, enable_bucket, min_bucket_reso, max_bucket_reso, bucket_reso_steps, bucket_no_upscale:
            See `twinset.training.core.buckets.BucketRule`.
        validation_split, validation_seed: Share of the pictures that is only measured on, and what draws it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_dir: Path | None = None
    metadata_file: Path | None = None
    num_repeats: int = Field(default=1, ge=1, le=10_000)
    is_reg: bool = False
    is_validation: bool = False
    class_tokens: str | None = None
    caption_extension: str | None = None
    cache_info: bool = False
    alpha_mask: bool = False
    shuffle_caption: bool | None = None
    keep_tokens: int | None = Field(default=None, ge=0)
    keep_tokens_separator: str | None = None
    secondary_separator: str | None = None
    caption_separator: str | None = None
    enable_wildcard: bool | None = None
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_dropout_rate: float | None = Field(default=None, ge=0, le=1)
    caption_dropout_every_n_epochs: int | None = Field(default=None, ge=0)
    caption_tag_dropout_rate: float | None = Field(default=None, ge=0, le=1)
    flip_aug: bool | None = None
    resolution: tuple[int, int] | None = None
    batch_size: int | None = Field(default=None, ge=1)
    enable_bucket: bool | None = None
    min_bucket_reso: int | None = Side
    max_bucket_reso: int | None = Side
    bucket_reso_steps: int | None = Field(default=None, ge=8, le=512, multiple_of=8)
    bucket_no_upscale: bool | None = None
    validation_split: float | None = Field(default=None, ge=0, lt=1)
    validation_seed: int | None = Field(default=None, ge=0)

    @field_validator("resolution", mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        sides = [value, value] if isinstance(value, int) else value
        if isinstance(sides, list) and any(not isinstance(s, int) or s % 8 or not 64 <= s <= 4096 for s in sides):
            raise ValueError("write sides of 64 to 4096 px in multiples of 8, such as 1024 or [832, 1216]")
        return sides

    @model_validator(mode="after")
    def _names_pictures(self) -> Subset:
        if self.image_dir is None and self.metadata_file is None:
            raise ValueError("names no pictures; give image_dir")
        return self


def read_table(path: Path) -> list[Subset]:
    """The subsets of a table, the settings of `[general]` and of their data set below their own.

    Raises:
        InputError: it is no table, has a key that is unknown or refused, or names a folder that is not there.
    """
    table = _loaded(path)
    _known(table, ["general", "datasets"], path)
    general, found = _mapping(table.get("general", {}), "general", path), []
    for dataset in _tables(table.get("datasets", []), "datasets", path):
        shared = {name: value for name, value in dataset.items() if name != "subsets"}
        for subset in _tables(dataset.get("subsets", []), "datasets.subsets", path):
            found.append(_subset({**general, **shared, **subset}, path))
    return found


def _loaded(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"data {str(path)!r} is not a file; give a folder of pictures or a TOML data set")
    text = decoded(path.read_bytes())[0]
    try:
        return _mapping(json.loads(text), "the file", path) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"data {str(path)!r} is not {path.suffix[1:].upper()} ({error}); fix that line") from None


def _subset(fields: dict[str, Any], path: Path) -> Subset:
    for name in [name for name in fields if name in REFUSED]:
        neutral, reason = REFUSED[name]
        if fields.pop(name) not in neutral:
            raise InputError(f"{path}: key {name!r} is not for a garment's LoRA: {reason}; delete the line")
    _known(fields, [*Subset.model_fields], path)
    try:
        subset = Subset.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"{path}: {one_line(error, 'subset', quote=True)}") from None
    folder, metadata = _found(subset.image_dir, path, "image_dir"), _found(subset.metadata_file, path, "metadata_file")
    if folder is not None and not folder.is_dir():
        raise InputError(f"{path}: image_dir {str(subset.image_dir)!r} is not a folder; give the folder itself")
    return subset.model_copy(update={"image_dir": folder, "metadata_file": metadata})


def _found(named: Path | None, table: Path, key: str) -> Path | None:
    """What a table names: from its own folder, else from the current one, as sd-scripts has it."""
    if named is None:
        return None
    places = (table.absolute().parent / named, named.absolute())
    if place := next((place for place in places if place.exists()), None):
        return place
    raise InputError(
        f"{table}: {key} {str(named)!r} is not a {'folder' if key == 'image_dir' else 'file'}; paths are relative to "
        "the TOML file, or to the current folder"
    )


def _known(table: dict[str, Any], known: list[str], path: Path) -> None:
    for name in table:
        if name not in known:
            raise InputError(
                f"{path}: key {name!r} is unknown in a data set ({nearest(name, known)}); rates and ranks are options "
                "of `twinset train lora`"
            )


def _mapping(value: Any, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {name} is not a table; write [{name}]")
    return value


def _tables(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise InputError(f"{path}: {name} is not a list of tables; write [[{name}]]")
    return [_mapping(one, name, path) for one in value]

"""The pictures of a training: which files, with which captions and masks, how often each.

A folder holds pictures and, as far as somebody wrote them, captions: `name.txt` beside `name.jpg`, or one
`metadata.jsonl` with a line `{"file_name": "name.jpg", "text": "…"}` per picture (the layout of Hugging Face's image
folders). `name.mask.png` is white on the garment. The sub-folders `regularisation` and `validation` hold pictures of
other garments of the kind, and pictures that are only measured on.

A TOML file in the form of sd-scripts' data sets says it of several folders:

    [general]
    shuffle_caption = true

    [[datasets]]
    [[datasets.subsets]]
    image_dir = "worn"
    num_repeats = 2

    [[datasets.subsets]]
    image_dir = "other_jackets"
    is_reg = true
    class_tokens = "a photo of a jacket"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinset.common.validation import one_line
from twinset.errors import InputError
from twinset.training.core.captions import PICTURES, caption_beside
from twinset.training.core.options import nearest
from twinset.training.lora.options import LoraOptions

MASK, METADATA, TABLE = ".mask.png", "metadata.jsonl", "dataset.toml"
REGULARISATION, VALIDATION = "regularisation", "validation"
MOST = 10_000
"""Pictures of one data set."""


class Subset(BaseModel):
    """A folder of a TOML data set; names and meanings are those of sd-scripts.

    Attributes:
        image_dir: The folder, from the TOML file's.
        num_repeats: How often each picture comes in an epoch.
        is_reg: Whether these are regularisation pictures.
        is_validation: Whether these are only measured on.
        class_tokens: Caption of pictures that have none.
        caption_extension: Of the caption files.
        shuffle_caption, keep_tokens, caption_dropout_rate, flip_aug: In place of the training's own `shuffle`,
            `keep_tokens`, `caption_dropout` and `flip`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_dir: Path
    num_repeats: int = Field(default=1, ge=1, le=10_000)
    is_reg: bool = False
    is_validation: bool = False
    class_tokens: str | None = None
    caption_extension: str = ".txt"
    shuffle_caption: bool | None = None
    keep_tokens: int | None = Field(default=None, ge=0)
    caption_dropout_rate: float | None = Field(default=None, ge=0, le=1)
    flip_aug: bool | None = None


@dataclass(frozen=True)
class Example:
    """A picture of the training.

    Attributes:
        picture: its file.
        caption: what somebody wrote of it; None where nobody did.
        mask: a file that is white on the garment, if there is one.
        repeats: how often it comes in an epoch.
        regularisation: whether it keeps the model from drawing the garment unasked.
        validation: whether it is only measured on.
        shuffle, keep_tokens, caption_dropout, flip: see `LoraOptions`.
    """

    picture: Path
    caption: str | None
    mask: Path | None
    repeats: int
    regularisation: bool
    validation: bool
    shuffle: bool
    keep_tokens: int
    caption_dropout: float
    flip: bool


def read_examples(options: LoraOptions) -> list[Example]:
    """The pictures that the options name, in the order of their paths.

    Raises:
        InputError: there is no picture to learn from, or captions or the TOML file cannot be read.
    """
    examples = [example for subset in _subsets(options.data) for example in _of(subset, options)]
    if not any(not (e.regularisation or e.validation) for e in examples):
        raise InputError(f"data {str(options.data)!r} holds no picture; put 5 to 30 pictures of the garment into it")
    if len(examples) > MOST:
        raise InputError(f"data {str(options.data)!r} holds {len(examples)} pictures; take at most {MOST}")
    return balanced(examples)


def balanced(examples: list[Example]) -> list[Example]:
    """Regularisation pictures repeated until they are about as many as the others, as sd-scripts does it."""
    learnt = sum(e.repeats for e in examples if not (e.regularisation or e.validation))
    regularising = sum(e.repeats for e in examples if e.regularisation)
    times = max(1, round(learnt / regularising)) if regularising else 1
    return [replace(e, repeats=e.repeats * times) if e.regularisation else e for e in examples]


def _subsets(data: Path) -> list[Subset]:
    if data.suffix == ".toml":
        return _table(data)
    if not data.is_dir():
        raise InputError(f"data {str(data)!r} is neither a folder nor a .toml file; give the folder of your pictures")
    if (data / TABLE).is_file():
        return _table(data / TABLE)
    found = [Subset(image_dir=data)]
    if (data / REGULARISATION).is_dir():
        found.append(Subset(image_dir=data / REGULARISATION, is_reg=True))
    if (data / VALIDATION).is_dir():
        found.append(Subset(image_dir=data / VALIDATION, is_validation=True))
    return found


def _table(path: Path) -> list[Subset]:
    """The subsets of a TOML data set, the settings of `[general]` and of their data set below their own."""
    if not path.is_file():
        raise InputError(f"data {str(path)!r} is not a file; give a folder of pictures or a TOML data set")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"data {str(path)!r} is not TOML ({error}); fix that line") from None
    _known(table, ["general", "datasets"], path)
    general, found = _mapping(table.get("general", {}), "general", path), []
    for dataset in _tables(table.get("datasets", []), "datasets", path):
        shared = {name: value for name, value in dataset.items() if name != "subsets"}
        for subset in _tables(dataset.get("subsets", []), "datasets.subsets", path):
            found.append(_subset({**general, **shared, **subset}, path))
    return found


def _subset(fields: dict[str, Any], path: Path) -> Subset:
    _known(fields, list(Subset.model_fields), path)
    try:
        subset = Subset.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"{path}: {one_line(error, 'subset', quote=True)}") from None
    folder = path.absolute().parent / subset.image_dir
    if not folder.is_dir():
        raise InputError(
            f"{path}: image_dir {str(subset.image_dir)!r} is not a folder; paths are relative to the TOML file"
        )
    return subset.model_copy(update={"image_dir": folder})


def _known(table: dict[str, Any], known: list[str], path: Path) -> None:
    for name in table:
        if name not in known:
            raise InputError(
                f"{path}: key {name!r} is unknown in a data set ({nearest(name, known)}); sizes, batches and rates are "
                "options of `twinset train lora`"
            )


def _mapping(value: Any, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {name} is not a table; write [{name}]")
    return value


def _tables(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise InputError(f"{path}: {name} is not a list of tables; write [[{name}]]")
    return [_mapping(one, name, path) for one in value]


def _of(subset: Subset, options: LoraOptions) -> Iterator[Example]:
    written = _captions(subset.image_dir)
    own = {
        "shuffle": subset.shuffle_caption,
        "keep_tokens": subset.keep_tokens,
        "caption_dropout": subset.caption_dropout_rate,
        "flip": subset.flip_aug,
    }
    ways: dict[str, Any] = {name: getattr(options, name) if value is None else value for name, value in own.items()}
    for path in sorted(subset.image_dir.iterdir()):
        if path.suffix.lower() not in PICTURES or path.name.endswith(MASK):
            continue
        mask = path.with_name(path.stem + MASK)
        yield Example(
            picture=path,
            caption=written.get(path.name) or caption_beside(path, subset.caption_extension) or subset.class_tokens,
            mask=mask if mask.is_file() else None,
            repeats=subset.num_repeats,
            regularisation=subset.is_reg,
            validation=subset.is_validation,
            **ways,
        )


def _captions(folder: Path) -> dict[str, str]:
    """File name → caption of a folder's `metadata.jsonl`."""
    path = folder / METADATA
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name, text = entry["file_name"], entry["text"]
        except (ValueError, KeyError, TypeError):
            name, text = None, None
        if not (isinstance(name, str) and isinstance(text, str)):
            keys = '{"file_name": "a.jpg", "text": "…"}'
            raise InputError(f"{path}: line {number} is not an object such as {keys}; fix or delete it")
        if not (folder / name).is_file():
            raise InputError(f"{path}: line {number}: {name!r} is not a picture in the folder; fix or delete the line")
        found[name] = text
    return found

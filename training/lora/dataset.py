"""The pictures of a training: which files, with which captions and masks, how often each.

A folder holds pictures and, as far as somebody wrote them, captions: `name.txt` or `name.caption` beside `name.jpg`, or
one `metadata.jsonl` with a line `{"file_name": "name.jpg", "text": "…"}` per picture (Hugging Face's image folders).
`name.mask.png` is white on the garment. Folders in it are read too: `10_jckt hoodie` repeats its pictures ten times and
captions them "jckt hoodie" (sd-scripts' layout), `regularisation` (or `reg`) and `validation` hold pictures of other
garments of the kind, and pictures that are only measured on.

A TOML file says it of several folders, see `twinset.training.lora.dataset_table`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from twinset.errors import InputError
from twinset.training.core.buckets import BucketRule
from twinset.training.core.picture_files import CAPTIONS, caption_lines, decoded, read_training_picture
from twinset.training.core.training_run import Report
from twinset.training.lora.caption_rules import CaptionRule
from twinset.training.lora.dataset_table import TABLES, Subset, read_table
from twinset.training.lora.folders import MASK, PassedOver, picture_files, picture_folders
from twinset.training.lora.options import LoraOptions

METADATA, TABLE = "metadata.jsonl", "dataset.toml"
MOST = 10_000
"""Pictures of one data set."""
FAULTS_SHOWN = 20
"""Unreadable pictures that a message names."""


@dataclass(frozen=True)
class Example:
    """A picture of the training.

    Attributes:
        picture: its file.
        caption: what somebody wrote of it, its lines parted by newlines; None where nobody did.
        mask: a file that is white on the garment, if there is one.
        repeats: how often it comes in an epoch.
        regularisation: whether it keeps the model from drawing the garment unasked.
        validation: whether it is only measured on.
        flip: whether every other time it is mirrored.
        words: what is done to its caption at a step.
        frame: what a table says of its bucket, by the names of `BucketRule`.
        batch: pictures per step with it; the training's own number when None.
    """

    picture: Path
    caption: str | None = None
    mask: Path | None = None
    repeats: int = 1
    regularisation: bool = False
    validation: bool = False
    flip: bool = False
    words: CaptionRule = field(default_factory=CaptionRule)
    frame: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None

    def bucket_rule(self, rule: BucketRule) -> BucketRule:
        """The training's rule with what a table says of this picture."""
        return replace(rule, **self.frame)


def read_examples(options: LoraOptions, report: Report = lambda line: None) -> list[Example]:
    """The pictures that the options name, in the order of their paths, all of them readable.

    Args:
        options: of the training.
        report: told what was passed over, and captions that are not UTF-8.

    Raises:
        InputError: there is no picture to learn from, or captions or the TOML file cannot be read; or pictures or masks
            cannot, all of which are named, and `skip_bad` does not leave them out.
    """
    passed = PassedOver()
    examples = [e for subset in _subsets(options.data) for e in _of(subset, options, passed)]
    if str(passed):
        report(f"passed over, since they are no pictures: {passed}")
    examples = _readable(examples, options, report)
    if not any(not (e.regularisation or e.validation) for e in examples):
        raise InputError(f"data {str(options.data)!r} holds no picture; put 5 to 30 pictures of the garment into it")
    if len(examples) > MOST:
        raise InputError(f"data {str(options.data)!r} holds {len(examples)} pictures; take at most {MOST}")
    _report_encodings(examples, report)
    return balanced([again for example in examples for again in _at_all_sizes(example, options)])


def balanced(examples: list[Example]) -> list[Example]:
    """Regularisation pictures repeated until they are about as many as the others, as sd-scripts does it."""
    learnt = sum(e.repeats for e in examples if not (e.regularisation or e.validation))
    regularising = sum(e.repeats for e in examples if e.regularisation)
    times = max(1, round(learnt / regularising)) if regularising else 1
    return [replace(e, repeats=e.repeats * times) if e.regularisation else e for e in examples]


def _at_all_sizes(example: Example, options: LoraOptions) -> list[Example]:
    """An example at its own size, and at each of `more_resolutions` too."""
    sides = () if example.validation else options.more_sides
    return [example, *(replace(example, frame={**example.frame, "size": (side, side)}) for side in sides)]


# Which pictures


def _subsets(data: Path) -> list[Subset]:
    if data.suffix in TABLES:
        return read_table(data)
    if not data.is_dir():
        raise InputError(f"data {str(data)!r} is neither a folder nor a .toml file; give the folder of your pictures")
    if (data / TABLE).is_file():
        return read_table(data / TABLE)
    return [
        Subset(
            image_dir=folder.path, num_repeats=folder.repeats or 1, class_tokens=folder.words,
            is_reg=folder.regularisation, is_validation=folder.validation,
        )
        for folder in picture_folders(data)
    ]  # fmt: skip


def _of(subset: Subset, options: LoraOptions, passed: PassedOver) -> Iterator[Example]:
    written = _captions(subset)
    paths = written if subset.image_dir is None else picture_files(subset.image_dir, passed)
    endings = CAPTIONS if subset.caption_extension is None else (_dotted(subset.caption_extension),)
    words, frame, held_out = _words(subset, options), _frame(subset), _held_out(subset, options, len(list(paths)))
    for number, path in enumerate(paths):
        mask = path.with_name(path.stem + MASK)
        yield Example(
            picture=path,
            caption=written.get(path) or "\n".join(caption_lines(path, endings)) or subset.class_tokens,
            mask=mask if mask.is_file() else None,
            repeats=subset.num_repeats,
            regularisation=subset.is_reg,
            validation=subset.is_validation or number in held_out,
            flip=options.flip if subset.flip_aug is None else subset.flip_aug,
            words=words,
            frame=frame,
            batch=subset.batch_size,
        )


def _dotted(ending: str) -> str:
    return ending if ending.startswith(".") else f".{ending}"


def _words(subset: Subset, options: LoraOptions) -> CaptionRule:
    """What a table says of the captions, and the training's options where it is silent."""
    own = {
        "shuffle": subset.shuffle_caption,
        "keep": subset.keep_tokens,
        "keep_separator": subset.keep_tokens_separator,
        "separator": subset.caption_separator,
        "secondary": subset.secondary_separator,
        "wildcards": subset.enable_wildcard,
        "prefix": subset.caption_prefix,
        "suffix": subset.caption_suffix,
        "dropout": subset.caption_dropout_rate,
        "dropout_epochs": subset.caption_dropout_every_n_epochs,
        "tag_dropout": subset.caption_tag_dropout_rate,
    }
    return replace(options.caption_rule, **{name: value for name, value in own.items() if value is not None})


def _frame(subset: Subset) -> dict[str, Any]:
    own = {
        "size": subset.resolution,
        "step": subset.bucket_reso_steps,
        "several": subset.enable_bucket,
        "shortest": subset.min_bucket_reso,
        "longest": subset.max_bucket_reso,
        "upscale": None if subset.bucket_no_upscale is None else not subset.bucket_no_upscale,
    }
    return {name: value for name, value in own.items() if value is not None}


def _held_out(subset: Subset, options: LoraOptions, count: int) -> set[int]:
    """Numbers of the pictures that are only measured on, always the same of the same folder."""
    share = options.validation_split if subset.validation_split is None else subset.validation_split
    if subset.is_reg or subset.is_validation or not share:
        return set()
    seed = options.seed if subset.validation_seed is None else subset.validation_seed
    most = max(0, count - 1)  # one is learnt at least
    return set(np.random.default_rng([4, seed]).permutation(count)[: min(most, max(1, round(share * count)))].tolist())


# Captions


def _captions(subset: Subset) -> dict[Path, str]:
    """Picture → caption, of a folder's `metadata.jsonl` or of sd-scripts' JSON."""
    if subset.metadata_file is not None:
        return dict(_of_json(subset.metadata_file, subset.image_dir))
    folder = subset.image_dir
    if folder is None or not (folder / METADATA).is_file():
        return {}
    return dict(_of_lines(folder / METADATA))


def _of_lines(path: Path) -> Iterator[tuple[Path, str]]:
    for number, line in enumerate(decoded(path.read_bytes())[0].split("\n"), 1):
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
        if not (path.parent / name).is_file():
            raise InputError(f"{path}: line {number}: {name!r} is not a picture in the folder; fix or delete the line")
        yield path.parent / name, text


def _of_json(path: Path, folder: Path | None) -> Iterator[tuple[Path, str]]:
    """Entries `"1.jpg": {"caption": "…", "tags": "…"}`; names count from `image_dir`, else from the file's folder."""
    try:
        table = json.loads(decoded(path.read_bytes())[0])
        entries = {name: [entry.get("caption"), entry.get("tags")] for name, entry in table.items()}
    except (ValueError, AttributeError) as error:
        raise InputError(f'{path}: is no table such as {{"a.jpg": {{"caption": "…"}}}} ({error}); fix it') from None
    by_stem = {found.stem: found for found in picture_files(folder or path.parent)}
    for name, texts in entries.items():
        found = by_stem.get(name) or (folder or path.parent) / name
        if not found.is_file():
            raise InputError(f"{path}: {name!r} is not a picture in {folder or path.parent}; fix or delete the entry")
        yield found, ", ".join(text for text in texts if isinstance(text, str) and text)


def _report_encodings(examples: Iterable[Example], report: Report) -> None:
    """Say which captions are not UTF-8, since a wrong guess would be learnt."""
    found: dict[str, list[Path]] = {}
    for example in examples:
        for ending in CAPTIONS:
            path = example.picture.with_suffix(ending)
            name = decoded(path.read_bytes())[1] if path.is_file() else "UTF-8"
            if name != "UTF-8":
                found.setdefault(name, []).append(path)
    for name, paths in found.items():
        report(
            f"{len(paths)} caption(s) are read as {name}, such as {paths[0].name}; save them as UTF-8 if that is wrong"
        )


# Faults


def _readable(examples: list[Example], options: LoraOptions, report: Report) -> list[Example]:
    """The examples whose pictures and masks can be read; all others in one report."""
    faults = {example.picture: fault for example in examples if (fault := _fault(example))}
    if not faults:
        return examples
    shown = [*faults.values()][:FAULTS_SHOWN]
    rest = f"; and {len(faults) - len(shown)} more" if len(faults) > len(shown) else ""
    if not options.skip_bad:
        raise InputError(f"{len(faults)} picture(s) cannot be learnt: {'; '.join(shown)}{rest}; or add --skip-bad")
    report(f"left out: {'; '.join(shown)}{rest}")
    return [example for example in examples if example.picture not in faults]


def _fault(example: Example) -> str | None:
    return _unreadable(example.picture, "picture", _version(example.picture)) or (
        None if example.mask is None else _unreadable(example.mask, "mask", _version(example.mask))
    )


def _version(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@cache
def _unreadable(path: Path, what: str, version: tuple[int, int]) -> str | None:
    """What is wrong with a file; looked at once as long as it does not change."""
    try:
        picture = read_training_picture(path, what)
    except InputError as error:
        return str(error)
    return f"mask {str(path)!r} is black; paint the garment white" if what == "mask" and picture.max() < 128 else None

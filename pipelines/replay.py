"""A record's picture drawn again, with the same inputs and the same weights, to the same bytes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from twinset.common.hashing import file_hash
from twinset.common.paths import file_name
from twinset.compliance.consent import enter_file
from twinset.compliance.labels.key import key_name, mark_key
from twinset.errors import InputError
from twinset.pipelines.compose import Composition, compose
from twinset.pipelines.controller.controller import draw_controlled
from twinset.pipelines.denoising.locks import unet_lock
from twinset.pipelines.draw import Progress, draw
from twinset.pipelines.generate import finished, labelled, revision_of, under_consent
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.loading.packages import packages_on
from twinset.pipelines.loading.parts_on_demand import prepared
from twinset.pipelines.loading.request_embeddings import embeddings_on
from twinset.pipelines.loading.request_loras import loras_on
from twinset.pipelines.record import Record, save_file

HELD_SINCE = 5
"""Format of the first records whose plain clothes kept their colours from stage to stage."""
EACH_BY_ITS_SEED_SINCE = 6
"""Format of the first records whose pictures had pose, hair and outfit each from its own seed."""


def replay(pipe: JointPass, record: Record, out: Path, progress: Progress | None = None) -> tuple[Path, bool]:
    """Draw a record's picture again.

    Args:
        pipe: The model that the record names.
        record: Of the picture.
        out: Folder for the new picture.
        progress: Told after each step.

    Returns:
        The new file, and whether its bytes equal the first one's. Signatures hold the time and random
        numbers, so files are compared as they were before they were signed: pixels, marks and XMP.

    Raises:
        InputError: An input or the model is not what it was.
    """
    torch.set_num_threads(int(record.machine["threads"]))
    out.mkdir(parents=True, exist_ok=True)
    request = record.request
    with unet_lock(pipe.unet):
        check_unchanged(pipe, record)
        with (
            under_consent(pipe, request),
            packages_on(pipe, request),
            embeddings_on(pipe, request.embeddings),
            loras_on(pipe, request.loras),
        ):
            own = request.of_picture(record.index) if record.format >= EACH_BY_ITS_SEED_SINCE else request
            composition = compose(pipe, own, draw_clothes="drawn_clothes" in record.composed)
            composition = as_recorded(record, composition)
            again = partial(draw, pipe, request, composition, record.index, progress)
            picture = finished(request, composition, draw_controlled(pipe, request, composition, again))
    path = out / file_name(record.picture)
    path = path.with_stem(f"{path.stem}-replay") if path.exists() else path
    done = labelled(request, composition, picture, record.picture, bool(record.labels.get("bound")))
    save_file(enter_file(request.consent, path, done.data), path)
    return path, done.sha256 == record.sha256


def as_recorded(record: Record, composition: Composition) -> Composition:
    """A composition with the prompts that a record's picture was drawn with, however prompts are made today.

    Before format 5 no colours were held from stage to stage.
    """
    composition = replace(composition, holds_colours=record.format >= HELD_SINCE)
    if "negative" not in record.composed:
        return composition
    words = {"prompt": record.composed["prompt"], "negative": record.composed["negative"]}
    return replace(composition, sentence=replace(composition.sentence, **words))


def check_unchanged(pipe: JointPass, record: Record) -> None:
    """Refuse to replay a record with other inputs or other weights than its own.

    Raises:
        InputError: Names the file or model that changed.
    """
    for name, expected in record.inputs.items():
        if not Path(name).is_file():
            raise InputError(f"input {name!r} of the record is gone; put the file back")
        if file_hash(Path(name)) != expected:
            raise InputError(f"input {name!r} is not the file that the record used; put the old file back")
    prepared(pipe, record.request)
    revision = revision_of(pipe)
    if revision != record.model["revision"]:
        raise InputError(
            f"model {record.model['name']!r} has revision {revision[:12]}, the record was made "
            f"with {record.model['revision'][:12]}; give that model with --model"
        )
    key = key_name(mark_key())
    if record.labels and record.labels["key"] != key:
        raise InputError(
            f"the record's picture was marked with the key {record.labels['key']}, this run has {key}; "
            "set TWINSET_MARK_KEY"
        )

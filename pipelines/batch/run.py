"""Run a batch: what is missing is drawn, item by item; stopped anywhere, the same command goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from twinset.common.atomic_files import disk_full
from twinset.common.image_io import read_picture
from twinset.compliance.consent import ConsentBook
from twinset.compliance.labels.labelled import label_picture
from twinset.errors import InputError
from twinset.pipelines.batch.formats import in_format
from twinset.pipelines.batch.ledger import Ledger
from twinset.pipelines.batch.manifest import Item
from twinset.pipelines.compose import backend_of
from twinset.pipelines.generate import REMEDY, generate
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.record import Record

Focus = tuple[float, float]
"""Where the head is, as shares of the picture's width and height."""
Draw = Callable[[Item, Path], tuple[Record, Focus]]
"""Draws an item into a folder, its picture and the record; says where the head is."""
Gate = Callable[[Item], None]
"""Raises `InputError` where an item's person has not agreed."""
Told = Callable[[Item, str, float], None]
"""Called after every item, with its state and its seconds."""
State = Literal["done", "refused", "failed"]


@dataclass(frozen=True)
class BatchOutcome:
    """How a batch went.

    Attributes:
        drawn: items drawn now.
        kept: items that were there.
        failed: name → reason of those that are missing.
    """

    drawn: int
    kept: int
    failed: dict[str, str]


def run_batch(
    items: Sequence[Item],
    out: Path,
    draw: Draw,
    formats: Sequence[str] = ("original",),
    *,
    retry: bool = False,
    gate: Gate | None = None,
    told: Told = lambda item, state, seconds: None,
) -> BatchOutcome:
    """Draw what is missing.

    Args:
        items: all items of the manifest.
        out: folder of the batch.
        draw: see `batch_drawing`.
        formats: made of every picture.
        retry: only items that failed before.
        gate: called before each item; checks consents by default.
        told: called after every item.

    Raises:
        InputError: another process works on the folder, or the disk is full; what was published stays.
    """
    ledger, allow = Ledger(out), consented if gate is None else gate
    with paused(out), ledger.claimed():
        chosen = [item for item in items if not retry or ledger.failure(item.name)]
        drawn = kept = 0
        for item in chosen:
            if ledger.done(item):
                kept += 1
                told(item, "kept", 0.0)
                continue
            started = time.perf_counter()
            state = draw_item(ledger, item, draw, formats, allow)
            drawn += state == "done"
            told(item, state, time.perf_counter() - started)
        failures = {item.name: ledger.failure(item.name) for item in items}
        return BatchOutcome(drawn, kept, {name: found["reason"] for name, found in failures.items() if found})


@contextmanager
def paused(out: Path) -> Iterator[None]:
    """A full disk ends the batch in one line, instead of failing every item that is left.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if not disk_full(error):
            raise
        raise InputError(
            f"no space left for {str(out)!r} ({error.strerror}); free some and run the same command again to resume"
        ) from None


def draw_item(ledger: Ledger, item: Item, draw: Draw, formats: Sequence[str], allow: Gate) -> State:
    """Draw one item and publish it; what goes wrong with it is written down, so that the batch goes on.

    Raises:
        OSError: the disk is full, which is no item's fault; see `paused`.
    """
    try:
        allow(item)
        folder = ledger.begin(item)
        record, focus = draw(item, folder)
        _make_formats(item, record, folder, formats, focus)
        ledger.publish(item, folder, _entry(item, record, formats))
    except InputError as error:
        state: State = "refused" if REMEDY in str(error) else "failed"
        ledger.fail(item, state, str(error))
        return state
    except (OSError, RuntimeError, ValueError, ArithmeticError) as error:
        if disk_full(error):
            ledger.leave(item)
            raise
        ledger.fail(item, "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
        return "failed"
    return "done"


def batch_drawing(pipe: JointPass) -> Draw:
    """A `Draw` that uses a pipeline: one picture and its record in the folder."""

    def draw(item: Item, folder: Path) -> tuple[Record, Focus]:
        (record,) = generate(pipe, item.request, folder)
        (folder / "sheet.png").unlink(missing_ok=True)  # the batch has sheets of its own
        return record, head_of(pipe, read_picture(folder / record.picture))

    return draw


def head_of(pipe: JointPass, picture: np.ndarray) -> Focus:
    """Where the largest face of a picture uint8 (H, W, 3) is; a guess where none is found."""
    try:
        faces = backend_of(pipe).faces(picture)
    except InputError:  # the model has no face detector
        faces = []
    if not faces:
        return 0.5, 0.3
    x, y = (faces[0].landmarks.mean(0) / (picture.shape[1], picture.shape[0])).clip(0, 1)
    return float(x), float(y)


def consented(item: Item) -> None:
    """Make sure that the person of an item agreed to promotion.

    Raises:
        ConsentError: they did not, or no longer.
    """
    if item.request.consent is not None:
        ConsentBook().require(item.request.consent, item.request.selfies, "promotion")


def _make_formats(item: Item, record: Record, folder: Path, formats: Sequence[str], focus: Focus) -> None:
    """Files of all formats, each labelled by itself, since cutting and enlarging may cost the picture's own label."""
    if tuple(formats) == ("original",):
        return
    with Image.open(folder / record.picture) as file:
        picture = file.convert("RGB")
    for name, made in _files(record, formats).items():
        page, request = in_format(picture, name, focus), item.request
        if request.labels:
            data = label_picture(page, request.label_text, item.corner, made).data
            (folder / made).write_bytes(data)
        else:
            page.save(folder / made)


def _files(record: Record, formats: Sequence[str]) -> dict[str, str]:
    """Format → file name."""
    if tuple(formats) == ("original",):
        return {"original": record.picture}
    return {name: f"{Path(record.picture).stem}-{name}.png" for name in dict.fromkeys(formats)}


def _entry(item: Item, record: Record, formats: Sequence[str]) -> dict[str, Any]:
    return {
        "name": item.name,
        "person": item.person,
        "look": item.look,
        "scene": item.scene,
        "pose": item.pose,
        "prompt": record.composed.get("prompt", item.request.prompt),
        "seed": record.seed,
        "picture": record.picture,
        "formats": _files(record, formats),
        "scores": record.scores,
        "faults": record.faults,
        "repairs": [step["what"] for step in record.controller if step["kept"]],
        "seconds": record.seconds,
    }

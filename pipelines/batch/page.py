"""A batch to look at: a contact sheet of every person and of every look, and a page with filters."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from twinset.common.atomic_files import write_atomic
from twinset.common.sheets import contact_sheet, in_rows
from twinset.compliance.consent import ConsentError, enter_file
from twinset.pipelines.batch.ledger import Ledger
from twinset.pipelines.batch.manifest import Item

COLUMNS, SHOWN = 8, 200
"""Pictures in a row of a sheet, and the most on one sheet."""
TEMPLATES = Path(__file__).parent / "templates"
SCORES = ("identity", "garment_similarity", "prompt", "clip_iqa_quality")
"""Scores that the page tells; all are in the records."""


def write_pages(items: Sequence[Item], out: Path, title: str) -> Path:
    """Write `sheets/*.png` and `index.html`, which needs nothing from anywhere else.

    Args:
        items: all items of the manifest.
        out: folder of the batch.
        title: of the page.

    Returns:
        The page.
    """
    ledger = Ledger(out)
    rows = [_row(ledger, item) for item in items]
    (out / "sheets").mkdir(exist_ok=True)
    for axis in ("person", "look"):
        for name in dict.fromkeys(row[axis] for row in rows):
            _sheet([row for row in rows if row[axis] == name], out, out / "sheets" / f"{axis}-{name}.png")
    page = out / "index.html"
    _write(page, _rendered(rows, title).encode(), rows)
    return page


def _write(path: Path, content: bytes, rows: Sequence[dict[str, Any]]) -> None:
    """Write a file of several people's items, entered with the consent of each; the next run makes it anew."""
    for consent in {row["consent"]: None for row in rows if row["consent"] is not None}:
        with suppress(ConsentError):  # withdrawn: nothing of that person is there any more
            enter_file(consent, path, content)
    write_atomic(path, content)


def _row(ledger: Ledger, item: Item) -> dict[str, Any]:
    """What the page tells of an item."""
    told = {
        "consent": item.request.consent,
        "name": item.name,
        "person": item.person,
        "look": item.look,
        "scene": item.scene,
        "pose": item.pose,
    }
    entry, failure = ledger.entry(item.name), ledger.failure(item.name)
    if entry is None:
        state = {"state": "waiting", "reason": ""} if failure is None else failure
        return told | state | {"picture": None, "prompt": item.request.prompt, "seed": item.request.seed}
    scores = {name: f"{entry['scores'][name]:.2f}" for name in SCORES if name in entry["scores"]}
    files = {name: f"items/{item.name}/{file}" for name, file in entry["formats"].items()}
    shown = {"picture": f"items/{item.name}/{entry['picture']}", "files": files, "scores": scores, "state": "done"}
    return told | shown | {key: entry[key] for key in ("prompt", "seed", "faults", "repairs")} | {"reason": ""}


def _sheet(rows: Sequence[dict[str, Any]], out: Path, path: Path) -> None:
    pictures = []
    for row in rows[:SHOWN]:
        if row["picture"]:
            with Image.open(out / row["picture"]) as file:
                pictures.append(np.asarray(file.convert("RGB")))
    if pictures:
        file = io.BytesIO()
        contact_sheet(in_rows(pictures, COLUMNS)).save(file, "PNG")
        _write(path, file.getvalue(), rows[:SHOWN])


def _rendered(rows: Sequence[dict[str, Any]], title: str) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    axes = {axis: list(dict.fromkeys(row[axis] for row in rows)) for axis in ("person", "look", "scene", "state")}
    return environment.get_template("batch.html").render(rows=rows, axes=axes, title=title)

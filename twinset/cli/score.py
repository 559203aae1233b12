"""`twinset score`: what a picture is worth, by everything that is known of what it should show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from twinset.cli.console import Face, Garments, Model, Offline, Selfies, load, say

if TYPE_CHECKING:
    from twinset.pipelines.controller.measures import Measurement, Target
    from twinset.pipelines.families.backend import FamilyBackend
    from twinset.pipelines.request import Request


def score(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures of one person in one outfit.")],
    selfie: Selfies = None,
    face: Face = "largest",
    garment: Garments = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt that it should match.")] = None,
    model: Model = "studio",
    offline: Offline = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the JSON into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Score pictures: face, skin, light, garments, prompt, quality; faults are named.

    A picture that `twinset generate` drew brings what it should show in the record beside it, unless an option says so.

    JSON: a list of `{picture, scored_by, scores, faults}`; keys of `scores` as in `pipelines/controller/measures.py`,
    those that cannot be measured left out.

    Examples:

        twinset score out/0007.png

        twinset score photo.png --selfie me.png --garment coat=coat.png --prompt "in the park" -o scores.json
    """
    from twinset.common.image_io import read_picture
    from twinset.pipelines.compose import backend_of
    from twinset.pipelines.controller.measures import measure
    from twinset.pipelines.request import read_request

    people, notes = backend_of(load(model, offline=offline)), []
    asked = {"selfies": selfie or (), "face": face, "garments": garment or (), "prompt": prompt or "a person"}
    told = read_request(asked) if selfie or garment or prompt else None
    found = []
    for path in pictures:
        seen = measure(people, read_picture(path, "picture"), _wanted(people, told or _recorded(path), prompt, notes))
        found.append((path, seen))
    for note in dict.fromkeys(notes):
        say.print(f"note: {note}", markup=False)
    text = json.dumps([_json(path, seen, people.scored_by) for path, seen in found], indent=2, ensure_ascii=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
        return
    for path, seen in found:
        Console().print(_table(path, seen))


def _recorded(picture: Path) -> Request | None:
    """The request of the record beside a picture, where there is one."""
    from twinset.pipelines.record import load_record

    beside = picture.with_suffix(".json")
    return load_record(beside).request if beside.is_file() else None


def _wanted(people: FamilyBackend, request: Request | None, prompt: str | None, notes: list[str]) -> Target:
    """What a request's pictures should show, its layout aside, which only generation knows."""
    from twinset.pipelines.controller.measures import Target
    from twinset.pipelines.families.given_pictures import read_garments, read_selfies

    if request is None:
        return Target(prompt=prompt)
    flats = read_garments(people, request.garments, notes)
    words = prompt or (request.prompt if request.prompt != "a person" else None)
    if not request.selfies:
        return Target(flats=flats, prompt=words)
    selfie = read_selfies(people, request.selfies, request.face, notes)
    embedding = people.embedding(selfie) if selfie.embedding is None else selfie.embedding
    return Target(embedding, people.skin(selfie), flats, prompt=words)


def _json(path: Path, seen: Measurement, scored_by: str) -> dict[str, Any]:
    scores = {name: round(value, 5) for name, value in seen.values.items()}
    return {"picture": str(path), "scored_by": scored_by, "scores": scores, "faults": list(seen.faults.values())}


def _table(path: Path, seen: Measurement) -> Table:
    from twinset.pipelines.controller.measures import MEASURES

    table = Table("measure", "value", "unit", "better", "", title=str(path))
    for name, value in seen.values.items():
        measure, fault = MEASURES[name], seen.faults.get(name, "")
        arrow = "↑" if measure.better == "high" else "↓"
        table.add_row(measure.title, f"{value:.3f}", measure.unit, arrow, fault, style="red" if fault else None)
    if "blank" in seen.faults:
        table.add_row("blank", "", "", "", seen.faults["blank"], style="red")
    return table

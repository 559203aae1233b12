"""`twinset verify`: what a picture's labels say of where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from twinset.cli.console import Json, say, steps_bar

if TYPE_CHECKING:
    from twinset.compliance.labels.verify import Verified


def verify_command(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG, WebP.")],
    as_json: Json = False,
) -> None:
    """Read the labels of pictures: the pixel mark, XMP (China's AIGC field, IPTC's source type), the C2PA manifest.

    Each layer is read by itself: a picture sent through a messenger, which takes XMP and manifest away, still has its
    mark. Marks of a key of one's own are found where `TWINSET_MARK_KEY` is set; those of the public key always.

    Exit code: 0 when each picture has at least one layer that holds and no signature is broken, 1 when not, 2 when a
    file cannot be read.

    JSON: a list of `{picture, mark, xmp, c2pa, notes, layers, broken}`; a layer that is not there is null.

    Examples:

        twinset verify out/0007.png

        twinset verify downloads/*.jpg --json
    """
    from twinset.compliance.labels.verify import verify as look

    with steps_bar("reading", len(pictures)) as advance:
        found = [advance(look(path)) for path in pictures]
    if as_json:
        print(json.dumps([one.to_json() for one in found], indent=2, ensure_ascii=False))
    else:
        Console().print(_table(found))
        for one in found:
            for note in one.notes:
                say.print(f"{one.picture}: {note}", style="yellow", markup=False)
    if any(one.broken or not one.layers for one in found):
        raise typer.Exit(1)


def _table(found: list[Verified]) -> Table:
    table = Table("picture", "pixel mark", "XMP", "C2PA", "generated?")
    for one in found:
        mark = "-" if one.mark is None else f"{one.mark['payload']} ({one.mark['key']} key)"
        answer = f"yes, by {', '.join(one.layers)}" if one.layers else "no label says so"
        style = "red" if one.broken else None if one.layers else "yellow"
        table.add_row(one.picture, mark, _xmp(one), _manifest(one), answer, style=style)
    return table


def _xmp(one: Verified) -> str:
    """The AIGC field in short."""
    if one.xmp is None:
        return "-"
    field = one.xmp["aigc"]
    if not isinstance(field, dict):
        return str(one.xmp["source_type"]).rpartition("/")[2]
    return f"AIGC {field.get('Label')} {field.get('ContentProducer')} {str(field.get('ProduceID'))[:8]}"


def _manifest(one: Verified) -> str:
    """The manifest in short."""
    if one.c2pa is None:
        return "-"
    if one.broken:
        return "BROKEN: changed since it was signed"
    by = "a development certificate" if one.c2pa["development"] else str(one.c2pa["issuer"])
    return f"{str(one.c2pa['state']).lower()}, by {by}"

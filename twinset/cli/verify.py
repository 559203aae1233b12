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

    What is proven is told apart from what is only said. XMP anybody can write, a mark of the public key anybody can
    lay, and a certificate anybody can make, with any name in it. Proof is a mark of your own key, or a signature of
    your own certificate or of one that `TWINSET_C2PA_TRUST` vouches for.

    Exit code: 0 when each picture has a mark of its own, or a signature that holds, that says that it was generated,
    and no signature is broken; 1 when not, XMP alone included; 2 when a file cannot be read.

    JSON: a list of `{picture, mark, xmp, c2pa, notes, layers, proven, verdicts, broken}`; a layer that is not there is
    null.

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
    if any(one.broken or not {"mark", "c2pa"} & {*one.layers} for one in found):
        raise typer.Exit(1)


def _table(found: list[Verified]) -> Table:
    table = Table("picture", "pixel mark", "XMP", "C2PA", "generated?")
    for one in found:
        style = "red" if one.broken else None if one.proven else "yellow"
        table.add_row(one.picture, _mark(one), _xmp(one), _manifest(one), _answer(one), style=style)
    return table


def _answer(one: Verified) -> str:
    """What may be said of the picture, and no more."""
    if one.broken:
        return "not proven: the signature is broken"
    if one.proven:
        return f"proven, by {' and '.join(one.proven)}"
    return f"said, not proven, by {', '.join(one.layers)}" if one.layers else "no label says so"


def _mark(one: Verified) -> str:
    """The pixel mark in short."""
    if one.mark is None:
        return "-"
    told = {"own key": "your own key", "public key": "public key: anybody's", "another picture's": "ANOTHER PICTURE'S"}
    return f"{one.mark['payload']}, {told[str(one.mark_verdict)]}"


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
    issuer = str(one.c2pa["issuer"])
    if one.c2pa["development"]:
        return "signed with this machine's development certificate"
    told = {
        "own": f"signed with your own certificate ({issuer})",
        "trusted": f"signed by {issuer}, whom your trust list vouches for",
        "unknown": f"signed by somebody who calls themselves {issuer!r}, which proves nothing",
        "changed": "BROKEN: changed since it was signed",
        "invalid": f"BROKEN: {', '.join(one.c2pa['faults'])[:120]}",
        "elsewhere": "not in the file",
    }
    return told[str(one.manifest_verdict)]

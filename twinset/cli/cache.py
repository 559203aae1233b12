"""`twinset cache`: what perception found before and keeps on disk."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from twinset.errors import InputError

cache_app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")
say = Console(stderr=True, highlight=False, soft_wrap=True)
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
SECONDS = {"m": 60, "h": 3600, "d": 86400}


@cache_app.callback()
def show_cache(context: typer.Context, as_json: Json = False) -> None:
    """Show the cache of faces, embeddings and parsing maps, which spares analysing the same picture twice.

    They describe people: `twinset cache clear` deletes them. `TWINSET_CACHE` names another folder.

    JSON: `{folder, limit, bytes, results: {what: {number, bytes}}}`.

    Example: `twinset cache`
    """
    if context.invoked_subcommand is not None:
        return
    from twinset.common.result_cache import LIMIT, PerceptionCache, counted, default_folder

    folder = default_folder()
    found = counted(PerceptionCache(folder).entries())
    total = sum(size for _, size in found.values())
    if as_json:
        results = {what: {"number": number, "bytes": size} for what, (number, size) in found.items()}
        print(json.dumps({"folder": str(folder), "limit": LIMIT, "bytes": total, "results": results}))
        return
    table = Table("what", "results", "kB", title=f"{folder}: {total / 1e6:.1f} of {LIMIT / 1e6:.0f} MB")
    for what, (number, size) in found.items():
        table.add_row(what, str(number), f"{size / 1e3:.1f}")
    Console(soft_wrap=False).print(table)


@cache_app.command()
def clear(
    older_than: Annotated[str, typer.Option(help="Only results unused for this long: 30m, 12h, 7d.")] = "0m",
    as_json: Json = False,
) -> None:
    """Delete cached perception results.

    Example: `twinset cache clear --older-than 7d`
    """
    from twinset.common.result_cache import PerceptionCache, default_folder

    length = re.fullmatch(r"(\d+)([mhd])", older_than)
    if length is None:
        raise InputError(f"--older-than {older_than!r} is not a length of time; give 30m, 12h or 7d")
    number, size = PerceptionCache(default_folder()).clear(int(length[1]) * SECONDS[length[2]])
    if as_json:
        print(json.dumps({"deleted": number, "bytes": size}))
    else:
        say.print(f"{number} results deleted, {size / 1e6:.1f} MB")

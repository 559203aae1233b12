"""`twinset brief`: what is understood of a sentence, and the prompts that become of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def brief(
    sentence: Annotated[str, typer.Argument(help="English, Chinese or mixed.")],
    family: Annotated[str, typer.Option(help="studio, sd15 or sdxl.")] = "studio",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Show what is understood of a sentence, and its prompts.

    Pictured garments, pose and framing, which `generate` adds for sd15 and sdxl, are not known here.

    JSON: `{brief, positive, negative, translator, loras, notes}`; `brief.rest` lists what was not understood, `loras`
    those that the sentence names.

    Examples:

        twinset brief "short hair, red dress, beach, no hat"

        twinset brief "亚洲女性，短发，微笑，穿着红色长裙站在海边" --family sd15 --json
    """
    from twinset.prompts.notation import read_notation
    from twinset.prompts.sentence import completed, understand
    from twinset.prompts.translation import translator_of
    from twinset.prompts.wording import require_family

    require_family(family)
    read = completed(understand(sentence, family), family)
    keys = {
        "brief": asdict(read.brief),
        "positive": read.prompt,
        "negative": read.negative or "",
        "translator": "none" if family == "studio" else translator_of(sentence),
        "loras": [f"{tag.name}={tag.weight:g}" for tag in read_notation(sentence).tags],
        "notes": list(read.notes),
    }
    if as_json:
        print(json.dumps(keys, ensure_ascii=False, indent=2))
        return
    Console().print(_table(keys))


def _table(keys: dict) -> Table:
    table = Table("what", "understood", title=None)
    for name, value in keys.pop("brief").items():
        if value and name not in ("text", "rest"):
            table.add_row(name.replace("_", " "), _shown(value))
        elif name == "rest":
            keys["not understood"] = ", ".join(value)
    for name, value in keys.items():
        table.add_row(name, "\n".join(value) if isinstance(value, list) else value)
    return table


def _shown(value: object) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    return "\n".join(" ".join(_words(item)) for item in value)


def _words(item: dict[str, str | None]) -> list[str]:
    if "english" in item:
        return [f"no {item['english']}"]
    return [word for word in (item["shade"], item["pattern"], item["material"], item["name"]) if word]

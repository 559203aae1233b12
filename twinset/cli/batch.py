"""`twinset batch`: hundreds of promotion pictures from one manifest, each of them exactly once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from twinset.cli.console import load, say, steps_bar
from twinset.errors import InputError

if TYPE_CHECKING:
    from twinset.pipelines.batch.manifest import Item, Manifest
    from twinset.pipelines.batch.run import BatchOutcome, Draw
    from twinset.pipelines.request import Request

TEMPLATES = ("promo", "team-avatars", "lookbook")
ENGINES = ("local", "ray")


class _RunIsDefault(TyperGroup):
    """`twinset batch promo.yaml` is `twinset batch run promo.yaml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where none is named."""
        named = not args or args[0] in self.commands or args[0] == "--help"
        return super().parse_args(ctx, args if named else ["run", *args])


batch_app = typer.Typer(cls=_RunIsDefault, no_args_is_help=True, rich_markup_mode="markdown")


@batch_app.callback()
def batch() -> None:
    """Draw a whole manifest of people, looks, scenes and poses (run), or start one (template)."""


@batch_app.command()
def template(
    name: Annotated[str, typer.Argument(help=f"{', '.join(TEMPLATES)}.")],
) -> None:
    """Print a manifest to start from. Example: `twinset batch template team-avatars > team.yaml`"""
    from twinset.pipelines.batch.page import TEMPLATES as FOLDER

    if name not in TEMPLATES:
        raise InputError(f"template {name!r} is unknown; choose among {', '.join(TEMPLATES)}")
    print((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), end="")


@batch_app.command("run")
def run_command(
    manifest: Annotated[Path, typer.Argument(help="The manifest, YAML or JSON.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the batch.")] = Path("out/batch"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Draw nothing; print the number of pictures and the time.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry only what failed or was refused.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: on the cluster that RAY_ADDRESS names.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Ray's workers; one per GPU when absent.")] = None,
    commercial: Annotated[bool, typer.Option(help="Only parts that may be used commercially.")] = False,
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Draw a manifest. If it is stopped, run the same command again to resume; every picture is drawn once.

    In the folder: `index.html` (filters, scores, reasons), `sheets/` by person and look, `items/NAME/` with the
    picture, its formats and its record, `failed/NAME.json`. JSON: `{items, drawn, kept, failed: {name: reason}, page}`;
    dry: `{items, missing, seconds_each, seconds}`. The exit code is 1 where an item is missing in the end.

    Examples:

        twinset batch template promo > promo.yaml

        twinset batch promo.yaml -o out/promo --dry-run

        twinset batch promo.yaml -o out/promo

        twinset batch promo.yaml -o out/promo --retry-failed
    """
    from twinset.pipelines.batch.manifest import items_of, read_batch_manifest
    from twinset.pipelines.batch.page import write_pages

    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown; choose local or ray")
    asked = read_batch_manifest(manifest)
    items = items_of(asked, manifest.parent)
    make = partial(_draw, items[0].request, commercial, offline)
    if dry_run:
        _tell_estimate(items, out, make, as_json)
        return
    done = _run(asked, items, out, make, engine, workers, retry_failed)
    page = write_pages(items, out, manifest.stem)
    if as_json:
        told = {"items": len(items), "drawn": done.drawn, "kept": done.kept, "failed": done.failed, "page": str(page)}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _tell(done, len(items), page)
    if done.failed:
        raise typer.Exit(1)


def _draw(request: Request, commercial: bool, offline: bool) -> Draw:
    """The function that draws, the pipeline of a request loaded."""
    from twinset.pipelines.batch.run import batch_drawing
    from twinset.pipelines.loading.packages import require_choices

    require_choices(request, commercial)
    return batch_drawing(load(request.model, commercial, offline, request=request))


def _run(
    asked: Manifest, items: Sequence[Item], out: Path, make: Callable[[], Draw], engine: str, workers: int | None,
    retry: bool,
) -> BatchOutcome:  # fmt: skip
    from twinset.pipelines.batch.ray_engine import run_batch_on_ray
    from twinset.pipelines.batch.run import consented, run_batch

    try:
        with steps_bar("pictures", len(items)) as advance:

            def told(item: Item, state: str, seconds: float) -> None:
                advance()
                if state in ("failed", "refused"):
                    say.print(f"{state}: {item.name}", style="yellow", markup=False)

            if engine == "ray":
                return run_batch_on_ray(
                    items, out, make, asked.formats, retry=retry, gate=consented, told=told, workers=workers
                )
            return run_batch(items, out, make(), asked.formats, retry=retry, told=told)
    except KeyboardInterrupt:
        say.print(f"stopped; run the same command again to resume in {out}", markup=False)
        raise typer.Exit(130) from None


def _tell_estimate(items: Sequence[Item], out: Path, make: Callable[[], Draw], as_json: bool) -> None:
    """Number and time: by what is done already, else by drawing the first picture into a folder that is thrown away."""
    from twinset.pipelines.batch.ledger import Ledger

    ledger = Ledger(out)
    entries = [entry for item in items if (entry := ledger.entry(item.name))]
    missing = len(items) - len(entries)
    if entries:
        each = sum(entry["seconds"] for entry in entries) / len(entries)
    else:
        with tempfile.TemporaryDirectory() as folder:
            record, _ = make()(items[0], Path(folder))
        each = record.seconds
    if as_json:
        told = {
            "items": len(items),
            "missing": missing,
            "seconds_each": round(each, 2),
            "seconds": round(each * missing),
        }
        print(json.dumps(told))
        return
    say.print(
        f"{len(items)} pictures, {missing} of them missing; about {each:.1f} s each, {_time(each * missing)} in all"
    )


def _tell(done: BatchOutcome, count: int, page: Path) -> None:
    say.print(f"{count} pictures: {done.drawn} drawn, {done.kept} already there, {len(done.failed)} missing")
    for name, reason in list(done.failed.items())[:20]:
        say.print(f"  {name}: {reason}", style="yellow", markup=False)
    if done.failed:
        say.print("try those again: the same command with --retry-failed")
    say.print(f"{page}  to look at", markup=False)


def _time(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"

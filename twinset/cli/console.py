"""What the commands share: options, a console, loading a model, progress bars, reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from twinset.models.hub.download import PendingPart
    from twinset.pipelines.joint_pass import JointPass
    from twinset.pipelines.record import Record
    from twinset.pipelines.request import Request

TOLD = ("identity", "light_mismatch", "garment_colour", "clip_iqa_quality")
"""Measures in the line of each picture; `twinset score` prints all."""
say = Console(stderr=True, highlight=False, soft_wrap=True)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Selfies = Annotated[list[Path] | None, typer.Option("--selfie", help="A picture of the person. Repeatable.")]
Face = Annotated[str, typer.Option(help="Of several faces: largest, centre, or its number from the left.")]
Garments = Annotated[
    list[str] | None,
    typer.Option("--garment", help="A garment's picture, or kind=picture (dress=red.png). Repeatable."),
]
Model = Annotated[
    str, typer.Option(help="studio, sd15, sdxl, a model folder, a .safetensors checkpoint, or the hub id of one.")
]
Commercial = Annotated[bool, typer.Option("--commercial", help="Only parts that may be used commercially.")]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]
Device = Annotated[
    str | None, typer.Option(help="auto, cuda, xpu, mps or cpu; TWINSET_DEVICE, else auto, when absent.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="high: all parts stay on the device; low: those at work alone; auto: by its free memory. TWINSET_MEMORY, "
        "else auto, when absent."
    ),
]
Safety = Annotated[
    str, typer.Option(help="What to do when the safety checker flags nudity: warn, refuse, or off (no check).")
]


def load(
    model: str,
    commercial: bool = False,
    offline: bool = False,
    device: str | None = None,
    memory: str | None = None,
    request: Request | None = None,
    parts: Sequence[str] | None = None,
) -> JointPass:
    """The pipeline of a profile or a folder, with one status line while it loads.

    Parts of a profile come in that `request` needs, or that `parts` names; without either, those that it usually draws
    and measures with.
    """
    import diffusers
    import transformers
    from huggingface_hub.utils import logging

    from twinset.common.result_cache import PerceptionCache, default_folder
    from twinset.pipelines.loading.load import load_pipeline

    diffusers.utils.logging.disable_progress_bar()  # one status line says it all
    transformers.utils.logging.disable_progress_bar()
    logging.set_verbosity_error()  # what goes wrong with a download is said once, by us
    with say.status(f"loading {model}") as status:

        def announce(pending: Sequence[PendingPart]) -> None:
            status.stop()  # the hub's bars show bytes, speed and time left
            announce_downloads(pending)

        told = status.update if model != "studio" else None
        options: dict[str, Any] = {"device": device, "memory": memory, "say": told, "announce": announce}
        pipe: Any = load_pipeline(model, commercial=commercial, offline=offline, request=request, **options)
        if request is None and pipe.parts_on_demand is not None:
            pipe.parts_on_demand.prepare_parts(parts)
    say_licences(pipe.licences)
    pipe.set_progress_bar_config(disable=True)  # the command shows its own
    pipe.perception_cache = PerceptionCache(default_folder())
    return pipe


def announce_downloads(pending: Sequence[PendingPart]) -> None:
    """Say what will be downloaded: parts, sizes, licences, and where to; the hub's bars then show how far it is."""
    from huggingface_hub import constants
    from huggingface_hub.utils import enable_progress_bars

    enable_progress_bars()
    total = megabytes(sum(each.size for each in pending))
    say.print(f"downloading {len(pending)} part(s), {total}, to {constants.HF_HUB_CACHE}:", markup=False)
    for each in pending:
        part = each.part
        use = "" if part.commercial else ", NON-COMMERCIAL"
        licence = part.licence.removeprefix("LicenseRef-")
        say.print(f"  {part.name}  {megabytes(each.size)}  {licence}{use}  {part.url}", markup=False)


def say_licences(licences: Mapping[str, str]) -> None:
    """Say the licences of a model's parts, in one line; nothing of a model that is one folder."""
    by_licence: dict[str, list[str]] = {}
    for name, licence in licences.items():
        by_licence.setdefault(licence.removeprefix("LicenseRef-"), []).append(name)
    if by_licence:
        parts = "; ".join(f"{licence}: {', '.join(names)}" for licence, names in by_licence.items())
        say.print(f"licences: {parts}", markup=False)


def megabytes(count: int) -> str:
    """A number of bytes as people read it: "335 MB", "2.5 GB"."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def report(records: list[Record], out: Path, as_json: bool) -> None:
    """Print the pictures drawn: notes and a line for each, or their records as JSON."""
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=2, ensure_ascii=False))
        return
    notes = (note for record in records for note in (*record.composed["notes"], *record.labels.get("notes", ())))
    for note in dict.fromkeys(notes):
        say.print(f"note: {note}", markup=False)
    if records[0].safety.get("level") == "warn" and not records[0].safety["active"]:
        from twinset.pipelines.safety import INACTIVE

        say.print(f"note: {INACTIVE}", markup=False)
    for record in records:
        scores = "  ".join(f"{name} {record.scores[name]:.2f}" for name in TOLD if name in record.scores)
        say.print(f"{out / record.picture}  seed {record.seed}  {scores}  {record.seconds:.1f} s", markup=False)
        if kept := [step["what"] for step in record.controller if step["kept"]]:
            say.print(f"  repaired: {', '.join(kept)}", markup=False)
        if record.faults:
            say.print(f"  still wrong: {', '.join(record.faults)}", style="yellow", markup=False)
    say.print(f"{out / 'sheet.png'}  all together", markup=False)


@contextmanager
def pictures_bar(what: str, pictures: int) -> Iterator[Callable[[int, int, int], None]]:
    """A progress bar over the steps of several pictures; yields what `generate` and `replay` take as `progress`."""
    with steps_bar(what, pictures) as advance:

        def progress(index: int, done: int, steps: int) -> None:
            advance(completed=index * steps + done, total=pictures * steps)

        yield progress


@contextmanager
def steps_bar(what: str, total: int) -> Iterator[Callable[..., Any]]:
    """A progress bar, shown from the first step on; yields a function that takes one and hands its argument back.

    With `completed` and `total` that function says how far things are instead.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=say)
    task = bar.add_task(what, total=total)

    def advance(value: Any = None, **state: int) -> Any:
        bar.start()
        bar.update(task, **(state or {"advance": 1}))  # type: ignore[arg-type]
        return value

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def save_sheet(pictures: list[Any], path: Path) -> None:
    """Write a contact sheet and say where."""
    from twinset.common.sheets import contact_sheet, in_rows

    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(in_rows(pictures, columns=8)).save(path)
    say.print(str(path), markup=False)


def mishap(error: Exception) -> str | None:
    """One line for an error that is nobody's fault: disk full, out of memory, not finite; None for others."""
    from twinset.common.atomic_files import disk_full, plain_reason
    from twinset.serving.out_of_memory import out_of_memory

    told = plain_reason(error)[:400]
    if disk_full(error):
        return f"{told}; free some space, and run the same command again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{told}; check the path and its permissions"
    if isinstance(error, OSError | FloatingPointError):
        return told
    if out_of_memory(error):
        return f"memory ran out ({told[:200]}); ask for less at a time, or use a smaller model"
    return None

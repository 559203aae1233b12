"""The command line. Exit codes: 0 done, 2 the user can mend it (one line says how), 1 our fault.

Heavy imports stay inside the commands, so that `twinset --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from twinset.brief_command import brief
from twinset.cache_command import cache_app
from twinset.errors import InputError
from twinset.lora_command import lora_app
from twinset.models_command import models_app
from twinset.train_command import train_app

if TYPE_CHECKING:
    from twinset.pipelines.joint_pass import JointPass
    from twinset.pipelines.record import Record

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    help="A person's face and a garment in one picture, from one denoising pass.",
)
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.add_typer(train_app, name="train")
app.add_typer(lora_app, name="lora")
app.command()(brief)
say = Console(stderr=True, highlight=False, soft_wrap=True)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Strength = Annotated[float, typer.Option(help="0 switches it off, 1 is usual, 2 the most.")]


@app.callback()
def front() -> None:
    """Keep `twinset` a group of commands."""


@app.command()
def generate(
    prompt: Annotated[str, typer.Option(help="A sentence, English or Chinese.")],
    selfie: Annotated[list[Path] | None, typer.Option(help="A picture of the person. Repeatable.")] = None,
    face: Annotated[
        str, typer.Option(help="Of several faces: largest, centre, or its number from the left.")
    ] = "largest",
    garment: Annotated[
        list[str] | None, typer.Option(help="A garment's picture, or kind=picture (dress=red.png). Repeatable.")
    ] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA file, or file=weight (jacket.safetensors=0.8). Repeatable.")
    ] = None,
    pose: Annotated[
        str | None,
        typer.Option(help="A preset (see `twinset poses`), mirrored (walking:mirror), a keypoint file or a picture."),
    ] = None,
    framing: Annotated[str, typer.Option(help="portrait, half, three_quarter or full.")] = "three_quarter",
    num: Annotated[int, typer.Option(help="Number of pictures.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Picture i has seed + i; drawn and recorded when absent.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own number when absent.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How strictly words and conditions are followed, 1 is off; the model's own.")
    ] = None,
    identity_strength: Strength = 1.0,
    garment_strength: Strength = 1.0,
    pose_strength: Strength = 1.0,
    economical: Annotated[bool, typer.Option(help="About half the work, a picture a little different.")] = False,
    model: Annotated[str, typer.Option(help="A profile (studio, sd15, sdxl) or a model folder.")] = "studio",
    commercial: Annotated[bool, typer.Option(help="Only parts that may be used commercially.")] = False,
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    show_regions: Annotated[bool, typer.Option(help="Also write what each condition owns, as overlays.")] = False,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw the person of a selfie in the garments given, as a sentence says.

    Examples:

        twinset generate --prompt "short hair, red dress, beach" --selfie me.png --garment dress.png --num 4 --seed 7

        twinset generate --prompt "亚洲女性，短发，微笑，穿着红色长裙站在海边" --pose walking:mirror -o out/

        twinset generate --prompt "in the park" --garment shirt=a.png --garment trousers=b.png --framing full

        twinset generate --model sd15 --prompt "in the park" --selfie me.jpg --garment dress=dress.jpg

        twinset generate --prompt "wearing jckt hoodie, on the beach" --selfie me.png --lora jacket.safetensors=0.9
    """
    from twinset.pipelines.request import read_request

    fields = {
        "prompt": prompt,
        "selfies": selfie or (),
        "face": face,
        "garments": garment or (),
        "loras": lora or (),
        "pose": pose,
        "framing": framing,
    }
    fields |= {"num": num, "seed": seed, "steps": steps, "guidance": guidance, "model": model}
    fields |= {"economical": economical, "identity_strength": identity_strength, "garment_strength": garment_strength}
    request = read_request(fields | {"pose_strength": pose_strength, "show_regions": show_regions})

    from twinset.pipelines.generate import generate as draw_all
    from twinset.pipelines.generate import settled

    pipe = _load(request.model, commercial, offline)
    request = settled(pipe, request)
    with _steps("drawing", request.num * (request.steps or 0)) as advance:
        records = draw_all(pipe, request, out, progress=lambda *_: advance())
    _report(records, out, as_json)


@app.command()
def replay(
    record: Annotated[Path, typer.Argument(help="The JSON record beside a picture.")],
    out: Out = Path("out/replay"),
    model: Annotated[str | None, typer.Option(help="The model, if it lies elsewhere now.")] = None,
    commercial: Annotated[bool, typer.Option(help="If it was drawn so.")] = False,
    as_json: Json = False,
) -> None:
    """Draw a record's picture again and tell whether its bytes are the same.

    Example: `twinset replay out/0007.json -o out/again`
    """
    from twinset.pipelines.generate import replay as draw_again
    from twinset.pipelines.record import load_record

    known = load_record(record)
    pipe = _load(model or known.request.model, commercial)
    with _steps("drawing again", known.request.steps or 0) as advance:
        path, equal = draw_again(pipe, known, out, progress=lambda *_: advance())
    if as_json:
        print(json.dumps({"picture": str(path), "equal": equal}))
    else:
        say.print(f"{path}: {'the same bytes' if equal else 'NOT the same bytes: another machine or library version'}")
    if not equal:
        raise typer.Exit(1)


@app.command()
def inspect(
    pictures: Annotated[list[Path], typer.Argument(help="Selfies, photographs, garments.")],
    model: Annotated[str, typer.Option(help="Whose eyes: studio for drawn people, sd15 or sdxl.")] = "studio",
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file.")] = Path("out/inspect.png"),
    as_json: Json = False,
) -> None:
    """Show what is seen in pictures: faces and landmarks, skeleton, parsing map, garment cut-outs.

    JSON: a list of `{picture, width, height, faces, keypoints, labels, kind, pieces, notes}`, positions in pixels.

    Example: `twinset inspect examples/selfie.png examples/garment.png -o out/seen.png`
    """
    from twinset.pipelines.compose import people_of
    from twinset.pipelines.inspection import drawn
    from twinset.pipelines.inspection import inspect as look

    people = people_of(_load(model, offline=offline))
    found = [look(people, path) for path in pictures]
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn(found).save(out)
    if as_json:
        print(json.dumps([one.to_json() for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        say.print(f"{one.path}: {one.summary()}", markup=False)
        for note in one.notes:
            say.print(f"note: {note}", markup=False)
    say.print(str(out), markup=False)


@app.command()
def poses(
    framing: Annotated[str, typer.Option(help="portrait, half, three_quarter or full.")] = "full",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a sheet of all skeletons (PNG).")] = None,
    as_json: Json = False,
) -> None:
    """List the pose presets; each is also there mirrored, as `name:mirror`."""
    from twinset.models.figure.keypoints import draw_skeleton
    from twinset.models.figure.poses import FRAMINGS, NAMED, preset

    if framing not in FRAMINGS:
        raise InputError(f"framing {framing!r} is unknown; choose one of {', '.join(FRAMINGS)}")
    names = sorted(NAMED)
    print(json.dumps(names) if as_json else "\n".join(names))
    if out is not None:
        _save_sheet([draw_skeleton(preset(name, framing)) for name in names], out)


@app.command()
def mannequin(
    count: Annotated[int, typer.Option(min=1, help="Number of people.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="First seed; held_out counts from 900000000.")] = 0,
    split: Annotated[str, typer.Option(help="train, judge or held_out.")] = "train",
    sheet: Annotated[Path | None, typer.Option(help="Write one contact sheet (PNG).")] = None,
    out: Annotated[Path | None, typer.Option(help="Write training shards into this folder.")] = None,
    viton: Annotated[Path | None, typer.Option(help="Write a folder in VITON-HD's layout.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Draw Mannequin people: a contact sheet, training shards, or a VITON-HD folder.

    Examples:

        twinset mannequin --count 24 --seed 0 --sheet sheet.png

        twinset mannequin --count 2000 --viton viton/
    """
    seed = max(seed, 900_000_000) if split == "held_out" else seed
    if not (sheet or out or viton):
        raise InputError("mannequin has nothing to write; give --sheet sheet.png, --out DIR or --viton DIR")
    from twinset.training.mannequin import store
    from twinset.training.mannequin.spec import SPLITS, draw_spec

    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if sheet:
        from twinset.training.mannequin.render import render_picture

        with _steps("drawing people", count) as advance:
            pictures = [advance(render_picture(draw_spec(s, split))) for s in range(seed, seed + count)]
        _save_sheet(pictures, sheet)
    if out:
        store.render_store(out, count, split, workers=workers, start=seed)
    if viton:
        from twinset.training.mannequin.viton import write_viton

        write_viton(viton, count, split, start=seed)


def main() -> None:
    """Run the command line; mistakes that the user can mend become one line and exit code 2."""
    try:
        app()
    except InputError as error:
        say.print(f"twinset: {error}", style="red", markup=False)
        sys.exit(2)


def _load(model: str, commercial: bool = False, offline: bool = False) -> JointPass:
    import diffusers
    import transformers

    from twinset.models.seen import Seen, default_folder
    from twinset.pipelines.load import load_pipeline

    diffusers.utils.logging.disable_progress_bar()  # one status line says it all
    transformers.utils.logging.disable_progress_bar()
    with say.status(f"loading {model}") as status:
        told = status.update if model != "studio" else None
        pipe: Any = load_pipeline(model, commercial=commercial, offline=offline, say=told)
    pipe.set_progress_bar_config(disable=True)  # the command shows its own
    pipe.seen = Seen(default_folder())
    return pipe


def _report(records: list[Record], out: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=2, ensure_ascii=False))
        return
    for note in records[0].composed["notes"]:
        say.print(f"note: {note}", markup=False)
    for record in records:
        scores = " ".join(f"{name} {value:.2f}" for name, value in record.scores.items())
        say.print(f"{out / record.picture}  seed {record.seed}  {scores}  {record.seconds:.1f} s", markup=False)
    say.print(f"{out / 'sheet.png'}  all together", markup=False)


@contextmanager
def _steps(what: str, total: int) -> Iterator[Callable[..., Any]]:
    """A progress bar, shown from the first step on; yields a function that takes one and hands its argument back."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=say)
    task = bar.add_task(what, total=total)

    def advance(value: Any = None) -> Any:
        bar.start()
        bar.advance(task)
        return value

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def _save_sheet(pictures: list[Any], path: Path) -> None:
    from twinset.pipelines.pictures import contact_sheet, in_rows

    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(in_rows(pictures, columns=8)).save(path)
    say.print(str(path), markup=False)


if __name__ == "__main__":
    main()

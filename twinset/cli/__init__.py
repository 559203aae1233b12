"""The command line. Exit codes: 0 done, 2 the user can mend it (one line says how), 1 our fault.

Heavy imports stay inside the commands, so that `twinset --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from twinset.cli.batch import batch_app
from twinset.cli.brief import brief
from twinset.cli.cache import cache_app
from twinset.cli.consent import consent_app
from twinset.cli.console import (
    Candidates,
    Commercial,
    ConsentOf,
    Face,
    FaceLora,
    Fusion,
    Garments,
    Json,
    LabelCorner,
    LabelText,
    Loras,
    MinIdentity,
    Model,
    NoLabels,
    Num,
    Offline,
    Out,
    Repair,
    Safety,
    Seed,
    Selfies,
    SkinTone,
    Steps,
    Strength,
    Way,
    load,
    mishap,
    report,
    save_sheet,
    say,
    steps_bar,
)
from twinset.cli.lora import lora_app
from twinset.cli.models import models_app
from twinset.cli.score import score
from twinset.cli.serve import keys_app, serve
from twinset.cli.train import train_app
from twinset.cli.verify import verify
from twinset.errors import InputError

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
app.add_typer(consent_app, name="consent")
app.add_typer(batch_app, name="batch")
app.command()(brief)
app.command()(score)
app.command()(verify)
app.command()(serve)
app.add_typer(keys_app, name="serve-keys")


@app.callback()
def front() -> None:
    """Keep `twinset` a group of commands."""


@app.command()
def generate(
    prompt: Annotated[str, typer.Option(help="A sentence, English or Chinese.")],
    selfie: Selfies = None,
    face: Face = "largest",
    garment: Garments = None,
    lora: Loras = None,
    pose: Annotated[
        str | None,
        typer.Option(help="A preset (see `twinset poses`), mirrored (walking:mirror), a keypoint file or a picture."),
    ] = None,
    framing: Annotated[str, typer.Option(help="portrait, half, three_quarter or full.")] = "three_quarter",
    num: Num = 1,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Annotated[
        float | None, typer.Option(help="How strictly words and conditions are followed, 1 is off; the model's own.")
    ] = None,
    identity_strength: Strength = 1.0,
    face_lora_strength: FaceLora = 1.0,
    garment_strength: Strength = 1.0,
    pose_strength: Strength = 1.0,
    economical: Annotated[bool, typer.Option(help="About half the work, a picture a little different.")] = False,
    way: Way = "joint",
    repair: Repair = True,
    fusion_strength: Fusion = 1.0,
    skin_tone_match: SkinTone = 0.8,
    candidates: Candidates = 2,
    min_identity: MinIdentity = None,
    model: Model = "studio",
    commercial: Commercial = False,
    offline: Offline = False,
    label_text: LabelText = "AI生成",
    label_corner: LabelCorner = "bottom_right",
    no_labels: NoLabels = False,
    safety: Safety = "warn",
    consent: ConsentOf = None,
    show_regions: Annotated[bool, typer.Option(help="Also write what each condition owns, as overlays.")] = False,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw the person of a selfie in the garments given, as a sentence says.

    Examples:

        twinset generate --prompt "short hair, red dress, beach" --selfie me.png --garment dress.png --num 4 --seed 7

        twinset generate --prompt "亚洲女性，短发，微笑，穿着红色长裙站在海边" --pose walking:mirror -o out/

        twinset generate --prompt "in the park" --garment shirt=a.png --garment trousers=b.png --framing full

        twinset generate --prompt "in the park" --selfie me.png --candidates 4 --min-identity 0.5

        twinset generate --model sd15 --prompt "in the park" --selfie me.jpg --garment dress=dress.jpg

        twinset generate --prompt "wearing jckt hoodie, on the beach" --selfie me.png --lora jacket.safetensors=0.9
    """
    fields = {"prompt": prompt, "selfies": selfie or (), "face": face, "garments": garment or (), "loras": lora or ()}
    fields |= {"pose": pose, "framing": framing, "num": num, "seed": seed, "steps": steps, "guidance": guidance}
    fields |= {"identity_strength": identity_strength, "garment_strength": garment_strength}
    fields |= {"face_lora_strength": face_lora_strength}
    fields |= {"pose_strength": pose_strength, "economical": economical, "model": model, "show_regions": show_regions}
    fields |= {"way": way, "repair": repair, "fusion_strength": fusion_strength, "skin_tone_match": skin_tone_match}
    fields |= {"labels": not no_labels, "label_text": label_text, "label_corner": label_corner, "consent": consent}
    draw_request(
        fields | {"candidates": candidates, "min_identity": min_identity, "safety": safety},
        commercial,
        offline,
        out,
        as_json,
    )


@app.command()
def tryon(
    photo: Annotated[Path, typer.Argument(help="The photo in which face, outfit or both are to change.")],
    selfie: Selfies = None,
    face: Face = "largest",
    garment: Garments = None,
    lora: Loras = None,
    prompt: Annotated[str, typer.Option(help="What the photo shows; helps where words decide.")] = "a person",
    blend: Annotated[str, typer.Option(help="soft, or poisson: the photo's level, no seam.")] = "soft",
    num: Num = 1,
    seed: Seed = None,
    steps: Steps = None,
    identity_strength: Strength = 1.0,
    face_lora_strength: FaceLora = 1.0,
    garment_strength: Strength = 1.0,
    way: Way = "joint",
    repair: Repair = True,
    fusion_strength: Fusion = 1.0,
    skin_tone_match: SkinTone = 0.8,
    candidates: Candidates = 2,
    min_identity: MinIdentity = None,
    model: Model = "studio",
    commercial: Commercial = False,
    offline: Offline = False,
    label_text: LabelText = "AI生成",
    label_corner: LabelCorner = "bottom_right",
    no_labels: NoLabels = False,
    safety: Safety = "warn",
    consent: ConsentOf = None,
    show_regions: Annotated[bool, typer.Option(help="Also write what changes and what is kept, as overlays.")] = False,
    out: Out = Path("out/tryon"),
    as_json: Json = False,
) -> None:
    """Change face, outfit or both of an existing photo in one pass; all else stays as it is, bit for bit.

    What is drawn anew follows from the photo's parsing map: the garment's place and what it uncovers, the face and the
    skin that goes with it. Hair, bags and whatever else lies in front stays.

    Examples:

        twinset tryon photo.png --selfie me.png --garment coat.png

        twinset tryon photo.png --garment dress=dress.png --blend poisson --seed 7

        twinset tryon photo.png --selfie me.png --skin-tone-match 0.5
    """
    fields = {"prompt": prompt, "photo": photo, "selfies": selfie or (), "face": face, "garments": garment or ()}
    fields |= {"loras": lora or (), "blend": blend, "num": num, "seed": seed, "steps": steps}
    fields |= {"identity_strength": identity_strength, "face_lora_strength": face_lora_strength}
    fields |= {"garment_strength": garment_strength, "model": model, "show_regions": show_regions}
    fields |= {"way": way, "repair": repair, "fusion_strength": fusion_strength, "skin_tone_match": skin_tone_match}
    fields |= {"labels": not no_labels, "label_text": label_text, "label_corner": label_corner, "consent": consent}
    draw_request(
        fields | {"candidates": candidates, "min_identity": min_identity, "safety": safety},
        commercial,
        offline,
        out,
        as_json,
    )


def draw_request(fields: dict[str, Any], commercial: bool, offline: bool, out: Path, as_json: bool) -> None:
    """Check a request, draw its pictures and say what came of it."""
    from twinset.pipelines.request import read_request

    request = read_request(fields)

    from twinset.pipelines.generate import generate as draw_all
    from twinset.pipelines.generate import settled

    pipe = load(request.model, commercial, offline)
    request = settled(pipe, request)
    with steps_bar("drawing", request.num * (request.steps or 0)) as advance:
        records = draw_all(pipe, request, out, progress=lambda *_: advance())
    report(records, out, as_json)


@app.command()
def replay(
    record: Annotated[Path, typer.Argument(help="The JSON record beside a picture.")],
    out: Out = Path("out/replay"),
    model: Annotated[str | None, typer.Option(help="The model, if it lies elsewhere now.")] = None,
    commercial: Annotated[bool, typer.Option(help="If it was drawn so.")] = False,
    as_json: Json = False,
) -> None:
    """Draw a record's picture again and tell whether its bytes are the same, its signature aside, which holds the time.

    Example: `twinset replay out/0007.json -o out/again`
    """
    from twinset.pipelines.generate import replay as draw_again
    from twinset.pipelines.record import load_record

    known = load_record(record)
    pipe = load(model or known.request.model, commercial)
    with steps_bar("drawing again", known.request.steps or 0) as advance:
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

    people = people_of(load(model, offline=offline))
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
    from twinset.figure.keypoints import draw_skeleton
    from twinset.figure.poses import FRAMINGS, NAMED, preset

    if framing not in FRAMINGS:
        raise InputError(f"framing {framing!r} is unknown; choose one of {', '.join(FRAMINGS)}")
    names = sorted(NAMED)
    print(json.dumps(names) if as_json else "\n".join(names))
    if out is not None:
        save_sheet([draw_skeleton(preset(name, framing)) for name in names], out)


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

        with steps_bar("drawing people", count) as advance:
            pictures = [advance(render_picture(draw_spec(s, split))) for s in range(seed, seed + count)]
        save_sheet(pictures, sheet)
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
    except (OSError, MemoryError, RuntimeError, FloatingPointError) as error:
        line = mishap(error)
        if line is None:
            raise
        say.print(f"twinset: {line}", style="red", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()

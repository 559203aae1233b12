"""`twinset generate`, `twinset tryon` and `twinset replay`: from options to pictures with their records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from twinset.cli.console import Commercial, Device, Json, Memory, Offline, Out, load, pictures_bar, report, say
from twinset.cli.request_options import with_request
from twinset.pipelines.request import read_request


@with_request("scene")
def generate_command(
    commercial: Commercial = False,
    offline: Offline = False,
    device: Device = None,
    memory: Memory = None,
    out: Out = Path("out"),
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Draw the person of a selfie in the garments given, as a sentence says.

    Examples:

        twinset generate --prompt "short hair, red dress, beach" --selfie me.png --garment dress.png --num 4 --seed 7

        twinset generate --prompt "亚洲女性，短发，微笑，穿着红色长裙站在海边" --pose walking:mirror -o out/

        twinset generate --prompt "in the park" --garment shirt=a.png --garment trousers=b.png --framing full

        twinset generate --prompt "on a city street" --selfie me.png --framing full --size story --detail face

        twinset generate --prompt "in the park" --selfie me.png --candidates 4 --min-identity 0.5

        twinset generate --model sd15 --prompt "in the park" --selfie me.jpg --garment dress=dress.jpg

        twinset generate --prompt "wearing jckt hoodie, on the beach" --selfie me.png --lora jacket.safetensors=0.9
    """
    draw_request(fields, out, as_json, commercial=commercial, offline=offline, device=device, memory=memory)


@with_request("photo", arguments=("photo",), defaults={"prompt": "a person"})
def tryon_command(
    commercial: Commercial = False, offline: Offline = False, device: Device = None, memory: Memory = None,
    out: Out = Path("out/tryon"), as_json: Json = False, **fields: Any,
) -> None:  # fmt: skip
    """Change face, outfit or both of an existing photo in one pass; all else stays as it is, bit for bit.

    What is drawn anew follows from the photo's parsing map: the garment's place and what it uncovers, the face and the
    skin that goes with it. Hair, bags and whatever else lies in front stays.

    Examples:

        twinset tryon photo.png --selfie me.png --garment coat.png

        twinset tryon photo.png --garment dress=dress.png --blend poisson --seed 7

        twinset tryon photo.png --selfie me.png --skin-tone-match 0.5
    """
    draw_request(fields, out, as_json, commercial=commercial, offline=offline, device=device, memory=memory)


def draw_request(fields: dict[str, Any], out: Path, as_json: bool, **loading: Any) -> None:
    """Check a request, load its model as `twinset.cli.console.load` has it, draw, and say what came of it."""
    request = read_request({name: value for name, value in fields.items() if value is not None})

    from twinset.pipelines.generate import generate as draw_all
    from twinset.pipelines.loading.packages import require_choices
    from twinset.pipelines.loading.request_loras import require_files

    require_choices(request, loading["commercial"])
    require_files(request.loras)
    pipe = load(request.model, **loading, request=request)
    with pictures_bar("drawing", request.num) as progress:
        records = draw_all(pipe, request, out, progress=progress)
    report(records, out, as_json)


def replay_command(
    record: Annotated[Path, typer.Argument(help="The JSON record beside a picture.")],
    out: Out = Path("out/replay"),
    model: Annotated[str | None, typer.Option(help="The model, if it has moved.")] = None,
    commercial: Annotated[bool, typer.Option(help="If it was drawn with --commercial.")] = False,
    device: Device = None,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Draw a record's picture again and compare its bytes with the first one's, before signing, which adds the time.

    Example: `twinset replay out/0007.json -o out/again`
    """
    from twinset.pipelines.loading.packages import require_choices
    from twinset.pipelines.record import load_record
    from twinset.pipelines.replay import replay as draw_again

    known = load_record(record)
    require_choices(known.request, commercial)
    pipe = load(model or known.request.model, commercial, device=device, memory=memory, request=known.request)
    with pictures_bar("drawing again", 1) as progress:
        path, equal = draw_again(pipe, known, out, progress=lambda _, done, steps: progress(0, done, steps))
    if as_json:
        print(json.dumps({"picture": str(path), "equal": equal}))
    else:
        say.print(f"{path}: {'the same bytes' if equal else 'NOT the same bytes: another machine or library version'}")
    if not equal:
        raise typer.Exit(1)

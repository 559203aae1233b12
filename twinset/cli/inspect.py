"""`twinset inspect` and `twinset poses`: what is seen in pictures, and the poses that can be asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from twinset.cli.console import Json, load, save_sheet, say
from twinset.cli.request_options import with_request
from twinset.errors import InputError
from twinset.pipelines.request import READERS, read_request


@with_request("both", only=READERS)
def inspect_command(
    pictures: Annotated[list[Path], typer.Argument(help="Selfies, photographs, garments.")],
    model: Annotated[
        str, typer.Option(help="Whose networks to use: studio for drawn people, sd15 or sdxl.")
    ] = "studio",
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file.")] = Path("out/inspect.png"),
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Show what is seen in pictures: faces and landmarks, skeleton, parsing map, garment cut-outs.

    JSON: a list of `{picture, width, height, faces, keypoints, labels, kind, pieces, notes}`, positions in pixels.

    Examples:

        twinset inspect examples/selfie.png examples/garment.png -o out/seen.png

        twinset inspect me.jpg --model sd15 --faces yunet.onnx
    """
    choices = {name: value for name, value in fields.items() if value is not None}
    request = read_request({"prompt": "inspect", "model": model} | choices)
    from twinset.pipelines.compose import backend_of
    from twinset.pipelines.families.inspection import inspect_picture as look
    from twinset.pipelines.families.inspection import inspection_sheet
    from twinset.pipelines.loading.packages import packages_on, require_choices

    require_choices(request)
    pipe = load(model, offline=offline)
    with packages_on(pipe, request):
        found = [look(backend_of(pipe), path) for path in pictures]
    out.parent.mkdir(parents=True, exist_ok=True)
    inspection_sheet(found).save(out)
    if as_json:
        print(json.dumps([one.to_json() for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        say.print(f"{one.path}: {one.summary()}", markup=False)
        for note in one.notes:
            say.print(f"note: {note}", markup=False)
    say.print(str(out), markup=False)


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

"""`twinset mannequin`: the drawn people that the bundled model learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinset.cli.console import save_sheet, say, steps_bar
from twinset.errors import InputError


def mannequin(
    count: Annotated[int, typer.Option(min=1, help="Number of people.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="First seed; held_out counts from 900000000.")] = 0,
    split: Annotated[str, typer.Option(help="train, judge or held_out.")] = "train",
    sheet: Annotated[Path | None, typer.Option(help="Write one contact sheet (PNG).")] = None,
    out: Annotated[Path | None, typer.Option(help="Write training shards into this folder.")] = None,
    viton: Annotated[Path | None, typer.Option(help="Write a folder in VITON-HD's layout.")] = None,
    garment: Annotated[
        str | None,
        typer.Option(help="One garment that all wear, as in 'red striped hoodie' or 'blue t_shirt star'; with --out."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Draw Mannequin people: a contact sheet, training shards, a VITON-HD folder, or many people in one garment.

    Examples:

        twinset mannequin --count 24 --seed 0 --sheet sheet.png

        twinset mannequin --count 2000 --viton viton/

        twinset mannequin --garment "red striped hoodie" --count 12 --out my_hoodie/
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
    if garment is not None:
        if out is None:
            raise InputError("--garment needs a folder for its pictures; give --out my_hoodie/")
        from twinset.training.mannequin.one_garment import write_one_garment

        with steps_bar("drawing people", count) as advance:
            design = write_one_garment(out, garment, count, split, seed, advance)
        shown = f"twinset train lora --data {out} --trigger jckt --kind {design.kind} -o jacket.safetensors"
        say.print(f"{out}: {count} pictures of one {design.kind}; train it: {shown}", markup=False)
    elif out:
        store.render_store(out, count, split, workers=workers, start=seed)
    if viton:
        from twinset.training.mannequin.viton import write_viton

        write_viton(viton, count, split, start=seed)

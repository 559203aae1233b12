"""One garment on many drawn people: a folder to try a garment's training with, for those who have no pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from twinset.errors import InputError
from twinset.figure import colours
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.drawing.garments import GarmentDesign
from twinset.figure.labels import garment_labels
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import LOGOS, LOWERS, PATTERNS, UPPERS, Spec, draw_garment, draw_spec


def one_garment(text: str) -> GarmentDesign:
    """A garment in words: a kind, and a colour, a pattern and a logo in any order.

    Args:
        text: e.g. "red hoodie", "hoodie red star", "blue striped t_shirt".

    Raises:
        InputError: it names no kind, or a word is none that is known.
    """
    words = text.lower().replace(",", " ").split()
    found: dict[str, Any] = {}
    known = {
        "kind": {name: name for name in (*UPPERS, "dress", *LOWERS)},
        "colour": {name: name for name in colours.CLOTH},
        "pattern": {name: name for name in PATTERNS} | {"striped": "stripes", "dotted": "dots", "checked": "checks"},
        "logo": {name.lower(): name for name in LOGOS},
    }
    for word in words:
        field = next((field for field, names in known.items() if word in names), None)
        if field is None:
            names = "; ".join(f"{field}: {', '.join(names)}" for field, names in known.items())
            raise InputError(f"garment {text!r}: {word!r} is unknown; take of {names}")
        found[field] = known[field][word]
    if "kind" not in found:
        raise InputError(
            f"garment {text!r} names no kind; write, as in 'red striped hoodie' ({', '.join(known['kind'])})"
        )
    plain = draw_garment(found["kind"], np.random.default_rng(0))
    name = found.get("colour", plain.colour_name)
    return replace(
        plain, colour_name=name, colour=tuple(colours.CLOTH[name]), pattern=found.get("pattern", "plain"),
        logo=found.get("logo"),
    )  # fmt: skip


def worn_by(spec: Spec, garment: GarmentDesign) -> Spec:
    """Somebody in a garment, in whatever else they wear."""
    own, rng = spec.garments, np.random.default_rng([spec.seed, 1])
    if garment.kind in LOWERS:
        upper = own["upper"] if own["upper"].kind != "dress" else draw_garment("shirt", rng)
        return replace(spec, garments={**own, "upper": upper, "lower": garment})
    if garment.kind == "dress":
        return replace(spec, garments={"upper": garment, "shoes": own["shoes"]})
    lower = own.get("lower") or draw_garment("trousers", rng)
    return replace(spec, garments={"upper": garment, "lower": lower, "shoes": own["shoes"]})


def write_one_garment(
    out: Path, text: str, count: int, split: str = "train", start: int = 0, advance: Callable[[], Any] = lambda: None
) -> GarmentDesign:
    """Draw a garment on many people: `000.png` …, their masks, and `flat.png`, the garment alone.

    Args:
        out: folder.
        text: see `one_garment`.
        count: number of people.
        split, start: whose seeds, and the first.
        advance: called after each.

    Raises:
        InputError: the text names no garment, or the folder cannot be written.
    """
    garment = one_garment(text)
    try:
        out.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render_flat(garment)).save(out / "flat.png")
        for number in range(count):
            spec = worn_by(draw_spec(start + number, split), garment)
            Image.fromarray(render.render_picture(spec)).save(out / f"{number:03d}.png")
            mask = np.isin(render.render_parsing(spec), garment_labels(garment.kind))
            Image.fromarray(mask.astype(np.uint8) * 255).save(out / f"{number:03d}.mask.png")
            advance()
    except OSError as error:
        raise InputError(f"{str(out)!r} cannot be written ({error}); give another folder") from None
    return garment

"""Garment LoRAs of the bundled model: is the garment drawn right, and is everything else drawn as before?

    python -m twinset.benchmarks.garment_lora                              three LoRAs, 300 steps each
    python -m twinset.benchmarks.garment_lora --garments 1 --steps 20 --people 4 --out /tmp/lora

Three held-out garments, one with a pattern, one with a logo, one with both, are photographed on 12 people each, a LoRA
is trained of each, and other people in other poses and scenes are drawn: by words alone, by words and LoRA, by the
garment's flat picture, and in other clothes with the LoRA on, where it must not show. The judges took no part in
drawing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from twinset.benchmarks.drawing import studio_pipeline
from twinset.benchmarks.figures import Estimate, bootstrap
from twinset.benchmarks.joint import embed_faces
from twinset.benchmarks.judges import FOLDER, Judges
from twinset.benchmarks.logos import logo_is_right
from twinset.benchmarks.page import grid
from twinset.benchmarks.people import BenchmarkPerson, drawn_person
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import GARMENT_KINDS
from twinset.pipelines.loading.request_loras import loras_on
from twinset.pipelines.named_files import LoraChoice
from twinset.pipelines.record import machine
from twinset.pipelines.studio import StudioPipeline
from twinset.scoring.identity import cosine
from twinset.training.lora.captions import noun
from twinset.training.lora.options import read_options
from twinset.training.lora.train import train_lora
from twinset.training.mannequin import render
from twinset.training.mannequin.attributes import ATTRIBUTES
from twinset.training.mannequin.spec import LOGOS, PATTERNS, GarmentDesign, Spec, draw_garment, draw_spec

FIRST_SEED = 900_800_000
PICTURES, TRIGGER = 12, "jckt"
KINDS = ("t_shirt", "hoodie", "tank_top")
WAYS = ("words", "words + LoRA", "flat picture", "other clothes", "other clothes + LoRA")
TITLES = {
    "garment": "garment similarity ↑",
    "pattern": "pattern right, % ↑",
    "logo": "logo right of 7, % ↑",
    "identity": "identity similarity ↑",
    "lower": "other garment's similarity ↑",
}
NOTHING = np.nan


@dataclass(frozen=True)
class Subject:
    """A garment, and the people that it is photographed on and drawn on.

    Attributes:
        garment: with a pattern and a logo.
        flat: uint8 (256, 192, 3).
        shown: 12 people in it, for training.
        people: others in it, as they should be drawn.
        others: the same others in clothes of their own.
    """

    garment: GarmentDesign
    flat: np.ndarray
    shown: list[Spec]
    people: list[BenchmarkPerson]
    others: list[BenchmarkPerson]


def new_subject(pipe: StudioPipeline, index: int, people: int) -> Subject:
    """Garment `index` of the benchmark, by its seed alone."""
    seed = FIRST_SEED + 1000 * index
    rng = np.random.default_rng([FIRST_SEED, index])
    pattern, logo = str(rng.choice(PATTERNS[1:])), str(rng.choice(LOGOS))
    own = {"pattern": pattern if index % 3 != 1 else "plain", "logo": logo if index % 3 != 0 else None}
    garment = replace(draw_garment(KINDS[index % len(KINDS)], rng), **own)
    shown = [wearing(draw_spec(seed + k, "held_out"), garment) for k in range(PICTURES)]
    apart = [wearing(draw_spec(seed + 500 + k, "held_out"), None) for k in range(people)]
    return Subject(
        garment,
        render_flat(garment),
        shown,
        [drawn_person(pipe, wearing(spec, garment), np.random.default_rng(spec.seed)) for spec in apart],
        [drawn_person(pipe, spec, np.random.default_rng(spec.seed)) for spec in apart],
    )


def wearing(spec: Spec, garment: GarmentDesign | None) -> Spec:
    """Somebody in the garment (else in a shirt) and a lower piece of their own."""
    rng = np.random.default_rng([spec.seed, 1])
    own = draw_garment("shirt", rng) if garment is None else garment
    lower = spec.garments.get("lower") or draw_garment("trousers", rng)
    return replace(spec, garments={"upper": own, "lower": lower, "shoes": spec.garments["shoes"]})


def photographed(subject: Subject, folder: Path) -> Path:
    """The 12 pictures as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, spec in enumerate(subject.shown):
        Image.fromarray(render.render_picture(spec)).save(folder / f"{number:02d}.png")
    return folder


def drawn_subject(
    pipe: StudioPipeline, person: BenchmarkPerson, steps: int, upper: bool, called: str = ""
) -> np.ndarray:
    """A person by words, face and lower garment, with the upper one's flat picture or without; uint8 (256, 192, 3)."""
    flats = {kind: flat for kind, flat in person.flats.items() if upper or kind != person.spec.garments["upper"].kind}
    conditions = [pipe.identity(person.selfie, person.layout)]
    conditions += [pipe.garment(flat, kind, person.layout) for kind, flat in flats.items()]
    output: Any = pipe(
        f"wearing {called}, {person.prompt}" if called else person.prompt,
        layout=person.layout,
        conditions=conditions,
        generator=torch.Generator().manual_seed(person.spec.seed),
        num_inference_steps=steps,
        guidance_scale=pipe.config["default_guidance"],
    )
    return np.asarray(output.images[0])


def all_ways(pipe: StudioPipeline, subject: Subject, lora: Path, steps: int) -> dict[str, np.ndarray]:
    """Pictures (N, 256, 192, 3) by way."""
    called = f"{TRIGGER} {noun(subject.garment.kind)}"
    pictures: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    for with_lora in (False, True):
        with loras_on(pipe, [LoraChoice(path=lora)]) if with_lora else nullcontext():
            for person, other in track(list(zip(subject.people, subject.others, strict=True)), "drawing"):
                suffix = " + LoRA" if with_lora else ""
                pictures[f"words{suffix}"].append(drawn_subject(pipe, person, steps, False, called))
                pictures[f"other clothes{suffix}"].append(drawn_subject(pipe, other, steps, True))
                if not with_lora:
                    pictures["flat picture"].append(drawn_subject(pipe, person, steps, True))
    return {way: np.stack(rows) for way, rows in pictures.items()}


def judged(judges: Judges, subject: Subject, pictures: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Way → figure → one value per person."""
    found = {}
    for way, rows in {**pictures, "truth": np.stack([person.truth for person in subject.people])}.items():
        people = subject.others if way.startswith("other") else subject.people
        found[way] = _figures(judges, people, rows)
    return found


def _figures(judges: Judges, people: Sequence[BenchmarkPerson], rows: np.ndarray) -> dict[str, np.ndarray]:
    faces, _, others = embed_faces(judges, people, rows)
    upper, classes = _garment(judges, people, rows, "upper")
    garments = [person.spec.garments["upper"] for person in people]
    patterns = np.array([ATTRIBUTES["upper_pattern"].index(garment.pattern) for garment in garments])
    return {
        "garment": upper,
        "pattern": 100.0 * (classes["pattern"] == patterns),
        "logo": np.array([logo_is_right(person.spec, row) for person, row in zip(people, rows, strict=True)]),
        "identity": cosine(faces, others),
        "lower": _garment(judges, people, rows, "lower")[0],
    }


def _garment(
    judges: Judges, people: Sequence[BenchmarkPerson], rows: np.ndarray, slot: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Similarity (N,) of a garment as drawn with its flat picture, and the classes that the judge reads."""
    kinds = [person.spec.garments[slot].kind for person in people]
    masks = [np.isin(person.layout.labels, GARMENT_KINDS[kind][1]) for person, kind in zip(people, kinds, strict=True)]
    seen = np.array([mask.sum() >= 200 for mask in masks])  # a portrait hardly shows what the legs wear
    flats = judges.flat([render_flat(person.spec.garments[slot]) for person in people])
    similar = cosine(judges.worn(list(rows), masks), flats)
    return np.where(seen, similar, NOTHING), judges.garment_classes(list(rows), masks)


def garment_page(figures: dict[str, dict[str, Estimate]], seconds: float, steps: int) -> str:
    """The figures as Markdown: means and 95 % bootstrap intervals over people."""
    ways = list(figures)
    lines = [f"LoRAs of {steps} steps, {seconds:.0f} s each.", "", f"| figure | {' | '.join(ways)} |"]
    lines.append(f"| --- | {' | '.join('---:' for _ in ways)} |")
    for name, title in TITLES.items():
        digits = 0 if "%" in title else 3
        cells = [figures[way][name] for way in ways]
        shown = [f"{e.mean:.{digits}f} [{e.low:.{digits}f}, {e.high:.{digits}f}]" if e.people else "–" for e in cells]
        lines.append(f"| {title} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, draw, measure; write `garment_lora.json`, `.md` and a grid of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garments", type=int, default=3)
    parser.add_argument("--people", type=int, default=24, help="that each garment is drawn on")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--denoising", type=int, default=12, help="steps of each picture")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--runs", type=Path, default=Path("out/garment_lora"), help="pictures, LoRAs and their runs")
    options = parser.parse_args(arguments)
    pipe, judges = studio_pipeline("studio"), Judges.load(FOLDER)
    rows: dict[str, list[dict[str, np.ndarray]]] = {}
    columns: dict[str, list[np.ndarray]] = {"flat": [], "true": [], **{way: [] for way in WAYS}}
    spent = []
    for index in range(options.garments):
        subject = new_subject(pipe, index, options.people)
        data = photographed(subject, options.runs / str(index))
        settings = {"data": data, "trigger": TRIGGER, "kind": subject.garment.kind, "steps": options.steps}
        settings |= {"samples": 0, "sample_every": 0}
        trained = train_lora(pipe, read_options(settings), options.runs / f"{index}.safetensors")
        spent.append(trained.fit.seconds)
        pictures = all_ways(pipe, subject, trained.out, options.denoising)
        for way, figures in judged(judges, subject, pictures).items():
            rows.setdefault(way, []).append(figures)
        columns["flat"] += [subject.flat] * 2
        columns["true"] += [person.truth for person in subject.people[:2]]
        for way in WAYS:
            columns[way] += list(pictures[way][:2])
    figures = {
        way: {name: bootstrap(np.concatenate([one[name] for one in found])) for name in TITLES}
        for way, found in rows.items()
    }
    options.out.mkdir(parents=True, exist_ok=True)
    grid(columns).save(options.out / "garment_lora.png")
    text = garment_page(figures, float(np.mean(spent)), options.steps)
    (options.out / "garment_lora.md").write_text(text, encoding="utf-8")
    result = {way: {name: asdict(value) for name, value in row.items()} for way, row in figures.items()}
    run = {"steps": options.steps, "people": options.people, "seconds": spent, "machine": machine("cpu")}
    written = json.dumps({"run": run, "figures": result}, indent=1).replace("NaN", "null")
    (options.out / "garment_lora.json").write_text(written + "\n", encoding="utf-8")
    Console().print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()

"""The joint benchmark on held-out Mannequin people: one pass against the chain, identity on/off x garment on/off.

    python -m twinset.benchmarks.joint --people 200 --out benchmarks/results/

Pictures are drawn first and kept, so an interrupted run goes on where it stopped; then independent judges look at
them, at the true pictures (ceilings) and at other people's (floor). Seeds from 900,000,000 on belong to nobody's
training or tuning.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from twinset.benchmarks.cost import costs
from twinset.benchmarks.drawing import REPAIRED, Drawing, DrawnPeople, draw_people, studio_pipeline, through_vae
from twinset.benchmarks.figures import (
    Estimate,
    attribute_figures,
    bootstrap,
    identity_figures,
    pose_figures,
    psnr_each,
    spread,
    ssim,
    strangers,
    summarise,
)
from twinset.benchmarks.judges import FOLDER, Judges
from twinset.benchmarks.light import PERSON, SCENE, light_figures
from twinset.benchmarks.page import cost_table, grid, table
from twinset.benchmarks.people import FIRST_SEED, BenchmarkPerson, albedo, in_other_light, person_of
from twinset.benchmarks.perceptual import perceptual_distance
from twinset.figure.keypoints import draw_skeleton
from twinset.figure.labels import GARMENT_KINDS
from twinset.models.face_finder import align
from twinset.pipelines.compose import backend_of
from twinset.pipelines.record import machine, weights_revision
from twinset.pipelines.studio import StudioPipeline
from twinset.scoring.garment import FEWEST_PIXELS, retrieved
from twinset.scoring.identity import recovery
from twinset.scoring.kid import kernel_distances
from twinset.training.mannequin.attributes import ATTRIBUTES, attributes

Results = dict[str, dict[str, Estimate]]
UNKNOWN = 255
"""Label of pixels where the layout and the true parsing map differ."""
NAMED = ("hair_style", "hair_length", "hair_colour", "expression", "upper_kind", "lower_kind", "scene", "light")
"""Attributes that the prompts name; colours, patterns and logos of garments come from their pictures alone."""
COSTED_PEOPLE = 8
WITHOUT_IDENTITY = ("garment only", "neither", "serial: garment only")


def judge(
    judges: Judges, people: Sequence[BenchmarkPerson], pictures: np.ndarray, told: Sequence[str] = PERSON
) -> dict[str, np.ndarray]:
    """Every figure of every person.

    Args:
        judges: Independent networks; none takes part in drawing.
        people: N people.
        pictures: uint8 (N, 256, 192, 3), one for each.
        told: Regions whose own colour the model was told, from which the picture's light is read.

    Returns:
        Figure to float (N,).
    """
    truths = np.stack([person.truth for person in people])
    layouts = np.stack([person.layout.labels for person in people])
    parsings = np.stack([person.parsing for person in people])
    agreed = np.where(parsings == layouts, parsings, UNKNOWN)
    owned = [[GARMENT_KINDS[kind][1] for kind in person.flats] for person in people]
    albedos = np.stack([albedo(person.spec) for person in people])
    keypoints = np.stack([person.layout.keypoints for person in people])
    seen = judges.read(pictures)
    names = tuple(
        name for name in ATTRIBUTES if name in seen.attributes
    )  # what was added since the judges learnt is left
    columns = [list(ATTRIBUTES).index(name) for name in names]
    classes = np.stack([visible_attributes(person) for person in people])[:, columns]
    read = np.stack([seen.attributes[name] for name in names], axis=1)
    chinese = np.array([person.chinese for person in people])
    return {
        **identity_figures(*embed_faces(judges, people, pictures)),
        **light_figures(pictures, albedos, agreed, owned, told),
        "garment_rank1": garment_rank1(judges, people, pictures, agreed),
        **pose_figures(seen.keypoints, keypoints, seen.parsing, layouts),
        "psnr": psnr_each(pictures, truths),
        "ssim": ssim(pictures, truths),
        **attribute_figures(read, classes, names, NAMED, chinese),
    }


def embed_faces(
    judges: Judges, people: Sequence[BenchmarkPerson], pictures: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The judge's embeddings (N, D) of the faces in the pictures, the selfies given, and the other selfies."""
    crops = np.stack([align(picture, person.landmarks) for person, picture in zip(people, pictures, strict=True)])
    selfies = np.stack([person.faces for person in people])
    return judges.faces(crops), judges.faces(selfies[:, 0]), judges.faces(selfies[:, 1])


def garment_rank1(
    judges: Judges, people: Sequence[BenchmarkPerson], pictures: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Whether the upper garment as worn finds its flat picture among 100; (N,), NaN where it is hardly seen."""
    uppers = [next(iter(person.flats)) for person in people]
    masks = [np.isin(row, GARMENT_KINDS[kind][1]) for row, kind in zip(labels, uppers, strict=True)]
    seen = np.array([mask.sum() >= FEWEST_PIXELS for mask in masks])
    gallery = judges.flat([person.flats[kind] for person, kind in zip(people, uppers, strict=True)])
    chosen = np.flatnonzero(seen)
    worn = judges.worn([pictures[i] for i in chosen], [masks[i] for i in chosen])
    hits = np.full(len(people), np.nan)
    hits[seen] = retrieved(worn, gallery, chosen)
    return hits


def visible_attributes(person: BenchmarkPerson) -> np.ndarray:
    """True classes int (A,), -1 for what the framing hides: shoes, and below a portrait all that the legs wear."""
    classes = attributes(person.spec)
    barefoot = np.isin(person.parsing, GARMENT_KINDS["shoes"][1]).sum() < FEWEST_PIXELS
    hidden = {
        "shoes_colour": barefoot,
        "shoes_kind": barefoot,
        "bag_colour": person.spec.framing in ("portrait", "half"),
        "lower_kind": person.spec.framing == "portrait",
        "lower_colour": person.spec.framing == "portrait",
    }
    return np.array([-1 if hidden.get(name, False) else value for name, value in classes.items()])


def measure_ways(
    judges: Judges, pipe: StudioPipeline, people: Sequence[BenchmarkPerson], drawn: DrawnPeople
) -> Results:
    """Figures of all ways of drawing, their ceilings and their floor, with intervals.

    Args:
        judges: Who looks.
        pipe: For the VAE's ceiling.
        people: N people.
        drawn: What was drawn of them.

    Returns:
        Way of drawing to its figures.
    """
    truths = np.stack([person.truth for person in people])
    ways = drawn.pictures | {
        "truth": truths,
        "truth through VAE": through_vae(pipe, truths),
        "truth, other light": np.stack([in_other_light(person.spec) for person in people]),
        "stranger": np.roll(truths, 1, axis=0),
    }
    columns = {
        way: judge(judges, people, pictures, SCENE if way in WITHOUT_IDENTITY else PERSON)
        for way, pictures in ways.items()
    }
    faces, _, others = embed_faces(judges, people, truths)
    stranger, same = float(strangers(faces, others).mean()), float(columns["truth"]["sim_gt"].mean())
    true = judges.features(truths)
    results: Results = {}
    for way, figures in columns.items():
        figures["identity_recovery"] = recovery(figures["sim_gt"], stranger, same)
        figures |= naturalness(pipe, ways[way], truths)
        distances = kernel_distances(judges.features(ways[way]), true)
        results[way] = summarise(figures) | {"kid": spread(distances, len(people))}
    return results


def naturalness(pipe: StudioPipeline, pictures: np.ndarray, truths: np.ndarray) -> dict[str, np.ndarray]:
    """How natural pictures look without knowing whom they show; each (N,).

    Args:
        pipe: whose eyes score CLIP-IQA (OpenAI's RN50 where its weights are here) and NIQE, as in its records.
        pictures: uint8 (N, H, W, 3).
        truths: the true ones, for LPIPS where its weights are here.
    """
    scores = [backend_of(pipe).scores(picture) for picture in pictures]
    found = {
        name: np.array([score.get(measure, np.nan) for score in scores])
        for name, measure in (("clip_iqa", "clip_iqa_quality"), ("niqe", "niqe"))
    }
    lpips = perceptual_distance()
    return found if lpips is None else found | {"lpips": lpips(pictures, truths)}


def comparison(results: Results, drawn: DrawnPeople) -> dict[str, Estimate]:
    """The joint way against the serial one before its repair: ratios of means, and of seconds person by person."""
    joint, serial = results["identity + garment"], results["serial: identity + garment"]
    ratios = {
        f"{name}_ratio": Estimate(joint[name].mean / serial[name].mean, float("nan"), float("nan"), joint[name].people)
        for name in ("light_mismatch", "skin_difference", "garment_difference")
    }
    return ratios | {"seconds_ratio": bootstrap(drawn.seconds[:, 0] / drawn.seconds[:, 1])}


def told_seconds(drawn: DrawnPeople) -> dict[str, float]:
    """Mean seconds per picture by way."""
    return dict(zip(("joint", "serial"), drawn.seconds.mean(0).round(2).tolist(), strict=True))


def repair_effect(judges: Judges, people: Sequence[BenchmarkPerson], drawn: DrawnPeople) -> Results:
    """Pictures on which the controller kept a repair, by the judges: before, after, and the difference, per way."""
    effect: Results = {}
    for column, (way, first) in enumerate(REPAIRED.items()):
        touched = np.flatnonzero(drawn.touched[:, column])
        if len(touched):
            chosen = [people[int(i)] for i in touched]
            before, after = (judge(judges, chosen, drawn.pictures[name][touched]) for name in (first, way))
            change = {name: after[name] - before[name] for name in before}
            rows = {"before": before, "after": after, "after - before": change}
            effect |= {f"{way}: {when}": summarise(row) for when, row in rows.items()}
    return effect


def write_joint(
    out: Path,
    results: Results,
    effect: Results,
    people: Sequence[BenchmarkPerson],
    drawn: DrawnPeople,
    run: Mapping[str, Any],
) -> None:
    """Write `joint.json`, `joint.md` and `joint.png` into a folder."""
    figures = {way: {name: asdict(value) for name, value in row.items()} for way, row in results.items()}
    against = {name: asdict(value) for name, value in comparison(results, drawn).items()}
    repaired = {when: {name: asdict(value) for name, value in row.items()} for when, row in effect.items()}
    content = {"run": run, "joint_by_serial": against, "repair": repaired, "figures": figures}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (out / "joint.json").write_text(text.replace("NaN", "null") + "\n", encoding="utf-8")
    (out / "joint.md").write_text(f"{table(results)}\n{cost_table(run['cost'])}", encoding="utf-8")
    white = np.full((256, 192, 3), 255, np.uint8)
    pieces = [[*person.flats.values(), white][:2] for person in people]
    columns = {
        "selfie": [person.selfie for person in people],
        "upper": [first for first, _ in pieces],
        "lower": [second for _, second in pieces],
        "pose": [draw_skeleton(person.layout.keypoints) for person in people],
        "serial": list(drawn.pictures["serial, repaired"]),
        "joint": list(drawn.pictures["identity + garment"]),
        "truth": [person.truth for person in people],
    }
    grid(columns).save(out / "joint.png")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200, help="number of held-out people (8 for a quick look)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--model", default="studio", help="profile or model folder")
    parser.add_argument("--judges", type=Path, default=FOLDER, help="folder of the judges")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="others below it, such as 60000, for tuning")
    usual = 1 if torch.cuda.is_available() else os.cpu_count()
    parser.add_argument("--workers", type=int, default=usual, help="processes that draw")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write `joint.json`, `joint.md` and `joint.png`."""
    options = parse_arguments(arguments)
    started = time.perf_counter()
    judges, pipe = Judges.load(options.judges), studio_pipeline(options.model)
    revision = weights_revision(Path(pipe.name_or_path))
    folder = options.out / "drawn" / f"{revision[:12]}-{options.steps}-{options.guidance:g}-{options.first_seed}"
    how = (options.people, options.steps, options.guidance, options.first_seed)
    drawing = Drawing(options.model, folder, *how)
    drawn = draw_people(drawing, options.workers)
    everybody = track(range(options.people), description="people", console=Console(stderr=True))
    people = [person_of(pipe, options.first_seed, index) for index in everybody]
    results = measure_ways(judges, pipe, people, drawn)
    run = {
        "people": options.people,
        "first_seed": options.first_seed,
        "steps": options.steps,
        "guidance": options.guidance,
        "model": {"name": options.model, "revision": revision},
        "machine": machine(pipe.device),
        "seconds": round(time.perf_counter() - started, 1),
        "seconds_per_picture": told_seconds(drawn),
        "clip_iqa_by": backend_of(pipe).scored_by,
        "cost": {way: asdict(cost) for way, cost in costs(drawing, min(options.people, COSTED_PEOPLE)).items()},
    }
    write_joint(options.out, results, repair_effect(judges, people, drawn), people, drawn, run)
    Console().print((options.out / "joint.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()

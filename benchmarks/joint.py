"""The joint benchmark on held-out Mannequin people, identity on/off x garment on/off.

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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from twinset.benchmarks.figures import (
    Estimate,
    attribute_figures,
    garment_difference,
    identity_figures,
    pose_figures,
    psnr,
    strangers,
    summarise,
)
from twinset.benchmarks.judges import FOLDER, Judges
from twinset.benchmarks.page import grid, table
from twinset.models.face_finder import align
from twinset.models.figure.keypoints import draw_skeleton
from twinset.models.figure.labels import GARMENT_KINDS
from twinset.models.figure.rig import build_rig
from twinset.models.vae import decode, encode
from twinset.pipelines.joint import JointPipeline, Layout
from twinset.pipelines.record import machine, weights_revision
from twinset.scoring.garment import FEWEST_PIXELS, retrieved
from twinset.scoring.identity import recovery
from twinset.training.mannequin import face, render
from twinset.training.mannequin.attributes import ATTRIBUTES, attributes
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.spec import Identity, Spec, draw_light, draw_spec

FIRST_SEED = 900_000_000
Results = dict[str, dict[str, Estimate]]
BATCH = 8
CELLS = {
    "identity + garment": (True, True),
    "identity only": (True, False),
    "garment only": (False, True),
    "neither": (False, False),
}
AVERAGE = Identity(*[0.0] * len(fields(Identity)))
GIVEN = ("upper", "lower")
"""Garment slots given as pictures; shoes are left to the words."""
NAMED = ("hair_style", "hair_length", "hair_colour", "expression", "upper_kind", "lower_kind", "scene", "light")
"""Attributes that the prompts name; colours, patterns and logos of garments come from their pictures alone."""


@dataclass(frozen=True)
class Person:
    """One held-out person and what the model is given.

    Attributes:
        spec: The true picture's description.
        layout: Average body in the true pose: what a user's pose would give.
        truth: uint8 (256, 192, 3) true picture.
        parsing: uint8 (256, 192) its labels.
        landmarks: (5, 2) of the average face in the layout, so that the judge's crop tells nothing of the person.
        selfie: uint8 (112, 112, 3), found and aligned by the pipeline's own face finder.
        faces: uint8 (2, 112, 112, 3) selfie given and another one, aligned by true landmarks, for the judge.
        flats: Garment kind to uint8 (256, 192, 3).
        prompt: Names garment kinds, not their colours.
        chinese: Whether the prompt is Chinese.
    """

    spec: Spec
    layout: Layout
    truth: np.ndarray
    parsing: np.ndarray
    landmarks: np.ndarray
    selfie: np.ndarray
    faces: np.ndarray
    flats: dict[str, np.ndarray]
    prompt: str
    chinese: bool


def held_out_person(pipe: JointPipeline, index: int) -> Person:
    """Person `index` of the benchmark; every second one has a Chinese prompt."""
    rng = np.random.default_rng([FIRST_SEED, index])
    return drawn_person(pipe, draw_spec(FIRST_SEED + index, "held_out"), rng, chinese=index % 2 == 1)


def drawn_person(pipe: JointPipeline, spec: Spec, rng: np.random.Generator, chinese: bool = False) -> Person:
    """A spec drawn; `rng` draws other styles for the selfie and the second face, then the prompt."""
    given, other = spec.restyled(rng), spec.restyled(rng)
    selfie = render.render_selfie(given)
    landmarks = render.selfie_landmarks(given)
    found = pipe.face_finder.find(selfie)
    faces = [align(selfie, landmarks), align(render.render_selfie(other), render.selfie_landmarks(other))]
    words = captions(spec, rng)
    return Person(
        spec=spec,
        layout=Layout(render.layout_keypoints(spec), render.render_layout(spec)),
        truth=render.render_picture(spec),
        parsing=render.render_parsing(spec),
        landmarks=average_landmarks(spec),
        selfie=align(selfie, found[0].landmarks if found else landmarks),
        faces=np.stack(faces),
        flats={g.kind: render.render_flat(g) for slot, g in spec.garments.items() if slot in GIVEN},
        prompt=words.chinese_plain if chinese else words.english_plain,
        chinese=chinese,
    )


def average_landmarks(spec: Spec) -> np.ndarray:
    """Landmarks (5, 2) px of an average face where the layout has its head."""
    frame = build_rig(render.layout_keypoints(spec)).frames["head"]
    local = face.landmarks(AVERAGE, spec.expression, spec.head_turn)
    return local @ frame[:, :2].T + frame[:, 2]


# Drawing


def draw_person(pipe: JointPipeline, person: Person, steps: int, guidance: float) -> np.ndarray:
    """The four cells of one person from the same noise, uint8 (4, 256, 192, 3)."""
    identity = [pipe.identity(person.selfie, person.layout)]
    garments = [pipe.garment(flat, kind, person.layout) for kind, flat in person.flats.items()]
    pictures = []
    for with_identity, with_garments in CELLS.values():
        conditions = identity * with_identity + garments * with_garments
        output: Any = pipe(
            person.prompt,
            layout=person.layout,
            conditions=conditions,
            generator=torch.Generator().manual_seed(person.spec.seed),
            num_inference_steps=steps,
            guidance_scale=guidance,
        )
        pictures.append(np.asarray(output.images[0]))
    return np.stack(pictures)


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn, and where they are kept.

    Attributes:
        model: Profile or model folder.
        folder: Of the parts, one per `BATCH` people.
        people: Number of people.
        steps: Denoising steps.
        guidance: Weight of guidance.
    """

    model: str
    folder: Path
    people: int
    steps: int = 12
    guidance: float = 1.5

    def part(self, start: int) -> Path:
        """File of the people from `start` on."""
        return self.folder / f"{start:05d}-{min(start + BATCH, self.people) - start}.npz"


def draw_part(drawing: Drawing, start: int, threads: int) -> None:
    """Draw the people from `start` on, unless an earlier run has: uint8 (4, n, 256, 192, 3) in one file."""
    path = drawing.part(start)
    if path.exists():
        return
    torch.set_num_threads(threads)
    pipe = load_pipeline(drawing.model)
    indexes = range(start, min(start + BATCH, drawing.people))
    people = [held_out_person(pipe, index) for index in indexes]
    pictures = np.stack([draw_person(pipe, person, drawing.steps, drawing.guidance) for person in people], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez_compressed(unfinished, pictures=pictures)
    unfinished.replace(path)


def draw_people(drawing: Drawing, workers: int) -> np.ndarray:
    """Draw everybody in several processes, each on its share of the cores; an interrupted run goes on.

    One thread per process beats several threads on one picture, whose tensors are small.

    Returns:
        uint8 (4, people, 256, 192, 3).
    """
    starts = range(0, drawing.people, BATCH)
    draw = partial(draw_part, drawing, threads=max(1, (os.cpu_count() or 1) // workers))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = pool.map(draw, starts) if workers > 1 else map(draw, starts)
        for _ in track(parts, description="drawing", total=len(starts), console=Console(stderr=True)):
            pass
    return np.concatenate([np.load(drawing.part(start))["pictures"] for start in starts], axis=1)


@lru_cache(maxsize=1)
def load_pipeline(model: str) -> JointPipeline:
    """The pipeline on the best device, once per process."""
    pipe = JointPipeline.from_pretrained(model).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def through_vae(pipe: JointPipeline, pictures: np.ndarray) -> np.ndarray:
    """Pictures encoded and decoded: what the model could attain at best, uint8 (N, 256, 192, 3)."""
    decoded = []
    for picture in pictures:
        pixels = torch.from_numpy(picture).to(pipe.device, pipe.vae.dtype).permute(2, 0, 1)[None] / 127.5 - 1
        pixels = decode(pipe.vae, encode(pipe.vae, pixels))
        decoded.append(((pixels[0].float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())
    return np.stack(decoded)


def in_other_light(spec: Spec) -> np.ndarray:
    """The true picture in another light that the prompt's word ("cold", "warm") allows, uint8 (256, 192, 3).

    The words leave the light's exact tint open, so this is what a faultless model would score in measures of colour.
    """
    rng = np.random.default_rng([FIRST_SEED, spec.seed])
    lights = (draw_light(rng) for _ in count())
    return render.render_picture(replace(spec, light=next(light for light in lights if light.word == spec.light.word)))


# Judging


def judge(judges: Judges, people: Sequence[Person], pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure of every person.

    Args:
        judges: Independent networks; none takes part in drawing.
        people: N people.
        pictures: uint8 (N, 256, 192, 3), one for each.

    Returns:
        Figure to float (N,).
    """
    truths = np.stack([person.truth for person in people])
    layouts = np.stack([person.layout.labels for person in people])
    parsings = np.stack([person.parsing for person in people])
    agreed = np.where(parsings == layouts, parsings, 0)
    owned = [[GARMENT_KINDS[kind][1] for kind in person.flats] for person in people]
    lights = np.array([person.spec.light.gain for person in people])
    keypoints = np.stack([person.layout.keypoints for person in people])
    seen = judges.read(pictures)
    classes = np.stack([visible_attributes(person) for person in people])
    read = np.stack([seen.attributes[name] for name in ATTRIBUTES], axis=1)
    chinese = np.array([person.chinese for person in people])
    return {
        **identity_figures(*embed_faces(judges, people, pictures)),
        "garment_difference": garment_difference(pictures, truths, agreed, owned, lights),
        "garment_rank1": garment_rank1(judges, people, pictures, agreed),
        **pose_figures(seen.keypoints, keypoints, seen.parsing, layouts),
        **attribute_figures(read, classes, tuple(ATTRIBUTES), NAMED, chinese),
    }


def embed_faces(
    judges: Judges, people: Sequence[Person], pictures: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The judge's embeddings (N, D) of the faces in the pictures, the selfies given, and the other selfies."""
    crops = np.stack([align(picture, person.landmarks) for person, picture in zip(people, pictures, strict=True)])
    selfies = np.stack([person.faces for person in people])
    return judges.faces(crops), judges.faces(selfies[:, 0]), judges.faces(selfies[:, 1])


def garment_rank1(judges: Judges, people: Sequence[Person], pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
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


def visible_attributes(person: Person) -> np.ndarray:
    """True classes int (A,), -1 for what the framing hides: shoes, and below a portrait all that the legs wear."""
    classes = attributes(person.spec)
    hidden = {
        "shoes_colour": np.isin(person.parsing, GARMENT_KINDS["shoes"][1]).sum() < FEWEST_PIXELS,
        "lower_kind": person.spec.framing == "portrait",
        "lower_colour": person.spec.framing == "portrait",
    }
    return np.array([-1 if hidden.get(name, False) else value for name, value in classes.items()])


def measure(judges: Judges, pipe: JointPipeline, people: Sequence[Person], drawn: np.ndarray) -> Results:
    """Figures of the four cells, their ceilings and their floor, with intervals.

    Args:
        judges: Who looks.
        pipe: For the VAE's ceiling.
        people: N people.
        drawn: uint8 (4, N, 256, 192, 3).

    Returns:
        Way of drawing to its figures.
    """
    truths = np.stack([person.truth for person in people])
    ways = dict(zip(CELLS, drawn, strict=True))
    ways |= {
        "truth": truths,
        "truth through VAE": through_vae(pipe, truths),
        "truth, other light": np.stack([in_other_light(person.spec) for person in people]),
        "stranger": np.roll(truths, 1, axis=0),
    }
    columns = {way: judge(judges, people, pictures) for way, pictures in ways.items()}
    columns["truth through VAE"]["psnr"] = psnr(ways["truth through VAE"], truths)
    faces, _, others = embed_faces(judges, people, truths)
    stranger, same = float(strangers(faces, others).mean()), float(columns["truth"]["sim_gt"].mean())
    for figures in columns.values():
        figures["identity_recovery"] = recovery(figures["sim_gt"], stranger, same)
    return {way: summarise(figures) for way, figures in columns.items()}


def write(out: Path, results: Results, people: Sequence[Person], drawn: np.ndarray, run: dict[str, object]) -> None:
    """Write `joint.json`, `joint.md` and `joint.png` into a folder."""
    figures = {way: {name: asdict(value) for name, value in row.items()} for way, row in results.items()}
    text = json.dumps({"run": run, "figures": figures}, indent=1, ensure_ascii=False)
    (out / "joint.json").write_text(text.replace("NaN", "null") + "\n", encoding="utf-8")
    (out / "joint.md").write_text(table(results), encoding="utf-8")
    white = np.full((256, 192, 3), 255, np.uint8)
    pieces = [[*person.flats.values(), white][:2] for person in people]
    columns = {
        "selfie": [person.selfie for person in people],
        "upper": [first for first, _ in pieces],
        "lower": [second for _, second in pieces],
        "pose": [draw_skeleton(person.layout.keypoints) for person in people],
        "result": list(drawn[0]),
        "truth": [person.truth for person in people],
    }
    grid(columns).save(out / "joint.png")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200, help="number of held-out people (8 for a quick look)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--model", default="studio", help="profile or model folder")
    parser.add_argument("--judges", type=Path, default=FOLDER, help="folder of the judges")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=1.5)
    usual = 1 if torch.cuda.is_available() else os.cpu_count()
    parser.add_argument("--workers", type=int, default=usual, help="processes that draw")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write `joint.json`, `joint.md` and `joint.png`."""
    options = parse(arguments)
    started = time.perf_counter()
    judges, pipe = Judges.load(options.judges), load_pipeline(options.model)
    revision = weights_revision(Path(pipe.name_or_path))
    folder = options.out / "drawn" / f"{revision[:12]}-{options.steps}-{options.guidance:g}"
    drawn = draw_people(
        Drawing(options.model, folder, options.people, options.steps, options.guidance), options.workers
    )
    everybody = track(range(options.people), description="people", console=Console(stderr=True))
    people = [held_out_person(pipe, index) for index in everybody]
    results = measure(judges, pipe, people, drawn)
    run = {
        "people": options.people,
        "first_seed": FIRST_SEED,
        "steps": options.steps,
        "guidance": options.guidance,
        "model": {"name": options.model, "revision": revision},
        "machine": machine(pipe.device),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write(options.out, results, people, drawn, run)
    Console().print((options.out / "joint.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()

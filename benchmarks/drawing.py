"""The pictures of the joint benchmark: every way of drawing a person, kept on disk; an interrupted run goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from twinset.adapters.condition import Condition, Layout
from twinset.benchmarks.people import FIRST_SEED, BenchmarkPerson, person_of
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.keypoints import FRAME, rescaled
from twinset.models.vae import decode_latents, encode_picture
from twinset.pipelines.baseline.serial import SerialPictures, draw_serially
from twinset.pipelines.compose import Composition
from twinset.pipelines.controller.controller import Outcome, draw_controlled
from twinset.pipelines.denoising.condition_cache import ConditionCache
from twinset.pipelines.draw import passes
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.families.drawn import StudioBackend
from twinset.pipelines.families.looks import choose_looks
from twinset.pipelines.request import Request
from twinset.pipelines.stages import Lay, OnePass, Stage, View, draw_stages, stages_of, within_frame
from twinset.pipelines.studio import StudioPipeline
from twinset.prompts.sentence import understand

BATCH = 8
CELLS = {
    "identity + garment": (True, True),
    "identity only": (True, False),
    "garment only": (False, True),
    "neither": (False, False),
}
SERIAL = ("serial: identity + garment", "serial, repaired", "serial: identity only", "serial: garment only")
"""The serial way; with neither it is the same picture as the joint way's."""
USUAL_SIZE = StudioBackend.usual_size
VIEWS = tuple(View(size) for size in within_frame(USUAL_SIZE, FRAME))
REPAIRED = {"joint, controlled": "identity + garment", "serial, controlled": "serial: identity + garment"}
"""After the controller's repairs, without other seeds → the same before."""
WAYS = (*CELLS, *SERIAL, *REPAIRED)


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn, and where they are kept.

    Attributes:
        model: Profile or model folder.
        folder: Of the parts, one per `BATCH` people.
        people: Number of people.
        steps: Denoising steps.
        guidance: Weight of guidance.
        first_seed: Of the first person; those below `FIRST_SEED` are of the train split, to look at while tuning.
    """

    model: str
    folder: Path
    people: int
    steps: int = 12
    guidance: float = 1.5
    first_seed: int = FIRST_SEED

    def part(self, start: int) -> Path:
        """File of the people from `start` on."""
        return self.folder / f"{start:05d}-{min(start + BATCH, self.people) - start}.npz"


@dataclass(frozen=True)
class DrawnPeople:
    """What was drawn of N people.

    Attributes:
        pictures: Way of drawing to uint8 (N, 256, 192, 3).
        seconds: (N, 2), for identity and garment together by the joint and by the serial way, conditions included.
        touched: (N, 2), whether the controller kept a repair, in the order of `REPAIRED`.
    """

    pictures: dict[str, np.ndarray]
    seconds: np.ndarray
    touched: np.ndarray

    @classmethod
    def cat(cls, parts: list[DrawnPeople]) -> DrawnPeople:
        """Parts one after another."""
        pictures = {way: np.concatenate([part.pictures[way] for part in parts]) for way in parts[0].pictures}
        seconds, touched = (np.concatenate([getattr(part, name) for part in parts]) for name in ("seconds", "touched"))
        return cls(pictures, seconds, touched)


def draw_person(pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float) -> DrawnPeople:
    """One person drawn in every way from the same noise."""
    pipe.condition_cache = ConditionCache()  # the clock sees a new person both times
    joint, joint_seconds = _jointly(pipe, person, steps, guidance)
    pipe.condition_cache = ConditionCache()
    serial, serial_seconds = _serially(pipe, person, steps, guidance)
    made = joint | serial
    controlled = {way: _repaired(pipe, person, steps, guidance, made[first]) for way, first in REPAIRED.items()}
    touched = [[any(step.kept for step in outcome.steps) for outcome in controlled.values()]]
    made |= {way: outcome.picture for way, outcome in controlled.items()}
    pictures = {way: picture[None] for way, picture in made.items()}
    return DrawnPeople(pictures, np.array([[joint_seconds, serial_seconds]]), np.array(touched))


def joint_pass(
    pipe: StudioPipeline,
    person: BenchmarkPerson,
    steps: int,
    guidance: float,
    with_identity: bool = True,
    with_garments: bool = True,
) -> np.ndarray:
    """A person drawn in one pass, in the stages of the usual size; uint8 (256, 192, 3), as the judges see it."""
    lay = partial(lay_person, StudioBackend(pipe), person, with_identity, with_garments)
    layout = layout_at_usual_size(person)
    stages = stages_of(layout, lay, VIEWS, StudioBackend(pipe).hires_strength(layout))
    return as_judged(draw_stages(_one_pass(pipe, person, steps, guidance), stages))


def lay_person(
    people: StudioBackend, person: BenchmarkPerson, with_identity: bool, with_garments: bool, view: View, layout: Layout
) -> list[Condition]:
    """Identity, garments, and hair and skin as words and selfie give them, laid at what a stage sees."""
    selfie = Selfie(person.selfie, person.selfie)
    brief, shown = understand(person.prompt, "studio").brief, selfie if with_identity else None
    looks = choose_looks(brief, None, person.spec.hair.style, person.spec.seed)
    figure = people.figure_condition(layout, looks, shown, "hat" in person.spec.garments)
    conditions = [] if figure is None else [figure]
    conditions += [people.identity(selfie, layout, 1.0, looks)] if with_identity else []
    flats = person.flats.items() if with_garments else ()
    return conditions + [people.garment(flat, kind, layout, 1.0) for kind, flat in flats]


def layout_at_usual_size(person: BenchmarkPerson) -> Layout:
    """The person's layout at the size that pictures usually have."""
    points, spec = rescaled(person.layout.keypoints, FRAME, USUAL_SIZE), person.spec
    return Layout(points, draw_layout(points, spec.kinds, spec.hair.style, USUAL_SIZE))


def as_judged(picture: np.ndarray) -> np.ndarray:
    """A picture at the size that the judges were trained on, uint8 (256, 192, 3)."""
    return np.asarray(Image.fromarray(picture).resize(FRAME, Image.Resampling.BOX))


def serial_pass(pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float) -> SerialPictures:
    """A person drawn by the chain, at the usual size."""
    return _chain(pipe, person, steps, guidance)(Selfie(person.selfie, person.selfie), person.flats)


def _chain(pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float) -> Callable[..., SerialPictures]:
    one_pass = _one_pass(pipe, person, steps, guidance)

    def draw(layout: Layout, lay: Lay) -> np.ndarray:
        return draw_stages(one_pass, stages_of(layout, lay, VIEWS, StudioBackend(pipe).hires_strength(layout)))

    return partial(draw_serially, pipe, StudioBackend(pipe, USUAL_SIZE), draw, layout_at_usual_size(person))


def _one_pass(pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float) -> OnePass:
    arguments = {
        "prompt": understand(person.prompt, "studio").prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
    }
    return passes(pipe, arguments, person.spec.seed)


def _jointly(
    pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float
) -> tuple[dict[str, np.ndarray], float]:
    pictures, seconds = {}, 0.0
    for way, cell in CELLS.items():
        started = time.perf_counter()
        pictures[way] = joint_pass(pipe, person, steps, guidance, *cell)
        seconds = seconds or time.perf_counter() - started  # of the first way alone
    return pictures, seconds


def _serially(
    pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float
) -> tuple[dict[str, np.ndarray], float]:
    started = time.perf_counter()
    both = serial_pass(pipe, person, steps, guidance)
    seconds = time.perf_counter() - started
    garments = _chain(pipe, person, steps, guidance)(None, person.flats, photo=both.first)
    made = (both.dressed, both.repaired, both.swapped, garments.dressed)
    return {way: as_judged(picture) for way, picture in zip(SERIAL, made, strict=True)}, seconds


def _repaired(pipe: StudioPipeline, person: BenchmarkPerson, steps: int, guidance: float, first: np.ndarray) -> Outcome:
    """What the controller makes of a picture drawn before, at the judges' size."""
    lay = partial(lay_person, StudioBackend(pipe), person, True, True)
    stages = stages_of(person.layout, lay, [View(FRAME)], strength=1.0)
    selfie, sentence = Selfie(person.selfie, person.selfie), understand(person.prompt, "studio")
    made = (sentence, person.layout, stages[0].conditions, "", "", tuple(person.flats), selfie, person.flats, ())
    one_pass = _one_pass(pipe, person, steps, guidance)

    def again(attempt: int, given: Sequence[Stage] | None) -> np.ndarray:
        return first if given is None else draw_stages(one_pass, given)

    return draw_controlled(pipe, Request(prompt=person.prompt, candidates=1), Composition(*made, stages), again)


def draw_part(drawing: Drawing, start: int, threads: int) -> None:
    """Draw the people from `start` on into one file, unless an earlier run has."""
    path = drawing.part(start)
    if path.exists():
        return
    torch.set_num_threads(threads)
    pipe = studio_pipeline(drawing.model)
    people = [person_of(pipe, drawing.first_seed, index) for index in range(start, min(start + BATCH, drawing.people))]
    drawn = DrawnPeople.cat([draw_person(pipe, person, drawing.steps, drawing.guidance) for person in people])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez_compressed(
        unfinished,
        seconds=drawn.seconds,
        touched=drawn.touched,
        pictures=np.stack([drawn.pictures[way] for way in WAYS]),
    )
    unfinished.replace(path)


def load_part(path: Path) -> DrawnPeople:
    """What `draw_part` wrote."""
    stored = np.load(path)
    return DrawnPeople(dict(zip(WAYS, stored["pictures"], strict=True)), stored["seconds"], stored["touched"])


def draw_people(drawing: Drawing, workers: int) -> DrawnPeople:
    """Draw everybody in several processes, each on its share of the cores; an interrupted run goes on.

    One thread per process beats several threads on one picture, whose tensors are small.
    """
    starts = range(0, drawing.people, BATCH)
    draw = partial(draw_part, drawing, threads=max(1, (os.cpu_count() or 1) // workers))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = pool.map(draw, starts) if workers > 1 else map(draw, starts)
        for _ in track(parts, description="drawing", total=len(starts), console=Console(stderr=True)):
            pass
    return DrawnPeople.cat([load_part(drawing.part(start)) for start in starts])


@lru_cache(maxsize=1)
def studio_pipeline(model: str) -> StudioPipeline:
    """The pipeline on the best device, once per process."""
    pipe = StudioPipeline.from_pretrained(model).to("cuda" if torch.cuda.is_available() else "cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def through_vae(pipe: StudioPipeline, pictures: np.ndarray) -> np.ndarray:
    """Pictures encoded and decoded: what the model could attain at best, uint8 (N, 256, 192, 3)."""
    decoded = []
    for picture in pictures:
        pixels = torch.from_numpy(picture).to(pipe.device, pipe.vae.dtype).permute(2, 0, 1)[None] / 127.5 - 1
        pixels = decode_latents(pipe.vae, encode_picture(pipe.vae, pixels))
        decoded.append(((pixels[0].float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())
    return np.stack(decoded)

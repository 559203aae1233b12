"""The joint benchmark's people, with all that is true of them: from seeds that no training and no tuning uses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import count

import numpy as np

from twinset.adapters.condition import Layout
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.rig import build_rig
from twinset.models.face_finder import align
from twinset.pipelines.studio import StudioPipeline
from twinset.training.mannequin import face, render
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.spec import Identity, Spec, coloured_light, draw_light, draw_spec, white_light

FIRST_SEED = 900_000_000
AVERAGE = Identity(*[0.0] * len(fields(Identity)))
GIVEN = ("upper", "lower")
"""Garment slots given as pictures; shoes are left to the words."""


@dataclass(frozen=True)
class BenchmarkPerson:
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


def held_out_person(pipe: StudioPipeline, index: int) -> BenchmarkPerson:
    """Person `index` of the benchmark; every second one has a Chinese prompt."""
    return person_of(pipe, FIRST_SEED, index)


def person_of(pipe: StudioPipeline, first_seed: int, index: int) -> BenchmarkPerson:
    """Person `index` counted from a seed: held-out from `FIRST_SEED` on, of the train split below."""
    rng = np.random.default_rng([first_seed, index])
    split = "held_out" if first_seed >= FIRST_SEED else "train"
    return drawn_person(pipe, draw_spec(first_seed + index, split), rng, chinese=index % 2 == 1)


def drawn_person(pipe: StudioPipeline, spec: Spec, rng: np.random.Generator, chinese: bool = False) -> BenchmarkPerson:
    """A spec drawn; `rng` draws other styles for the selfie and the second face, then the prompt."""
    given, other = spec.restyled(rng), spec.restyled(rng)
    selfie = render.render_selfie(given)
    landmarks = render.selfie_landmarks(given)
    found = pipe.face_finder.find(selfie)
    faces = [align(selfie, landmarks), align(render.render_selfie(other), render.selfie_landmarks(other))]
    words = captions(spec, rng)
    return BenchmarkPerson(
        spec=spec,
        layout=Layout(render.layout_keypoints(spec), render.render_layout(spec)),
        truth=render.render_picture(spec),
        parsing=render.render_parsing(spec),
        landmarks=average_landmarks(spec),
        selfie=align(selfie, found[0].landmarks if found else landmarks),
        faces=np.stack(faces),
        flats={g.kind: render_flat(g) for slot, g in spec.garments.items() if slot in GIVEN},
        prompt=words.chinese_plain if chinese else words.english_plain,
        chinese=chinese,
    )


def average_landmarks(spec: Spec) -> np.ndarray:
    """Landmarks (5, 2) px of an average face where the layout has its head."""
    frame = build_rig(render.layout_keypoints(spec)).frames["head"]
    local = face.landmarks(AVERAGE, spec.expression, spec.head_turn)
    return local @ frame[:, :2].T + frame[:, 2]


def in_other_light(spec: Spec) -> np.ndarray:
    """The true picture in another light that the prompt's word ("cold", "warm") allows, uint8 (256, 192, 3).

    The words leave the light's exact tint open, so this is what a faultless model would score in measures of colour.
    """
    rng = np.random.default_rng([FIRST_SEED, spec.seed])
    if spec.light.name:
        return render.render_picture(replace(spec, light=coloured_light(spec.light.name, rng)))
    lights = (draw_light(rng) for _ in count())
    return render.render_picture(replace(spec, light=next(light for light in lights if light.word == spec.light.word)))


def albedo(spec: Spec) -> np.ndarray:
    """The true picture in white light without shading, uint8 (256, 192, 3): what light falls upon."""
    return render.render_picture(replace(spec, light=white_light()))

"""Hair, beard and expression: the words win, then the selfie, then the seed; and the selfie's hair is read right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinset.figure.colours import HAIR
from twinset.figure.face_look import BEARDS, EXPRESSIONS, LOOKS, face_look, head_turn_of
from twinset.figure.labels import HAIR as HAIR_LABEL
from twinset.pipelines.compose import backend_of, compose
from twinset.pipelines.families.looks import Looks, SelfieHair, choose_looks, nearest_hair, read_hair
from twinset.pipelines.request import Request
from twinset.pipelines.studio import StudioPipeline
from twinset.prompts.brief import read_brief
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

SEEN = SelfieHair("bob", (60, 90, 180))


def looks(prompt: str, selfie: SelfieHair | None) -> Looks:
    """What becomes of words and a selfie."""
    return choose_looks(read_brief(prompt), selfie, "spiky", seed=5)


def test_words_win_over_the_selfie_and_the_selfie_over_the_seed() -> None:
    silent = looks("red dress, beach", SEEN)
    assert (silent.hair, silent.hair_colour) == (SEEN.style, SEEN.colour) and "as in the selfie" in silent.note()[0]
    named = looks("pink hair in a bun, smiling", SEEN)
    assert (named.hair, named.hair_colour, named.expression) == ("spiky", HAIR["pink"], "smile") and not named.note()
    length = looks("medium-length hair, beach", SEEN)  # which the selfie's is
    assert length.hair == "bob" and looks("short hair, beach", SEEN).hair == "spiky"
    seeded = looks("red dress, beach", None)
    assert seeded.hair == "spiky" and seeded.hair_colour in HAIR.values() and not seeded.note()
    assert looks("一个留着大胡子的男人，大笑", SEEN).beard == "full"


def test_a_look_is_numbers_that_tell_each_thing_apart() -> None:
    every = [face_look(e, beard=b, hair_colour=(9, 8, 7)) for e in EXPRESSIONS for b in BEARDS]
    assert all(look.shape == (LOOKS,) for look in every) and len({look.tobytes() for look in every}) == len(every)
    assert np.array_equal(face_look(hair_colour=(1, 2, 3)), face_look())  # without a beard its colour says nothing


@pytest.mark.parametrize("seed", [60_000, 60_003, 60_007])
def test_the_pose_tells_the_heads_turn(seed: int) -> None:
    spec = draw_plain_spec(seed)
    assert head_turn_of(render.layout_keypoints(spec)) == pytest.approx(spec.head_turn, abs=0.02)


@pytest.mark.long
def test_a_selfies_hair_is_read(studio: StudioPipeline) -> None:
    """Of drawn people whom no network was trained on: style and colour."""
    people, right = backend_of(studio), list[bool]()
    for seed in range(60_000, 60_012):
        spec = draw_plain_spec(seed)
        picture = render.render_selfie(spec)
        hair = read_hair(picture, people.figure(picture), people.skin(people.selfie(picture, Path("me.png"), [])))
        right += [
            hair is not None and (hair.style, nearest_hair(hair.colour)) == (spec.hair.style, spec.hair.colour_name)
        ]
    assert sum(right) >= 9


def test_the_selfies_hair_reaches_layout_and_draft(studio: StudioPipeline, tmp_path: Path) -> None:
    spec = draw_plain_spec(60_004)
    Image.fromarray(render.render_selfie(spec)).save(tmp_path / "me.png")
    asked = Request(prompt="white shirt, beach", selfies=(tmp_path / "me.png",), seed=2, pose="standing")
    made, seeded = compose(studio, asked), compose(studio, asked.model_copy(update={"hair": "seed"}))
    assert made.hair == spec.hair.style and any("as in the selfie" in note for note in made.notes)
    assert not any("as in the selfie" in note for note in seeded.notes)
    draft = next(c.draft for c in made.conditions if c.kind == "figure")
    assert draft is not None
    seen = studio.decode(draft)[made.layout.labels == HAIR_LABEL]
    assert nearest_hair(tuple(int(level) for level in np.median(seen, axis=0))) == spec.hair.colour_name  # type: ignore[arg-type]

"""Clothes that only words name: drawn flat as they say and given as pictures; pictures win, refusals hold."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from tests.helpers.tiny import tiny_pipeline
from twinset.figure import labels as atr
from twinset.figure.colours import CLOTH
from twinset.figure.labels import GARMENT_KINDS, garment_labels
from twinset.figure.poses import preset
from twinset.perception.garments.colours import colour_names, nearest_names
from twinset.pipelines import compose as composing
from twinset.pipelines.compose import Composition, compose
from twinset.pipelines.draw import draw
from twinset.pipelines.families.photo import PhotoBackend
from twinset.pipelines.record import composed
from twinset.pipelines.request import Request
from twinset.pipelines.studio import StudioPipeline
from twinset.pipelines.wardrobe import (
    OUTERMOST,
    OWN_NAMES,
    SEEDED_KINDS,
    colour_of,
    draw_clothes,
    dress_person,
    second_colour,
)
from twinset.prompts.brief import read_brief
from twinset.prompts.glossary import COLOUR_WORDS
from twinset.prompts.marks import find_marks, normalise
from twinset.scoring.garment import region_inside


@pytest.fixture(scope="module")
def pipe() -> StudioPipeline:
    return tiny_pipeline()


def asked(pipe: StudioPipeline, prompt: str, **fields: Any) -> Composition:
    """A composition of the whole figure."""
    return compose(pipe, Request(**{"prompt": prompt, "seed": 5, "framing": "full", "pose": "standing"} | fields))


def colour_key(name: str) -> str:
    return next(key for key, words in COLOUR_WORDS.items() if name in words)


def darker(flat: np.ndarray, than: int) -> np.ndarray:
    """bool (H, W): what is not the white around a garment."""
    return np.min(flat, axis=-1) < than


def shown(composition: Composition) -> dict[str, str]:
    """Kind to the main colour that its picture shows, by a naming of colours that drawing knows nothing of."""
    return {kind: colour_key(colour_names(flat, darker(flat, 250))[0]) for kind, flat in composition.flats.items()}


@pytest.mark.long
@pytest.mark.parametrize(
    ("prompt", "colours"),
    [
        ("short hair, red dress, beach", {"dress": "red"}),
        ("短发，红色连衣裙，海边", {"dress": "red"}),
        ("a burgundy gown and white high heels", {"dress": "red", "heels": "white"}),
        ("green t-shirt, navy shorts, orange sneakers", {"t_shirt": "green", "shorts": "navy", "shoes": "orange"}),
        ("穿着米色毛衣，黑色牛仔裤，棕色靴子", {"jumper": "beige", "trousers": "black", "boots": "brown"}),
        ("jeans with a hot pink blouse", {"shirt": "pink", "trousers": "blue"}),
        ("a man in a black suit", {"suit_jacket": "black", "trousers": "black"}),
        ("red sweater, green beanie, blue handbag", {"jumper": "red", "beanie": "green", "bag": "blue"}),
        ("戴黄色棒球帽和红色眼镜的女孩", {"cap": "yellow", "glasses": "red"}),
        ("穿白色的女孩在海边", {"shoes": "white"}),
    ],
)
def test_every_piece_that_words_name_is_a_picture_of_its_colour(
    pipe: StudioPipeline, prompt: str, colours: dict[str, str]
) -> None:
    made = asked(pipe, prompt)
    assert {kind: shown(made)[kind] for kind in colours} == colours
    assert [c.kind for c in made.conditions] == ["figure"] + ["garment"] * len(made.flats)
    for kind in colours:
        assert np.isin(made.layout.labels, garment_labels(kind)).any()
        assert made.regions[kind].sum() == np.isin(made.layout.labels, garment_labels(kind)).sum()


def test_patterns_are_drawn_in_both_colours(pipe: StudioPipeline) -> None:
    made = asked(pipe, "red and white striped shirt, dotted navy skirt, pale yellow boots")
    flats = {drawn.garment.kind: drawn.garment for drawn in made.drawn}
    assert (flats["shirt"].pattern, flats["shirt"].second) == ("stripes", CLOTH["white"])
    assert (flats["skirt"].pattern, flats["skirt"].colour) == ("dots", CLOTH["navy"])
    assert min(flats["skirt"].second) > 240 and second_colour(CLOTH["white"]) == (45, 45, 52)
    assert flats["boots"].second[2] < 0.6 * flats["boots"].second[0]  # a darker yellow, not black
    names = colour_names(made.flats["shirt"], darker(made.flats["shirt"], 240))
    assert "red" in names and {"white", "pink", "cream"} & set(names)


def test_every_colour_word_has_cloth_of_its_colour() -> None:
    words = {word.rpartition("=")[2] for key in COLOUR_WORDS for word in COLOUR_WORDS[key]}
    for word in words - {"blonde"}:
        (mark,) = find_marks(normalise(word))
        meaning = mark.meaning("colour")
        assert meaning is not None
        lab = rgb2lab(np.array([[colour_of(meaning.english)]]) / 255)[0]
        assert colour_key(nearest_names(lab)[0]) == meaning.key, word


def test_pictures_win(pipe: StudioPipeline, tmp_path: Path) -> None:
    flat = np.full((90, 60, 3), 255, np.uint8)
    flat[10:80, 12:48] = (30, 60, 200)
    Image.fromarray(flat).save(tmp_path / "g.png")
    dress = asked(pipe, "red dress, white shoes", garments=(f"dress={tmp_path / 'g.png'}",))
    assert [drawn.garment.kind for drawn in dress.drawn] == ["shoes"] and shown(dress)["dress"] == "blue"
    assert "blue dress" in dress.prompt and any("the photo wins" in note for note in dress.notes)
    shirt = asked(pipe, "red t-shirt, grey trousers", garments=(f"hoodie={tmp_path / 'g.png'}",))
    assert {drawn.garment.kind for drawn in shirt.drawn} == {"trousers", "shoes"}
    assert "t-shirt: left out, its place is taken by the hoodie" in shirt.notes


def test_record_and_note_say_what_was_drawn(pipe: StudioPipeline) -> None:
    made = asked(pipe, "burgundy gown, floral boots")
    told = composed(made)
    assert told["drawn_clothes"][0] == {
        "kind": "dress", "name": "gown", "colour": "burgundy", "pattern": "plain", "colour_from": "words",
    }  # fmt: skip
    colour = told["drawn_clothes"][1]["colour"]
    assert told["notes"] == [
        "clothes drawn as the prompt says: burgundy dress (for gown); in colours chosen by the seed: "
        f"{colour} dotted boots (for floral); give --garment dress=FILE for your own"
    ]


@pytest.mark.long
@pytest.mark.parametrize("prompt", ["red dress, no shoes", "红色连衣裙，不穿鞋子"])
def test_refused_pieces_are_not_drawn(pipe: StudioPipeline, prompt: str) -> None:
    made = asked(pipe, prompt)
    assert made.kinds == ("dress",) and list(made.flats) == ["dress"]
    assert not np.isin(made.layout.labels, garment_labels("shoes")).any()
    kinds = {asked(pipe, "no skirt, no shorts", seed=seed).kinds[1] for seed in range(8)}
    assert kinds == {"trousers"}


def test_colours_are_said_by_the_pictures_alone(pipe: StudioPipeline) -> None:
    assert asked(pipe, "red hair, blue dress, beach").prompt == "red hair, dress, beach"
    assert asked(pipe, "红色头发，蓝色连衣裙").prompt == "a person, red hair, wearing dress"
    words = asked(pipe, "red hair, blue dress, beach", garment_strength=0.0)
    assert words.prompt == "red hair, blue dress, beach" and not (words.drawn or words.flats)
    assert [c.kind for c in words.conditions] == ["figure"]


def test_a_lora_may_be_one_of_the_garments(pipe: StudioPipeline, tmp_path: Path) -> None:
    made = asked(pipe, "wearing jckt red hoodie", loras=(tmp_path / "jacket.safetensors",))
    assert not made.drawn and made.prompt == "wearing jckt red hoodie"


def test_what_cannot_take_pictures_keeps_the_words() -> None:
    pipe = tiny_pipeline()
    pipe.register_modules(garment_adapter=None)
    made = asked(pipe, "red dress, beach")
    assert made.prompt == "red dress, beach" and not made.drawn
    assert not PhotoBackend.draws_clothes


def test_the_outermost_of_several_pieces_is_seen(pipe: StudioPipeline) -> None:
    made = asked(pipe, "a white t-shirt under a red coat, leggings under a black skirt")
    assert made.kinds == ("coat", "skirt", "shoes")
    assert {n.partition(":")[0] for n in made.notes if "left out" in n} == {"t-shirt", "leggings"}
    portrait = asked(pipe, "red coat, white boots", framing="portrait")
    assert [d.garment.kind for d in portrait.drawn] == ["coat"]
    assert "boots: out of sight, outside the frame or under other clothes" in portrait.notes
    assert asked(pipe, "smiling, in the park").notes == () and asked(pipe, "smiling, in the park").drawn


def test_the_seed_draws_what_words_leave_open() -> None:
    def colours(prompt: str, seed: int) -> dict[str, str]:
        kinds = ("shirt", "skirt", "shoes")
        return {
            drawn.garment.kind: drawn.garment.colour_name for drawn in draw_clothes(read_brief(prompt), kinds, seed)
        }

    plain = colours("beach", 3)
    assert plain == colours("beach", 3) and len({str(colours("beach", seed)) for seed in range(9)}) > 6
    assert colours("red shirt", 3) == plain | {"shirt": "red"}
    assert colours("dressed in black", 3) == dict.fromkeys(plain, "black")


def test_a_poses_picture_gets_the_clothes_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    worn = np.zeros((256, 192), np.uint8)
    worn[60:120, 60:130], worn[120:200, 60:130] = atr.UPPER, atr.PANTS
    given = "a.png", preset("standing"), worn
    monkeypatch.setattr(composing, "choose_pose", lambda *_: given)

    def laid(draws: bool, prompt: str) -> tuple[tuple[str, ...], set[int]]:
        people: Any = SimpleNamespace(kinds=tuple(OWN_NAMES), draws_clothes=draws)
        _, _, kinds, layout = composing.lay_out(
            people, Request(prompt=prompt, seed=1), read_brief(prompt), None, (), []
        )
        return kinds, set(np.unique(layout.labels).tolist())

    assert laid(True, "red dress") == (("dress",), {0, atr.DRESS})
    assert laid(True, "beach") == ((), {0, atr.UPPER, atr.PANTS})
    assert laid(False, "red dress") == ((), {0, atr.UPPER, atr.PANTS})


def test_tables_cover_every_kind() -> None:
    assert set(OWN_NAMES) == set(OUTERMOST) == set(GARMENT_KINDS)
    rng = np.random.default_rng(0)
    assert dress_person((), (), rng, refused=SEEDED_KINDS["lower"])[1:] == ("shoes",)


@pytest.mark.long
@pytest.mark.parametrize(
    ("prompt", "seed"), [("short hair, red dress, beach", 60_003), ("短发，红色连衣裙，海边", 60_008)]
)
def test_a_red_dress_is_red(studio: StudioPipeline, prompt: str, seed: int) -> None:
    request = Request(prompt=prompt, seed=seed, steps=12, guidance=1.5)
    made = compose(studio, request)
    picture = draw(studio, request, made, 0)
    region = region_inside(made.layout.labels, garment_labels("dress"))
    assert colour_key(colour_names(picture, region)[0]) == "red"
    hair = region_inside(made.layout.labels, (atr.HAIR,))
    assert colour_key(colour_names(picture, hair)[0]) != "red"

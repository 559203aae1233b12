"""What people write besides words: it changes weights, places and notes, and never a garment or the prompt's sense."""

from __future__ import annotations

import pytest

from twinset.errors import InputError
from twinset.prompts.brief import read_brief
from twinset.prompts.notation import nearest_colour, read_notation
from twinset.prompts.pasted import split_pasted
from twinset.prompts.sentence import understand
from twinset.prompts.weighting import parse_weights
from twinset.prompts.wildcards import one_of


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("red dress, beach", "red dress, beach"),
        ("(red dress:1.3), 1girl, long_hair", "(red dress:1.3), 1girl, long_hair"),  # weights alone stay as they are
        ("a woman BREAK red coat BREAK boots", "a woman, red coat, boots"),
        ("a red dress AND a street", "a red dress, a street"),
        ("A WOMAN IN RED AND WHITE", "A WOMAN IN RED AND WHITE"),
        ("artoria \\(fate\\), blue dress", "artoria (fate), blue dress"),
        ("artoria \\(fate\\), (blue dress:1.2)", "artoria \\(fate\\), (blue dress)1.2"),
        ("<lora:boots:0.7>, hoodie, <hypernet:x>", "hoodie"),
        ("embedding:bad_hands, hoodie", "hoodie"),
        ("1girl, >__<, blue hoodie, ^_^, o_o", "1girl, blue hoodie, smiling, surprised"),
        ("dress 👗 at the beach 🏖️😊", "dress at the beach, smiling"),
        ("((unbalanced, [hat], coat BREAK", "unbalanced, (hat)0.91, coat"),
    ],
)
def test_notation_becomes_words(text: str, prompt: str) -> None:
    assert read_notation(text).prompt == prompt


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("((x:1.2))", [1.32]), ("((x))", [1.21]), ("[x]", [0.91]), ("{x}", [1.05]), ("{{{x}}}", [1.16]),
        ("(x)1.3", [1.3]), ("(x)++", [1.21]), ("(x)-", [0.9]), ("(x) 8k", [1.1, 1]), ("(2024)4k", [1.1, 1]),
        ("(a (b:1.5) c:1.2)", [1.2, 1.8, 1.2]),
        ("\\(x\\)", [1, 1, 1]), ("(((((((((x)))))))))", [2]),
    ],
)  # fmt: skip
def test_weights_of_every_notation(text: str, weights: list[float]) -> None:
    assert [piece.weight for piece in parse_weights(text)] == weights


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("[hoodie:coat:0.4]", "coat"), ("[hoodie:coat:0.7]", "hoodie"), ("[coat:0.5]", "coat"), ("[coat::0.5]", "coat"),
        ("[red|blue] coat", "red coat"), ("[a (red coat:1.2):hat:12]", "hat"),
        ("[[red:blue:0.2] coat:hoodie:0.8]", "blue coat"),
    ],
)  # fmt: skip
def test_editing_takes_the_part_that_is_drawn_longest(text: str, kept: str) -> None:
    read = read_notation(text)
    assert read.plain == kept and "is not done here" in read.notes[0]


def test_pasted_parameters_go_to_their_places() -> None:
    text = (
        "woman in a red coat, snow\nNegative prompt: hat, (glasses:1.2),\nblurry\n"
        'Steps: 30, Sampler: Euler a, Seed: 7, Lora hashes: "a: b, c: d", Version: v1.9'
    )
    pasted = split_pasted(text)
    assert (pasted.prompt, pasted.settings["sampler"]) == ("woman in a red coat, snow", "Euler a")
    assert pasted.left_over == ("lora hashes: a: b, c: d", "version: v1.9")
    read = understand(text, "studio")
    assert (read.prompt, read.negative) == ("woman in a red coat, snow", "hat, glasses, blurry")
    assert read.brief.garments == ("coat",) and set(read.brief.negatives) == {"straw_hat", "glasses"}
    assert any("lora hashes" in note for note in read.notes)
    assert split_pasted("two steps: red, blue").settings == {}


def test_names_of_files_are_no_clothes() -> None:
    brief = read_brief("<lora:black_leather_boots:0.7>, 1boy, white t-shirt")
    assert brief.garments == ("t_shirt",) and brief.rest == ()
    assert read_notation("<lora:a b:0.7>, <lora:c>").tags[0].weight == 0.7


@pytest.mark.parametrize(("code", "name"), [("#f00", "scarlet"), ("#FFFFFF", "off-white"), ("#000", "black")])
def test_colour_codes_are_read_as_the_nearest_name(code: str, name: str) -> None:
    nearest = nearest_colour(code)
    assert nearest == name or {nearest, name} <= {"white", "off-white"}
    read = understand(f"a {code} dress", "sd15")
    assert read.brief.clothes[0].shade == nearest and nearest in read.prompt and code in read.notes[0]


def test_templates_beside_weights_emoticons_and_codes() -> None:
    made = {one_of("{red|blue} (dress:1.2), {smiling}, #ffffff hat >__<", seed) for seed in range(9)}
    assert {text.split(" ")[0] for text in made} == {"red", "blue"}
    assert all("(dress:1.2)" in text and "#ffffff" in text and "{" not in text for text in made)
    with pytest.raises(InputError, match="wildcard without a file"):
        one_of("a __colour__ dress", 0)


@pytest.mark.parametrize(
    ("text", "prompt", "garments"),
    [
        ("the blue suit instead of the red dress, office", "the blue suit, office", ("suit_jacket",)),
        ("swap the skirt for white trousers", "white trousers", ("trousers",)),
        ("a dress that is not red but green", "a dress that is green", ("dress",)),
    ],
)
def test_what_is_exchanged_reaches_no_prompt(text: str, prompt: str, garments: tuple[str, ...]) -> None:
    read = understand(text, "sd15")
    assert (read.prompt, read.brief.garments, read.negative) == (prompt, garments, read.negative)
    assert "red" not in [piece.colour for piece in read.brief.clothes]

"""A sentence for each family: photos correct it; weights, templates, refusals and Chinese go where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiny import tiny_pipeline
from twinset.errors import InputError
from twinset.pipelines.compose import compose
from twinset.pipelines.draw import draw, prompt_arguments
from twinset.pipelines.families.given_pictures import colours_of
from twinset.pipelines.request import Request
from twinset.prompts.sentence import understand
from twinset.prompts.weighting import is_weighted, plain_words


@pytest.mark.parametrize(
    ("shown", "prompt"),
    [
        (["blue"], "blue dress, beach"),
        (["light blue", "white"], "blue dress, beach"),
        (["white", "red"], "red dress, beach"),  # it shows red too
        (["burgundy"], "red dress, beach"),
        ([], "red dress, beach"),
    ],
)
def test_photos_correct_words(shown: list[str], prompt: str) -> None:
    read = understand("red dress, beach", "studio", shown={"dress": shown})
    assert read.prompt == prompt and len(read.notes) == (prompt != "red dress, beach")
    assert read.brief.scene == "beach" and read.negative is None


def test_studio_reads_both_languages_itself() -> None:
    assert understand("red dress, no hat", "studio").prompt == "red dress, no hat"
    assert understand("短发，红色长裙，不要帽子", "studio").prompt == "a person, short hair, wearing red dress"


def test_full_size_families_read_english() -> None:
    read = understand("亚洲女性，短发，微笑，穿着红色长裙站在海边", "sd15")
    assert read.prompt.isascii() and "red" in read.prompt and "beach" in read.prompt
    assert "translated into English by glossary" in read.notes[0]
    plain = understand("a woman in a red dress, cinematic", "sdxl")
    assert plain.prompt == "a woman in a red dress, cinematic" and not plain.notes
    assert plain.negative is None


def test_what_is_refused_is_in_the_negative_prompt_alone() -> None:
    read = understand("a woman in a red dress, no hat", "sd15")
    assert "hat" not in read.prompt and read.negative is not None and "hat" in read.negative


def test_templates_and_weights() -> None:
    made = {understand("{red|blue} dress", "studio", seed).prompt for seed in range(12)}
    assert made == {"red dress", "blue dress"}
    weighted = understand("(red dress:1.3), beach", "studio")
    assert weighted.brief.garments == ("dress",) and is_weighted(weighted.prompt)
    assert plain_words("(red dress:1.3), (beach)0.8, (a, b)") == "red dress, beach, a, b"
    with pytest.raises(InputError, match="balance its braces"):
        understand("{red|", "studio")


def test_words_for_what_a_family_cannot_draw_are_left_to_the_text_encoder() -> None:
    made = compose(tiny_pipeline(), Request(prompt="a woman with a brown leather belt, red dress", seed=1))
    assert made.kinds == ("dress", "shoes") and "belt" in made.prompt


@pytest.mark.long
def test_weights_reach_the_picture() -> None:
    pipe = tiny_pipeline()
    drawn = []
    for prompt in ("red dress, beach", "(red dress)1.01, beach", "(red dress)1.6, beach"):
        request = Request(prompt=prompt, seed=1, steps=1, guidance=3.0, pose="standing")
        composition = compose(pipe, request)
        drawn.append(np.array(draw(pipe, request, composition, 0), float))
        assert ("prompt_embeds" in prompt_arguments(pipe, composition.sentence)) == ("(" in prompt)
    assert np.abs(drawn[0] - drawn[1]).mean() < 1 < 2 * np.abs(drawn[1] - drawn[2]).mean() + 1
    assert not np.array_equal(drawn[1], drawn[2])


def test_a_garments_photo_corrects_its_request(tmp_path: Path) -> None:
    flat = np.full((90, 60, 3), 255, np.uint8)
    flat[10:80, 12:48] = (30, 60, 200)
    path = tmp_path / "dress.png"
    Image.fromarray(flat).save(path)
    assert colours_of({"dress": flat}) == {"dress": ["blue"]}
    made = compose(tiny_pipeline(), Request(prompt="red dress", seed=1, garments=(f"dress={path}",)))  # type: ignore[arg-type]
    assert made.prompt == "blue dress" and any("the photo wins" in note for note in made.notes)

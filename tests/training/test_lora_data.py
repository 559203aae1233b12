"""Data sets of garment LoRAs: files, captions, masks and buckets; and options that know what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.lora_people import JACKET, parsed, person
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import UPPER
from twinset.training.core.buckets import BucketRule, bucket_sizes, fitted, nearest_bucket
from twinset.training.core.options import read_recipe, recipe_text
from twinset.training.lora.caption_rules import CaptionRule, varied_caption
from twinset.training.lora.captions import automatic_caption, pattern_word, with_trigger, without_trigger
from twinset.training.lora.masks import garment_mask, likeliest_class
from twinset.training.lora.options import LoraOptions, read_options
from twinset.training.mannequin.render import render_parsing, render_picture

# Options


def test_options_and_recipe_are_the_same(tmp_path: Path) -> None:
    given = {
        "data": tmp_path,
        "trigger": 'j"ckt',
        "alpha": 2.5,
        "dora": True,
        "learning_rate": 3e-5,
        "sample_pose": "walking",
    }
    options = read_options(given)
    path = tmp_path / "r.toml"
    path.write_text(recipe_text(options), encoding="utf-8")
    assert read_options(read_recipe(path, LoraOptions)) == options
    path.write_text('data = "pictures"\n')
    assert read_options(read_recipe(path, LoraOptions)).data == tmp_path / "pictures"  # relative to the recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rnk": 4}, "option 'rnk' is unknown; did you mean 'rank'"),
        ({"zzzzz": 4}, "option 'zzzzz' is unknown; there are learning_rate, seed, model"),
        ({"rank": 0}, "rank = 0: Input should be greater than or equal to 1"),
        ({"kind": "sock"}, "kind = 'sock': is unknown; choose one of t_shirt"),
        ({"optimiser": "sgd"}, "optimiser = 'sgd'"),
        ({"masked": False, "preserve": 1.0}, "leave masked on"),
        ({"data": None}, "data = None"),
    ],
)
def test_wrong_options_are_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_options({"data": Path("x"), **fields})
    assert "\n" not in str(caught.value)


def test_the_trigger_word_is_made_of_the_folder() -> None:
    assert LoraOptions(data=Path("a/my_red-jacket")).word == "myredjacket"
    assert LoraOptions(data=Path("a/jacket/dataset.toml")).word == "jacket"
    assert LoraOptions(data=Path("a"), trigger="jckt").word == "jckt"


# Captions


def test_a_caption_says_trigger_kind_colours_and_pattern() -> None:
    flat = render_flat(JACKET)
    region = np.asarray((flat < 250).any(-1))
    assert pattern_word(flat, region) == "striped"
    assert (
        automatic_caption("jckt", "hoodie", flat, np.array(region, np.float32))
        == "a photo of jckt hoodie, red and white, striped"
    )
    assert automatic_caption("jckt", "t_shirt", flat, None) == "a photo of jckt t-shirt"
    plain = np.full((64, 64, 3), (40, 95, 200), np.uint8)
    assert pattern_word(plain, np.ones((64, 64), bool)) is None
    checks = np.kron(np.indices((8, 8)).sum(0) % 2 * 160 + 40, np.ones((8, 8))).astype(np.uint8)
    rows = np.repeat(np.repeat(np.arange(8) % 2 * 160 + 40, 8)[:, None], 64, 1).astype(np.uint8)
    assert pattern_word(np.stack([rows] * 3, -1), np.ones((64, 64), bool)) == "striped"
    assert pattern_word(np.stack([checks] * 3, -1), np.ones((64, 64), bool)) is None  # a chessboard has no bands


def test_the_trigger_word_is_put_in_front_where_it_is_missing() -> None:
    assert with_trigger("red hoodie, beach", "jckt") == "jckt, red hoodie, beach"
    assert with_trigger("a JCKT hoodie", "jckt") == "a JCKT hoodie"
    assert with_trigger("a jckts hoodie", "jckt") == "jckt, a jckts hoodie"


def test_the_trigger_word_is_taken_out() -> None:
    assert without_trigger("a photo of jckt hoodie, red", "jckt") == "a photo of hoodie, red"
    assert (
        without_trigger("jckt, red", "jckt") == "red" and without_trigger("a jckts hoodie", "jckt") == "a jckts hoodie"
    )


def test_captions_are_dropped_and_shuffled_as_often_as_asked() -> None:
    said, rng = "jckt, a, b, c", np.random.default_rng(0)
    shuffled = {varied_caption(said, CaptionRule(shuffle=True, keep=2), rng) for _ in range(50)}
    assert shuffled == {"jckt, a, b, c", "jckt, a, c, b"}
    dropped = [varied_caption(said, CaptionRule(dropout=0.3), rng) == "" for _ in range(2000)]
    assert 0.26 < np.mean(dropped) < 0.34
    assert varied_caption(said, CaptionRule(), rng) == said
    ends = [varied_caption(said, CaptionRule(dropout_epochs=3), rng, epoch) == "" for epoch in range(6)]
    assert ends == [False, False, True, False, False, True]


def test_parts_between_separators_alone_are_shuffled_and_left_out() -> None:
    """The examples are those of sd-scripts' own guide."""
    rng = np.random.default_rng(0)
    rule = CaptionRule(shuffle=True, keep_separator="|||")
    written = "aaa, bbb ||| ccc, ddd, eee ||| ggg, hhh"
    found = {varied_caption(written, rule, rng) for _ in range(200)}
    assert len(found) == 6 and "aaa, bbb, eee, ccc, ddd, ggg, hhh" in found
    sparse = [varied_caption(written, CaptionRule(keep_separator="|||", tag_dropout=0.5), rng) for _ in range(500)]
    assert all(one.startswith("aaa, bbb") and one.endswith("ggg, hhh") for one in sparse)
    assert 0.4 < np.mean(["ddd" in one for one in sparse]) < 0.6
    assert varied_caption("a, b;;;c, d", CaptionRule(secondary=";;;"), rng) == "a, b, c, d"


def test_wildcards_take_one_of_several_and_prefix_and_suffix_are_written() -> None:
    rng, rule = np.random.default_rng(0), CaptionRule(wildcards=True, prefix="a photo of", suffix=", from the side")
    found = {varied_caption("jckt {red|blue {a|b} } {{x}}\njckt alone", rule, rng) for _ in range(200)}
    assert found == {
        "a photo of jckt red {x}, from the side", "a photo of jckt blue a  {x}, from the side",
        "a photo of jckt blue b  {x}, from the side", "a photo of jckt alone, from the side",
    }  # fmt: skip


# Masks


def test_a_mask_comes_from_a_file_the_alpha_channel_the_parsing_or_the_background(tmp_path: Path) -> None:
    picture, labels = render_picture(person(0)), render_parsing(person(0))
    worn = labels == UPPER
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(worn.astype(np.uint8) * 255).save(tmp_path / "m.png")
    Image.fromarray(np.dstack([picture, worn.astype(np.uint8) * 255])).save(tmp_path / "b.png")
    Image.fromarray(render_flat(JACKET)).save(tmp_path / "c.png")
    cases = [
        (parsed(tmp_path / "a.png", labels, mask=tmp_path / "m.png"), "file"),
        (parsed(tmp_path / "b.png", None), "alpha"),
        (parsed(tmp_path / "a.png", labels), "parsing"),
    ]
    for look, way in cases:
        mask, found = garment_mask(look, (UPPER,))
        assert found == way and mask is not None and np.array_equal(mask > 0.5, worn)
    mask, found = garment_mask(parsed(tmp_path / "c.png"), (UPPER,))
    assert found == "background" and mask is not None and 0.2 < mask.mean() < 0.7
    assert garment_mask(parsed(tmp_path / "a.png"), (UPPER,)) == (None, "none")
    assert likeliest_class([parsed(tmp_path / "a.png", np.where(worn, UPPER, 0).astype(np.uint8))]) == "top"


def test_unusable_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(render_picture(person(0))).save(tmp_path / "a.png")
    for name, size, message in (("black", (192, 256), "is black"), ("wide", (256, 192), "differs in size")):
        Image.new("L", size, 0).save(tmp_path / f"{name}.png")
        with pytest.raises(InputError, match=message):
            garment_mask(parsed(tmp_path / "a.png", mask=tmp_path / f"{name}.png"), ())


# Buckets


def test_a_small_picture_keeps_its_size_where_it_is_not_to_be_enlarged() -> None:
    assert BucketRule((1024, 1024), upscale=False).bucket((700, 530)) == (640, 512)
    assert BucketRule((1024, 1024), upscale=False).bucket((2000, 2000)) == (1024, 1024)
    assert BucketRule((1024, 1024)).bucket((700, 700)) == (1024, 1024)


def test_buckets_have_the_area_and_the_steps_asked_for() -> None:
    sizes = bucket_sizes(512, 64)
    assert (512, 512) in sizes and (384, 640) in sizes
    assert all(w % 64 == h % 64 == 0 and w * h <= 512 * 512 and max(w, h) <= 2 * min(w, h) for w, h in sizes)
    assert nearest_bucket((3000, 4000), sizes) == (448, 576)
    assert bucket_sizes(64, 64) == [(64, 64)]


def test_a_picture_is_cut_around_its_garment() -> None:
    mask = np.zeros((100, 400), np.float32)
    mask[:, 300:] = 1
    fit = fitted((400, 100), (64, 64), mask)
    assert fit.scaled == (256, 64) and fit.corner == (192, 0)
    assert fit.mask(mask).min() == 1 and fit.picture(np.zeros((100, 400, 3), np.uint8)).shape == (64, 64, 3)
    assert fitted((400, 100), (64, 64)).corner == (96, 0)

"""Data sets of garment LoRAs: files, captions, masks and buckets; and options that know what they are."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.lora_people import JACKET, person, write_people
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.labels import UPPER
from twinset.training.core.buckets import bucket_sizes, fitted, nearest_bucket
from twinset.training.core.options import read_recipe, recipe_text
from twinset.training.lora.captions import (
    automatic_caption,
    pattern_word,
    varied_caption,
    with_trigger,
    without_trigger,
)
from twinset.training.lora.dataset import Example, read_examples
from twinset.training.lora.masks import ParsedPicture, garment_mask, likeliest_class, read_parsed
from twinset.training.lora.options import LoraOptions, read_options
from twinset.training.mannequin.render import render_parsing, render_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "my_jacket", 3, masks=False)


def examples(data: Path, **more: Any) -> list[Example]:
    return read_examples(read_options({"data": data, **more}))


def example(path: Path, **more: Any) -> Example:
    plain: dict[str, Any] = {"caption": None, "mask": None, "repeats": 1, "regularisation": False, "validation": False}
    return Example(path, **plain | {"shuffle": False, "keep_tokens": 1, "caption_dropout": 0.0, "flip": False} | more)


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
        ({"optimiser": "lion"}, "optimiser = 'lion'"),
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


# Files


def test_captions_come_from_text_files_and_metadata(folder: Path, tmp_path: Path) -> None:
    data = write_people(tmp_path / "d", 3)
    (data / "00.txt").write_text("jckt hoodie,\n on the beach\n")
    (data / "01.txt").write_text("not this")
    (data / "metadata.jsonl").write_text(json.dumps({"file_name": "01.png", "text": "in a park"}) + "\n\n")
    found = examples(data)
    assert [e.caption for e in found] == ["jckt hoodie, on the beach", "in a park", None]
    assert [e.mask and e.mask.name for e in found] == ["00.mask.png", "01.mask.png", "02.mask.png"]
    assert [e.mask for e in examples(folder)] == [None] * 3


def test_a_toml_data_set_has_repeats_and_regularisation(folder: Path, tmp_path: Path) -> None:
    write_people(tmp_path / "other", 2)
    table = tmp_path / "dataset.toml"
    table.write_text(
        f"[general]\nshuffle_caption = true\n[[datasets]]\n[[datasets.subsets]]\n"
        f'image_dir = "{folder}"\nnum_repeats = 4\n'
        '[[datasets.subsets]]\nimage_dir = "other"\nis_reg = true\nclass_tokens = "a hoodie"\nshuffle_caption = false\n'
    )
    found = examples(table)
    assert [(e.repeats, e.regularisation, e.shuffle) for e in found] == [(4, False, True)] * 3 + [(6, True, False)] * 2
    assert found[-1].caption == "a hoodie"  # 3 × 4 pictures, so 2 × 6 beside them
    assert examples(tmp_path) == found


def test_sub_folders_hold_regularisation_and_validation(tmp_path: Path) -> None:
    for name in ("", "regularisation", "validation"):
        write_people(tmp_path / name, 1)
    assert [(e.regularisation, e.validation) for e in examples(tmp_path)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "dataset.toml",
            "[[datasets]]\n[[datasets.subsets]]\nimage_dir='.'\nrepeats=2",
            "'repeats' is unknown .*num_repeats",
        ),
        (
            "dataset.toml",
            "[[datasets]]\nresolution=512\n[[datasets.subsets]]\nimage_dir='.'",
            "sizes, batches and rates",
        ),
        ("dataset.toml", "[[datasets]]\n[[datasets.subsets]]\nimage_dir='no'", "'no' is not a folder"),
        ("dataset.toml", "[[datasets]\n", "is not TOML"),
        ("dataset.toml", "datasets = 3", "is not a list of tables"),
        ("metadata.jsonl", '{"file_name": "a.png"}', "line 1 is not an object such as"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"}', "'a.png' is not a picture in the folder"),
        ("a.txt", "", "holds no picture; put 5 to 30"),
    ],
)
def test_unsound_data_sets_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        examples(tmp_path)


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
    shuffled = {varied_caption(said, example(Path("x"), shuffle=True, keep_tokens=2), rng) for _ in range(50)}
    assert shuffled == {"jckt, a, b, c", "jckt, a, c, b"}
    dropped = [varied_caption(said, example(Path("x"), caption_dropout=0.3), rng) == "" for _ in range(2000)]
    assert 0.26 < np.mean(dropped) < 0.34
    assert varied_caption(said, example(Path("x")), rng) == said


# Masks


def looked(path: Path, labels: np.ndarray | None = None, **more: Any) -> ParsedPicture:
    people: Any = SimpleNamespace(worn=lambda picture: labels)
    return read_parsed(example(path, **more), people)


def test_a_mask_comes_from_a_file_the_alpha_channel_the_parsing_or_the_background(tmp_path: Path) -> None:
    picture, labels = render_picture(person(0)), render_parsing(person(0))
    worn = labels == UPPER
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(worn.astype(np.uint8) * 255).save(tmp_path / "m.png")
    Image.fromarray(np.dstack([picture, worn.astype(np.uint8) * 255])).save(tmp_path / "b.png")
    Image.fromarray(render_flat(JACKET)).save(tmp_path / "c.png")
    cases = [
        (looked(tmp_path / "a.png", labels, mask=tmp_path / "m.png"), "file"),
        (looked(tmp_path / "b.png", None), "alpha"),
        (looked(tmp_path / "a.png", labels), "parsing"),
    ]
    for look, way in cases:
        mask, found = garment_mask(look, (UPPER,))
        assert found == way and mask is not None and np.array_equal(mask > 0.5, worn)
    mask, found = garment_mask(looked(tmp_path / "c.png"), (UPPER,))
    assert found == "background" and mask is not None and 0.2 < mask.mean() < 0.7
    assert garment_mask(looked(tmp_path / "a.png"), (UPPER,)) == (None, "none")
    assert likeliest_class([looked(tmp_path / "a.png", np.where(worn, UPPER, 0).astype(np.uint8))]) == "top"


def test_unusable_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(render_picture(person(0))).save(tmp_path / "a.png")
    for name, size, message in (("black", (192, 256), "is black"), ("wide", (256, 192), "differs in size")):
        Image.new("L", size, 0).save(tmp_path / f"{name}.png")
        with pytest.raises(InputError, match=message):
            garment_mask(looked(tmp_path / "a.png", mask=tmp_path / f"{name}.png"), ())


# Buckets


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

"""The files of a garment's data set: folders, tables, captions, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.lora_people import JACKET, parsed, person, write_people
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.training.core.buckets import BucketRule
from twinset.training.core.picture_files import read_training_picture
from twinset.training.lora.dataset import Example, read_examples
from twinset.training.lora.masks import garment_mask
from twinset.training.lora.options import LoraOptions, read_options
from twinset.training.mannequin.render import render_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "my_jacket", 3, masks=False)


def examples(data: Path, **more: Any) -> list[Example]:
    return read_examples(read_options({"data": data, **more}))


def test_captions_come_from_text_files_and_metadata(folder: Path, tmp_path: Path) -> None:
    data = write_people(tmp_path / "d", 3)
    (data / "00.txt").write_text("jckt hoodie,\n on the beach\n")
    (data / "01.txt").write_text("not this")
    (data / "metadata.jsonl").write_text(json.dumps({"file_name": "01.png", "text": "in a park"}) + "\n\n")
    found = examples(data)
    assert [e.caption for e in found] == ["jckt hoodie,\non the beach", "in a park", None]
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
    assert [(e.repeats, e.regularisation, e.words.shuffle) for e in found] == [(4, False, True)] * 3 + [
        (6, True, False)
    ] * 2
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
        ("dataset.toml", "[[datasets]]\nrank=512\n[[datasets.subsets]]\nimage_dir='.'", "rates and ranks"),
        ("dataset.toml", "[[datasets]]\nresolution=500\n[[datasets.subsets]]\nimage_dir='.'", "in multiples of 8"),
        ("dataset.toml", "[[datasets]]\n[[datasets.subsets]]\nnum_repeats=2", "names no pictures; give image_dir"),
        (
            "dataset.toml",
            "[general]\ncolor_aug=true\n[[datasets]]\n[[datasets.subsets]]\nimage_dir='.'",
            "'color_aug' is not for a garment's LoRA: a garment's colours .* delete the line",
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


def test_pictures_of_every_form_and_captions_of_either_ending_are_learnt(tmp_path: Path) -> None:
    forms = ("a.jpg", "b.JPG", "c.bmp", "d.tiff", "e.avif", "f.webp", "g.gif")
    for name in forms:
        Image.fromarray(render_picture(person(0))).save(tmp_path / name)
    (tmp_path / "a.caption").write_text("jckt, city")
    (tmp_path / "b.txt").write_text("jckt, beach")
    (tmp_path / "c.bmp.txt").write_text("jckt, hills")
    found = examples(tmp_path)
    assert [e.picture.name for e in found] == list(forms)
    assert [e.caption for e in found[:4]] == ["jckt, city", "jckt, beach", "jckt, hills", None]
    shapes = {read_training_picture(e.picture).shape for e in found}
    assert shapes == {render_picture(person(0)).shape}


def test_a_tiff_keeps_its_transparency_and_a_picture_of_ink_its_looks(tmp_path: Path) -> None:
    flat = np.dstack([render_flat(JACKET), np.asarray((render_flat(JACKET) < 250).any(-1)).astype(np.uint8) * 255])
    Image.fromarray(flat).save(tmp_path / "a.tiff")
    assert garment_mask(parsed(tmp_path / "a.tiff"), ())[1] == "alpha"
    Image.fromarray(flat[..., :3]).convert("CMYK").save(tmp_path / "b.tiff")
    assert np.abs(read_training_picture(tmp_path / "b.tiff").astype(int) - flat[..., :3]).mean() < 12


def test_hidden_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    """As macOS and Windows leave them in a folder."""
    write_people(tmp_path, 2, masks=False)
    for name in ("._00.png", ".DS_Store", "Thumbs.db", "film.mp4", "notes.docx"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._00.png").write_bytes(b"")
    lines: list[str] = []
    found = read_examples(read_options({"data": tmp_path}), lines.append)
    assert [e.picture.name for e in found] == ["00.png", "01.png"]
    assert lines == ["passed over, since they are no pictures: 3 hidden, 1 .mp4, 1 .docx"]


def test_the_folders_of_sd_scripts_say_repeats_and_words(tmp_path: Path) -> None:
    write_people(tmp_path / "img" / "10_jckt hoodie", 2)
    write_people(tmp_path / "img" / "3_jckt" / "back", 1)
    write_people(tmp_path / "reg" / "1_hoodie", 1)
    write_people(tmp_path / "model" / "sample", 1)  # what its own trainings drew
    project = examples(tmp_path)
    assert [(e.repeats, e.caption, e.regularisation) for e in project] == [
        (10, "jckt hoodie", False), (10, "jckt hoodie", False), (3, "jckt", False), (23, "hoodie", True)
    ]  # fmt: skip
    assert len(examples(tmp_path / "img")) == 3
    options = LoraOptions(data=tmp_path / "img")
    assert LoraOptions(data=tmp_path).word == options.word == "jckt" and options.garment_kind == "hoodie"


@pytest.mark.parametrize(
    ("encoding", "text", "name"),
    [
        ("utf-8-sig", "jckt, été", "UTF-8"), ("utf-16", "jckt, 红色卫衣", "UTF-16"),
        ("utf-16-be", "jckt hoodie", "UTF-16"), ("gbk", "红色卫衣，海边，微笑", "GBK"),
        ("shift_jis", "赤い服、海辺", "Shift-JIS"), ("big5", "紅色連帽衫，海邊", "Big5"),
        ("euc-kr", "빨간 후드티를 입은 여자", "EUC-KR"), ("cp1252", "robe d'été, près du café", "Windows-1252"),
    ],
)  # fmt: skip
def test_captions_of_any_usual_encoding_are_read(tmp_path: Path, encoding: str, text: str, name: str) -> None:
    write_people(tmp_path, 1)
    (tmp_path / "00.txt").write_bytes(text.encode(encoding))
    lines: list[str] = []
    assert read_examples(read_options({"data": tmp_path}), lines.append)[0].caption == text
    assert lines == [] if name == "UTF-8" else lines[0].startswith(f"1 caption(s) are read as {name}, such as 00.txt")


def test_all_bad_pictures_are_named_at_once(tmp_path: Path) -> None:
    write_people(tmp_path, 3)
    (tmp_path / "00.png").write_bytes(b"no picture")
    (tmp_path / "01.png").write_bytes((tmp_path / "02.png").read_bytes()[:500])
    Image.new("L", (192, 256)).save(tmp_path / "02.mask.png")
    (tmp_path / "04.jxl").write_bytes(b"\xff\x0a rest")
    with pytest.raises(
        InputError, match=r"4 picture\(s\) cannot be learnt: .*00.png.*01.png.*02.mask.png' is black.*04"
    ) as e:
        examples(tmp_path)
    assert "\n" not in str(e.value) and str(e.value).endswith("or add --skip-bad")
    write_people(tmp_path / "good", 1)
    lines: list[str] = []
    left = read_examples(read_options({"data": tmp_path, "skip_bad": True}), lines.append)
    assert [e.picture.parent.name for e in left] == ["good"] and lines[0].startswith("left out: ")


TABLE_OF_SD_SCRIPTS = """
[general]
shuffle_caption = true
caption_extension = '.caption'
keep_tokens = 2
color_aug = false

[[datasets]]
resolution = [192, 256]
batch_size = 3
enable_bucket = true
bucket_reso_steps = 32
min_bucket_reso = 128
max_bucket_reso = 320

  [[datasets.subsets]]
  image_dir = 'worn'
  class_tokens = 'jckt hoodie'
  num_repeats = 2
  caption_prefix = 'photo,'
  flip_aug = true

[[datasets]]
resolution = 128
enable_bucket = false
validation_split = 0.5

  [[datasets.subsets]]
  image_dir = 'worn'
  keep_tokens_separator = '|||'
  metadata_file = 'captions.json'
"""


def test_a_table_of_sd_scripts_is_honoured_whole(tmp_path: Path) -> None:
    write_people(tmp_path / "worn", 2)
    (tmp_path / "worn" / "00.caption").write_text("jckt hoodie, x")
    (tmp_path / "captions.json").write_text(
        json.dumps({n: {"caption": f"c{n}", "tags": "t"} for n in ("00", "01.png")})
    )
    (tmp_path / "jckt.toml").write_text(TABLE_OF_SD_SCRIPTS)
    first, second, third, fourth = examples(tmp_path / "jckt.toml")
    assert [e.caption for e in (first, second, third, fourth)] == [
        "jckt hoodie, x",
        "jckt hoodie",
        "c00, t",
        "c01.png, t",
    ]
    assert (first.repeats, first.batch, first.flip, first.words.keep, first.words.prefix) == (2, 3, True, 2, "photo,")
    assert sorted([third.validation, fourth.validation]) == [False, True] and third.words.keep_separator == "|||"
    rule = BucketRule((512, 512))
    assert first.bucket_rule(rule).bucket((300, 400)) == (192, 256)
    assert first.bucket_rule(rule).bucket((100, 400)) == (160, 288)  # (128, 384) is over max_bucket_reso
    assert third.bucket_rule(rule).bucket((100, 400)) == (128, 128)  # no buckets: cut to the square


def test_pictures_are_learnt_at_several_sizes(tmp_path: Path) -> None:
    write_people(tmp_path, 1)
    found = examples(tmp_path, model="sdxl", more_resolutions="768, 512")
    buckets = [e.bucket_rule(BucketRule((1024, 1024))).bucket((192, 256)) for e in found]
    assert [width * height for width, height in buckets] == pytest.approx([1024**2, 768**2, 512**2], rel=0.1)


def test_a_part_is_held_out_the_same_each_time(tmp_path: Path) -> None:
    write_people(tmp_path, 10)
    held_out = [[e.validation for e in examples(tmp_path, validation_split=0.2, seed=seed)] for seed in (1, 1, 2)]
    assert [sum(one) for one in held_out] == [2, 2, 2] and held_out[0] == held_out[1] != held_out[2]
    write_people(tmp_path / "one", 1)
    assert not examples(tmp_path / "one", validation_split=0.9)[0].validation

"""Sentences, English and Chinese, read for the layout."""

import pytest

from twinset.prompts.brief import POSE_WORDS, read_brief


def test_short_hair_red_dress_beach() -> None:
    brief = read_brief("short hair, red dress, beach")
    assert (brief.garments, brief.hair_length, brief.scene, brief.pose) == (("dress",), "short", "beach", None)


def test_chinese_sentence_says_the_same() -> None:
    brief = read_brief("亚洲女性，短发，微笑，穿着红色长裙站在海边")
    assert (brief.garments, brief.hair_length, brief.scene, brief.pose) == (("dress",), "short", "beach", "standing")


@pytest.mark.parametrize(
    ("text", "garments"),
    [
        ("a blue T-shirt and jeans", ("t_shirt", "trousers")),
        ("a white shirt with a skirt", ("shirt", "skirt")),
        ("a grey sweatshirt, shorts and sneakers", ("hoodie", "shorts", "shoes")),
        ("穿着白色T恤和蓝色短裤", ("t_shirt", "shorts")),
        ("绿色连衣裙，白色运动鞋", ("dress", "shoes")),
        ("黑色半身裙配衬衫", ("shirt", "skirt")),
        ("tank top", ("tank_top",)),
        ("undressed potatoes, topology, shorthand", ()),
        ("", ()),
    ],
)
def test_garments(text: str, garments: tuple[str, ...]) -> None:
    assert read_brief(text).garments == garments


@pytest.mark.parametrize(
    ("text", "length", "style"),
    [
        ("long black hair in a ponytail", "long", "ponytail"),
        ("Short Pink Hair", "short", None),
        ("双马尾", None, "twin_tails"),
        ("she has curly red hair", None, "curly"),
        ("nothing of the kind", None, None),
    ],
)
def test_hair(text: str, length: str | None, style: str | None) -> None:
    brief = read_brief(text)
    assert (brief.hair_length, brief.hair_style) == (length, style)


@pytest.mark.parametrize(
    ("text", "pose"), [("walking along the street", "walking"), ("双手叉腰", "hands_on_hips"), ("she waves", None)]
)
def test_pose(text: str, pose: str | None) -> None:
    assert read_brief(text).pose == pose


def test_every_pose_word_reads_as_its_own_pose() -> None:
    for pose, words in POSE_WORDS.items():
        assert {read_brief(word).pose for word in words} == {pose}

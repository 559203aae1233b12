"""Other scripts and languages: traditional Chinese, words outside the glossary, Japanese and European ones."""

from __future__ import annotations

import pytest

from twinset.prompts.brief import read_brief
from twinset.prompts.chinese import in_english
from twinset.prompts.languages import anglicised, simplified
from twinset.prompts.sentence import understand


def test_traditional_chinese_reads_as_simplified() -> None:
    traditional = "一位年輕女性，長髮，穿著紅色連衣裙，戴著眼鏡，站在海邊"
    plain = "一位年轻女性，长发，穿着红色连衣裙，戴着眼镜，站在海边"
    assert simplified(traditional) == plain
    one, other = read_brief(traditional), read_brief(plain)
    assert (one.clothes, one.hair_length, one.scene, one.rest) == (other.clothes, "long", "beach", ())


def test_full_width_letters_and_blanks_between_characters() -> None:
    assert read_brief("ｒｅｄ　ｄｒｅｓｓ").clothes == read_brief("red dress").clothes
    assert read_brief("红 裙 子 ， 长 发").clothes == read_brief("红裙子，长发").clothes


RENDERED = [("城堡", "castle"), ("听诊器", "stethoscope"), ("圣诞树", "christmas tree")]


@pytest.mark.parametrize(("chinese", "english"), RENDERED)
def test_words_outside_the_glossary_reach_families_that_read_english(chinese: str, english: str) -> None:
    assert in_english(chinese).lower() == english
    read = understand(f"穿红色连衣裙的女人，{chinese}", "sd15")
    assert english in read.prompt.lower() and read.brief.rest == (chinese,)
    assert any(chinese in note for note in read.notes)
    drawn = understand(f"穿红色连衣裙的女人，{chinese}", "studio")
    assert any(chinese in note and english in note.lower() for note in drawn.notes)


def test_what_is_refused_goes_to_the_negative_prompt_in_english() -> None:
    assert understand("穿大衣的女人，不要龙", "sd15").negative == "dragon"
    assert understand("没有胡子的男人，不要光", "sd15").negative == "beard, light"


@pytest.mark.parametrize(
    ("text", "language", "english"),
    [
        ("mujer con vestido rojo y pelo largo", "Spanish", "woman with red dress and long hair"),
        ("femme avec cheveux longs, robe bleue, plage", "French", "woman with long hair, blue dress, beach"),
        ("Frau mit langen blonden Haaren, rotes Kleid", "German", "woman with long blonde hair, red dress"),
        ("donna con vestito rosso", "Italian", "woman with red dress"),
        ("mulher de vestido azul, sorrindo", "Portuguese", "woman of blue dress, smiling"),
        ("白いシャツと青いジーンズの男性、公園", "Japanese", "white shirt and blue jeans man, park"),
        ("帽子なし、赤いドレス", "Japanese", "no hat, red dress"),
    ],
)  # fmt: skip
def test_common_words_of_other_languages(text: str, language: str, english: str) -> None:
    made, found = anglicised(text)
    assert (made, found) == (english, language)


@pytest.mark.parametrize(
    "text",
    ["a girl at a rock concert near a hut", "robe, rose, orange costume", "a man in a suit, no hat"],
)  # fmt: skip
def test_english_stays_english(text: str) -> None:
    assert anglicised(text) == (text, "")

"""Development sentences, prompts, conflicts, templates, weights and the command."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceTrainer
from transformers import MarianConfig, MarianMTModel
from typer.testing import CliRunner

from tests.helpers.both_families import FAMILIES, ours
from twinset.cli import app
from twinset.errors import InputError
from twinset.prompts.brief import Brief, Garment, read_brief
from twinset.prompts.conflicts import correct_words, follow_pictures, without_colours
from twinset.prompts.marks import mend
from twinset.prompts.translation import translate
from twinset.prompts.weighting import normalise_weights, weighted_embeddings
from twinset.prompts.wildcards import expand
from twinset.prompts.wording import write_prompts

LETTERS = "abcdefgh红色长裙"
BRIEFS = Path(__file__).with_name("briefs")
PLAIN = ("gender", "age", "ethnicity", "expression", "pose", "scene", "light", "art", "hair_colour", "beard")


def look(piece: Garment) -> str:
    """kind:colour:pattern:material, without empty ends."""
    return ":".join(part or "" for part in (piece.kind, piece.colour, piece.pattern, piece.material)).rstrip(":")


def told(brief: Brief) -> dict[str, object]:
    """A brief in the keys of the sentence files."""
    keys: dict[str, object] = {name: getattr(brief, name) for name in PLAIN}
    keys |= {"length": brief.hair_length, "style": brief.hair_style, "count": None if brief.count == 1 else brief.count}
    keys |= {"garments": sorted(map(look, brief.clothes)), "accessories": sorted(map(look, brief.accessories))}
    keys["negatives"] = sorted(brief.negatives)
    return {name: value for name, value in keys.items() if value}


def asked(expected: dict[str, object]) -> dict[str, object]:
    """What a sentence file expects, lists sorted."""
    return {name: sorted(value) if isinstance(value, list) else value for name, value in expected.items()}


def sentences(name: str, language: str) -> dict[str, dict[str, object]]:
    """Sentence to what it asks for."""
    return tomllib.loads((BRIEFS / f"{name}.toml").read_text(encoding="utf-8"))[language]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_development_sentences(language: str) -> None:
    wrong = [
        text
        for text, expected in sentences("development", language).items()
        if told(read_brief(text)) != asked(expected)
    ]
    assert wrong == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_held_out_rate(language: str) -> None:
    """Only the rate is told, so that nobody tunes on a sentence."""
    found = sentences("held_out", language).items()
    right = sum(told(read_brief(text)) == asked(expected) for text, expected in found)
    assert right / len(found) >= 0.95


@pytest.mark.parametrize(
    ("word", "mended"),
    [("trosuers", "trousers"), ("sneekers", "sneakers"), ("books", "books"), ("coast", "coast"), ("house", "house")],
)
def test_typing_errors(word: str, mended: str) -> None:
    assert mend(word) == mended


def test_what_is_not_understood_is_kept() -> None:
    assert read_brief("red dress, quantum foam").rest == ("quantum foam",)
    assert read_brief("红色长裙，量子").rest == ("量子",)


def test_prompts_of_families() -> None:
    brief = read_brief("一位亚洲女性，酒红色长裙，不要帽子，微笑")
    assert write_prompts(brief, "sd15").positive == "an Asian woman, burgundy long dress, smiling"
    assert write_prompts(brief, "sdxl").negative == "hat"
    studio = write_prompts(brief, "studio")
    assert (studio.positive, studio.negative) == ("a person, wearing red dress, smiling", "hat")
    with pytest.raises(InputError, match="'sd9'"):
        write_prompts(brief, "sd9")


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("red hat, red dress and a red bag", "red hat, blue dress and a red bag"),
        ("穿着红色连衣裙，红色鞋子", "穿着蓝色连衣裙,红色鞋子"),
        ("a Blue Dress", "a Blue Dress"),
        ("no red dress", "no red dress"),
    ],
)
def test_the_picture_wins(text: str, corrected: str) -> None:
    brief, conflicts = follow_pictures(read_brief(text), {"dress": ["blue"]})
    assert correct_words(text, conflicts) == corrected
    assert {piece.colour for piece in brief.clothes if piece.kind == "dress"} <= {"blue"}
    assert len(conflicts) == (text != corrected)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("red hair, Red Dress, beach", "red hair, dress, beach"),
        ("Blue and white striped shirt, red shoes", "striped shirt, shoes"),
        ("dress in red and boots in black", "dress in and boots in "),
        ("红白条纹衬衫，黑色的裤子，红色头发", "条纹衬衫,裤子,红色头发"),
        ("(red dress:1.3), beach", "(dress:1.3), beach"),
        ("no red dress, Beach", "no red dress, Beach"),
    ],
)
def test_colours_of_garments_alone_are_taken_out(text: str, plain: str) -> None:
    assert without_colours(text) == plain
    assert without_colours("red dress, blue coat", ["dress"]) == "red dress, coat"


@pytest.mark.parametrize(
    ("text", "outfit"),
    [
        ("a man dressed all in black, city", "black"), ("a girl in white on the beach", "white"),
        ("穿白色的女孩", "white"), ("一身黑", "black"), ("a woman in a red dress", None), ("in red light", None),
        ("in blue water", None), ("white snow", None), ("穿红色连衣裙", None),
    ],
)  # fmt: skip
def test_colour_of_all_that_is_worn(text: str, outfit: str | None) -> None:
    assert read_brief(text).outfit == outfit


def test_second_colours() -> None:
    pieces = [read_brief(text).clothes[0] for text in ("red and white striped shirt", "蓝白格子裙子", "red shirt")]
    assert [(piece.colour, piece.second) for piece in pieces] == [("red", "white"), ("blue", "white"), ("red", None)]
    coat, scarf = (*read_brief("red scarf and white coat").clothes, *read_brief("red scarf and white coat").accessories)
    assert (coat.colour, coat.second, scarf.colour) == ("white", None, "red")


def test_templates_follow_their_seed(tmp_path: Path) -> None:
    (tmp_path / "colour.txt").write_text("red\nblue\n")
    made = [expand("{long|short} __colour__ dress", seed, tmp_path) for seed in range(20)]
    assert made == [expand("{long|short} __colour__ dress", seed, tmp_path) for seed in range(20)]
    assert set(made) == {f"{a} {b} dress" for a in ("long", "short") for b in ("red", "blue")}
    for bad in ("{red|", "__nothing__"):
        with pytest.raises(InputError):
            expand(bad, 1, tmp_path)


def test_weights_in_both_notations() -> None:
    assert normalise_weights("a (red dress:1.3), (b)0.8, (c)") == "a (red dress)1.3, (b)0.8, (c)1.1"


@pytest.mark.parametrize("family", FAMILIES)
def test_weighted_words_change_the_embeddings(family: str) -> None:
    pipe = ours(family)
    plain, weighted, other = (weighted_embeddings(pipe, f"a {word} dress") for word in ("red", "(red:1.5)", "(red)1.5"))
    assert plain["prompt_embeds"].shape == plain["negative_prompt_embeds"].shape
    assert not torch.allclose(plain["prompt_embeds"], weighted["prompt_embeds"], atol=1e-4)
    assert torch.equal(weighted["prompt_embeds"], other["prompt_embeds"])
    assert ("pooled_prompt_embeds" in plain) == (family == "sdxl")


def test_translation_without_a_model_is_by_the_glossary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinset.prompts.translation.MODEL", "nobody/nothing")
    found = translate("红色连衣裙，海边")
    assert (found.text, found.translator) == ("a person, red dress, on the beach", "glossary")
    assert translate("red dress").translator == "none"
    with pytest.raises(InputError, match="lacks config"):
        translate("红色", tmp_path)


def test_translation_by_a_marian_model(tmp_path: Path) -> None:
    """A tiny random model in the folder is the one that generates."""
    config = MarianConfig(
        vocab_size=16, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=15, eos_token_id=0, decoder_start_token_id=15, forced_eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    MarianMTModel(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    found, again = translate("红色", tmp_path), translate("红色", tmp_path)
    assert found == again
    assert found.translator == str(tmp_path)
    assert set(found.text) <= set(LETTERS + " ")


def save_tokenizer(folder: Path) -> None:
    """A sentencepiece tokenizer of single letters, in Marian's three files."""
    pieces = ["</s>", "<unk>", "▁", *LETTERS, "<pad>"]
    for side in ("source", "target"):
        with (folder / f"{side}.spm").open("wb") as file:
            SentencePieceTrainer.train(
                sentence_iterator=iter([LETTERS] * 4), model_writer=file, model_type="char",
                vocab_size=len(LETTERS) + 4, character_coverage=1.0, minloglevel=2,
            )  # fmt: skip
    (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))


def test_command() -> None:
    result = CliRunner().invoke(app, ["brief", "短发，红色长裙，量子", "--family", "sd15", "--json"])
    found = json.loads(result.stdout)
    assert (found["brief"]["hair_length"], found["brief"]["rest"], found["translator"]) == (
        "short",
        ["量子"],
        "glossary",
    )
    assert "red long dress" in CliRunner().invoke(app, ["brief", "红色长裙", "--family", "sd15"]).stdout

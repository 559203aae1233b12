"""The benchmark of named colours: its sentences, its judges on true pictures, and a run of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twinset.benchmarks.judges import Judges
from twinset.benchmarks.named_colours import run as named_colours
from twinset.benchmarks.named_colours.run import (
    WAYS,
    Judged,
    cases,
    colour_key,
    colour_table,
    estimate,
    figures,
    judge_case,
    shares,
)
from twinset.benchmarks.named_colours.sentences import HELD_OUT, SPEECH, named_sentence
from twinset.figure.colours import CLOTH
from twinset.figure.labels import garment_slot
from twinset.figure.poses import placement
from twinset.perception.garments.colours import COLOURS
from twinset.prompts.brief import read_brief
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec


def test_sentences_come_of_their_number_and_say_what_they_name() -> None:
    one, again = (named_sentence(draw_plain_spec(60_001), "en", 60_001) for _ in range(2))
    assert one == again
    assert len({case.sentence.text for case in cases(60_000, 30)}) == 60
    for case in cases(60_000, 60):
        text = case.sentence.text.lower()
        assert all(piece.shade.lower() in text and piece.noun.lower() in text for piece in case.sentence.pieces)
        assert case.sentence.pieces and case.language == ("zh" if case.number % 2 else "en")


def test_the_reader_understands_the_sentences_it_was_built_with() -> None:
    for case in cases(60_000, 60):
        clothes = {place(piece.kind): piece.colour for piece in read_brief(case.sentence.text).clothes}
        assert clothes == {place(piece.kind): piece.colour for piece in case.sentence.pieces}, case.sentence.text


def place(kind: str) -> str:
    """Where a kind is worn: a sentence may call a hoodie a jumper, which is a kind of its own now."""
    return "dress" if kind == "dress" else garment_slot(kind)


def test_tuning_sees_half_of_the_templates() -> None:
    halves = {number: SPEECH["en"].templates[:: 1 if number >= HELD_OUT else 2] for number in (60_000, HELD_OUT)}
    assert len(halves[60_000]) * 2 == len(halves[HELD_OUT]) == 24


def test_every_colour_of_the_rule_has_a_key() -> None:
    assert {colour_key(name) for name in COLOURS} == set(CLOTH)


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges.load()


def test_judges_see_the_colours_of_true_pictures_and_no_others(judges: Judges) -> None:
    found: list[Judged] = []
    for case in cases(60_000, 12):
        spec = replace(case.spec, where=placement(case.sentence.framing))
        found += judge_case(judges, case, render.render_picture(spec), render.render_parsing(spec))
    clothes = [each for each in found if each.part != "hair"]
    for judge, least in (("rule", 0.9), ("network", 0.7)):
        assert shares(clothes, judge).mean() > least > 0.3 > shares(clothes, judge, turned=True).mean()


def test_a_garment_that_is_not_there_has_no_colour(judges: Judges) -> None:
    case = next(case for case in cases(60_000, 12) if case.sentence.framing == "full")
    spec = replace(case.spec, where=placement("full"))
    empty = render.render_scene(spec)
    found = judge_case(judges, case, empty, render.render_parsing(spec))
    assert [each.seen["rule"] for each in found if each.part != "hair"] == [()] * len(case.sentence.pieces)


def test_figures_are_shares_of_garments_resampled_by_sentence() -> None:
    made = [
        Judged(case, piece.slot, (piece.colour,), {"rule": (piece.colour,), "network": ("nothing",)}, 1.0)
        for case in cases(60_000, 8)
        for piece in case.sentence.pieces
    ]
    rows = figures(made)
    assert rows["all named garments"]["rule"].mean == 1.0 and rows["all named garments"]["both"].mean == 0.0
    assert (
        rows["all named garments"]["rule"].people
        == len(made)
        == sum(rows[part]["rule"].people for part in ("dress", "upper", "lower", "shoes"))
    )
    right = np.arange(len(made)) % 2 * 1.0
    share = estimate(made, right)
    assert share.low < share.mean < share.high and share.mean == right.mean()
    text = colour_table({"en": {"drawn from words": rows}})
    assert "| all named garments | 100 [100, 100] of" in text


@pytest.mark.long
def test_a_run_is_written_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--sentences", "1", "--first-seed", "60000", "--steps", "1", "--out", str(tmp_path)]
    named_colours.main(options)
    first = (tmp_path / "named_colours.md").read_text()
    monkeypatch.setattr(named_colours, "draw_case", None)  # all of it is on disk
    named_colours.main(options)
    assert (tmp_path / "named_colours.md").read_text() == first and (tmp_path / "named_colours.png").is_file()
    written = json.loads((tmp_path / "named_colours.json").read_text())
    assert set(written["figures"]["zh"]) == {*WAYS, "truth"} and written["run"]["first_seed"] == 60_000

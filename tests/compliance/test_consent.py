"""Consent: what it covers, what it binds, and what goes when it is withdrawn or over."""

from __future__ import annotations

import json
import multiprocessing
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinset import cli
from twinset.common.result_cache import PerceptionCache
from twinset.compliance.consent import (
    ConsentBook,
    ConsentError,
    ConsentStatement,
    Statement,
    outputs_of,
    read_statement,
)
from twinset.errors import InputError
from twinset.pipelines.generate import generate
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import read_request
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def statement(**more: Any) -> Statement:
    fields = {"person": "Mei", "purposes": ("promotion",), "until": date(2026, 12, 31), "given": NOW}
    return read_statement(**fields | more)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsentBook:
    monkeypatch.setenv("TWINSET_CONSENT", str(tmp_path / "consent"))
    return ConsentBook()


@pytest.fixture
def selfie(tmp_path: Path) -> Path:
    Image.fromarray(render.render_selfie(draw_plain_spec(61_010, "train"))).save(tmp_path / "me.png")
    return tmp_path / "me.png"


def test_a_use_is_covered_or_refused_with_the_reason(book: ConsentBook, selfie: Path) -> None:
    reference = book.record(statement())
    assert book.require(reference, [selfie], "promotion", NOW).person == "Mei"
    assert len(book.read(reference).selfies) == 1
    book.require(reference, [selfie], None, datetime(2026, 12, 31, 23, tzinfo=UTC))  # the last day
    with pytest.raises(ConsentError, match="covers promotion, not training"):
        book.require(reference, [selfie], "training", NOW)
    with pytest.raises(ConsentError, match="ended on 2026-12-31; ask 'Mei' again"):
        book.require(reference, [selfie], "promotion", datetime(2027, 1, 1, tzinfo=UTC))
    book.withdraw(reference, now=NOW)
    with pytest.raises(ConsentError, match="was withdrawn on 2026-05-01"):
        book.require(reference, [selfie], "promotion", NOW)
    with pytest.raises(ConsentError, match="is unknown"):
        book.require("0" * 16, [selfie])
    for bad in ("../../etc", "", "G" * 16):
        with pytest.raises(ConsentError, match="is not a reference"):
            book.read(bad)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"person": ""}, "person"), ({"purposes": ()}, "purposes"), ({"purposes": ("all",)}, "purposes"),
        ({"given": datetime(2026, 5, 1)}, "given"), ({"by": "signed"}, "needs its file"),
        ({"statement_sha256": "ab"}, "statement_sha256"), ({"until": "soon"}, "until"),
    ],
)  # fmt: skip
def test_statements_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        statement(**fields)


def test_the_book_is_its_owners_alone_and_a_damaged_entry_is_named(book: ConsentBook) -> None:
    reference = book.record(statement())
    path = book.root / f"{reference}.json"
    assert path.stat().st_mode & 0o077 == 0 and book.root.stat().st_mode & 0o077 == 0
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ConsentError, match="is damaged; record the consent again"):
        book.read(reference)


def test_what_was_seen_goes_with_the_consent(book: ConsentBook, tmp_path: Path) -> None:
    seen = PerceptionCache(tmp_path / "seen")
    mine, other = book.record(statement()), book.record(statement(person="Else"))
    pictures = [np.full((4, 4), value, np.uint8) for value in (1, 2)]
    for reference, picture in zip((mine, other), pictures, strict=True):
        with seen.watched() as names:
            seen("embedding", lambda: {"said": np.ones(3)}, picture, revision="r")
        book.bind(reference, seen=sorted(names))
    assert len(seen.entries()) == 2
    (deleted,) = book.withdraw(mine, cache=tmp_path / "seen")
    assert not deleted.exists() and len(seen.entries()) == 1 and book.withdraw(mine, cache=tmp_path / "seen") == []
    assert book.expire(tmp_path / "seen", NOW) == {}
    assert list(book.expire(tmp_path / "seen", NOW + timedelta(days=400))) == [other] and not seen.entries()


def bind_many(root: Path, reference: str, worker: int) -> None:
    book = ConsentBook(root)
    for number in range(20):
        book.bind(reference, selfies=[f"{worker}-{number}"])


@pytest.mark.long
def test_two_processes_may_bind_at_once(book: ConsentBook) -> None:
    reference = book.record(statement())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(bind_many, [(book.root, reference, worker) for worker in (0, 1)])
    assert len(book.read(reference).selfies) == 40


@pytest.mark.long
def test_a_request_is_drawn_under_its_consent_only(
    book: ConsentBook, selfie: Path, tmp_path: Path, studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "perception_cache", PerceptionCache(tmp_path / "seen"), raising=False)
    far = date.today() + timedelta(days=9)
    reference = book.record(statement(until=far))
    fields = {"prompt": "short hair", "selfie": selfie, "seed": 3, "steps": 1, "repair": False, "labels": False}
    (record,) = generate(studio, read_request(fields | {"consent": reference}), tmp_path / "out")
    assert record.request.consent == reference and book.read(reference).seen
    cached, stored = len(list((tmp_path / "seen").glob("*.npz"))), load_record(tmp_path / "out" / "0003.json")
    assert {path.name for path in outputs_of(reference, tmp_path / "out")} == {"0003.png", "0003.json"}
    deleted = book.withdraw(reference, cache=tmp_path / "seen")
    assert len(deleted) == cached + 3 > 3 and not list((tmp_path / "seen").glob("*.npz"))
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ConsentError, match="was withdrawn"):
        generate(studio, read_request(fields | {"consent": reference}), tmp_path / "out")
    with pytest.raises(ConsentError, match="was withdrawn"):
        replay(studio, stored, tmp_path / "again")


def test_the_commands(book: ConsentBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinset", "consent", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    (tmp_path / "signed.pdf").write_bytes(b"yes")
    asked = ("add", "Mei", "--purpose", "promotion", "--until", "2099-01-01")
    code, out, _ = run(*asked, "--statement", tmp_path / "signed.pdf")
    reference = out.strip()
    assert code == 0 and book.read(reference).statement.by == "signed"
    code, _, err = run(*asked)
    assert code == 2 and "no proof of consent" in err
    assert "write it as 2027-12-31" in run("add", "M", "--purpose", "training", "--until", "soon", "--agreed")[2]
    (told,) = json.loads(run("list", "--json")[1])
    assert ConsentStatement.model_validate(told).id == reference
    assert run("withdraw", reference)[0] == 0 and book.read(reference).withdrawn
    assert "was withdrawn" in run("list")[2]

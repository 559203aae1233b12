"""Withdrawal: everything that was made of a face goes, whatever it is called; what only looks alike stays."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinset import cli
from twinset.common.result_cache import PerceptionCache
from twinset.compliance.consent import ConsentBook, ConsentError, enter_file, outputs_of, read_statement
from twinset.pipelines.batch.manifest import items_of, read_batch_manifest
from twinset.pipelines.batch.page import write_pages
from twinset.pipelines.batch.run import batch_drawing, run_batch
from twinset.pipelines.generate import generate
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import read_request
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import draw_plain_spec

FAR = date.today() + timedelta(days=30)


def agreed(person: str) -> str:
    statement = read_statement(person=person, purposes=("promotion",), until=FAR, given=datetime.now(UTC))
    return ConsentBook().record(statement)


def contents(*folders: Path) -> dict[str, str]:
    """SHA-256 of every file → its path."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {hashlib.sha256(path.read_bytes()).hexdigest(): str(path) for path in files}


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsentBook:
    monkeypatch.setenv("TWINSET_CONSENT", str(tmp_path / "consent"))
    return ConsentBook()


def selfie(path: Path, number: int) -> Path:
    Image.fromarray(render.render_selfie(draw_plain_spec(61_010 + number, "train"))).save(path)
    return path


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["twinset", "consent", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return int(stop.value.code or 0)


@pytest.mark.long
def test_all_that_was_drawn_of_a_face_goes(
    book: ConsentBook, studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures, records, overlays, sheets, replays, embeddings, and a renamed copy elsewhere; no neighbour's."""
    out, cache = tmp_path / "out", tmp_path / "cache"
    monkeypatch.setenv("TWINSET_CACHE", str(cache))
    monkeypatch.setattr(studio, "perception_cache", PerceptionCache(cache / "seen"), raising=False)
    mei, mei_lin = agreed("Mei"), agreed("Mei Lin")
    common = {"prompt": "short hair", "steps": 1, "repair": False, "labels": False}
    beside = common | {"consent": mei_lin, "selfie": selfie(tmp_path / "me2.png", 5)}
    for seed in (7, 70):  # 0007-2.png … begin as 0007.png does
        generate(studio, read_request(beside | {"seed": seed, "prompt": "long hair"}), out)
    (out / "0007-regions-notes.txt").write_text("a neighbour's")
    neighbours = contents(out, cache)
    shown = {"selfie": selfie(tmp_path / "me.png", 0), "consent": mei, "show_regions": True}
    (record,) = generate(studio, read_request(common | shown | {"seed": 7}), out / "mei")
    generate(studio, read_request(common | shown | {"seed": 7, "num": 2}), out)  # 0007-2.png, 0008.png, sheet.png
    replay(studio, load_record(out / "mei" / record.picture.replace(".png", ".json")), out / "again")
    shutil.copy(out / "0008.png", tmp_path / "renamed copy.png")
    made = contents(out, cache).keys() - neighbours.keys()
    assert len(made) >= 10 and len(book.files(mei)) >= 9
    assert run("withdraw", mei, "--outputs", tmp_path) == 0
    left = contents(tmp_path / "out", cache, tmp_path)
    assert not made & left.keys(), {left[one] for one in made & left.keys()}
    sheet = {digest for digest, path in neighbours.items() if path.endswith("out/sheet.png")}  # written over
    assert neighbours.keys() - sheet <= left.keys()
    with pytest.raises(ConsentError, match="was withdrawn"):
        book.enter_file(mei, out / "x.png", b"x")


@pytest.mark.long
def test_a_batch_keeps_the_neighbours_items(book: ConsentBook, studio: Any, tmp_path: Path) -> None:
    people = {
        name: {"selfies": [str(selfie(tmp_path / f"{name}.png", number))], "consent": agreed(name)}
        for number, name in enumerate(("mei", "mei-lin"))
    }
    fields = {"people": people, "looks": {"a": {"words": "a dress"}}, "scenes": {"park": "in the park"}}
    options = {"defaults": {"steps": 1, "repair": False}, "formats": ["original", "square"]}
    (tmp_path / "m.yaml").write_text(json.dumps(fields | options))
    out, manifest = tmp_path / "out", read_batch_manifest(tmp_path / "m.yaml")
    items = items_of(manifest, tmp_path)
    done = run_batch(items, out, batch_drawing(studio), manifest.formats)
    assert (done.drawn, done.failed) == (2, {})
    write_pages(items, out, "both")
    other = contents(out / "items" / "mei-lin.a.park.1.1")
    assert run("withdraw", people["mei"]["consent"]) == 0
    assert list((out / "items" / "mei.a.park.1.1").iterdir()) == []
    assert contents(out / "items" / "mei-lin.a.park.1.1") == other and len(other) == 5
    sheets = [path.name for path in (out / "sheets").iterdir()]
    assert sheets == ["person-mei-lin.png"] and not (out / "index.html").exists()
    again = run_batch(items, out, batch_drawing(studio), manifest.formats)
    assert (again.kept, again.drawn, list(again.failed)) == (1, 0, ["mei.a.park.1.1"])
    assert write_pages(items, out, "one").is_file() and (out / "sheets" / "look-a.png").is_file()


def test_files_that_are_others_now_stay(book: ConsentBook, tmp_path: Path) -> None:
    consent = agreed("Mei")
    for name in ("kept.png", "changed.png", "linked.png", "gone.png"):
        enter_file(consent, tmp_path / name, name.encode())
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "changed.png").write_bytes(b"somebody else's picture, of that name")
    (tmp_path / "linked.png").rename(tmp_path / "others.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "others.png")
    (tmp_path / "gone.png").unlink()
    assert book.withdraw(consent) == [tmp_path / "kept.png"]
    assert (tmp_path / "changed.png").exists() and (tmp_path / "others.png").exists()
    assert book.withdraw(consent, folders=[tmp_path]) == [tmp_path / "others.png"]


@pytest.mark.parametrize("picture", ["", ".", "..", "../other.png", "/etc/passwd", None, 7])
def test_a_record_takes_nothing_but_its_picture(book: ConsentBook, picture: Any, tmp_path: Path) -> None:
    """As records were before the book had a list: an empty name once took the whole folder."""
    consent, folder = agreed("Mei"), tmp_path / "out"
    folder.mkdir()
    for name in ("0007.png", "0007-2.png", "00071.png", "other.json"):
        (folder / name).write_bytes(b"{}")
    (tmp_path / "other.png").write_bytes(b"x")
    (folder / "a.json").write_text(json.dumps({"request": {"consent": consent}, "picture": picture}))
    assert outputs_of(consent, folder) == []
    (folder / "a.json").write_text(json.dumps({"request": {"consent": consent}, "picture": "0007.png"}))
    assert outputs_of(consent, folder) == [folder / "a.json", folder / "0007.png"]


def test_an_embedding_is_entered_before_it_is_written(book: ConsentBook, tmp_path: Path) -> None:
    """A process that dies in the middle leaves nothing that nobody knows of."""
    consent, cache = agreed("Mei"), PerceptionCache(tmp_path / "seen")

    def dies() -> dict[str, np.ndarray]:
        assert len(book.read(consent).seen) == 1
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        cache.watched(lambda name: book.bind(consent, seen=[name])),
    ):
        cache("embedding", dies, np.zeros((2, 2)), revision="r")
    book.withdraw(consent, tmp_path / "seen")
    with (
        pytest.raises(ConsentError, match="was withdrawn"),
        cache.watched(lambda name: book.bind(consent, seen=[name])),
    ):
        cache("embedding", lambda: {"a": np.zeros(3)}, np.ones((2, 2)), revision="r")
    assert not (tmp_path / "seen").exists()


def test_a_line_that_was_cut_off_costs_no_other(book: ConsentBook, tmp_path: Path) -> None:
    consent = agreed("Mei")
    enter_file(consent, tmp_path / "a.png", b"a")
    (tmp_path / "a.png").write_bytes(b"a")
    with (book.root / f"{consent}.files").open("a") as file:
        file.write('{"path": "/tmp/x", "sha')
    assert (book.root / f"{consent}.files").stat().st_mode & 0o077 == 0
    assert book.withdraw(consent) == [tmp_path / "a.png"]

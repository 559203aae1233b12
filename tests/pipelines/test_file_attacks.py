"""Attacks by files: foreign records and folders, manifests that multiply, and ten processes at one folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinset.common import atomic_files
from twinset.common.paths import file_name
from twinset.errors import InputError
from twinset.pipelines import generate as generation
from twinset.pipelines.batch.ledger import Ledger
from twinset.pipelines.batch.manifest import items_of, read_batch_manifest
from twinset.pipelines.generate import generate
from twinset.pipelines.record import Record, load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request, read_request

FIELDS = {"prompt": "short hair", "seed": 7, "steps": 1, "repair": False, "labels": False}
ELSEWHERE = [
    "../evil.png", "/tmp/evil.png", "a/b.png", "", ".", "..", "..\\evil.png", "C:evil.png", "C:\\evil.png", ".bashrc",
    "a\0b.png", "a\nb.png", "x" * 300, "\u202egnp.exe",
]  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a file"):
        file_name(name)


def test_names_of_files() -> None:
    for name in ("0007.png", "0007-2.png", "Mei's look.png", "照片.png"):
        assert file_name(name) == name


@pytest.mark.long
def test_a_foreign_record_writes_nowhere_but_into_the_folder(studio: Any, tmp_path: Path) -> None:
    (record,) = generate(studio, read_request(FIELDS), tmp_path / "out")
    fields = json.loads((tmp_path / "out" / "0007.json").read_text())
    for name in ELSEWHERE:
        (tmp_path / "foreign.json").write_text(json.dumps(fields | {"picture": name}))
        with pytest.raises(InputError, match="is no Twinset record"):
            load_record(tmp_path / "foreign.json")
        with pytest.raises(InputError, match="not the name of a file"):  # one that was made without being checked
            replay(studio, record.model_copy(update={"picture": name}), tmp_path / "again")
    for threads in ("0", "-1", "9" * 30, "many", "١"):
        (tmp_path / "foreign.json").write_text(
            json.dumps(fields | {"machine": fields["machine"] | {"threads": threads}})
        )
        with pytest.raises(InputError, match="is no Twinset record"):
            load_record(tmp_path / "foreign.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "foreign.json", "out"]
    assert list((tmp_path / "again").iterdir()) == []


def test_a_foreign_batch_shows_no_file_from_elsewhere(tmp_path: Path) -> None:
    ledger, folder = Ledger(tmp_path), tmp_path / "items" / "a.b.c.1.1"
    folder.mkdir(parents=True)
    sound = {"picture": "0001.png", "formats": {"original": "0001.png"}, "files": {"0001.png": "0" * 64}}
    (folder / "item.json").write_text(json.dumps(sound))
    assert ledger.entry("a.b.c.1.1") == sound
    for wrong in (
        {"picture": "../../x.png"},
        {"formats": {"o": "/etc/x.png"}},
        {"files": {"../x": ""}},
        {"formats": 3},
    ):
        (folder / "item.json").write_text(json.dumps(sound | wrong))
        assert ledger.entry("a.b.c.1.1") is None


# Manifests


def manifest(path: Path, **more: Any) -> Path:
    fields = {"people": {"a": {"words": "a"}}, "looks": {"b": {"words": "b"}}, "scenes": {"c": "c"}}
    path.write_text(json.dumps(fields | more))
    return path


def many(count: int) -> dict[str, str]:
    return {f"x{number}": "y" for number in range(count)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variants": 1000, "poses": ["standing"] * 150}, "comes to 150000 pictures; a batch may have 100000"),
        ({"scenes": many(9000), "looks": {f"l{n}": {} for n in range(9000)}}, "combines 81000000 people"),
        ({"scenes": {"c": "y" * 1900}, "prompt": "$scene" * 300}, "comes to 570000 letters"),
        ({"scenes": {"c": "y" * 3000}}, "at most 2000 characters"), ({"leave_out": ["*/*/c"]}, "leaves out every"),
    ],
)  # fmt: skip
def test_a_small_manifest_does_not_grow(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Refused before anything is built: with 300 MB more than there is, and in a moment."""
    path = manifest(tmp_path / "promo.yaml", **fields)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=message):
        items_of(read_batch_manifest(path), tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


# One folder, many processes


def draw_into(out: Path, prompt: str, start: Any) -> None:
    """As `generate` writes, without a model."""
    request = Request(prompt=prompt, seed=7, labels=False)
    session: Any = SimpleNamespace(
        out=out, request=request, began=generation.time.time(),
        _record=lambda drawn, name, file: stored(request, name),
    )  # fmt: skip
    session._claimed = lambda drawn, picture: generation.Session._claimed(session, drawn, picture)
    start.wait()
    picture = Image.fromarray(np.full((32, 32, 3), sum(prompt.encode()) % 256, np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "finished", lambda *_: picture)
        generation.Session.write_one(session, SimpleNamespace(index=0, composition=None, outcome=None))  # type: ignore[arg-type]


def stored(request: Request, name: str) -> Record:
    told = {"format": 5, "picture": name, "sha256": "", "index": 0, "seed": 7, "request": request, "inputs": {}}
    more = {"composed": {}, "model": {}, "machine": {}, "scores": {}, "scored_by": "", "faults": [], "controller": []}
    return Record.model_validate(told | more | {"seconds": 0.0})


@pytest.mark.parametrize("same", [False, True], ids=["ten requests", "one request ten times"])
def test_ten_processes_keep_ten_pictures(same: bool, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(10)
    prompts = ["a hat" if same else f"a hat {number}" for number in range(10)]
    processes = [fork.Process(target=draw_into, args=(tmp_path, prompt, start)) for prompt in prompts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} == {0}
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == sorted(["0007.png", *(f"0007-{again}.png" for again in range(2, 11))])
    told = [load_record(path.with_suffix(".json")) for path in sorted(tmp_path.glob("*.png"))]
    assert sorted(record.request.prompt for record in told) == sorted(prompts)
    assert sorted(record.picture for record in told) == names and len(list(tmp_path.iterdir())) == 20


def test_the_same_request_once_more_is_written_anew(tmp_path: Path) -> None:
    for _ in range(2):
        draw_into(tmp_path, "a hat", threading.Barrier(1))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_is_claimed_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted")))
    assert atomic_files.create_atomic(tmp_path / "a", b"1", 0o666)
    assert not atomic_files.create_atomic(tmp_path / "a", b"2", 0o666)
    assert (tmp_path / "a").read_bytes() == b"1" and len(list(tmp_path.iterdir())) == 1

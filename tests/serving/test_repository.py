"""The repository: databases of earlier versions, what goes in comes out, and transactions."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from pathlib import Path

import pytest

from twinset.serving.contract import JobOut
from twinset.serving.repository import (
    Consent,
    Job,
    JobResult,
    PictureResult,
    Progress,
    Repository,
    Upload,
    Webhook,
    entities,
)

EARLIER = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, request TEXT NOT NULL, same TEXT NOT NULL, pictures INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued', attempts INTEGER NOT NULL DEFAULT 0, worker TEXT,
    lease REAL NOT NULL DEFAULT 0, made REAL NOT NULL, ended REAL, idempotency TEXT, consent TEXT,
    progress TEXT, result TEXT, webhook TEXT, webhook_state TEXT, webhook_told TEXT,
    webhook_tries INTEGER NOT NULL DEFAULT 0, webhook_next REAL NOT NULL DEFAULT 0, UNIQUE (owner, idempotency));
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, made);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, made REAL NOT NULL);
CREATE TABLE IF NOT EXISTS consents (id TEXT PRIMARY KEY, owner TEXT NOT NULL);
"""
"""The tables before there was a repository."""
DONE = {
    "pictures": [{"seed": 7, "scores": {"identity": 0.5}, "repairs": ["face"], "faults": []}], "files": ["0007.png"],
    "notes": ["a note"], "seconds": 1.5, "seen": ["faces-1.npz"],
}  # fmt: skip


def earlier_database(path: Path) -> None:
    """A file as the service wrote it before: a job that is done and told, one that waits, one set aside."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.executescript(EARLIER)
    request = json.dumps({"prompt": "hat", "owner": "shop", "selfies": ["1" * 32]})
    base.execute(
        "INSERT INTO jobs VALUES (?, 'shop', ?, 'same', 1, 'done', 1, 'w', 60, 10, 20, 'key', 'c1', ?, ?, "
        "'https://a.example/', 'delivered', NULL, 2, 30)",
        ("a" * 32, request, json.dumps({"picture": 0, "pictures": 1, "step": 4, "steps": 8}), json.dumps(DONE)),
    )
    columns = "id, owner, request, same, pictures, made, state, ended, result"
    row = f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    base.execute(row, ("b" * 32, "shop", request, request, 2, 11, "queued", None, None))
    base.execute(
        row, ("c" * 32, "shop", request, request, 1, 12, "failed", 13, json.dumps({"error": "its workers died"}))
    )
    base.execute("INSERT INTO uploads VALUES (?, 'shop', 'ab', 99, 5)", ("1" * 32,))
    base.execute("INSERT INTO consents VALUES ('c1', 'shop')")
    base.close()


def test_a_database_of_the_version_before_is_read(tmp_path: Path) -> None:
    earlier_database(tmp_path / "jobs.sqlite")
    repository = Repository(tmp_path / "jobs.sqlite")
    failed, queued, done = repository.jobs.latest("shop")
    assert done.result == JobResult(
        (PictureResult(7, {"identity": 0.5}, ("face",), ()),), ("0007.png",), ("a note",), 1.5, ("faces-1.npz",)
    )
    assert (done.created_at, done.ended_at, done.fingerprint, done.idempotency_key) == (10, 20, "same", "key")
    assert done.progress == Progress(0, 1, 4, 8) and done.webhook == Webhook("https://a.example/", "delivered", 2)
    assert (queued.state, queued.result, queued.webhook, queued.progress) == ("queued", JobResult(), None, None)
    assert failed.result == JobResult(error="its workers died") and JobOut.of(failed).error == "its workers died"
    assert repository.uploads.find("1" * 32, "shop") == Upload("1" * 32, "shop", "ab", 99, 5)
    assert repository.consents.find("c1", "shop") == Consent("c1", "shop")
    claimed = repository.jobs.claim_oldest("w", 100, 160)
    assert claimed and claimed.id == queued.id and claimed.attempts == 1


def test_a_database_of_the_version_before_learns_which_job_uses_which_upload(tmp_path: Path) -> None:
    earlier_database(tmp_path / "jobs.sqlite")
    for _ in range(2):  # opened once more, nothing is entered twice
        repository = Repository(tmp_path / "jobs.sqlite")
    assert repository.jobs.own_uploads("a" * 32) == []  # two others use it too
    for job in ("b" * 32, "c" * 32):
        repository.jobs.delete(job)
    assert repository.jobs.own_uploads("a" * 32) == ["1" * 32] and repository.uploads.unused_before(1e12) == []
    repository.jobs.delete("a" * 32)
    assert [upload.id for upload in repository.uploads.unused_before(1e12)] == ["1" * 32]


def test_the_tables_are_those_of_the_version_before(tmp_path: Path) -> None:
    earlier_database(tmp_path / "before.sqlite")
    Repository(tmp_path / "now.sqlite")
    layouts = []
    for name in ("before", "now"):
        base = sqlite3.connect(tmp_path / f"{name}.sqlite")
        tables = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        layouts.append({table: base.execute(f"PRAGMA table_info({table})").fetchall() for table in tables})
    assert {table: layouts[1][table] for table in layouts[0]} == layouts[0]
    assert set(layouts[1]) - set(layouts[0]) == {"job_uploads", "copies"}


def test_a_job_comes_out_as_it_went_in(tmp_path: Path) -> None:
    jobs = Repository(tmp_path / "jobs.sqlite").jobs
    job = Job(
        "a" * 32, "shop", '{"prompt": "x"}', "print", 2, 5.0, idempotency_key="k", consent="c",
        webhook=Webhook("https://a.example/"),
    )  # fmt: skip
    jobs.insert(job)
    assert jobs.find(job.id, "shop") == job == jobs.find_by_key("shop", "k") and jobs.find(job.id, "other") is None
    result = JobResult((PictureResult(1, {"a": 0.5}, (), ("x",)),), ("0001.png",), ("n",), 2.5, ("faces.npz",))
    assert jobs.claim_oldest("w", 6, 66) and jobs.end(job.id, "w", "done", 7.0, result)
    (delivery,) = jobs.claim_deliveries(8, 68, 8)
    assert delivery.job.result == result and delivery.webhook == Webhook("https://a.example/", "pending", 1)
    assert delivery.job.ended_at == 7.0 and delivery.job.webhook == delivery.webhook


def test_entities_are_frozen() -> None:
    kinds = [kind for kind in vars(entities).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) == 8 and all(vars(kind)["__dataclass_params__"].frozen for kind in kinds)


def test_what_fails_in_a_transaction_leaves_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "jobs.sqlite")
    with pytest.raises(KeyError), repository.transaction():
        repository.consents.insert(Consent("c1", "a"))
        with repository.transaction():  # a part of the outer one, which it does not end
            repository.consents.insert(Consent("c2", "a"))
        raise KeyError
    assert repository.consents.find("c1", "a") is None and repository.consents.find("c2", "a") is None
    repository.consents.insert(Consent("c1", "a"))
    assert Repository(tmp_path / "jobs.sqlite").consents.find("c1", "a")


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    repository, entered, over = Repository(tmp_path / "jobs.sqlite"), threading.Event(), threading.Event()

    def hold() -> None:
        with repository.transaction():
            entered.set()
            over.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    threading.Timer(0.2, over.set).start()
    repository.consents.insert(Consent("c1", "a"))
    assert over.is_set() and repository.consents.find("c1", "a")
    holder.join()

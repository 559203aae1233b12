"""Attacks on what runs by itself: full disks, locked databases, clocks that jump, and words that read like ids."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from tests.serving.test_service_worker import ORDER, drawn, made
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.queue import JobQueue
from twinset.serving.repository import JobResult, Repository, clocks, database
from twinset.serving.upkeep import Duty, Upkeep


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else holds the database's write lock."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


FAULTS = [
    sqlite3.OperationalError("database is locked"), sqlite3.OperationalError("database or disk is full"),
    sqlite3.DatabaseError("database disk image is malformed"), OSError(28, "No space left on device"),
    PermissionError(13, "Permission denied"), RuntimeError("can't start new thread"), KeyError("a fault of ours"),
]  # fmt: skip


def test_duties_outlive_whatever_they_meet() -> None:
    """As long as there are faults each round fails; the first without one catches up."""
    now, faults, rounds = [0.0], list(FAULTS), 0

    def flaky() -> float:
        nonlocal rounds
        rounds += 1
        now[0] += 50
        if faults:
            raise faults.pop()
        return 0.0

    registry = CollectorRegistry()
    duty = Duty("retention", flaky, patience=100.0)
    duty.wait_after_failure = lambda: 0.0  # type: ignore[method-assign]
    upkeep = Upkeep([duty, Duty("webhooks", lambda: 0.001, 100.0)], registry, lambda: now[0])

    async def until_mended() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(upkeep.run)
                while registry.get_sample_value("twinset_upkeep_failures_total", {"duty": "retention"}) != len(FAULTS):
                    await anyio.sleep(0.001)
                while duty.failures or rounds < len(FAULTS) + 2:
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()

    anyio.run(until_mended)
    assert "retention" not in upkeep.behind() and rounds > len(FAULTS)


def test_what_is_behind_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path, None)
    sweep = service.files.expire
    fault: list[Exception] = [sqlite3.OperationalError("database is locked")]
    monkeypatch.setattr(service.files, "expire", lambda *_: (_ for _ in ()).throw(fault[0]) if fault else sweep(3600))
    monkeypatch.setattr("twinset.serving.upkeep.LONGEST_WAIT", 0.01)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert client.get("/ready").status_code == 200
        service.upkeep.duties[0].patience = 0.05
        wait_for(lambda: client.get("/ready").status_code == 503)
        told = client.get("/ready").json()
        assert told["detail"] == "retention cannot be done" and client.get("/health").status_code == 200
        metrics = client.get("/metrics").text
        assert 'twinset_upkeep_failures_total{duty="retention"}' in metrics
        assert 'twinset_upkeep_age_seconds{duty="webhooks"}' in metrics
        service.upkeep.duties[0].patience = 600.0
        fault.clear()
        wait_for(lambda: not service.upkeep.duties[0].failures)
        assert client.get("/ready").status_code == 200


def wait_for(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_fault_of_a_sweep_keeps_nothing_else_from_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path, None)
    monkeypatch.setattr(service.files, "expire", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    job = service.queue.add("a", '{"prompt": "x"}', 1, consent="0" * 16)  # its entry is gone
    with pytest.raises(PermissionError):
        service.sweep()
    assert service.queue.job(job, "a") is None


# A locked database


def test_a_lock_lets_a_job_wait_and_never_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked while it is claimed, while it is drawn, and at its end."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    hold, held, over = threading.Event(), threading.Event(), threading.Event()

    def holding() -> None:
        while not over.is_set():
            if hold.wait(0.05):
                with locked(tmp_path / "jobs.sqlite"):
                    held.set()
                    time.sleep(0.4)
                hold.clear()
                held.clear()

    def draw(request: Any, out: Path, tell: Any) -> Any:
        hold.set()
        held.wait(10)
        result = drawn(request, out, tell)  # tells of its progress, which nobody can write down
        return result

    worker = made(tmp_path, draw)
    worker.pause = 0.05
    job = worker.queue.add("a", ORDER, 2)
    thread = threading.Thread(target=holding)
    thread.start()
    hold.set()
    held.wait(10)
    worker.run(lambda: "done" in worker.queue.counts(), idle=0.02)
    over.set()
    thread.join()
    row = worker.queue.job(job, "a")
    assert row and (row.state, row.attempts) == ("done", 1)


def test_uploads_that_cannot_be_looked_up_now_let_the_job_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = made(tmp_path)
    job = worker.queue.add("a", json.dumps({"prompt": "x", "owner": "a", "photo": "0" * 32}), 1)
    fault = sqlite3.OperationalError("disk I/O error")
    monkeypatch.setattr(worker.files, "entry", lambda *_: (_ for _ in ()).throw(fault))
    with pytest.raises(sqlite3.OperationalError):
        worker.once()
    row = worker.queue.job(job, "a")
    assert row and (row.state, row.attempts) == ("queued", 0)


def test_a_request_meets_a_lock_and_is_told_when_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    with TestClient(create_app(Service(tmp_path, None)), base_url="http://localhost") as client:
        with locked(tmp_path / "jobs.sqlite"):
            answer = client.post("/v1/jobs", json={"prompt": "x"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "15"), answer.text
            assert answer.json()["detail"] == "the queue cannot be used now"
        assert client.post("/v1/jobs", json={"prompt": "x"}).status_code == 202


# Clocks


class Clock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_is_set_loses_nothing(jump: timedelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that is drawn stays its worker's, no picture goes, no webhook waits for a year."""
    wall = Clock()
    monkeypatch.setattr(time, "time", wall)
    service = Service(tmp_path, None, Limits(keep=3600.0))
    done, mine = (service.queue.add("a", ORDER, 1, webhook="https://a.example/") for _ in "ab")
    assert service.queue.claim("w")
    service.queue.finish(done, "w", "done", JobResult())
    service.files.pictures(done).mkdir(parents=True)
    claimed = service.queue.claim("w")
    assert claimed and claimed.id == mine
    wall.now += jump.total_seconds()
    assert service.queue.claim("v") is None and service.queue.heartbeat(mine, "w")
    service.sweep()
    assert service.files.pictures(done).is_dir() and service.queue.job(done, "a")
    assert [one.job.id for one in service.queue.claim_deliveries(60)] == [done]


def test_what_a_wrong_clock_dated_is_neither_kept_for_ever_nor_waited_for(tmp_path: Path) -> None:
    """A machine that started with a clock a year ahead, and was then started anew with the right one."""
    year, now = 365 * 86_400.0, time.time()
    wrong = JobQueue(Repository(tmp_path / "jobs.sqlite", lambda: now + year, lambda: 1e6))
    ended, running = (wrong.add("a", ORDER, 1, webhook="https://a.example/") for _ in "ab")
    assert wrong.claim("w") and wrong.finish(ended, "w", "done", JobResult()) and wrong.claim("dead")
    wrong.record_delivery(ended, "pending", "no answer", 5.0)
    service = Service(tmp_path, None, Limits(keep=3600.0))
    upload = service.files.begin()
    upload.write_bytes(b"x")
    os.utime(upload, (now + year, now + year))
    service.repository.ticks = lambda: 10.0  # of a machine that has just started
    again = service.queue.claim("v")
    assert again and again.id == running
    assert [one.job.id for one in service.queue.claim_deliveries(60)] == [ended]
    service.sweep()
    assert service.queue.job(ended, "a") and upload.exists()
    service.repository.clock = lambda: now + 2 * 3600
    service.sweep()
    assert service.queue.job(ended, "a") is None and not upload.exists()


def test_the_service_and_its_workers_have_one_clock() -> None:
    assert abs(clocks.steady_clock()() - time.time()) < 5
    assert clocks.steady_clock(0.0)() == pytest.approx(clocks.running_seconds(), abs=1)


def test_expiry_takes_no_longer_for_each_job_that_there_is(tmp_path: Path) -> None:
    """Statements that SQLite runs for each job that goes: the same of 20 jobs and of 200."""
    steps = []
    for count in (20, 200):
        service = Service(tmp_path / str(count), None, Limits(keep=60.0, room=10**6))
        for number in range(count):
            fields = {"prompt": "x" * 200, "selfies": [f"{number:032x}"]}
            job = service.queue.add("a", json.dumps(fields), 1, uploads=fields["selfies"])
            service.queue.cancel(job, "a")
        ticks = 0

        def tick() -> int:
            nonlocal ticks
            ticks += 1
            return 0

        service.repository.clock = lambda: time.time() + 120
        service.repository.database.connection().set_progress_handler(tick, 100)
        assert service.files.expire(60.0) == count
        steps.append(ticks / count)
    assert steps[1] < 1.5 * steps[0], steps


# Words that read like ids


def test_an_id_in_free_text_owns_nothing(tmp_path: Path) -> None:
    service = Service(tmp_path, None)
    part = service.files.begin()
    part.write_bytes(b"a dress")
    upload = service.files.keep(part, "everybody")
    with TestClient(create_app(service), base_url="http://localhost") as client:
        talks = client.post("/v1/jobs", json={"prompt": f"a hat {upload.id}", "negative": upload.id}).json()["id"]
        wears = client.post("/v1/jobs", json={"prompt": "x", "garments": [{"upload": upload.id}]}).json()["id"]
        assert client.delete(f"/v1/jobs/{talks}").status_code == 204
        assert (service.files.uploads / upload.id).read_bytes() == b"a dress"
        assert client.delete(f"/v1/jobs/{wears}").status_code == 204
        assert not (service.files.uploads / upload.id).exists()


def test_an_upload_of_two_jobs_goes_with_the_second(tmp_path: Path) -> None:
    service = Service(tmp_path, None)
    part = service.files.begin()
    part.write_bytes(b"a dress")
    upload = service.files.keep(part, "a")
    jobs = [service.queue.add("a", ORDER, 1, uploads=[upload.id]) for _ in "ab"]
    left = []
    for job in jobs:
        row = service.queue.job(job, "a")
        assert row
        service.files.forget_job(row)
        left.append((service.files.uploads / upload.id).exists())
    assert left == [True, False]


def test_a_consents_end_is_dated_by_the_steady_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinset.compliance.consent import read_statement

    wall = Clock()
    monkeypatch.setattr(time, "time", wall)
    service = Service(tmp_path, None)
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    consent = service.book.record(
        read_statement(person="Mei", purposes=("try-on",), until=tomorrow, given=datetime.now(UTC))
    )
    job = service.queue.add("a", ORDER, 1, consent=consent)
    wall.now += 86_400.0 * 400
    service.sweep()
    assert service.queue.job(job, "a")

"""Crashes and full disks: what was whole stays whole, what was half is done again, and somebody is told."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.house.test_faults_http import room_for
from tests.pipelines.test_batch import drawn, items, manifest, whole
from tests.serving.test_service_worker import drawn as drawn_job
from tests.serving.test_service_worker import made
from twinset import cli
from twinset.cli import batch as batch_command
from twinset.common import atomic_files as whole_files
from twinset.common.atomic_files import write_atomic
from twinset.errors import InputError
from twinset.pipelines.batch.ledger import Ledger
from twinset.pipelines.batch.manifest import Item
from twinset.pipelines.batch.run import BatchOutcome, run_batch
from twinset.serving.queue import JobQueue
from twinset.serving.repository import Repository
from twinset.training.core.checkpoints import Checkpoints

ORDER = json.dumps({"prompt": "x", "num": 2, "owner": "a"})


def killed(work: Any) -> None:
    """Runs something in a process of its own, which must not come to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def die(*_: object) -> None:
    """A crash, here and now."""
    os.kill(os.getpid(), signal.SIGKILL)


# Files


def test_a_write_is_a_temporary_file_fsync_rename_and_fsync_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        did.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.lstrip(".").partition(".")[0])
        fsync(descriptor)

    def renamed(old: Any, new: Any) -> None:
        assert Path(old).read_bytes() == b"new" and path.read_bytes() == b"old"
        did.append("rename")
        replace(old, new)

    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(whole_files.os, "fsync", synced)
    monkeypatch.setattr(whole_files.os, "replace", renamed)
    write_atomic(path, "new")
    assert did == ["record", "rename", tmp_path.name] and [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "old")
    with room_for(1000), pytest.raises(OSError) as error:
        write_atomic(tmp_path / "a", bytes(5000))
    assert whole_files.disk_full(error.value) and (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


# Batches


def test_a_batch_killed_between_rename_and_its_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item failed, is tried again, is published, and the process dies before the old reason is gone."""
    wanted, out = items(tmp_path), tmp_path / "out"

    def failing(item: Item, folder: Path) -> Any:
        if item is wanted[0]:
            raise RuntimeError("no memory")
        return drawn(item, folder)

    assert set(run_batch(wanted, out, failing).failed) == {wanted[0].name}
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "forget_failure", lambda ledger, item: die() if item is wanted[0] else None)
        killed(lambda: run_batch(wanted, out, drawn, retry=True))
    assert Ledger(out).failure(wanted[0].name) and Ledger(out).entry(wanted[0].name)
    assert run_batch(wanted, out, drawn) == BatchOutcome(0, len(wanted), {}) and whole(out, wanted)


def test_a_full_disk_pauses_a_batch(tmp_path: Path) -> None:
    wanted, out = items(tmp_path), tmp_path / "out"
    asked: list[str] = []

    def large(item: Item, folder: Path) -> Any:
        asked.append(item.name)
        if len(asked) > 3:
            (folder / "large").write_bytes(bytes(3_000_000))
        return drawn(item, folder)

    with room_for(2_000_000), pytest.raises(InputError, match=r"no space left for .* run the same command again"):
        run_batch(wanted, out, large)
    ledger = Ledger(out)
    assert len(asked) == 4, "the disk is full for the next items too"
    assert [item.name for item in wanted if ledger.entry(item.name)] == asked[:3]
    assert not list(ledger.failures.iterdir()) and not list(ledger.unfinished.iterdir())
    assert run_batch(wanted, out, drawn) == BatchOutcome(len(wanted) - 3, 3, {}) and whole(out, wanted)


def test_the_command_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def large(item: Item, folder: Path) -> Any:
        (folder / "large").write_bytes(bytes(3_000_000))

    monkeypatch.setattr(batch_command, "_draw", lambda *given: large)
    monkeypatch.setattr(sys, "argv", ["twinset", "batch", str(manifest(tmp_path)), "-o", str(tmp_path / "out")])
    with room_for(2_000_000), pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr().err
    assert (
        end.value.code == 2 and "Traceback" not in told and "free some and run the same command again to resume" in told
    )


# Checkpoints


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    """The kernel refuses in the middle of torch's own writer."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, {"step": 1})
    with room_for(1_000_000), pytest.raises(OSError, match=r"cannot be written .*resumes from the last one .*00000001"):
        checkpoints.write(2, {"step": 2, "weights": torch.zeros(1_000_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.pt"]
    assert checkpoints.newest() == {"step": 1}


def test_kills_while_checkpoints_are_written_lose_at_most_the_last(tmp_path: Path) -> None:
    def save_on(first: int) -> None:
        torch.set_num_threads(1)  # OpenMP's threads do not outlive a fork
        for step in range(first, first + 10_000):
            Checkpoints(tmp_path).write(step, {"step": step, "weights": torch.full((200_000,), float(step))})
            (tmp_path / "told").write_text(str(step))

    dice, told, step = random.Random(3), tmp_path / "told", 0
    for _ in range(12):
        child = os.fork()
        if child == 0:
            save_on(step + 1)
        for _ in range(3000):  # until two more are written, on a machine of any speed
            if told.exists() and int(told.read_text() or 0) > step + 1:
                break
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = Checkpoints(tmp_path).newest()
        assert state and state["step"] >= max(step + 2, int(told.read_text() or 0))
        assert torch.equal(state["weights"], torch.full((200_000,), float(state["step"])))
        step = state["step"]


# Jobs


def test_a_worker_killed_between_rename_and_commit(tmp_path: Path) -> None:
    """The pictures are in place, and nobody knows: the job is drawn again, into the same place."""
    worker = made(tmp_path, lease=0.2)
    job = worker.queue.add("a", ORDER, 2)

    def first() -> None:
        late = made(tmp_path, lease=0.2)
        late.queue.finish = die  # type: ignore[method-assign, assignment]
        late.once()

    killed(first)
    pictures = worker.files.pictures(job)
    assert len(list(pictures.glob("*.png"))) == 2 and worker.queue.counts() == {"running": 1}
    time.sleep(0.25)
    again = made(tmp_path, lease=0.2)
    assert again.once() and not again.once()
    row = again.queue.job(job, "a")
    assert row and (row.state, row.attempts) == ("done", 2) and len(list(pictures.glob("*.png"))) == 2
    assert [path.name for path in pictures.parent.iterdir()] == ["pictures"]


def test_what_the_queue_does_not_know_is_swept_away(tmp_path: Path) -> None:
    """An upload that was moved and not entered, one half sent, and a deleted job's pictures that were left."""
    worker = made(tmp_path)
    known = worker.files.begin()
    Image.new("RGB", (8, 8)).save(known, "PNG")
    kept = worker.files.keep(known, "a")
    job = worker.queue.add("a", ORDER, 2)
    assert worker.once()
    lost, half = worker.files.uploads / ("0" * 32), worker.files.begin()
    for path in (lost, half):
        path.write_bytes(b"somebody's face")
    (left := worker.files.jobs / ("f" * 32)).mkdir()
    (left / "0.png").write_bytes(b"somebody's picture")
    worker.files.expire(3600)
    assert lost.exists() and half.exists() and not left.exists(), "what came just now may be on its way"
    for path in (lost, half):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    worker.files.expire(3600)
    assert [path.name for path in worker.files.uploads.iterdir()] == [kept.id]
    assert [path.name for path in worker.files.jobs.iterdir()] == [job]


def test_a_full_disk_lets_the_job_wait(tmp_path: Path) -> None:
    large = [True]

    def draw(request: Any, out: Path, tell: Any) -> Any:
        (out / "picture").write_bytes(bytes(4_000_000 if large[0] else 10))
        return drawn_job(request, out, tell)

    worker = made(tmp_path, draw)
    job = worker.queue.add("a", ORDER, 2)
    for _ in range(4):  # more often than a job is tried whose workers die
        with room_for(3_000_000), pytest.raises(OSError) as error:
            worker.once()
        assert whole_files.disk_full(error.value) and not list(worker.files.jobs.iterdir())
        row = worker.queue.job(job, "a")
        assert row and (row.state, row.attempts) == ("queued", 0)
    large[0] = False
    assert worker.once()
    row = worker.queue.job(job, "a")
    assert row and (row.state, row.attempts) == ("done", 1)


def test_a_worker_outlives_a_queue_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    worker = made(tmp_path)
    job, claim, full = worker.queue.add("a", ORDER, 2), worker.queue.claim, [True, True]

    def claimed(name: str) -> Any:
        if full:
            full.pop()
            raise sqlite3.OperationalError("database or disk is full")
        return claim(name)

    worker.queue.claim = claimed  # type: ignore[method-assign]
    with caplog.at_level("INFO", "twinset.serving"):
        worker.run(lambda: "done" in worker.queue.counts(), idle=0.01, pause=0.01)
    row = worker.queue.job(job, "a")
    assert row and row.state == "done" and caplog.text.count("disk_full") == 2
    worker.queue.claim = lambda worker: (_ for _ in ()).throw(sqlite3.OperationalError("no such table"))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        worker.run(lambda: False)


def test_a_transaction_that_sqlite_rolled_back_says_why(tmp_path: Path) -> None:
    queue = JobQueue(Repository(tmp_path / "jobs.sqlite"), room=10**6)
    connection = queue.repository.database.connection()
    connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the size that the file has
    with pytest.raises(sqlite3.OperationalError, match="is full"):
        for _ in range(20):
            queue.add("a", "x" * 2000, 1)
    connection.execute("PRAGMA max_page_count = 100000")
    job = queue.add("a", "x" * 2000, 1)
    claimed = queue.claim("w")
    assert claimed and claimed.id == job


# The command line


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(28, "No space left on device", "a.png"), "No space left on device: 'a.png'; free some space, and run"),
        (PermissionError(13, "Permission denied", "a.png"), "Permission denied: 'a.png'"),
        (FloatingPointError("the latents are not finite"), "twinset: the latents are not finite"),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory ran out (CUDA out of memory); ask for"),
        (MemoryError(), "memory ran out"),
    ],
)  # fmt: skip
def test_mishaps_are_one_line_and_exit_code_2(
    fault: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(cli, "app", lambda: (_ for _ in ()).throw(fault))
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert end.value.code == 2 and told in said and "Traceback" not in said


def test_faults_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda: (_ for _ in ()).throw(RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        cli.main()

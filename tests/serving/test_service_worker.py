"""Workers of the service: nothing lost, doubled or left behind, whoever dies or cancels when."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from twinset.common.result_cache import default_folder
from twinset.pipelines.request import Request
from twinset.serving.event_log import log_event
from twinset.serving.out_of_memory import SMALLER
from twinset.serving.queue import JobQueue
from twinset.serving.repository import Repository
from twinset.serving.storage import Files
from twinset.serving.worker import UndrawnError, Worker

ORDER = json.dumps({"prompt": "x", "num": 2, "owner": "a"})


def record(request: Request, name: str) -> Any:
    return SimpleNamespace(
        seed=0, scores={}, controller=[], faults=[], composed={"notes": []}, seconds=0.1, picture=name, request=request
    )


def drawn(request: Request, out: Path, tell: Any, pause: float = 0.0) -> Any:
    for index in range(request.num):
        tell(index, 1)
        Image.new("RGB", (8, 8), (index, 0, 0)).save(out / f"{index}.png")
        time.sleep(pause)
    return [record(request, f"{index}.png") for index in range(request.num)], []


def made(root: Path, draw: Any = drawn, lease: float = 60.0) -> Worker:
    repository = Repository(root / "jobs.sqlite")
    return Worker(JobQueue(repository, lease=lease), Files(root, repository), draw, "studio")


def test_what_a_cancel_overtakes_is_not_kept(tmp_path: Path) -> None:
    """The cancel comes when all is in place and only the word `done` is missing."""
    worker = made(tmp_path)
    job, finish = worker.queue.add("a", ORDER, 2), worker.queue.finish

    def late(*told: Any) -> bool:
        assert (worker.files.pictures(job) / "0.png").is_file() and worker.queue.cancel(job, "a")
        return finish(*told)

    worker.queue.finish = late  # type: ignore[method-assign]
    assert worker.once()
    row = worker.queue.job(job, "a")
    assert row and row.state == "cancelled" and not list(worker.files.jobs.iterdir())


def test_what_is_seen_in_a_job_deleted_meanwhile_goes(tmp_path: Path) -> None:
    default_folder().mkdir(parents=True, exist_ok=True)
    seen = default_folder() / "faces-test.npz"
    worker = made(tmp_path)
    job = worker.queue.add("a", ORDER, 2)

    def draw(request: Request, out: Path, tell: Any) -> Any:
        seen.write_bytes(b"an embedding")
        worker.files.forget_job(worker.queue.jobs.latest("a")[0])
        raise UndrawnError(ValueError("stopped"), [seen.name])

    worker.draw = draw
    assert worker.once() and not seen.exists()
    assert worker.queue.job(job, "a") is None and not list(worker.files.jobs.iterdir())


def test_a_failed_job_takes_what_was_seen_with_it(tmp_path: Path) -> None:
    default_folder().mkdir(parents=True, exist_ok=True)
    (seen := default_folder() / "faces-failed.npz").write_bytes(b"an embedding")

    def failing(request: Request, out: Path, tell: Any) -> Any:
        raise UndrawnError(KeyError("a fault of ours"), [seen.name])

    worker = made(tmp_path, failing)
    job = worker.queue.add("a", ORDER, 2)
    assert worker.once()
    row = worker.queue.job(job, "a")
    assert row and row.state == "failed" and "KeyError while drawing" in str(row.result.error)
    worker.files.forget_job(row)
    assert not seen.exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "fault", [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_is_tried_once_with_less(fault: Exception, tmp_path: Path) -> None:
    asked: list[Request] = []

    def hungry(request: Request, out: Path, tell: Any) -> Any:
        asked.append(request)
        (out / "half.png").write_bytes(b"half a picture")
        if len(asked) == 1 or request.num > 2:
            raise UndrawnError(fault, [])
        return drawn(request, out, tell)

    worker = made(tmp_path, hungry)
    job, too_large = worker.queue.add("a", ORDER, 2), worker.queue.add("a", ORDER.replace("2", "3"), 3)
    after = worker.queue.add("a", ORDER, 2)
    assert worker.once()
    row = worker.queue.job(job, "a")
    assert row and row.state == "done" and SMALLER in row.result.notes
    assert [(one.repair, one.candidates) for one in asked] == [(True, 2), (False, 1)]
    assert sorted(path.name for path in worker.files.pictures(job).iterdir()) == ["0.png", "1.png", "half.png"]
    assert worker.once() and len(asked) == 4 and worker.once()  # no third try; the next job is drawn
    states = [worker.queue.job(one, "a") for one in (too_large, after)]
    assert [row and row.state for row in states] == ["failed", "done"]


def test_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    asked: list[Request] = []

    def failing(request: Request, out: Path, tell: Any) -> Any:
        asked.append(request)
        raise RuntimeError("shapes do not fit")

    worker = made(tmp_path, failing)
    worker.queue.add("a", ORDER, 2)
    assert worker.once() and len(asked) == 1


def draw_all(root: Path) -> None:
    made(root, lambda request, out, tell: drawn(request, out, tell, 0.05), lease=2.0).run(lambda: False, idle=0.01)


def first_try(queue: JobQueue) -> bool:
    """Whether a job is drawn that was claimed once."""
    return any(job.state == "running" and job.attempts == 1 for job in queue.jobs.latest("a"))


@pytest.mark.long
def test_killed_workers_lose_and_double_nothing(tmp_path: Path) -> None:
    """SIGKILL again and again in the middle of jobs: in the end every job is done once, each picture whole."""
    queue = JobQueue(Repository(tmp_path / "jobs.sqlite"), lease=2.0)
    jobs = [queue.add("a", ORDER, 2) for _ in range(20)]
    fork, kills = multiprocessing.get_context("fork"), 0
    deadline = time.monotonic() + 60
    process = fork.Process(target=draw_all, args=(tmp_path,))
    process.start()
    while queue.waiting() and time.monotonic() < deadline:
        time.sleep(0.05)
        if kills < 3 and first_try(queue):  # three kills of one job would set it aside, as they should
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            kills += 1
            process = fork.Process(target=draw_all, args=(tmp_path,))
            process.start()
    process.kill()
    process.join()
    ended = queue.jobs.latest("a")
    assert queue.counts() == {"done": 20} and kills == 3, ended
    assert max(job.attempts for job in ended) > 1, "no worker was killed in the middle of a job"
    for job in jobs:
        pictures = sorted((tmp_path / "jobs" / job / "pictures").glob("*.png"))
        assert [Image.open(path).getpixel((0, 0)) for path in pictures] == [(0, 0, 0), (1, 0, 0)]
        row = queue.job(job, "a")
        assert row and row.result.files == ("0.png", "1.png")
        assert [path.name for path in (tmp_path / "jobs" / job).iterdir()] == ["pictures"], "parts of dead workers"


@pytest.mark.long
def test_two_jobs_on_one_pipeline_give_the_bytes_of_a_serial_run(studio: Any, tmp_path: Path) -> None:
    """A picture of a job does not depend on the jobs before it on the same pipeline."""
    from twinset.pipelines.generate import generate

    def draw(request: Request, out: Path, tell: Any) -> Any:
        return generate(studio, request, out, tell), []

    worker = made(tmp_path, draw)
    orders = [{"prompt": prompt, "seed": 3, "steps": 1, "repair": False, "owner": "a"} for prompt in ("hat", "coat")]
    jobs = [worker.queue.add("a", json.dumps(order), 1) for order in (*orders, orders[0])]
    while worker.once():
        pass
    pixels = [Image.open(worker.files.pictures(job) / "0003.png").tobytes() for job in jobs]
    assert pixels[0] == pixels[2] != pixels[1]


def test_the_journal_takes_no_personal_data() -> None:
    with pytest.raises(ValueError, match=r"\['prompt'\] may not be logged"):
        log_event("job", prompt="Mei in the park")

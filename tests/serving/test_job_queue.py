"""The durable queue: claimed once, counted, never lost, and never over room."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinset.serving.queue import MOST_ATTEMPTS, JobQueue, OtherRequestError, QueueFullError
from twinset.serving.repository import Job, JobResult, Progress, Repository


def queue(folder: Path, clock: Callable[[], float] = time.time, **more: Any) -> JobQueue:
    return JobQueue(Repository(folder / "jobs.sqlite", clock, clock), **more)


def claim_all(folder: Path, name: str, start: Any, told: Any) -> None:
    mine, jobs = [], queue(folder, room=10**6)
    start.wait()
    while (job := jobs.claim(name)) is not None:
        mine.append(job.id)
        assert jobs.finish(job.id, name, "done", JobResult())
        time.sleep(0.001)  # as if something were drawn
    told.put(mine)


@pytest.mark.long
def test_eight_processes_claim_each_of_a_thousand_jobs_once(tmp_path: Path) -> None:
    jobs = queue(tmp_path, room=10**6)
    with jobs.repository.transaction():
        for number in range(1000):
            jobs.jobs.insert(Job(f"{number:032x}", "a", "{}", "{}", 1, float(number)))
    fork = multiprocessing.get_context("fork")
    start, told = fork.Barrier(8), fork.Queue()
    processes = [fork.Process(target=claim_all, args=(tmp_path, f"w{number}", start, told)) for number in range(8)]
    for process in processes:
        process.start()
    claimed = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    counted = Counter(job for mine in claimed for job in mine)
    assert len(counted) == 1000 and set(counted.values()) == {1}
    assert jobs.counts() == {"done": 1000} and sum(bool(mine) for mine in claimed) > 1


def test_the_oldest_first_and_of_a_lost_worker_again(tmp_path: Path) -> None:
    now = [0.0]
    jobs = queue(tmp_path, lease=10.0, clock=lambda: now[0])
    first, second = jobs.add("a", "{}", 1), jobs.add("a", "{}", 1)
    claimed = jobs.claim("w")
    assert claimed and claimed.id == first and (jobs.claim("v") or claimed).id == second and jobs.claim("u") is None
    now[0] = 9.0
    assert jobs.heartbeat(first, "w", Progress(0, 1, 3))
    now[0] = 15.0  # the second's lease is over, the first's is not
    again = jobs.claim("u")
    assert again and (again.id, again.attempts) == (second, 2) and jobs.claim("x") is None
    assert not jobs.finish(second, "v", "done", JobResult())  # it is another's now
    assert jobs.finish(second, "u", "done", JobResult()) and not jobs.finish(second, "u", "failed", JobResult())


def test_a_poison_job_is_set_aside(tmp_path: Path) -> None:
    now = [0.0]
    jobs = queue(tmp_path, lease=1.0, clock=lambda: now[0])
    poison = jobs.add("a", "{}", 1)
    for attempt in range(MOST_ATTEMPTS):
        claimed = jobs.claim("w")
        assert claimed and claimed.attempts == attempt + 1
        now[0] += 2
    assert jobs.claim("w") is None
    row = jobs.job(poison, "a")
    assert row and row.state == "failed" and "set aside after 3 attempts" in str(row.result.error)


def test_room_is_counted_by_pictures(tmp_path: Path) -> None:
    jobs = queue(tmp_path, room=5)
    job = jobs.add("a", "{}", 3)
    with pytest.raises(QueueFullError, match="no room for 3 pictures: 3 of at most 5 wait"):
        jobs.add("a", "{}", 3)
    jobs.add("b", "{}", 2)
    assert jobs.cancel(job, "a") and jobs.waiting() == 2
    jobs.add("a", "{}", 3)


def test_an_idempotency_key_gives_the_same_job(tmp_path: Path) -> None:
    jobs = queue(tmp_path, room=1)
    job = jobs.add("a", "{1}", 1, "key")
    assert jobs.add("a", "{1}", 1, "key") == job  # although the queue is full
    with pytest.raises(OtherRequestError):
        jobs.add("a", "{2}", 1, "key")
    with pytest.raises(QueueFullError):
        jobs.add("b", "{1}", 1, "key")


def test_cancel_against_finish_has_one_end(tmp_path: Path) -> None:
    jobs = queue(tmp_path, room=10**6)
    for _ in range(30):
        job = jobs.add("a", "{}", 1)
        assert jobs.claim("w")
        won = race(lambda job=job: jobs.cancel(job, "a"), lambda job=job: jobs.finish(job, "w", "done", JobResult()))
        row = jobs.job(job, "a")
        assert row and [("cancelled", "done")[k] for k in won] == [row.state] and not jobs.heartbeat(job, "w")


def race(*attempts: Callable[[], bool]) -> list[int]:
    """Which of the attempts succeed when all are made at the same time."""
    won: list[int] = []
    threads = [
        threading.Thread(target=lambda k=k, attempt=attempt: won.append(k) if attempt() else None)
        for k, attempt in enumerate(attempts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_another_owners_job_is_none(tmp_path: Path) -> None:
    jobs = queue(tmp_path)
    job = jobs.add("a", "{}", 1)
    assert jobs.job(job, "b") is None and not jobs.cancel(job, "b") and jobs.job(job, "a")


def test_what_a_killed_process_accepted_is_there(tmp_path: Path) -> None:
    """Every id that was told before SIGKILL is in the queue afterwards."""
    receive, send = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        jobs = queue(tmp_path, room=10**6)
        while True:
            send.send(jobs.add("a", "{}", 1))
    send.close()
    time.sleep(0.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = []
    try:
        while receive.poll(0.2):
            told.append(receive.recv())
    except EOFError:
        pass
    known = queue(tmp_path).jobs.held()
    assert told and set(told) <= known and len(known) <= len(told) + 1

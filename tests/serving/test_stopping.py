"""SIGTERM: workers are told at once, jobs are finished or put back, and an open stream delays nothing for long."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.serving.test_service_worker import ORDER, drawn, made
from twinset.serving import launcher
from twinset.serving.repository import Repository
from twinset.serving.worker import Stopping


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def serving(root: Path, drain: float) -> Iterator[tuple[str, psutil.Process]]:
    """`twinset serve --open` with the bundled model, in a process of its own."""
    port = free_port()
    arguments = ["serve", "--open", "--port", str(port), "--root", str(root), "--drain-seconds", str(drain)]
    start = f"import sys; sys.argv[1:] = {arguments!r}; from twinset.cli import main; main()"
    with (root.parent / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", start], stdout=log, stderr=log)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 300
    try:
        while not ready(url):
            assert process.poll() is None and time.monotonic() < deadline, (root.parent / "log").read_text()
            time.sleep(0.2)
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.long
def test_sigterm_puts_the_job_back_and_leaves_nobody_behind(tmp_path: Path) -> None:
    """A job of an hour, an open stream of the page, and the signal: all over in a few seconds."""
    opened = threading.Event()
    with serving(tmp_path / "root", drain=2.0) as (url, process):

        def listen() -> None:
            with httpx.stream("GET", f"{url}/page/gradio_api/heartbeat/abc", timeout=None) as answer:
                for _ in answer.iter_raw():
                    opened.set()

        threading.Thread(target=lambda: silently(listen), daemon=True).start()
        order = {"prompt": "Mei Lin in a hat", "num": 16, "steps": 100, "candidates": 64, "repair": False}
        job = httpx.post(f"{url}/v1/jobs", json=order).json()["id"]
        while httpx.get(f"{url}/v1/jobs/{job}").json()["state"] != "running":
            time.sleep(0.1)
        opened.wait(30)
        children, began = process.children(recursive=True), time.monotonic()
        assert opened.is_set() and children
        process.terminate()
        process.wait(40)
        assert time.monotonic() - began < 20
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert not alive and gone
    row = Repository(tmp_path / "root" / "jobs.sqlite").jobs.find(job, "everybody")
    assert row and (row.state, row.attempts) == ("queued", 0)
    assert not list((tmp_path / "root" / "jobs").iterdir())
    log = (tmp_path / "log").read_text()
    assert "Mei Lin" not in log and job not in log, log


def silently(work: Any) -> None:
    with suppress(httpx.HTTPError):
        work()


class Told:
    """An event that was set, or not."""

    def __init__(self) -> None:
        self.told = False

    def is_set(self) -> bool:
        return self.told


def test_a_worker_stops_when_it_is_told_by_whomever() -> None:
    for tell in ("event", "signal", "death"):
        event, alive = Told(), [True]
        stopping = Stopping(event, lambda alive=alive: alive[0], drain=0.05)
        assert not stopping.asked() and not stopping.hurried()
        if tell == "event":
            event.told = True
        elif tell == "signal":
            stopping.signal(signal.SIGTERM, None)
        else:
            alive[0] = False
        assert stopping.asked() and not stopping.hurried()
        time.sleep(0.06)
        assert stopping.hurried()


def test_a_job_that_takes_too_long_is_put_back_as_if_nobody_had_begun_it(tmp_path: Path) -> None:
    worker = made(tmp_path, lambda request, out, tell: drawn(request, out, tell, 0.01))
    job, steps = worker.queue.add("a", ORDER, 2), []
    worker.hurried = lambda: len(steps) > 1 or steps.append(1) is not None
    assert worker.once()
    row = worker.queue.job(job, "a")
    assert row and (row.state, row.attempts) == ("queued", 0) and not list(worker.files.jobs.iterdir())
    assert os.path.isdir(worker.files.jobs)
    worker.hurried = lambda: False
    assert worker.once() and worker.queue.counts() == {"done": 1}


class Dead:
    """A worker's process that has died."""

    @staticmethod
    def is_alive() -> bool:
        return False


class Alive(Dead):
    """One that has not."""

    @staticmethod
    def is_alive() -> bool:
        return True


def test_a_machine_without_processes_keeps_no_worker_from_coming_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fork` fails for a while: the watch goes on, and replaces the dead when it can."""
    monkeypatch.setattr(launcher, "WATCH", 0.01)
    pool: Any = object.__new__(launcher.WorkerPool)
    pool.stop, pool.starting, pool.processes = threading.Event(), threading.Lock(), [Dead(), Alive()]
    kept, faults = pool.processes[1], [1, 2]

    def start() -> Any:
        if faults:
            faults.pop()
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return Alive()

    monkeypatch.setattr(pool, "_start", start)
    watch = threading.Thread(target=pool._watch)
    watch.start()
    deadline = time.monotonic() + 20
    while not pool.processes[0].is_alive():
        assert watch.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    pool.stop.set()
    watch.join(10)
    assert faults == [] and pool.processes[1] is kept

"""The service with its workers: processes that are replaced when they die."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.event_log import log_event, log_to_stderr
from twinset.serving.http_server import serve_until_told
from twinset.serving.ray_serve import serve_on_ray
from twinset.serving.repository.clocks import EPOCH
from twinset.serving.web.page import add_page
from twinset.serving.worker import DRAIN, job_drawing, work

LEASE, SPARE = 60.0, 10.0
"""Seconds until a silent worker's job is given to another; and, after the drain, until a worker is killed."""
WATCH = 1.0
"""Seconds between looks at the workers."""


class WorkerPool:
    """Worker processes; each that dies is replaced, until the pool is shut down.

    Args:
        count: processes.
        arguments: of `work`, without its events.
    """

    def __init__(self, count: int, *arguments: Any):
        self.context, self.arguments = get_context("spawn"), arguments
        self.ready, self.stop = self.context.Event(), self.context.Event()
        self.starting = threading.Lock()
        self.processes = [self._start() for _ in range(count)]
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()

    def _start(self) -> Any:
        process = self.context.Process(target=work, args=(*self.arguments, self.ready, self.stop))
        process.start()
        return process

    def _watch(self) -> None:
        while not self.stop.is_set():
            time.sleep(WATCH)
            try:
                self._replace_dead()
            except OSError as error:  # no memory or no processes left: perhaps the next time
                log_event("workers", problem=type(error).__name__)

    def _replace_dead(self) -> None:
        with self.starting:
            for index, process in enumerate(self.processes):
                if not process.is_alive() and not self.stop.is_set():
                    self.processes[index] = self._start()

    def alive(self) -> bool:
        """Whether a worker has its model loaded and none is missing."""
        return self.ready.is_set() and any(process.is_alive() for process in self.processes)

    def tell(self) -> None:
        """Tell every worker to stop after its job; returns at once."""
        self.stop.set()

    def shutdown(self, seconds: float) -> None:
        """Let every worker finish its job or put it back; one that does neither in time is killed, its job drawn later.

        Args:
            seconds: for all of them.
        """
        self.tell()
        deadline = time.monotonic() + seconds
        with self.starting:
            processes = list(self.processes)
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def run_service(
    root: Path, host: str, port: int, open_: bool, *, model: str, commercial: bool, offline: bool, safety: str,
    workers: int, room: int, pictures: int, keep: float, engine: str = "processes",
    choices: Mapping[str, Any] | None = None, optional_labels: bool = False,
    drain: float = DRAIN,
) -> None:  # fmt: skip
    """Serve until told to stop.

    Args:
        root: folder of everything that is kept.
        host, port: to listen on.
        open_: ask for no keys.
        model, commercial, offline: which pipeline the workers load.
        safety: level, see `Request`.
        workers: processes.
        room, pictures, keep: see `Limits`.
        engine: "processes" of this machine draw, or "ray": replicas of Ray Serve.
        choices: fields of every job's request that whoever runs the service chooses, see `CHOICES`.
        optional_labels: see `Limits`.
        drain: seconds for jobs and answers under way when told to stop; jobs that take longer are put back.
    """
    os.umask(0o077)  # what is written here is the service's user's alone
    log_to_stderr()
    keys = None if open_ else Keys(root / "keys.json")
    limits = Limits(room=room, pictures=pictures, keep=keep, optional_labels=optional_labels)
    if engine == "ray":
        make = partial(job_drawing, model, commercial, offline, keeps=False)
        options = {"make": make, "model": model, "safety": safety, "workers": workers, "choices": choices}
        serve_on_ray(root, host, port, keys, limits, **options)
        return
    pool = WorkerPool(workers, root, model, commercial, offline, safety, choices, room, LEASE, EPOCH, drain)
    service = Service(root, keys, limits, alive=pool.alive, lease=LEASE)
    try:
        app = add_page(create_app(service), keys, root, pictures)
        serve_until_told(app, host, port, drain, on_stop=pool.tell)
    finally:
        pool.shutdown(drain + SPARE)

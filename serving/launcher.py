"""The service with its workers: processes that are replaced when they die."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import uvicorn

from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.http_timeouts import ImpatientProtocol
from twinset.serving.ray_serve import serve_on_ray
from twinset.serving.web.page import add_page
from twinset.serving.worker import job_drawing, work

LEASE = 60.0
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
            self.processes = [p if p.is_alive() or self.stop.is_set() else self._start() for p in self.processes]

    def alive(self) -> bool:
        """Whether a worker has its model loaded and none is missing."""
        return self.ready.is_set() and any(process.is_alive() for process in self.processes)

    def shutdown(self, seconds: float = 60.0) -> None:
        """Let every worker finish its job; one that takes longer is killed, and its job drawn after a restart."""
        self.stop.set()
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()


def run_service(
    root: Path, host: str, port: int, open_: bool, *, model: str, commercial: bool, offline: bool, safety: str,
    workers: int, room: int, pictures: int, keep: float, engine: str = "processes",
    choices: Mapping[str, Any] | None = None,
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
    """
    keys, limits = None if open_ else Keys(root / "keys.json"), Limits(room=room, pictures=pictures, keep=keep)
    if engine == "ray":
        make = partial(job_drawing, model, commercial, offline, keeps=False)
        options = {"make": make, "model": model, "safety": safety, "workers": workers, "choices": choices}
        serve_on_ray(root, host, port, keys, limits, **options)
        return
    pool = WorkerPool(workers, root, model, commercial, offline, safety, choices, room, LEASE)
    service = Service(root, keys, limits, alive=pool.alive, lease=LEASE)
    try:
        app = add_page(create_app(service), keys, root, pictures)
        uvicorn.run(app, host=host, port=port, access_log=False, timeout_keep_alive=10, http=ImpatientProtocol)
    finally:
        pool.shutdown()

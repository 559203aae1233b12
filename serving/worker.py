"""A worker: claims jobs, draws them, and puts their pictures in place in one step."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from twinset.common.atomic_files import disk_full
from twinset.common.paths import file_name
from twinset.common.settings import set_consent_folder
from twinset.errors import InputError
from twinset.pipelines.record import Record
from twinset.pipelines.request import Request, read_request
from twinset.serving.contract import to_request
from twinset.serving.event_log import log_event, log_to_stderr
from twinset.serving.out_of_memory import SMALLER, free_memory, out_of_memory, smaller
from twinset.serving.queue import JobQueue
from twinset.serving.repository import (
    Job,
    JobResult,
    PictureResult,
    Progress,
    Repository,
    State,
    steady_clock,
    unavailable,
)
from twinset.serving.storage import CONSENTS, DATABASE, Files, publish

PAUSE = 15.0
"""Seconds until a worker looks whether a full disk has room again, or a locked database is free."""
DRAIN = 30.0
"""Seconds in which a worker that is to stop may finish its job; then the job waits again, as if nobody had begun it."""
ReportProgress = Callable[..., None]
"""Hears of the picture being drawn and of its steps; raises `StoppedError` when nobody wants it any more."""
DrawRequest = Callable[[Request, Path, ReportProgress], tuple[list[Record], list[str]]]
"""Draws a request into a folder: the records, and the names of the perception results that it made or used."""


class StoppedError(Exception):
    """The job was cancelled, deleted, or given to another worker."""


class PutBackError(Exception):
    """The worker is to stop, and the job takes longer than it may: it waits for the next one."""


class LostError(Exception):
    """Whoever drew the job died: it is drawn anew, three times at most."""


class UndrawnError(Exception):
    """Nothing came of a request.

    Args:
        reason: the error.
        cache_files: names of the perception results until then, which are deleted with the job.
    """

    def __init__(self, reason: Exception, cache_files: list[str]):
        super().__init__(str(reason))
        self.reason, self.cache_files = reason, cache_files


class Worker:
    """Draws jobs of a queue, one after another.

    Args:
        queue: where jobs wait.
        files: where uploads are and pictures go.
        draw: draws a request.
        model: the service's own, a profile's name or a folder.
        name: under which the queue knows it.
        safety: level of the service, see `Request`.
        choices: other fields of every request that are the service's own, see `CHOICES`.
        hurried: whether a job under way is to be put back now.
        pause: seconds between two tries where the disk or the database cannot be used.
    """

    def __init__(
        self,
        queue: JobQueue,
        files: Files,
        draw: DrawRequest,
        model: str,
        name: str | None = None,
        safety: str = "warn",
        choices: Mapping[str, Any] | None = None,
        hurried: Callable[[], bool] = lambda: False,
        pause: float = PAUSE,
    ):
        self.queue, self.files, self.draw, self.model, self.safety = queue, files, draw, model, safety
        self.choices, self.hurried, self.pause = dict(choices or {}), hurried, pause
        self.name = name or f"{os.getpid()}-{threading.get_ident()}"

    def run(self, stop: Callable[[], bool], idle: float = 0.2, pause: float | None = None) -> None:
        """Draw until told to stop; a job under way is finished first.

        Args:
            stop: asked between jobs.
            idle: seconds to wait where there is no job.
            pause: seconds to wait where disk or database cannot be used; the worker's own when None.
        """
        while not stop():
            try:
                wait = 0.0 if self.once() else idle
            except (OSError, sqlite3.OperationalError) as error:
                if not _passes(error):
                    raise
                log_event("disk_full" if disk_full(error) else "database_unavailable", worker=self.name)
                wait = self.pause if pause is None else pause
            time.sleep(wait)

    def once(self) -> bool:
        """Draw one job; False where none waits.

        Raises:
            OSError: the disk is full; the job waits again.
            sqlite3.OperationalError: the queue cannot be read or written now.
        """
        job = self.queue.claim(self.name)
        if job is None:
            return False
        with _Heartbeat(self.queue, job.id, self.name, self.hurried) as beat:
            state: State = "done"
            try:
                result = self._drawn(job, beat)
            except Exception as error:  # whatever fails in a job fails that job alone
                reason = error.reason if isinstance(error, UndrawnError) else error
                if isinstance(reason, LostError):
                    self._patiently(lambda: self.queue.release(job.id, self.name))
                    return True
                if isinstance(reason, PutBackError) or _passes(reason):
                    self._requeue(job)
                if isinstance(reason, PutBackError):
                    return True
                if _passes(reason):
                    raise reason from None
                state, result = "failed", self._failure(error)
            self._patiently(lambda: self._end(job, state, result))
        return True

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write to the queue what is known of a job as soon as that can be done: what is drawn is not drawn again."""
        while True:
            try:
                return write()
            except sqlite3.OperationalError as error:
                if not unavailable(error) or self.hurried():
                    raise
            log_event("database_unavailable", worker=self.name)
            time.sleep(self.pause)

    def _requeue(self, job: Job) -> None:
        """Make room, and let the job wait."""
        shutil.rmtree(self.files.jobs / job.id, ignore_errors=True)
        self._patiently(lambda: self.queue.requeue(job.id, self.name))

    def _failure(self, error: Exception) -> JobResult:
        """A failed job's result: the reason, and the perception results that are there nevertheless."""
        reason, cache_files = (error.reason, error.cache_files) if isinstance(error, UndrawnError) else (error, [])
        message = f"{type(reason).__name__} while drawing; try again, with fewer or smaller pictures"
        if isinstance(reason, InputError):
            message = _without_paths(str(reason), self.files)
        return JobResult(error=message, cache_files=tuple(cache_files))

    def _end(self, job: Job, state: State, result: JobResult) -> None:
        """Say how a job ended, unless it was cancelled, deleted or lost meanwhile: nothing of it is kept then."""
        if self.queue.finish(job.id, self.name, state, result):
            log_event("job", job=job.id, state=state, attempts=job.attempts, seconds=result.seconds or None)
            return
        if not self.queue.jobs.is_held(job.id):  # else another worker draws it, into the same folder
            shutil.rmtree(self.files.jobs / job.id, ignore_errors=True)
            self.files.delete_cache_files(result.cache_files)
        log_event("job", job=job.id, state="stopped", attempts=job.attempts)

    def _drawn(self, job: Job, beat: _Heartbeat) -> JobResult:
        """Draw into a folder aside, and move it into place when all is on disk."""
        fields = job.fields
        owner = fields.pop("owner")
        paths = partial(self.files.upload, owner=owner)
        request = read_request(to_request(fields, paths, self.model, self.safety) | self.choices)
        aside, place = self.files.jobs / job.id / f"part-{self.name}", self.files.pictures(job.id)
        shutil.rmtree(self.files.jobs / job.id, ignore_errors=True)  # of workers that died before they could say so
        aside.mkdir(parents=True)
        beat.pictures = request.num
        beat.report(0, 0)
        records, cache_files, notes = self._with_room(request, aside, beat.report)
        beat.report(len(records) - 1, records[-1].request.steps or 0)
        publish(aside, place)
        told = dict.fromkeys(note for record in records for note in record.composed.get("notes", ()))
        notes += [_without_paths(note, self.files) for note in told]
        return JobResult(
            pictures=tuple(map(_picture_result, records)),
            files=tuple(file_name(record.picture) for record in records),
            notes=tuple(notes),
            seconds=sum(record.seconds for record in records),
            cache_files=tuple(cache_files),
        )

    def _with_room(
        self, request: Request, aside: Path, report: ReportProgress
    ) -> tuple[list[Record], list[str], list[str]]:
        """Draw; where the memory does not suffice, once more with less: see `smaller`.

        Returns:
            Records, names of cache files, notes.
        """
        try:
            return *self.draw(request, aside, report), []
        except Exception as error:
            if not out_of_memory(error.reason if isinstance(error, UndrawnError) else error):
                raise
        log_event("out_of_memory", pictures=request.num)  # outside of the handler, whose traceback holds the tensors
        free_memory()
        shutil.rmtree(aside)
        aside.mkdir()
        return *self.draw(smaller(request), aside, report), [SMALLER]


class _Heartbeat:
    """Renews a job's lease from a thread of its own, and tells the drawing thread when to stop."""

    def __init__(self, queue: JobQueue, job: str, worker: str, hurried: Callable[[], bool]):
        self.queue, self.job, self.worker, self.hurried = queue, job, worker, hurried
        self.wanted, self.over = True, threading.Event()
        self.pictures = 0
        self.thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> _Heartbeat:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join()

    def _renew(self) -> None:
        while not self.over.wait(self.queue.lease / 4):
            self._beat(None)

    def _beat(self, progress: Progress | None) -> None:
        """Renew the lease, if the queue can be written now: else the next beat may get through."""
        try:
            self.wanted = self.wanted and self.queue.heartbeat(self.job, self.worker, progress)
        except sqlite3.Error as error:
            log_event("heartbeat", problem=type(error).__name__, worker=self.worker)

    def report(self, picture: int, step: int, steps: int | None = None) -> None:
        """Pass progress on: the picture, the steps done of it, and how many it has, where that is known.

        Raises:
            StoppedError: nobody wants the job any more.
            PutBackError: somebody else is to draw it.
        """
        self._beat(Progress(picture, self.pictures, step, steps))
        if not self.wanted:
            raise StoppedError
        if self.hurried():
            raise PutBackError


def _passes(error: BaseException) -> bool:
    """Whether a job that met an error should wait: the disk is full, or the database cannot be used now."""
    return disk_full(error) or unavailable(error)


def _picture_result(record: Record) -> PictureResult:
    return PictureResult(
        seed=record.seed,
        scores={name: round(value, 4) for name, value in record.scores.items()},
        repairs=tuple(step["what"] for step in record.controller if step["kept"]),
        faults=tuple(record.faults),
    )


def _without_paths(text: str, files: Files) -> str:
    """A message without the server's own paths."""
    return text.replace(f"{files.uploads}{os.sep}", "upload ").replace(str(files.root), "")


def job_drawing(model: str, commercial: bool = False, offline: bool = False, keeps: bool = True) -> DrawRequest:
    """Draws by a pipeline, loaded now; `keeps` what perception finds, from one job to the next."""
    from twinset.common.result_cache import PerceptionCache, default_folder
    from twinset.pipelines.generate import generate
    from twinset.pipelines.loading.load import load_pipeline

    pipe: Any = load_pipeline(model, commercial=commercial, offline=offline)
    if pipe.parts_on_demand is not None:
        pipe.parts_on_demand.stay_with_usual()
    pipe.set_progress_bar_config(disable=True)
    pipe.perception_cache = PerceptionCache(default_folder() if keeps else None)

    def draw(request: Request, out: Path, report: ReportProgress) -> tuple[list[Record], list[str]]:
        with pipe.perception_cache.watched() as names:
            try:
                return generate(pipe, request, out, report), sorted(names)
            except Exception as error:
                raise UndrawnError(error, sorted(names)) from error

    return draw


class Stopping:
    """Whether a worker's process is to stop, and whether it has had its time: told by its service, or by a signal.

    Args:
        event: set by the service.
        alive: whether the service is.
        drain: seconds for the job under way.
    """

    def __init__(self, event: Any, alive: Callable[[], bool], drain: float = DRAIN):
        self.event, self.alive, self.drain = event, alive, drain
        self.signalled = False
        self.since: float | None = None

    def signal(self, *_: object) -> None:
        """As a handler: SIGTERM may reach all processes of a group at once."""
        self.signalled = True

    def asked(self) -> bool:
        """Whether no further job should be begun."""
        stop = self.signalled or self.event.is_set() or not self.alive()
        if stop and self.since is None:
            self.since = time.monotonic()
        return stop

    def hurried(self) -> bool:
        """Whether the job under way should be put back."""
        return self.asked() and self.since is not None and time.monotonic() - self.since > self.drain


def work(
    root: Path, model: str, commercial: bool, offline: bool, safety: str, choices: Mapping[str, Any] | None, room: int,
    lease: float, epoch: float, drain: float, ready: Any, stop: Any,
) -> None:  # fmt: skip
    """What a worker's process runs.

    Args:
        root: folder of the service.
        model, commercial, offline: which pipeline.
        safety: level, see `Request`.
        choices: see `Worker`.
        room, lease: of the queue.
        epoch: of the service's clock, see `twinset.serving.repository.clocks`.
        drain: seconds in which a job under way may be finished when the worker is to stop.
        ready, stop: events shared with the service.
    """
    os.umask(0o077)  # what is written here is the service's user's alone
    service = parent_process()
    stopping = Stopping(stop, lambda: service is None or service.is_alive(), drain)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the service says when to stop
    signal.signal(signal.SIGTERM, stopping.signal)
    log_to_stderr()
    set_consent_folder(root / CONSENTS)  # so that a replay looks there too
    repository = Repository(root / DATABASE, steady_clock(epoch))
    queue, files = JobQueue(repository, room, lease), Files(root, repository)
    draw = job_drawing(model, commercial, offline)
    worker = Worker(queue, files, draw, model, safety=safety, choices=choices, hurried=stopping.hurried)
    ready.set()
    worker.run(stopping.asked)

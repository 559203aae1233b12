"""Files of the service's users: uploads and pictures, under names that it makes itself."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures import TimeoutError as LateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from twinset.common.atomic_files import private_folder, sync
from twinset.common.hashing import file_hash
from twinset.common.image_io import read_picture
from twinset.common.result_cache import default_folder
from twinset.errors import InputError
from twinset.serving.repository import Job, Repository, Upload
from twinset.serving.repository.jobs import FUTURE

DECODING, STARTING, QUEUEING = 20.0, 60.0, 30.0
"""Seconds after which a picture that is still being decoded is refused; that a decoder's process may take to start; and
that a picture waits for one."""
DATABASE = "jobs.sqlite"
"""File of the service's jobs, uploads and consents."""
CONSENTS = "consent"
"""Folder of the service's book of consents."""
PAGE, PAGE_KEEPS = "page", 3600.0
"""Folder of what the web page was given and shows; seconds after which its files go."""
SHOWN = f"{PAGE}/files/shown"
"""Folder of the pictures that the page shows, one folder for each job."""


class BusyError(Exception):
    """There is no room for another picture to be decoded; nothing is wrong with it.

    Args:
        status: HTTP's: 429 where its owner has too many on the way, 503 where all together have.
        detail: what is the matter, and what helps.
    """

    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status = status


class Decoder:
    """Decodes pictures in separate processes, so that a picture that crashes its decoder causes only an error.

    Owners take turns, and the last idle process is for one who has none at work: whoever sends pictures that take long
    keeps nobody else's waiting.

    Args:
        processes: how many, started when they are needed.
        share: pictures that one owner may have on the way.
        room: pictures of all owners on the way.
    """

    def __init__(self, processes: int = 3, share: int = 6, room: int = 24) -> None:
        self.share, self.room = share, room
        self.idle = [_DecoderProcess() for _ in range(processes)]
        self.processes = tuple(self.idle)
        self.waiting: dict[str, deque[_Turn]] = {}
        self.at_work: Counter[str] = Counter()
        self.changed = threading.Condition()

    def check(self, path: Path, owner: str = "") -> None:
        """Decode a picture.

        Raises:
            InputError: see `read_picture`; or it takes too long, or crashes the decoder.
            BusyError: there are too many on the way.
        """
        with self._turn(owner) as process:
            fault = process.decode(path)
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the processes; the next picture starts them again."""
        for process in self.processes:
            process.close()

    @contextmanager
    def _turn(self, owner: str) -> Iterator[_DecoderProcess]:
        """A process for one picture of an owner, when it is their turn."""
        turn = _Turn()
        with self.changed:
            self._admit(owner)
            self.waiting.setdefault(owner, deque()).append(turn)
            self._assign()
            self.changed.wait_for(lambda: turn.process is not None, QUEUEING)
            if turn.process is None:
                self.waiting[owner].remove(turn)
                raise BusyError(503, "too many pictures wait to be decoded; send this one again in a while")
        try:
            yield turn.process
        finally:
            with self.changed:
                self.at_work[owner] -= 1
                self.idle.append(turn.process)
                self._assign()

    def _admit(self, owner: str) -> None:
        own = len(self.waiting.get(owner, ())) + self.at_work[owner]
        if own >= self.share:
            raise BusyError(429, f"{own} of your pictures are being decoded; send this one when one of them is done")
        if sum(map(len, self.waiting.values())) + self.at_work.total() >= self.room:
            raise BusyError(503, "too many pictures wait to be decoded; send this one again in a while")

    def _assign(self) -> None:
        """Give idle processes to those who wait, owner after owner."""
        while self.idle:
            entitled = (one for one, turns in self.waiting.items() if turns and self._entitled(one))
            owner = next(entitled, None)
            if owner is None:
                break
            turns = self.waiting.pop(owner)
            turns.popleft().process = self.idle.pop()
            self.at_work[owner] += 1
            self.waiting[owner] = turns  # behind all others
        self.waiting = {owner: turns for owner, turns in self.waiting.items() if turns}
        self.at_work = +self.at_work
        self.changed.notify_all()

    def _entitled(self, owner: str) -> bool:
        return not self.at_work[owner] or len(self.idle) > 1


@dataclass(eq=False)
class _Turn:
    """One picture that waits, and the process that it is given."""

    process: _DecoderProcess | None = None


class _DecoderProcess:
    """A process that decodes one picture at a time; it is replaced when it dies or takes too long."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def decode(self, path: Path) -> InputError | None:
        """What is wrong with a picture."""
        try:
            if self.pool is None:
                self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
                self.pool.submit(int).result(STARTING)
            return self.pool.submit(fault_of, path).result(DECODING)
        except (BrokenProcessPool, CancelledError, LateError, OSError, RuntimeError):
            self.close()
            return InputError("picture could not be decoded; save it again as PNG or JPEG")

    def close(self) -> None:
        """End the process."""
        pool, self.pool = self.pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


def fault_of(path: Path) -> InputError | None:
    """What is wrong with a picture's file, without the server's path in it."""
    try:
        read_picture(path, "picture")
    except InputError as error:
        return type(error)(str(error).replace(repr(str(path)), "that was sent").replace(str(path), "that was sent"))
    return None


def publish(folder: Path, place: Path) -> None:
    """Move a folder into place when all in it is on disk: after a crash it is there whole, or not at all."""
    for path in (*sorted(folder.rglob("*")), folder):
        path.chmod(0o700 if path.is_dir() else 0o600)
        sync(path)
    os.replace(folder, place)
    sync(place.parent)


class Files:
    """Uploads in `uploads/ID`, pictures of jobs in `jobs/ID/`, their user's alone.

    Which upload a job uses, and where else an upload's bytes lie, is written down when it comes to be
    (`twinset.serving.repository`); what is deleted with what follows from there, never from names.

    Args:
        root: folder of the service.
        repository: knows whose uploads and jobs they are.
    """

    def __init__(self, root: Path, repository: Repository):
        self.root, self.repository = root, repository
        self.uploads, self.jobs = private_folder(root / "uploads"), private_folder(root / "jobs")

    def begin(self) -> Path:
        """A new file to write an upload to."""
        part = self.uploads / f"{uuid.uuid4().hex}.part"
        part.touch(0o600)
        return part

    def keep(self, part: Path, owner: str) -> Upload:
        """Make a written file an upload, once it is on disk."""
        digest = file_hash(part)
        sync(part)
        upload = Upload(part.stem, owner, digest, part.stat().st_size, self.repository.clock())
        os.replace(part, self.uploads / upload.id)
        sync(self.uploads)
        self.repository.uploads.insert(upload)
        return upload

    def entry(self, upload: str, owner: str) -> Upload:
        """An upload of this owner.

        Raises:
            InputError: there is none.
        """
        found = self.repository.uploads.find(upload, owner)
        if found is None:
            raise InputError(f"upload {upload[:40]!r} is unknown; send it to /v1/uploads first")
        return found

    def upload(self, upload: str, owner: str) -> Path:
        """The file of an upload of this owner.

        Raises:
            InputError: there is none.
        """
        return self.uploads / self.entry(upload, owner).id

    def forget_upload(self, upload: str) -> None:
        """Delete an upload, and its copies that are no other's."""
        for path in self.repository.uploads.own_copies(upload):
            Path(path).unlink(missing_ok=True)
        (self.uploads / upload).unlink(missing_ok=True)
        self.repository.uploads.delete(upload)

    def pictures(self, job: str) -> Path:
        """Folder of a job's pictures, there when it is done."""
        return self.jobs / job / "pictures"

    def forget_job(self, job: Job) -> None:
        """Delete a job: its row, pictures, inputs that no other job uses, and what was seen in them."""
        self.delete_cache_files(job.result.cache_files)
        uploads = self.repository.jobs.own_uploads(job.id)
        self.repository.jobs.delete(job.id)
        for folder in (self.jobs / job.id, self.root / SHOWN / job.id):
            shutil.rmtree(folder, ignore_errors=True)
        for upload in uploads:
            self.forget_upload(upload)

    def delete_cache_files(self, names: Iterable[str]) -> None:
        """Delete perception results, by their files' names."""
        for name in names:
            with suppress(OSError):
                (default_folder() / Path(name).name).unlink()

    def forget_strays(self) -> int:
        """Delete folders that dead workers left of cancelled, deleted or failed jobs; returns how many."""
        found = [path.name for path in self.jobs.iterdir()]  # before the rows: a folder is never there before its row
        held = self.repository.jobs.held()
        strays = [name for name in found if name not in held]
        for name in strays:
            shutil.rmtree(self.jobs / name, ignore_errors=True)
        return len(strays)

    def expire(self, seconds: float) -> int:
        """Delete jobs that ended, and uploads that arrived, more than `seconds` ago; returns how many jobs.

        The page's old files go too, and what the queue does not know: a process that died had no time to enter it.
        """
        now = self.repository.clock()
        before = now - seconds
        self.repository.jobs.date_from_now(now)
        self.repository.uploads.date_from_now(now)
        old = self.repository.jobs.ended_before(before)
        for job in old:
            self.forget_job(job)
        for upload in self.repository.uploads.unused_before(before):
            self.forget_upload(upload.id)
        for path in (self.root / PAGE).rglob("*"):
            if path.is_file() and self._older(path, now - min(seconds, PAGE_KEEPS)):
                path.unlink(missing_ok=True)
        self.forget_strays()
        self._forget_unknown(before)
        return len(old)

    def _forget_unknown(self, before: float) -> None:
        """Delete files of uploads that were never entered."""
        uploads = self.repository.uploads.ids()
        for path in self.uploads.iterdir():
            with suppress(FileNotFoundError):
                if path.name not in uploads and self._older(path, before):
                    path.unlink()

    def _older(self, path: Path, before: float) -> bool:
        """Whether a file was last written before a time; one of the future, by a clock that was wrong, is of now."""
        written, now = path.stat().st_mtime, self.repository.clock()
        if written > now + FUTURE:
            os.utime(path, (now, now))
        return written < before

"""Files of the service's users: uploads and pictures, under names that it makes itself."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as LateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from twinset.common.atomic_files import sync
from twinset.common.hashing import file_hash
from twinset.common.image_io import read_picture
from twinset.common.result_cache import default_folder
from twinset.errors import InputError
from twinset.serving.repository import Job, Repository, Upload

DECODING = 20.0
"""Seconds after which a picture that is still being decoded is refused."""
DATABASE = "jobs.sqlite"
"""File of the service's jobs, uploads and consents."""
CONSENTS = "consent"
"""Folder of the service's book of consents."""
PAGE, PAGE_KEEPS = "page", 3600.0
"""Folder of what the web page was given and shows, pictures as `JOB-NUMBER.png`; seconds after which they go."""
IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class Decoder:
    """Decodes pictures in a separate process, so that a picture that crashes the decoder causes only an error."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def check(self, path: Path) -> None:
        """Decode a picture.

        Raises:
            InputError: see `read_picture`; or it takes too long, or crashes the decoder.
        """
        if self.pool is None:
            self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            fault = self.pool.submit(fault_of, path).result(timeout=DECODING)
        except (BrokenProcessPool, LateError):
            self.close()
            fault = InputError("picture could not be decoded; save it again as PNG or JPEG")
        if fault is not None:
            raise fault

    def close(self) -> None:
        """End the process."""
        if self.pool is not None:
            for process in list((self.pool._processes or {}).values()):
                process.kill()
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None


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
        sync(path)
    os.replace(folder, place)
    sync(place.parent)


class Files:
    """Uploads in `uploads/ID`, pictures of jobs in `jobs/ID/`.

    Args:
        root: folder of the service, its user's alone.
        repository: knows whose uploads and jobs they are.
    """

    def __init__(self, root: Path, repository: Repository):
        self.root, self.repository = root, repository
        self.uploads, self.jobs = root / "uploads", root / "jobs"
        for folder in (self.uploads, self.jobs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self) -> Path:
        """A new file to write an upload to."""
        return self.uploads / f"{uuid.uuid4().hex}.part"

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
        """Delete an upload."""
        (self.uploads / upload).unlink(missing_ok=True)
        self.repository.uploads.delete(upload)

    def pictures(self, job: str) -> Path:
        """Folder of a job's pictures, there when it is done."""
        return self.jobs / job / "pictures"

    def forget_job(self, job: Job) -> None:
        """Delete a job: its row, pictures, inputs that no other job uses, and what was seen in them."""
        self.delete_cache_files(job.result.cache_files)
        self.repository.jobs.delete(job.id)
        shutil.rmtree(self.jobs / job.id, ignore_errors=True)
        for shown in (self.root / PAGE).rglob(f"{job.id}-*"):
            shown.unlink(missing_ok=True)
        others = self.repository.jobs.requests()
        for upload in set(IDENTIFIER.findall(job.request)):
            if not any(upload in request for request in others):
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
        before = self.repository.clock() - seconds
        old = self.repository.jobs.ended_before(before)
        for job in old:
            self.forget_job(job)
        used = " ".join(self.repository.jobs.requests())
        for upload in self.repository.uploads.created_before(before):
            if upload.id not in used:
                self.forget_upload(upload.id)
        page_before = self.repository.clock() - min(seconds, PAGE_KEEPS)
        for path in (self.root / PAGE).rglob("*"):
            if path.is_file() and path.stat().st_mtime < page_before:
                path.unlink(missing_ok=True)
        self.forget_strays()
        self._forget_unknown(before)
        return len(old)

    def _forget_unknown(self, before: float) -> None:
        """Delete files of uploads that were never entered."""
        uploads = self.repository.uploads.ids()
        for path in self.uploads.iterdir():
            with suppress(FileNotFoundError):
                if path.name not in uploads and path.stat().st_mtime < before:
                    path.unlink()

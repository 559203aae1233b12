"""What the service keeps of its users: uploads and pictures, under names that it makes itself."""

from __future__ import annotations

import hashlib
import json
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
from typing import Any

from twinset.common.atomic_files import sync
from twinset.common.image_io import read_picture
from twinset.common.result_cache import default_folder
from twinset.errors import InputError
from twinset.serving.queue import HELD, JobQueue

DECODING = 20.0
"""Seconds after which a picture that is still being decoded is refused."""
CONSENTS = "consent"
"""Folder of the service's book of consents."""
PAGE, PAGE_KEEPS = "page", 3600.0
"""Folder of what the web page was given and shows, pictures as `JOB-NUMBER.png`; seconds after which they go."""
IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class Decoder:
    """Decodes pictures in a process of its own, so that one that crashes the decoder costs no more than an error."""

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
            fault = InputError("picture could not be decoded; save it anew as PNG or JPEG")
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
        queue: knows whose uploads they are.
    """

    def __init__(self, root: Path, queue: JobQueue):
        self.root, self.queue = root, queue
        self.uploads, self.jobs = root / "uploads", root / "jobs"
        for folder in (self.uploads, self.jobs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self) -> Path:
        """A new file to write an upload to."""
        return self.uploads / f"{uuid.uuid4().hex}.part"

    def keep(self, part: Path, owner: str) -> str:
        """Make a written file an upload, once it is on disk; its id."""
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sync(part)
        upload = part.stem
        row = (upload, owner, digest, part.stat().st_size, self.queue.clock())
        os.replace(part, self.uploads / upload)
        sync(self.uploads)
        with self.queue.writing() as base:
            base.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", row)
        return upload

    def upload(self, upload: str, owner: str) -> Path:
        """The file of an upload of this owner.

        Raises:
            InputError: there is none.
        """
        mine = IDENTIFIER.fullmatch(upload) and self.queue.reading(
            "SELECT id FROM uploads WHERE id = ? AND owner = ?", upload, owner
        )
        if not mine:
            raise InputError(f"upload {upload[:40]!r} is not there; send it to /v1/uploads first")
        return self.uploads / upload

    def forget_upload(self, upload: str) -> None:
        """Delete an upload."""
        (self.uploads / upload).unlink(missing_ok=True)
        with self.queue.writing() as base:
            base.execute("DELETE FROM uploads WHERE id = ?", (upload,))

    def pictures(self, job: str) -> Path:
        """Folder of a job's pictures, there when it is done."""
        return self.jobs / job / "pictures"

    def forget_job(self, row: dict[str, Any]) -> None:
        """Delete a job: its row, pictures, inputs that no other job uses, and what was seen in them."""
        self.forget_seen(json.loads(row["result"] or "{}").get("seen", ()))
        self.queue.forget(row["id"])
        shutil.rmtree(self.jobs / row["id"], ignore_errors=True)
        for shown in (self.root / PAGE).rglob(f"{row['id']}-*"):
            shown.unlink(missing_ok=True)
        others = self.queue.reading("SELECT request FROM jobs")
        for upload in set(IDENTIFIER.findall(row["request"])):
            if not any(upload in other["request"] for other in others):
                self.forget_upload(upload)

    def forget_seen(self, names: Iterable[str]) -> None:
        """Delete what perception kept, by its files' names."""
        for name in names:
            with suppress(OSError):
                (default_folder() / Path(name).name).unlink()

    def forget_strays(self) -> int:
        """Delete what dead workers left of jobs that were cancelled, deleted or set aside; how many folders."""
        found = [path.name for path in self.jobs.iterdir()]  # before the rows: a folder is never there before its row
        held = {row["id"] for row in self.queue.reading(f"SELECT id FROM jobs WHERE {HELD}")}
        strays = [name for name in found if name not in held]
        for name in strays:
            shutil.rmtree(self.jobs / name, ignore_errors=True)
        return len(strays)

    def expire(self, seconds: float) -> int:
        """Delete jobs that ended, and uploads that came, so long ago; how many jobs.

        The page's old files go too, and what the queue does not know: a process that died had no time to enter it.
        """
        before = self.queue.clock() - seconds
        old = self.queue.reading("SELECT * FROM jobs WHERE ended IS NOT NULL AND ended < ?", before)
        for row in old:
            self.forget_job(row)
        used = " ".join(row["request"] for row in self.queue.reading("SELECT request FROM jobs"))
        for row in self.queue.reading("SELECT id FROM uploads WHERE made < ?", before):
            if row["id"] not in used:
                self.forget_upload(row["id"])
        kept_until = self.queue.clock() - min(seconds, PAGE_KEEPS)
        for path in (self.root / PAGE).rglob("*"):
            if path.is_file() and path.stat().st_mtime < kept_until:
                path.unlink(missing_ok=True)
        self.forget_strays()
        self._forget_unknown(before)
        return len(old)

    def _forget_unknown(self, before: float) -> None:
        """Delete files of uploads that were never entered."""
        uploads = {row["id"] for row in self.queue.reading("SELECT id FROM uploads")}
        for path in self.uploads.iterdir():
            with suppress(FileNotFoundError):
                if path.name not in uploads and path.stat().st_mtime < before:
                    path.unlink()

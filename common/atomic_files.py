"""Files that are whole or not there, whatever ends the program; and how a full disk is told."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_whole(path: Path, content: bytes | str, mode: int = 0o666) -> None:
    """A crash leaves the old or the new file: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: of the file.
        content: text is written as UTF-8.
        mode: of a new file, less the process's umask.

    Raises:
        OSError: the disk is full or read-only; the old file is as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of files, is on disk."""
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room: the file system's, the quota's, or SQLite's."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)

"""Files that are whole or not there, whatever ends the program; and how a full disk is told."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems without hard links say, as memory cards and some network drives have them."""


def write_atomic(path: Path, content: bytes | str, mode: int = 0o666) -> None:
    """Write a file so that a crash leaves the old or the new one, never a part.

    Args:
        path: of the file.
        content: text is written as UTF-8.
        mode: of the new file, less the process's umask.

    Raises:
        OSError: the disk is full or read-only; the old file is as it was.
    """
    with atomic_path(path, mode) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_path(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """An empty file beside `path` for a writer that wants a path; on leaving it takes that name: flushed, renamed.

    Args:
        path: of the file.
        mode: of the new file, less the process's umask.

    Raises:
        OSError: the disk is full or read-only; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def create_atomic(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Make a file unless it is there: of several processes, the first one's counts.

    Args:
        path: of the file.
        content: its bytes.
        mode: of the new file, less the process's umask.

    Returns:
        Whether this call made it.

    Raises:
        OSError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        write_atomic(temporary, content, mode)
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            os.replace(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return True


def private_folder(path: Path) -> Path:
    """Make a folder its owner's alone, whether it was there before or not, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def sync(path: Path) -> None:
    """Make sure that a file, or a folder's list of files, is on disk."""
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain_reason(error: BaseException) -> str:
    """An error in one line for people: of the system's own the words and the file, without its number."""
    if isinstance(error, OSError) and error.strerror:
        file = f": {str(error.filename)!r}" if error.filename is not None else ""
        return f"{error.strerror}{file}"
    return " ".join(str(error).split()) or type(error).__name__


def disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room: the file system's, the quota's, or SQLite's."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)

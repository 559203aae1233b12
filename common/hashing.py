"""SHA-256 of files."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

from twinset.common.atomic_files import write_atomic
from twinset.common.paths import cache_folder

WORTH_REMEMBERING = 2**20
"""Bytes of a file below which hashing is as fast as looking it up."""
SETTLED = 2.0
"""Seconds for which a file must have been left alone: a later change within a clock's tick would not show."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_hash(path: Path) -> str:
    """SHA-256 of a file, read again only where its size, its times or its place on the disk have changed.

    Hashes are remembered in `hashes.json` of the cache folder. A disk that damages a file without touching its times
    is not noticed: what must be certain takes `file_hash`.
    """
    state = path.stat()
    if state.st_size < WORTH_REMEMBERING:
        return file_hash(path)
    key = str(path.resolve())
    mark = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    known = _remembered().get(key)
    if isinstance(known, dict) and known.get("state") == mark:
        return str(known["sha256"])
    found = file_hash(path)
    if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED * 1e9 and path.stat() == state:
        _remember(key, {"state": mark, "sha256": found})
    return found


def _remembered() -> dict[str, object]:
    """What is remembered; nothing where the file is not there or cannot be read."""
    try:
        table = json.loads((cache_folder() / "hashes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _remember(key: str, entry: dict[str, object]) -> None:
    """Add an entry, and forget files that are gone. A folder that cannot be written to costs time alone."""
    kept = {name: value for name, value in _remembered().items() if Path(name).is_file()}
    with suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_atomic(cache_folder() / "hashes.json", json.dumps(kept | {key: entry}))

"""The lock file: hashes of unpinned files at their first pull. Whatever differs later is refused.

JSON in the user's cache folder: `{"format": 1, "files": {"<hub id>@<revision>:<path>": {"sha256", "commit"}}}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from twinset.common.atomic_files import write_atomic
from twinset.errors import InputError
from twinset.models.hub.parts import Part

Entry = dict[str, str]


def lock_path() -> Path:
    """`twinset/models.lock.json` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twinset" / "models.lock.json"


def lock_key(part: Part, path: str) -> str:
    """Name of a part's file in the lock."""
    return f"{part.repo}@{part.revision or 'main'}:{path}"


def read_lock() -> dict[str, Entry]:
    """The recorded files by `lock_key`; empty before the first pull.

    Raises:
        InputError: the file is damaged.
    """
    path = lock_path()
    if not path.exists():
        return {}
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {
            str(key): {"sha256": str(entry["sha256"]), "commit": str(entry["commit"])} for key, entry in files.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"lock file {str(path)!r} is damaged ({type(error).__name__}); restore it, or delete it to trust the "
            "files that lie in the cache now"
        ) from None


def record(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Adds entries that are new; what is recorded already stays. Returns the whole lock."""
    path = lock_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".busy")):  # two pulls at once lose nothing
        files = dict(entries) | read_lock()
        write_atomic(path, json.dumps({"format": 1, "files": files}, indent=2, sort_keys=True) + "\n")
    return files

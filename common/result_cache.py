"""What perception found before: results on disk by the content of what they were made from.

A result is a dictionary of arrays in one `.npz` (read without pickle). Its name is a SHA-256 over what was done, by
which weights, with which parameters, of which bytes; so a changed picture, network or parameter finds nothing, and
nothing ever has to be told stale. What is in the files describes people, so they are their owner's alone (mode 600) and
encrypted (`twinset.common.encryption`); what another key closed counts as not seen yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from twinset.common.atomic_files import write_atomic
from twinset.common.encryption import Seal, own_seal
from twinset.common.paths import cache_folder

Arrays = dict[str, np.ndarray]
LIMIT = 512 * 2**20
FORMAT = 3
"""Raised whenever what is kept changes, or the code that finds it; results of other formats are not found any more."""


def default_folder() -> Path:
    """`$TWINSET_CACHE`, or `twinset` in the user's cache folder."""
    return cache_folder() / "seen"


@dataclass(frozen=True)
class Entry:
    """One result on disk: what it is of, its file, bytes, and when it was last used (seconds since 1970)."""

    what: str
    path: Path
    size: int
    used: float


class PerceptionCache:
    """Perception results, kept from one run to the next.

    Args:
        folder: where; None keeps nothing.
        limit: bytes; the results not used for longest go first.

    Example:
        seen = Seen(default_folder())
        faces = seen("faces", lambda: {"landmarks": detect(picture)}, picture, revision="scrfd 5838f7fe")
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT):
        self.folder, self.limit = folder, limit
        self.watchers: list[tuple[set[str], Callable[[str], None]]] = []

    def __call__(
        self,
        what: str,
        work: Callable[[], Arrays],
        *given: np.ndarray,
        revision: str | Callable[[], str],
        **parameters: object,
    ) -> Arrays:
        """`work()`, or what it gave before for the same content.

        Args:
            what: name of the result, letters and hyphens.
            work: perceives; a pure function of all else that is given.
            given: pictures and other arrays.
            revision: of the weights; a function is asked only where results are kept.
            parameters: JSON values that the result depends on.
        """
        if self.folder is None:
            return work()
        weights = revision if isinstance(revision, str) else revision()
        key = content_key(*given, format=FORMAT, what=what, revision=weights, **parameters)
        path = self.folder / f"{what}-{key}.npz"
        for names, hear in self.watchers:
            if path.name not in names:
                hear(path.name)
                names.add(path.name)
        known = self._read(path)
        if known is not None:
            return known
        result = work()
        self._write(path, result)
        return result

    @contextlib.contextmanager
    def watched(self, hear: Callable[[str], None] = lambda name: None) -> Iterator[set[str]]:
        """Yields a set that receives the file names of all results made or found while this is open.

        Args:
            hear: called with each name once, before the result is made: what is written down then outlives a crash.
        """
        names: set[str] = set()
        watcher = (names, hear)
        self.watchers.append(watcher)
        try:
            yield names
        finally:
            self.watchers = [one for one in self.watchers if one is not watcher]

    def entries(self) -> list[Entry]:
        """All results, the one not used for longest first."""
        return sorted(self._entries(), key=lambda entry: entry.used)

    def clear(self, older_than: float = 0.0) -> tuple[int, int]:
        """Delete results not used for `older_than` seconds; returns how many, and their bytes."""
        old = [entry for entry in self.entries() if time.time() - entry.used >= older_than]
        for entry in old:
            entry.path.unlink(missing_ok=True)
        return len(old), sum(entry.size for entry in old)

    def _entries(self) -> Iterator[Entry]:
        for path in [] if self.folder is None else self.folder.glob("*.npz"):
            with contextlib.suppress(FileNotFoundError):  # another process may have deleted it
                state = path.stat()
                yield Entry(path.stem.rpartition("-")[0], path, state.st_size, state.st_mtime)

    @cached_property
    def seal(self) -> Seal:
        """The user's, asked for when the first result is read or written."""
        return own_seal()

    def _read(self, path: Path) -> Arrays | None:
        """A result, marked as used now; None where there is none, it is damaged, or another key closed it."""
        try:
            content = self.seal.open(path.read_bytes(), path.name)
            if content is None:
                warnings.warn(
                    "a cached result is damaged or encrypted with another key; it is computed again", stacklevel=2
                )
                return None
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                known = dict(arrays)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, BadZipFile):
            path.unlink(missing_ok=True)
            return None
        return known

    def _write(self, path: Path, result: Arrays) -> None:
        """Whole or not at all; a full or read-only disk costs no more than the memory."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **result)
        closed = self.seal.close(content.getvalue(), path.name)
        with contextlib.suppress(OSError):
            write_atomic(path, closed, 0o600)
        self._shrink()

    def _shrink(self) -> None:
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - self.limit
        for entry in entries:
            if excess <= 0:
                return
            entry.path.unlink(missing_ok=True)
            excess -= entry.size


def content_key(*given: np.ndarray, **parameters: object) -> str:
    """SHA-256 over arrays (type, shape and bytes) and JSON values, hexadecimal."""
    content = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for array in given:
        content.update(f"{array.dtype} {array.shape} ".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def counted(entries: list[Entry]) -> dict[str, tuple[int, int]]:
    """What → (number of results, bytes)."""
    numbers, sizes = Counter(entry.what for entry in entries), Counter[str]()
    for entry in entries:
        sizes[entry.what] += entry.size
    return {what: (number, sizes[what]) for what, number in sorted(numbers.items())}

"""What a batch has done so far, as files that are either whole or not there.

Every item gets one folder, `items/NAME`, made elsewhere and moved into place in one step when everything in it is on
disk. So an item is done exactly if its folder is there; a process that is killed leaves at most an unfinished folder in
`unfinished/`, which the next run deletes. Reasons of failures lie in `failed/NAME.json`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from twinset.common.atomic_files import sync, write_atomic
from twinset.common.hashing import file_hash
from twinset.common.paths import file_name
from twinset.compliance.consent import enter_file
from twinset.errors import InputError
from twinset.pipelines.batch.manifest import Item

ENTRY = "item.json"


class Ledger:
    """The folder of a batch.

    Args:
        out: the folder; made when missing.
    """

    def __init__(self, out: Path):
        self.out = out
        self.items, self.unfinished, self.failures = out / "items", out / "unfinished", out / "failed"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder for this process alone; what an earlier one left unfinished is deleted.

        Raises:
            InputError: another process works on it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.out / "batch.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{str(self.out)!r} is in use by another run; wait for it, or choose another --out"
            ) from None
        try:
            shutil.rmtree(self.unfinished, ignore_errors=True)
            for folder in (self.items, self.unfinished, self.failures):
                folder.mkdir(exist_ok=True)
            yield
        finally:
            lock.release()

    def done(self, item: Item) -> bool:
        """Whether the item is complete and drawn from the same request and files; deletes its folder otherwise."""
        folder = self.items / item.name
        entry = self.entry(item.name)
        if entry is not None and entry["made_of"] == item.sha256 and _whole(folder, entry["files"]):
            self.forget_failure(item)  # a process that was killed when it had published the item left the reason
            return True
        if folder.exists():
            aside = self.unfinished / f"{item.name}.{os.getpid()}.old"
            os.replace(folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
        return False

    def entry(self, name: str) -> dict[str, Any] | None:
        """The item's published JSON; None where it is not done, or where it names files that are not beside it."""
        entry = _read(self.items / name / ENTRY)
        try:
            for file in [] if entry is None else [entry["picture"], *entry["formats"].values(), *entry["files"]]:
                file_name(file)
        except (InputError, KeyError, TypeError, AttributeError):
            return None
        return entry

    def failure(self, name: str) -> dict[str, Any] | None:
        """Why an item failed; None where it did not."""
        return _read(self.failures / f"{name}.json")

    def begin(self, item: Item) -> Path:
        """An empty folder to draw the item in."""
        folder = self.unfinished / f"{item.name}.{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def leave(self, item: Item) -> None:
        """Delete an item's unfinished folder, to free space."""
        shutil.rmtree(self.unfinished / f"{item.name}.{os.getpid()}", ignore_errors=True)

    def publish(self, item: Item, folder: Path, told: dict[str, Any]) -> None:
        """Put a finished folder in its place, in one step, when all of it is on disk."""
        files = sorted(path.name for path in folder.iterdir())
        entry = told | {"made_of": item.sha256, "files": {name: file_hash(folder / name) for name in files}}
        (folder / ENTRY).write_text(json.dumps(entry, ensure_ascii=False, indent=1), encoding="utf-8")
        for path in folder.iterdir():
            enter_file(item.request.consent, self.items / item.name / path.name, path.read_bytes())
            sync(path)
        sync(folder)
        os.replace(folder, self.items / item.name)
        sync(self.items)
        self.forget_failure(item)

    def forget_failure(self, item: Item) -> None:
        """Delete the note of an earlier failure."""
        (self.failures / f"{item.name}.json").unlink(missing_ok=True)

    def fail(self, item: Item, state: str, reason: str) -> None:
        """Record why an item is missing: "refused" by the controller, or "failed"."""
        path = self.failures / f"{item.name}.json"
        write_atomic(path, json.dumps({"state": state, "reason": reason}, ensure_ascii=False))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _whole(folder: Path, files: dict[str, str]) -> bool:
    return all((folder / name).is_file() and file_hash(folder / name) == known for name, known in files.items())

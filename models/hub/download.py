"""Pulling the parts of a profile from the hub into its ordinary cache, and telling whether they are what they were.

Every file is hashed: against the SHA-256 that the profile pins, else against the lock file
(`twinset.models.hub.lockfile`), in which the first pull records it, else against the hub's own SHA-256, by which the
cache names large files.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from twinset.errors import InputError
from twinset.models.hub.lockfile import Entry, lock_key, lock_path, read_lock, record
from twinset.models.hub.parts import Part, Profile

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class FileReport:
    """What is known of one file.

    Attributes:
        path: in its repository or folder.
        local: where it lies here, or None.
        sha256: of its bytes here, or None.
        expected: what the SHA-256 ought to be, or None where nothing is recorded yet.
        source: where `expected` comes from: "profile", "lock" or "hub".
    """

    path: str
    local: Path | None = None
    sha256: str | None = None
    expected: str | None = None
    source: str | None = None

    @property
    def state(self) -> str:
        """One of "ok", "missing", "changed", "unrecorded" (it is here, but nothing to compare it with)."""
        if self.local is None:
            return "missing"
        if self.expected is None:
            return "unrecorded"
        return "ok" if self.sha256 == self.expected else "changed"


@dataclass(frozen=True)
class PartReport:
    """What is known of the files of one part."""

    part: Part
    files: tuple[FileReport, ...]

    @property
    def state(self) -> str:
        """The worst of its files' states."""
        states = {file.state for file in self.files}
        return next((s for s in ("changed", "missing", "unrecorded") if s in states), "ok")


def pull(
    profile: Profile, parts: Sequence[Part], *, offline: bool = False, endpoint: str | None = None
) -> Iterator[PartReport]:
    """Downloads parts one after another, hashes them, and records those that nobody pinned.

    A file that breaks off is asked for from there, a few times; after an interruption, complete files stay.

    Args:
        profile: the parts' profile.
        parts: what to pull.
        offline: use the cache only.
        endpoint: the hub or a mirror of it; `HF_ENDPOINT`, else the hub itself, when None.

    Yields:
        PartReport: after each part; all its files are ok.

    Raises:
        InputError: the hub or the part cannot be reached, or a file is not what it was; the line names the remedy.
    """
    for part in parts:
        if part.repo is not None:
            _fetch(part, offline or constants.HF_HUB_OFFLINE, endpoint)
        report = inspect(profile, part)
        require_intact(profile, [report])
        yield _recorded(report)


def check(profile: Profile, names: Sequence[str] = ()) -> Iterator[PartReport]:
    """Hashes what is here and changes nothing: the parts named, or all but absent optional ones."""
    for part in profile.chosen(names) if names else profile.parts:
        if names or not part.optional or any(locate(profile, part, path) for path in part.wanted):
            yield inspect(profile, part)


def require_intact(profile: Profile, reports: Sequence[PartReport]) -> None:
    """Lets a profile pass whose files are here and what they ought to be.

    Raises:
        InputError: one line that names every part that is missing or changed, and the remedy.
    """
    wrong = [report for report in reports if report.state in ("changed", "missing")]
    changed = [_changed(report.part, file) for report in wrong for file in report.files if file.state == "changed"]
    missing = [report.part.name for report in wrong if any(file.state == "missing" for file in report.files)]
    faults = [*changed, *([f"missing {', '.join(missing)}"] if missing else [])]
    if faults:
        raise InputError(f"profile {profile.name!r}: {'; '.join(faults)}; {_remedy(profile, wrong)}")


def inspect(profile: Profile, part: Part) -> PartReport:
    """Hashes the files of one part as they lie here."""
    lock = read_lock() if part.repo else {}
    return PartReport(part, tuple(_inspect_file(profile, part, path, lock) for path in part.wanted))


def locate(profile: Profile, part: Part, path: str) -> Path | None:
    """Where a part's file lies here, or None."""
    if part.repo is None:
        local = (profile.folder or Path()) / path
        return local if local.is_file() else None
    cached = try_to_load_from_cache(part.repo, path, revision=_revision(part))
    return Path(cached) if isinstance(cached, str) and Path(cached).is_file() else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inspect_file(profile: Profile, part: Part, path: str, lock: Mapping[str, Entry]) -> FileReport:
    local = locate(profile, part, path)
    expected, source = None, None
    if part.sha256 and path == part.file:
        expected, source = part.sha256, "profile"
    elif lock_key(part, path) in lock:
        expected, source = lock[lock_key(part, path)]["sha256"], "lock"
    elif local and re.fullmatch("[0-9a-f]{64}", local.resolve().name):
        expected, source = local.resolve().name, "hub"  # the cache names large files by the hub's SHA-256
    return FileReport(path, local, local and sha256_of(local), expected, source)


def _revision(part: Part) -> str:
    """The pinned commit, else that of the first pull, else main."""
    if part.revision:
        return part.revision
    lock = read_lock()
    return next((lock[k]["commit"] for k in (lock_key(part, p) for p in part.wanted) if k in lock), "main")


def _fetch(part: Part, offline: bool, endpoint: str | None) -> None:
    revision = _revision(part)
    for path in part.wanted:
        try:
            local = hf_hub_download(
                str(part.repo), path, revision=revision, local_files_only=offline, endpoint=endpoint
            )
        except (HTTPError, OSError, EntryNotFoundError) as error:
            raise InputError(_explain(error, part, path, offline, endpoint or constants.ENDPOINT)) from error
        _require_safetensors(Path(local), path)
        revision = _commit(Path(local), path)  # all files of a part come from one commit


def _commit(local: Path, path: str) -> str:
    """The commit of a cached file: `…/snapshots/<commit>/<path>`."""
    return local.parts[-len(PurePosixPath(path).parts) - 1]


def _require_safetensors(local: Path, path: str) -> None:
    """Refuses what only bears the name: the format begins with the length of a JSON object."""
    if not path.endswith(".safetensors"):
        return
    with local.open("rb") as file:
        head = file.read(9)
    if len(head) < 9 or head[8:] != b"{" or int.from_bytes(head[:8], "little") + 8 > local.stat().st_size:
        raise InputError(f"{path!r} is no safetensors file, whatever its name says; delete {str(local.resolve())!r}")


def _recorded(report: PartReport) -> PartReport:
    """Records the files that the profile does not pin; returns what holds from now on."""
    part = report.part
    new = {
        lock_key(part, file.path): {"sha256": str(file.sha256), "commit": _commit(file.local, file.path)}
        for file in report.files
        if part.repo and file.local and file.source != "profile"
    }
    lock = record(new) if new else {}
    return PartReport(
        part,
        tuple(
            FileReport(f.path, f.local, f.sha256, lock[lock_key(part, f.path)]["sha256"], "lock")
            if lock_key(part, f.path) in new
            else f
            for f in report.files
        ),
    )


def _changed(part: Part, file: FileReport) -> str:
    where = f"{part.name} is not what it was" if file.source == "lock" else f"{part.name} is damaged or another file"
    local = str(file.local and file.local.resolve())
    return f"{where}: {file.path!r} has SHA-256 {file.sha256}, {file.source} says {file.expected}; delete {local!r}"


def _remedy(profile: Profile, wrong: Sequence[PartReport]) -> str:
    if profile.folder is not None:
        return "restore it from where the model came from"
    named = any(report.part.optional for report in wrong)
    parts = "".join(f" --part {report.part.name}" for report in wrong) if named else ""
    command = f"run: twinset models pull {profile.name}{parts}"
    changed = [file for report in wrong for file in report.files if file.state == "changed"]
    trust = f" (or, if you know why it changed, delete its entry in {str(lock_path())!r})"
    return ("then " if changed else "") + command + (trust if any(file.source == "lock" for file in changed) else "")


def _explain(error: Exception, part: Part, path: str, offline: bool, endpoint: str) -> str:
    """One line: what, value, remedy."""
    what = f"part {part.name!r} ({part.repo})"
    match error:
        case GatedRepoError():
            return f"{what} is gated: accept the licence at {HUB}/{part.repo} and set HF_TOKEN"
        case RepositoryNotFoundError():
            return (
                f"{what} is not at {endpoint}: it was renamed, removed or made private; see {part.url}, or set HF_TOKEN"
            )
        case RevisionNotFoundError():
            return f"{what} has no revision {_revision(part)!r} at {endpoint}; a mirror may lag, try another --endpoint"
        case LocalEntryNotFoundError() if offline:
            return (
                f"{what} lacks {path!r} in the cache {constants.HF_HUB_CACHE!r} and the network is switched off; "
                "pull once without --offline and HF_HUB_OFFLINE"
            )
        case EntryNotFoundError() if not isinstance(error, LocalEntryNotFoundError):
            return f"{what} has no file {path!r} at {endpoint}; a mirror may lag, try another --endpoint"
        case OSError(errno=errno.ENOSPC):
            return f"{what}: no room for {path!r} in {constants.HF_HUB_CACHE!r}; free some, or set HF_HOME elsewhere"
    reason = type(error.__cause__ or error).__name__
    return (
        f"{what}: {path!r} did not come whole from {endpoint} ({reason}); check the network and pull again "
        "(complete files are kept), give the --endpoint of a mirror, or use --offline"
    )

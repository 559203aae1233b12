"""Pulling the parts of a profile from the hub into its ordinary cache, and checking that they are unchanged.

The contents of every file are compared: with the SHA-256 that the profile pins, else with the lock file
(`twinset.models.hub.lockfile`), in which the first pull records what agrees with the hash that the hub announces. A
name inside the cache says nothing of contents: the hub's library names blobs by ETags and by hashes of Xet.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

from twinset.common.hashing import file_hash, remembered_hash
from twinset.errors import InputError
from twinset.models.hub.download_errors import explain
from twinset.models.hub.lockfile import Entry, lock_key, lock_path, read_lock, record
from twinset.models.hub.parts import Part, Profile


@dataclass(frozen=True)
class FileReport:
    """A file's place, hash and expected hash.

    Attributes:
        path: in its repository or folder.
        local: where it lies here, or None.
        sha256: of its bytes here, or None.
        expected: what the SHA-256 ought to be, or None where nothing is recorded yet.
        source: where `expected` comes from: "profile" or "lock".
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


@dataclass(frozen=True)
class PendingPart:
    """What is still to be downloaded of a part.

    Attributes:
        part: of which files are not here.
        size: of these files together, in bytes.
    """

    part: Part
    size: int


Announce = Callable[[Sequence[PendingPart]], None]
"""Told what is about to be downloaded."""


def pending_parts(profile: Profile, parts: Sequence[Part], endpoint: str | None = None) -> list[PendingPart]:
    """Parts with files that are not here, and how large the hub says that they are.

    Raises:
        InputError: the hub or a part cannot be reached.
    """
    pending = []
    for part in parts:
        revision = _revision(part)
        missing = [path for path in part.wanted if part.repo and locate(profile, part, path) is None]
        sizes = [_ask_hub(part, path, revision, endpoint, dry_run=True).file_size for path in missing]
        pending += [PendingPart(part, sum(size or 0 for size in sizes))] if missing else []
    return pending


def require_room(pending: Sequence[PendingPart]) -> None:
    """Refuse downloads for which the cache's disk has no room, before their first byte.

    Raises:
        InputError: there is too little; the line says how much is needed.
    """
    needed, cache = sum(each.size for each in pending), Path(constants.HF_HUB_CACHE)
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"{needed / 1e9:.1f} GB are to be downloaded into {str(cache)!r}, where {free / 1e9:.1f} GB are free; "
            "free some, or set HF_HOME elsewhere"
        )


def pull_parts(
    profile: Profile,
    parts: Sequence[Part],
    *,
    offline: bool = False,
    endpoint: str | None = None,
    announce: Announce | None = None,
) -> Iterator[PartReport]:
    """Downloads parts one after another, hashes them, and records those that nobody pinned.

    A file that breaks off is asked for from there, a few times; after an interruption, complete files stay. A file that
    is not what it ought to be is downloaded once more, unless the hub announces these very contents.

    Args:
        profile: the parts' profile.
        parts: what to pull.
        offline: use the cache only.
        endpoint: the hub or a mirror of it; `HF_ENDPOINT`, else the hub itself, when None.
        announce: told what will be downloaded, before the first byte, where anything is.

    Yields:
        PartReport: after each part; all its files are ok.

    Raises:
        InputError: the hub or the part cannot be reached, or a file is not what it was; the line names the remedy.
    """
    offline = offline or constants.HF_HUB_OFFLINE
    pending = [] if offline else pending_parts(profile, parts, endpoint)
    if pending:
        require_room(pending)
        if announce is not None:
            announce(pending)
    for part in parts:
        if part.repo is not None:
            _fetch(part, offline, endpoint)
        report = inspect_part(profile, part)
        if part.repo is not None and not offline:
            report = _replace_damaged(profile, report, endpoint)
        require_intact(profile, [report])
        _require_safetensors(report)
        yield _recorded(report)


def check_parts(profile: Profile, names: Sequence[str] = ()) -> Iterator[PartReport]:
    """Hashes anew the local files of the parts named, or of all but absent optional ones; changes nothing."""
    for part in profile.chosen(names) if names else profile.parts:
        if names or not part.optional or any(locate(profile, part, path) for path in part.wanted):
            yield inspect_part(profile, part, file_hash)


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


def inspect_part(profile: Profile, part: Part, hash_of: Callable[[Path], str] = remembered_hash) -> PartReport:
    """Compares the files of one part as they lie here; `hash_of` gives their SHA-256."""
    lock = read_lock() if part.repo else {}
    return PartReport(part, tuple(_inspect_file(profile, part, path, lock, hash_of) for path in part.wanted))


def locate(profile: Profile, part: Part, path: str) -> Path | None:
    """Where a part's file lies here, or None."""
    if part.repo is None:
        local = (profile.folder or Path()) / path
        return local if local.is_file() else None
    cached = try_to_load_from_cache(part.repo, path, revision=_revision(part))
    return Path(cached) if isinstance(cached, str) and Path(cached).is_file() else None


def _inspect_file(
    profile: Profile, part: Part, path: str, lock: Mapping[str, Entry], hash_of: Callable[[Path], str]
) -> FileReport:
    local = locate(profile, part, path)
    expected, source = None, None
    if part.sha256 and path == part.file:
        expected, source = part.sha256, "profile"
    elif lock_key(part, path) in lock:
        expected, source = lock[lock_key(part, path)]["sha256"], "lock"
    return FileReport(path, local, local and hash_of(local), expected, source)


def _revision(part: Part) -> str:
    """The pinned commit, else that of the first pull, else main."""
    if part.revision:
        return part.revision
    lock = read_lock()
    return next((lock[k]["commit"] for k in (lock_key(part, p) for p in part.wanted) if k in lock), "main")


def _fetch(part: Part, offline: bool, endpoint: str | None) -> None:
    revision = _revision(part)
    for path in part.wanted:
        local = _download(part, path, revision, endpoint, offline=offline)
        revision = _commit(local, path)  # all files of a part come from one commit


def _download(
    part: Part, path: str, revision: str, endpoint: str | None, *, offline: bool = False, anew: bool = False
) -> Path:
    return Path(_ask_hub(part, path, revision, endpoint, local_files_only=offline, force_download=anew))


def _ask_hub(part: Part, path: str, revision: str, endpoint: str | None, **options: Any) -> Any:
    """`hf_hub_download` of a part's file, its errors in one line."""
    offline = options.get("local_files_only", False)
    try:
        return hf_hub_download(str(part.repo), path, revision=revision, endpoint=endpoint, **options)
    except Exception as error:  # hf_xet's errors have no base class of their own
        line = explain(error, part, path, revision, offline=offline, endpoint=endpoint or constants.ENDPOINT)
        raise InputError(line) from error


def _replace_damaged(profile: Profile, report: PartReport, endpoint: str | None) -> PartReport:
    """Downloads anew, once, what is neither what it ought to be nor what the hub announces.

    Raises:
        InputError: a file is still another one, or the hub itself has another one; the line names the remedy.
    """
    replaced = [_replaced(report.part, file, endpoint) for file in report.files if file.state != "ok"]
    report = inspect_part(profile, report.part) if any(replaced) else report
    changed = [file for file in report.files if file.state == "changed"]
    if changed:
        trust = _trust(changed) or f" (see {report.part.url})"
        raise InputError(
            f"profile {profile.name!r}: {'; '.join(_changed(report.part, file) for file in changed)}, and "
            f"{endpoint or constants.ENDPOINT} serves the same file: try another mirror with --endpoint{trust}"
        )
    return report


def _replaced(part: Part, file: FileReport, endpoint: str | None) -> bool:
    """Whether a doubtful file was downloaded anew; the hub may have it just so."""
    commit = _commit(Path(str(file.local)), file.path)
    announced = _announced(part, file.path, commit, endpoint)
    if file.sha256 == announced or (announced is None and file.expected is None):
        return False
    local = _download(part, file.path, commit, endpoint, anew=True)
    if file.expected is None and file_hash(local) != announced:
        raise InputError(
            f"part {part.name!r}: {endpoint or constants.ENDPOINT} announces {file.path!r} as {announced} and sends "
            "other bytes; pull again later, or give the --endpoint of another mirror"
        )
    return True


def _announced(part: Part, path: str, commit: str, endpoint: str | None) -> str | None:
    """The SHA-256 that the hub announces of a large file as its ETag; None of small ones, which lie in Git."""
    url = hf_hub_url(str(part.repo), path, revision=commit, endpoint=endpoint)
    try:
        etag = get_hf_file_metadata(url, endpoint=endpoint, retry_on_errors=True).etag
    except Exception as error:  # as of a download, whose first request this is
        line = explain(error, part, path, commit, offline=False, endpoint=endpoint or constants.ENDPOINT)
        raise InputError(line) from error
    return etag if re.fullmatch("[0-9a-f]{64}", etag or "") else None


def _commit(local: Path, path: str) -> str:
    """The commit of a cached file: `…/snapshots/<commit>/<path>`."""
    return local.parts[-len(PurePosixPath(path).parts) - 1]


def _require_safetensors(report: PartReport) -> None:
    """Refuses what only bears the name: the format begins with the length of a JSON object."""
    for file in report.files:
        if not file.path.endswith(".safetensors"):
            continue
        local = Path(str(file.local))
        with local.open("rb") as stream:
            head = stream.read(9)
        if head[8:] != b"{" or int.from_bytes(head[:8], "little") + 8 > local.stat().st_size:
            raise InputError(
                f"part {report.part.name!r}: {file.path!r} is not a safetensors file, despite its name; "
                f"compare it with {report.part.url}, or pull it from another --endpoint"
            )


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
    where = f"{part.name} has changed" if file.source == "lock" else f"{part.name} is damaged or a different file"
    return f"{where}: {file.path!r} has SHA-256 {file.sha256}, {file.source} says {file.expected}"


def _remedy(profile: Profile, wrong: Sequence[PartReport]) -> str:
    if profile.folder is not None:
        return "restore it from where the model came from"
    named = any(report.part.optional for report in wrong)
    parts = "".join(f" --part {report.part.name}" for report in wrong) if named else ""
    network = " with HF_HUB_OFFLINE unset" if constants.HF_HUB_OFFLINE else ""
    changed = [file for report in wrong for file in report.files if file.state == "changed"]
    return f"run: twinset models pull {profile.name}{parts}{network}{_trust(changed)}"


def _trust(changed: Sequence[FileReport]) -> str:
    """What else may be done about files that the lock remembers otherwise."""
    recorded = any(file.source == "lock" for file in changed)
    return f" (or, if you know why it changed, delete its entry in {str(lock_path())!r})" if recorded else ""

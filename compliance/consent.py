"""Consent: whose face may be used, for what, until when; and what is deleted once it is withdrawn or expires.

The book holds statements and hashes, never a picture or an embedding. Each consent is one JSON file, written whole or
not at all, readable by its owner alone. Beside it a list grows of every file that is made under the consent, with its
hash, entered before the file is written: what is deleted later follows from that list, never from files' names.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinset.common.atomic_files import private_folder, write_atomic
from twinset.common.hashing import file_hash
from twinset.common.paths import file_name
from twinset.common.result_cache import default_folder
from twinset.common.settings import settings
from twinset.common.validation import one_line
from twinset.errors import InputError

Purpose = Literal["try-on", "promotion", "training"]
PURPOSES: tuple[str, ...] = get_args(Purpose)


class ConsentError(InputError):
    """A face may not be used; the message says why, and what would help."""


class Statement(BaseModel):
    """What a person agreed to.

    Attributes:
        person: Who.
        purposes: What for.
        until: The last day on which it holds.
        given: When, with its time zone.
        by: A ticked checkbox, or a signed statement on paper or in a file.
        statement_sha256: Of the signed statement's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str = Field(min_length=1, max_length=200)
    purposes: tuple[Purpose, ...] = Field(min_length=1)
    until: date
    given: AwareDatetime
    by: Literal["checkbox", "signed"] = "checkbox"
    statement_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _signed_has_a_file(self) -> Statement:
        if (self.by == "signed") != (self.statement_sha256 is not None):
            raise ValueError("a signed statement needs its file, and a checkbox has none")
        return self


class ConsentStatement(BaseModel):
    """An entry of the book.

    Attributes:
        id: What requests and manifests refer to.
        statement: What was agreed to.
        withdrawn: When it was withdrawn.
        selfies: SHA-256 of the pictures that it was used with.
        seen: Names of the perception results made of them, see `twinset.common.result_cache.PerceptionCache`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    statement: Statement
    withdrawn: AwareDatetime | None = None
    selfies: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    def fault(self, purpose: str | None, today: date) -> str | None:
        """Why it does not cover a use on a day; None where it does."""
        said = self.statement
        if self.withdrawn is not None:
            return f"was withdrawn on {self.withdrawn:%Y-%m-%d}; do not use the person's pictures"
        if today > said.until:
            return f"ended on {said.until}; ask {said.person!r} again (twinset consent add)"
        if purpose is not None and purpose not in said.purposes:
            return f"covers {', '.join(said.purposes)}, not {purpose}; ask {said.person!r} for that"
        return None


def default_root() -> Path:
    """`$TWINSET_CONSENT`, or `consent` in the folder of the user's data."""
    return settings().consent


def read_statement(**fields: Any) -> Statement:
    """Check a statement's fields.

    Raises:
        InputError: in one line, what is wrong.
    """
    try:
        return Statement.model_validate(fields)
    except ValidationError as error:
        raise InputError(one_line(error, "statement")) from None


class ConsentBook:
    """All consents of a folder.

    Args:
        root: folder; `default_root()` when None.
    """

    def __init__(self, root: Path | None = None):
        self.root = default_root() if root is None else root

    def record(self, statement: Statement) -> str:
        """Enter a statement; returns its reference."""
        consent = ConsentStatement(id=secrets.token_hex(8), statement=statement)
        self._write(consent)
        return consent.id

    def read(self, consent_id: str) -> ConsentStatement:
        """An entry.

        Raises:
            ConsentError: there is none, or its file is damaged.
        """
        path = self._path(consent_id)
        try:
            return ConsentStatement.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ConsentError(f"consent {consent_id!r} is unknown; list those known: twinset consent list") from None
        except (ValidationError, OSError):
            raise ConsentError(
                f"consent {consent_id!r}: its file {str(path)!r} is damaged; record the consent again"
            ) from None

    def entries(self) -> Iterator[ConsentStatement]:
        """All entries in the order of their references."""
        for path in sorted(self.root.glob("*.json")):
            yield self.read(path.stem)

    def require(
        self, consent_id: str, selfies: Sequence[Path], purpose: str | None = None, now: datetime | None = None
    ) -> Statement:
        """Make sure that a use is covered, and remember which pictures it was for.

        Args:
            consent_id: reference of the consent.
            selfies: pictures of the person.
            purpose: one of `PURPOSES`; None for any.
            now: the time; the clock's when None.

        Raises:
            ConsentError: it is unknown, withdrawn, has ended, or covers other purposes.
        """
        consent = self.read(consent_id)
        if fault := consent.fault(purpose, (now or datetime.now(UTC)).date()):
            raise ConsentError(f"consent {consent_id!r} {fault}")
        self.bind(consent_id, selfies=[file_hash(path) for path in selfies])
        return consent.statement

    def bind(self, consent_id: str, selfies: Sequence[str] = (), seen: Sequence[str] = ()) -> None:
        """Remember pictures by hash, and results made of them by name.

        Raises:
            ConsentError: it was withdrawn meanwhile, so that nothing more may be made.
        """
        with self._alone():
            self._bind(self._holding(consent_id), selfies, seen)

    def enter_file(self, consent_id: str, path: Path, content: bytes) -> None:
        """Enter a file that is about to be written under a consent; it goes when that is withdrawn.

        Args:
            consent_id: reference of the consent.
            path: of the file.
            content: all of it.

        Raises:
            ConsentError: it was withdrawn meanwhile, so that nothing more may be made.
        """
        entry = {"path": str(path.absolute()), "sha256": hashlib.sha256(content).hexdigest()}
        with self._alone():
            self._holding(consent_id)
            descriptor = os.open(self._files(consent_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, (json.dumps(entry) + "\n").encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def files(self, consent_id: str) -> list[tuple[Path, str]]:
        """Path and SHA-256 of every file that was made under a consent, and when it was entered last, last."""
        found: list[tuple[Path, str]] = []
        with suppress(FileNotFoundError):
            for line in self._files(consent_id).read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, KeyError, TypeError):  # cut off by a crash; its file was never written
                    entry = json.loads(line)
                    found.append((Path(entry["path"]), entry["sha256"]))
        return found

    def _holding(self, consent_id: str) -> ConsentStatement:
        consent = self.read(consent_id)
        if consent.withdrawn is not None:
            raise ConsentError(f"consent {consent_id!r} {consent.fault(None, consent.statement.until)}")
        return consent

    def _bind(self, consent: ConsentStatement, selfies: Sequence[str], seen: Sequence[str]) -> None:
        bound = {"selfies": {*consent.selfies, *selfies}, "seen": {*consent.seen, *seen}}
        grown = consent.model_copy(update={name: tuple(sorted(values)) for name, values in bound.items()})
        if grown != consent:
            self._write(grown)

    def withdraw(
        self, consent_id: str, cache: Path | None = None, now: datetime | None = None, folders: Sequence[Path] = ()
    ) -> list[Path]:
        """End a consent now, and delete what was made under it; safe to repeat.

        Perception results of the person's pictures, and every file that was entered: where it was written, if it is
        still the same, and under `folders` whatever it is called now.

        Args:
            consent_id: reference of the consent.
            cache: folder of perception results; the usual one when None.
            now: the time; the clock's when None.
            folders: where else to look for files that were moved or copied.

        Returns:
            What was deleted.
        """
        with self._alone():
            consent = self.read(consent_id)
            if consent.withdrawn is None:
                consent = consent.model_copy(update={"withdrawn": now or datetime.now(UTC)})
                self._write(consent)
            return self._forget(consent, cache) + self._forget_files(consent_id, folders)

    def expire(self, cache: Path | None = None, now: datetime | None = None) -> dict[str, list[Path]]:
        """Delete the perception results of people whose consent has ended; reference → deleted files."""
        today = (now or datetime.now(UTC)).date()
        with self._alone():
            ended = [consent for consent in self._sound() if today > consent.statement.until and consent.seen]
            return {consent.id: self._forget(consent, cache) for consent in ended}

    def _sound(self) -> Iterator[ConsentStatement]:
        """All entries but the damaged: one of those keeps nobody else's pictures."""
        for path in sorted(self.root.glob("*.json")):
            with suppress(ConsentError):
                yield self.read(path.stem)

    def _alone(self) -> FileLock:
        """One process at a time changes entries."""
        return FileLock(private_folder(self.root) / "book.lock")

    def _forget(self, consent: ConsentStatement, cache: Path | None) -> list[Path]:
        folder = default_folder() if cache is None else cache
        found = [path for name in consent.seen if (path := folder / name).is_file()]
        for path in found:
            path.unlink(missing_ok=True)
        self._write(consent.model_copy(update={"seen": ()}))
        return found

    def _forget_files(self, consent_id: str, folders: Sequence[Path]) -> list[Path]:
        entered = self.files(consent_id)
        found = [path for path, digest in dict.fromkeys(entered) if _holds(path, {digest})]
        digests = {digest for _, digest in entered}
        for folder in folders if digests else ():
            found += [path for path in sorted(folder.rglob("*")) if path not in found and _holds(path, digests)]
        found = list(dict.fromkeys(found))
        for path in found:
            path.unlink(missing_ok=True)
        return found

    def _files(self, consent_id: str) -> Path:
        """The list of what was made under a consent, one JSON object a line."""
        return self._path(consent_id).with_suffix(".files")

    def _path(self, consent_id: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{16}", consent_id):
            raise ConsentError(
                f"consent {consent_id!r} is not a reference of 16 hexadecimal digits; see: twinset consent list"
            )
        return self.root / f"{consent_id}.json"

    def _write(self, consent: ConsentStatement) -> None:
        private_folder(self.root)
        path = self._path(consent.id)
        write_atomic(path, json.dumps(consent.model_dump(mode="json"), ensure_ascii=False, indent=1), 0o600)


def _holds(path: Path, digests: set[str]) -> bool:
    """Whether a plain file has one of some contents; a link to one is somebody else's."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and file_hash(path) in digests
    except OSError:
        return False


def enter_file(consent_id: str | None, path: Path, content: bytes) -> bytes:
    """Enter a file in the usual book before it is written, where it is made under a consent; returns the content."""
    if consent_id is not None:
        ConsentBook().enter_file(consent_id, path, content)
    return content


def outputs_of(consent_id: str, folder: Path) -> list[Path]:
    """Pictures under a folder whose records refer to a consent, the records, and their overlays.

    For what was made before the book had a list of files: a record names its picture, and nothing but that is taken.
    """
    found: list[Path] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            request, picture = told["request"], path.parent / file_name(told["picture"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(request, dict) and request.get("consent") == consent_id:
            overlay = picture.with_stem(f"{picture.stem}-regions")
            found += [one for one in (path, picture, overlay) if one.is_file() and not one.is_symlink()]
    return list(dict.fromkeys(found))

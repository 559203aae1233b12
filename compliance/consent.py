"""Consent: whose face may be used, for what, until when; and what is deleted once it is withdrawn or expires.

The book holds statements and hashes, never a picture or an embedding. Each consent is one JSON file, written whole or
not at all, readable by its owner alone.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinset.common.atomic_files import write_atomic
from twinset.common.hashing import file_hash
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
        """Remember pictures by hash, and results made of them by name."""
        with self._alone():
            self._bind(self.read(consent_id), selfies, seen)

    def _bind(self, consent: ConsentStatement, selfies: Sequence[str], seen: Sequence[str]) -> None:
        bound = {"selfies": {*consent.selfies, *selfies}, "seen": {*consent.seen, *seen}}
        grown = consent.model_copy(update={name: tuple(sorted(values)) for name, values in bound.items()})
        if grown != consent:
            self._write(grown)

    def withdraw(self, consent_id: str, cache: Path | None = None, now: datetime | None = None) -> list[Path]:
        """End a consent now, and delete the perception results of the person's pictures; safe to repeat.

        Args:
            consent_id: reference of the consent.
            cache: folder of perception results; the usual one when None.
            now: the time; the clock's when None.

        Returns:
            What was deleted.
        """
        with self._alone():
            consent = self.read(consent_id)
            if consent.withdrawn is None:
                consent = consent.model_copy(update={"withdrawn": now or datetime.now(UTC)})
                self._write(consent)
            return self._forget(consent, cache)

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
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(self.root / "book.lock")

    def _forget(self, consent: ConsentStatement, cache: Path | None) -> list[Path]:
        folder = default_folder() if cache is None else cache
        found = [path for name in consent.seen if (path := folder / name).is_file()]
        for path in found:
            path.unlink(missing_ok=True)
        self._write(consent.model_copy(update={"seen": ()}))
        return found

    def _path(self, consent_id: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{16}", consent_id):
            raise ConsentError(
                f"consent {consent_id!r} is not a reference of 16 hexadecimal digits; see: twinset consent list"
            )
        return self.root / f"{consent_id}.json"

    def _write(self, consent: ConsentStatement) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(consent.id)
        write_atomic(path, json.dumps(consent.model_dump(mode="json"), ensure_ascii=False, indent=1), 0o600)


def outputs_of(consent_id: str, folder: Path) -> list[Path]:
    """Pictures under a folder whose records refer to a consent, and the records themselves."""
    found: list[Path] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            request, picture = told["request"], told["picture"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(request, dict) and request.get("consent") == consent_id:
            found += [p for p in sorted(path.parent.glob(f"{Path(str(picture)).stem}*")) if p.is_file()]
    return found

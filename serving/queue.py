"""A durable job queue in one SQLite file: claimed once, leased, counted, and never lost by a killed worker."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinset.errors import InputError

MOST_ATTEMPTS = 3
"""Claims after which a job that never finished is set aside as `failed`."""
TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, request TEXT NOT NULL, same TEXT NOT NULL, pictures INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued', attempts INTEGER NOT NULL DEFAULT 0, worker TEXT,
    lease REAL NOT NULL DEFAULT 0, made REAL NOT NULL, ended REAL, idempotency TEXT, consent TEXT,
    progress TEXT, result TEXT, webhook TEXT, webhook_state TEXT, webhook_told TEXT,
    webhook_tries INTEGER NOT NULL DEFAULT 0, webhook_next REAL NOT NULL DEFAULT 0, UNIQUE (owner, idempotency));
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, made);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, made REAL NOT NULL);
CREATE TABLE IF NOT EXISTS consents (id TEXT PRIMARY KEY, owner TEXT NOT NULL);
"""
OPEN = "state IN ('queued', 'running')"
HELD = f"({OPEN} OR state = 'done')"
"""A job's folder is somebody's."""


class QueueFullError(InputError):
    """No room for the pictures of another job."""


class OtherRequestError(InputError):
    """An idempotency key was used before, for something else."""


@dataclass(frozen=True)
class Job:
    """A claimed job.

    Attributes:
        id: of the job.
        request: JSON.
        attempts: how often it was claimed, this time included.
    """

    id: str
    request: str
    attempts: int


class JobQueue:
    """Jobs, uploads and consents of all keys, shared by any number of threads and processes.

    States of jobs: `queued` to `running` to one of `done`, `failed`, `cancelled`, which are final.

    Args:
        path: The SQLite file, made when missing.
        room: Pictures that may wait or be drawn at a time.
        lease: Seconds after its last heartbeat when a worker counts as lost.
        clock: Seconds since the epoch; must be one clock for all processes.
    """

    def __init__(
        self, path: Path, room: int = 256, lease: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.path, self.room, self.lease, self.clock = path, room, lease, clock
        self.local = threading.local()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        base = self._base()
        base.execute("PRAGMA journal_mode=WAL")
        base.executescript(TABLES)

    def _base(self) -> sqlite3.Connection:
        """This thread's connection."""
        base: sqlite3.Connection | None = getattr(self.local, "base", None)
        if base is None:
            base = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            base.row_factory = sqlite3.Row
            base.execute("PRAGMA synchronous=FULL")
            self.local.base = base
        return base

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The file's one write lock until the block ends; what fails in between leaves nothing."""
        base = self._base()
        base.execute("BEGIN IMMEDIATE")
        try:
            yield base
        except BaseException:
            if base.in_transaction:  # where the disk is full, SQLite has rolled back by itself
                base.execute("ROLLBACK")
            raise
        base.execute("COMMIT")

    def reading(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Rows of a query."""
        return [dict(row) for row in self._base().execute(query, values)]

    def add(
        self, owner: str, request: str, pictures: int, idempotency: str | None = None, consent: str | None = None,
        webhook: str | None = None, same: str | None = None,
    ) -> str:  # fmt: skip
        """Append a job and return its id; with an idempotency key that was used before, that job's.

        Args:
            owner: Who asks.
            request: JSON.
            pictures: How many it draws.
            idempotency: Chosen by the client.
            consent: Of the person in it.
            webhook: Where its end is told.
            same: What two requests of one idempotency key must have in common; the whole request when None.

        Raises:
            QueueFullError: Its pictures do not fit beside those that wait.
            OtherRequestError: The key was used for another request.
        """
        job = uuid.uuid4().hex
        with self.writing() as base:
            if idempotency is not None:
                known = "SELECT id, same FROM jobs WHERE owner = ? AND idempotency = ?"
                before = base.execute(known, (owner, idempotency)).fetchone()
                if before is not None and before["same"] != (same or request):
                    raise OtherRequestError(
                        f"Idempotency-Key {idempotency!r} was used for another request; take a new one"
                    )
                if before is not None:
                    return before["id"]
            waiting = base.execute(f"SELECT coalesce(sum(pictures), 0) FROM jobs WHERE {OPEN}").fetchone()[0]
            if waiting + pictures > self.room:
                raise QueueFullError(f"{pictures} pictures do not fit: {waiting} of {self.room} wait; try again later")
            row: dict[str, Any] = {"id": job, "owner": owner, "request": request, "same": same or request}
            row |= {"pictures": pictures, "made": self.clock(), "idempotency": idempotency, "consent": consent}
            row |= {"webhook": webhook, "webhook_state": webhook and "pending"}
            places = ", ".join(f":{name}" for name in row)
            base.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", row)
        return job

    def claim(self, worker: str) -> Job | None:
        """Take the oldest job that waits or whose worker was lost; None when there is none."""
        now = self.clock()
        with self.writing() as base:
            lost = "state = 'running' AND lease < ?"
            aside = json.dumps({"error": f"set aside after {MOST_ATTEMPTS} attempts; its workers died"})
            base.execute(
                f"UPDATE jobs SET state = 'failed', ended = ?, result = ? WHERE {lost} AND attempts >= ?",
                (now, aside, now, MOST_ATTEMPTS),
            )
            first = f"SELECT id FROM jobs WHERE state = 'queued' OR ({lost}) ORDER BY made, rowid LIMIT 1"
            row = base.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = ?, lease = ? "
                f"WHERE id = ({first}) RETURNING id, request, attempts",
                (worker, now + self.lease, now),
            ).fetchone()
        return Job(*row) if row else None

    def heartbeat(self, job: str, worker: str, progress: dict[str, Any] | None = None) -> bool:
        """Renew the lease; False tells the worker to stop: cancelled, deleted, or given to another."""
        fields = (self.clock() + self.lease, None if progress is None else json.dumps(progress))
        return self._change("lease = ?, progress = coalesce(?, progress)", fields, job, worker)

    def finish(self, job: str, worker: str, state: str, result: dict[str, Any]) -> bool:
        """End a job as `done` or `failed`; False when it ended before or belongs to another worker."""
        fields = (state, self.clock(), json.dumps(result))
        return self._change("state = ?, ended = ?, result = ?", fields, job, worker)

    def give_back(self, job: str, worker: str) -> None:
        """Let another claim a job at once, whose drawing came to nothing through no fault of its own."""
        self._change("lease = 0", (), job, worker)

    def put_back(self, job: str, worker: str) -> None:
        """Let a job wait again as if it had not been claimed: nothing was wrong with it or with its worker."""
        self._change("state = 'queued', attempts = attempts - 1, lease = 0", (), job, worker)

    def _change(self, fields: str, values: tuple[object, ...], job: str, worker: str) -> bool:
        """Change a job that this worker still holds."""
        held = "id = ? AND worker = ? AND state = 'running'"
        with self.writing() as base:
            return base.execute(f"UPDATE jobs SET {fields} WHERE {held}", (*values, job, worker)).rowcount == 1

    def cancel(self, job: str, owner: str) -> bool:
        """Cancel a job of this owner; False when it ended before or is not theirs."""
        mine = f"id = ? AND owner = ? AND {OPEN}"
        with self.writing() as base:
            done = base.execute(
                f"UPDATE jobs SET state = 'cancelled', ended = ? WHERE {mine}", (self.clock(), job, owner)
            )
            return done.rowcount == 1

    def job(self, job: str, owner: str) -> dict[str, Any] | None:
        """A job of this owner; None for another's, which looks like one that never was."""
        found = self.reading("SELECT * FROM jobs WHERE id = ? AND owner = ?", job, owner)
        return found[0] if found else None

    def is_held(self, job: str) -> bool:
        """Whether a job waits, is drawn or is done: its folder is somebody's then."""
        return bool(self.reading(f"SELECT id FROM jobs WHERE id = ? AND {HELD}", job))

    def forget(self, job: str) -> None:
        """Drop a job's row; a worker that draws it is told to stop at its next heartbeat."""
        with self.writing() as base:
            base.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def claim_webhooks(self, seconds: float, most: int = 8) -> list[dict[str, Any]]:
        """Jobs whose end should be told now, new ones first; for so long no other process takes them."""
        now = self.clock()
        due = "webhook_state = 'pending' AND ended IS NOT NULL AND webhook_next <= ?"
        change = "webhook_tries = webhook_tries + 1, webhook_next = ?"
        chosen = f"SELECT id FROM jobs WHERE {due} ORDER BY webhook_tries, ended LIMIT ?"
        with self.writing() as base:
            told = base.execute(
                f"UPDATE jobs SET {change} WHERE id IN ({chosen}) RETURNING *", (now + seconds, now, most)
            )
            return [dict(row) for row in told]

    def told_webhook(self, job: str, state: str, why: str | None = None, wait: float | None = None) -> None:
        """What came of a try: `delivered`, `failed` for good, or `pending` until after `wait` seconds."""
        with self.writing() as base:
            change = "webhook_state = ?, webhook_told = ?, webhook_next = ?"
            base.execute(f"UPDATE jobs SET {change} WHERE id = ?", (state, why, self.clock() + (wait or 0.0), job))

    def counts(self) -> dict[str, int]:
        """State → number of jobs."""
        return {row["state"]: row["n"] for row in self.reading("SELECT state, count(*) AS n FROM jobs GROUP BY state")}

    def waiting(self) -> int:
        """Pictures that wait or are being drawn."""
        return self.reading(f"SELECT coalesce(sum(pictures), 0) AS n FROM jobs WHERE {OPEN}")[0]["n"]

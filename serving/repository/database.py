"""The service's SQLite file: its tables, a connection for each thread, and transactions."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinset.common.atomic_files import disk_full

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another thread's or process's write lock."""
SCHEMA = """
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
CREATE TABLE IF NOT EXISTS job_uploads (job TEXT NOT NULL, upload TEXT NOT NULL, PRIMARY KEY (job, upload));
CREATE TABLE IF NOT EXISTS copies (path TEXT NOT NULL, upload TEXT NOT NULL, PRIMARY KEY (path, upload));
CREATE INDEX IF NOT EXISTS by_end ON jobs (ended);
CREATE INDEX IF NOT EXISTS by_consent ON jobs (consent);
CREATE INDEX IF NOT EXISTS job_uploads_by_upload ON job_uploads (upload);
CREATE INDEX IF NOT EXISTS copies_by_upload ON copies (upload);
"""
VERSION = 1
"""Of the tables. Files of version 0 say which uploads a job uses in the job's order alone."""
PASSING = ("locked", "busy", "disk I/O error", "unable to open database file", "readonly")
"""What SQLite says of a file that it cannot use now and may be able to use later."""


def unavailable(error: BaseException) -> bool:
    """Whether an error says that the database cannot be used just now: locked, no room, or a disk that fails.

    Whoever meets one waits and tries again: nothing is wrong with what was asked.
    """
    return isinstance(error, sqlite3.OperationalError) and (
        disk_full(error) or any(fault in str(error) for fault in PASSING)
    )


def uploads_named(fields: dict[str, Any]) -> list[str]:
    """The uploads in the fields of an order that are for uploads; what stands in its words names none."""
    pose = fields.get("pose") or ""
    alone = [upload for upload in (fields.get("photo"), pose if len(pose) == 32 else None) if upload]
    garments = [one["upload"] for one in fields.get("garments") or ()]
    return list(dict.fromkeys([*(fields.get("selfies") or ()), *garments, *alone]))


class Database:
    """One SQLite file, shared by any number of threads and processes.

    Args:
        path: the file, made when missing; its folder is the service's user's alone.
    """

    def __init__(self, path: Path):
        self.path, self._local = path, threading.local()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)  # in a folder that others may read too; SQLite's other files take its mode
        connection = self.connection()
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
        connection.executescript(SCHEMA)
        self._migrate()

    def _migrate(self) -> None:
        """Bring a file of an earlier version up to date, once."""
        if self.rows("PRAGMA user_version")[0][0] >= VERSION:
            return
        with self.transaction() as connection:
            for row in self.rows("SELECT id, request FROM jobs"):
                links = [(row["id"], upload) for upload in uploads_named(json.loads(row["request"]))]
                connection.executemany("INSERT OR IGNORE INTO job_uploads VALUES (?, ?)", links)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def connection(self) -> sqlite3.Connection:
        """This thread's own, which commits each statement by itself unless a transaction is open."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous=FULL")  # what was accepted survives a power cut
            connection.execute("PRAGMA secure_delete=ON")  # and what was deleted is overwritten
            self._local.connection = connection
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Holds the file's one write lock until the block ends; what fails in between leaves nothing.

        Within another transaction of the same thread it is a part of that one.
        """
        connection = self.connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:  # where the disk is full, SQLite has rolled back by itself
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def flush(self) -> None:
        """Take what was deleted out of SQLite's journal too, where nobody reads from it now."""
        self.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query, or of a statement with RETURNING."""
        return self.connection().execute(query, values).fetchall()

    def change(self, statement: str, *values: object) -> int:
        """How many rows a statement changed."""
        with self.transaction() as connection:
            return connection.execute(statement, values).rowcount

"""The service's SQLite file: its tables, a connection for each thread, and transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
"""


class Database:
    """One SQLite file, shared by any number of threads and processes.

    Args:
        path: the file, made when missing; its folder is the service's user's alone.
    """

    def __init__(self, path: Path):
        self.path, self._local = path, threading.local()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = self.connection()
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
        connection.executescript(SCHEMA)

    def connection(self) -> sqlite3.Connection:
        """This thread's own, which commits each statement by itself unless a transaction is open."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous=FULL")  # what was accepted survives a power cut
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

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query, or of a statement with RETURNING."""
        return self.connection().execute(query, values).fetchall()

    def change(self, statement: str, *values: object) -> int:
        """How many rows a statement changed."""
        with self.transaction() as connection:
            return connection.execute(statement, values).rowcount

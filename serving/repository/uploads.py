"""The table of uploads: whose they are, and since when."""

from __future__ import annotations

import sqlite3

from twinset.serving.repository.database import Database
from twinset.serving.repository.entities import Upload


class UploadTable:
    """Pictures that were sent.

    Args:
        database: that keeps them.
    """

    def __init__(self, database: Database):
        self.database = database

    def insert(self, upload: Upload) -> None:
        """Enter a picture whose file is in place."""
        values = (upload.id, upload.owner, upload.sha256, upload.size, upload.created_at)
        self.database.change("INSERT INTO uploads (id, owner, sha256, bytes, made) VALUES (?, ?, ?, ?, ?)", *values)

    def find(self, upload: str, owner: str) -> Upload | None:
        """An upload of this owner; None for another's."""
        rows = self.database.rows("SELECT * FROM uploads WHERE id = ? AND owner = ?", upload, owner)
        return _upload(rows[0]) if rows else None

    def created_before(self, time: float) -> list[Upload]:
        """Those that came before a time, in seconds since the epoch."""
        return [_upload(row) for row in self.database.rows("SELECT * FROM uploads WHERE made < ?", time)]

    def ids(self) -> set[str]:
        """Of all uploads."""
        return {row["id"] for row in self.database.rows("SELECT id FROM uploads")}

    def delete(self, upload: str) -> None:
        """Drop an upload; its file is deleted by whoever asks for this."""
        self.database.change("DELETE FROM uploads WHERE id = ?", upload)


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(row["id"], row["owner"], row["sha256"], row["bytes"], row["made"])

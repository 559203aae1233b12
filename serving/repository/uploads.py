"""The table of uploads: whose they are, and since when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from twinset.serving.repository.database import Database
from twinset.serving.repository.entities import Upload
from twinset.serving.repository.jobs import FUTURE


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

    def unused_before(self, time: float) -> list[Upload]:
        """Those that came before a time, in seconds since 1970, and that no job uses."""
        query = (
            "SELECT * FROM uploads WHERE made < ? "
            "AND NOT EXISTS (SELECT 1 FROM job_uploads WHERE job_uploads.upload = uploads.id)"
        )
        return [_upload(row) for row in self.database.rows(query, time)]

    def unused_of(self, owner: str, sha256: Iterable[str]) -> list[Upload]:
        """An owner's uploads of these bytes that no job uses."""
        query = (
            "SELECT * FROM uploads WHERE owner = ? AND sha256 = ? "
            "AND NOT EXISTS (SELECT 1 FROM job_uploads WHERE job_uploads.upload = uploads.id)"
        )
        return [_upload(row) for digest in sha256 for row in self.database.rows(query, owner, digest)]

    def date_from_now(self, now: float) -> None:
        """Uploads that came in the future, by a clock that was wrong, are kept as if they came now."""
        self.database.change("UPDATE uploads SET made = ? WHERE made > ?", now, now + FUTURE)

    def add_copy(self, upload: str, path: str) -> None:
        """Remember where else an upload's bytes lie; that file goes with the upload."""
        self.database.change("INSERT OR IGNORE INTO copies (path, upload) VALUES (?, ?)", path, upload)

    def own_copies(self, upload: str) -> list[str]:
        """Files with an upload's bytes that are no other upload's copies as well."""
        query = (
            "SELECT path FROM copies AS mine WHERE upload = ? AND NOT EXISTS "
            "(SELECT 1 FROM copies AS other WHERE other.path = mine.path AND other.upload != mine.upload)"
        )
        return [row["path"] for row in self.database.rows(query, upload)]

    def ids(self) -> set[str]:
        """Of all uploads."""
        return {row["id"] for row in self.database.rows("SELECT id FROM uploads")}

    def delete(self, upload: str) -> None:
        """Drop an upload; its file is deleted by whoever asks for this."""
        with self.database.transaction():
            self.database.change("DELETE FROM uploads WHERE id = ?", upload)
            self.database.change("DELETE FROM copies WHERE upload = ?", upload)


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(row["id"], row["owner"], row["sha256"], row["bytes"], row["made"])

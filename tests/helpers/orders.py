"""What a service was asked for, whoever asked."""

from __future__ import annotations

from twinset.serving.repository import Repository


def orders(repository: Repository) -> list[str]:
    """The orders of all jobs, JSON, the oldest first."""
    return [row["request"] for row in repository.database.rows("SELECT request FROM jobs ORDER BY rowid")]

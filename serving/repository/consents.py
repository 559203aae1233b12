"""The table of consents: which key entered which."""

from __future__ import annotations

from twinset.serving.repository.database import Database
from twinset.serving.repository.entities import Consent


class ConsentTable:
    """Which key entered which consent.

    Args:
        database: that keeps them.
    """

    def __init__(self, database: Database):
        self.database = database

    def insert(self, consent: Consent) -> None:
        """Enter a consent that is in the book."""
        self.database.change("INSERT INTO consents (id, owner) VALUES (?, ?)", consent.id, consent.owner)

    def find(self, consent: str, owner: str) -> Consent | None:
        """A consent that this owner entered; None for another's."""
        rows = self.database.rows("SELECT id, owner FROM consents WHERE id = ? AND owner = ?", consent, owner)
        return Consent(rows[0]["id"], rows[0]["owner"]) if rows else None

    def owner_of(self, consent: str) -> str | None:
        """Who entered a consent; None where nobody did."""
        rows = self.database.rows("SELECT owner FROM consents WHERE id = ?", consent)
        return rows[0]["owner"] if rows else None

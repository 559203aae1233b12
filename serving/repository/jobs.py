"""The table of jobs: who claims one, how it ends, and what is asked of all."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

from twinset.serving.repository.database import Database
from twinset.serving.repository.entities import Delivery, Job, JobResult, Progress, State, Webhook, WebhookState

_OPEN = "state IN ('queued', 'running')"
_HELD = f"({_OPEN} OR state = 'done')"
_LOST = "state = 'running' AND lease < ?"


class JobTable:
    """Jobs of all owners.

    Args:
        database: that keeps them.
    """

    def __init__(self, database: Database):
        self.database = database

    def insert(self, job: Job) -> None:
        """Append a job that waits to be drawn."""
        url = job.webhook and job.webhook.url
        self.database.change(
            "INSERT INTO jobs (id, owner, request, same, pictures, made, idempotency, consent, webhook, webhook_state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            job.id, job.owner, job.request, job.fingerprint, job.pictures, job.created_at, job.idempotency_key,
            job.consent, url, url and "pending",
        )  # fmt: skip

    def find(self, job: str, owner: str) -> Job | None:
        """A job of this owner; None for another's, which looks like one that never was."""
        return _first(self.database.rows("SELECT * FROM jobs WHERE id = ? AND owner = ?", job, owner))

    def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """The job that an owner ordered with an idempotency key."""
        query = "SELECT * FROM jobs WHERE owner = ? AND idempotency = ?"
        return _first(self.database.rows(query, owner, idempotency_key))

    def latest(self, owner: str, limit: int = 100) -> list[Job]:
        """An owner's jobs, the newest first."""
        query = "SELECT * FROM jobs WHERE owner = ? ORDER BY made DESC LIMIT ?"
        return [_job(row) for row in self.database.rows(query, owner, limit)]

    def last_done(self, limit: int) -> list[Job]:
        """Of all owners, those done last."""
        query = "SELECT * FROM jobs WHERE state = 'done' ORDER BY ended DESC LIMIT ?"
        return [_job(row) for row in self.database.rows(query, limit)]

    def under_consent(self, consent: str) -> list[Job]:
        """Those drawn, or to be drawn, under a consent."""
        return [_job(row) for row in self.database.rows("SELECT * FROM jobs WHERE consent = ?", consent)]

    def ended_before(self, time: float) -> list[Job]:
        """Those that ended before a time, in seconds since the epoch."""
        query = "SELECT * FROM jobs WHERE ended IS NOT NULL AND ended < ?"
        return [_job(row) for row in self.database.rows(query, time)]

    def requests(self) -> list[str]:
        """The orders of all jobs, JSON: they name the uploads that are still needed."""
        return [row["request"] for row in self.database.rows("SELECT request FROM jobs")]

    def consents(self) -> list[str]:
        """Ids of the consents that jobs were ordered under."""
        rows = self.database.rows("SELECT DISTINCT consent FROM jobs WHERE consent IS NOT NULL")
        return [row["consent"] for row in rows]

    def held(self) -> set[str]:
        """Ids of the jobs that wait, are drawn or are done: their folders are somebody's."""
        return {row["id"] for row in self.database.rows(f"SELECT id FROM jobs WHERE {_HELD}")}

    def is_held(self, job: str) -> bool:
        """Whether a job waits, is drawn or is done."""
        return bool(self.database.rows(f"SELECT id FROM jobs WHERE id = ? AND {_HELD}", job))

    def counts(self) -> dict[str, int]:
        """State → number of jobs."""
        rows = self.database.rows("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
        return {row["state"]: row["jobs"] for row in rows}

    def pictures_waiting(self) -> int:
        """Pictures of all jobs that wait or are being drawn."""
        (row,) = self.database.rows(f"SELECT coalesce(sum(pictures), 0) AS pictures FROM jobs WHERE {_OPEN}")
        return row["pictures"]

    def fail_lost(self, now: float, attempts: int, result: JobResult) -> None:
        """End the jobs whose worker was lost and that were claimed so often."""
        change = f"UPDATE jobs SET state = 'failed', ended = ?, result = ? WHERE {_LOST} AND attempts >= ?"
        self.database.change(change, now, result.to_json(), now, attempts)

    def claim_oldest(self, worker: str, now: float, lease_until: float) -> Job | None:
        """Give a worker the oldest job that waits or whose worker was lost; None when there is none."""
        oldest = f"SELECT id FROM jobs WHERE state = 'queued' OR ({_LOST}) ORDER BY made, rowid LIMIT 1"
        claim = "UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = ?, lease = ?"
        with self.database.transaction():
            return _first(self.database.rows(f"{claim} WHERE id = ({oldest}) RETURNING *", worker, lease_until, now))

    def renew(self, job: str, worker: str, lease_until: float, progress: Progress | None) -> bool:
        """Lengthen a worker's lease; the progress stays as it was where none is given. False: the job is not its."""
        text = progress and json.dumps(asdict(progress))
        return self._change_claimed("lease = ?, progress = coalesce(?, progress)", (lease_until, text), job, worker)

    def end(self, job: str, worker: str, state: State, ended_at: float, result: JobResult) -> bool:
        """End a worker's job; False: it is not its, or has ended before."""
        values = (state, ended_at, result.to_json())
        return self._change_claimed("state = ?, ended = ?, result = ?", values, job, worker)

    def release(self, job: str, worker: str) -> None:
        """End a worker's lease, so that another claims the job at once."""
        self._change_claimed("lease = 0", (), job, worker)

    def requeue(self, job: str, worker: str) -> None:
        """Let a worker's job wait again as if it had not been claimed."""
        self._change_claimed("state = 'queued', attempts = attempts - 1, lease = 0", (), job, worker)

    def _change_claimed(self, change: str, values: tuple[object, ...], job: str, worker: str) -> bool:
        claimed = "id = ? AND worker = ? AND state = 'running'"
        return self.database.change(f"UPDATE jobs SET {change} WHERE {claimed}", *values, job, worker) == 1

    def cancel(self, job: str, owner: str, ended_at: float) -> bool:
        """End an owner's job; False: it has ended before, or is not theirs."""
        cancel = f"UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND owner = ? AND {_OPEN}"
        return self.database.change(cancel, ended_at, job, owner) == 1

    def delete(self, job: str) -> None:
        """Drop a job, in whatever state it is."""
        self.database.change("DELETE FROM jobs WHERE id = ?", job)

    def claim_deliveries(self, now: float, claimed_until: float, limit: int) -> list[Delivery]:
        """Ends of jobs to be sent now, those tried least first; until the time given nobody else gets them."""
        due = "webhook_state = 'pending' AND ended IS NOT NULL AND webhook_next <= ?"
        chosen = f"SELECT id FROM jobs WHERE {due} ORDER BY webhook_tries, ended LIMIT ?"
        claim = "UPDATE jobs SET webhook_tries = webhook_tries + 1, webhook_next = ?"
        with self.database.transaction():
            rows = self.database.rows(f"{claim} WHERE id IN ({chosen}) RETURNING *", claimed_until, now, limit)
        return [Delivery(job, job.webhook) for job in map(_job, rows) if job.webhook]

    def record_delivery(self, job: str, state: WebhookState, reason: str | None, next_at: float) -> None:
        """What came of a try, and when the next one is due where it is pending."""
        change = "UPDATE jobs SET webhook_state = ?, webhook_told = ?, webhook_next = ? WHERE id = ?"
        self.database.change(change, state, reason, next_at, job)


def _first(rows: list[sqlite3.Row]) -> Job | None:
    return _job(rows[0]) if rows else None


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        request=row["request"],
        fingerprint=row["same"],
        pictures=row["pictures"],
        created_at=row["made"],
        ended_at=row["ended"],
        state=row["state"],
        attempts=row["attempts"],
        idempotency_key=row["idempotency"],
        consent=row["consent"],
        progress=Progress(**json.loads(row["progress"])) if row["progress"] else None,
        result=JobResult.from_json(row["result"]) if row["result"] else JobResult(),
        webhook=_webhook(row),
    )


def _webhook(row: sqlite3.Row) -> Webhook | None:
    if row["webhook"] is None:
        return None
    return Webhook(row["webhook"], row["webhook_state"], row["webhook_tries"], row["webhook_told"])

"""The table of jobs: who claims one, how it ends, and what is asked of all."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict

from twinset.serving.repository.database import Database
from twinset.serving.repository.entities import Delivery, Job, JobResult, Progress, State, Webhook, WebhookState

_OPEN = "state IN ('queued', 'running')"
_HELD = f"({_OPEN} OR state = 'done')"
_LOST = "state = 'running' AND lease NOT BETWEEN ? AND ?"
"""A lease that is over, or that ends later than one given now: the machine, and its clock, was started anew since."""
FUTURE = 60.0
"""Seconds by which a date may lie ahead of the clock before it is taken for that of a clock that was wrong."""
LATEST = 86_400.0
"""Seconds from now after which no webhook is ever put off."""


class JobTable:
    """Jobs of all owners.

    Args:
        database: that keeps them.
    """

    def __init__(self, database: Database):
        self.database = database

    def insert(self, job: Job, uploads: Iterable[str] = ()) -> None:
        """Append a job that waits to be drawn, and which uploads it uses."""
        url = job.webhook and job.webhook.url
        with self.database.transaction() as connection:
            self.database.change(
                "INSERT INTO jobs (id, owner, request, same, pictures, made, idempotency, consent, webhook, "
                "webhook_state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                job.id, job.owner, job.request, job.fingerprint, job.pictures, job.created_at, job.idempotency_key,
                job.consent, url, url and "pending",
            )  # fmt: skip
            links = [(job.id, upload) for upload in uploads]
            connection.executemany("INSERT INTO job_uploads (job, upload) VALUES (?, ?)", links)

    def find(self, job: str, owner: str) -> Job | None:
        """A job of this owner; None for another's, which looks like one that never was."""
        return _first(self.database.rows("SELECT * FROM jobs WHERE id = ? AND owner = ?", job, owner))

    def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """The job that an owner ordered with an idempotency key."""
        query = "SELECT * FROM jobs WHERE owner = ? AND idempotency = ?"
        return _first(self.database.rows(query, owner, idempotency_key))

    def latest(self, owner: str, limit: int = 100) -> list[Job]:
        """An owner's jobs, the newest first."""
        query = "SELECT * FROM jobs WHERE owner = ? ORDER BY rowid DESC LIMIT ?"
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

    def own_uploads(self, job: str) -> list[str]:
        """The uploads that a job uses and no other job does."""
        query = (
            "SELECT upload FROM job_uploads AS mine WHERE job = ? AND NOT EXISTS "
            "(SELECT 1 FROM job_uploads AS other WHERE other.upload = mine.upload AND other.job != mine.job)"
        )
        return [row["upload"] for row in self.database.rows(query, job)]

    def date_from_now(self, now: float) -> None:
        """Jobs that ended in the future, by a clock that was wrong, are kept as if they ended now."""
        self.database.change("UPDATE jobs SET ended = ? WHERE ended > ?", now, now + FUTURE)

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

    def pictures_waiting(self, owner: str | None = None) -> int:
        """Pictures that wait or are being drawn, of one owner or of all."""
        total = f"SELECT coalesce(sum(pictures), 0) AS pictures FROM jobs WHERE {_OPEN} AND owner = coalesce(?, owner)"
        return self.database.rows(total, owner)[0]["pictures"]

    def fail_lost(self, ticks: float, lease_until: float, attempts: int, ended_at: float, result: JobResult) -> None:
        """End the jobs whose worker was lost and that were claimed so often.

        Args:
            ticks, lease_until: of the clock for leases: now, and when a lease ends that is given now.
            attempts: how often.
            ended_at: now, seconds since 1970.
            result: of these jobs.
        """
        change = f"UPDATE jobs SET state = 'failed', ended = ?, result = ? WHERE {_LOST} AND attempts >= ?"
        self.database.change(change, ended_at, result.to_json(), ticks, lease_until, attempts)

    def claim_oldest(self, worker: str, ticks: float, lease_until: float) -> Job | None:
        """Give a worker the oldest job that waits or whose worker was lost; None when there is none."""
        oldest = f"SELECT id FROM jobs WHERE state = 'queued' OR ({_LOST}) ORDER BY rowid LIMIT 1"
        claim = "UPDATE jobs SET state = 'running', attempts = attempts + 1, worker = ?, lease = ?"
        values = (worker, lease_until, ticks, lease_until)
        with self.database.transaction():
            return _first(self.database.rows(f"{claim} WHERE id = ({oldest}) RETURNING *", *values))

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
        self._change_claimed("lease = -1", (), job, worker)

    def requeue(self, job: str, worker: str) -> None:
        """Let a worker's job wait again as if it had not been claimed."""
        self._change_claimed("state = 'queued', attempts = attempts - 1, lease = -1", (), job, worker)

    def _change_claimed(self, change: str, values: tuple[object, ...], job: str, worker: str) -> bool:
        claimed = "id = ? AND worker = ? AND state = 'running'"
        return self.database.change(f"UPDATE jobs SET {change} WHERE {claimed}", *values, job, worker) == 1

    def cancel(self, job: str, owner: str, ended_at: float) -> bool:
        """End an owner's job; False: it has ended before, or is not theirs."""
        cancel = f"UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND owner = ? AND {_OPEN}"
        return self.database.change(cancel, ended_at, job, owner) == 1

    def delete(self, job: str) -> None:
        """Drop a job, in whatever state it is."""
        with self.database.transaction():
            self.database.change("DELETE FROM jobs WHERE id = ?", job)
            self.database.change("DELETE FROM job_uploads WHERE job = ?", job)

    def claim_deliveries(self, now: float, claimed_until: float, limit: int) -> list[Delivery]:
        """Ends of jobs to be sent now, those tried least first; until the time given nobody else gets them."""
        due = "webhook_state = 'pending' AND ended IS NOT NULL AND webhook_next NOT BETWEEN ? AND ?"
        chosen = f"SELECT id FROM jobs WHERE {due} ORDER BY webhook_tries, ended LIMIT ?"
        claim = "UPDATE jobs SET webhook_tries = webhook_tries + 1, webhook_next = ?"
        with self.database.transaction():
            later = math.nextafter(now, math.inf)  # what is due now is due
            values = (claimed_until, later, now + LATEST, limit)
            rows = self.database.rows(f"{claim} WHERE id IN ({chosen}) RETURNING *", *values)
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

"""A durable job queue: claimed once, leased, counted, and never lost by a killed worker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

from twinset.errors import InputError
from twinset.serving.repository import Delivery, Job, JobResult, Progress, Repository, State, Webhook, WebhookState

MOST_ATTEMPTS = 3
"""Claims after which a job that never finished is set aside as `failed`."""


class QueueFullError(InputError):
    """The queue has no room for the pictures of another job."""


class OtherRequestError(InputError):
    """An idempotency key was used before, for another request."""


class JobQueue:
    """Jobs of all keys, shared by any number of threads and processes.

    States of jobs: `queued` to `running` to one of `done`, `failed`, `cancelled`, which are final.

    Args:
        repository: Where jobs are kept.
        room: Pictures that may wait or be drawn at a time.
        lease: Seconds after its last heartbeat when a worker counts as lost, by the machine's own clock.
        share: Says how many pictures of one owner may wait or be drawn; all of the room when None.
    """

    def __init__(
        self, repository: Repository, room: int = 256, lease: float = 60.0, share: Callable[[], int] | None = None
    ) -> None:
        self.repository, self.jobs, self.room, self.lease = repository, repository.jobs, room, lease
        self.share = share or (lambda: room)

    def add(
        self, owner: str, request: str, pictures: int, idempotency_key: str | None = None, consent: str | None = None,
        webhook: str | None = None, fingerprint: str | None = None, uploads: Iterable[str] = (),
    ) -> str:  # fmt: skip
        """Append a job and return its id; with an idempotency key that was used before, that job's.

        Args:
            owner: Who asks.
            request: JSON.
            pictures: How many it draws.
            idempotency_key: Chosen by the client.
            consent: Of the person in it.
            webhook: Where its end is sent.
            fingerprint: What two requests of one idempotency key must have in common; the whole request when None.
            uploads: Ids of those that it draws from; they are kept as long as the job.

        Raises:
            QueueFullError: Its pictures do not fit beside those that wait.
            OtherRequestError: The key was used for another request.
        """
        with self.repository.transaction():
            known = None if idempotency_key is None else self.jobs.find_by_key(owner, idempotency_key)
            if known is None:
                self._check_room(pictures, owner)
                job = Job(
                    id=uuid.uuid4().hex, owner=owner, request=request, fingerprint=fingerprint or request,
                    pictures=pictures, created_at=self.repository.clock(), idempotency_key=idempotency_key,
                    consent=consent, webhook=None if webhook is None else Webhook(webhook),
                )  # fmt: skip
                self.jobs.insert(job, uploads)
                return job.id
        if known.fingerprint != (fingerprint or request):
            raise OtherRequestError(f"Idempotency-Key {idempotency_key!r} was used for another request; use a new one")
        return known.id

    def _check_room(self, pictures: int, owner: str) -> None:
        waiting, own = self.waiting(), self.jobs.pictures_waiting(owner)
        if waiting + pictures > self.room:
            raise QueueFullError(
                f"no room for {pictures} pictures: {waiting} of at most {self.room} wait; try again later"
            )
        share = self.share()
        if own + pictures > share:
            raise QueueFullError(
                f"no room for {pictures} pictures: {own} of at most {share} of one key wait; try again later"
            )

    def claim(self, worker: str) -> Job | None:
        """Take the oldest job that waits or whose worker was lost; None when there is none."""
        aside = JobResult(error=f"set aside after {MOST_ATTEMPTS} attempts; its workers died")
        with self.repository.transaction():
            # read once the lock is held: a lease given meanwhile would else seem to be of the future
            now, ticks = self.repository.clock(), self.repository.ticks()
            self.jobs.fail_lost(ticks, ticks + self.lease, MOST_ATTEMPTS, now, aside)
            return self.jobs.claim_oldest(worker, ticks, ticks + self.lease)

    def heartbeat(self, job: str, worker: str, progress: Progress | None = None) -> bool:
        """Renew the lease; False tells the worker to stop: cancelled, deleted, or given to another."""
        return self.jobs.renew(job, worker, self.repository.ticks() + self.lease, progress)

    def finish(self, job: str, worker: str, state: State, result: JobResult) -> bool:
        """End a job as `done` or `failed`; False when it ended before or belongs to another worker."""
        return self.jobs.end(job, worker, state, self.repository.clock(), result)

    def release(self, job: str, worker: str) -> None:
        """End a worker's lease, so that another worker claims the job at once; it counts as an attempt."""
        self.jobs.release(job, worker)

    def requeue(self, job: str, worker: str) -> None:
        """Let a job wait again as if it had not been claimed: nothing was wrong with it or with its worker."""
        self.jobs.requeue(job, worker)

    def cancel(self, job: str, owner: str) -> bool:
        """Cancel a job of this owner; False when it ended before or is not theirs."""
        return self.jobs.cancel(job, owner, self.repository.clock())

    def job(self, job: str, owner: str) -> Job | None:
        """A job of this owner; None for another's, which looks like one that never was."""
        return self.jobs.find(job, owner)

    def claim_deliveries(self, seconds: float, limit: int = 8) -> list[Delivery]:
        """Webhooks to be sent now, new ones first; for so many seconds no other process gets them."""
        now = self.repository.clock()
        return self.jobs.claim_deliveries(now, now + seconds, limit)

    def record_delivery(self, job: str, state: WebhookState, reason: str | None = None, wait: float = 0.0) -> None:
        """Record the outcome of a try: `delivered`, `failed` for good, or `pending` until after `wait` seconds."""
        self.jobs.record_delivery(job, state, reason, self.repository.clock() + wait)

    def counts(self) -> dict[str, int]:
        """State → number of jobs."""
        return self.jobs.counts()

    def waiting(self) -> int:
        """Pictures that wait or are being drawn."""
        return self.jobs.pictures_waiting()

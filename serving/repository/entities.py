"""What the service's database holds, as frozen values: jobs and what came of them, uploads, consents, deliveries."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
"""Of a job; the last three are final."""
WebhookState = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far a job is: the picture being drawn, from 0, the steps done of it, and how many it has."""

    picture: int
    pictures: int
    step: int
    steps: int | None = None


@dataclass(frozen=True)
class PictureResult:
    """A drawn picture: its seed and scores, what was repaired and what is still wrong."""

    seed: int
    scores: dict[str, float]
    repairs: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class JobResult:
    """The result of a job; empty until it has ended.

    Attributes:
        pictures: seed, scores, repairs and faults of each picture.
        files: their names in the job's folder, in the same order.
        notes: lines for whoever placed the order.
        seconds: spent on drawing.
        cache_files: names of the perception results that were made or used, which are deleted with the job.
        error: why it failed.
    """

    pictures: tuple[PictureResult, ...] = ()
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    cache_files: tuple[str, ...] = ()
    error: str | None = None

    def to_json(self) -> str:
        """As the database keeps it; there the cache files are called `seen`."""
        fields = asdict(self)
        fields["seen"] = fields.pop("cache_files")
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> JobResult:
        """The result that `to_json` wrote, or an older version of it, which left out what was empty."""
        fields = json.loads(text)
        pictures = (PictureResult(one["seed"], one["scores"], tuple(one["repairs"]), tuple(one["faults"]))
                    for one in fields.get("pictures", ()))  # fmt: skip
        return cls(
            pictures=tuple(pictures),
            files=tuple(fields.get("files", ())),
            notes=tuple(fields.get("notes", ())),
            seconds=fields.get("seconds", 0.0),
            cache_files=tuple(fields.get("seen", ())),
            error=fields.get("error"),
        )


@dataclass(frozen=True)
class Webhook:
    """Where a job's end is sent, and what came of it.

    Attributes:
        url: of the receiver.
        state: delivered, failed for good, or pending.
        tries: made so far.
        reason: why the last one failed.
    """

    url: str
    state: WebhookState = "pending"
    tries: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Job:
    """An order for pictures.

    Attributes:
        id: 32 hexadecimal digits.
        owner: name of the key that ordered it.
        request: JSON of the order's fields.
        fingerprint: what two orders of one idempotency key must have in common.
        pictures: how many it draws.
        created_at, ended_at: seconds since the epoch.
        state: see `State`.
        attempts: how often a worker claimed it.
        idempotency_key: chosen by the client.
        consent: id of the consent under which it is drawn.
        progress: None before it is drawn.
        result: what came of it.
        webhook: None where nobody asked to be told of its end.
    """

    id: str
    owner: str
    request: str
    fingerprint: str
    pictures: int
    created_at: float
    ended_at: float | None = None
    state: State = "queued"
    attempts: int = 0
    idempotency_key: str | None = None
    consent: str | None = None
    progress: Progress | None = None
    result: JobResult = JobResult()
    webhook: Webhook | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The order's fields."""
        return json.loads(self.request)


@dataclass(frozen=True)
class Delivery:
    """A job whose end is to be sent now, and where to."""

    job: Job
    webhook: Webhook


@dataclass(frozen=True)
class Upload:
    """A picture that somebody sent.

    Attributes:
        id: 32 hexadecimal digits, its file's name too.
        owner: name of the key that sent it.
        sha256: of its bytes, hexadecimal.
        size: bytes.
        created_at: seconds since the epoch.
    """

    id: str
    owner: str
    sha256: str
    size: int
    created_at: float


@dataclass(frozen=True)
class Consent:
    """Whose key entered a consent; what the person agreed to is in the book of consents."""

    id: str
    owner: str

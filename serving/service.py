"""The service's logic apart from HTTP: owners, uploads, orders, consents and expiry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from prometheus_client import CollectorRegistry, Counter, Gauge

from twinset.compliance.consent import ConsentBook, ConsentError, read_statement
from twinset.compliance.labels.visible import check_text
from twinset.errors import InputError, TooLargeError, WrongFormatError
from twinset.serving.api_keys import OPEN_OWNER, Keys
from twinset.serving.contract import ConsentIn, form_fields, read_order, with_uploads
from twinset.serving.problem_details import Problem
from twinset.serving.queue import JobQueue, OtherRequestError, QueueFullError
from twinset.serving.repository import Consent, Job, Repository, Upload, uploads_named
from twinset.serving.storage import CONSENTS, DATABASE, BusyError, Decoder, Files
from twinset.serving.upkeep import Duty, Upkeep
from twinset.serving.webhooks import Secrets, WebhookSender


@dataclass(frozen=True)
class Limits:
    """Limits of a service.

    Attributes:
        body: bytes of one request.
        pictures: of one job.
        steps: of one picture.
        room: most pictures in the queue, over all jobs.
        share: most pictures of one key in the queue; when None, half of the room where there are several keys.
        keep: seconds after which jobs and uploads are deleted.
        patience: seconds in which a body must have arrived.
        loopback_webhooks: whether webhooks may go to this machine, by plain HTTP too: for trials.
        optional_labels: whether clients may order pictures without labels, or without the visible one.
    """

    body: int = 32 * 2**20
    pictures: int = 16
    steps: int = 100
    room: int = 256
    share: int | None = None
    keep: float = 24 * 3600.0
    patience: float = 60.0
    loopback_webhooks: bool = False
    optional_labels: bool = False

    def share_of(self, keys: Keys | None) -> int:
        """Pictures that one key may have in the queue."""
        several = keys is not None and keys.count() > 1
        return self.share or ((self.room + 1) // 2 if several else self.room)


class Service:
    """What the application's routes share.

    Args:
        root: folder of everything that is kept.
        keys: None lets everybody in, for use on one machine.
        limits: see `Limits`.
        book: of consents.
        alive: whether the workers are ready, for /ready.
        lease: seconds until a silent worker's job is given to another.
    """

    def __init__(
        self,
        root: Path,
        keys: Keys | None,
        limits: Limits = Limits(),
        book: ConsentBook | None = None,
        alive: Callable[[], bool] = lambda: True,
        lease: float = 60.0,
    ):
        self.repository = Repository(root / DATABASE)
        self.queue = JobQueue(self.repository, limits.room, lease, lambda: limits.share_of(keys))
        self.files, self.decoder = Files(root, self.repository), Decoder()
        self.keys, self.limits, self.alive = keys, limits, alive
        self.book = ConsentBook(root / CONSENTS) if book is None else book
        self.webhook_sender = WebhookSender(self.queue, Secrets(root / "webhooks.key"), limits.loopback_webhooks)
        self.registry = CollectorRegistry()
        self.rejected = Counter("twinset_rejected", "Requests refused, by status.", ["status"], registry=self.registry)
        self.jobs = Gauge("twinset_jobs", "Jobs by state.", ["state"], registry=self.registry)
        self.waiting = Gauge("twinset_pictures_waiting", "Pictures that wait or are drawn.", registry=self.registry)
        self.seconds = Gauge("twinset_seconds_per_picture", "Mean of the last 50 jobs.", registry=self.registry)
        duties = [Duty("retention", self._sweep_round, 600.0), Duty("webhooks", self._webhook_round, 180.0)]
        self.upkeep = Upkeep(duties, self.registry)

    def owner(self, key: str | None) -> str:
        """Who asks.

        Raises:
            Problem: 401, no valid key.
        """
        if self.keys is None:
            return OPEN_OWNER
        found = None if key is None else self.keys.owner(key)
        if found is None:
            raise Problem(401, "no valid key; send yours as X-API-Key", headers={"WWW-Authenticate": "ApiKey"})
        return found

    def job(self, job: str, owner: str) -> Job:
        """A job of this owner.

        Raises:
            Problem: 404, there is none, or it is another owner's.
        """
        found = self.queue.job(job, owner)
        if found is None:
            raise Problem(404, f"job {job[:40]!r} is unknown; list yours: GET /v1/jobs")
        return found

    def take(self, file: BinaryIO, owner: str) -> Upload:
        """Store an uploaded picture, once it was decoded.

        Raises:
            Problem: 413, 415 or 422, what is wrong with it; 429 or 503, too many are being decoded.
        """
        part = self.files.begin()
        try:
            with part.open("wb") as out:
                shutil.copyfileobj(file, out)
            self.decoder.check(part, owner)
            return self.files.keep(part, owner)
        except BusyError as error:
            self.rejected.labels(str(error.status)).inc()
            raise Problem(error.status, str(error), headers={"Retry-After": "5"}) from None
        except InputError as error:
            status = 413 if isinstance(error, TooLargeError) else 415 if isinstance(error, WrongFormatError) else 422
            raise Problem(status, str(error), "file") from None
        finally:
            part.unlink(missing_ok=True)

    def order(self, fields: dict[str, Any], owner: str, idempotency: str | None = None) -> str:
        """Queue an order, if it may be drawn and there is room; returns the job's id.

        Args:
            fields: of a `JobRequest`.
            owner: who asks.
            idempotency: the same key gives the same job.

        Raises:
            Problem: 409, 422 or 429.
        """
        webhook = fields.pop("webhook")
        if webhook is not None and not webhook.startswith("https:") and not self.limits.loopback_webhooks:
            raise Problem(422, "webhook: only https is allowed; give an https address", "webhook")
        self.check_limits(fields)
        self.check_labels(fields)
        entries = {upload: self.files.entry(upload, owner) for upload in uploads_named(fields)}
        self.check_consent(fields, owner)
        request = json.dumps(fields | {"owner": owner}, sort_keys=True)
        by_content = with_uploads(fields, lambda upload: entries[upload].sha256)
        same = json.dumps(by_content | {"owner": owner}, sort_keys=True)
        try:
            order = (owner, request, fields["num"], idempotency, fields["consent"], webhook, same, entries)
            return self.queue.add(*order)
        except OtherRequestError as error:
            raise Problem(409, str(error)) from None
        except QueueFullError as error:
            self.rejected.labels("429").inc()
            wait = max(1, round(self.seconds_each() * fields["num"]))
            raise Problem(429, str(error), headers={"Retry-After": str(wait)}) from None

    def order_form(
        self, request: str, files: dict[str, list[BinaryIO]], owner: str, idempotency: str | None = None
    ) -> str:
        """Take an order with its pictures; see `order`.

        Args:
            request: JSON of a `JobRequest`, without uploads.
            files: pictures by the field that they are for: selfies, garments, photo, pose.
            owner: who asks.
            idempotency: the same key gives the same job.
        """
        fields, sent, used = form_fields(request), [], []
        try:
            for name, some in files.items():
                ids = []
                for file in some:
                    ids.append(self.take(file, owner).id)
                    sent.append(ids[-1])
                if ids:
                    fields[name] = _as_field(name, ids)
            job = self.order(read_order(fields), owner, idempotency)
            used = uploads_named(self.job(job, owner).fields)  # another's, where the key was used before
        finally:
            for upload in sent:
                if upload not in used:
                    self.files.forget_upload(upload)
        return job

    def seconds_each(self) -> float:
        """Mean seconds of a picture in the last 50 jobs; 5 before there are any."""
        last = self.repository.jobs.last_done(50)
        return sum(job.result.seconds for job in last) / sum(job.pictures for job in last) if last else 5.0

    def check_limits(self, fields: dict[str, Any]) -> None:
        """Refuse an order over this service's limits.

        Raises:
            Problem: 422, which field is too large.
        """
        for name, most in (("num", self.limits.pictures), ("steps", self.limits.steps)):
            if (fields[name] or 0) > most:
                raise Problem(422, f"{name}: {fields[name]} is over this service's {most}; ask for fewer", name)

    def check_labels(self, fields: dict[str, Any]) -> None:
        """Whether pictures may go without labels is for whoever runs the service to say, not for its clients.

        Raises:
            Problem: 422, the order leaves them out, or its words cannot be drawn.
        """
        if not self.limits.optional_labels:
            remedy = "leave the option out, or ask whoever runs it (--optional-labels)"
            if not fields["labels"]:
                raise Problem(422, f"labels: this service labels every picture; {remedy}", "labels")
            if fields["label_corner"] == "none":
                raise Problem(422, f"label_corner: this service's label is visible; {remedy}", "label_corner")
        try:
            check_text(fields["label_text"])
        except InputError as error:
            raise Problem(422, str(error), "label_text") from None

    def check_consent(self, fields: dict[str, Any], owner: str) -> None:
        """A face needs the person's consent, entered by the same key.

        Raises:
            Problem: 422, there is none, or it does not cover this.
        """
        if not fields["selfies"] and not fields["photo"]:
            return
        consent = fields["consent"]
        if consent is None:
            raise Problem(
                422, "a face needs the person's consent; POST /v1/consents, and give the id that it returns", "consent"
            )
        if self.repository.consents.find(consent, owner) is None:
            raise Problem(422, f"consent {consent!r} is unknown; POST /v1/consents first", "consent")
        try:
            shown = [*fields["selfies"], *([fields["photo"]] if fields["photo"] else [])]
            self.book.require(consent, [self.files.upload(upload, owner) for upload in shown], "try-on")
        except ConsentError as error:
            raise Problem(422, str(error), "consent") from None

    def agree(self, body: ConsentIn, owner: str) -> str:
        """Record a person's consent; returns its id."""
        statement = read_statement(
            person=body.person, purposes=body.purposes, until=body.until, given=datetime.now(UTC)
        )
        consent = Consent(self.book.record(statement), owner)
        self.repository.consents.insert(consent)
        return consent.id

    def withdraw(self, consent: str) -> None:
        """End a consent, and delete all that was made under it."""
        self.book.withdraw(consent)
        self._forget_made_under(consent)
        self.repository.database.flush()

    def sweep(self, now: datetime | None = None) -> None:
        """Delete what is kept no longer, and what was made under consents that have ended; `now` as of the clock.

        Raises:
            Exception: the first thing that went wrong, after all else was tried.
        """
        now = now or datetime.fromtimestamp(self.repository.clock(), UTC)
        faults: list[Exception] = []
        for step in (
            lambda: self.files.expire(self.limits.keep), lambda: self.book.expire(now=now),
            lambda: self._end_consents(now), self.repository.database.flush,
        ):  # fmt: skip
            try:
                step()
            except Exception as error:  # what cannot be deleted now does not keep the rest
                faults.append(error)
        if faults:
            raise faults[0]

    def _end_consents(self, now: datetime) -> None:
        for consent in self.repository.jobs.consents():
            try:
                ended = self.book.read(consent).fault(None, now.date()) is not None
            except ConsentError:
                ended = True  # its entry is gone: nothing says that the pictures may be kept
            if ended:
                self._forget_made_under(consent)

    def _sweep_round(self) -> float:
        self.sweep()
        return 60.0

    def _webhook_round(self) -> float:
        return 0.0 if self.webhook_sender.deliver_due() else 1.0

    def _forget_made_under(self, consent: str) -> None:
        """Delete the jobs of a consent, and the uploads of its person that no order of anybody else's uses."""
        for job in self.repository.jobs.under_consent(consent):
            self.files.forget_job(job)
        owner = self.repository.consents.owner_of(consent)
        with suppress(ConsentError):  # without its entry nobody knows whose pictures they were
            for upload in self.repository.uploads.unused_of(owner or "", self.book.read(consent).selfies):
                self.files.forget_upload(upload.id)


def _as_field(name: str, uploads: list[str]) -> Any:
    """Uploads of a form in the shape that a request's field has."""
    if name in ("photo", "pose"):
        return uploads[0]
    return [{"upload": one} for one in uploads] if name == "garments" else uploads

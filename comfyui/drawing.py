"""From a node's inputs to pictures: send, order, follow, fetch."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .fields import ABSENT, AUTO, GARMENTS, MOST_SELFIES, order_fields
from .host import pause, progress_bar, raise_if_interrupted
from .service import AnswerError, Service, ServiceError, UnreachableError

POLL = 0.5
"""Seconds between looks at a job."""
PATIENCE = 30.0
"""Seconds in which a service may come back: its queue outlives a restart."""
STEPS = 30
"""Of a picture, for the bar, where the model decides."""
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class PictureFiles:
    """Pictures as the service made them, labels included.

    Attributes:
        pngs: the files' bytes.
    """

    pngs: tuple[bytes, ...] = field(repr=False)


def draw(service: Service, inputs: dict[str, Any]) -> tuple[str, PictureFiles]:
    """Order pictures, and wait for them. What is not waited for is cancelled, what is not ordered deleted there.

    Args:
        service: whom to ask.
        inputs: of a node.

    Returns:
        What is known of the pictures as JSON, and their files.

    Raises:
        ServiceError: there are none; the message says why.
    """
    deadline = time.monotonic() + service.wait
    check(inputs)
    with contextlib.ExitStack() as undo:  # whatever ends this: ComfyUI's interruption is no Exception
        order = order_fields(inputs) | sent(service, inputs, undo)
        job = placed(service, order, deadline)
        undo.pop_all()
        undo.callback(_quietly, service.cancel, job["id"])
        job = followed(service, job, order, deadline)
        files = tuple(fetched(service, job))
        undo.pop_all()
    if job["state"] != "done":
        raise ServiceError(f"{service.url}: {job['error'] or 'the job was cancelled there; order it again'}")
    return _report(job), PictureFiles(files)


def check(inputs: dict[str, Any]) -> None:
    """Refuse what cannot become an order, before anything is sent.

    Raises:
        ServiceError: which input is wrong.
    """
    selfies, photo = inputs.get("selfies"), inputs.get("photo")
    if (selfies is not None or photo is not None) and inputs.get("consent", "") == ABSENT["consent"]:
        raise ServiceError("consent: a face needs the person's; connect Twinset Consent, or give a consent's id")
    if selfies is not None and len(selfies) > MOST_SELFIES:
        raise ServiceError(f"selfies: {len(selfies)} pictures are more than {MOST_SELFIES}; give fewer")
    for name in ("photo", "pose_picture", *(f"garment_{number}" for number in GARMENTS)):
        if inputs.get(name) is not None and len(inputs[name]) != 1:
            raise ServiceError(f"{name}: is a batch of {len(inputs[name])} pictures; give one")
    if inputs.get("pose_picture") is not None and inputs.get("pose", AUTO) != AUTO:
        raise ServiceError(
            f"pose: is {inputs['pose']!r} and a picture too; set it to {AUTO}, or disconnect the picture"
        )


def sent(service: Service, inputs: dict[str, Any], undo: contextlib.ExitStack) -> dict[str, Any]:
    """Send the pictures among a node's inputs.

    Args:
        service: to whom.
        inputs: of a node.
        undo: gets what deletes them again.

    Returns:
        The fields that name them.
    """
    from .pictures import to_pngs

    def send(name: str) -> list[str]:
        ids = []
        for png in () if inputs.get(name) is None else to_pngs(inputs[name]):
            raise_if_interrupted()
            ids.append(service.upload(png))
            undo.callback(_quietly, service.forget, ids[-1])
        return ids

    garments = []
    for number in GARMENTS:
        kind = inputs.get(f"kind_{number}", AUTO)
        garments += [{"upload": one} | ({} if kind == AUTO else {"kind": kind}) for one in send(f"garment_{number}")]
    fields: dict[str, Any] = {"selfies": send("selfies"), "garments": garments}
    fields |= {"photo": "".join(send("photo")), "pose": "".join(send("pose_picture"))}  # one each, or none
    return {name: value for name, value in fields.items() if value}


def placed(service: Service, order: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Place an order, once however often it is said; where the queue is full, wait as long as the service asks.

    Returns:
        The job.
    """
    key = uuid.uuid4().hex
    while True:
        try:
            return _patiently(lambda: service.order(order, key), False)
        except AnswerError as error:
            if error.status != 429 or time.monotonic() + error.retry_after > deadline:
                raise
            pause(error.retry_after)


def followed(service: Service, job: dict[str, Any], order: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Follow a job to its end, and show how far it is.

    Returns:
        The job as it ended.

    Raises:
        ServiceError: it took too long.
    """
    each, name = order.get("steps", STEPS), job["id"]
    show = progress_bar(each * order.get("num", 1))
    while job["state"] in ("queued", "running"):
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{service.url}: the job was {job['state']} after {service.wait:.0f} s; raise `wait` of Twinset Service"
            )
        pause(POLL)
        job = _patiently(lambda: service.job(name), True)
        if told := job["progress"]:
            show(told["picture"] * each + min(told["step"], each))
    show(each * order.get("num", 1))
    return job


def fetched(service: Service, job: dict[str, Any]) -> Iterator[bytes]:
    """The files of a job that is done."""
    for number in range(len(job["pictures"])):
        yield _patiently(lambda n=number: service.picture(job["id"], n), True)


def _quietly(undoing: Callable[[str], None], name: str) -> None:
    """Undo something; that it could not be undone does not hide why it had to be."""
    with contextlib.suppress(ServiceError):
        undoing(name)


def _patiently(ask: Callable[[], Answer], refused_too: bool) -> Answer:
    """Ask again for a while where the connection breaks; where nothing listens, only if so told."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except UnreachableError as error:
            if (error.refused and not refused_too) or time.monotonic() > end:
                raise
            pause(POLL)


def _report(job: dict[str, Any]) -> str:
    """What is known of a job's pictures."""
    told = ("seed", "scores", "repairs", "faults")
    pictures = [{name: picture[name] for name in told} for picture in job["pictures"]]
    return json.dumps({"job": job["id"], "pictures": pictures, "notes": job["notes"]}, ensure_ascii=False, indent=1)

"""The service's request and response models: the fields of `Request`, with uploads in place of paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from twinset.common.validation import one_line
from twinset.compliance.consent import Purpose
from twinset.errors import InputError
from twinset.figure.poses import NAMED
from twinset.pipelines.options import option_of
from twinset.pipelines.request import Request
from twinset.prompts.wildcards import one_of
from twinset.serving.repository import Job, Progress, State, WebhookState

UploadId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="Id that POST /v1/uploads gave.")]
PATHS = ("selfies", "garments", "loras", "photo", "pose")
WEBHOOK = "Public https address that receives a signed POST when the job ends; see the documentation."
POSE = "A preset such as walking, mirrored walking:mirror; or an upload that shows somebody in it."


class GarmentUpload(BaseModel):
    """A garment's picture, and its kind where it should not be guessed."""

    model_config = ConfigDict(extra="forbid")

    upload: UploadId
    kind: str | None = Field(default=None, max_length=40)


def job_fields(model: type[Request] = Request) -> dict[str, Any]:
    """A request's fields as clients may send them: without those of the operator, uploads in the place of paths."""
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in model.model_fields.items()
        if name not in PATHS and not option_of(field).operator
    }
    upload: Any = UploadId
    poses = rf"^({'|'.join(NAMED)})(:mirror)?$|^[0-9a-f]{{32}}$"
    pose = Field(default=None, max_length=60, pattern=poses, description=POSE)
    return fields | {
        "prompt": (str, Field(min_length=1, max_length=2000, description="A sentence, English or Chinese.")),
        "selfies": (list[upload], Field(default=[], max_length=4, description="Uploads that show the person.")),
        "garments": (list[GarmentUpload], Field(default=[], max_length=4, description="Garments to wear.")),
        "photo": (upload | None, Field(default=None, description="Upload of a photo to change, instead of a scene.")),
        "pose": (str | None, pose),
    }


_Fields: Any = create_model("_Fields", __config__=ConfigDict(extra="forbid"), **job_fields())


class JobRequest(_Fields):
    """An order for pictures: the options of the command line, with uploads in the place of files."""

    webhook: str | None = Field(default=None, max_length=1000, pattern=r"^https?://[^\s@]+$", description=WEBHOOK)

    @field_validator("prompt")
    @classmethod
    def _template_can_be_read(cls, prompt: str) -> str:
        """A prompt whose template cannot be read is refused when it is ordered, not when its turn comes."""
        one_of(prompt, 0)
        return prompt


def form_fields(text: str) -> dict[str, Any]:
    """The object of a form's JSON.

    Raises:
        InputError: it is none.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError('request: is not valid JSON; send an object such as {"prompt": "on the beach"}') from None
    if not isinstance(fields, dict):
        raise InputError('request: is not a JSON object; send one such as {"prompt": "on the beach"}')
    return fields


def read_order(fields: dict[str, Any]) -> dict[str, Any]:
    """All fields of a job request, checked.

    Raises:
        InputError: in one line, what is wrong.
    """
    try:
        return JobRequest.model_validate(fields).model_dump(mode="json")
    except ValidationError as error:
        raise InputError(one_line(error, "request")) from None


def with_uploads(fields: dict[str, Any], named: Callable[[str], str]) -> dict[str, Any]:
    """A job request's fields with other names for its uploads; words that read like an id stay as they are."""
    pose = fields["pose"]
    return fields | {
        "selfies": [named(upload) for upload in fields["selfies"]],
        "garments": [one | {"upload": named(one["upload"])} for one in fields["garments"]],
        "photo": named(fields["photo"]) if fields["photo"] else None,
        "pose": named(pose) if pose and len(pose) == 32 else pose,
    }


def to_request(
    fields: dict[str, Any], path_of: Callable[[str], Path], model: str, safety: str = "warn"
) -> dict[str, Any]:
    """Fields of `Request`, uploads turned into paths.

    Args:
        fields: of a job request that was accepted.
        path_of: upload's id → its file; raises `InputError` for those that are not there.
        model, safety: the service's own.
    """
    pose = fields.get("pose")
    garments = [
        {"path": path_of(one["upload"])} | ({"kind": one["kind"]} if one.get("kind") else {})
        for one in fields.get("garments", ())
    ]
    own = {
        "selfies": [path_of(upload) for upload in fields.get("selfies", ())],
        "garments": garments,
        "photo": path_of(fields["photo"]) if fields.get("photo") else None,
        "pose": str(path_of(pose)) if pose and len(pose) == 32 else pose,
        "model": model,
        "safety": safety,
    }
    return {name: value for name, value in fields.items() if name not in own} | own


class UploadOut(BaseModel):
    """An upload: its id for requests, and the SHA-256 of its bytes."""

    id: str
    sha256: str
    bytes: int


class ConsentIn(BaseModel):
    """A person's agreement, given by a ticked checkbox: `agreed` must be true."""

    model_config = ConfigDict(extra="forbid")

    person: str = Field(min_length=1, max_length=200)
    purposes: list[Purpose] = Field(min_length=1, max_length=3)
    until: date
    agreed: Literal[True]


class ConsentOut(BaseModel):
    """Reference of a consent."""

    id: str


class WebhookOut(BaseModel):
    """Delivery of a job's webhook: the tries so far, and why the last one failed."""

    state: WebhookState
    tries: int
    reason: str | None = None


class PictureOut(BaseModel):
    """A picture of a job: its URL, seed and scores, the repairs made and the remaining faults."""

    url: str
    seed: int
    scores: dict[str, float]
    repairs: list[str]
    faults: list[str]


class JobOut(BaseModel):
    """A job and its result."""

    id: str
    made: datetime
    prompt: str
    state: State
    attempts: int
    progress: Progress | None = None
    pictures: list[PictureOut] = []
    notes: list[str] = []
    error: str | None = None
    webhook: WebhookOut | None = None

    @classmethod
    def of(cls, job: Job) -> JobOut:
        """A job as clients see it."""
        hook = job.webhook
        return cls(
            id=job.id,
            made=datetime.fromtimestamp(job.created_at, UTC),
            prompt=job.fields["prompt"],
            state=job.state,
            attempts=job.attempts,
            progress=job.progress,
            pictures=[
                PictureOut(url=f"/v1/jobs/{job.id}/pictures/{number}", **asdict(picture))
                for number, picture in enumerate(job.result.pictures)
            ],
            notes=list(job.result.notes),
            error=job.result.error,
            webhook=None if hook is None else WebhookOut(state=hook.state, tries=hook.tries, reason=hook.reason),
        )


class Health(BaseModel):
    """Whether the service answers, and its version."""

    status: Literal["ok"]
    version: str

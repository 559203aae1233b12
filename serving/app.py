"""The REST service: uploads, consents, jobs and their pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

import anyio
from fastapi import Depends, FastAPI, File, Form, Header, Request, Response, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.security import APIKeyHeader
from prometheus_client import generate_latest

from twinset.errors import InputError
from twinset.serving.contract import ConsentIn, ConsentOut, Health, JobOut, JobRequest, UploadOut
from twinset.serving.middleware import Guard
from twinset.serving.problem_details import Problem, ProblemDetails, install
from twinset.serving.service import Limits, Service

__all__ = ["Limits", "Service", "create_app"]

PICTURE = "JPEG, PNG, WebP, HEIC or GIF."
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200, description="Same key, same job.")]
ACCESS = APIKeyHeader(name="X-API-Key", auto_error=False, description="A key that `twinset serve-keys add` made.")


def _owner(request: Request, key: Annotated[str | None, Depends(ACCESS)]) -> str:
    return request.app.state.service.owner(key)


Owner = Annotated[str, Depends(_owner)]
"""Who asks."""


def create_app(service: Service) -> FastAPI:
    """The application of a service; all state is in the `Service`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.upkeep.run)
            yield
            tasks.cancel_scope.cancel()
        service.decoder.close()

    problems: dict[int | str, dict[str, Any]] = {
        code: {"model": ProblemDetails, "content": {"application/problem+json": {}}}
        for code in (400, 401, 403, 413, 422, 503)
    }
    app = FastAPI(
        title="Twinset", version=version("twinset"), lifespan=lifespan, responses=problems,
        description="Pictures of a person in an outfit and a scene. Send pictures to /v1/uploads, order with /v1/jobs.",
    )  # fmt: skip
    app.state.service = service
    install(app)
    local = service.keys is None  # without keys, whoever reaches the service may use it
    app.add_middleware(Guard, most=service.limits.body, patience=service.limits.patience, local=local)
    _add_uploads(app, service)
    _add_consents(app, service)
    _add_orders(app, service)
    _add_jobs(app, service)
    _add_health(app, service)
    return app


def _missing() -> dict[int | str, dict[str, Any]]:
    return {404: {"model": ProblemDetails}}


def _add_uploads(app: FastAPI, service: Service) -> None:
    @app.post("/v1/uploads", status_code=201, responses={415: {"model": ProblemDetails}})
    def upload(owner: Owner, file: Annotated[UploadFile, File(description=PICTURE)]) -> UploadOut:
        """Send a picture; requests call it by the id that comes back."""
        entered = service.take(file.file, owner)
        return UploadOut(id=entered.id, sha256=entered.sha256, bytes=entered.size)

    @app.delete("/v1/uploads/{upload}", status_code=204, responses=_missing())
    def delete_upload(owner: Owner, upload: str) -> None:
        """Delete a picture that was sent."""
        try:
            service.files.entry(upload, owner)
        except InputError as error:
            raise Problem(404, str(error)) from None
        service.files.forget_upload(upload)


def _add_consents(app: FastAPI, service: Service) -> None:
    @app.post("/v1/consents", status_code=201)
    def consent(owner: Owner, body: ConsentIn) -> ConsentOut:
        """Enter a person's consent to the use of their face."""
        return ConsentOut(id=service.agree(body, owner))

    @app.delete("/v1/consents/{consent}", status_code=204, responses=_missing())
    def withdraw(owner: Owner, consent: str) -> None:
        """Withdraw a consent: no further use, and all jobs, pictures and uploads made under it are deleted."""
        if service.repository.consents.find(consent, owner) is None:
            raise Problem(404, f"consent {consent[:40]!r} is unknown; give the id that POST /v1/consents returned")
        service.withdraw(consent)


def _add_orders(app: FastAPI, service: Service) -> None:
    full: dict[int | str, dict[str, Any]] = {409: {"model": ProblemDetails}, 429: {"model": ProblemDetails}}

    def accepted(job: str, owner: str, response: Response) -> JobOut:
        response.headers["Location"] = f"/v1/jobs/{job}"
        return JobOut.of(service.job(job, owner))

    @app.post("/v1/jobs", status_code=202, responses=full)
    def order(owner: Owner, body: JobRequest, response: Response, idempotency: Key = None) -> JobOut:
        """Order pictures; they are drawn when their turn comes."""
        return accepted(service.order(body.model_dump(mode="json"), owner, idempotency), owner, response)

    @app.post("/v1/jobs/form", status_code=202, responses=full | {415: {"model": ProblemDetails}})
    def order_form(
        owner: Owner,
        response: Response,
        request: Annotated[str, Form(max_length=20_000, description="JSON of a JobRequest without its uploads.")],
        selfies: Annotated[list[UploadFile] | None, File(description=PICTURE, max_length=4)] = None,
        garments: Annotated[list[UploadFile] | None, File(description=PICTURE, max_length=4)] = None,
        photo: Annotated[UploadFile | None, File(description=PICTURE)] = None,
        pose: Annotated[UploadFile | None, File(description=PICTURE)] = None,
        idempotency: Key = None,
    ) -> JobOut:
        """Order with the pictures in one request: a form with files and the other fields as JSON."""
        files = {"selfies": selfies or [], "garments": garments or []}
        files |= {"photo": [photo] if photo else [], "pose": [pose] if pose else []}
        sent = {name: [one.file for one in some] for name, some in files.items()}
        return accepted(service.order_form(request, sent, owner, idempotency), owner, response)


def _add_jobs(app: FastAPI, service: Service) -> None:
    @app.get("/v1/jobs")
    def jobs(owner: Owner) -> list[JobOut]:
        """Your latest hundred jobs."""
        return [JobOut.of(job) for job in service.repository.jobs.latest(owner)]

    @app.get("/v1/jobs/{job}", responses=_missing())
    def job(owner: Owner, job: str) -> JobOut:
        """How a job is getting on."""
        return JobOut.of(service.job(job, owner))

    @app.post("/v1/jobs/{job}/cancel", responses=_missing())
    def cancel(owner: Owner, job: str) -> JobOut:
        """Cancel a job that is not over; one that is stays as it is."""
        service.job(job, owner)
        service.queue.cancel(job, owner)
        return JobOut.of(service.job(job, owner))

    @app.delete("/v1/jobs/{job}", status_code=204, responses=_missing())
    def delete(owner: Owner, job: str) -> None:
        """Delete a job: its pictures, its inputs, and what was seen in them."""
        service.files.forget_job(service.job(job, owner))

    @app.get(
        "/v1/jobs/{job}/pictures/{number}",
        responses=_missing() | {200: {"content": {"image/png": {}}}},
        response_class=FileResponse,
    )
    def picture(owner: Owner, job: str, number: int) -> FileResponse:
        """A picture of a job that is done, with its labels."""
        files = service.job(job, owner).result.files
        if not 0 <= number < len(files):
            raise Problem(404, f"job {job!r} has {len(files)} pictures; check its state first")
        path = service.files.pictures(job) / files[number]
        return FileResponse(path, media_type="image/png", filename=f"{job}-{number}.png")


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> Health:  # not in a thread, all of which may be busy
        """Whether the service answers."""
        return Health(status="ok", version=version("twinset"))

    @app.get("/ready", responses={503: {"model": ProblemDetails}})
    async def ready() -> Health:
        """Whether pictures are drawn too, and what should be deleted or sent by now is."""
        if not service.alive():
            raise Problem(503, "the workers are not ready; try again later")
        if behind := service.upkeep.behind():
            raise Problem(503, f"{' and '.join(behind)} cannot be done; see the log and /metrics, and mend the disk")
        return Health(status="ok", version=version("twinset"))

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> PlainTextResponse:
        """Prometheus' text format; no names, no prompts."""
        for state in ("queued", "running", "done", "failed", "cancelled"):
            service.jobs.labels(state).set(service.queue.counts().get(state, 0))
        service.upkeep.behind()
        service.waiting.set(service.queue.waiting())
        service.seconds.set(service.seconds_each())
        return PlainTextResponse(generate_latest(service.registry).decode())

"""The service's errors: RFC 9457's problem details, with the remedy."""

from __future__ import annotations

import sqlite3
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from twinset.common.atomic_files import disk_full
from twinset.common.validation import field_name, one_line
from twinset.errors import InputError
from twinset.serving.repository import unavailable

RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Phrases of RFC 9110 where Python before 3.13 has those of earlier RFCs."""


class ProblemDetails(BaseModel):
    """A problem, as `application/problem+json`.

    Attributes:
        type: `urn:twinset:` and the title, in small letters with hyphens.
        title: The status's phrase in RFC 9110, such as "Not Found".
        status: HTTP's.
        detail: What is wrong, in one line.
        field: Which of the request's fields, where it is one.
        remedy: What helps.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    remedy: str | None = None


class Problem(Exception):
    """An error that is answered with problem details.

    Args:
        status: HTTP's.
        detail: what is wrong; behind a semicolon the remedy.
        field: which of the request's fields.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, field: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.field, self.headers = status, detail, field, headers

    def answer(self) -> JSONResponse:
        """The response."""
        detail, _, remedy = self.detail.partition("; ")
        title = status_phrase(self.status)
        body = ProblemDetails(
            type=f"urn:twinset:{title.lower().replace(' ', '-')}", title=title, status=self.status,
            detail=detail, field=self.field, remedy=remedy or None,
        )  # fmt: skip
        return JSONResponse(body.model_dump(), self.status, media_type="application/problem+json", headers=self.headers)


def status_phrase(status: int) -> str:
    """What RFC 9110, or the registry that it set up, calls a status: 404 → "Not Found"."""
    return RENAMED.get(status) or HTTPStatus(status).phrase


def install(app: FastAPI) -> None:
    """Answer all errors of an application with problem details, and say so in its description."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _of_their_type(plain())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> JSONResponse:
        return error.answer()

    @app.exception_handler(InputError)
    async def _input(_: Request, error: InputError) -> JSONResponse:
        return Problem(422, str(error)).answer()

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        status = 400 if error.errors()[0]["type"] == "json_invalid" else 422
        field = field_name(error, outer=1) or None  # the outermost says body, query or header
        return Problem(status, one_line(error, "request", outer=1), field).answer()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {})).answer()

    @app.exception_handler(OSError)
    @app.exception_handler(sqlite3.OperationalError)
    async def _disk(_: Request, error: OSError | sqlite3.OperationalError) -> JSONResponse:
        if disk_full(error):
            return Problem(507, "no space is left on the disk; try again later", headers={"Retry-After": "60"}).answer()
        if unavailable(error):
            return Problem(503, "the queue cannot be used now; try again later", headers={"Retry-After": "15"}).answer()
        raise error

    @app.exception_handler(Exception)
    async def _other(_: Request, error: Exception) -> JSONResponse:
        return Problem(500, "the service failed; try again, and tell whoever runs it").answer()


def _of_their_type(description: dict[str, Any]) -> dict[str, Any]:
    """FastAPI describes every model as `application/json`; problems are `application/problem+json`."""
    for path in description["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {})
                if status >= "400" and "application/json" in content:
                    content["application/problem+json"] = content.pop("application/json")
    return description

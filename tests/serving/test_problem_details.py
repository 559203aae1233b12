"""Problem details: titles are the standard's, details are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.problem_details import Problem

PHRASES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 413: "Content Too Large", 415: "Unsupported Media Type",
    422: "Unprocessable Content", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
    507: "Insufficient Storage",
}  # fmt: skip
"""RFC 9110, section 15; 429 is RFC 6585's and 507 RFC 4918's."""


@pytest.mark.parametrize(("status", "phrase"), PHRASES.items())
def test_titles_are_the_phrases_of_the_status(status: int, phrase: str) -> None:
    problem = json.loads(bytes(Problem(status, "upload 'x' is not there; send it first").answer().body))
    assert problem["title"] == phrase and problem["type"] == f"urn:twinset:{phrase.lower().replace(' ', '-')}"
    assert (problem["detail"], problem["remedy"]) == ("upload 'x' is not there", "send it first")


def test_the_service_answers_with_them(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    headers, service = {"X-API-Key": keys.add("shop")}, Service(tmp_path, keys, Limits(room=1))
    with TestClient(create_app(service), headers=headers, raise_server_exceptions=False) as client:
        answers = [
            client.get("/v1/jobs", headers={"X-API-Key": "wrong"}), client.get("/v1/jobs/none"), client.put("/v1/jobs"),
            client.get("/nowhere"), client.post("/v1/uploads", files={"file": ("a.png", b"x")}),
            client.post("/v1/jobs", json={"prompt": ""}), client.post("/v1/jobs", json={"prompt": "x", "num": 2}),
            client.get("/health", headers={"Origin": "null"}),
        ]  # fmt: skip
    problems: list[dict[str, Any]] = [answer.json() for answer in answers]
    assert [problem["status"] for problem in problems] == [401, 404, 405, 404, 415, 422, 429, 403]
    assert all(problem["title"] == PHRASES[problem["status"]] for problem in problems)
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)
    assert problems[1]["detail"] == "job 'none' is unknown" and problems[1]["remedy"] == "list yours: GET /v1/jobs"

"""The page's client of the REST interface, called in process, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

ENDED = ("done", "failed", "cancelled")
MOST_WAIT = 30.0
"""Seconds to wait when the queue is full, at most, before it is asked again."""


class RefusedError(Exception):
    """What the service refused.

    Args:
        status: HTTP's.
        detail: what is wrong.
        remedy: what helps; may be empty.
        field: of the request, where it is one.
        wait: seconds after which it may be asked again.
    """

    def __init__(self, status: int, detail: str, remedy: str = "", field: str = "", wait: float = 0.0):
        super().__init__(detail)
        self.status, self.detail, self.remedy, self.field, self.wait = status, detail, remedy, field, wait


class Client:
    """Calls the application in process, with the rights of an API key.

    Args:
        app: the service's application.
        key: API key; None where the service asks for none.
    """

    def __init__(self, app: FastAPI, key: str | None = None):
        self.app, headers = app, {} if key is None else {"X-API-Key": key}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, timeout=None)

    async def __aenter__(self) -> Client:
        await self.http.__aenter__()
        return self

    async def __aexit__(self, *told: Any) -> None:
        await self.http.__aexit__(*told)

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = await self.http.request(method, path, **more)
        if answer.is_success:
            return answer
        told = answer.json() if "json" in answer.headers.get("content-type", "") else {"detail": answer.text}
        raise RefusedError(
            answer.status_code, str(told.get("detail")), told.get("remedy") or "", told.get("field") or "",
            float(answer.headers.get("retry-after", 0)),
        )  # fmt: skip

    async def upload(self, path: Path, goes_along: bool = True) -> str:
        """Send a picture's bytes; its id.

        Args:
            path: of the page's file.
            goes_along: whether that file is deleted with the upload.
        """
        answer = await self._ask("POST", "/v1/uploads", files={"file": (path.name, path.read_bytes())})
        upload = answer.json()["id"]
        if goes_along:
            await asyncio.to_thread(self.app.state.service.repository.uploads.add_copy, upload, str(path))
        return upload

    async def forget_upload(self, upload: str) -> None:
        """Delete a picture that was sent."""
        await self._ask("DELETE", f"/v1/uploads/{upload}")

    async def consent(self, person: str, until: date) -> str:
        """Enter a person's consent, of which the box on the page was ticked; its id."""
        told = {"person": person, "purposes": ["try-on"], "until": until.isoformat(), "agreed": True}
        return (await self._ask("POST", "/v1/consents", json=told)).json()["id"]

    async def order(self, fields: dict[str, Any], patient: bool = False) -> dict[str, Any]:
        """Order pictures; a patient caller waits while the queue is full."""
        while True:
            try:
                return (await self._ask("POST", "/v1/jobs", json=fields)).json()
            except RefusedError as refused:
                if refused.status != 429 or not patient:
                    raise
                await asyncio.sleep(min(refused.wait, MOST_WAIT))

    async def job(self, job: str) -> dict[str, Any]:
        """A job's current state."""
        return (await self._ask("GET", f"/v1/jobs/{job}")).json()

    async def jobs(self) -> list[dict[str, Any]]:
        """The latest jobs."""
        return (await self._ask("GET", "/v1/jobs")).json()

    async def followed(self, job: dict[str, Any], every: float = 0.4) -> AsyncIterator[dict[str, Any]]:
        """Poll a job until it has ended; the last value is the ended job."""
        while job["state"] not in ENDED:
            yield job
            await asyncio.sleep(every)
            job = await self.job(job["id"])
        yield job

    async def cancel(self, job: str) -> None:
        """Cancel a job."""
        await self._ask("POST", f"/v1/jobs/{job}/cancel")

    async def delete(self, job: str) -> None:
        """Delete a job, its pictures and its inputs."""
        await self._ask("DELETE", f"/v1/jobs/{job}")

    async def pictures(self, job: dict[str, Any], folder: Path) -> list[Path]:
        """Fetch a job's pictures as they are, labels and all, into a folder of the job's own in `folder`."""
        own = folder / job["id"]
        own.mkdir(parents=True, exist_ok=True)
        files = [own / f"{job['id']}-{number}.png" for number in range(len(job["pictures"]))]
        for path, one in zip(files, job["pictures"], strict=True):
            if not path.exists():
                content = (await self._ask("GET", one["url"])).content
                path.touch(0o600)
                path.write_bytes(content)
        return files

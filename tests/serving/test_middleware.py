"""The guard's limits: they hold for bodies that are coming, and touch no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tests.helpers.virtual_time import run_in_virtual_time
from twinset.serving.middleware import Guard
from twinset.serving.problem_details import install

SECONDS = 90
"""Of a stream, at one line a second: over the guard's patience of 60."""
MOST = 1000


def guarded(local: bool = False) -> FastAPI:
    """An application with a stream that reads no body, one that reads it, and an answer without either."""
    app = FastAPI()
    install(app)
    app.add_middleware(Guard, most=MOST, local=local)

    def lines() -> StreamingResponse:
        async def counted() -> AsyncIterator[str]:
            for number in range(SECONDS):
                yield f"{number}\n"
                await asyncio.sleep(1)

        return StreamingResponse(counted())

    @app.api_route("/stream", methods=["GET", "POST"])
    async def stream() -> Response:
        return lines()

    @app.post("/stream-after-reading")
    async def stream_after_reading(request: Request) -> Response:
        await request.body()
        return lines()

    @app.get("/watched")
    async def watched(request: Request) -> Response:
        async def counted() -> AsyncIterator[str]:
            for number in range(SECONDS):
                if not await request.is_disconnected():
                    yield f"{number}\n"
                await asyncio.sleep(1)

        return StreamingResponse(counted())

    @app.post("/plain")
    async def plain() -> Response:
        return PlainTextResponse("done")

    return app


class Wire:
    """A client and its server, in ASGI's messages: it sends a body, is silent, and keeps what it is answered.

    Args:
        path: asked for, by POST where there is a body.
        parts: (seconds of waiting, bytes) of the body, of which the last has none; without it, it was never all sent.
        spec: of ASGI: from 2.4 on, frameworks do not listen while they answer.
    """

    def __init__(self, path: str, parts: Iterator[tuple[float, bytes]] | None = None, spec: str = "2.3"):
        self.parts: Any = iter([(0.0, b"")]) if parts is None else parts
        self.answer: list[dict[str, Any]] = []
        self.body_ended = False
        headers = [(b"host", b"localhost")]
        self.scope = {
            "type": "http", "method": "GET" if parts is None else "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http",
            "server": ("localhost", 80), "client": ("localhost", 9), "asgi": {"version": "3.0", "spec_version": spec},
        }  # fmt: skip

    async def receive(self) -> dict[str, Any]:
        """The next part of the body, to one reader; behind the last one the client waits for its answer, in silence."""
        wait, data = next(self.parts, (10_000.0, None))
        if wait:  # what has come already is there at once, as uvicorn has it
            await asyncio.sleep(wait)
        if data is None:
            return {"type": "http.disconnect"}
        self.body_ended = not data
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    async def send(self, message: dict[str, Any]) -> None:
        """Keep what is answered."""
        self.answer.append(message)

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.answer[0]["status"]

    @property
    def text(self) -> str:
        """Of the answer, so far as it came."""
        return b"".join(message.get("body", b"") for message in self.answer).decode()

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end."""
        return self.answer[-1]["type"] == "http.response.body" and not self.answer[-1].get("more_body")

    def run(self) -> float:
        """Ask; the seconds until the application is done."""
        return run_in_virtual_time(guarded()(self.scope, self.receive, self.send))  # type: ignore[arg-type]


def body(*parts: bytes) -> Iterator[tuple[float, bytes]]:
    return iter([*((0.1, part) for part in parts), (0.1, b"")])


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/stream", lambda: None), ("/watched", lambda: None), ("/stream", lambda: body()),
        ("/stream", lambda: body(b"unread", b"by the route")), ("/stream-after-reading", lambda: body(b"{", b"}")),
        ("/stream", lambda: body(bytes(MOST - 1))), ("/stream-after-reading", lambda: body(bytes(MOST))),
    ],
)  # fmt: skip
def test_a_stream_lives_as_long_as_its_job(path: str, parts: Callable[[], Any], spec: str) -> None:
    """Whether there was a body, and whoever read it: a client that listens is no slow one."""
    wire = Wire(path, parts(), spec)
    assert wire.run() >= SECONDS
    assert wire.status == 200 and wire.complete and wire.text.split() == [str(n) for n in range(SECONDS)]


@pytest.mark.parametrize("path", ["/stream-after-reading", "/stream"])
def test_a_slow_body_has_a_minute_and_no_more(path: str) -> None:
    """Both one that stops and one that drips."""
    for parts in (iter([(0.0, b"x")]), ((0.5, b"x") for _ in range(10_000))):
        wire = Wire(path, parts)
        spent = wire.run()
        if path == "/stream":  # the answer began meanwhile: the connection is ended with it
            assert wire.status == 200 and not wire.complete and spent <= 61
            assert (b"connection", b"close") in wire.answer[0]["headers"]
        else:
            assert wire.status == 408 and "send it faster" in wire.text and 60 <= spent <= 66


def test_a_body_that_nobody_reads_is_discarded_before_the_answer() -> None:
    wire = Wire("/plain", body(b"not", b"asked", b"for"))
    assert wire.run() <= 1 and wire.text == "done" and wire.body_ended
    assert (b"connection", b"close") not in wire.answer[0]["headers"]
    dripping = Wire("/plain", ((0.5, b"x") for _ in range(10_000)))
    assert dripping.run() <= 6 and dripping.text == "done" and dripping.complete
    assert (b"connection", b"close") in dripping.answer[0]["headers"]


def test_an_endless_body_is_refused_however_it_is_answered() -> None:
    endless = Wire("/stream-after-reading", ((0.001, bytes(100)) for _ in range(10**9)))
    assert endless.run() < 5 and endless.status == 413
    streaming = Wire("/stream", ((0.001, bytes(100)) for _ in range(10**9)))
    assert streaming.run() < 5 and not streaming.complete


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"Host": "["}, 403, "is not this machine's"), ({"Origin": "http://["}, 403, "is not allowed"),
        ({"Content-Length": "many"}, 400, "is not a number"), ({"Content-Length": str(MOST + 1)}, 413, "smaller"),
        ({"Host": "evil.example"}, 403, "is not this machine's"), ({"Origin": "null"}, 403, "is not allowed"),
    ],
)  # fmt: skip
def test_a_wrong_header_is_named(headers: dict[str, str], status: int, words: str) -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(guarded(local=True), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/stream", headers=headers)
            assert answer.status_code == status and words in answer.text, answer.text

    asyncio.run(ask())

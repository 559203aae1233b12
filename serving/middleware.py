"""What is refused before a request is looked at: bodies too large or too slow, and pages of other sites."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinset.serving.problem_details import Problem

DISCARDING = 5.0
"""Seconds in which what is too large is read and thrown away."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Guard:
    """ASGI middleware around the application.

    Args:
        app: the application.
        most: bytes of a body.
        patience: seconds in which a body must be there.
        local: answer under this machine's own names alone, so that no foreign name that leads here (DNS rebinding)
            lets a browser's page in.
    """

    def __init__(self, app: ASGIApp, most: int, patience: float = 60.0, local: bool = False):
        self.app, self.most, self.patience, self.local = app, most, patience, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        found: list[Problem] = []
        more = [True]  # whether more of the body is to come
        try:
            if self.local:
                _own_name(headers.get("host", ""))
            _own_page(headers)
            if int(headers.get("content-length") or 0) > self.most:
                raise self._too_large()
            await self.app(scope, self._counted(receive, found, more), self._answered(receive, found, more, send))
            if found:
                raise found[0]
        except Problem as problem:
            await problem.answer()(scope, receive, self._answered(receive, [], more, send))
        except ValueError:
            problem = Problem(400, "Content-Length is no number; send a sound request")
            await problem.answer()(scope, receive, self._answered(receive, [], more, send))

    def _answered(self, receive: Receive, found: list[Problem], more: list[bool], send: Send) -> Send:
        """An answer given before the body's end waits for the rest, and ends the connection where none is in sight.

        Once a problem is found, the framework's own answer to a broken body is not sent.
        """

        async def sending(message: Message) -> None:
            if found:
                return
            if message["type"] == "http.response.start" and more[0]:
                await self._discard(receive, more)
                if more[0]:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        return sending

    async def _discard(self, receive: Receive, more: list[bool]) -> None:
        """Reads on for a while and keeps nothing: most clients look for an answer only when all is sent."""
        arrived = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(min(DISCARDING, self.patience)):
                while more[0] and arrived < 4 * self.most:
                    message = await receive()
                    arrived += len(message.get("body", b""))
                    more[0] = message["type"] == "http.request" and bool(message.get("more_body"))

    def _too_large(self) -> Problem:
        return Problem(413, f"the body has over {self.most // 2**20} MB; send smaller pictures")

    def _counted(self, receive: Receive, found: list[Problem], more: list[bool]) -> Receive:
        """Counts the bytes that come, whatever was announced, and the time they take; `found` gets what is wrong."""
        arrived, deadline = 0, asyncio.get_event_loop().time() + self.patience

        async def counted() -> Message:
            nonlocal arrived
            try:
                left = deadline - asyncio.get_event_loop().time()
                message = await asyncio.wait_for(receive(), left) if arrived >= 0 else await receive()
            except TimeoutError:
                found.append(Problem(408, "the body did not come in time; send it faster"))
                raise found[0] from None
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                more[0] = bool(message.get("more_body"))
                if arrived > self.most:
                    found.append(self._too_large())
                    raise found[0]
                if not more[0]:
                    arrived = -1  # all is here: what follows is the wait for the end of the connection
            return message

        return counted


def _own_name(host: str) -> None:
    """A service without keys is asked under this machine's names."""
    if (urlsplit(f"//{host}").hostname or "").rstrip(".") not in LOCAL_NAMES:
        raise Problem(403, f"host {host[:80]!r} is not this machine's; use http://localhost, or serve with keys")


def _own_page(headers: dict[str, str]) -> None:
    """Browsers say which page sends a request; another site's page may not use a visitor's browser."""
    origin = headers.get("origin")
    if origin is not None and (origin == "null" or urlsplit(origin).netloc != headers.get("host")):
        raise Problem(403, f"origin {origin[:80]!r} may not ask; use the service's own page, or no browser")

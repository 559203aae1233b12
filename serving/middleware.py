"""Refuses requests before they are read: bodies too large or too slow, and pages of other sites."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinset.serving.problem_details import Problem

DISCARDING = 5.0
"""Seconds in which what is too large is read and thrown away."""
HOST = re.compile(r"([A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?")
"""A name or an address, and perhaps a port (RFC 9110, 7.2; RFC 3986, 3.2.2)."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Guard:
    """ASGI middleware around the application.

    Args:
        app: the application.
        most: largest body in bytes.
        patience: seconds in which a body must have arrived.
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
        exchange = _Exchange(receive, send, self.most, self.patience)
        try:
            self._check_headers({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
            await self.app(scope, exchange.receive, exchange.send)
        except Problem as problem:
            exchange.problem = problem
        except Exception:
            if exchange.problem is None:
                raise
            # else the framework complains that the answer it had begun was ended here
        if exchange.problem is not None:  # also one that the framework caught, to give an answer of its own
            await exchange.answer(exchange.problem, scope)

    def _check_headers(self, headers: dict[str, str]) -> None:
        """What can be refused before the body comes.

        Raises:
            Problem: 400, 403 or 413.
        """
        host = headers.get("host", "")
        if self.local:
            _own_name(host)
        if host and not HOST.fullmatch(host):  # nobody behind the guard can make an address of it
            raise Problem(400, f"host {host[:80]!r} is not a name or address; send a valid Host header")
        _own_page(headers)
        try:
            announced = int(headers.get("content-length") or 0)
        except ValueError:
            raise Problem(400, "Content-Length is not a number; send a valid request") from None
        if announced > self.most:
            raise _too_large(self.most)


class _Exchange:
    """One request and its answer.

    The body passes through these states; its limits hold in the first alone::

        coming ──▶ over       its last part came, to the application or to be discarded; or the client went
           └─────▶ refused    too large or too late: `problem` is set, and what the application answers is not sent

    Of a body that is over nothing is counted or timed: who waits for an answer is silent, as long as it takes.

    Args:
        receive, send: the server's.
        most: bytes of the body.
        patience: seconds in which it must be there.
    """

    def __init__(self, receive: Receive, send: Send, most: int, patience: float):
        self._receive, self._send, self.most, self.patience = receive, send, most, patience
        self.coming, self.arrived = True, 0
        self.reading = asyncio.Lock()  # one reader of the body at a time: the application, or what discards it
        self.deadline = asyncio.get_running_loop().time() + patience
        self.answering = False
        self.problem: Problem | None = None

    async def receive(self) -> Message:
        """The next message for the application.

        Raises:
            Problem: 408 or 413, of a body that is coming.
        """
        async with self.reading:
            if self.coming:
                return await self._limited_part()
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Send a message of the application, unless its request was refused."""
        if self.problem is None:
            await self._answer(message)

    async def answer(self, problem: Problem, scope: Scope) -> None:
        """Tell the client of a problem; the server ends the connection of an answer that has begun."""
        if not self.answering:
            await problem.answer()(scope, self._receive, self._answer)

    async def _answer(self, message: Message) -> None:
        """An answer that begins while the body is coming waits for the rest, or ends the connection with itself."""
        if message["type"] == "http.response.start":
            await self._discard()
            self.answering = True
            if self.coming:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await self._send(message)

    async def _discard(self) -> None:
        """Reads on for a while and keeps nothing: most clients look for an answer only when all is sent."""
        most = self.arrived + 4 * self.most
        with suppress(TimeoutError):
            async with asyncio.timeout(min(DISCARDING, self.patience)), self.reading:
                while self.coming and self.arrived < most:
                    await self._part()

    async def _limited_part(self) -> Message:
        """A part of the body, if it came in time and there are not too many.

        Raises:
            Problem: 408 or 413.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._part()
        except TimeoutError:
            self.problem = Problem(408, "the body did not arrive in time; send it faster")
            raise self.problem from None
        if self.arrived > self.most:
            self.problem = _too_large(self.most)
            raise self.problem
        return message

    async def _part(self) -> Message:
        """The next part of a body that is coming."""
        message = await self._receive()
        self.arrived += len(message.get("body", b""))
        self.coming = message["type"] == "http.request" and bool(message.get("more_body"))
        return message


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body is larger than {most // 2**20} MB; send smaller pictures")


def _own_name(host: str) -> None:
    """A service without keys is asked under this machine's names."""
    if (_split(f"//{host}").hostname or "").rstrip(".") not in LOCAL_NAMES:
        raise Problem(403, f"host {host[:80]!r} is not this machine's; use http://localhost, or serve with keys")


def _own_page(headers: dict[str, str]) -> None:
    """Browsers say which page sends a request; another site's page may not use a visitor's browser."""
    origin = headers.get("origin")
    if origin is not None and (origin == "null" or _split(origin).netloc != headers.get("host")):
        raise Problem(
            403, f"origin {origin[:80]!r} is not allowed; use the service's own page, or a client other than a browser"
        )


def _split(address: str) -> SplitResult:
    """The parts of an address; none of one that is damaged, as `[` is."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")

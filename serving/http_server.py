"""uvicorn, but for two things: request heads have a time limit, and a signal to stop is heard by more than itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol


def serve_until_told(
    app: Callable[..., object], host: str, port: int, drain: float, on_stop: Callable[[], None]
) -> None:
    """Answer requests until SIGTERM or SIGINT comes, and return: what is left to do is the caller's.

    Args:
        app: the application.
        host, port: to listen on.
        drain: seconds for which answers under way are waited for, those of open streams included.
        on_stop: called as soon as the signal comes, in its handler.
    """

    def ignore(number: int, frame: FrameType | None) -> None:
        """uvicorn raises the signal once more at its end, which would end the process before its workers."""

    before = {number: signal.signal(number, ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    config = uvicorn.Config(
        app, host=host, port=port, access_log=False, timeout_keep_alive=10, http=ImpatientProtocol,
        timeout_graceful_shutdown=max(1, round(drain)),
    )  # fmt: skip
    try:
        _Server(config, on_stop).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]):
        super().__init__(config)
        self.on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.on_stop()
        super().handle_exit(sig, frame)


class ImpatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, with a time limit for a request's headers.

    Attributes:
        patience: seconds from the connection, or from the first byte of a later request, to the end of the head. The
            body's time is the guard's, the silence between two requests uvicorn's `timeout_keep_alive`.
    """

    patience = 20.0
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        """Start the clock where no request is under way, and stop it where one is."""
        upgraded = self.transport.get_protocol() is not self  # to a web socket, which has its own time
        if upgraded or (self.cycle is not None and not self.cycle.response_complete):
            self._stop_waiting()
        elif self.deadline is None and not self.transport.is_closing():
            self.deadline = self.loop.call_later(self.patience, self.transport.close)

    def _stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

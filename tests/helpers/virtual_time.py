"""Coroutines run in virtual time: minutes pass in milliseconds, and no machine is too slow for them."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Leap(selectors.SelectSelector):
    """Instead of waiting, the clock leaps to when something is due."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready; `timeout` is the time to what is due next, and None means that nothing ever is."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits for something that never comes")
        if not ready:
            self.now += max(0.0, timeout or 0.0)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock only moves while everything sleeps."""

    def __init__(self) -> None:
        self.leap = _Leap()
        super().__init__(self.leap)

    def time(self) -> float:
        return self.leap.now


def run_in_virtual_time(coroutine: Coroutine[Any, Any, Any]) -> float:
    """Run a coroutine to its end; the seconds it took by its own clock."""
    loop = _VirtualLoop()
    try:
        loop.run_until_complete(coroutine)
        return loop.time()
    finally:
        loop.close()

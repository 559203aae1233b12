"""Two clocks that nobody sets: one for dates, one for leases.

The wall clock may be set while the service runs, by hand or by the network. It is read once, when the service starts;
from then on dates are counted by the machine's own clock, which only goes forward, so that a clock that jumps neither
deletes what is not due nor holds back what is.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def running_seconds() -> float:
    """Seconds since the machine started, those asleep included where the system counts them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


EPOCH = time.time() - running_seconds()
"""When the machine started, as this process learnt it at its own start; workers are given their service's."""


def steady_clock(epoch: float = EPOCH) -> Callable[[], float]:
    """A clock in seconds since 1970 that does not jump when the machine's is set.

    Args:
        epoch: when the machine started, see `EPOCH`; one for all processes of a service.
    """
    return lambda: epoch + running_seconds()

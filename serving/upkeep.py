"""What a service does on its own, over and over: a round that fails is tried again, and whoever asks learns of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge

from twinset.serving.event_log import log_event

LONGEST_WAIT = 60.0
"""Seconds between two tries of a duty that keeps failing, at most."""


@dataclass
class Duty:
    """Something that must be done again and again.

    Attributes:
        name: one word, for logs and metrics.
        round: does it once, and returns the seconds until the next time.
        patience: seconds without success after which it counts as behind.
        succeeded_at: of the last round that did not fail, or of the beginning; by `Upkeep.clock`.
        failures: in a row.
    """

    name: str
    round: Callable[[], float]
    patience: float
    succeeded_at: float = field(default=0.0, init=False)
    failures: int = field(default=0, init=False)

    def wait_after_failure(self) -> float:
        """Seconds until the next try: 1, 2, 4 … up to a minute."""
        return min(LONGEST_WAIT, 2.0 ** min(self.failures - 1, 10))


class Upkeep:
    """The one place where duties are run: whatever a round raises, the duty goes on.

    Args:
        duties: to be run side by side.
        registry: of the metrics `twinset_upkeep_age_seconds` and `twinset_upkeep_failures_total`.
        clock: seconds that only go forward.
    """

    def __init__(
        self, duties: list[Duty], registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.duties, self.clock = duties, clock
        self.age = Gauge("twinset_upkeep_age_seconds", "Since a duty last succeeded.", ["duty"], registry=registry)
        self.failed = Counter("twinset_upkeep_failures", "Rounds that failed.", ["duty"], registry=registry)
        self._begin()

    async def run(self) -> None:
        """Run all duties until this is cancelled."""
        self._begin()
        async with anyio.create_task_group() as tasks:
            for duty in self.duties:
                tasks.start_soon(self._run_duty, duty)

    def behind(self) -> list[str]:
        """Names of the duties that have not succeeded for too long, and the metrics brought up to date."""
        ages = {duty.name: self.clock() - duty.succeeded_at for duty in self.duties}
        for name, age in ages.items():
            self.age.labels(name).set(round(age, 1))
        return [duty.name for duty in self.duties if ages[duty.name] > duty.patience]

    def _begin(self) -> None:
        for duty in self.duties:
            duty.succeeded_at = self.clock()
            self.failed.labels(duty.name)

    async def _run_duty(self, duty: Duty) -> None:
        own_thread = anyio.CapacityLimiter(1)  # not one of those that answer requests, all of which may be busy
        while True:
            wait = await anyio.to_thread.run_sync(self._once, duty, abandon_on_cancel=True, limiter=own_thread)
            await anyio.sleep(wait)

    def _once(self, duty: Duty) -> float:
        """One round; the seconds until the next."""
        try:
            wait = duty.round()
        except Exception as error:  # nothing that one round meets may end all later ones
            duty.failures += 1
            self.failed.labels(duty.name).inc()
            log_event("upkeep", duty=duty.name, problem=type(error).__name__, tries=duty.failures)
            return duty.wait_after_failure()
        duty.failures, duty.succeeded_at = 0, self.clock()
        return wait

"""What the service remembers: jobs, uploads and consents in one SQLite file, behind typed methods.

All SQL of Twinset is in this package; the rest of the service gets and gives frozen values.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from twinset.serving.repository.clocks import steady_clock
from twinset.serving.repository.consents import ConsentTable
from twinset.serving.repository.database import Database, unavailable, uploads_named
from twinset.serving.repository.entities import (
    Consent,
    Delivery,
    Job,
    JobResult,
    PictureResult,
    Progress,
    State,
    Upload,
    Webhook,
    WebhookState,
)
from twinset.serving.repository.jobs import JobTable
from twinset.serving.repository.uploads import UploadTable

__all__ = [
    "Consent", "Delivery", "Job", "JobResult", "PictureResult", "Progress", "Repository", "State", "Upload", "Webhook",
    "WebhookState", "steady_clock", "unavailable", "uploads_named",
]  # fmt: skip


class Repository:
    """The tables of one service, shared by any number of threads and processes.

    Args:
        path: the SQLite file, made when missing.
        clock: seconds since 1970 for dates; must be one clock for all processes.
        ticks: seconds for leases, counted by the machine: no date, and the same for all its processes.

    Attributes:
        jobs, uploads, consents: the tables.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] | None = None, ticks: Callable[[], float] = time.monotonic
    ):
        self.database, self.clock, self.ticks = Database(path), clock or steady_clock(), ticks
        self.jobs = JobTable(self.database)
        self.uploads = UploadTable(self.database)
        self.consents = ConsentTable(self.database)

    def transaction(self) -> AbstractContextManager[object]:
        """Nobody else writes until the block ends, and what fails in between leaves nothing."""
        return self.database.transaction()

"""The service's log: one JSON object per line, of numbers and words of the service's own, never of personal data.

No prompt, name, picture, key or address is logged: log lines may outlive the jobs that they describe. Nor are the ids
of jobs, which lead to all of these, unless whoever runs the service sets the logger's level to DEBUG.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

LOGGER = logging.getLogger("twinset.serving")
QUOTING = (
    "diffusers",
    "transformers",
    "compel",
    "httpx",
    "httpcore",
    "dynamicprompts",
    "multipart",
    "python_multipart",
)
"""Libraries whose log lines may hold prompts, addresses or ids."""
ALLOWED = frozenset({
    "attempts", "duty", "event", "job", "method", "pictures", "problem", "route", "seconds", "state", "status", "time",
    "tries", "worker",
})  # fmt: skip


def log_event(event: str, **values: str | float | None) -> None:
    """Write a line.

    Args:
        event: what happened, one word.
        values: of `ALLOWED` names; those that are None are left out.

    Raises:
        ValueError: a name is not in `ALLOWED`, and so might hold personal data.
    """
    if foreign := values.keys() - ALLOWED:
        raise ValueError(f"{sorted(foreign)} may not be logged; choose among {sorted(ALLOWED)}")
    if not LOGGER.isEnabledFor(logging.DEBUG):
        values.pop("job", None)
    entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
    LOGGER.info(json.dumps(entry | {name: value for name, value in values.items() if value is not None}))


def log_to_stderr() -> None:
    """Write the lines to standard error; asked for by the program, never by the library.

    Libraries that quote what they were given, such as the part of a prompt that was too long, are silenced.
    """
    for name in QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not LOGGER.handlers:
        LOGGER.addHandler(logging.StreamHandler())
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False

"""The soak, for seconds and with a stand-in for the model: what it counts, and what it complains of."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from tests.serving.test_service import drawn, listening
from twinset.benchmarks.soak import Watch, faults, soak, soak_page
from twinset.serving.app import Limits, Service
from twinset.serving.worker import Worker

GOOD: dict[str, Any] = {
    "minutes": 1, "pictures_a_second": 1.0, "asked_a_second": 2.0, "answers": {"202": 5}, "kills": 0, "accepted": 5,
    "states": {"done": 5}, "deleted": {"lost": 1}, "service_mib": [100.0, 110.0, 112.0], "workers_mib_most": 1.0,
    "service_mib_a_minute": 0.1, "faults": [],
}  # fmt: skip


def slow(request: Any, out: Path, tell: Any) -> Any:
    threading.Event().wait(0.1)
    return drawn(request, out, tell)


@pytest.mark.long
def test_a_soak_of_seconds(tmp_path: Path) -> None:
    service = Service(tmp_path, None, Limits(room=30))
    worker, over = Worker(service.queue, service.files, slow, "studio"), threading.Event()
    threading.Thread(target=worker.run, args=(over.is_set, 0.02), daemon=True).start()
    with listening(service) as port:
        result = soak(f"http://127.0.0.1:{port}", Watch(psutil.Process()), 0.07)
    over.set()
    assert faults(result) == [] and result["accepted"] > 10
    assert sum(result["states"].values()) + sum(result["deleted"].values()) == result["accepted"]
    assert service.queue.counts().keys() <= {"done", "cancelled"}
    assert "| not as it should be | nothing |" in soak_page(result | {"faults": []})
    assert Image.open(next(tmp_path.rglob("0000.png"))).size == (8, 8)


def test_it_complains_of_what_is_wrong() -> None:
    assert faults(GOOD) == []
    for change in (
        {"states": {"done": 4, "lost": 1}}, {"states": {"open": 1}}, {"answers": {"500": 1}},
        {"service_mib": [100.0, 400.0, 400.0]}, {"deleted": {"done": 1}},
    ):  # fmt: skip
        assert len(faults(GOOD | change)) == 1, change

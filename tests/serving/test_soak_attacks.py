"""The service under load and attack at once: locks, bombs, killed workers, cut streams; nothing is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.common.test_picture import png as chunked_png
from tests.serving.test_stopping import serving
from tests.serving.test_upkeep_attacks import locked
from twinset.benchmarks.soak import Watch, faults, soak, strike_worker
from twinset.serving.repository import Repository


def attacks(url: str, root: Path, statuses: Counter[int]) -> list[Callable[[], None]]:
    """What is done over and over beside the ordinary load."""
    bomb = chunked_png(13_300, 13_300)

    def lock() -> None:
        with locked(root / "jobs.sqlite"):
            time.sleep(1)
        time.sleep(4)

    def send_bombs() -> None:
        statuses[httpx.post(f"{url}/v1/uploads", files={"file": ("a.png", bomb)}, timeout=60).status_code] += 1
        time.sleep(0.5)

    def cut_stream() -> None:
        with httpx.stream("GET", f"{url}/page/gradio_api/heartbeat/{time.monotonic_ns()}", timeout=60) as answer:
            next(answer.iter_raw())
        time.sleep(0.5)

    def ask_after_it() -> None:
        for path in ("health", "metrics"):
            statuses[httpx.get(f"{url}/{path}", timeout=60).status_code] += 1
        time.sleep(0.5)

    return [lock, send_bombs, send_bombs, cut_stream, ask_after_it]


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [1.0, 10.0], ids=["one minute", "ten minutes"])
def test_a_soak_under_attack(minutes: float, tmp_path: Path) -> None:
    root, statuses, over, broken = tmp_path / "root", Counter[int](), threading.Event(), []

    def repeat(attack: Callable[[], None]) -> None:
        until = time.monotonic() + 60 * minutes + 30  # the rest of the queue is drawn in peace
        while not over.is_set() and time.monotonic() < until:
            try:
                attack()
            except Exception as error:
                if not over.is_set():
                    broken.append(repr(error))

    with serving(root, drain=5.0) as (url, process):
        threads = [threading.Thread(target=repeat, args=(attack,)) for attack in attacks(url, root, statuses)]
        for thread in threads:
            thread.start()
        every = 20.0 if minutes < 5 else 90.0
        result = soak(url, Watch(psutil.Process(process.pid)), minutes, lambda: strike_worker(process), every)
        over.set()
        for thread in threads:
            thread.join(60)
        process.terminate()
        process.wait(60)
    assert faults(result) == [] and broken == [], (result, broken)
    assert statuses.keys() <= {200, 413, 429, 503} and statuses[413] > 0, statuses
    assert result["kills"] > 0 and result["states"]["done"] > 0
    assert Repository(root / "jobs.sqlite").jobs.counts().keys() <= {"done", "cancelled", "failed"}

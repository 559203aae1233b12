"""Uploads that come all at once, that take long, or that are many: nobody else waits for them, and none is a 500."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from tests.helpers.decoder_faults import hang
from tests.serving.test_service import png
from twinset.errors import InputError
from twinset.serving import storage
from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.storage import BusyError, Decoder


@contextmanager
def answering(service: Service) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True


@pytest.mark.long
def test_uploads_at_once_are_taken_or_told_when_to_come_again(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    tenants = [keys.add(name) for name in ("one", "two")]
    with answering(Service(tmp_path, keys, Limits())) as url, ThreadPoolExecutor(40) as pool:

        def send(number: int) -> httpx.Response:
            headers = {"X-API-Key": tenants[number % 2]}
            return httpx.post(f"{url}/v1/uploads", files={"file": ("a.png", png(number))}, headers=headers, timeout=90)

        answers = list(pool.map(send, range(40)))
    counted = Counter(answer.status_code for answer in answers)
    assert counted.keys() <= {201, 429, 503} and counted[201] >= 12, counted
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code != 201)


@pytest.mark.long
def test_bombs_of_one_keep_nobody_elses_selfie_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An attacker's pictures never come to an end; the other's is decoded at once all the same."""
    (tmp_path / "a.png").write_bytes(png(1))
    decoder = Decoder()
    decoder.check(tmp_path / "a.png", "mei")
    plain = storage.fault_of
    monkeypatch.setattr(storage, "DECODING", 8.0)
    monkeypatch.setattr(storage, "QUEUEING", 5.0)
    monkeypatch.setattr(storage, "fault_of", hang)
    refused: list[Exception] = []

    def attack() -> None:
        try:
            decoder.check(tmp_path / "bomb.png", "attacker")
        except (BusyError, InputError) as error:
            refused.append(error)

    attackers = [threading.Thread(target=attack) for _ in range(30)]
    for thread in attackers:
        thread.start()
    while decoder.at_work["attacker"] < 2 or len(refused) < 24:
        time.sleep(0.01)
    assert all(isinstance(error, BusyError) and error.status == 429 for error in refused)
    monkeypatch.setattr(storage, "fault_of", plain)
    began = time.monotonic()
    for _ in range(3):
        decoder.check(tmp_path / "a.png", "mei")
    assert time.monotonic() - began < 6 and decoder.at_work["attacker"] == 2
    decoder.close()
    for thread in attackers:
        thread.join(30)
    assert len(refused) == 30 and not decoder.at_work and not decoder.waiting and len(decoder.idle) == 3


def test_owners_take_turns() -> None:
    """Of an owner with six pictures and one with two, the second's come second and fourth, not seventh and eighth."""
    decoder, order, threads = Decoder(processes=1), [], []
    first = decoder._turn("first")
    first.__enter__()

    def wait(owner: str) -> None:
        with decoder._turn(owner):
            order.append(owner)

    for owner in ["many"] * 5 + ["few"] * 2:
        threads.append(threading.Thread(target=wait, args=(owner,)))
        threads[-1].start()
        while sum(map(len, decoder.waiting.values())) < len(threads):
            time.sleep(0.001)
    first.__exit__(None, None, None)
    for thread in threads:
        thread.join()
    assert order == ["many", "few", "many", "few", "many", "many", "many"]


def test_one_key_cannot_fill_the_queue(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    greedy = keys.add("greedy")
    service = Service(tmp_path, keys, Limits(room=6))
    with TestClient(create_app(service)) as client:

        def ask(key: str, num: int) -> Any:
            return client.post("/v1/jobs", json={"prompt": "x", "num": num}, headers={"X-API-Key": key})

        assert ask(greedy, 4).status_code == 202  # alone, it has all of the room
        other = keys.add("other")
        refused = ask(greedy, 1)
        assert refused.status_code == 429 and refused.headers["retry-after"], refused.text
        assert refused.json()["detail"] == "no room for 1 pictures: 4 of at most 3 of one key wait"
        assert ask(other, 2).status_code == 202

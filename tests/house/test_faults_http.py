"""Faults and attacks over HTTP: connections that drip, very many parts, names, and a full disk."""

from __future__ import annotations

import json
import resource
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn
from starlette.testclient import TestClient

from tests.serving.test_service import png, sent
from twinset.compliance.labels import xmp
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.http_server import ImpatientProtocol


class HurriedProtocol(ImpatientProtocol):
    patience = 0.3


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path, None, Limits(patience=30.0))


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def listening(service: Service) -> Iterator[int]:
    """The service on loopback, as `twinset serve` runs it, with less patience."""
    config = uvicorn.Config(
        create_app(service), port=0, log_level="error", timeout_keep_alive=10, http=HurriedProtocol
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def ended_after(line: socket.socket, drip: bytes = b"") -> float:
    """Seconds until the other side ends a connection to which a byte is sent now and then."""
    began = time.monotonic()
    line.settimeout(0.1)
    while time.monotonic() - began < 5:
        try:
            if not line.recv(200):
                return time.monotonic() - began
        except TimeoutError:
            pass
        except OSError:
            return time.monotonic() - began
        if drip:
            line.sendall(drip)
    return 5.0


def answered(line: socket.socket) -> int:
    """The status of an answer, all of which is read."""
    answer = HTTPResponse(line)
    answer.begin()
    answer.read()
    return answer.status


def test_a_head_that_drips_or_never_comes_ends_the_connection(service: Service) -> None:
    with listening(service) as port:
        for begun, drip in ((b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", b"a"), (b"", b"")):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(begun)
                assert 0.2 < ended_after(line, drip) < 2
        with socket.create_connection(("127.0.0.1", port)) as line:  # a body has the guard's patience, not the head's
            line.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n")
            line.sendall(b"Content-Type: application/json\r\n\r\n")
            for piece in (b'{"prom', b'pt": ', b'"a"}'):
                time.sleep(0.15)
                line.sendall(piece)
            assert answered(line) == 202
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")  # and a second request on the same line
            time.sleep(0.1)
            line.sendall(b"\r\n")
            assert answered(line) == 200
            line.sendall(b"GET /health")
            assert 0.2 < ended_after(line) < 2


def test_a_hundred_thousand_chunks_are_refused_in_flat_memory(service: Service) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"prompt":"' + b"a" * 100_000 + b'"}') + b"0\r\n\r\n"
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with listening(service) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        before = psutil.Process().memory_info().rss
        line.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert line.recv(99).startswith(b"HTTP/1.1 422")
        assert psutil.Process().memory_info().rss - before < 50 * 2**20


@pytest.mark.parametrize("head", [b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n', b"--y"])
def test_an_endless_body_is_ended_and_costs_no_memory(head: bytes, tmp_path: Path) -> None:
    """Of a sound form and of a broken one, which the framework answers before the body's end."""
    service = Service(tmp_path, None, Limits(body=2**20))
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with listening(service) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        before = psutil.Process().memory_info().rss
        line.sendall(b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n")
        line.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n")
        line.sendall(b"%x\r\n" % len(head) + head + b"\r\n")
        sent_mb = 0
        with suppress(OSError):
            for sent_mb in range(200):  # noqa: B007
                line.sendall(chunk)
        assert sent_mb < 100, "the connection is ended"
        assert psutil.Process().memory_info().rss - before < 50 * 2**20


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{" + ",".join(f'"field{number}": 1' for number in range(10_000)) + "}", 422),
        ('{"prompt": "a", "selfies": ' + json.dumps(["0" * 32] * 10_000) + "}", 422),
        ('{"prompt": "a", "num": ' + "9" * 5000 + "}", 400), ('{"prompt": "\\ud800"}', 422),
        ("[" * 100_000, 400), ('{"a":' * 100_000, 400), ("\x00", 400),
    ],
)  # fmt: skip
def test_json_of_very_many_parts_is_refused(body: str, status: int, client: TestClient) -> None:
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and len(answer.content) < 2000


def test_forms_of_very_many_parts_are_refused(client: TestClient, service: Service) -> None:
    fields = client.post("/v1/uploads", data={f"f{n}": "x" for n in range(10_000)}, files={"file": ("a.png", png())})
    files = client.post("/v1/uploads", files=[("file", ("a.png", png()))] * 2000)
    heads = client.post(
        "/v1/uploads", content=b"--x\r\n" + b"A: b\r\n" * 100_000,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    assert [answer.status_code for answer in (fields, files, heads)] == [400, 400, 400]
    assert not list(service.files.uploads.iterdir())


def test_names_are_the_servers_own(client: TestClient, service: Service) -> None:
    for name in ("../../etc/x.png", "a\0.png", "C:\\x.png", "."):
        sent(client, name=name)
    kept = [path.name for path in service.files.uploads.iterdir()]
    assert len(kept) == 4 and all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in kept)
    assert client.post("/v1/uploads", files={"file": ("a" * 9000 + ".png", png())}).status_code == 400
    for wild in ("..%2f..%2fetc%2fpasswd", "%00", "a" * 9000, "%ff%fe"):
        for method, path in (("get", f"/v1/jobs/{wild}"), ("delete", f"/v1/jobs/{wild}"),
                             ("delete", f"/v1/uploads/{wild}"), ("get", f"/v1/jobs/{wild}/pictures/0")):  # fmt: skip
            assert getattr(client, method)(path).status_code == 404, path
    told = {"person": "a" * 9000, "purposes": ["try-on"], "until": "2099-01-01", "agreed": True}
    assert client.post("/v1/consents", json=told).status_code == 422
    long = client.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "a" * 9000})
    assert long.status_code == 422


def test_scripts_in_metadata_stay_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSET_PRODUCER", "<script>alert(1)</script>")
    values = xmp.properties("00ff", edited=False)
    packet = xmp.packet(values)
    assert b"<script" not in packet and xmp.read_property(packet, xmp.AIGC) == values[xmp.AIGC]


# A full disk


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what the kernel does when a disk is full, for this process alone."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_an_upload_that_does_not_fit_leaves_nothing(client: TestClient, service: Service) -> None:
    large = png(size=(400, 400))
    assert len(large) > 400_000
    with room_for(200_000):
        answer = client.post("/v1/uploads", files={"file": ("a.png", large)})
    assert answer.status_code == 507 and answer.json()["remedy"] == "try again later"
    assert int(answer.headers["Retry-After"]) > 0 and not list(service.files.uploads.iterdir())
    sent(client, large)


def test_an_order_that_does_not_fit_is_not_half_taken(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post("/v1/jobs", json={"prompt": "a"}).status_code == 202
    plain = service.repository.database.connection

    def full() -> sqlite3.Connection:
        base = plain()
        base.execute("PRAGMA max_page_count = 1")  # SQLite takes the size that the file has
        return base

    order: dict[str, Any] = {"prompt": "long " * 390}
    with monkeypatch.context() as patch:
        patch.setattr(service.repository.database, "connection", full)
        statuses = [client.post("/v1/jobs", json=order).status_code for _ in range(8)]
        assert statuses[-1] == 507 and set(statuses) <= {202, 507}
        taken = statuses.count(202) + 1
        assert service.queue.counts() == {"queued": taken}
    monkeypatch.setattr(service.repository.database, "connection", lambda: _roomy(plain()))
    assert client.post("/v1/jobs", json=order).status_code == 202 and service.queue.counts() == {"queued": taken + 1}


def _roomy(base: sqlite3.Connection) -> sqlite3.Connection:
    base.execute("PRAGMA max_page_count = 1000000")
    return base

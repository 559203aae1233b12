"""Webhooks: signed, tried again, kept through restarts, and sent to public addresses alone."""

from __future__ import annotations

import http.server
import importlib.util
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.helpers.orders import orders
from twinset import cli
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.queue import JobQueue
from twinset.serving.repository import Repository
from twinset.serving.webhooks import WAITS, Secrets, UndeliveredError, WebhookSender, is_public

SPEC: Any = importlib.util.spec_from_file_location("receive_webhook", "examples/service/receive_webhook.py")
receiving = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(receiving)


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[tuple[Any, bytes]]]]:
    """A receiver on loopback with these answers, the last for all that follow; its address and what came."""
    came: list[tuple[Any, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers[min(len(came), len(answers)) - 1])
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *told: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/took?x=1", came
    server.shutdown()


class Clock:
    """Seconds that pass when they are told to."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


def ended_job(queue: JobQueue, url: str) -> str:
    job = queue.add("shop", json.dumps({"prompt": "hat"}), 1, webhook=url)
    assert not queue.claim_deliveries(60.0)  # it has not ended
    assert queue.cancel(job, "shop")
    return job


def sender(queue: JobQueue, folder: Path, **more: Any) -> WebhookSender:
    return WebhookSender(queue, Secrets(folder / "webhooks.key"), **more)


def state(queue: JobQueue, job: str) -> tuple[str, int, str | None]:
    found = queue.job(job, "shop")
    assert found is not None and found.webhook is not None
    return found.webhook.state, found.webhook.tries, found.webhook.reason


def test_the_end_is_told_and_the_example_believes_it(tmp_path: Path) -> None:
    queue = JobQueue(Repository(tmp_path / "jobs.sqlite"))
    with receiver(204) as (url, came):
        job = ended_job(queue, url)
        sent = sender(queue, tmp_path, loopback=True)
        assert sent.deliver_due() == 1 and sent.deliver_due() == 0 and state(queue, job) == ("delivered", 1, None)
    ((headers, body),) = came
    told = json.loads(body)
    assert told["type"] == "job.cancelled" and told["data"]["id"] == job and headers["webhook-id"] == f"msg_{job}"
    secret = Secrets(tmp_path / "webhooks.key").encoded("shop")
    assert receiving.is_genuine(secret, headers, body) and not receiving.is_genuine(secret, headers, body + b" ")
    assert not receiving.is_genuine(Secrets(tmp_path / "webhooks.key").encoded("other"), headers, body)
    old = dict(headers) | {"webhook-timestamp": str(int(time.time()) - 400)}
    assert not receiving.is_genuine(secret, old, body)
    assert (tmp_path / "webhooks.key").stat().st_mode & 0o077 == 0


def test_it_is_tried_again_after_a_restart_too_and_given_up(tmp_path: Path) -> None:
    clock = Clock()
    queue = JobQueue(Repository(tmp_path / "jobs.sqlite", clock))
    with receiver(500, 302, 404) as (url, came):
        job = ended_job(queue, url)
        assert sender(queue, tmp_path, loopback=True).deliver_due() == 1
        assert state(queue, job) == ("pending", 1, "answered 500")
        again = JobQueue(Repository(tmp_path / "jobs.sqlite", clock))  # as after a restart
        assert sender(again, tmp_path, loopback=True).deliver_due() == 0  # its time has not come
        for tries, wait in enumerate(WAITS, start=2):
            clock.now += wait * 1.3
            assert sender(again, tmp_path, loopback=True).deliver_due() == 1
            told = "answered 302" if tries == 2 else "answered 404"
            assert state(again, job) == ("failed" if tries > len(WAITS) else "pending", tries, told)
        clock.now += 1e6
        assert sender(again, tmp_path, loopback=True).deliver_due() == 0
    assert len(came) == 1 + len(WAITS)  # no redirect was followed


def test_two_processes_do_not_both_deliver_and_a_lost_one_is_made_up_for(tmp_path: Path) -> None:
    clock = Clock()
    queue = JobQueue(Repository(tmp_path / "jobs.sqlite", clock))
    job = ended_job(queue, "https://example.com/")
    assert [delivery.job.id for delivery in queue.claim_deliveries(60.0)] == [job] and not queue.claim_deliveries(60.0)
    clock.now += 61  # the first one died with it in hand
    assert [delivery.webhook.tries for delivery in queue.claim_deliveries(60.0)] == [2]


INSIDE = (
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "localhost", "localhost.", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "[fe80::1]", "10.0.0.1", "192.168.1.1", "172.16.0.1",
    "100.64.0.1", "224.0.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00::1]", "255.255.255.255",
)  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_no_connection_to_addresses_inside(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "create_connection", connected)
    sent = sender(JobQueue(Repository(tmp_path / "jobs.sqlite")), tmp_path)
    for url in (f"https://{host}/", f"https://{host}:8443/x"):
        with pytest.raises(UndeliveredError, match=r"not public|does not resolve"):
            sent.post(url, b"", {})
    with pytest.raises(UndeliveredError, match="only https"):
        sent.post(f"http://{host}/", b"", {})


def test_a_name_is_resolved_once_and_every_address_must_be_public(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = [["93.184.216.34", "127.0.0.1"], ["93.184.216.34"], ["127.0.0.1"]]

    def resolve(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in answers[len(asked) - 1]]

    went: list[Any] = []

    def connect(address: Any, timeout: float) -> Any:
        went.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    sent = sender(JobQueue(Repository(tmp_path / "jobs.sqlite")), tmp_path, resolve=resolve)
    with pytest.raises(UndeliveredError, match="not public"):
        sent.post("https://rebinding.example/", b"", {})
    with pytest.raises(UndeliveredError, match="no answer"):
        sent.post("https://rebinding.example/", b"", {})
    assert went == [("93.184.216.34", 443)] and len(asked) == 2  # the address that was checked; nobody asked again


def test_a_receiver_that_drips_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinset.serving.webhooks.PATIENCE", 0.5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def drip() -> None:
            line, _ = server.accept()
            with line:
                for _ in range(60):
                    try:
                        line.sendall(b"H")
                    except OSError:
                        return
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(UndeliveredError, match="no answer"):
            sender(JobQueue(Repository(tmp_path / "jobs.sqlite")), tmp_path, loopback=True).post(
                f"http://127.0.0.1:{server.getsockname()[1]}/", b"", {}
            )
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "http://a.example/", "https://u:p@a.example/", "https://a b/", "x", "https://"]
)
def test_what_is_no_address_is_refused_with_the_order(url: str, tmp_path: Path) -> None:
    with TestClient(create_app(Service(tmp_path, None)), base_url="http://localhost") as client:
        answer = client.post("/v1/jobs", json={"prompt": "x", "webhook": url})
        assert answer.status_code == 422 and answer.json()["field"] == "webhook"


def test_through_the_service(tmp_path: Path) -> None:
    limits = Limits(loopback_webhooks=True)
    with receiver(204) as (url, came):
        with TestClient(create_app(Service(tmp_path, None, limits)), base_url="http://localhost") as client:
            job = client.post("/v1/jobs", json={"prompt": "x", "webhook": url}).json()
            assert job["webhook"] == {"state": "pending", "tries": 0, "reason": None}
            client.post(f"/v1/jobs/{job['id']}/cancel")
            deadline = time.monotonic() + 10
            while not came and time.monotonic() < deadline:
                time.sleep(0.05)
            while (told := client.get(f"/v1/jobs/{job['id']}").json())["webhook"]["state"] == "pending":
                time.sleep(0.05)
            assert told["webhook"] == {"state": "delivered", "tries": 1, "reason": None}
        assert "webhook" not in orders(Service(tmp_path, None).repository)[0]


def test_the_secret_is_told_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["twinset", "serve-keys", "secret", "shop", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    assert capsys.readouterr().out.strip() == Secrets(tmp_path / "webhooks.key").encoded("shop")


def test_public_addresses_are_public() -> None:
    assert all(is_public(one) for one in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "8.8.8.8"))

"""What the service does on its own, and that no entry, address or receiver brings it to a stop."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from twinset.compliance.consent import ConsentBook, read_statement
from twinset.serving import webhooks
from twinset.serving.app import Limits, Service
from twinset.serving.queue import JobQueue
from twinset.serving.repository import JobResult, Repository
from twinset.serving.webhooks import Secrets, UndeliveredError, WebhookSender, is_public

TOMORROW = datetime.now(UTC).date() + timedelta(days=1)


def test_nothing_made_under_an_ended_consent_stays(tmp_path: Path) -> None:
    service = Service(tmp_path, None)
    given = {"person": "Mei", "purposes": ("try-on",), "given": datetime.now(UTC)}
    short = service.book.record(read_statement(**given, until=TOMORROW))
    long = service.book.record(read_statement(**given, until=TOMORROW + timedelta(days=30)))
    jobs = {
        consent: service.queue.add("a", json.dumps({"prompt": "x"}), 1, consent=consent) for consent in (short, long)
    }
    for job in jobs.values():
        service.files.pictures(job).mkdir(parents=True)
    service.sweep(datetime.now(UTC))
    assert len(list(service.files.jobs.iterdir())) == 2
    service.sweep(datetime.now(UTC) + timedelta(days=2, hours=1))
    assert [path.name for path in service.files.jobs.iterdir()] == [jobs[long]]
    assert service.queue.job(jobs[short], "a") is None and service.queue.job(jobs[long], "a")


def test_a_damaged_consent_keeps_nobody_elses_pictures(tmp_path: Path) -> None:
    book = ConsentBook(tmp_path / "book")
    service = Service(tmp_path, None, Limits(), book)
    mine = book.record(read_statement(person="Mei", purposes=("try-on",), until=TOMORROW, given=datetime.now(UTC)))
    book.bind(mine, seen=["faces-test.npz"])
    (book.root / f"{'0' * 16}.json").write_text("{")  # first in order
    service.sweep(datetime.now(UTC) + timedelta(days=2, hours=1))
    assert book.read(mine).seen == ()


def test_what_a_dead_worker_left_of_a_cancelled_job_goes(tmp_path: Path) -> None:
    service = Service(tmp_path, None)
    jobs = [service.queue.add("a", '{"prompt": "x"}', 1) for _ in "abcd"]
    for job in jobs:
        assert service.queue.claim("dead")
        (service.files.jobs / job / "part-dead").mkdir(parents=True)
    service.queue.finish(jobs[0], "dead", "done", JobResult())
    service.queue.cancel(jobs[1], "a")
    service.repository.jobs.delete(jobs[2])
    service.sweep()
    assert {path.name for path in service.files.jobs.iterdir()} == {jobs[0], jobs[3]}


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "127.0.0.1", "10.0.0.1", "100.64.0.1", "169.254.169.254", "192.88.99.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "2001::1", "2002:7f00:1::", "3fff::1", "2001:db8::1", "fc00::1", "fe80::1%eth0", "fec0::1",
        "ff0e::1",
    ],
)  # fmt: skip
def test_no_address_but_a_public_one(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert is_public("8.8.8.8") and is_public("2606:4700::1111")


def sender(root: Path, *addresses: str) -> WebhookSender:
    found = [(0, 0, 0, "", (address, 0)) for address in addresses]
    resolve = (lambda *_, **__: found) if addresses else socket.getaddrinfo
    return WebhookSender(JobQueue(Repository(root / "jobs.sqlite")), Secrets(root / "webhooks.key"), True, resolve)


def test_plain_http_leads_to_this_machine_alone(tmp_path: Path) -> None:
    with pytest.raises(UndeliveredError, match="only https"):
        sender(tmp_path, "8.8.8.8").post("http://shop.example/", b"", {})
    with pytest.raises(UndeliveredError, match="not public"):
        sender(tmp_path, "8.8.8.8", "127.0.0.1").post("https://shop.example/", b"", {})


def receiver(answer: bytes, every: float = 0.0, tls: ssl.SSLContext | None = None) -> tuple[int, socket.socket]:
    """Answers each connection with these bytes, one at a time where they should drip."""
    line = socket.create_server(("127.0.0.1", 0))

    def answering() -> None:
        while True:
            try:
                connection = line.accept()[0]
                connection = tls.wrap_socket(connection, server_side=True) if tls else connection
                connection.recv(4096)
                for at in range(0, len(answer), 1 if every else len(answer)):
                    connection.sendall(answer[at : at + 1] if every else answer)
                    time.sleep(every)
                connection.close()
            except OSError:
                if line.fileno() < 0:
                    return

    threading.Thread(target=answering, daemon=True).start()
    return line.getsockname()[1], line


def test_an_address_of_other_letters_stops_no_delivery(tmp_path: Path) -> None:
    carrying = sender(tmp_path)
    port, line = receiver(b"HTTP/1.1 204 Done\r\n\r\n")
    jobs = {
        path: carrying.queue.add("a", json.dumps({"prompt": "x"}), 1, webhook=f"http://127.0.0.1:{port}/{path}")
        for path in ("\u00fc\u9ed1", "plain")
    }
    for job in jobs.values():
        carrying.queue.cancel(job, "a")
    carrying.deliver_due()
    line.close()
    ended = [carrying.queue.job(job, "a") for job in jobs.values()]
    assert [job and job.webhook and job.webhook.state for job in ended] == ["pending", "delivered"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_drips_is_ended(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "PATIENCE", 0.6)
    port, line = receiver(b"\x16\x03\x03\x40\x00" + bytes(200) if scheme == "https" else b"HTTP" * 50, every=0.1)
    began = time.monotonic()
    with pytest.raises(UndeliveredError, match="no answer"):
        sender(tmp_path).post(f"{scheme}://127.0.0.1:{port}/", b"{}", {})
    line.close()
    assert time.monotonic() - began < 3


def test_a_receiver_that_drips_after_the_handshake_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1)
    made = made.not_valid_before(datetime.now(UTC) - timedelta(1)).not_valid_after(datetime.now(UTC) + timedelta(1))
    signed = made.add_extension(names, False).sign(key, SHA256())
    (tmp_path / "cert.pem").write_bytes(
        signed.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "cert.pem")
    ours = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    monkeypatch.setattr(webhooks.ssl, "create_default_context", lambda: ours)
    monkeypatch.setattr(webhooks, "PATIENCE", 1.0)
    port, line = receiver(b"HTTP" * 30, 0.1, theirs)
    began = time.monotonic()
    with pytest.raises(UndeliveredError, match="no answer"):
        sender(tmp_path, "127.0.0.1").post(f"https://localhost:{port}/", b"{}", {})
    line.close()
    assert 0.9 < time.monotonic() - began < 4


def test_slow_receivers_are_waited_for_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carrying = sender(tmp_path)

    def slow(row: Any) -> None:
        time.sleep(0.3)

    monkeypatch.setattr(carrying, "deliver", slow)
    for _ in range(8):
        carrying.queue.cancel(carrying.queue.add("a", '{"prompt": "x"}', 1, webhook="https://shop.example/"), "a")
    began = time.monotonic()
    assert carrying.deliver_due() == 8 and time.monotonic() - began < 1.5


def test_the_secret_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    keys = [Secrets(tmp_path / "webhooks.key") for _ in range(16)]
    told: list[bytes] = []
    threads = [threading.Thread(target=lambda one=one: told.append(one.of("a"))) for one in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(told)) == 1 and len((tmp_path / "webhooks.key").read_bytes()) == 32
    assert (tmp_path / "webhooks.key").stat().st_mode & 0o077 == 0 and len(list(tmp_path.iterdir())) == 1

"""The REST service: what it takes, what it refuses, and that nothing it accepted is lost."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image
from starlette.testclient import TestClient

from tests.helpers.tiny import noise_picture
from twinset import cli
from twinset.compliance.labels.verify import verify
from twinset.pipelines.request import Request
from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.contract import JobRequest
from twinset.serving.middleware import Guard
from twinset.serving.worker import Worker

LOCAL = "http://localhost"
EVERY_CHECK: Any = list(HealthCheck)
FAR = (date.today() + timedelta(days=30)).isoformat()


def png(seed: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise_picture(*size, seed)).save(file, "PNG")
    return file.getvalue()


def drawn(request: Request, out: Path, tell: Any) -> tuple[list[Any], list[str]]:
    """Instead of a pipeline: a grey picture for each seed."""
    records = []
    for index in range(request.num):
        tell(index, 1)
        name = f"{index:04d}.png"
        Image.new("RGB", (8, 8), (index, 0, 0)).save(out / name)
        records.append(
            SimpleNamespace(
                seed=index,
                scores={"identity": 0.5},
                controller=[],
                faults=[],
                composed={"notes": []},
                seconds=0.1,
                picture=name,
                request=request,
            )
        )
    return records, []


@pytest.fixture
def service(tmp_path: Path) -> Service:
    keys = Keys(tmp_path / "keys.json")
    limits = Limits(body=2**20, pictures=4, steps=50, room=6, share=6)
    made = Service(tmp_path, keys, limits, lease=5.0)
    made.tokens = {name: keys.add(name) for name in ("shop", "other")}  # type: ignore[attr-defined]
    return made


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    headers = {"X-API-Key": service.tokens["shop"]}  # type: ignore[attr-defined]
    with TestClient(create_app(service), headers=headers, raise_server_exceptions=False) as client:
        yield client


def sent(client: TestClient, data: bytes | None = None, name: str = "me.png") -> str:
    answer = client.post("/v1/uploads", files={"file": (name, data or png())})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def agreed(client: TestClient, **more: Any) -> str:
    told = {"person": "Mei", "purposes": ["try-on"], "until": FAR, "agreed": True} | more
    answer = client.post("/v1/consents", json=told)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def worker(service: Service, draw: Any = drawn) -> Worker:
    return Worker(service.queue, service.files, draw, "studio")


def test_from_a_selfie_to_its_pictures(client: TestClient, service: Service) -> None:
    fields = {"prompt": "short hair", "selfies": [sent(client)], "consent": agreed(client), "num": 2, "seed": 7}
    answer = client.post("/v1/jobs", json=fields)
    assert answer.status_code == 202 and answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    job = answer.json()["id"]
    assert answer.json()["state"] == "queued" and [one["id"] for one in client.get("/v1/jobs").json()] == [job]
    assert client.get(f"/v1/jobs/{job}/pictures/0").status_code == 404
    assert worker(service).once() and not worker(service).once()
    told = client.get(f"/v1/jobs/{job}").json()
    assert told["state"] == "done" and len(told["pictures"]) == 2 and told["pictures"][1]["scores"] == {"identity": 0.5}
    picture = client.get(told["pictures"][1]["url"])
    assert picture.headers["content-type"] == "image/png" and Image.open(io.BytesIO(picture.content)).size == (8, 8)
    assert client.get(f"/v1/jobs/{job}/pictures/2").status_code == 404


def test_keys_and_other_peoples_jobs(client: TestClient, service: Service) -> None:
    job = client.post("/v1/jobs", json={"prompt": "x"}).json()["id"]
    upload, consent = sent(client), agreed(client)
    for headers in ({"X-API-Key": ""}, {"X-API-Key": "tw_wrong"}):
        answer = client.get("/v1/jobs", headers=headers)
        assert answer.status_code == 401 and answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["remedy"] == "send yours as X-API-Key"
    other = {"X-API-Key": service.tokens["other"]}  # type: ignore[attr-defined]
    for method, path in (("get", f"/v1/jobs/{job}"), ("post", f"/v1/jobs/{job}/cancel"), ("delete", f"/v1/jobs/{job}"),
                         ("delete", f"/v1/uploads/{upload}"), ("delete", f"/v1/consents/{consent}")):  # fmt: skip
        assert getattr(client, method)(path, headers=other).status_code == 404
    assert client.get("/v1/jobs", headers=other).json() == []
    stolen = client.post("/v1/jobs", json={"prompt": "x", "selfies": [upload], "consent": consent}, headers=other)
    assert stolen.status_code == 422
    assert b"tw_" not in (service.keys.path if service.keys else Path()).read_bytes()


def test_a_face_needs_consent_and_nothing_is_written_without(client: TestClient, service: Service) -> None:
    upload = sent(client)
    for consent, why in ((None, "needs the person's consent"), ("0" * 16, "is unknown")):
        answer = client.post("/v1/jobs", json={"prompt": "x", "selfies": [upload], "consent": consent})
        assert answer.status_code == 422 and why in answer.json()["detail"] and answer.json()["field"] == "consent"
    wrong = agreed(client, purposes=["training"])
    answer = client.post("/v1/jobs", json={"prompt": "x", "selfies": [upload], "consent": wrong})
    assert answer.status_code == 422 and "covers training, not try-on" in answer.json()["detail"]
    assert client.get("/v1/jobs").json() == []
    assert client.post(
        "/v1/consents", json={"person": "M", "purposes": ["try-on"], "until": FAR, "agreed": False}
    ).is_client_error


def test_deleting_really_deletes(client: TestClient, service: Service) -> None:
    upload, consent = sent(client), agreed(client)
    jobs = [
        client.post("/v1/jobs", json={"prompt": "x", "selfies": [upload], "consent": consent}).json()["id"]
        for _ in "ab"
    ]
    while worker(service).once():
        pass
    assert client.delete(f"/v1/jobs/{jobs[0]}").status_code == 204
    assert client.get(f"/v1/jobs/{jobs[0]}").status_code == 404 and not (service.files.jobs / jobs[0]).exists()
    assert (service.files.uploads / upload).is_file()  # the other job's too
    assert client.delete(f"/v1/consents/{consent}").status_code == 204
    assert not list(service.files.jobs.iterdir()) and not list(service.files.uploads.iterdir())
    again = client.post("/v1/jobs", json={"prompt": "x", "selfies": [sent(client)], "consent": consent})
    assert again.status_code == 422 and "was withdrawn" in again.json()["detail"]


def test_what_is_old_goes(client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = sent(client)
    job = client.post("/v1/jobs", json={"prompt": "x", "garments": [{"upload": upload}]}).json()["id"]
    worker(service).once()
    assert service.files.expire(3600) == 0 and client.get(f"/v1/jobs/{job}").status_code == 200
    monkeypatch.setattr(service.repository, "clock", lambda: time.time() + 7200)
    assert service.files.expire(3600) == 1 and client.get(f"/v1/jobs/{job}").status_code == 404
    assert not list(service.files.uploads.iterdir())


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"prompt": ""}, {"prompt": "x", "steps": -1}, {"prompt": "x", "num": 10**9}, {"prompt": "x", "num": 5},
        {"prompt": "x", "guidance": float("nan")}, {"prompt": "x", "identity_strength": float("inf")},
        {"prompt": "x", "selfies": ["../../etc/passwd"]}, {"prompt": "x", "photo": "\x00"},
        {"prompt": "x", "steps": 51},
        {"prompt": "x", "pose": "../x.json"}, {"prompt": "x", "model": "sdxl"}, {"prompt": "x", "loras": ["a"]},
        {"prompt": "x" * 9000}, {"prompt": "x", "garments": [{"upload": "0" * 32}]}, {"prompt": "x", "seed": -1},
        {"prompt": "x", "unknown": 1},
    ],
)  # fmt: skip
def test_wrong_orders_are_refused_with_the_field(fields: dict[str, Any], client: TestClient) -> None:
    body = json.dumps(fields)
    answer = client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    told = answer.json()
    assert told["status"] == 422 and told["detail"] and "\n" not in told["detail"] and "/tmp" not in told["detail"]


def test_what_is_no_picture_is_refused(client: TestClient, service: Service) -> None:
    broken = (b"GIF89a", png()[:60], b"\xff\xd8\xff" + bytes(100))
    for status, data in [(415, b""), (415, b"<svg/>"), *((422, one) for one in broken)]:
        answer = client.post("/v1/uploads", files={"file": ("../../x.png", data)})
        assert answer.status_code == status and "/tmp" not in answer.text, answer.text
    assert not list(service.files.uploads.iterdir())
    sent(client, name="a" * 3000 + "\\..\\..\\x.png")
    (kept,) = service.files.uploads.iterdir()
    assert len(kept.name) == 32


def test_bodies_too_large_are_refused_however_they_come(client: TestClient) -> None:
    answer = client.post("/v1/uploads", files={"file": ("a.png", bytes(2**21))})
    assert answer.status_code == 413 and answer.json()["remedy"] == "send smaller pictures"

    def endless() -> Iterator[bytes]:
        for _ in range(4096):
            yield bytes(1024)

    answer = client.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_other_sites_pages_may_not_ask(client: TestClient) -> None:
    for origin in ("null", "https://evil.example", "http://testserver.evil.example"):
        assert client.get("/health", headers={"Origin": origin}).status_code == 403
    assert client.get("/health", headers={"Origin": "http://testserver"}).status_code == 200


def test_a_full_queue_says_when_to_come_again(client: TestClient, service: Service) -> None:
    assert [client.post("/v1/jobs", json={"prompt": "x", "num": 3}).status_code for _ in "abc"] == [202, 202, 429]
    answer = client.post("/v1/jobs", json={"prompt": "x", "num": 1})
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) >= 1
    assert 'twinset_rejected_total{status="429"} 2.0' in client.get("/metrics").text
    worker(service).once()
    assert client.post("/v1/jobs", json={"prompt": "x", "num": 1}).status_code == 202
    assert 'twinset_jobs{state="done"} 1.0' in client.get("/metrics").text


def test_the_same_idempotency_key_is_the_same_job(client: TestClient) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first, second = (client.post("/v1/jobs", json={"prompt": "x"}, headers=headers).json()["id"] for _ in "ab")
    assert first == second
    assert client.post("/v1/jobs", json={"prompt": "y"}, headers=headers).status_code == 409


def test_a_cancelled_job_leaves_nothing(client: TestClient, service: Service) -> None:
    job = client.post("/v1/jobs", json={"prompt": "x", "num": 4}).json()["id"]

    def slow(request: Request, out: Path, tell: Any) -> Any:
        assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
        return drawn(request, out, tell)

    worker(service, slow).once()
    told = client.get(f"/v1/jobs/{job}").json()
    assert told["state"] == "cancelled" and told["pictures"] == [] and not (service.files.jobs / job).exists()
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"


def test_a_failure_is_told_without_the_servers_paths(client: TestClient, service: Service) -> None:
    from twinset.errors import InputError

    def failing(request: Request, out: Path, tell: Any) -> Any:
        raise InputError(f"garment {str(request.garments[0].path)!r} shows nothing; give another")

    job = client.post("/v1/jobs", json={"prompt": "x", "garments": [{"upload": sent(client)}]}).json()["id"]
    worker(service, failing).once()
    told = client.get(f"/v1/jobs/{job}").json()
    assert (
        told["state"] == "failed" and "shows nothing" in told["error"] and str(service.files.root) not in told["error"]
    )


def test_health_and_readiness(tmp_path: Path) -> None:
    ready = [False]
    with TestClient(create_app(Service(tmp_path, None, alive=lambda: ready[0])), base_url=LOCAL) as client:
        assert client.get("/health").json()["status"] == "ok" and client.get("/ready").status_code == 503
        ready[0] = True
        assert client.get("/ready").status_code == 200 and client.get("/v1/jobs").json() == []  # open


def test_one_set_of_options() -> None:
    own = {"model", "loras", "embeddings", "people", "show_regions", "safety"}
    own |= {"faces", "pose_estimator", "parser", "attention"}
    assert set(JobRequest.model_fields) - {"webhook"} == set(Request.model_fields) - own
    for name, field in JobRequest.model_fields.items():
        if name not in ("prompt", "selfies", "garments", "photo", "pose", "webhook"):
            assert field.default == Request.model_fields[name].default


@pytest.mark.long
def test_the_api_is_as_it_is_described(service: Service) -> None:
    """schemathesis, bounded: all its checks but that all that fits the description is accepted (not all bytes are)."""
    app = create_app(service)
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    headers = {"X-API-Key": service.tokens["shop"]}  # type: ignore[attr-defined]
    schema.config.checks.positive_data_acceptance.enabled = False
    for operation in schema.get_all_operations():
        found = operation.ok()

        @given(case=found.as_strategy())
        @settings(
            max_examples=8, deadline=None, suppress_health_check=EVERY_CHECK, phases=[Phase.generate],
            derandomize=True, database=None,
        )  # fmt: skip
        def check(case: Any) -> None:
            case.call_and_validate(headers=headers)

        check()


@contextlib.contextmanager
def listening(service: Service) -> Iterator[int]:
    """The service on loopback, by a real server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join()


def test_a_body_that_drips_is_ended(tmp_path: Path) -> None:
    service = Service(tmp_path, None, Limits(patience=0.5))
    with listening(service) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 900\r\n\r\n"
        )
        began, answer = time.monotonic(), b""
        line.settimeout(0.1)
        while not answer and time.monotonic() - began < 8:
            with contextlib.suppress(TimeoutError):
                answer = line.recv(200)
            with contextlib.suppress(OSError):
                line.sendall(b" ")
        assert b" 408 " in answer


def test_the_guard_lets_other_protocols_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    import anyio

    guard: Any = Guard(app, 10)
    anyio.run(guard, {"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


@pytest.mark.long
def test_the_bundled_model_serves_a_labelled_picture(
    client: TestClient, service: Service, studio: Any, tmp_path: Path
) -> None:
    from twinset.pipelines.generate import generate

    def draw(request: Request, out: Path, tell: Any) -> Any:
        return generate(studio, request, out, tell), []

    garment = (Path(__file__).resolve().parents[2] / "examples" / "garment.png").read_bytes()
    selfie = (Path(__file__).resolve().parents[2] / "examples" / "selfie.png").read_bytes()
    fields = {"selfies": [sent(client, selfie)], "garments": [{"upload": sent(client, garment), "kind": "dress"}]}
    order = fields | {"prompt": "short hair", "consent": agreed(client), "steps": 1, "repair": False, "seed": 5}
    service.book.root.mkdir(exist_ok=True)
    os.environ["TWINSET_CONSENT"] = str(service.book.root)
    try:
        job = client.post("/v1/jobs", json=order).json()["id"]
        worker(service, draw).once()
    finally:
        del os.environ["TWINSET_CONSENT"]
    told = client.get(f"/v1/jobs/{job}").json()
    assert told["state"] == "done", told
    (tmp_path / "got.png").write_bytes(client.get(told["pictures"][0]["url"]).content)
    assert verify(tmp_path / "got.png").layers == ["mark", "xmp", "c2pa"]


def test_commands_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinset", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    assert "nobody has a key" in run("serve", "--root", tmp_path)[2]
    assert "other machines can reach" in run("serve", "--open", "--host", "0.0.0.0", "--root", tmp_path)[2]
    key = run("serve-keys", "add", "shop", "--root", tmp_path)[1].strip()
    assert Keys(tmp_path / "keys.json").owner(key) == "shop" and (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    assert "has a key" in run("serve-keys", "add", "shop", "--root", tmp_path)[2]
    assert run("serve-keys", "remove", "shop", "--root", tmp_path)[0] == 0
    assert Keys(tmp_path / "keys.json").owner(key) is None

"""The service's doors: bombs, formats, host names, forms, large bodies; and what is swept away by itself."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.helpers.orders import orders
from tests.helpers.tiny import noise_picture
from tests.serving.test_service import listening
from twinset.common.result_cache import default_folder
from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.storage import Decoder

LOCAL = "http://localhost"


def png(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise_picture(40, 30, seed)).save(file, "PNG")
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A small PNG of very many white pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(side * (1 + side // 8 + 1)), 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path, None, Limits(body=2**20, pictures=4))


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("side", [13_300, 20_000])
def test_decompression_bombs(side: int, client: TestClient, service: Service) -> None:
    data = bomb(side)
    assert len(data) < 80_000
    answer = client.post("/v1/uploads", files={"file": ("a.png", data)})
    assert answer.status_code == 413 and "shrink it below 64 megapixels" in answer.json()["remedy"]
    assert not list(service.files.uploads.iterdir())


@pytest.mark.long
@pytest.mark.parametrize(
    "data", [b"%!PS-Adobe-3.0 EPSF", b"8BPS\0\1" + bytes(40), b"<svg xmlns='http://www.w3.org/2000/svg'/>",
             png() + b"<script>alert(1)</script>", b"PK\x03\x04" + bytes(40), b"%PDF-1.7"],
)  # fmt: skip
def test_other_formats_and_polyglots(data: bytes, client: TestClient) -> None:
    answer = client.post("/v1/uploads", files={"file": ("a.png", data)})
    assert answer.status_code == 415 and answer.json()["remedy"]


def test_a_decoder_that_crashes_costs_one_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    decoder, path = Decoder(), tmp_path / "a.png"
    path.write_bytes(png())
    decoder.check(path)
    (process,) = [one for one in decoder.processes if one.pool is not None]
    assert process.pool is not None
    process.pool.submit(os._exit, 1)
    with pytest.raises(Exception, match=r"could not be decoded|terminated"):
        time.sleep(0.3)
        decoder.check(path)
    decoder.check(path)
    decoder.close()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "169.254.1.1:8080", "", "a@localhost@b"])
def test_without_keys_only_this_machines_names(host: str, client: TestClient) -> None:
    for path in ("/v1/jobs", "/health", "/page/"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403 and answer.json()["remedy"].startswith("use http://localhost")


def test_names_of_this_machine(client: TestClient) -> None:
    for host in ("localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "LOCALHOST", "localhost."):
        assert client.get("/v1/jobs", headers={"Host": host}).status_code == 200


def test_a_large_body_gets_its_answer(service: Service) -> None:
    """The answer is there even for clients that send all before they look."""
    import urllib.error
    import urllib.request

    with listening(service) as port:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/jobs", bytes(3 * 2**20), {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(asked, timeout=20)
    assert answer.value.code == 413 and json.loads(answer.value.read())["remedy"] == "send smaller pictures"


def agreed(client: TestClient, days: int = 30) -> str:
    until = (date.today() + timedelta(days=days)).isoformat()
    told = {"person": "Mei", "purposes": ["try-on"], "until": until, "agreed": True}
    return client.post("/v1/consents", json=told).json()["id"]


def form(client: TestClient, fields: dict[str, Any], files: list[Any], **headers: str) -> Any:
    return client.post("/v1/jobs/form", data={"request": json.dumps(fields)}, files=files, headers=headers)


def test_one_form_with_pictures_and_fields(client: TestClient, service: Service) -> None:
    fields = {"prompt": "hat", "num": 2, "consent": agreed(client)}
    files = [("selfies", ("me.png", png(1))), ("garments", ("a.png", png(2))), ("garments", ("b.png", png(3)))]
    answer = form(client, fields, files, **{"Idempotency-Key": "one"})
    assert answer.status_code == 202 and answer.headers["location"].endswith(answer.json()["id"]), answer.text
    (request,) = orders(service.repository)
    asked = json.loads(request)
    hashes = {name.name: name.read_bytes() for name in service.files.uploads.iterdir()}
    assert [hashes[one] for one in asked["selfies"]] == [png(1)]
    assert [hashes[one["upload"]] for one in asked["garments"]] == [png(2), png(3)] and asked["num"] == 2

    again = form(client, fields, files, **{"Idempotency-Key": "one"})  # sent anew, after an answer that was lost
    assert again.json()["id"] == answer.json()["id"] and len(list(service.files.uploads.iterdir())) == 3
    other = form(client, fields, [("selfies", ("me.png", png(9))), *files[1:]], **{"Idempotency-Key": "one"})
    assert other.status_code == 409 and len(list(service.files.uploads.iterdir())) == 3


@pytest.mark.parametrize(
    ("request_", "files", "status"),
    [
        ("{", [], 422), ("[]", [], 422), ('{"prompt": "x", "steps": 0}', [("garments", ("a.png", png()))], 422),
        ('{"prompt": "x"}', [("garments", ("a.png", b"%PDF"))], 415), ('{"prompt": "x", "nonsense": 1}', [], 422),
        ('{"prompt": "x"}', [("selfies", ("a.png", png()))], 422),
        ('{"prompt": "x", "garments": 3}', [], 422),
        ('{"prompt": "x"}', [("garments", ("a.png", png()))] * 5, 422), ("[" * 9000, [], 422),
    ],
)  # fmt: skip
def test_wrong_forms_keep_nothing(
    request_: str, files: list[Any], status: int, client: TestClient, service: Service
) -> None:
    answer = client.post("/v1/jobs/form", data={"request": request_}, files=files or {"none": ""})
    assert answer.status_code == status and answer.json()["detail"], answer.text
    assert not list(service.files.uploads.iterdir()) and not service.queue.counts()


def test_photo_and_pose_must_be_there_too(client: TestClient) -> None:
    for name in ("photo", "pose"):
        answer = client.post("/v1/jobs", json={"prompt": "x", name: "0" * 32})
        assert answer.status_code == 422 and "is unknown" in answer.json()["detail"]
    assert client.post("/v1/jobs", json={"prompt": "x", "pose": "notes"}).status_code == 422


def test_what_was_made_under_an_ended_consent_goes_by_itself(client: TestClient, service: Service) -> None:
    short, long = agreed(client, 3), agreed(client, 30)
    ids = [
        form(client, {"prompt": "x", "consent": one}, [("selfies", ("a.png", png(7)))]).json()["id"]
        for one in (short, long)
    ]
    default_folder().mkdir(parents=True, exist_ok=True)
    (seen := default_folder() / "faces-of-mei.npz").write_bytes(b"an embedding")
    service.book.bind(short, seen=[seen.name])
    service.sweep()
    assert len(service.repository.jobs.held()) == 2 and seen.exists()
    service.sweep(datetime.now(UTC) + timedelta(days=5))
    assert service.repository.jobs.held() == {ids[1]}
    assert not seen.exists() and len(list(service.files.uploads.iterdir())) == 1


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"labels": False}, "labels"),
        ({"label_corner": "none"}, "label_corner"),
        ({"label_text": "\u200b"}, "label_text"),
    ],
)
def test_clients_do_not_decide_whether_pictures_are_labelled(
    fields: dict[str, Any], wrong: str, tmp_path: Path
) -> None:
    for optional in (False, True):
        service = Service(tmp_path / str(optional), None, Limits(optional_labels=optional))
        with TestClient(create_app(service), base_url="http://localhost") as local:
            answer = local.post("/v1/jobs", json={"prompt": "x"} | fields)
            refused = not optional or wrong == "label_text"  # words that draw nothing are no label anywhere
            assert answer.status_code == (422 if refused else 202), answer.text
            assert not refused or answer.json()["field"] == wrong
            assert bool(service.queue.counts()) != refused


@pytest.mark.parametrize("host", ["[", "]", "[::1", "a b", "a/b", "a@b", "a:b:c", "[::1]x", "a:99999999"])
def test_a_host_that_is_none_is_said_to_be_so(host: str, tmp_path: Path) -> None:
    """With keys, where any name may lead to the service; whatever the body."""
    keys = Keys(tmp_path / "keys.json")
    with TestClient(create_app(Service(tmp_path, keys, Limits()))) as client:
        for path in ("/health", "/v1/jobs", "/v1/jobs/", "/docs"):
            answer = client.get(path, headers={"Host": host, "X-API-Key": "x"})
            assert answer.status_code == 400 and answer.json()["detail"].endswith("is not a name or address"), path
        answer = client.post("/v1/jobs", headers={"Host": host}, content=b"{}")
        assert answer.status_code == 400 and "Content-Length" not in answer.text
        assert client.get("/health", headers={"Host": "shop_1.example:8080"}).status_code == 200

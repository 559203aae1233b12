"""A consent that is withdrawn at the service: no byte of the face is left on its disk, and the neighbour's all is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.page_service import served
from tests.serving.test_page_attacks import Visitor, file, png
from twinset.serving.app import Limits, Service


def draw(visitor: Visitor, path: str, person: str, prompt: str) -> dict[str, Any]:
    """Press the button of the first tab with a selfie; what the page shows in the end."""
    names = {part["id"]: part["props"].get("elem_id") for part in visitor.config["components"]}
    events = (
        {names[part]: place for place, part in enumerate(one["inputs"])} for one in visitor.config["dependencies"]
    )
    index, places = next((index, places) for index, places in enumerate(events) if {"selfie", "prompt"} <= {*places})
    body = visitor.body(visitor.config["dependencies"][index], places["selfie"], file(path))
    for name, value in (("prompt", prompt), ("whose", person), ("agreed", True)):
        body["data"][places[name]] = value
    assert visitor.http.post("/gradio_api/queue/join", json=body).status_code == 200
    return visitor.outcome()


def holding(root: Path, content: bytes) -> list[str]:
    """Files of a service in which some bytes stand."""
    return [path.name for path in root.rglob("*") if path.is_file() and content in path.read_bytes()]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
        monkeypatch.setenv(name, "")


@pytest.mark.long
def test_no_byte_of_the_face_is_left(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with served(root) as (url, service):
        mine, other = Visitor(url), Visitor(url)
        faces = {"Mei": png(21), "Mei Lin": png(22)}
        for visitor, (person, face) in zip((mine, other), faces.items(), strict=True):
            told = draw(visitor, visitor.upload(face), person, f"{person} wears an orange hat")
            assert told["success"], told
        unordered = httpx.post(f"{url}/v1/uploads", files={"file": ("me.png", faces["Mei"])}).json()["id"]
        jobs = {job.fields["prompt"].partition(" wears")[0]: job for job in service.repository.jobs.latest("everybody")}
        pictures = {
            person: [path.read_bytes() for path in service.files.pictures(job.id).iterdir()]
            for person, job in jobs.items()
        }
        assert len(holding(root, faces["Mei"])) == 3  # the page's, the service's, and the one that was not ordered with
        assert all(len(holding(root, one)) == 2 for both in pictures.values() for one in both)
        assert httpx.delete(f"{url}/v1/consents/{jobs['Mei'].consent}").status_code == 204
        assert httpx.get(f"{url}/v1/jobs/{jobs['Mei Lin'].id}").json()["state"] == "done"
        for content in (faces["Mei"], *pictures["Mei"], b"Mei wears an orange hat", unordered.encode()):
            assert holding(root, content) == []
        assert len(holding(root, faces["Mei Lin"])) == 2
        assert all(len(holding(root, one)) == 2 for one in pictures["Mei Lin"])
        assert mine.fetch(str(root / "page" / "files" / "x.png")).status_code == 404
        assert draw(other, other.upload(faces["Mei Lin"]), "Mei Lin", "Mei Lin in a coat")["success"]


def test_an_upload_of_another_consent_stays(tmp_path: Path) -> None:
    """The same bytes, ordered with under two consents, or sent by two keys."""
    service = Service(tmp_path, None, Limits())
    uploads = []
    for owner in ("a", "a", "b"):
        part = service.files.begin()
        part.write_bytes(b"a face")
        uploads.append(service.files.keep(part, owner))
    consents = [consent_of(service, name) for name in ("Mei", "Mei Lin")]
    for consent in consents:
        service.book.bind(consent, selfies=[uploads[0].sha256])
    order = json.dumps({"prompt": "x"})
    service.queue.add("a", order, 1, consent=consents[0], uploads=[uploads[0].id])
    service.queue.add("a", order, 1, consent=consents[1], uploads=[uploads[1].id])
    service.withdraw(consents[0])
    assert {path.name for path in service.files.uploads.iterdir()} == {uploads[1].id, uploads[2].id}


def consent_of(service: Service, person: str) -> str:
    from datetime import date, timedelta

    from twinset.serving.contract import ConsentIn

    until = date.today() + timedelta(days=9)
    return service.agree(ConsentIn(person=person, purposes=["try-on"], until=until, agreed=True), "a")


def test_everything_is_its_owners_alone_in_a_folder_that_was_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("", "uploads", "jobs", "consent"):
        (root / name).mkdir(mode=0o755, exist_ok=True)
    (root / "jobs.sqlite").touch(0o644)
    service = Service(root, None, Limits())
    part = service.files.begin()
    part.write_bytes(b"a face")
    service.files.keep(part, "a")
    consent_of(service, "Mei")
    service.webhook_sender.keys.of("a")
    modes = {path.relative_to(root): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert {mode for path, mode in modes.items() if (root / path).is_file()} == {0o600}, modes
    assert {modes[Path(name)] for name in ("uploads", "jobs", "consent")} == {0o700}

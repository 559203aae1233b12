"""Attacks on the page's files: a path that a browser sends is opened only if that browser's session uploaded it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from tests.helpers.orders import orders
from tests.helpers.page_service import served
from tests.helpers.tiny import noise_picture
from twinset.serving.api_keys import Keys
from twinset.serving.app import Service
from twinset.serving.web.page import PATH
from twinset.serving.web.session_files import SessionFiles, paths_in

WITH_FILES = {"image", "gallery", "file", "uploadbutton", "video", "audio", "imageeditor", "multimodaltextbox"}
"""Gradio's components that take files of a user's, as far as anybody might add them to the page."""
DOORS = ("queue/join", "run/predict", "api/predict", "call/drawn", "call/v2/drawn", "stream/0", "component_server")
"""What Gradio can be asked to do with a body."""
META = {"_type": "gradio.FileData"}


def png(seed: int = 0) -> bytes:
    data = io.BytesIO()
    Image.fromarray(noise_picture(64, 80, seed)).save(data, "PNG")
    return data.getvalue()


class Visitor:
    """A browser as the page sees it, without the page.

    Args:
        url: of the service.
        tenant: name and key, where the service asks for them.
    """

    def __init__(self, url: str, tenant: tuple[str, str] | None = None):
        self.http = httpx.Client(base_url=url + PATH, timeout=20, follow_redirects=True)
        self.hash = os.urandom(6).hex()
        self.http.get("/")
        if tenant is not None:
            self.sign_in(tenant)
        self.config = self.http.get("/config").json()
        self.kinds = {one["id"]: one["type"] for one in self.config["components"]}

    def sign_in(self, tenant: tuple[str, str]) -> None:
        """By name and key."""
        form: dict[str, str] = {"username": tenant[0], "password": tenant[1]}
        assert self.http.post("/login", data=form).status_code == 200

    def upload(self, data: bytes, name: str = "me.png") -> str:
        """Where the page put it."""
        answer = self.http.post("/gradio_api/upload", files={"files": (name, data)})
        assert answer.status_code == 200, answer.text
        return answer.json()[0]

    def events(self) -> list[tuple[dict[str, Any], int]]:
        """Each event of the page with each place of it where a file may stand."""
        return [
            (event, place)
            for event in self.config["dependencies"]
            for place, component in enumerate(event["inputs"])
            if self.kinds[component] in WITH_FILES
        ]

    def body(self, event: dict[str, Any], place: int, file: Any) -> dict[str, Any]:
        """What a browser would post, with a file at one place."""
        values = {one["id"]: one["props"].get("value") for one in self.config["components"]}
        data = [values[component] for component in event["inputs"]]
        data[place] = [{"image": file, "caption": None}] if self.kinds[event["inputs"][place]] == "gallery" else file
        return {"data": data, "fn_index": event["id"], "session_hash": self.hash, "trigger_id": None}

    def press(self, event: dict[str, Any], place: int, file: Any) -> httpx.Response:
        """Press a button with a file at one place."""
        return self.http.post("/gradio_api/queue/join", json=self.body(event, place, file))

    def outcome(self) -> dict[str, Any]:
        """The end of what was pressed."""
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.hash}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data: ") or "{}")
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the stream ended before its event")

    def fetch(self, path: str) -> httpx.Response:
        """Ask for a file."""
        return self.http.get(f"/gradio_api/file={quote(path, safe='')}")


def file(path: str | None, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": META, "orig_name": "me.png", "mime_type": "image/png"} | more


class Scene:
    """A service with two visitors, each of whom has uploaded something, and what lies on the server's disk."""

    def __init__(self, root: Path, url: str, service: Service, visitors: tuple[Visitor, Visitor]):
        self.root, self.url, self.service, (self.one, self.other) = root, url, service, visitors
        self.cache = root / "page" / "files"
        self.secret = root / "secret.png"
        self.secret.write_bytes(png(7))
        self.own, self.foreign = self.one.upload(png(1)), self.other.upload(png(2))
        (self.cache / "unknown").mkdir()
        (self.cache / "unknown" / "old.png").write_bytes(png(3))
        (self.cache / "unknown" / "link.png").symlink_to(self.secret)
        os.mkfifo(self.cache / "unknown" / "pipe.png")

    def forbidden(self) -> list[str]:
        """Paths that the first visitor must not have opened."""
        unknown = self.cache / "unknown"
        return [
            "/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/environ", str(self.secret),
            str(self.root / "jobs.sqlite"), str(self.root / "keys.json"), self.foreign,
            *(str(unknown / name) for name in ("old.png", "link.png", "pipe.png")), str(self.cache), str(unknown),
            os.path.relpath(self.secret), os.path.relpath(self.foreign), f"file://{self.secret}", "~/.bashrc", "", ".",
            f"{Path(self.own).parent}/../unknown/old.png", f"{Path(self.own).parent}//me.png", f"{self.own}\0",
            f"{self.url}/health", "http://127.0.0.1:9/x.png", "https://example.invalid/x.png",
        ]  # fmt: skip

    def files(self) -> set[str]:
        """What lies in the page's cache and among the service's uploads."""
        return {str(path) for folder in (self.cache, self.service.files.uploads) for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY"):
        monkeypatch.setenv(name, "")


@pytest.fixture(params=["keyless", "keyed"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    keys = Keys(tmp_path / "keys.json") if request.param == "keyed" else None
    tenants = [(name, keys.add(name)) if keys else None for name in ("shop", "other")]
    with served(tmp_path, keys) as (url, service):
        one, other = (Visitor(url, tenant) for tenant in tenants)
        yield Scene(tmp_path, url, service, (one, other))


@pytest.mark.long
def test_no_component_opens_what_its_session_did_not_upload(scene: Scene) -> None:
    before, events = scene.files(), scene.one.events()
    pressed = {scene.one.kinds[event["inputs"][place]] for event, place in events}
    assert pressed == {"image", "gallery"} and len(events) >= 10, pressed  # a component of another kind: attack it too
    for event, place in events:
        for path in scene.forbidden():
            for sent in (file(path), file(path, is_stream=True), file(path, orig_name="a.svg"), {"path": path}):
                answer = scene.one.press(event, place, sent)
                assert answer.status_code == 403, (event["id"], place, path, answer.text)
                assert str(scene.root) not in answer.text
    assert scene.files() == before and not scene.service.queue.counts()


@pytest.mark.long
def test_no_other_door_opens_them_either(scene: Scene) -> None:
    one, before = scene.one, scene.files()
    event, place = one.events()[0]
    for path in scene.forbidden():
        body = one.body(event, place, file(path))
        nested = body | {"data": [{"value": {"deep": [file(path)]}}]}
        twice = json.dumps(body).replace('"data":', f'"data": [{{"path": {json.dumps(scene.own)}}}], "data":', 1)
        bodies = (json.dumps(body), json.dumps(nested), twice, json.dumps(body | {"event_data": file(path)}))
        for door in DOORS:
            for content in bodies:
                headers = {"Content-Type": "application/json"}
                answer = one.http.post(f"/gradio_api/{door}", content=content, headers=headers)
                assert answer.status_code == 403, (door, path, answer.text)
    assert scene.files() == before and not scene.service.queue.counts()


@pytest.mark.long
def test_no_file_goes_to_a_session_that_has_no_part_in_it(scene: Scene) -> None:
    answers = [scene.one.fetch(path) for path in scene.forbidden()]
    answers += [scene.one.http.get(f"/gradio_api/file/{quote(path, safe='')}") for path in scene.forbidden()]
    answers += [scene.one.http.head(f"/gradio_api/file={scene.foreign}"), scene.other.fetch(scene.own)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers if answer.text}) == 1  # not even whether it is there
    own = scene.one.fetch(scene.own)
    assert own.status_code == 200 and own.content == png(1)
    stranger = httpx.Client(base_url=scene.url + PATH)
    assert stranger.get(f"/gradio_api/file={scene.own}").status_code in (401, 404)


@pytest.mark.long
def test_the_same_picture_of_two_sessions_is_each_ones(scene: Scene) -> None:
    shared = {visitor.upload(png(5), "same.png") for visitor in (scene.one, scene.other)}
    (path,) = shared
    for visitor in (scene.one, scene.other):
        assert visitor.fetch(path).content == png(5)


def test_a_new_sign_in_is_a_new_session(tmp_path: Path) -> None:
    """Of two tenants at one browser, the second has no part in the first one's files."""
    keys = Keys(tmp_path / "keys.json")
    tenants = [(name, keys.add(name)) for name in ("shop", "other")]
    with served(tmp_path, keys, draws=False) as (url, _):
        visitor = Visitor(url, tenants[0])
        path = visitor.upload(png(1))
        assert visitor.fetch(path).status_code == 200
        visitor.sign_in(tenants[1])
        assert (
            visitor.fetch(path).status_code == 404
            and visitor.press(*visitor.events()[0], file(path)).status_code == 403
        )


@pytest.mark.long
def test_a_page_that_lost_its_stream_finds_its_job_again(tmp_path: Path) -> None:
    """The stream is cut in the middle of a job; the page loaded anew shows its end, and nobody else's page does."""
    with served(tmp_path) as (url, service):
        one, other = Visitor(url), Visitor(url)
        ids = {part["props"].get("elem_id"): part["id"] for part in one.config["components"]}
        pressed = next(event for event in one.config["dependencies"] if ids["prompt"] in event["inputs"])
        body = one.body(pressed, pressed["inputs"].index(ids["prompt"]), "a hat, 2 seconds")
        assert one.http.post("/gradio_api/queue/join", json=body).status_code == 200
        with one.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": one.hash}) as lines:
            next(line for line in lines.iter_lines() if "process_generating" in line)
        loading = next(event for event in one.config["dependencies"] if any("load" in t for t in event["targets"]))
        for visitor, shows in ((one, True), (other, False)):
            visitor.hash = os.urandom(6).hex()  # as a page that is loaded anew has another one
            body = {"data": [], "fn_index": loading["id"], "session_hash": visitor.hash, "trigger_id": None}
            assert visitor.http.post("/gradio_api/queue/join", json=body).status_code == 200
            assert any(path.endswith("-0.png") for path in paths_in(visitor.outcome())) == shows
        assert service.queue.counts() == {"done": 1}


def test_a_session_ends_with_its_key(tmp_path: Path) -> None:
    """And does not come back to life with another key of the same name, while somebody else has signed in with that."""
    keys = Keys(tmp_path / "keys.json")
    tenant = ("shop", keys.add("shop"))
    with served(tmp_path, keys, draws=False) as (url, service):
        visitor = Visitor(url, tenant)
        path = visitor.upload(png(1))
        job = service.queue.add("shop", '{"prompt": "x"}', 1)
        listing = next(one for one in visitor.config["dependencies"] if not one["inputs"])
        body = {"data": [], "fn_index": listing["id"], "session_hash": visitor.hash, "trigger_id": None}
        assert visitor.http.post("/gradio_api/queue/join", json=body).status_code == 200
        keys.remove("shop")
        assert visitor.fetch(path).status_code == 404 and visitor.http.get("/config").status_code == 401
        fresh = Visitor(url, ("shop", keys.add("shop")))
        assert visitor.http.get("/config").status_code == 401 and visitor.fetch(path).status_code == 404
        assert visitor.http.post("/gradio_api/queue/join", json=body).status_code == 401
        assert visitor.http.post("/gradio_api/upload", files={"files": ("a.png", png(2))}).status_code == 401
        assert fresh.http.get("/config").status_code == 200 and service.queue.job(job, "shop")


@pytest.mark.long
def test_own_uploads_go_through_and_come_back_as_pictures(scene: Scene) -> None:
    one = scene.one
    event, place = next(
        (event, place) for event, place in one.events() if one.kinds[event["inputs"][place]] == "gallery"
    )
    body = one.body(event, place, file(scene.own))
    prompt = next(part["id"] for part in one.config["components"] if part["props"].get("elem_id") == "prompt")
    body["data"][event["inputs"].index(prompt)] = "a dress"
    assert one.http.post("/gradio_api/queue/join", json=body).status_code == 200
    shown = {path for path in paths_in(one.outcome()) if path.endswith(".png")}
    (order,) = orders(scene.service.repository)
    (garment,) = json.loads(order)["garments"]
    assert (scene.service.files.uploads / garment["upload"]).read_bytes() == png(1)

    assert shown
    for path in shown:  # whoever ordered it may look at it and press it; it is no upload, and not the other's
        assert one.fetch(path).headers["content-type"] == "image/png"
        assert scene.other.fetch(path).status_code == 404
        assert one.press(event, place, file(path)).status_code == 403
        pressed = {"event_data": {"index": 0, "value": {"image": file(path)}}}
        statuses = [
            visitor.http.post("/gradio_api/queue/join", json=visitor.body(event, place, None) | pressed).status_code
            for visitor in (one, scene.other)
        ]
        assert statuses == [200, 403]


@pytest.mark.long
def test_gradio_checks_paths_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root of it: were the sessions' check to fail, Gradio would still open nothing outside of its folder."""
    monkeypatch.setattr(SessionFiles, "may_open", lambda *_: True)
    before = scene.files()
    for event, place in scene.one.events():
        for path in ("/etc/passwd", str(scene.secret), "/dev/zero", str(scene.cache / "unknown" / "link.png")):
            assert scene.one.press(event, place, file(path)).status_code == 200
            message = scene.one.outcome()
            assert not message["success"] and "tell whoever runs it" in message["output"]["error"]
            assert str(scene.root) not in json.dumps(message)
    assert scene.files() == before and not scene.service.queue.counts()


@pytest.mark.long
def test_an_upload_that_became_something_else_is_not_opened(scene: Scene) -> None:
    """Whoever can write to the cache folder leads nobody out of it."""
    own, event = Path(scene.own), scene.one.events()[0]

    def check() -> None:
        assert scene.one.press(*event, file(scene.own)).status_code == 403
        assert scene.one.fetch(scene.own).status_code == 404

    own.unlink()
    check()
    own.symlink_to(scene.secret)
    check()
    own.unlink()
    os.mkfifo(own)
    check()
    own.unlink()
    own.parent.rename(scene.root / "moved")
    (scene.root / "moved" / own.name).write_bytes(png(7))
    own.parent.symlink_to(scene.root / "moved")
    check()


def test_forms_and_what_is_no_json_are_refused(scene: Scene) -> None:
    for door in ("queue/join", "component_server", "process_recording", "run/predict"):
        form = scene.one.http.post(
            f"/gradio_api/{door}", files={"video": ("a.mp4", b"x")}, data={"path": "/etc/passwd"}
        )
        deep = scene.one.http.post(f"/gradio_api/{door}", content=b"[" * 300_000)
        assert (form.status_code, deep.status_code) == (400, 400) and form.json()["remedy"], form.text
    assert scene.one.http.post("/gradio_api/run-history/connect", json={"bucket_id": "a/b"}).status_code in (404, 405)


@pytest.mark.long
def test_errors_tell_no_path(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of files that are no pictures, nor when the page itself fails."""
    broken = scene.one.upload(b"\x89PNG no picture", "broken.png")
    for event, place in scene.one.events():
        assert scene.one.press(event, place, file(broken)).status_code == 200
        message = json.dumps(scene.one.outcome())
        assert Path(broken).parent.name not in message and str(scene.root) not in message, message
    monkeypatch.setattr("twinset.serving.web.session.Desk.client", lambda *_: (scene.secret / "x").read_bytes())
    event = next(one for one in scene.one.config["dependencies"] if not one["inputs"])
    body = {"data": [], "fn_index": event["id"], "session_hash": scene.one.hash}
    scene.one.http.post("/gradio_api/queue/join", json=body, headers={"Accept-Language": "zh-CN"})
    message = scene.one.outcome()
    assert "服务出错" in message["output"]["error"] and str(scene.root) not in json.dumps(message)


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    files, paths = SessionFiles(folder), [folder / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(b"x")
    files.add_uploads([str(paths[0])], "mine")
    files.add_shown([str(paths[1])], "mine")
    assert files.may_open(str(paths[0]), "mine") and not files.may_open(str(paths[1]), "mine")
    assert files.may_fetch(str(paths[1]), "mine") and not files.may_fetch(str(paths[1]), "other")
    paths[0].unlink()
    files._forget_at = 0.0  # a minute later
    files.add_shown([str(paths[2])], "other")
    assert sorted([*files._uploads, *files._shown]) == [str(paths[1]), str(paths[2])]

"""A hub on the loopback, for tests: fixtures `hub` (with an empty cache and lock) and `tiny` (a profile on it).

It serves over plain HTTP, from a second host where it is told to, or over Xet, to the real client libraries.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _xet

from tests.helpers.xet import reconstruction, xet_hash, xorb
from twinset.models.hub import profiles
from twinset.models.hub.parts import Part, Profile

COMMIT = "c" * 40
WEIGHTS = (2).to_bytes(8, "little") + b"{}" + bytes(range(256)) * 4000  # what a safetensors file begins with
PICKLE = b"\x80\x04 a pickle"
LARGE = (".safetensors", ".bin", ".onnx")  # not in Git: the hub knows their SHA-256, and serves them from elsewhere
NOBODY = "http://127.0.0.1:9"  # an address that nobody answers


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def etag(name: str, data: bytes) -> str:
    """What the hub announces of a file: SHA-256 of large ones, Git's hash of small ones."""
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return sha256(data) if name.endswith(LARGE) else git


@dataclass
class Hub:
    """What the hub serves, and how it misbehaves.

    Attributes:
        files: contents by path, or by `<hub id>/<path>` where two repositories have the same path.
        refusals: status and code of every answer by hub id.
        statuses: of every answer by the beginning of its address, as `/xet/`.
        hangs: beginnings of addresses that are not answered before the test ends.
        breaks: files whose next answer ends half-way.
        flips: how many more answers have one wrong byte, by file.
        xet: whether large files are announced over Xet.
        cas_url: where Xet's files are rebuilt from; this hub when empty.
        large_url: the host of large files over plain HTTP; this hub, without a redirect, when empty.
        commit: of the main branch.
        next_commit: of the main branch once a file of it has been sent; the same when empty.
        requests: (method, file, Range) of the hub proper.
        cards: licence by hub id, of a repository's card.
        xet_requests: addresses asked of Xet, the token's too.
        url: of the hub.
        ended: set when the test is over.
    """

    files: dict[str, bytes]
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    cards: dict[str, str] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    breaks: set[str] = field(default_factory=set)
    flips: dict[str, int] = field(default_factory=dict)
    xet: bool = False
    cas_url: str = ""
    large_url: str = ""
    commit: str = COMMIT
    next_commit: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    xet_requests: list[str] = field(default_factory=list)
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def contents(self, name: str) -> bytes:
        """A file as it is sent this time."""
        data = self.files[name]
        if not self.flips.get(name):
            return data
        self.flips[name] -= 1
        return data[:-1] + bytes([data[-1] ^ 1])


class Handler(BaseHTTPRequestHandler):
    """`/<hub id>/resolve/<revision>/<path>` with ranges, the same behind `/large/`, and Xet's token and storage."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        status = next((status for start, status in self.hub.statuses.items() if self.path.startswith(start)), None)
        if "/xet" in self.path:
            self.hub.xet_requests.append(self.path)
        if any(map(self.path.startswith, self.hub.hangs)):
            self.hub.ended.wait()
        elif status is not None:
            self.send(status)
        elif "/xet-read-token/" in self.path:
            self.send_token()
        elif self.path.startswith("/xet/"):
            self.send_from_xet()
        elif self.path.startswith("/api/models/"):
            self.send_listing(self.path.removeprefix("/api/models/").partition("?")[0])
        else:
            self.send_file()

    def send(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_listing(self, repo: str) -> None:
        """A repository's files, and what its card says of its licence."""
        names = [name.removeprefix(f"{repo}/") for name in self.hub.files if name.startswith(f"{repo}/")]
        if not names:
            return self.send(401, {"X-Error-Code": "RepoNotFound"})
        card = {"license": self.hub.cards[repo]} if repo in self.hub.cards else {}
        told = {"id": repo, "sha": self.hub.commit, "siblings": [{"rfilename": name} for name in names]}
        self.send(200, {"Content-Type": "application/json"}, json.dumps(told | {"cardData": card}).encode())

    def send_token(self) -> None:
        token = {"Access-Token": "token", "Token-Expiration": str(int(time.time()) + 36000)}
        token["Cas-Url"] = self.hub.cas_url or f"{self.hub.url}/xet"
        self.send(200, {f"X-Xet-{name}": value for name, value in token.items()})

    def send_from_xet(self) -> None:
        names = {xet_hash(name): name for name in self.hub.files}
        _, _, *route, last = self.path.split("/")
        wanted = self.headers.get("Range")
        if route == ["xorb"]:
            first, end = map(int, wanted.removeprefix("bytes=").split("-"))
            body = xorb(self.hub.contents(names[last]))[first : end + 1]
            return self.send(206, {"Content-Range": f"bytes {first}-{end}/*"}, body)
        if route != ["v1", "reconstructions"]:  # the client asks for a second version first
            return self.send(404)
        name = names[last]
        terms = reconstruction(name, len(self.hub.files[name]), wanted, f"{self.hub.url}/xet/xorb/{last}")
        self.send(416) if terms is None else self.send(200, body=json.dumps(terms).encode())

    def send_file(self) -> None:
        hub = self.hub
        place, _, rest = self.path.lstrip("/").partition("/resolve/")
        repo, (revision, _, path) = place.removeprefix("large/"), rest.partition("/")
        commit = hub.commit if revision == "main" else revision
        name = f"{repo}/{path}" if f"{repo}/{path}" in hub.files else path
        wanted = self.headers.get("Range")
        hub.requests.append((self.command, name, wanted))
        if repo in hub.refusals:
            status, code = hub.refusals[repo]
            return self.send(status, {"X-Error-Code": code})
        if name not in hub.files:
            return self.send(404, {"X-Error-Code": "EntryNotFound"})
        data = hub.files[name]
        tag = f'"{etag(name, data)}"'
        if path.endswith(LARGE) and (hub.xet or hub.large_url) and not place.startswith("large/"):
            return self.send(302, self.elsewhere(name, len(data), tag, commit))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        headers = {"X-Repo-Commit": commit, "ETag": tag, "Content-Length": str(len(data) - start)}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.command == "GET":
            hub.commit = hub.next_commit or hub.commit
        self.send(206 if wanted else 200, headers, self.body(name, start))

    def elsewhere(self, name: str, size: int, tag: str, commit: str) -> dict[str, str]:
        """Headers of the answer that sends the client on."""
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(size), "X-Linked-Etag": tag}
        second = self.hub.url.replace("127.0.0.1", "localhost")  # the client follows only to another host
        headers["Location"] = f"{self.hub.large_url or second}/large{self.path}"
        if self.hub.xet:
            headers["X-Xet-Hash"] = xet_hash(name)
            headers["X-Xet-Refresh-Route"] = f"{self.hub.url}/api/models/someone/xet-read-token/{commit}"
        return headers

    def body(self, name: str, start: int) -> bytes:
        """A file's contents from there on, or as much as comes this time."""
        if self.command == "GET" and name in self.hub.breaks:
            self.hub.breaks.remove(name)
            self.close_connection = True
            return self.hub.files[name][start : len(self.hub.files[name]) // 2]
        return self.hub.contents(name)[start:] if self.command == "GET" else b""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on the loopback, an empty cache and an empty lock."""
    served = Hub({"unet/model.safetensors": WEIGHTS, "unet/config.json": b"{}", "unet/model.bin": PICKLE})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # what is kept of a download that breaks off
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between retries
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": served}))
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def xet_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub serves over Xet, to a client of its own that gives up at once."""
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "1ms")
    monkeypatch.setattr(_xet, "XET_CONNECTION_INFO_CACHE", {})
    _xet.abort_xet_session()  # a new one reads these settings
    hub.xet = True
    yield hub
    _xet.abort_xet_session()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Profile:
    part = Part(
        name="unet",
        repo="someone/tiny",
        file="unet/model.safetensors",
        files=("unet/config.json",),
        licence="MIT",
        url="https://example.com/card",
    )
    profile = Profile(
        name="tiny", family="sd15", parts=(part,), size=(64, 64), steps=1, guidance=1.0, description="for tests"
    )
    monkeypatch.setitem(profiles.ON_HUB, "tiny", profile)
    return profile

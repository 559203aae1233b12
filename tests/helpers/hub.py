"""A hub on the loopback, for tests: fixtures `hub` (with an empty cache and lock) and `tiny` (a profile on it)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from twinset.models.hub import profiles
from twinset.models.hub.parts import Part, Profile

COMMIT = "c" * 40
WEIGHTS = (2).to_bytes(8, "little") + b"{}" + bytes(range(256)) * 4000  # what a safetensors file begins with
PICKLE = b"\x80\x04 a pickle"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Hub:
    """What the hub serves, and how it misbehaves."""

    files: dict[str, bytes]
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    breaks: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """The hub's `/<repo>/resolve/<revision>/<path>`, with ranges."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None: ...

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, body: bool) -> None:
            repo, _, rest = self.path.lstrip("/").partition("/resolve/")
            path = rest.partition("/")[2]
            wanted = self.headers.get("Range")
            hub.requests.append((self.command, path, wanted))
            if repo in hub.refusals:
                return self.refuse(*hub.refusals[repo])
            if path not in hub.files:
                return self.refuse(404, "EntryNotFound")
            data = hub.files[path]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("X-Repo-Commit", COMMIT)
            large = path.endswith((".safetensors", ".bin"))  # the hub names large files by their SHA-256
            self.send_header("ETag", f'"{sha256(data) if large else hashlib.sha1(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if body and path in hub.breaks:
                hub.breaks.remove(path)
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            elif body:
                self.wfile.write(data[start:])

    return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on the loopback, an empty cache and an empty lock."""
    served = Hub({"unet/model.safetensors": WEIGHTS, "unet/config.json": b"{}", "unet/model.bin": PICKLE})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # what is kept of a download that breaks off
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between retries
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(served))
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


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

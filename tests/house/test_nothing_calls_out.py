"""Nothing that Twinset runs connects to anywhere but this machine: watched where libraries call the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.compliance.test_label_attacks import provenance
from tests.perception.test_onnx_faces import recogniser_graph
from tests.serving.test_stopping import free_port, ready
from twinset.common.settings import SILENCED

ROOT = Path(__file__).resolve().parents[2]
GUARD = ROOT / "tests" / "helpers" / "connection_guard.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(not COMPILER or sys.platform != "linux", reason="needs Linux and a C compiler")


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("guard") / "guard.so"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(GUARD), "-ldl"], check=True)
    return library


class Watched:
    """Programs whose connections are watched, with a home of their own and none of the tests' settings."""

    def __init__(self, guard: Path, folder: Path):
        self.folder, self.log = folder, folder / "connections"
        mine = {name: value for name, value in os.environ.items() if name not in SILENCED and "OFFLINE" not in name}
        own = {"LD_PRELOAD": str(guard), "CONNECTION_LOG": str(self.log), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
        kept = {"TWINSET_DATA": str(folder / "data"), "TWINSET_CACHE": str(folder / "cache")}
        self.environment = mine | own | kept

    def start(self, code: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code], env=self.environment, cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    def run(self, code: str) -> None:
        process = self.start(code)
        _, errors = process.communicate(timeout=300)
        assert process.returncode in (0, 1), errors

    def twinset(self, *arguments: object) -> str:
        """The code of a command."""
        return f"import sys; sys.argv[1:] = {[str(one) for one in arguments]!r}; from twinset.cli import main; main()"

    def connections(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def watched(guard: Path, tmp_path: Path) -> Watched:
    return Watched(guard, tmp_path)


def test_the_guard_sees_who_calls_out(watched: Watched) -> None:
    watched.run(
        "import socket, contextlib\n"
        "for call in (lambda: socket.create_connection(('192.0.2.1', 80), 1),"
        " lambda: socket.getaddrinfo('a.invalid', 1),"
        " lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.2', 9)),"
        " lambda: socket.create_connection(('127.0.0.1', 9), 1)):\n"
        "    with contextlib.suppress(OSError): call()"
    )
    assert watched.connections() == ["connect 192.0.2.1", "getaddrinfo a.invalid", "sendto 192.0.2.2"]


@pytest.mark.long
def test_the_commands_call_nobody(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(provenance("http://192.0.2.1/manifest.c2pa"))
    graph = recogniser_graph(tmp_path / "face.onnx")
    out = tmp_path / "out"
    person = ("--prompt", "short hair", "--selfie", "examples/selfie.png", "--garment", "examples/garment.png")
    how = ("--steps", 1, "--seed", 7, "--size", "frame", "--no-repair", "-o", out)
    watched.run(watched.twinset("generate", *person, *how))
    watched.run(watched.twinset("score", out / "0007.png"))
    watched.run(watched.twinset("verify", out / "0007.png", tmp_path / "photo.png"))
    watched.run(f"from twinset.perception.faces.onnx import Recogniser; Recogniser({str(graph)!r})")
    assert (out / "0007.json").is_file() and watched.connections() == []
    assert not [
        path for path in tmp_path.rglob("*") if "deviceid" in path.name.lower() or "onnxruntime" in path.name.lower()
    ]


@pytest.mark.long
def test_the_service_and_its_workers_call_nobody(watched: Watched, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = watched.start(watched.twinset("serve", "--open", "--port", port, "--root", tmp_path / "root"))
    try:
        while not ready(url):
            assert process.poll() is None
            time.sleep(0.2)
        photo = {"file": ("a.png", provenance("http://192.0.2.1/manifest.c2pa"))}
        upload = httpx.post(f"{url}/v1/uploads", files=photo).json()["id"]
        order = {"prompt": "short hair", "steps": 1, "repair": False, "size": "frame", "garments": [{"upload": upload}]}
        job = httpx.post(f"{url}/v1/jobs", json=order).json()["id"]
        assert httpx.get(f"{url}/page/", timeout=30).status_code == 200
        while (state := httpx.get(f"{url}/v1/jobs/{job}").json()["state"]) in ("queued", "running"):
            time.sleep(0.2)
        assert state in ("done", "failed")  # a garment that is none may be refused; nothing is asked of anybody
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert watched.connections() == []


def test_reports_are_off_in_every_process() -> None:
    """Also in those that Ray starts elsewhere: they import the package, as this one does."""
    code = "import os, twinset; print([os.environ[name] for name in twinset.common.settings.SILENCED])"
    kept = {name: value for name, value in os.environ.items() if name not in SILENCED}
    told = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(list(SILENCED.values()))
    kept["ORT_DISABLE_TELEMETRY"] = "0"  # somebody wants them
    told = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("['0',")

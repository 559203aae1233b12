"""The service on Ray Serve: the same answers, and no job lost or doubled when a drawing replica is killed."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.helpers.tiny import noise_picture
from twinset.compliance.consent import ConsentBook
from twinset.pipelines.request import Request
from twinset.serving.app import Limits
from twinset.serving.ray_serve import Drawer, RemoteDrawing, _packed, _unpacked
from twinset.serving.worker import LostError


def test_pictures_travel_with_their_request(tmp_path: Path) -> None:
    for name in ("me", "coat", "pose"):
        (tmp_path / name).write_bytes(name.encode())
    request = Request.model_validate({
        "prompt": "x", "selfies": [tmp_path / "me"], "garments": [{"path": tmp_path / "coat", "kind": "coat"}],
        "pose": str(tmp_path / "pose"),
    })  # fmt: skip
    (there := tmp_path / "there").mkdir()
    arrived = _unpacked(request, _packed(request), there)
    assert [path.read_bytes() for path in (*arrived.selfies, arrived.garments[0].path)] == [b"me", b"coat"]
    assert Path(str(arrived.pose)).read_bytes() == b"pose" and arrived.garments[0].kind == "coat"
    assert {path.parent for path in (*arrived.selfies, Path(str(arrived.pose)))} == {there}


class LostReplicaError(Exception):
    """Stands in for ray's `RayError`."""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a drawing whose drawer is in this process, as if Ray were in between."""
    monkeypatch.setitem(sys.modules, "ray.exceptions", SimpleNamespace(RayError=LostReplicaError))

    def drawing_by(draw: Any) -> RemoteDrawing:
        drawer = SimpleNamespace(draw=SimpleNamespace(remote=Drawer(lambda: draw).draw))
        return RemoteDrawing(SimpleNamespace(options=lambda stream: drawer), ConsentBook(tmp_path / "consents"))

    return drawing_by


def drawn_at_the_drawer(request: Request, out: Path, report: Any) -> Any:
    report(0, 1, 2)
    report(0, 2, 2)
    (out / "0.png").write_bytes(request.garments[0].path.read_bytes())
    return [SimpleNamespace(model_copy=lambda update: update["request"])], []


def test_a_drawer_reports_its_steps_and_sends_its_files(remote: Any, tmp_path: Path) -> None:
    (tmp_path / "coat").write_bytes(b"coat")
    request = Request.model_validate({"prompt": "x", "garments": [{"path": tmp_path / "coat"}]})
    (out := tmp_path / "here").mkdir()
    steps: list[Any] = []
    records, _ = remote(drawn_at_the_drawer)(request, out, lambda *step: steps.append(step))
    assert records == [request] and steps == [(0, 1, 2), (0, 2, 2)] and (out / "0.png").read_bytes() == b"coat"


def test_no_step_is_lost_on_a_slow_reader(tmp_path: Path) -> None:
    """One that takes the first step while the drawer goes on, and the next when that has long ended."""
    go_on = threading.Event()

    def drawing(request: Request, out: Path, report: Any) -> Any:
        report(0, 1, 2)
        go_on.wait()
        report(0, 2, 2)
        return [], []

    before = set(threading.enumerate())
    told = Drawer(lambda: drawing).draw(Request.model_validate({"prompt": "x"}), {})
    assert next(told) == ("step", (0, 1, 2))
    (thread,) = set(threading.enumerate()) - before
    go_on.set()
    thread.join()
    assert list(told) == [("step", (0, 2, 2)), ("done", ([], {}))]


@pytest.mark.parametrize(
    ("fault", "error"), [(ValueError("a fault"), ValueError), (LostReplicaError("gone"), LostError)]
)
def test_a_drawers_fault_is_the_jobs_and_its_death_is_not(fault: Any, error: Any, remote: Any, tmp_path: Path) -> None:
    def failing(request: Request, out: Path, report: Any) -> Any:
        raise fault

    with pytest.raises(error, match=str(fault)):
        remote(failing)(Request.model_validate({"prompt": "x"}), tmp_path, lambda *step: None)


def make(deaths: Path) -> Any:
    """Draws the garment that was sent, and dies once in the middle of every third order."""

    class Told(SimpleNamespace):
        def model_copy(self, update: dict[str, Any]) -> Any:
            return Told(**(vars(self) | update))

    def drawn(request: Request, out: Path, tell: Any) -> Any:
        tell(0, 1, 2)
        mark = deaths / f"{request.seed}"
        if (request.seed or 0) % 3 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(20 if "slowly" in request.prompt else 0.1)
        if "never" in request.prompt:
            raise ValueError("a fault")
        tell(0, 2, 2)
        (out / "0.png").write_bytes(request.garments[0].path.read_bytes())
        return [Told(seed=request.seed, scores={}, controller=[], faults=[], composed={"notes": []}, seconds=0.1,
                     picture="0.png", request=request)], []  # fmt: skip

    return drawn


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise_picture(40, 30, seed)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
def test_on_ray_serve_every_job_ends_once_although_replicas_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs the package ray")
    serve = pytest.importorskip("ray.serve", reason="needs the package ray[serve]")
    house = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (house, os.environ.get("PYTHONPATH")))))
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    from functools import partial

    from twinset.serving.ray_serve import application

    (deaths := tmp_path / "deaths").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.shutdown()  # of a test before
    ray.init(num_cpus=4, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    common: Any = (None, Limits(), "studio", "warn", 2, {"num_cpus": 0.5}, 10.0)
    serve.run(application(tmp_path / "service", partial(make, deaths), *common))
    try:
        with httpx.Client(base_url=f"http://localhost:{port}", timeout=30) as client:
            jobs = {}
            for seed in range(1, 13):
                upload = client.post("/v1/uploads", files={"file": ("a.png", png(seed))}).json()["id"]
                order = {"prompt": "never" if seed == 5 else "x", "seed": seed, "garments": [{"upload": upload}]}
                jobs[seed] = client.post("/v1/jobs", json=order).json()["id"]
            ends = {seed: ended(client, job) for seed, job in jobs.items()}
            assert ends.pop(5)["error"].startswith("ValueError while drawing")
            assert {told["state"] for told in ends.values()} == {"done"}
            assert len(list(deaths.iterdir())) == 4 and {ends[seed]["attempts"] for seed in (3, 6, 9, 12)} == {2}
            for seed, told in ends.items():
                assert client.get(told["pictures"][0]["url"]).content == png(seed)
            order = {"prompt": "slowly", "seed": 1, "garments": [{"upload": upload}]}
            slow = client.post("/v1/jobs", json=order).json()["id"]
            time.sleep(1)
            assert client.post(f"/v1/jobs/{slow}/cancel").json()["state"] == "cancelled"
            assert client.get("/").status_code == 307  # the page is there too
    finally:
        serve.shutdown()
        ray.shutdown()


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    """A job when it is over."""
    until = time.monotonic() + 120
    while (told := client.get(f"/v1/jobs/{job}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < until, told
        time.sleep(0.2)
    return told

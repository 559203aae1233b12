"""The same application on Ray Serve: one replica takes orders and keeps the queue, others on any machine draw.

The drawing replicas need nothing of the queue's machine: pictures go to them with the order and come back with the
answer. Jobs are claimed, counted and released by the same `Worker` as without Ray, so what holds there holds here.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from fastapi import FastAPI

from twinset.compliance.consent import ConsentBook
from twinset.errors import InputError
from twinset.pipelines.record import Record
from twinset.pipelines.request import Request
from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.queue import JobQueue
from twinset.serving.repository import Repository
from twinset.serving.storage import CONSENTS, DATABASE, Files
from twinset.serving.web.page import add_page
from twinset.serving.worker import DrawRequest, LostError, ReportProgress, StoppedError, Worker

LEASE = 60.0
MANY = 100
"""Requests that the front takes at a time."""


class Drawer:
    """Draws what it is sent; a replica of its own, with its own pipeline.

    Args:
        make: makes the function that draws; called once, where the replica is.
    """

    def __init__(self, make: Callable[[], DrawRequest]):
        self.drawing = make()

    def draw(self, request: Request, pictures: dict[str, bytes]) -> Iterator[tuple[str, Any]]:
        """Yields ("step", what is reported), then ("done", (records, file name → bytes)) or ("failed", error)."""
        events: SimpleQueue[tuple[str, Any]] = SimpleQueue()

        def report(*step: Any) -> None:
            events.put(("step", step))

        def work() -> None:
            try:
                with tempfile.TemporaryDirectory() as folder:
                    records, _ = self.drawing(_unpacked(request, pictures, Path(folder)), _out(Path(folder)), report)
                    files = {path.name: path.read_bytes() for path in _out(Path(folder)).iterdir()}
                events.put(("done", (records, files)))
            except Exception as error:  # it is reported where the job is; the replica lives
                events.put(("failed", getattr(error, "reason", error)))

        threading.Thread(target=work, daemon=True).start()
        while (event := events.get())[0] == "step":
            yield event
        yield event


class Front:
    """Dispatches jobs to the drawers, beside the application that takes them.

    Args:
        drawer: handle of the `Drawer` deployment.
        root: folder of everything that is kept.
        model, safety, room, choices: see `run_service`.
        drawers: replicas that draw: as many jobs are dispatched at a time.
        lease: seconds until a silent dispatcher's job is given to another.
    """

    def __init__(
        self, drawer: Any, root: Path, model: str, safety: str, room: int, drawers: int, lease: float = LEASE,
        choices: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        os.umask(0o077)
        repository = Repository(root / DATABASE)
        queue, files = JobQueue(repository, room, lease), Files(root, repository)
        draw = RemoteDrawing(drawer, ConsentBook(root / CONSENTS))
        for _ in range(drawers):
            worker = Worker(queue, files, draw, model, safety=safety, choices=choices)
            threading.Thread(target=worker.run, args=(lambda: False,), daemon=True).start()


class RemoteDrawing:
    """Draws by a `Drawer`: a `DrawRequest`.

    Args:
        drawer: its handle.
        book: of consents: whoever draws has none, so that they are looked up here, once more before drawing.
    """

    def __init__(self, drawer: Any, book: ConsentBook):
        self.drawer, self.book = drawer, book

    def __call__(self, request: Request, out: Path, report: ReportProgress) -> tuple[list[Record], list[str]]:
        """Send, follow, and write what comes back.

        Raises:
            LostError: the replica died.
        """
        from ray.exceptions import RayError  # pyright: ignore[reportMissingImports]

        if request.consent is not None:
            self.book.require(request.consent, request.selfies)
        sent = request.model_copy(update={"consent": None})
        try:
            for kind, value in self.drawer.options(stream=True).draw.remote(sent, _packed(sent)):
                if kind == "step":
                    report(*value)
                elif kind == "failed":
                    raise value
                else:
                    records, files = value
        except StoppedError:
            raise
        except RayError as error:
            raise LostError(str(error).splitlines()[0]) from None
        for name, data in files.items():
            (out / Path(name).name).write_bytes(data)
        return [record.model_copy(update={"request": request}) for record in records], []


def _paths(request: Request) -> list[Path]:
    """Every file that a service's request names."""
    pose = [Path(request.pose)] if request.pose and "/" in request.pose else []
    return [
        *request.selfies,
        *(one.path for one in request.garments),
        *([request.photo] if request.photo else []),
        *pose,
    ]


def _packed(request: Request) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in _paths(request)}


def _unpacked(request: Request, pictures: dict[str, bytes], folder: Path) -> Request:
    """The request with its pictures in a folder of this machine."""
    places = {name: folder / f"{number}-{Path(name).name}" for number, name in enumerate(pictures)}
    for name, data in pictures.items():
        places[name].write_bytes(data)
    pose = request.pose
    return request.model_copy(
        update={
            "selfies": tuple(places[str(path)] for path in request.selfies),
            "garments": tuple(one.model_copy(update={"path": places[str(one.path)]}) for one in request.garments),
            "photo": request.photo and places[str(request.photo)],
            "pose": str(places[pose]) if pose in places else pose,
        }
    )


def _out(folder: Path) -> Path:
    (folder / "out").mkdir(exist_ok=True)
    return folder / "out"


def application(
    root: Path, make: Callable[[], DrawRequest], keys: Keys | None, limits: Limits, model: str, safety: str,
    drawers: int, options: dict[str, Any] | None = None, lease: float = LEASE,
    choices: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    """The service as a Ray Serve application.

    Args:
        root: folder of everything that is kept, on the machine of the front.
        make: makes the function that draws, in each drawer.
        keys: None lets everybody in.
        limits: see `Limits`.
        model, safety, choices: see `run_service`; files that are chosen lie where the drawers are.
        drawers: replicas that draw.
        options: of Ray, for each drawer: `num_gpus`, `num_cpus`.
        lease: seconds until a silent dispatcher's job is given to another.
    """
    from ray import serve  # pyright: ignore[reportMissingImports]

    drawer = serve.deployment(
        num_replicas=drawers, max_ongoing_requests=1, ray_actor_options=options or {}, health_check_period_s=2.0
    )(Drawer)

    def built() -> FastAPI:
        """The same application as without Ray, made where the front is."""
        return add_page(create_app(Service(root, keys, limits, lease=lease)), keys, root, limits.pictures)

    front = serve.deployment(num_replicas=1, max_ongoing_requests=MANY)(serve.ingress(built)(Front))
    return front.bind(drawer.bind(make), root, model, safety, limits.room, drawers, lease, choices)


def serve_on_ray(
    root: Path, host: str, port: int, keys: Keys | None, limits: Limits, *, make: Callable[[], DrawRequest],
    model: str, safety: str, workers: int, choices: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Serve on the cluster that `RAY_ADDRESS` names, or on this machine, until told to stop.

    Raises:
        InputError: Ray Serve is not installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray import serve  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("--engine ray needs Ray Serve; run: pip install 'twinset[serve,ray]'") from None
    ray.init(ignore_reinit_error=True)
    gpus = {"num_gpus": 1} if ray.cluster_resources().get("GPU", 0) >= workers else {}
    serve.start(http_options={"host": host, "port": port})
    app = application(root.absolute(), make, keys, limits, model, safety, workers, gpus, choices=choices)
    serve.run(app, blocking=True)

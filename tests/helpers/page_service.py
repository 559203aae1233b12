"""A service with its page on loopback, and a worker that draws nothing but noise, as slowly as a prompt asks."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from PIL import Image

from tests.helpers.tiny import noise_picture
from twinset.compliance.labels.labelled import label_picture
from twinset.pipelines.request import Request
from twinset.serving.api_keys import Keys
from twinset.serving.app import Limits, Service, create_app
from twinset.serving.web.page import add_page
from twinset.serving.worker import Worker

SCRIPT = "<img src=x onerror=window.hacked=1>"
"""What must come to no browser as anything but text."""
STEPS = 30


def drawn(request: Request, out: Path, tell: Any) -> Any:
    """Instead of a pipeline: noise with all labels; a prompt that says "3 seconds" takes them for each picture."""
    asked = re.search(r"(\d+) seconds", request.prompt)
    records = []
    for index in range(request.num):
        for step in range(STEPS):
            tell(index, step + 1, STEPS)
            time.sleep(int(asked[1]) / STEPS if asked else 0.005)
        done = label_picture(Image.open("examples/pose.png").convert("RGB"), "AI生成", "bottom_right", "x.png")
        (out / f"{index}.png").write_bytes(done.data)
        told = {"controller": [{"what": "light of the dress", "kept": True}], "faults": ["the identity is low"]}
        composed = {"notes": [f"said {SCRIPT}"]}
        records.append(SimpleNamespace(seed=index, scores={"identity": 0.5}, composed=composed, seconds=0.1,
                                       picture=f"{index}.png", request=request, **told))  # fmt: skip
    return records, []


@contextmanager
def served(
    root: Path, keys: Keys | None = None, draws: bool = True, room: int = 6, patience: float = 60.0
) -> Iterator[tuple[str, Service]]:
    """The address and the service; `patience` is the guard's, in seconds."""
    service = Service(root, keys, Limits(body=2**20, pictures=4, room=room, patience=patience), lease=20.0)
    app = add_page(create_app(service), keys, root, 4)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    worker, over = Worker(service.queue, service.files, drawn, "studio"), threading.Event()
    crew = threading.Thread(target=worker.run, args=(over.is_set, 0.05), daemon=True)
    if draws:
        crew.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", service
    finally:
        over.set()
        server.should_exit = server.force_exit = True


def picture(path: Path, seed: int = 0) -> str:
    """The path of a picture of noise, which is written there."""
    Image.fromarray(noise_picture(64, 80, seed)).save(path)
    return str(path)

"""The ComfyUI node pack against the real service on loopback; of ComfyUI itself there is a stand-in."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.comfyui_stand_in import (
    ROOT,
    Host,
    InterruptProcessingException,
    LoadImage,
    faults_of,
    image_of,
    inputs_of,
    is_widget,
    load_pack,
    read_workflow,
    run_workflow,
    to_api,
)
from tests.helpers.tiny import noise_picture
from tests.serving.test_service import FAR, drawn, listening
from tests.serving.test_service import worker as worker_of
from twinset.compliance.labels.labelled import label_picture
from twinset.compliance.labels.verify import verify
from twinset.errors import InputError
from twinset.serving.api_keys import OPEN_OWNER, Keys
from twinset.serving.app import Limits, Service

WORKFLOWS = ("outfit_of_a_selfie", "try_on_photo")
pack = load_pack()
NODES = pack.NODE_CLASS_MAPPINGS
parts = {name: sys.modules[f"{pack.__name__}.{name}"] for name in ("drawing", "fields", "service")}
ServiceError = parts["service"].ServiceError
SELFIE, GARMENT = image_of(ROOT / "examples" / "selfie.png"), image_of(ROOT / "examples" / "garment.png")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(parts["drawing"], "POLL", 0.02)
    for name in ("TWINSET_URL", "TWINSET_API_KEY", "TWINSET_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Host(tmp_path / "output", monkeypatch)


class Running:
    """A service on loopback, its worker, and what the worker draws with."""

    def __init__(self, root: Path, keys: bool = False, **limits: Any):
        self.service = Service(root, Keys(root / "keys.json") if keys else None, Limits(**limits), lease=5.0)
        self.draw: Any = drawn
        self.requests: list[Any] = []
        self.port, self.stop = 0, threading.Event()

    @contextlib.contextmanager
    def working(self) -> Iterator[Running]:
        def draw(request: Any, out: Path, tell: Any) -> Any:
            self.requests.append(request)
            return self.draw(request, out, tell)

        hand = threading.Thread(target=worker_of(self.service, draw).run, args=(self.stop.is_set, 0.01))
        with listening(self.service) as self.port:
            hand.start()
            try:
                yield self
            finally:
                self.stop.set()
                hand.join()

    def node(self, wait: int = 30) -> Any:
        """What Twinset Service gives."""
        return NODES["TwinsetService"]().choose(f"http://127.0.0.1:{self.port}/", wait)[0]

    def states(self) -> list[str]:
        """Of all jobs."""
        return [job.state for job in reversed(self.service.repository.jobs.latest(OPEN_OWNER))]


@pytest.fixture
def running(tmp_path: Path, host: Host) -> Iterator[Running]:
    with Running(tmp_path / "service", body=2**20, room=6).working() as found:
        yield found


def consent_of(service: Any, **more: Any) -> str:
    told = {"person": "Mei", "try_on": True, "promotion": False, "training": False, "until": FAR, "agreed": True}
    return NODES["TwinsetConsent"]().enter(service=service, **(told | more))[0]


def generate(service: Any, **inputs: Any) -> Any:
    return NODES["TwinsetGenerate"]().generate(service=service, **({"prompt": "x", "seed": 3} | inputs))


def labelled(request: Any, out: Path, tell: Any) -> Any:
    """Instead of a pipeline: noise with all labels."""
    records, seen = drawn(request, out, tell)
    for number, record in enumerate(records):
        picture = Image.fromarray(noise_picture(192, 160, number))
        (out / record.picture).write_bytes(label_picture(picture, "AI生成", "bottom_right", "x").data)
    return records, seen


def test_all_inputs_become_the_services_fields(running: Running, host: Host) -> None:
    service = running.node()
    given: dict[str, Any] = {
        "prompt": "短发，微笑", "seed": 2**32 - 1, "num": 2, "consent": consent_of(service), "garment_2": GARMENT,
        "selfies": SELFIE.repeat(3, 1, 1, 1), "kind_2": "dress", "garment_4": GARMENT, "pose": "walking:mirror",
        "framing": "half", "steps": 7, "guidance": 2.5, "candidates": 1, "min_identity": 0.25,
        "identity_strength": 0.5, "label_corner": "top_left", "repair": False,
    }  # fmt: skip
    images, report, files = generate(service, **given)
    (request,) = running.requests
    for name in set(given) - {"selfies", "garment_2", "garment_4", "kind_2"}:
        assert getattr(request, name) == given[name], name
    assert [one.kind for one in request.garments] == ["dress", None] and len(request.selfies) == 3
    for path, image in ((request.selfies[2], SELFIE), (request.garments[0].path, GARMENT)):
        assert torch.equal(image_of(path), image)  # as sent, so received
    told = json.loads(report)
    assert [one["seed"] for one in told["pictures"]] == [0, 1] and told["pictures"][0]["scores"] == {"identity": 0.5}
    assert images.shape == (2, 8, 8, 3) and images.dtype == torch.float32
    for image, file in zip(images, files.pngs, strict=True):
        assert np.array_equal((image * 255).numpy(), np.asarray(Image.open(io.BytesIO(file))))
    assert all(0 <= done <= total == 14 for done, total in host.bars[0]) and host.bars[0][-1] == (14, 14)


def test_what_is_left_alone_is_the_services_own(running: Running) -> None:
    defaults = {
        name: given[1]["default"] for name, given in inputs_of(NODES["TwinsetGenerate"]).items() if is_widget(given)
    }
    generate(running.node())
    generate(running.node(), **(defaults | {"prompt": "x", "seed": 3}))
    assert running.requests[0] == running.requests[1] and running.requests[0].steps is None


def test_a_pose_by_picture_and_a_photo(running: Running) -> None:
    service, alpha = running.node(), torch.cat([GARMENT, GARMENT[..., :1]], dim=-1)
    generate(service, pose_picture=GARMENT, garment_1=alpha)
    assert torch.equal(image_of(Path(running.requests[0].pose)), GARMENT)
    assert Image.open(running.requests[0].garments[0].path).mode == "RGBA"
    node, consent = NODES["TwinsetTryOnPhoto"](), consent_of(service)
    node.try_on(service=service, photo=SELFIE, prompt="a person", seed=1, consent=consent, blend="poisson")
    assert torch.equal(image_of(running.requests[1].photo), SELFIE) and running.requests[1].blend == "poisson"


def test_labels_survive_saving_and_only_so(running: Running, host: Host) -> None:
    running.draw = labelled
    images, _, files = generate(running.node(), num=2)
    for _ in "ab":
        told = NODES["TwinsetSave"]().save(files, "people/Twinset-%width%")
    assert told["ui"]["images"][1] == {
        "filename": "Twinset-160_00004_.png", "subfolder": "people", "type": "output",
    }  # fmt: skip
    saved = sorted((host.output / "people").iterdir())
    assert [path.read_bytes() for path in saved] == [*files.pngs, *files.pngs]
    assert {"xmp", "c2pa"} <= set(verify(saved[0]).layers)
    Image.fromarray((images[0] * 255).numpy().astype(np.uint8)).save(host.output / "anew.png")
    assert not {"xmp", "c2pa"} & set(verify(host.output / "anew.png").layers)
    assert "PNG" not in repr(files)


def test_an_interruption_cancels_the_job(running: Running, host: Host) -> None:
    stopped = threading.Event()

    def slow(request: Any, out: Path, tell: Any) -> Any:
        try:
            for step in range(10_000):
                tell(0, min(step, 9))
                host.interrupted = any(done > 1 for bar in host.bars for done, _ in bar)
                time.sleep(0.02)
        except Exception:
            stopped.set()
            raise
        return drawn(request, out, tell)

    running.draw = slow
    with pytest.raises(InterruptProcessingException):
        generate(running.node(), steps=10)
    assert running.states() == ["cancelled"] and stopped.wait(5)
    assert max(host.bars[0]) <= (10, 10)


def test_what_was_sent_for_nothing_is_deleted(running: Running, host: Host) -> None:
    service = running.node()
    wrong = consent_of(service, try_on=False, training=True)
    with pytest.raises(ServiceError, match="covers training, not try-on; ask 'Mei' for that"):
        generate(service, selfies=SELFIE, consent=wrong)
    assert not list(running.service.files.uploads.iterdir()) and running.states() == []


def test_a_job_that_takes_too_long_is_cancelled(running: Running) -> None:
    running.draw = lambda request, out, tell: [(tell(0, 1), time.sleep(0.05)) for _ in range(1000)]
    with pytest.raises(ServiceError, match="after 1 s; raise `wait`"):
        generate(running.node(wait=1))
    assert running.states() == ["cancelled"]


def test_a_full_queue_is_waited_for_within_limits(tmp_path: Path, host: Host) -> None:
    with Running(tmp_path / "service", room=2).working() as running:
        go = threading.Event()
        running.draw = lambda *given: (go.wait(10), drawn(*given))[1]
        held = threading.Thread(target=generate, args=(running.node(),), kwargs={"num": 2})
        held.start()
        while not running.requests:
            time.sleep(0.01)
        with pytest.raises(ServiceError, match="2 of at most 2 wait; try again later"):
            generate(running.node(wait=1))
        threading.Timer(0.5, go.set).start()
        running.service.seconds_each = lambda: 1.0  # type: ignore[method-assign]
        images, _, _ = generate(running.node(), seed=9)
        held.join()
    assert len(images) == 1 and running.states() == ["done", "done"]


def test_an_order_whose_answer_was_lost_is_made_once(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    service, real, lost = running.node(), parts["service"].Service.order, []

    def losing(self: Any, fields: dict[str, Any], key: str) -> Any:
        job = real(self, fields, key)
        if not lost:
            lost.append(job)
            raise parts["service"].UnreachableError("the connection broke", False)
        return job

    monkeypatch.setattr(parts["service"].Service, "order", losing)
    report = json.loads(generate(service)[1])
    assert report["job"] == lost[0]["id"] and running.states() == ["done"]


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"selfies": SELFIE}, "consent: a face needs the person's; connect Twinset Consent"),
        ({"selfies": SELFIE.repeat(5, 1, 1, 1), "consent": "0" * 16}, "5 pictures are more than 4"),
        ({"garment_1": GARMENT.repeat(2, 1, 1, 1)}, "garment_1: is a batch of 2 pictures"),
        ({"pose_picture": GARMENT, "pose": "walking"}, "pose: is 'walking' and a picture too"),
        ({"prompt": ""}, "prompt: is empty"),
        ({"num": 17}, "num: 17 is over this service's 16; ask for fewer"),
        ({"consent": "x"}, "consent: has another form than the service's ids"),
        (
            {"garment_1": torch.rand(1, 800, 800, 3)},
            "send smaller pictures|or send a smaller one: the picture has 2 MB",
        ),
    ],
)
def test_errors_are_told_with_the_remedy(inputs: dict[str, Any], why: str, running: Running) -> None:
    with pytest.raises(ServiceError, match=why):
        generate(running.node(), **inputs)
    assert running.requests == [] and not list(running.service.files.uploads.iterdir())


def test_a_failed_job_says_why(running: Running) -> None:
    def failing(request: Any, out: Path, tell: Any) -> Any:
        raise InputError("the garment shows nothing; give another")

    running.draw = failing
    with pytest.raises(ServiceError, match="the garment shows nothing; give another"):
        generate(running.node())


def test_consent_needs_its_tick_and_a_day(running: Running) -> None:
    service = running.node()
    with pytest.raises(ServiceError, match="agreed: is not ticked"):
        consent_of(service, agreed=False)
    with pytest.raises(ServiceError, match="until: is ''; write the last day on which it is valid, as 2027-12-31"):
        consent_of(service, until="")
    with pytest.raises(ServiceError, match="until: must be a date"):
        consent_of(service, until="tomorrow")
    (entry,) = running.service.book.root.glob(f"{consent_of(service, promotion=True)}.json")
    assert json.loads(entry.read_text())["statement"]["purposes"] == ["try-on", "promotion"]


def test_a_withdrawn_consent_is_not_kept(running: Running) -> None:
    """ComfyUI runs a node again only if `IS_CHANGED` is another than before; NaN is another than itself."""
    node, words = running.node(), {"person": "Ada", "until": "2999-12-31", "try_on": True, "promotion": False}
    words |= {"training": False, "agreed": True}
    entering = NODES["TwinsetConsent"]
    (consent,) = entering().enter(node, **words)
    assert entering.IS_CHANGED(**words) == entering.IS_CHANGED(**words)
    running.service.book.withdraw(consent)
    with pytest.raises(ServiceError, match="consent"):
        generate(node, selfies=SELFIE, consent=consent)
    assert entering.IS_CHANGED(**words) != entering.IS_CHANGED(**words)
    with pytest.raises(ServiceError, match="it was withdrawn or has ended; ask the person anew"):
        entering().enter(node, **words)
    assert entering().enter(node, **words | {"until": "2999-12-30"})[0] != consent


def test_keys_come_from_the_environment(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with Running(tmp_path / "service", keys=True).working() as running:
        key, file = running.service.keys.add("shop"), tmp_path / "key"  # type: ignore[union-attr]
        service = running.node()
        with pytest.raises(ServiceError, match="send yours as X-API-Key; start ComfyUI with TWINSET_API_KEY"):
            generate(service)
        monkeypatch.setenv("TWINSET_API_KEY_FILE", str(file))
        with pytest.raises(ServiceError, match="cannot be read"):
            generate(service)
        file.write_text(f"{key}\n")
        assert len(generate(service)[0]) == 1
        monkeypatch.setenv("TWINSET_API_KEY", key)
        assert len(generate(service)[0]) == 1 and key not in repr(service)


def test_where_nothing_answers_the_remedy_is_to_start_it(host: Host) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServiceError, match=f"nothing answers at {url}; start it: twinset serve"):
        generate(NODES["TwinsetService"]().choose(url, 5)[0])


def test_what_is_silent_or_not_twinset_is_told_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [b"", b"HTTP/1.0 200 OK\r\n\r\n<html>", b"HTTP/1.0 307 X\r\nLocation: http://127.0.0.1:1/\r\n\r\n"]
    monkeypatch.setattr(parts["service"], "TIMEOUT", 1.0)
    monkeypatch.setattr(parts["drawing"], "PATIENCE", 0.0)
    for answer, why in zip(answers, ("was silent for", "does not answer as Twinset's", "status 307"), strict=True):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(server: Any = server, answer: bytes = answer) -> None:
                with contextlib.suppress(OSError):
                    line, _ = server.accept()
                    with line:
                        line.recv(9999)
                        if answer:
                            line.sendall(answer)
                            line.shutdown(socket.SHUT_WR)
                        while line.recv(9999):
                            pass

            threading.Thread(target=serve, daemon=True).start()
            with pytest.raises(ServiceError, match=why):
                generate(NODES["TwinsetService"]().choose(f"http://127.0.0.1:{server.getsockname()[1]}", 5)[0])


def test_a_workflow_does_not_choose_where_faces_and_keys_go(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = NODES["TwinsetService"]().choose
    for url in ("http://evil.example", "http://0.0.0.0:8080", "http://localhost.evil.example", "http://127.1.evil/"):
        with pytest.raises(ServiceError, match="is another machine, and a workflow alone may not"):
            choose(url, 5)
    for url in ("http://127.0.0.1:80@evil.example", "http://127.0.0.1\\@evil.example", "file:///etc/passwd", "x"):
        with pytest.raises(ServiceError, match="is not a service's address"):
            choose(url, 5)
    monkeypatch.setenv("TWINSET_URL", "https://twinset.example/api/")
    assert choose("https://twinset.example/api", 5)[0].url == choose("", 5)[0].url == "https://twinset.example/api"
    assert inputs_of(NODES["TwinsetService"])["url"][1]["default"] == "https://twinset.example/api/"
    with pytest.raises(ServiceError, match=r"start ComfyUI with TWINSET_URL=https://twinset\.example$"):
        choose("https://twinset.example", 5)


def test_outside_of_comfyui_the_nodes_work_but_save(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("comfy", "comfy.utils", "comfy.model_management", "folder_paths"):
        monkeypatch.delitem(sys.modules, name)
    images, _, files = generate(running.node())
    assert len(images) == 1
    with pytest.raises(ServiceError, match="outside of ComfyUI"):
        NODES["TwinsetSave"]().save(files, "x")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_run(name: str, running: Running, host: Host) -> None:
    nodes, workflow = NODES | {"LoadImage": LoadImage}, read_workflow("api_workflows", name)
    assert faults_of(workflow, nodes) == []
    with pytest.raises(ServiceError, match="agreed: is not ticked"):  # nobody's consent comes with an example
        run_workflow(workflow, nodes)
    workflow["1"]["inputs"]["url"] = running.node().url
    workflow["2"]["inputs"] |= {"person": "Mei", "until": FAR, "agreed": True}
    run_workflow(workflow, nodes)
    assert len(list(host.output.iterdir())) == len(running.requests[0].selfies) * running.requests[0].num


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_browsers_workflows_are_the_apis(name: str) -> None:
    nodes, saved = NODES | {"LoadImage": LoadImage}, read_workflow("example_workflows", name)
    api, wanted = to_api(saved, nodes), read_workflow("api_workflows", name)
    assert faults_of(api, nodes) == [] and set(api) == set(wanted)
    for number, node in wanted.items():
        assert {"inputs": api[number]["inputs"] | node["inputs"]} | {"_meta": node["_meta"]} == {
            "inputs": api[number]["inputs"], "_meta": api[number]["_meta"],
        }  # fmt: skip
        for field in set(api[number]["inputs"]) - set(node["inputs"]):
            assert api[number]["inputs"][field] == inputs_of(nodes[node["class_type"]])[field][1]["default"]
    by_id = {node["id"]: node for node in saved["nodes"]}
    for number, start, out, end, slot, kind in saved["links"]:
        assert number in by_id[start]["outputs"][out]["links"] and by_id[start]["outputs"][out]["type"] == kind
        assert by_id[end]["inputs"][slot]["link"] == number and by_id[end]["inputs"][slot]["type"] == kind

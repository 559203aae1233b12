"""What a request chooses in place of the usual acts for that request alone, or is refused in one line."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers.models.attention_dispatch import AttentionBackendName
from PIL import Image

from tests.helpers.full_size import family_on_disk
from tests.perception.test_face_layouts import yolo
from tests.perception.test_insightface_package import fake_insightface, pack
from tests.perception.test_onnx_faces import recogniser_graph
from tests.perception.test_openpose import fake_controlnet_aux
from tests.perception.test_photo_networks import colour_graph
from twinset import cli
from twinset.adapters import joint_attention
from twinset.errors import InputError
from twinset.figure import labels as atr
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.perception.faces import insightface_package
from twinset.perception.faces.onnx import Detector
from twinset.perception.people import pose
from twinset.pipelines.loading import load
from twinset.pipelines.loading.packages import packages_on, require_packages
from twinset.pipelines.record import input_hashes, located
from twinset.pipelines.request import Request, read_request

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """SD1.5's, its parts small and random."""
    return replace(family_on_disk("sd15", tmp_path_factory.mktemp("sd15")), steps=1, guidance=1.0)


@pytest.fixture
def pipe(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`sd15` means these parts and small pictures; a pipeline of them."""
    monkeypatch.setitem(ON_HUB, "sd15", profile)
    return load.load_pipeline("sd15", offline=True, request=asking(selfies=(Path("me.png"),)))


@pytest.fixture
def twinset(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line as a shell would; its exit code and the last line that it wrote."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["twinset", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("twinset: ")]
        return int(end.value.code or 0), lines[-1] if lines else ""

    return run


@pytest.fixture
def insightface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package in insightface's place, and small files in the place of buffalo_l's."""
    fake_insightface(monkeypatch)
    file = SimpleNamespace(local=pack(tmp_path / "buffalo_l") / "w600k_r50.onnx")
    monkeypatch.setattr(insightface_package, "pull_parts", lambda *_, **__: [SimpleNamespace(files=[file])] * 2)


def asking(**fields: Any) -> Request:
    return read_request({"prompt": "in the park", "seed": 1} | fields)


# Faces


def test_insightface_finds_and_recognises(pipe: Any, insightface: None, tmp_path: Path) -> None:
    people, picture = pipe.backend, np.full((320, 320, 3), 255, np.uint8)
    with packages_on(pipe, asking(faces="insightface")):
        people.detector = Detector(tmp_path / "buffalo_l" / "det_10g.onnx")  # as a base of one's own takes it in late
        assert [face.score for face in people.faces(picture)] == [0.5, 1.0]  # as the stand-in has it
        selfie = people.selfie(picture, Path("me.png"), [])
        assert people.embedding(selfie).tolist() == [255, 255, 255]
    assert [round(face.score, 2) for face in people.faces(picture)] == [0.93, 0.97]  # and nothing remains of it
    assert people.embedding(selfie).shape == (512,)


def test_insightface_stands_in_for_a_recogniser_only_where_there_is_one(pipe: Any, insightface: None) -> None:
    pipe.backend.recogniser = None  # a model whose adapter sees the face through CLIP
    with packages_on(pipe, asking(faces="insightface")):
        assert len(pipe.backend.faces(np.full((320, 320, 3), 255, np.uint8))) == 2
        assert pipe.backend.embedded(np.full((320, 320, 3), 255, np.uint8)) is None


@pytest.mark.long
def test_a_request_draws_by_insightface(
    pipe: Any, insightface: None, tmp_path: Path, twinset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (320, 320), "white").save(tmp_path / "me.png")
    features = np.random.default_rng(0).normal(size=512)
    asked: list[int] = []

    def embed(self: object, crop: np.ndarray) -> np.ndarray:
        asked.append(len(crop))
        return features.astype(np.float32)

    monkeypatch.setattr(insightface_package.InsightFace, "embed", embed)
    own = ["generate", "--model", "sd15", "--prompt", "in the park", "--selfie", tmp_path / "me.png", "--seed", 7]
    done, _ = twinset(*own, "--faces", "insightface", "--no-repair", "-o", tmp_path / "out")
    assert done == 0 and asked and set(asked) == {112}
    record = json.loads((tmp_path / "out" / "0007.json").read_text())
    assert record["request"]["faces"] == "insightface" and (tmp_path / "out" / "0007.png").is_file()
    assert twinset("replay", tmp_path / "out" / "0007.json", "-o", tmp_path / "again")[0] == 0


def test_a_detector_of_ones_own(pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    yolo(tmp_path / "yolo.onnx", size=(640, 640))
    request = located(asking(faces="yolo.onnx"))
    assert request.faces == str(tmp_path / "yolo.onnx") and list(input_hashes(request)) == [request.faces]
    red = np.zeros((640, 640, 3), np.uint8)
    red[..., 0] = 255
    with packages_on(pipe, request):
        assert pipe.backend.chosen_faces.kind == "YOLO-Face" and len(pipe.backend.faces(red)) == 1
    assert len(pipe.backend.faces(red)) == 2
    recogniser_graph(tmp_path / "other.onnx")
    with (
        pytest.raises(InputError, match=r"other\.onnx' is not a detector"),
        packages_on(pipe, asking(faces="other.onnx")),
    ):
        pass


# Poses and parsing maps


def test_a_photo_is_read_by_openpose_and_a_parser_of_ones_own(
    pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joints: list[Any] = [SimpleNamespace(x=0.5, y=0.25 + 0.02 * number, score=0.9) for number in range(18)]
    fake_controlnet_aux(monkeypatch, joints)
    monkeypatch.setattr(pose, "hf_hub_download", lambda *_, **__: "body_pose_model.pth")
    pose._openpose.cache_clear()
    channels = [{atr.HAIR: 1.0}, {atr.UPPER: 1.0}, {atr.DRESS: 1.0}]  # of blue, green and red, as SCHP has them
    parser = colour_graph(tmp_path / "schp.onnx", 18, channels, 64)
    request = asking(pose_estimator="openpose", parser=f"schp={parser}")
    picture = np.zeros((200, 100, 3), np.uint8)
    picture[..., 0] = 255
    with packages_on(pipe, request):
        figure = pipe.backend.figure(picture)
    pose._openpose.cache_clear()
    np.testing.assert_allclose(figure.keypoints[1], (50, 54, 0.9), rtol=1e-5)
    assert (figure.labels == atr.DRESS).mean() > 0.9
    assert pipe.backend.photos.pose_estimator == "rtmlib" and pipe.backend.photos.parser is None
    assert list(input_hashes(located(request))) == [str(parser)]


@pytest.mark.parametrize("text", ["parsing.onnx", "unet=parsing.onnx", "schp="])
def test_a_parser_needs_its_form(text: str) -> None:
    with pytest.raises(InputError, match=r"write schp=FILE.onnx or hrnet=FILE.onnx"):
        asking(parser=text)


# Attention


def test_xformers_computes_attention_for_that_request_alone(
    pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twinset: Command
) -> None:
    calls, real = [], joint_attention.dispatch_attention_fn

    def xformers(*given: Any, backend: AttentionBackendName) -> Any:
        calls.append(backend.value)
        return real(*given, backend=AttentionBackendName("_native_math"))

    monkeypatch.setattr(joint_attention, "dispatch_attention_fn", xformers)
    own = ["generate", "--model", "sd15", "--prompt", "in the park", "--seed", 7, "--no-repair", "--no-labels"]
    assert twinset(*own, "--attention", "xformers", "-o", tmp_path / "x")[0] == 0
    assert set(calls) == {"xformers"} and len(calls) > 2
    calls.clear()
    pipe.attention.use("_native_math")
    calls.clear()
    with packages_on(pipe, asking(attention="xformers")):
        assert pipe.attention.frame.backend == AttentionBackendName.XFORMERS
    with packages_on(pipe, asking()):
        assert pipe.attention.frame.backend == AttentionBackendName("_native_math")  # the pipeline's user chose it


def test_xformers_that_does_not_run_is_told_before_any_pass(pipe: Any, tmp_path: Path, twinset: Command) -> None:
    """Without the package, or with the real one on this CPU."""
    code, line = twinset(
        *("generate", "--model", "sd15", "--prompt", "x", "--attention", "xformers", "-o", tmp_path / "out")
    )
    assert code == 2 and line.startswith("twinset: attention 'xformers' does not run here (")
    assert "pip install 'twinset[xformers]'" in line or "built for torch" in line
    assert not (tmp_path / "out").exists()


def test_the_kernels_own_reasons_are_told(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What xformers 0.0.35 says beside torch 2.15, shortened."""
    text = (
        "No operator found for `memory_efficient_attention_forward` with inputs:\n"
        "     query       : shape=(1, 16, 1, 64) (torch.float32)\n"
        "`fa3F@0.0.0` is not supported because:\n"
        "    device=cpu (supported: {'cuda'})\n"
        "    operator wasn't built - see `python -m xformers.info` for more info\n"
        "`cutlassF-pt` is not supported because:\n"
        "    device=cpu (supported: {'cuda'})"
    )

    def fail(*_: Any, **__: Any) -> None:
        raise NotImplementedError(text)

    monkeypatch.setattr(joint_attention, "dispatch_attention_fn", fail)
    with pytest.raises(InputError) as error:
        pipe.attention.use("xformers")
    expected = "(device=cpu (supported: {'cuda'}); operator wasn't built - see `python -m xformers.info` for more info)"
    assert f"does not run here {expected}; " in str(error.value)


# What is refused


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (["--faces", "insightface"], "LicenseRef-InsightFace-non-commercial.* yunet finds the faces"),
        (["--pose-estimator", "openpose"], "CMU's licence is non-commercial.* rtmlib's DWPose, Apache-2.0"),
        (["--faces", "mine.onnx"], "'mine.onnx' states no licence"),
        (["--parser", "hrnet=mine.onnx"], "'mine.onnx' states no licence"),
    ],
)
def test_commercial_use_refuses(
    choice: list[str], words: str, tmp_path: Path, twinset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "of_profile", lambda *_: pytest.fail("it must be refused before anything is pulled"))
    code, line = twinset("generate", "--model", "sd15", "--prompt", "x", "--commercial", *choice, "-o", tmp_path)
    assert code == 2 and re.search(words, line), line
    request = asking(**{choice[0][2:].replace("-", "_"): choice[1]})
    with pytest.raises(InputError, match=words):
        require_packages(request, commercial=True)


def test_commercial_pipelines_refuse_requests_from_python_too(pipe: Any, insightface: None) -> None:
    pipe.backend.photos.commercial = True
    with pytest.raises(InputError, match="refused for commercial use"), packages_on(pipe, asking(faces="insightface")):
        pass


@pytest.mark.parametrize(
    ("choice", "module", "words"),
    [
        (["--faces", "insightface"], "insightface.app", "pip install 'twinset[faces]'"),
        (["--pose-estimator", "openpose"], "controlnet_aux", "pip install 'twinset[openpose]'"),
    ],
)
def test_a_package_that_is_not_there(
    choice: list[str], module: str, words: str, tmp_path: Path, twinset: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(load, "of_profile", lambda *_: pytest.fail("it must be refused before anything is pulled"))
    code, line = twinset("generate", "--model", "sd15", "--prompt", "x", *choice, "-o", tmp_path)
    assert code == 2 and words in line


@pytest.mark.parametrize(
    "fields", [{"faces": "insightface"}, {"pose_estimator": "openpose"}, {"parser": "schp=a.onnx"}]
)
def test_drawn_people_are_not_for_them(fields: dict[str, str]) -> None:
    drawn: Any = SimpleNamespace(backend=None)
    with (
        pytest.raises(InputError, match="leave them out, or use --model sd15 or sdxl"),
        packages_on(drawn, asking(**fields)),
    ):
        pass

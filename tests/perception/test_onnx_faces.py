"""Faces on photographs, on ONNX graphs whose answers are known. No weights are downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from twinset.errors import InputError
from twinset.models.face_finder import TEMPLATE, align
from twinset.perception.faces.onnx import Detector, Recogniser, aligned, normed

FLOAT = TensorProto.FLOAT
SIZE = (96, 64)  # a canvas with 12×8, 6×4 and 3×2 cells
# two faces: (stride, cell x, cell y, anchor), score, box and landmarks in px of the canvas
BOX_SMALL, BOX_LARGE = np.array([4.0, 6, 20, 26]), np.array([30.0, 8, 80, 60])
POINTS_SMALL, POINTS_LARGE = TEMPLATE / 112 * 16 + (4, 8), TEMPLATE / 112 * 50 + (30, 9)


def write_graph(
    path: Path, nodes: list[onnx.NodeProto], inputs: list[tuple], outputs: list[tuple], **constants: np.ndarray
) -> Path:
    """Write a graph; inputs and outputs are (name, shape)."""
    graph = helper.make_graph(
        nodes, "test",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def recogniser_graph(path: Path, seed: int | None = None) -> Path:
    """Means of the three channels, then 509 values: zeros, or random ones by which graphs differ."""
    rest = np.zeros((1, 509)) if seed is None else np.random.default_rng(seed).normal(size=(1, 509))
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["means", "rest"], ["embedding"], axis=1),
    ]
    ends = [("picture", ["batch", 3, 112, 112])], [("embedding", [1, 512])]
    return write_graph(path, nodes, *ends, rest=rest.astype(np.float32))


def maps_graph(path: Path, names: list[str], maps: list[np.ndarray], gate: int, size: tuple, **more: list) -> Path:
    """A graph of constant maps; the first three (scores) are multiplied by the mean of one channel of the input."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["means", "gate"], ["factor"], axis=1),
        helper.make_node("ReduceMax", ["factor"], ["one"], keepdims=0),
    ]
    constants = {f"map_{name}": values.astype(np.float32) for name, values in zip(names, maps, strict=True)}
    for index, name in enumerate(names):
        made = ("Mul", [f"map_{name}", "one"]) if index < 3 else ("Identity", [f"map_{name}"])
        nodes.append(helper.make_node(*made, [name]))
    shape = more.get("shape", [1, 3, size[1], size[0]])
    ends = [("picture", shape)], [(name, values.shape) for name, values in zip(names, maps, strict=True)]
    return write_graph(path, nodes, *ends, gate=np.array([gate], np.int64), **constants)


def scrfd_maps(faces: list[tuple], size: tuple = SIZE) -> list[np.ndarray]:
    """Nine maps that decode to faces ((stride, x, y, anchor), score, box, landmarks)."""
    counts = [2 * (size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32)]
    maps = [np.zeros((count, width)) for width in (1, 4, 10) for count in counts]
    for (stride, x, y, anchor), score, box, points in faces:
        level, row = (8, 16, 32).index(stride), 2 * (y * (size[0] // stride) + x) + anchor
        corner = np.array([x, y]) * stride
        maps[level][row] = score
        maps[3 + level][row] = np.concatenate([corner - box[:2], box[2:] - corner]) / stride
        maps[6 + level][row] = ((points - corner) / stride).ravel()
    return maps


def scrfd_graph(path: Path, faces: list[tuple] | None = None, size: tuple = SIZE, **more: list) -> Path:
    """SCRFD whose scores hold for a white or red picture that fills the canvas."""
    maps = scrfd_maps([SMALL, LARGE] if faces is None else faces, size)
    return maps_graph(path, [str(448 + i) for i in range(9)], maps, gate=0, size=size, **more)


def yunet_graph(path: Path, size: tuple = SIZE) -> Path:
    """YuNet with the same two faces, for a picture whose red is 255."""
    counts = [(size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32)]
    maps = [np.zeros((1, count, width)) for width in (1, 1, 4, 10) for count in counts]
    for (stride, x, y, _), score, box, points in (SMALL, LARGE):
        level, row = (8, 16, 32).index(stride), y * (size[0] // stride) + x
        middle, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        maps[level][0, row], maps[3 + level][0, row] = 0.98 / 255, score**2 / 0.98
        maps[6 + level][0, row] = np.concatenate([middle / stride - (x, y), np.log(sides / stride)])
        maps[9 + level][0, row] = (points / stride - (x, y)).ravel()
    names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    return maps_graph(path, names, maps, gate=2, size=size)


SMALL = ((8, 1, 2, 1), 0.97, BOX_SMALL, POINTS_SMALL)
LARGE = ((32, 1, 1, 0), 0.93, BOX_LARGE, POINTS_LARGE)


def red(height: int = SIZE[1], width: int = SIZE[0]) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = 255
    return picture


class TestRecogniser:
    def test_channels_and_their_range(self, tmp_path: Path) -> None:
        crop = np.zeros((112, 112, 3), np.uint8)
        crop[:] = (255, 51, 0)
        recogniser = Recogniser(recogniser_graph(tmp_path / "face.onnx"))
        embedding = recogniser.embed(crop)
        assert embedding.shape == (512,) and embedding.dtype == np.float32
        np.testing.assert_allclose(embedding[:4], [1, -0.6, -1, 0], atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(normed(embedding)), 1, atol=1e-6)
        assert recogniser.name == "face" and len(recogniser.sha256) == 64

    def test_other_crops_and_empty_embeddings_are_refused(self, tmp_path: Path) -> None:
        recogniser = Recogniser(recogniser_graph(tmp_path / "face.onnx"))
        for crop in (np.zeros((96, 96, 3), np.uint8), np.zeros((112, 112, 3), np.float32)):
            with pytest.raises(ValueError, match=r"expected uint8 \(112, 112, 3\)"):
                recogniser.embed(crop)
        with pytest.raises(ValueError, match="all zeros"):
            normed(np.zeros(512, np.float32))

    def test_another_file_than_expected_is_refused(self, tmp_path: Path) -> None:
        path = recogniser_graph(tmp_path / "face.onnx")
        right = Recogniser(path, name="buffalo_l").sha256
        assert Recogniser(path, sha256=right).sha256 == right
        with pytest.raises(InputError, match=rf"face.onnx' has SHA-256 {right}, expected {'0' * 64}; replace it"):
            Recogniser(path, sha256="0" * 64)


class TestFaultyGraphs:
    @pytest.mark.parametrize("data", [b"", b"junk" * 20, "torn"])
    def test_damaged_files(self, tmp_path: Path, data: bytes | str, capfd: pytest.CaptureFixture[str]) -> None:
        path = recogniser_graph(tmp_path / "face.onnx", seed=0)
        path.write_bytes(path.read_bytes()[:-600] if isinstance(data, str) else data)
        with pytest.raises(InputError, match=r"face.onnx' is not a valid ONNX file \(.*sound copy") as error:
            Recogniser(path)
        assert "\n" not in str(error.value) and capfd.readouterr().err == ""

    def test_missing_file_and_provider(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none.onnx' cannot be read \(No such file"):
            Recogniser(tmp_path / "none.onnx")
        with pytest.raises(InputError, match=r"no provider 'GuessExecutionProvider' here; choose among .*CPU"):
            Recogniser(recogniser_graph(tmp_path / "face.onnx"), providers=["GuessExecutionProvider"])

    def test_a_graph_for_something_else_says_what_it_has(self, tmp_path: Path) -> None:
        detector, recogniser = scrfd_graph(tmp_path / "find.onnx"), recogniser_graph(tmp_path / "face.onnx")
        with pytest.raises(
            InputError, match=r"not a recogniser .*found inputs picture tensor\(float\) \[1, 3, 64, 96\]"
        ):
            Recogniser(detector)
        with pytest.raises(
            InputError, match=r"not a detector of 640×640 .*outputs embedding .*\[1, 512\]; use the file"
        ):
            Detector(recogniser)
        with pytest.raises(InputError, match=r"not a detector of 640×640 px .*\[1, 3, 64, 96\]"):
            Detector(detector)
        with pytest.raises(ValueError, match=r"\(640, 600\) has a side"):
            Detector(detector, size=(640, 600))

    def test_maps_of_another_size_are_noticed(self, tmp_path: Path) -> None:
        path = scrfd_graph(tmp_path / "find.onnx", shape=["n", 3, "h", "w"])
        with pytest.raises(
            InputError, match=r"its maps of stride 8 have shapes \[\(192, 1\), \(192, 4\), \(192, 10\)\]"
        ):
            Detector(path, size=(64, 64)).find(red())

    @pytest.mark.parametrize(
        ("nodes", "fault"),
        [
            ([("Reshape", ["picture", "to"], ["embedding"])], r"it fails \(.*Reshape"),
            ([("Log", ["picture"], ["a"]), ("Flatten", ["a"], ["embedding"])], "it gives values that are not finite"),
            ([("Flatten", ["picture"], ["embedding"])], r"it gave shape \(1, 37632\)"),
        ],
    )
    def test_what_shows_only_when_it_runs(
        self, nodes: list[tuple], fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        made = [helper.make_node(*node) for node in nodes]
        ends = [("picture", ["n", 3, "h", "w"])], [("embedding", ["n", "m"])]
        path = write_graph(tmp_path / "a.onnx", made, *ends, to=np.array([1, 512], np.int64))
        with pytest.raises(InputError, match=rf"a.onnx' is not a recogniser .*: {fault}.*; found inputs"):
            Recogniser(path).embed(np.zeros((112, 112, 3), np.uint8))
        assert capfd.readouterr().err == ""

    def test_weights_outside_the_file_are_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = recogniser_graph(tmp_path / "face.onnx", seed=1)
        model = onnx.load(path)
        onnx.save(model, path, save_as_external_data=True, location="rest.data", size_threshold=0)
        assert (tmp_path / "rest.data").is_file()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match="not a valid ONNX file"):
            Recogniser(path)

    @pytest.mark.long
    def test_onnx_runtime_reports_to_nobody(self, tmp_path: Path) -> None:
        """The switch works only when it is set before the package is first imported."""
        path = recogniser_graph(tmp_path / "face.onnx")
        code = (
            "import os, sys; from twinset.perception.faces.onnx import Recogniser;"
            "assert 'onnxruntime' not in sys.modules;"
            f"Recogniser({str(path)!r}); assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
        )
        environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)


class TestDetector:
    @pytest.mark.parametrize("graph", [scrfd_graph, yunet_graph])
    def test_two_faces_the_larger_first(self, graph, tmp_path: Path) -> None:
        """Right only if the red channel comes where each graph expects it, in its range."""
        large, small = Detector(graph(tmp_path / "find.onnx"), size=SIZE).find(red(), threshold=0.5)
        np.testing.assert_allclose(large.landmarks, POINTS_LARGE + 0.5, atol=1e-3)
        np.testing.assert_allclose(small.landmarks, POINTS_SMALL + 0.5, atol=1e-3)
        factor = 127.5 / 128 if graph is scrfd_graph else 1
        np.testing.assert_allclose((large.score, small.score), (0.93 * factor, 0.97 * factor), atol=1e-4)
        assert Detector(tmp_path / "find.onnx", size=SIZE).find(red()[..., ::-1]) == []

    @pytest.mark.parametrize("shape", [(128, 192), (640, 960), (32, 48), (64, 20), (40, 300)])
    def test_landmarks_lie_in_the_coordinates_of_the_picture(self, shape: tuple[int, int], tmp_path: Path) -> None:
        """A picture of another shape fills only a part of the canvas, so the score falls with it."""
        scale = min(SIZE[1] / shape[0], SIZE[0] / shape[1])
        inner = round(shape[1] * scale), round(shape[0] * scale)
        face = Detector(scrfd_graph(tmp_path / "find.onnx"), size=SIZE).find(red(*shape), threshold=-2)[0]
        expected = (POINTS_LARGE + 0.5) * (shape[1] / inner[0], shape[0] / inner[1])
        np.testing.assert_allclose(face.landmarks, expected, rtol=1e-4)

    def test_threshold(self, tmp_path: Path) -> None:
        faces = [SMALL, ((32, 1, 1, 0), 0.45, BOX_LARGE, POINTS_LARGE)]
        detector = Detector(scrfd_graph(tmp_path / "find.onnx", faces), size=SIZE)
        assert len(detector.find(red())) == 1 and len(detector.find(red(), threshold=0.4)) == 2
        yunet = Detector(yunet_graph(tmp_path / "yunet.onnx"), size=SIZE)
        assert len(yunet.find(red(), threshold=0.95)) == 1 and len(yunet.find(red())) == 2

    def test_one_face_seen_several_times_is_one_face(self, tmp_path: Path) -> None:
        """The best of boxes that overlap stays; a face beside it stays too."""
        again = [((16, 3, 2, a), 0.6 + 0.1 * a, BOX_LARGE + a, POINTS_LARGE + 9) for a in (0, 1)]
        beside = ((8, 11, 0, 0), 0.9, BOX_LARGE + np.array([36, 0] * 2), POINTS_LARGE + np.array([36, 0]))
        detector = Detector(scrfd_graph(tmp_path / "find.onnx", [LARGE, *again, beside]), size=SIZE)
        found = sorted(float(face.landmarks[0, 0]) for face in detector.find(red()))
        np.testing.assert_allclose(found, POINTS_LARGE[0, 0] + np.array([0.5, 36.5]), atol=1e-3)

    def test_a_face_that_fills_the_picture_is_seen_from_farther(self, tmp_path: Path) -> None:
        """Scores of this graph are high only when most of the canvas is empty."""
        faces = [(LARGE[0], -1.5, BOX_LARGE / 2, POINTS_LARGE / 2)]
        detector = Detector(scrfd_graph(tmp_path / "find.onnx", faces), size=SIZE)
        (face,) = detector.find(red(128, 192))
        np.testing.assert_allclose(face.landmarks, (POINTS_LARGE / 2 + 0.5) * 4, atol=1e-3)

    def test_pictures_of_floats_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="expected uint8"):
            Detector(scrfd_graph(tmp_path / "find.onnx"), size=SIZE).find(np.zeros((8, 8, 3)))


class TestAligned:
    @pytest.mark.parametrize("size", [112, 224])
    def test_the_template_itself_is_left_as_it_is(self, size: int) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        crop = aligned(picture, TEMPLATE * (size / 112) + 0.5, size)
        assert np.abs(crop.astype(int) - picture).max() <= 1

    def test_it_lies_half_a_pixel_beside_align(self) -> None:
        ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
        landmarks = TEMPLATE + 30
        difference = align(ramp, landmarks).astype(float)[50, 50, 0] - aligned(ramp, landmarks)[50, 50, 0]
        assert 0 <= difference <= 1

    def test_a_found_face_comes_to_lie_on_the_template(self, tmp_path: Path) -> None:
        face = Detector(scrfd_graph(tmp_path / "find.onnx"), size=SIZE).find(red(128, 192))[0]
        assert align(red(128, 192), face.landmarks).shape == aligned(red(128, 192), face.landmarks).shape

    @pytest.mark.parametrize("size", [0, 200, -112])
    def test_other_sizes_are_refused(self, size: int) -> None:
        with pytest.raises(ValueError, match=f"crop size {size} is no positive multiple of 112"):
            aligned(red(), TEMPLATE, size)

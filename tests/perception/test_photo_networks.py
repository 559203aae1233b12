"""Keypoints and parsing maps of photographs, on graphs and random networks whose answers are known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from twinset.errors import InputError
from twinset.figure import keypoints as kp
from twinset.figure import labels as atr
from twinset.perception.people import pose as pose_photo
from twinset.perception.people.parsing import LIP, onnx_parser, segformer_parser
from twinset.perception.people.pose import keypoints_of, rtmlib_reader

FLOAT = TensorProto.FLOAT


def write_graph(path: Path, nodes: list, inputs: tuple[str, list], outputs: list, **constants: Any) -> Path:
    """Write a graph; inputs and outputs are (name, shape)."""
    graph = helper.make_graph(
        nodes, "test",
        [helper.make_tensor_value_info(inputs[0], FLOAT, inputs[1])],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def constant_graph(path: Path, size: tuple[int, int], outputs: dict[str, np.ndarray]) -> Path:
    """A graph that gives the same whatever it is given; its input (1, 3, *size) goes in with weight 0."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["nothing"]),
        *(helper.make_node("Add", [f"c_{name}", "nothing"], [name]) for name in outputs),
    ]
    constants = {f"c_{name}": values.astype(np.float32) for name, values in outputs.items()}
    ends = ("input", [1, 3, *size]), [(name, values.shape) for name, values in outputs.items()]
    return write_graph(path, nodes, *ends, none=np.float32(0), **constants)


# Keypoints

COCO_POINTS = np.stack([20 + 8 * np.arange(17), 30 + 12 * np.arange(17)], 1)  # bins of 2 per px, of 192 × 256 px


def simcc_graph(path: Path, hidden: tuple[int, ...] = ()) -> Path:
    x, y = np.zeros((1, 17, 384)), np.zeros((1, 17, 512))
    for joint, (at_x, at_y) in enumerate(COCO_POINTS):
        score = 0.1 if joint in hidden else 0.9
        x[0, joint, at_x], y[0, joint, at_y] = score, score
    return constant_graph(path, (256, 192), {"simcc_x": x, "simcc_y": y})


def yolox_graph(path: Path, classes: int = 80) -> Path:
    """Anchors of 64 × 64 px: one person and, with a better score, one dog, over the picture."""
    rows = np.zeros((1, 84, 5 + classes))
    rows[0, :, 2:4] = -9
    rows[0, 83, :5] = (1, 1.5, np.log(0.8), np.log(1.6), 1)  # stride 32, cell (1, 1): middle (64, 80), 25.6 × 51.2 px
    rows[0, 83, 5] = 0.9
    rows[0, 80, :5] = (0.5, 0.5, 0, 0, 1)
    rows[0, 80, 5 + 16] = 0.95
    return constant_graph(path, (64, 64), {"output": rows})


class TestRtmlib:
    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("rtmlib", exc_type=ImportError)

    def test_known_answers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        read = rtmlib_reader(yolox_graph(tmp_path / "d.onnx"), simcc_graph(tmp_path / "p.onnx", hidden=(15,)))
        monkeypatch.setattr(pose_photo, "_rtmlib", lambda profile: read)
        (found,) = keypoints_of(np.zeros((128, 128, 3), np.uint8))
        # the person's box is 51.2 × 102.4 px about (128, 160) px of the picture, padded 1.25-fold to 96 × 128
        box = np.array((96, 128)) * (102.4 * 1.25 / 128)
        expected = COCO_POINTS / 2 / (192, 256) * box + (128, 160) - box / 2
        np.testing.assert_allclose(found[kp.L_WRIST, :2], expected[9], atol=0.1)
        np.testing.assert_allclose(found[kp.R_EYE, :2], expected[2], atol=0.1)
        np.testing.assert_allclose(found[kp.NECK, :2], expected[5:7].mean(0), atol=0.1)
        assert not found[kp.L_ANKLE].any() and (found[:, 2] > 0).sum() == 17
        assert capsys.readouterr().out == ""

    def test_other_networks_are_told(self, tmp_path: Path) -> None:
        read = rtmlib_reader(yolox_graph(tmp_path / "d.onnx"), yolox_graph(tmp_path / "p.onnx"), "sdxl")
        with pytest.raises(InputError, match="do not run as YOLOX and SimCC in rtmlib") as error:
            read(np.zeros((128, 128, 3), np.uint8))
        assert str(error.value).endswith("twinset models pull sdxl --part person_detector --part pose_estimator")


def fake_rtmlib(monkeypatch: pytest.MonkeyPatch, boxes: Any, points: np.ndarray, scores: np.ndarray) -> list:
    """A module in rtmlib's place; what its networks were given."""
    given: list = []

    class YOLOX:
        def __init__(self, path: str, model_input_size: tuple, det_mode: str):
            given.append((model_input_size, det_mode))

        def __call__(self, image: np.ndarray) -> Any:
            given.append(image)
            return boxes

    class RTMPose:
        def __init__(self, path: str, model_input_size: tuple, to_openpose: bool):
            given.append((model_input_size, to_openpose))

        def __call__(self, image: np.ndarray, bboxes: np.ndarray) -> tuple:
            given.extend([image, bboxes])
            return points, scores

    module = cast(Any, ModuleType("rtmlib"))
    module.YOLOX, module.RTMPose = YOLOX, RTMPose
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    return given


def test_channels_classes_threshold_and_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 50, 50], [9, 9, 12, 12]], float)
    points = np.random.default_rng(0).uniform(1, 10, (2, 18, 2)) * np.array([1, 5]).reshape(2, 1, 1)
    scores = np.full((2, 18), 0.8)
    scores[1, 3], scores[1, 4] = 0.29, 1.7
    given = fake_rtmlib(monkeypatch, (boxes, np.array([0, 0, 16])), points, scores)
    read = rtmlib_reader(yolox_graph(tmp_path / "d.onnx"), simcc_graph(tmp_path / "p.onnx"))
    monkeypatch.setattr(pose_photo, "_rtmlib", lambda profile: read)
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[..., 0] = 255
    large, small = keypoints_of(picture, by="rtmlib")
    assert given[:2] == [((64, 64), "multiclass"), ((192, 256), True)]
    assert given[2][0, 0].tolist() == [0, 0, 255] and given[3][0, 0].tolist() == [255, 0, 0]
    assert len(given[4]) == 2  # the dog is left out
    np.testing.assert_allclose(small[:, :2], points[0], rtol=1e-5)
    assert not large[3].any() and large[4, 2] == 1 and large.dtype == np.float32


def test_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_rtmlib(monkeypatch, (np.array([]), np.array([])), np.zeros((0, 18, 2)), np.zeros((0, 18)))
    read = rtmlib_reader(yolox_graph(tmp_path / "d.onnx"), simcc_graph(tmp_path / "p.onnx"))
    assert read(np.zeros((9, 9, 3), np.uint8)).shape == (0, 18, 3)


def test_missing_packages_and_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picture = np.zeros((9, 9, 3), np.uint8)
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(InputError, match=r"'rtmlib' does not load .*pip install 'twinset\[pose\]'"):
        keypoints_of(picture)
    with pytest.raises(InputError, match="'guess' is unknown; choose rtmlib or openpose"):
        keypoints_of(picture, by="guess")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "rtmlib", ModuleType("rtmlib"))
    with pytest.raises(InputError, match="person_detector") as error:
        keypoints_of(picture)
    assert "\n" not in str(error.value)


# Parsing maps


def colour_graph(path: Path, classes: int, channels: list, size: int | str, extra: bool = False) -> Path:
    """A 1 × 1 convolution: class `channels[i]` (one or several) is as likely as channel i of the input is bright."""
    weights = np.zeros((classes, 3, 1, 1), np.float32)
    for channel, found in enumerate(channels):
        for number, weight in found.items():
            weights[number, channel] = weight
    nodes = [
        helper.make_node("AveragePool", ["input"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "w"], ["refined"]),
    ]
    outputs: list = [("refined", [1, classes, "h", "w"])]
    if extra:  # as SCHP's: coarse parsing, refined parsing, edges
        nodes += [helper.make_node("Neg", ["refined"], ["coarse"]), helper.make_node("Neg", ["small"], ["edges"])]
        outputs = [("coarse", outputs[0][1]), outputs[0], ("edges", [1, 3, "h", "w"])]
    return write_graph(path, nodes, ("input", [1, 3, size, size]), outputs, w=weights)


def stripes(width: int = 120, height: int = 80) -> np.ndarray:
    """Red, green and blue thirds from left to right."""
    picture = np.zeros((height, width, 3), np.uint8)
    for channel in range(3):
        picture[:, channel * width // 3 : (channel + 1) * width // 3, channel] = 255
    return picture


def thirds(labels: np.ndarray) -> list[int]:
    """Labels in the middle of the thirds, which fill them but for their borders."""
    width = labels.shape[1]
    return [int(labels[labels.shape[0] // 2, width * at // 6]) for at in (1, 3, 5)]


@pytest.mark.parametrize(("width", "height"), [(120, 80), (90, 200), (1500, 700)])
def test_schp_is_letterboxed_bgr_and_refined(width: int, height: int, tmp_path: Path) -> None:
    channels = [{atr.HAIR: 1.0}, {atr.UPPER: 1.0}, {atr.DRESS: 1.0}]  # blue, green, red
    parser = onnx_parser(colour_graph(tmp_path / "a.onnx", 18, channels, 512, extra=True), "schp")
    labels = parser.labels(stripes(width, height))
    assert labels.shape == (height, width) and labels.dtype == np.uint8
    assert thirds(labels) == [atr.DRESS, atr.UPPER, atr.HAIR]
    for label, first, last in ((atr.DRESS, 0, 1), (atr.UPPER, 1, 2), (atr.HAIR, 2, 3)):
        inside = labels[:, int(width * (first / 3 + 0.04)) : int(width * (last / 3 - 0.04))]
        assert (inside == label).mean() > 0.99


def test_hrnet_takes_rgb_and_its_lip_classes_become_atr(tmp_path: Path) -> None:
    # red: socks, rather left; green: glove, rather right; blue: jumpsuit
    channels = [{8: 2.0, 16: 1.0}, {3: 2.0, 15: 1.0, 14: 0.5}, {10: 1.0}]
    parser = onnx_parser(colour_graph(tmp_path / "a.onnx", 20, channels, "s"), "hrnet")
    assert parser.size == 473
    assert thirds(parser.labels(stripes())) == [atr.LEFT_LEG, atr.RIGHT_ARM, atr.DRESS]


def test_lip_table_names_every_class_once() -> None:
    assert len(LIP) == len({name for name, _ in LIP}) == 20
    for name, label in LIP:
        if name in atr.LABELS:
            assert atr.LABELS[label] == name


def test_other_graphs_are_refused(tmp_path: Path) -> None:
    path = constant_graph(tmp_path / "a.onnx", (64, 64), {"out": np.zeros((1, 7, 4, 4))})
    with pytest.raises(InputError, match=r"not a parser of schp's kind.*it gave shapes \[\(1, 7, 4, 4\)\]"):
        onnx_parser(path, "schp").labels(stripes())
    with pytest.raises(InputError, match="form 'unet' is unknown; choose schp or hrnet"):
        onnx_parser(path, "unet")
    with pytest.raises(InputError, match="not a parser of hrnet's kind"):
        onnx_parser(constant_graph(tmp_path / "b.onnx", (64, 32), {"out": np.zeros((1, 20, 4, 4))}), "hrnet")
    with pytest.raises(ValueError, match="expected uint8"):
        onnx_parser(path, "schp").labels(np.zeros((8, 8, 3)))


NAMES = (
    "Background", "Hat", "Hair", "Sunglasses", "Upper-clothes", "Skirt", "Pants", "Dress", "Belt", "Left-shoe",
    "Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm", "Bag", "Scarf",
)  # fmt: skip


def segformer(folder: Path, names: tuple[str, ...] = NAMES) -> SegformerForSemanticSegmentation:
    """SegFormer as mattmdjaga publishes it, but narrow, with random weights."""
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
    )  # fmt: skip
    network = SegformerForSemanticSegmentation(config).eval()
    network.save_pretrained(folder)
    return network


def test_segformer_as_transformers_has_it(tmp_path: Path) -> None:
    from transformers import SegformerImageProcessor

    network = segformer(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    pixels = SegformerImageProcessor()(picture, return_tensors="pt").pixel_values
    with torch.no_grad():
        logits = torch.nn.functional.interpolate(network(pixels).logits, (512, 512), mode="bilinear")
    expected = logits[0].argmax(0).numpy()
    assert len(np.unique(expected)) > 1
    assert (segformer_parser(tmp_path).labels(picture) == expected).mean() > 0.999


def test_other_segformers_are_refused(tmp_path: Path) -> None:
    segformer(tmp_path / "other", ("wall", "sky", "tree"))
    with pytest.raises(InputError, match=r"not a SegFormer with ATR's 18 classes .*wall, sky, tree"):
        segformer_parser(tmp_path / "other")
    with pytest.raises(InputError, match="not a SegFormer with ATR's 18 classes"):
        segformer_parser(tmp_path / "none")
    segformer(tmp_path / "torn")
    weights = tmp_path / "torn/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-400])
    with pytest.raises(InputError, match="not a SegFormer"):
        segformer_parser(tmp_path / "torn")

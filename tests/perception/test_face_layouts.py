"""RetinaFace and YOLO-Face, on graphs whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.perception.test_onnx_faces import BOX_LARGE, POINTS_LARGE, SIZE, recogniser_graph, red, write_graph
from twinset.errors import InputError
from twinset.models.face_finder import TEMPLATE, Face
from twinset.perception.faces.onnx import Detector, choose_face

MIDDLE, SIDES = (BOX_LARGE[:2] + BOX_LARGE[2:]) / 2, BOX_LARGE[2:] - BOX_LARGE[:2]
COUNTS = [(SIZE[0] // stride) * (SIZE[1] // stride) for stride in (8, 16, 32)]


def biubug6(path: Path, order: tuple[int, ...] = (0, 1, 2)) -> Path:
    """One face at stride 32, cell (1, 1), the smaller anchor; scores hold for red, which is 132 above its mean."""
    row = 2 * (COUNTS[0] + COUNTS[1]) + 2 * (1 * 3 + 1)
    boxes, kinds, points = (np.zeros((1, 2 * sum(COUNTS), width)) for width in (4, 2, 10))
    kinds[0, row] = 0.1 / 132, 0.9 / 132
    boxes[0, row] = np.concatenate([(MIDDLE - 48) / (0.1 * 256), np.log(SIDES / 256) / 0.2])
    points[0, row] = ((POINTS_LARGE - 48) / (0.1 * 256)).ravel()
    maps = [[kinds, boxes, points][k] for k in order]
    return constant_graph(path, [f"o{k}" for k in order], maps, 2, scored=order.index(0))


def yolo(path: Path, transposed: bool = False, size: tuple[int, int] = SIZE) -> Path:
    """One face; scores hold where red is 1."""
    values = np.zeros((1, 20, sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))))
    places = np.concatenate([POINTS_LARGE, np.full((5, 1), 0.7)], 1)
    values[0, :, 5] = np.concatenate([MIDDLE, SIDES, [0.8], places.ravel()])
    return constant_graph(path, ["out"], [values.transpose(0, 2, 1) if transposed else values], 0, scored=0, size=size)


def retinaface15(path: Path, size: tuple[int, int] = (128, 128)) -> Path:
    """One face at stride 128."""
    maps = []
    for width in (1, 4, 10):
        for stride in (8, 16, 32, 64, 128):
            values = np.zeros(((size[0] // stride) * (size[1] // stride), width))
            if stride == 128:
                corners = np.concatenate([-BOX_LARGE[:2], BOX_LARGE[2:]]) / 128
                values[0] = {1: [0.9], 4: corners, 10: (POINTS_LARGE / 128).ravel()}[width]
            maps.append(values)
    return constant_graph(path, [f"o{k}" for k in range(15)], maps, 0, scored=4, size=size)


def mxnet(path: Path) -> Path:
    """One face at stride 16, cell (2, 1), its second anchor of 64 px."""
    maps = []
    for stride in (32, 16, 8):
        for width in (4, 8, 20):
            values = np.zeros((1, width, SIZE[1] // stride, SIZE[0] // stride))
            if stride == 16:
                anchor = np.array([2, 1]) * 16 + 7.5
                box = np.concatenate([(MIDDLE - anchor) / 64, np.log(SIDES / 64)])
                own = {4: np.array([0.95 / 255]), 8: box, 20: ((POINTS_LARGE - anchor) / 64).ravel()}[width]
                values[0, {4: slice(3, 4), 8: slice(4, 8), 20: slice(10, 20)}[width], 1, 2] = own
            maps.append(values)
    return constant_graph(path, [f"o{k}" for k in range(9)], maps, 0, scored=3)


def constant_graph(
    path: Path, names: list[str], maps: list[np.ndarray], gate: int, scored: int, size: tuple[int, int] = SIZE
) -> Path:
    """Constant outputs; that of index `scored` is multiplied by the mean of one channel of the input."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Gather", ["means", "gate"], ["factor"], axis=1),
        helper.make_node("ReduceMax", ["factor"], ["one"], keepdims=0),
    ]
    constants = {f"map_{name}": values.astype(np.float32) for name, values in zip(names, maps, strict=True)}
    for index, name in enumerate(names):
        whole = index == scored and len(names) > 1
        nodes.append(helper.make_node("Mul" if whole else "Identity", [f"map_{name}", *["one"] * whole], [name]))
    ends = [("picture", [1, 3, size[1], size[0]])], [(n, v.shape) for n, v in zip(names, maps, strict=True)]
    return write_graph(path, nodes, *ends, gate=np.array([gate], np.int64), **constants)


@pytest.mark.parametrize(
    ("graph", "kind", "size"),
    [
        (biubug6, "RetinaFace (biubug6)", SIZE),
        (lambda path: biubug6(path, (1, 0, 2)), "RetinaFace (biubug6)", SIZE),
        (yolo, "YOLO-Face", SIZE),
        (lambda path: yolo(path, True), "YOLO-Face", SIZE),
        (retinaface15, "RetinaFace (InsightFace)", (128, 128)),
        (mxnet, "RetinaFace (MXNet)", SIZE),
    ],
)
def test_layouts_are_told_apart_and_decoded(graph, kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    detector = Detector(graph(tmp_path / "find.onnx"), size=size)
    assert detector.kind == kind
    (face,) = detector.find(red(size[1], size[0]))
    np.testing.assert_allclose(face.landmarks, POINTS_LARGE + 0.5, atol=1e-3)
    assert face.box is not None
    np.testing.assert_allclose(face.box, BOX_LARGE + 0.5, atol=1e-3)
    assert 0.7 < face.score < 1.01


def test_channels_and_range(tmp_path: Path) -> None:
    """biubug6's takes BGR, the others RGB: a blue picture makes their scores vanish."""
    blue = red()[..., ::-1]
    assert Detector(mxnet(tmp_path / "m.onnx"), size=SIZE).find(blue) == []
    assert Detector(biubug6(tmp_path / "b.onnx"), size=SIZE).find(blue) == []


def test_other_shapes_are_noticed(tmp_path: Path) -> None:
    ends = [("picture", [1, 3, 64, 96])], [("out", [1, "values", "places"])]
    node = helper.make_node("Reshape", ["picture", "to"], ["out"])
    path = write_graph(tmp_path / "a.onnx", [node], *ends, to=np.array([1, 32, -1], np.int64))
    with pytest.raises(InputError, match=r"its output has shape \(1, 32, 576\), expected \(1, 20, 126\)"):
        Detector(path, size=SIZE).find(red())
    with pytest.raises(InputError, match="is not a detector"):
        Detector(recogniser_graph(tmp_path / "r.onnx"), size=SIZE)
    with pytest.raises(ValueError, match="multiple of 128"):
        Detector(retinaface15(tmp_path / "f.onnx"), size=(160, 128))


class TestChoice:
    faces = tuple(Face(TEMPLATE * scale + (x, 0), 0.9) for scale, x in ((1.0, 300), (2.0, 0), (0.5, 500)))

    @pytest.mark.parametrize(
        ("choice", "index"), [("largest", 1), ("centre", 0), (1, 1), (2, 0), (3, 2), ("3", 2)]
    )  # fmt: skip
    def test_one_of_three(self, choice: str | int, index: int) -> None:
        assert choose_face(self.faces, choice, (700, 160)) is self.faces[index]

    @pytest.mark.parametrize("choice", [0, 4, -1, "left", ""])
    def test_no_such_face(self, choice: str | int) -> None:
        with pytest.raises(InputError, match=r"is not among the 3 found; say largest, centre, or a number from 1 to 3"):
            choose_face(self.faces, choice, (700, 160))

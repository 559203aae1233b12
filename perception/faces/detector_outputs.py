"""What the outputs of public face detectors mean: outputs → scores, boxes and five landmarks.

Layouts are told apart by number and rank of the outputs (`layout_of`). Sources, read for their facts:
SCRFD and RetinaFace of InsightFace's package (`model_zoo/scrfd.py`, `model_zoo/retinaface.py`); RetinaFace of
InsightFace's MXNet code (`detection/retinaface/retinaface.py`, `rcnn/processing/generate_anchor.py`; Deng et al., CVPR
2020); RetinaFace of biubug6 (`Pytorch_Retinaface/data/config.py`, `utils/box_utils.py`); YuNet of OpenCV
(`FaceDetectorYN`); YOLO-Face (yolov8n-face as exported by ultralytics' pose head).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

#: Scores (N,), boxes (N, 4) as left, top, right, bottom, and landmarks (N, 5, 2), in px of the canvas.
Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
#: Cells of the usual three maps, px of the canvas.
STRIDES = (8, 16, 32)
#: Largest exponent of a box's side: e^10 cells exceed any canvas.
_WIDEST = 10


@dataclass(frozen=True)
class OutputLayout:
    """How a detector sees a canvas, and what its outputs mean.

    Attributes:
        name: of the detector.
        threshold: usual least score.
        overlap: of boxes of one face, intersection over union.
        blob: uint8 (H, W, 3) RGB → float32 (1, 3, H, W).
        decode: outputs and the canvas (width, height) → candidates; raises `MapsError`.
        multiple: of which the canvas' sides must be.
    """

    name: str
    threshold: float
    overlap: float
    blob: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[Sequence[np.ndarray], tuple[int, int]], Candidates]
    multiple: int = STRIDES[-1]


class MapsError(ValueError):
    """Outputs do not have the shapes of their layout."""


def layout_of(ranks: Sequence[int]) -> OutputLayout | None:
    """The layout of a graph whose outputs have these ranks, or None.

    Args:
        ranks: number of dimensions of each output, in the graph's order.
    """
    if len(ranks) == 9 and set(ranks) == {4}:
        return RETINAFACE_MXNET
    if len(ranks) == 1:
        return YOLO_FACE if ranks[0] == 3 else None
    return {3: RETINAFACE_BIUBUG6, 9: SCRFD, 12: YUNET, 15: RETINAFACE_INSIGHTFACE}.get(len(ranks))


def planes(picture: np.ndarray) -> np.ndarray:
    """Float (H, W, 3) → float32 (1, 3, H, W)."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32)


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[int]:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,).
        overlap: intersection over union above which the lower of two scores goes.

    Returns:
        Indices that stay, the best first.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        corners = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (corners[1] - corners[0]).clip(0).prod(1)
        order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
    return kept


def cells(size: tuple[int, int], stride: int, anchors: int) -> np.ndarray:
    """Cells (N, 2) of a map as x, y, row by row, each as often as it has anchors."""
    x, y = np.meshgrid(np.arange(-(-size[0] // stride)), np.arange(-(-size[1] // stride)))
    return np.stack([x, y], -1).reshape(-1, 2).repeat(anchors, axis=0)


# SCRFD, YuNet, and RetinaFace in the form of InsightFace's package: maps kind by kind, in each stride by stride


def _by_stride(
    outputs: Sequence[np.ndarray],
    size: tuple[int, int],
    widths: tuple[int, ...],
    anchors: int,
    decode: Callable[..., Candidates],
    strides: tuple[int, ...] = STRIDES,
) -> Candidates:
    """Candidates of all strides; `widths` are the values per anchor of each kind of map, `decode` works in cells."""
    found = []
    for index, stride in enumerate(strides):
        places, maps = cells(size, stride, anchors), outputs[index :: len(strides)]
        if [values.size for values in maps] != [len(places) * width for width in widths]:
            raise MapsError(f"its maps of stride {stride} have shapes {[m.shape for m in maps]}")
        columns = [values.reshape(-1, width) for values, width in zip(maps, widths, strict=True)]
        scores, boxes, landmarks = decode(places, *columns)
        found.append((scores, boxes * stride, landmarks * stride))
    return _joined(found)


def _joined(found: Sequence[Candidates]) -> Candidates:
    scores, boxes, landmarks = (np.concatenate(part) for part in zip(*found, strict=True))
    return scores, boxes, landmarks


def _distances(places: np.ndarray, scores: np.ndarray, boxes: np.ndarray, points: np.ndarray) -> Candidates:
    """SCRFD: distances from the cell's corner to the box's sides, and offsets of the landmarks."""
    corners = np.concatenate([places - boxes[:, :2], places + boxes[:, 2:]], 1)
    return scores[:, 0], corners, places[:, None] + points.reshape(-1, 5, 2)


def _middles(
    places: np.ndarray, kinds: np.ndarray, objects: np.ndarray, boxes: np.ndarray, points: np.ndarray
) -> Candidates:
    """YuNet: offset of the box's middle and logarithm of its sides, and offsets of the landmarks."""
    scores = np.sqrt(kinds.clip(0, 1) * objects.clip(0, 1))[:, 0]
    middle, half = places + boxes[:, :2], np.exp(boxes[:, 2:].clip(-_WIDEST, _WIDEST)) / 2
    return scores, np.concatenate([middle - half, middle + half], 1), places[:, None] + points.reshape(-1, 5, 2)


# RetinaFace with anchors


def _from_anchors(
    anchors: np.ndarray, scores: np.ndarray, boxes: np.ndarray, points: np.ndarray, variances: tuple[float, float]
) -> Candidates:
    """Anchors (N, 4) as middle and sides; offsets in their sides, logarithms of sides (Girshick, Fast R-CNN, 2015)."""
    middle = anchors[:, :2] + boxes[:, :2] * variances[0] * anchors[:, 2:]
    half = anchors[:, 2:] * np.exp((boxes[:, 2:] * variances[1]).clip(-_WIDEST, _WIDEST)) / 2
    landmarks = anchors[:, None, :2] + points.reshape(-1, 5, 2) * variances[0] * anchors[:, None, 2:]
    return scores, np.concatenate([middle - half, middle + half], 1), landmarks


def _biubug6(outputs: Sequence[np.ndarray], size: tuple[int, int]) -> Candidates:
    """Boxes (1, N, 4), probabilities of background and face (1, N, 2) and landmarks (1, N, 10), in any order."""
    anchors = np.concatenate([_priors(size, stride) for stride in STRIDES])
    by_width = {values.shape[-1]: values for values in outputs}
    if sorted(by_width) != [2, 4, 10] or any(v.size != len(anchors) * w for w, v in by_width.items()):
        raise MapsError(f"its outputs have shapes {[values.shape for values in outputs]}")
    boxes, kinds, points = (by_width[width].reshape(-1, width) for width in (4, 2, 10))
    return _from_anchors(anchors, kinds[:, 1], boxes, points, (0.1, 0.2))


def _priors(size: tuple[int, int], stride: int) -> np.ndarray:
    """Two square anchors in the middle of each cell: sides of 2 and 4 cells (16, 32; 64, 128; 256, 512 px)."""
    places = (cells(size, stride, 2) + 0.5) * stride
    least = {8: 16, 16: 64, 32: 256}[stride]
    sides = np.tile([[least, least], [2 * least, 2 * least]], (len(places) // 2, 1))
    return np.concatenate([places, sides], 1)


def _mxnet(outputs: Sequence[np.ndarray], size: tuple[int, int]) -> Candidates:
    """Stride by stride, the largest first: probabilities (1, 4, h, w), boxes (1, 8, h, w), landmarks (1, 20, h, w)."""
    found = []
    for index, stride in enumerate(reversed(STRIDES)):
        kinds, boxes, points = outputs[3 * index : 3 * index + 3]
        h, w = size[1] // stride, size[0] // stride
        if [kinds.shape, boxes.shape, points.shape] != [(1, 4, h, w), (1, 8, h, w), (1, 20, h, w)]:
            raise MapsError(f"its maps of stride {stride} have shapes {[m.shape for m in (kinds, boxes, points)]}")
        columns = [_channels_last(m, width) for m, width in ((kinds[:, 2:], 1), (boxes, 4), (points, 10))]
        found.append(_from_anchors(_scales(size, stride), columns[0][:, 0], columns[1], columns[2], (1.0, 1.0)))
    return _joined(found)


def _channels_last(values: np.ndarray, width: int) -> np.ndarray:
    """(1, C, h, w) → (h · w · anchors, width)."""
    return values.transpose(0, 2, 3, 1).reshape(-1, width)


def _scales(size: tuple[int, int], stride: int) -> np.ndarray:
    """Two square anchors around (7.5, 7.5) of each cell: 16 px times 32, 16; 8, 4; 2, 1."""
    places = cells(size, stride, 2) * stride + 7.5
    largest = 16 * {8: 2, 16: 8, 32: 32}[stride]
    sides = np.tile([[largest, largest], [largest / 2, largest / 2]], (len(places) // 2, 1))
    return np.concatenate([places, sides], 1)


# YOLO-Face


def _yolo(outputs: Sequence[np.ndarray], size: tuple[int, int]) -> Candidates:
    """One output (1, 20, N) or (1, N, 20): box's middle and sides, score, five times x, y and visibility; px."""
    count = sum(len(cells(size, stride, 1)) for stride in STRIDES)
    values = outputs[0]
    if values.shape == (1, 20, count):
        values = values.transpose(0, 2, 1)
    if values.shape != (1, count, 20):
        raise MapsError(f"its output has shape {outputs[0].shape}, expected (1, 20, {count})")
    rows = values[0]
    middle, half = rows[:, :2], rows[:, 2:4] / 2
    return rows[:, 4], np.concatenate([middle - half, middle + half], 1), rows[:, 5:].reshape(-1, 5, 3)[..., :2]


def _centred(canvas: np.ndarray) -> np.ndarray:
    return planes((canvas - 127.5) / 128)


#: SCRFD as InsightFace exports it; RGB in (−1, 1).
SCRFD = OutputLayout("SCRFD", 0.5, 0.4, _centred, partial(_by_stride, widths=(1, 4, 10), anchors=2, decode=_distances))
#: RetinaFace as InsightFace's package reads it: five strides and one anchor; RGB in (−1, 1).
RETINAFACE_INSIGHTFACE = OutputLayout(
    "RetinaFace (InsightFace)", 0.5, 0.4, _centred,
    partial(_by_stride, widths=(1, 4, 10), anchors=1, decode=_distances, strides=(8, 16, 32, 64, 128)), 128,
)  # fmt: skip
#: RetinaFace of InsightFace's MXNet code (R50, MobileNet-0.25); RGB from 0 to 255.
RETINAFACE_MXNET = OutputLayout("RetinaFace (MXNet)", 0.8, 0.4, planes, _mxnet)
#: RetinaFace of biubug6 (MobileNet-0.25, R50); BGR from 0 to 255 less its mean.
RETINAFACE_BIUBUG6 = OutputLayout(
    "RetinaFace (biubug6)", 0.6, 0.4, lambda canvas: planes(canvas[..., ::-1] - np.array([104.0, 117, 123])), _biubug6
)
#: YuNet as OpenCV publishes it (`FaceDetectorYN`); BGR from 0 to 255.
YUNET = OutputLayout(
    "YuNet", 0.9, 0.3, lambda canvas: planes(canvas[..., ::-1]),
    partial(_by_stride, widths=(1, 1, 4, 10), anchors=1, decode=_middles),
)  # fmt: skip
#: YOLO-Face; RGB in (0, 1).
YOLO_FACE = OutputLayout("YOLO-Face", 0.5, 0.5, lambda canvas: planes(canvas / 255), _yolo)

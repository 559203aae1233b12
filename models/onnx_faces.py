"""Faces on photographs, for the full-size families: public ONNX graphs that find, measure and recognise them.

Recognisers are of ArcFace's kind (Deng et al., CVPR 2019). Detectors are SCRFD (Guo et al., ICLR 2022; buffalo_l,
antelopev2) and YuNet (Wu et al., Machine Intelligence Research 2023; OpenCV's, free for commercial use). They are run
by ONNX Runtime and decoded here: InsightFace's package would bring OpenCV, and reads the file again after its hash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from twinset.errors import InputError

from .face_finder import CROP, TEMPLATE, Face, face_size, similarity, warp

CPU = ("CPUExecutionProvider",)
THREADS = 4
EMBEDDING = 512
#: Cells of the detectors' three maps, px of the canvas.
STRIDES = (8, 16, 32)

# scores (N,), boxes (N, 4) as left, top, right, bottom, and landmarks (N, 5, 2); px, or cells inside the decoders
Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]


class Recogniser:
    """A graph of ArcFace's kind: an aligned crop → where this person lies among faces.

    Adapters understand only the recogniser that they were trained with: `name` and `sha256` say which one this is.

    Attributes:
        name: as given, else the file's name without its ending.
        sha256: of the bytes that were loaded.
    """

    def __init__(
        self,
        path: str | Path,
        providers: Sequence[str] | None = None,
        *,
        name: str | None = None,
        sha256: str | None = None,
    ):
        """Loads a graph that maps (1, 3, 112, 112) to (1, 512) and does not normalise its input itself.

        Args:
            path: ONNX file.
            providers: ONNX Runtime's execution providers; the CPU when None.
            name: the part's name.
            sha256: what the file must be.

        Raises:
            InputError: no such file, another one, or no such graph; or a provider is missing.
        """
        self._graph = _Graph(Path(path), providers or CPU, sha256, "recogniser of ArcFace's kind, 112×112 px → 512")
        self.name, self.sha256 = name or Path(path).stem, self._graph.sha256
        shapes = [output.shape for output in self._graph.outputs]
        if not self._graph.takes((CROP, CROP)) or len(shapes) != 1 or not _may_be(shapes[0], (1, EMBEDDING)):
            raise self._graph.wrong()

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Embeds one face.

        Args:
            crop: uint8 (112, 112, 3) RGB, of `aligned`.

        Returns:
            float32 (512,), not normalised (see `normed`).

        Raises:
            ValueError: the crop has another size or type.
            InputError: the graph fails or gives something else.
        """
        if crop.shape != (CROP, CROP, 3) or crop.dtype != np.uint8:
            raise ValueError(f"face crop is {crop.dtype} {crop.shape}; expected uint8 (112, 112, 3): use aligned()")
        (embedding,) = self._graph.run(_planes((crop.astype(np.float32) - 127.5) / 127.5))
        if embedding.size != EMBEDDING:
            raise self._graph.wrong(f"it gave shape {embedding.shape}")
        return embedding.reshape(EMBEDDING).astype(np.float32)


class Detector:
    """Finds faces: SCRFD with landmarks, or YuNet, told apart by the graph's outputs."""

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int] = (640, 640),
        providers: Sequence[str] | None = None,
        *,
        sha256: str | None = None,
    ):
        """Loads a detector.

        Args:
            path: ONNX file.
            size: (width, height) px of the canvas in which a picture is looked at, multiples of 32.
            providers: ONNX Runtime's execution providers; the CPU when None.
            sha256: what the file must be.

        Raises:
            ValueError: the size is no multiple of 32.
            InputError: no such file, another one, no such graph, or it takes another size; or a provider is missing.
        """
        if min(size) <= 0 or size[0] % STRIDES[-1] or size[1] % STRIDES[-1]:
            raise ValueError(f"detector size {size} has a side that is no positive multiple of {STRIDES[-1]}")
        expected = f"detector of {size[0]}×{size[1]} px with 9 (SCRFD with landmarks) or 12 (YuNet) outputs"
        self._graph = _Graph(Path(path), providers or CPU, sha256, expected)
        self.size, self.sha256 = size, self._graph.sha256
        heads = {3 * len(head.widths): head for head in (SCRFD, YUNET)}
        if not self._graph.takes((size[1], size[0])) or len(self._graph.outputs) not in heads:
            raise self._graph.wrong()
        self._head = heads[len(self._graph.outputs)]

    def find(self, picture: np.ndarray, threshold: float | None = None) -> list[Face]:
        """Finds the faces of a picture, the largest first.

        Where there seems to be none, the picture is looked at again from twice as far: a face that fills it is larger
        than those the detectors learnt.

        Args:
            picture: uint8 (H, W, 3) RGB, any size.
            threshold: score above which something is a face; when None, 0.5 for SCRFD and 0.9 for YuNet, as in
                InsightFace and OpenCV.

        Returns:
            Faces, landmarks in the order of `face_finder.TEMPLATE`; an empty list where there is none.

        Raises:
            ValueError: the picture is not uint8 (H, W, 3).
            InputError: the graph fails or gives something else.
        """
        _check_picture(picture)
        least = self._head.threshold if threshold is None else threshold
        faces = self._look(picture, 1.0, least) or self._look(picture, 0.5, least)
        return sorted(faces, key=lambda face: -face_size(face.landmarks))

    def _look(self, picture: np.ndarray, zoom: float, threshold: float) -> list[Face]:
        canvas, scale = _letterbox(picture, self.size, zoom)
        scores, boxes, landmarks = self._candidates(self._head.blob(canvas))
        likely = scores >= threshold
        scores, boxes, landmarks = scores[likely], boxes[likely], landmarks[likely]
        kept = _suppress(boxes, scores, self._head.overlap)
        # the graphs count pixel centres from 0, Face counts pixel edges
        return [Face(((landmarks[k] + 0.5) / scale).astype(np.float32), float(scores[k])) for k in kept]

    def _candidates(self, blob: np.ndarray) -> Candidates:
        outputs, head = self._graph.run(blob), self._head
        found = []
        for index, stride in enumerate(STRIDES):
            cells = _cells(self.size, stride, head.anchors)
            maps = outputs[index :: len(STRIDES)]
            if [values.size for values in maps] != [len(cells) * width for width in head.widths]:
                raise self._graph.wrong(f"its maps of stride {stride} have shapes {[m.shape for m in maps]}")
            columns = [values.reshape(-1, width) for values, width in zip(maps, head.widths, strict=True)]
            scores, boxes, landmarks = head.decode(cells, *columns)
            found.append((scores, boxes * stride, landmarks * stride))
        scores, boxes, landmarks = (np.concatenate(part) for part in zip(*found, strict=True))
        return scores, boxes, landmarks


def aligned(picture: np.ndarray, landmarks: np.ndarray, size: int = CROP) -> np.ndarray:
    """Cuts a face out as InsightFace's `norm_crop` does, at any multiple of 112 px: 224 for FaceID-Plus.

    ArcFace's template counts pixel centres from 0, where `face_finder.align` takes it to count pixel edges: this crop
    lies half a pixel beside that one, where public recognisers learnt to expect it.

    Args:
        picture: uint8 (H, W, 3) RGB.
        landmarks: (5, 2) px of a `Face`.
        size: side of the crop, px.

    Returns:
        uint8 (size, size, 3); outside the picture its border is repeated.

    Raises:
        ValueError: the size is no multiple of 112, the picture is not uint8 (H, W, 3), or all landmarks coincide.
    """
    _check_picture(picture)
    if size <= 0 or size % CROP:
        raise ValueError(f"crop size {size} is no positive multiple of {CROP}")
    return warp(picture, similarity(landmarks, TEMPLATE * (size / CROP) + 0.5), (size, size))


def normed(embedding: np.ndarray) -> np.ndarray:
    """An embedding (512,) at length 1: FaceID takes it so, InstantID takes it as it is.

    Raises:
        ValueError: its length is 0.
    """
    length = np.linalg.norm(embedding)
    if length == 0:
        raise ValueError("face embedding is all zeros; check the crop and the recogniser")
    return embedding / length


class _Graph:
    """One ONNX file, hashed and loaded from the same bytes."""

    def __init__(self, path: Path, providers: Sequence[str], sha256: str | None, expected: str):
        self.path, self._expected = path, expected
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"ONNX file {str(path)!r} cannot be read ({error.strerror}); pull its part again"
            ) from None
        self.sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in (None, self.sha256):
            raise InputError(f"{str(path)!r} has SHA-256 {self.sha256}, expected {sha256}; delete it and pull again")
        self._session = _session(path, data, providers)
        self.inputs, self.outputs = self._session.get_inputs(), self._session.get_outputs()

    def takes(self, size: tuple[int, int]) -> bool:
        """Whether its one input may be a float picture (1, 3, *size)."""
        shapes = [given.shape for given in self.inputs if given.type == "tensor(float)"]
        return len(self.inputs) == len(shapes) == 1 and _may_be(shapes[0], (1, 3, *size))

    def run(self, blob: np.ndarray) -> list[np.ndarray]:
        """All outputs for one input."""
        try:
            outputs = self._session.run(None, {self.inputs[0].name: blob})
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise self.wrong(f"it fails ({_first_line(error)})") from error
        if not all(np.isfinite(values).all() for values in outputs):
            raise self.wrong("it gives values that are not finite")
        return outputs

    def wrong(self, fault: str = "") -> InputError:
        """Says what was found in place of what was expected."""
        found = "; ".join(
            f"{kind} " + ", ".join(f"{one.name} {one.type} {one.shape}" for one in ends)
            for kind, ends in (("inputs", self.inputs), ("outputs", self.outputs))
        )
        return InputError(
            f"{str(self.path)!r} is no {self._expected}: {fault + '; ' if fault else ''}found {found}; "
            "take the file that the profile names (twinset models list --json)"
        )


def _runtime() -> ModuleType:
    """ONNX Runtime, silenced: its official builds report to their maker unless told otherwise before they start."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _session(path: Path, data: bytes, providers: Sequence[str]) -> Any:
    runtime = _runtime()
    missing = set(providers) - set(runtime.get_available_providers())
    if missing:
        known = ", ".join(runtime.get_available_providers())
        raise InputError(f"ONNX Runtime has no provider {', '.join(sorted(missing))!r} here; choose among {known}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = min(THREADS, os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised
    # weights outside the file were not hashed: point to where no file can be
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path / "nowhere"))
    try:
        return runtime.InferenceSession(data, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise InputError(
            f"{str(path)!r} is no sound ONNX file ({_first_line(error)}); delete it and pull its part again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _may_be(shape: Sequence[int | str | None], wanted: Sequence[int]) -> bool:
    """Whether a declared shape, in which names and None stand for any length, allows another."""
    return len(shape) == len(wanted) and all(
        not isinstance(found, int) or found == want for found, want in zip(shape, wanted, strict=True)
    )


def _check_picture(picture: np.ndarray) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"picture is {picture.dtype} {picture.shape}; expected uint8 (height, width, 3)")


def _planes(picture: np.ndarray) -> np.ndarray:
    """Float (H, W, 3) → float32 (1, 3, H, W)."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32)


def _letterbox(picture: np.ndarray, size: tuple[int, int], zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture in the upper left of a black canvas, as large as fits times `zoom`, and its scale (x, y)."""
    height, width = picture.shape[:2]
    scale = zoom * min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[: inner[1], : inner[0]] = np.asarray(Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR))
    return canvas, np.array([inner[0] / width, inner[1] / height])


def _cells(size: tuple[int, int], stride: int, anchors: int) -> np.ndarray:
    """Cells (N, 2) of a map as x, y, row by row, each as often as it has anchors."""
    x, y = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
    return np.stack([x, y], -1).reshape(-1, 2).repeat(anchors, axis=0)


def _suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[int]:
    """Greedy non-maximum suppression: the best of boxes whose intersection over union exceeds `overlap`."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        corners = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (corners[1] - corners[0]).clip(0).prod(1)
        order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
    return kept


@dataclass(frozen=True)
class _Head:
    """How a detector sees a canvas, and what its maps mean.

    Attributes:
        widths: values per anchor in its maps, which come in the order kind by kind, stride by stride.
        anchors: per cell.
        threshold: usual least score.
        overlap: of boxes of one face, intersection over union.
        blob: uint8 (H, W, 3) RGB → float32 (1, 3, H, W).
        decode: cells and maps → scores, boxes and landmarks in units of the stride.
    """

    widths: tuple[int, ...]
    anchors: int
    threshold: float
    overlap: float
    blob: Callable[[np.ndarray], np.ndarray]
    decode: Callable[..., Candidates]


def _decode_scrfd(cells: np.ndarray, scores: np.ndarray, boxes: np.ndarray, points: np.ndarray) -> Candidates:
    """SCRFD: distances from the cell's corner to the box's sides, and offsets of the landmarks."""
    corners = np.concatenate([cells - boxes[:, :2], cells + boxes[:, 2:]], 1)
    return scores[:, 0], corners, cells[:, None] + points.reshape(-1, 5, 2)


def _decode_yunet(
    cells: np.ndarray, kinds: np.ndarray, objects: np.ndarray, boxes: np.ndarray, points: np.ndarray
) -> Candidates:
    """YuNet: offset of the box's middle and logarithm of its sides, and offsets of the landmarks."""
    scores = np.sqrt(kinds.clip(0, 1) * objects.clip(0, 1))[:, 0]
    middle, half = cells + boxes[:, :2], np.exp(boxes[:, 2:].clip(-10, 10)) / 2  # e^10 cells exceed any canvas
    return scores, np.concatenate([middle - half, middle + half], 1), cells[:, None] + points.reshape(-1, 5, 2)


#: SCRFD as InsightFace exports it; RGB in (−1, 1).
SCRFD = _Head((1, 4, 10), 2, 0.5, 0.4, lambda canvas: _planes((canvas - 127.5) / 128), _decode_scrfd)
#: YuNet as OpenCV publishes it (`FaceDetectorYN`); BGR from 0 to 255.
YUNET = _Head((1, 1, 4, 10), 1, 0.9, 0.3, lambda canvas: _planes(canvas[..., ::-1]), _decode_yunet)

"""Faces on photographs, for the full-size families: public ONNX graphs that find, measure and recognise them.

Recognisers are of ArcFace's kind (Deng et al., CVPR 2019). Detectors are SCRFD (Guo et al., ICLR 2022; buffalo_l,
antelopev2), YuNet (Wu et al., Machine Intelligence Research 2023; OpenCV's, free for commercial use), RetinaFace
(Deng et al., CVPR 2020) and YOLO-Face. They are run by ONNX Runtime and decoded in `detector_outputs`: InsightFace's
package would bring OpenCV, and reads the file again after its hash; `insightface_package` uses it where it is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from twinset.errors import InputError
from twinset.models.face_finder import CROP, TEMPLATE, Face, face_centre, face_size, similarity_transform, warp
from twinset.perception.faces.detector_outputs import MapsError, layout_of, planes, suppress
from twinset.perception.onnx_graph import CPU, OnnxGraph, check_picture, may_be

EMBEDDING = 512


class Recogniser:
    """A face recogniser of ArcFace's kind: an aligned crop → an embedding.

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
        self._graph = OnnxGraph(Path(path), providers or CPU, sha256, "recogniser of ArcFace's kind, 112×112 px → 512")
        self.name, self.sha256 = name or Path(path).stem, self._graph.sha256
        shapes = [output.shape for output in self._graph.outputs]
        if not self._graph.takes((CROP, CROP)) or len(shapes) != 1 or not may_be(shapes[0], (1, EMBEDDING)):
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
        (embedding,) = self._graph.run(planes((crop.astype(np.float32) - 127.5) / 127.5))
        if embedding.size != EMBEDDING:
            raise self._graph.wrong(f"it gave shape {embedding.shape}")
        return embedding.reshape(EMBEDDING).astype(np.float32)


class Detector:
    """Finds faces: SCRFD with landmarks, YuNet, RetinaFace or YOLO-Face, told apart by the graph's outputs.

    Attributes:
        kind: which of them.
        size: (width, height) px of the canvas.
        sha256: of the bytes that were loaded.
    """

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
            size: (width, height) px of the canvas in which a picture is looked at, multiples of 32; of 128 for a
                RetinaFace of five strides.
            providers: ONNX Runtime's execution providers; the CPU when None.
            sha256: what the file must be.

        Raises:
            ValueError: the size is no such multiple.
            InputError: no such file, another one, no such graph, or it takes another size; or a provider is missing.
        """
        expected = (
            f"detector of {size[0]}×{size[1]} px with 1 (YOLO-Face), 3 (RetinaFace of biubug6), 9 (SCRFD or RetinaFace "
            "with landmarks), 12 (YuNet) or 15 (RetinaFace) outputs"
        )
        self._graph = OnnxGraph(Path(path), providers or CPU, sha256, expected)
        self.size, self.sha256 = size, self._graph.sha256
        layout = layout_of([len(output.shape) for output in self._graph.outputs])
        multiple = 32 if layout is None else layout.multiple
        if min(size) <= 0 or size[0] % multiple or size[1] % multiple:
            raise ValueError(f"detector size {size} has a side that is no positive multiple of {multiple}")
        if not self._graph.takes((size[1], size[0])) or layout is None:
            raise self._graph.wrong()
        self._layout, self.kind = layout, layout.name

    def find(self, picture: np.ndarray, threshold: float | None = None) -> list[Face]:
        """Finds the faces of a picture, the largest first.

        Where there seems to be none, the picture is looked at again from twice as far: a face that fills it is larger
        than those the detectors learnt.

        Args:
            picture: uint8 (H, W, 3) RGB, any size.
            threshold: score above which something is a face; when None, what the detector's own project uses: 0.5 for
                SCRFD, 0.9 for YuNet.

        Returns:
            Faces, landmarks in the order of `face_finder.TEMPLATE`; an empty list where there is none.

        Raises:
            ValueError: the picture is not uint8 (H, W, 3).
            InputError: the graph fails or gives something else.
        """
        check_picture(picture)
        least = self._layout.threshold if threshold is None else threshold
        faces = self._look(picture, 1.0, least) or self._look(picture, 0.5, least)
        return sorted(faces, key=lambda face: -face_size(face.landmarks))

    def _look(self, picture: np.ndarray, zoom: float, threshold: float) -> list[Face]:
        canvas, scale = _letterbox(picture, self.size, zoom)
        outputs = self._graph.run(self._layout.blob(canvas))
        try:
            candidates = self._layout.decode(outputs, self.size)
        except MapsError as error:
            raise self._graph.wrong(str(error)) from None
        likely = candidates[0] >= threshold
        scores, boxes, landmarks = (part[likely] for part in candidates)
        # the graphs count pixel centres from 0, Face counts pixel edges
        places, frames = (landmarks + 0.5) / scale, (boxes + 0.5) / np.tile(scale, 2)
        kept = suppress(boxes, scores, self._layout.overlap)
        return [Face(places[k].astype(np.float32), float(scores[k]), frames[k].astype(np.float32)) for k in kept]


def choose_face(faces: Sequence[Face], choice: str | int, size: tuple[int, int]) -> Face:
    """One of several faces.

    Args:
        faces: one or more.
        choice: "largest"; "centre", the one nearest to the picture's middle; or a number, counted from the left from 1.
        size: (width, height) px of the picture.

    Returns:
        The face.

    Raises:
        InputError: there is no such choice.
    """
    if choice == "largest":
        return max(faces, key=lambda face: face_size(face.landmarks))
    if choice == "centre":
        return min(faces, key=lambda face: float(np.linalg.norm(face_centre(face.landmarks) - np.array(size) / 2)))
    if str(choice).isdecimal() and 1 <= int(choice) <= len(faces):
        return sorted(faces, key=lambda face: float(face_centre(face.landmarks)[0]))[int(choice) - 1]
    raise InputError(
        f"face {choice!r} is not among the {len(faces)} found; say largest, centre, or a number from 1 to {len(faces)} "
        "counted from the left"
    )


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
    check_picture(picture)
    if size <= 0 or size % CROP:
        raise ValueError(f"crop size {size} is no positive multiple of {CROP}")
    return warp(picture, similarity_transform(landmarks, TEMPLATE * (size / CROP) + 0.5), (size, size))


def normed(embedding: np.ndarray) -> np.ndarray:
    """An embedding (512,) at length 1: FaceID takes it so, InstantID takes it as it is.

    Raises:
        ValueError: its length is 0.
    """
    length = np.linalg.norm(embedding)
    if length == 0:
        raise ValueError("face embedding is all zeros; check the crop and the recogniser")
    return embedding / length


def _letterbox(picture: np.ndarray, size: tuple[int, int], zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture in the upper left of a black canvas, as large as fits times `zoom`, and its scale (x, y)."""
    height, width = picture.shape[:2]
    scale = zoom * min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[: inner[1], : inner[0]] = np.asarray(Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR))
    return canvas, np.array([inner[0] / width, inner[1] / height])

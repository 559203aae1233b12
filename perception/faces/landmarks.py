"""68 landmarks of a face (300-W's order) by public ONNX graphs, for finer places than a detector's five.

Two layouts, told apart by the graph's input. Sources, read for their facts: FAN (Bulat and Tzimiropoulos, ICCV 2017;
1adrianb/face-alignment, and facefusion's 2dfan4.onnx): crop of 256 px, heat maps of 64 cells. 1k3d68 of InsightFace
(`model_zoo/landmark.py`): crop of 192 px, 1103 points of which the last 68 are the landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twinset.models.face_finder import TEMPLATE, Face, similarity, warp
from twinset.perception.faces.detector_outputs import planes
from twinset.perception.onnx_graph import CPU, OnnxGraph, check_picture

#: Crop's side → longest side of the face's box in the crop, px.
_BOX = {256: 195.0, 192: 192 / 1.5}
_CELLS = 64
#: ArcFace's crop holds about the box that detectors draw around an upright face, px of the 112.
_TEMPLATE_BOX = np.array([(15.0, 8.0), (97.0, 8.0), (15.0, 116.0), (97.0, 116.0)])


class Landmarker:
    """Finds 68 landmarks of a face that was found.

    Attributes:
        side: of the crop that the graph looks at, px.
        sha256: of the bytes that were loaded.
    """

    def __init__(self, path: str | Path, providers: Sequence[str] | None = None, *, sha256: str | None = None):
        """Loads a graph.

        Args:
            path: ONNX file.
            providers: ONNX Runtime's execution providers; the CPU when None.
            sha256: what the file must be.

        Raises:
            InputError: no such file, another one, or no such graph; or a provider is missing.
        """
        expected = "landmarker of 68 points: FAN of 256×256 px, or 1k3d68 of 192×192 px with 3309 values"
        self._graph = OnnxGraph(Path(path), providers or CPU, sha256, expected)
        self.sha256 = self._graph.sha256
        side = next((side for side in _BOX if self._graph.takes((side, side))), None)
        if side is None or not self._graph.outputs:
            raise self._graph.wrong()
        self.side = side

    def find(self, picture: np.ndarray, face: Face) -> np.ndarray:
        """Finds the landmarks.

        Args:
            picture: uint8 (H, W, 3) RGB.
            face: its box is used; where it has none, one as large as its five landmarks suggest.

        Returns:
            float32 (68, 2), px of the picture.

        Raises:
            ValueError: the picture is not uint8 (H, W, 3).
            InputError: the graph fails or gives something else.
        """
        check_picture(picture)
        box = face_box(face)
        scale = _BOX[self.side] / max(float((box[2:] - box[:2]).max()), 1.0)
        offset = self.side / 2 - scale * (box[:2] + box[2:]) / 2
        crop = warp(picture, np.array([[scale, 0, offset[0]], [0, scale, offset[1]]]), (self.side, self.side))
        points = self._fan(crop) if self.side == 256 else self._dense(crop)
        return ((points - offset) / scale).astype(np.float32)

    def _fan(self, crop: np.ndarray) -> np.ndarray:
        """Coordinates (1, 68, 3) in cells where the graph gives them, else the peaks of its heat maps."""
        outputs = self._graph.run(planes(crop / 255))
        by_shape = {values.shape: values[0] for values in outputs}
        if (1, 68, 3) in by_shape:
            return by_shape[1, 68, 3][:, :2] * (256 / _CELLS)
        if (1, 68, _CELLS, _CELLS) in by_shape:
            return (peaks(by_shape[1, 68, _CELLS, _CELLS]) + 0.5) * (256 / _CELLS)
        raise self._graph.wrong(f"it gave shapes {[values.shape for values in outputs]}")

    def _dense(self, crop: np.ndarray) -> np.ndarray:
        """Three coordinates per point, across and down from −1 to 1."""
        values = self._graph.run(planes(crop))[0]
        if values.size != 3309:
            raise self._graph.wrong(f"it gave shape {values.shape}")
        return (values.reshape(-1, 3)[-68:, :2] + 1) * (192 / 2)


def peaks(heat: np.ndarray) -> np.ndarray:
    """The highest cell of each map, moved a quarter cell towards its higher neighbours, as face-alignment does.

    Args:
        heat: (N, H, W).

    Returns:
        float64 (N, 2) as x, y; cell centres count from 0.
    """
    count, height, width = heat.shape
    rows, columns = np.divmod(heat.reshape(count, -1).argmax(1), width)
    padded, every = np.pad(heat, ((0, 0), (1, 1), (1, 1)), mode="edge"), np.arange(count)
    across = padded[every, rows + 1, columns + 2] - padded[every, rows + 1, columns]
    down = padded[every, rows + 2, columns + 1] - padded[every, rows, columns + 1]
    inner = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    shift = np.sign(np.stack([across, down], 1)) * 0.25 * inner[:, None]
    return np.stack([columns, rows], 1) + shift


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """ArcFace's five of 300-W's 68: middles of the eyes, tip of the nose, corners of the mouth.

    Args:
        landmarks: (68, 2).

    Returns:
        (5, 2) in the order of `face_finder.TEMPLATE`.

    Raises:
        ValueError: there are not 68.
    """
    if landmarks.shape != (68, 2):
        raise ValueError(f"landmarks have shape {landmarks.shape}; expected (68, 2)")
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def face_box(face: Face) -> np.ndarray:
    """Box (4,) of a face: its own, else upright around where ArcFace's template lies; px."""
    if face.box is not None:
        return np.asarray(face.box, float)
    matrix = similarity(TEMPLATE, face.landmarks)
    corners = _TEMPLATE_BOX @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(0), corners.max(0)])

"""Faces by InsightFace's own package (`insightface.app.FaceAnalysis`), where it is installed and wanted.

It stands in for `onnx_faces.Detector` and `onnx_faces.Recogniser`. Its model packs may be used for research only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twinset.errors import InputError
from twinset.models.face_finder import CROP, Face, face_size
from twinset.perception.onnx_graph import CPU, check_picture


class InsightFace:
    """Detector and recogniser of one model pack.

    Attributes:
        name: of the pack, as adapters are bound to it.
        size: (width, height) px of the canvas.
        sha256: empty; the package reads its files itself.
    """

    sha256 = ""

    def __init__(
        self,
        name: str = "buffalo_l",
        size: tuple[int, int] = (640, 640),
        providers: Sequence[str] | None = None,
        root: str = "~/.insightface",
    ):
        """Loads a pack; the package downloads it into `root` when it is not there.

        Args:
            name: of the pack, for instance "buffalo_l" or "antelopev2".
            size: (width, height) px of the canvas in which a picture is looked at.
            providers: ONNX Runtime's execution providers; the CPU when None.
            root: the package's folder.

        Raises:
            InputError: the package is not installed, or the pack does not load.
        """
        try:
            from insightface.app import FaceAnalysis  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise InputError(
                "the package insightface is not installed; pip install insightface, or leave the choice of detector out"
            ) from None
        self.name, self.size = name, size
        try:
            self._app: Any = FaceAnalysis(
                name=name, root=root, allowed_modules=["detection", "recognition"], providers=list(providers or CPU)
            )
            self._app.prepare(ctx_id=-1 if providers is None else 0, det_size=size)
        except Exception as error:  # the package raises AssertionError, RuntimeError, OSError and others
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(f"insightface's pack {name!r} does not load ({reason}); check {root}/models") from error

    def find(self, picture: np.ndarray, threshold: float | None = None) -> list[Face]:
        """Finds the faces of a picture, the largest first.

        Args:
            picture: uint8 (H, W, 3) RGB, any size.
            threshold: score above which something is a face; the package's own when None.

        Returns:
            Faces; an empty list where there is none.

        Raises:
            ValueError: the picture is not uint8 (H, W, 3).
        """
        check_picture(picture)
        found = [_face(one) for one in self._app.get(np.ascontiguousarray(picture[..., ::-1]))]
        likely = [face for face in found if face.score >= (threshold or 0)]
        return sorted(likely, key=lambda face: -face_size(face.landmarks))

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Embeds one face.

        Args:
            crop: uint8 (112, 112, 3) RGB, of `onnx_faces.aligned`.

        Returns:
            float32 (512,), not normalised.

        Raises:
            ValueError: the crop has another size or type.
            InputError: the pack has no recogniser.
        """
        if crop.shape != (CROP, CROP, 3) or crop.dtype != np.uint8:
            raise ValueError(f"face crop is {crop.dtype} {crop.shape}; expected uint8 (112, 112, 3): use aligned()")
        if "recognition" not in self._app.models:
            raise InputError(f"insightface's pack {self.name!r} has no recogniser; take buffalo_l or antelopev2")
        features = self._app.models["recognition"].get_feat(np.ascontiguousarray(crop[..., ::-1]))
        return np.asarray(features, np.float32).reshape(-1)


def _face(one: Any) -> Face:
    """The package counts pixel centres from 0, Face counts pixel edges."""
    landmarks, box = (np.asarray(values, np.float32) + 0.5 for values in (one.kps, one.bbox))
    return Face(landmarks, float(one.det_score), box)

"""Faces by InsightFace's own package (`insightface.app.FaceAnalysis`), where it is installed and wanted.

It stands in for `onnx.Detector` and `onnx.Recogniser`, and runs the profile's own files, pulled and hashed before: it
would download others, unhashed. Its models may be used for research only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from twinset.errors import InputError
from twinset.models.face_finder import CROP, Face, face_size
from twinset.models.hub.download import pull_parts
from twinset.models.hub.parts import Profile
from twinset.perception.onnx_graph import CPU, check_picture
from twinset.perception.optional_package import import_package

PARTS = ("buffalo_l", "buffalo_l_detector")
"""The profile's parts that it runs: the recogniser, by whose name adapters are bound to it, and the detector."""
REMEDY = "pip install 'twinset[faces]', or leave --faces out"


class InsightFace:
    """Detector and recogniser of one folder of models.

    Attributes:
        name: of the pack, as adapters are bound to it.
        size: (width, height) px of the canvas.
        sha256: of the files, the package's version and the canvas: what it finds depends on all of them.
    """

    def __init__(
        self,
        folder: Path,
        name: str = PARTS[0],
        size: tuple[int, int] = (640, 640),
        providers: Sequence[str] = CPU,
    ):
        """Loads the models of a folder.

        Args:
            folder: with the pack's ONNX files; those for other tasks are passed over.
            name: of the pack.
            size: (width, height) px of the canvas in which a picture is looked at.
            providers: ONNX Runtime's execution providers.

        Raises:
            InputError: the package does not load, or there is no detector and no recogniser in the folder.
        """
        analysis = import_analysis()
        self.name, self.size, files = name, size, sorted(Path(folder).glob("*.onnx"))
        if not files:  # the package would download some
            raise InputError(f"there are no models of insightface in {str(folder)!r}; give the folder of {name}")
        try:
            self._app: Any = analysis(
                name=str(folder), allowed_modules=["detection", "recognition"], providers=list(providers)
            )
            self._app.prepare(ctx_id=-1 if tuple(providers) == CPU else 0, det_size=size)
            self._recogniser: Any = self._app.models["recognition"]
        except Exception as error:  # the package raises AssertionError, RuntimeError, OSError and others
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise InputError(
                f"insightface does not load {str(folder)!r} ({reason}); pull its files again: "
                f"twinset models pull sd15 --part {' --part '.join(PARTS)}"
            ) from error
        own = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        self.sha256 = hashlib.sha256(" ".join([_version(), str(size), *own]).encode()).hexdigest()

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
        rows = zip(*self._app.det_model.detect(np.ascontiguousarray(picture[..., ::-1])), strict=True)
        found = [_face(np.asarray(box, np.float32), np.asarray(points, np.float32)) for box, points in rows]
        likely = [face for face in found if face.score >= (threshold or 0)]
        return sorted(likely, key=lambda face: -face_size(face.landmarks))

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Embeds one face.

        Args:
            crop: uint8 (112, 112, 3) RGB, of `onnx.aligned`.

        Returns:
            float32 (512,), not normalised.

        Raises:
            ValueError: the crop has another size or type.
        """
        if crop.shape != (CROP, CROP, 3) or crop.dtype != np.uint8:
            raise ValueError(f"face crop is {crop.dtype} {crop.shape}; expected uint8 (112, 112, 3): use aligned()")
        features = self._recogniser.get_feat(np.ascontiguousarray(crop[..., ::-1]))
        return np.asarray(features, np.float32).reshape(-1)


def import_analysis() -> Any:
    """The package's class `FaceAnalysis`.

    Raises:
        InputError: the package does not load.
    """
    return import_package("insightface.app", REMEDY).FaceAnalysis


def profile_faces(profile: Profile) -> InsightFace:
    """The package, running the files of a profile's parts `PARTS`.

    Raises:
        InputError: the package does not load, or a part is not here; the line names the remedy.
    """
    import_analysis()  # said before any file is looked for
    recogniser, _ = pull_parts(profile, profile.chosen(PARTS), offline=True)  # one commit of one repository: one folder
    return _loaded(Path(str(recogniser.files[0].local)).parent)


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> InsightFace:
    return InsightFace(folder)


def _version() -> str:
    return str(import_package("insightface", REMEDY).__version__)


def _face(box: np.ndarray, points: np.ndarray) -> Face:
    """Of a box and its score (5,), and landmarks (5, 2); the package counts pixel centres from 0, Face pixel edges."""
    return Face(points + 0.5, float(box[4]), box[:4] + 0.5)

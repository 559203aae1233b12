"""How a family of models sees people: what it takes of a selfie, a garment and a pose, and what it makes of them.

`compose` asks the `FamilyBackend` of its pipeline: `twinset.pipelines.families.drawn.StudioBackend` for the bundled
model, those of `twinset.pipelines.families.photo` for the full-size families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from twinset.adapters.condition import Condition, Layout
from twinset.figure.keypoints import Keypoints
from twinset.models.face_finder import Face
from twinset.models.figure_reader import Figure
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.families.looks import Looks, SelfieHair
from twinset.pipelines.families.photo_adapters import AuthorSettings
from twinset.pipelines.request import Request


@dataclass(frozen=True)
class Selfie:
    """A face found in a selfie and aligned.

    Attributes:
        crop: uint8, square: what is shown, and what CLIP reads.
        face: uint8 (112, 112, 3) in ArcFace's template: what the recogniser reads.
        quality: 0 to 1, of `twinset.perception.faces.quality.judge_face`.
        embedding: (512,) of length 1, of several selfies together; None for that of this one.
        hair: what it shows of the hair; None where the family does not read that.
    """

    crop: np.ndarray
    face: np.ndarray
    quality: float = 1.0
    embedding: np.ndarray | None = None
    hair: SelfieHair | None = None


class FamilyBackend(Protocol):
    """What `compose` asks of a family.

    Attributes:
        frame: (width, height) in pixels that its model knows.
        usual_size: (width, height) in pixels of its pictures by default.
        usual_scheduler: name of its scheduler by default; None for the pipeline's own.
        size: (width, height) in pixels of the pictures to draw; `frame` unless `at` was called.
        kinds: of garments that it can be given.
        family: "studio", "sd15" or "sdxl", whose words it reads.
        draws_clothes: whether a garment that only words name is better drawn flat, and given as if it were a picture.
    """

    frame: tuple[int, int]
    usual_size: tuple[int, int]
    size: tuple[int, int]
    kinds: tuple[str, ...]
    family: str
    usual_scheduler: SchedulerName | None

    def at(self, size: tuple[int, int]) -> Self:
        """The same for pictures of another size."""
        ...

    def stage_sizes(self) -> list[tuple[int, int]]:
        """Sizes that a picture of `size` goes through; the last is drawn, and then brought to `size`."""
        ...

    def hires_strength(self, layout: Layout) -> float:
        """Share of the steps that a stage after the first runs where nobody says otherwise."""
        ...

    @property
    def draws_clothes(self) -> bool:
        """Whether clothes that only words name are drawn as pictures for it."""
        ...

    @property
    def scored_by(self) -> str:
        """Which CLIP gives the CLIP-IQA scores; "" for none."""
        ...

    def preset(self, name: str, framing: str) -> Keypoints:
        """A named pose in the frame."""
        ...

    def adopt(self, keypoints: Keypoints, name: str, notes: list[str]) -> Keypoints:
        """A pose from a file, in proportions that the family draws."""
        ...

    def labels(self, keypoints: Keypoints, kinds: Sequence[str], hair: str) -> np.ndarray:
        """Parsing map (H, W) of a person in a pose, wearing `kinds`, with hair style `hair`."""
        ...

    def selfie(self, picture: np.ndarray, path: Path, notes: list[str], choice: str = "largest") -> Selfie:
        """The face of a picture uint8 (H, W, 3); which one, as `twinset.perception.faces.onnx.choose_face` has it.

        Raises:
            InputError: No face is found.
        """
        ...

    def embedding(self, selfie: Selfie) -> np.ndarray:
        """The family recogniser's embedding of a selfie, (512,)."""
        ...

    def faces(self, picture: np.ndarray) -> list[Face]:
        """The faces of a picture uint8 (H, W, 3), the largest first."""
        ...

    def figure(self, picture: np.ndarray) -> Figure:
        """Keypoints and parsing map of a picture.

        Raises:
            InputError: The family has no network that reads them.
        """
        ...

    def worn(self, picture: np.ndarray) -> np.ndarray | None:
        """Parsing map (H, W) of a garment's picture in which somebody wears it; None for one laid flat.

        Raises:
            InputError: The family has no network that could tell.
        """
        ...

    def guess_kind(self, picture: np.ndarray, path: Path) -> str:
        """Garment kind of a picture on a plain background.

        Raises:
            InputError: The family cannot tell.
        """
        ...

    def fit(self, picture: np.ndarray, kind: str) -> np.ndarray:
        """A garment's picture as the family takes it."""
        ...

    def settings(self, request: Request) -> AuthorSettings:
        """Scheduler, steps and guidance of a request that does not say them, as far as its adapters decide."""
        ...

    def identity(self, selfie: Selfie, layout: Layout, weight: float, looks: Looks | None = None) -> Condition | None:
        """The condition "this person"; `looks` are used where the family draws faces beforehand.

        None where no adapter is to bring the face.
        """
        ...

    def person(
        self, selfie: Selfie | None, flats: Mapping[str, np.ndarray], layout: Layout, weight: float
    ) -> Condition | None:
        """Face and outfit as one condition, where an adapter takes them together; None elsewhere."""
        ...

    def figure_condition(self, layout: Layout, looks: Looks, selfie: Selfie | None, hat: bool) -> Condition | None:
        """The condition "hair and skin of these colours"; None where the family has none."""
        ...

    def garment(self, flat: np.ndarray, kind: str, layout: Layout, weight: float) -> Condition | None:
        """The condition "this garment"; None where no adapter is to bring it."""
        ...

    def scores(self, picture: np.ndarray) -> dict[str, float]:
        """Measures of how a picture looks by name, as far as the family has judges."""
        ...

    def embedded(self, picture: np.ndarray) -> np.ndarray | None:
        """The recogniser's embedding (512,) of the largest face in a picture; None without a face or a recogniser."""
        ...

    def skin(self, selfie: Selfie) -> np.ndarray | None:
        """Colour (3,) of somebody's skin in white light, 0 to 255; None where that cannot be told."""
        ...

    def similarities(
        self, picture: np.ndarray, labels: np.ndarray, flats: Mapping[str, np.ndarray], prompt: str | None
    ) -> dict[str, float]:
        """`garment_similarity` and `prompt`, as far as the family has a CLIP that knows such pictures.

        Args:
            picture: uint8 (H, W, 3).
            labels: uint8 (H, W) its parsing map.
            flats: garment kind to picture.
            prompt: the words.
        """
        ...

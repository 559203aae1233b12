"""A picture given as the pose: its keypoints and parsing map, fitted into the frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.figure.keypoints import L_HIP, R_HIP, Keypoints, with_visibility
from twinset.figure.labels import BACKGROUND, DRESS, PANTS, SKIRT, UPPER, garment_labels
from twinset.models.figure_reader import Figure
from twinset.models.hub.parts import Profile
from twinset.perception.people.parsing import Parser
from twinset.perception.people.pose import keypoints_of
from twinset.pipelines.families.backend import FamilyBackend
from twinset.pipelines.loading.assembly import load_parser


class PhotoReader:
    """Reads people off photographs by the networks of a profile, loaded when first asked for.

    Args:
        profile: with the parts `person_detector`, `pose_estimator` and `parser`.
        commercial: take no part that may not be used commercially; without a parser maps are background only.

    Attributes:
        pose_estimator: "rtmlib" or "openpose", as of `keypoints_of`.
        parser: in place of the profile's own, or that one, once it is loaded.
    """

    def __init__(self, profile: Profile, commercial: bool = False):
        self.profile, self.commercial = profile, commercial
        self.pose_estimator = "rtmlib"
        self.parser: Parser | None = None

    def read(self, picture: np.ndarray) -> Figure:
        """The largest person of a picture uint8 (H, W, 3), and the parsing map of all of it.

        Raises:
            InputError: a package or a network is not here; the line names the remedy.
        """
        people = keypoints_of(picture, self.pose_estimator, self.profile)
        keypoints = people[0] if people else np.zeros((18, 3), np.float32)
        return Figure(keypoints, self._labels(picture))

    def _labels(self, picture: np.ndarray) -> np.ndarray:
        if self.commercial and not self.profile.part("parser").commercial:
            return np.full(picture.shape[:2], BACKGROUND, np.uint8)
        self.parser = self.parser or load_parser(self.profile, offline=True)
        return self.parser.labels(picture)


def photo_pose(people: FamilyBackend, path: Path, notes: list[str]) -> tuple[Keypoints, np.ndarray | None]:
    """The pose of a picture as a family takes it.

    Returns:
        Keypoints (18, 3) in the frame, and the picture's own parsing map (H, W) there; None where it names nothing, or
        where the family changed the pose, which the map then no longer fits.

    Raises:
        InputError: the picture cannot be read, shows nobody, or there are no networks to read it with.
    """
    figure = people.figure(read_picture(path, "pose"))
    if not figure.found:
        raise InputError(f"pose {str(path)!r} shows nobody; give a picture of one person, or a keypoint file")
    keypoints, labels = letterboxed(figure, people.size)
    adopted = people.adopt(keypoints, str(path), notes)
    return adopted, labels if adopted is keypoints and labels.any() else None


def letterboxed(figure: Figure, size: tuple[int, int]) -> tuple[Keypoints, np.ndarray]:
    """A figure in the middle of a frame, as large as its whole picture fits; around it is background.

    Args:
        figure: keypoints and labels (h, w) of a picture.
        size: (width, height) of the frame in pixels.

    Returns:
        Keypoints (18, 3) and labels (H, W) of the frame.
    """
    height, width = figure.labels.shape
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    labels = np.full((size[1], size[0]), BACKGROUND, np.uint8)
    fitted = Image.fromarray(figure.labels).resize(inner, Image.Resampling.NEAREST)
    labels[top : top + inner[1], left : left + inner[0]] = np.asarray(fitted)
    stretched = figure.keypoints[:, :2] * (inner[0] / width, inner[1] / height) + (left, top)
    seen = figure.keypoints[:, 2:] > 0
    return np.where(seen, with_visibility(stretched, size), 0).astype(np.float32), labels


def redressed(labels: np.ndarray, keypoints: Keypoints, kinds: Sequence[str]) -> np.ndarray:
    """A photograph's map in which the garments to be drawn own the places of those that the person wore.

    Args:
        labels: uint8 (H, W) ATR.
        keypoints: (18, 3) in the same frame: a dress is divided at the hips.
        kinds: garment kinds to draw.

    Returns:
        uint8 (H, W).
    """
    hips = keypoints[[R_HIP, L_HIP]]
    rows = np.flatnonzero((labels == DRESS).any(1))
    middle = hips[hips[:, 2] > 0, 1].mean() if (hips[:, 2] > 0).any() else (rows.mean() if len(rows) else 0)
    above = np.arange(len(labels))[:, None] < middle
    made = labels.copy()
    if any(own in (SKIRT, PANTS, UPPER) for kind in kinds for own in garment_labels(kind)):
        made[labels == DRESS] = SKIRT  # a dress gives way to two pieces
        made[(labels == DRESS) & above] = UPPER
    for kind in kinds:
        (own, *_) = garment_labels(kind)
        worn = {UPPER: (UPPER,), DRESS: (UPPER, SKIRT, PANTS, DRESS), SKIRT: (SKIRT, PANTS), PANTS: (SKIRT, PANTS)}
        made[np.isin(made, worn.get(own, ()))] = own
    return made

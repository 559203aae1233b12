"""The benchmark's judges, ready to measure: faces, pictures and garments, independent of what conditions the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinset.training.studio.judge_networks import (
    FaceJudge,
    GarmentJudge,
    PictureJudge,
    flat_mask,
    garment_crop,
    heatmap_peaks,
)

FOLDER = Path(__file__).with_name("judges")


@dataclass(frozen=True)
class Reading:
    """What the picture judge reads off B pictures.

    Attributes:
        keypoints: float32 (B, 18, 3): x, y in px, visible 0/1.
        parsing: uint8 (B, H, W) labels, at the pictures' size.
        attributes: Name → class indexes int64 (B,), in the order of Mannequin's ATTRIBUTES.
    """

    keypoints: np.ndarray
    parsing: np.ndarray
    attributes: dict[str, np.ndarray]


class Judges:
    """The three judges. All take uint8 pictures and give numpy arrays; call them with any number of rows."""

    def __init__(self, face: FaceJudge, picture: PictureJudge, garment: GarmentJudge):
        self._face, self._picture, self._garment = face.eval(), picture.eval(), garment.eval()

    @classmethod
    def load(cls, folder: Path = FOLDER, device: str = "cpu") -> Judges:
        """Reads the judges that `twinset.training.studio.judges` wrote, computing in single precision.

        Raises:
            ValueError: One of them is missing.
        """
        for name in ("face", "picture", "garment"):
            if not (folder / name / "config.json").is_file():
                raise ValueError(f"no {name} judge in {folder}: train it with python -m twinset.training.studio.judges")
        judges = cls(
            FaceJudge.from_pretrained(folder / "face"),
            PictureJudge.from_pretrained(folder / "picture"),
            GarmentJudge.from_pretrained(folder / "garment"),
        )
        for network in (judges._face, judges._picture, judges._garment):
            nn.Module.to(network.float(), device)
        return judges

    @torch.no_grad()
    def faces(self, crops: np.ndarray) -> np.ndarray:
        """Aligned crops uint8 (B, 112, 112, 3) → unit embeddings float32 (B, 128)."""
        return _by_parts(lambda part: F.normalize(self._face(self._pixels(part)), dim=1), crops)

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> Reading:
        """Pictures uint8 (B, 256, 192, 3) → keypoints, parsing maps and attributes."""
        keypoints, parsing, attributes = [], [], []
        for part in _parts(pictures):
            heat, labels, named = self._picture(self._pixels(part))
            keypoints.append(heatmap_peaks(heat).cpu().numpy())
            fine = F.interpolate(labels, pictures.shape[1:3], mode="bilinear")
            parsing.append(fine.argmax(1).to(torch.uint8).cpu().numpy())
            attributes.append({name: logits.argmax(1).cpu().numpy() for name, logits in named.items()})
        joined = {name: np.concatenate([part[name] for part in attributes]) for name in attributes[0]}
        return Reading(np.concatenate(keypoints), np.concatenate(parsing), joined)

    @torch.no_grad()
    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures uint8 (B, 256, 192, 3) → what the picture judge reads attributes from, float32 (B, 256)."""
        return _by_parts(lambda part: self._picture.read(self._pixels(part))[2], pictures)

    @torch.no_grad()
    def worn(self, pictures: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures (H, W, 3) and where the garment is, bool (H, W) → unit embeddings float32 (B, 128)."""
        crops = np.stack([garment_crop(picture, mask) for picture, mask in zip(pictures, masks, strict=True)])
        return _by_parts(lambda part: self._garment(self._pixels(part))[0], crops)

    def flat(self, flats: Sequence[np.ndarray]) -> np.ndarray:
        """Flat pictures on white (H, W, 3) → unit embeddings float32 (B, 128)."""
        return self.worn(flats, [flat_mask(flat) for flat in flats])

    @torch.no_grad()
    def garment_classes(self, pictures: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Class indexes (B,) of kind, colour, pattern and logo of worn garments (training.judges.GARMENT_CLASSES)."""
        crops = np.stack([garment_crop(picture, mask) for picture, mask in zip(pictures, masks, strict=True)])
        read = [self._garment(self._pixels(part))[1] for part in _parts(crops)]
        return {name: np.concatenate([part[name].argmax(1).cpu().numpy() for part in read]) for name in read[0]}

    def _pixels(self, pictures: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._face.device)
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def _parts(rows: np.ndarray, size: int = 64) -> list[np.ndarray]:
    return [rows[k : k + size] for k in range(0, len(rows), size)]


def _by_parts(embed, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([embed(part).float().cpu().numpy() for part in _parts(rows)])

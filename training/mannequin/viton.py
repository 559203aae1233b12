"""Mannequin in the folder layout of VITON-HD, for try-on code that reads that data set.

Source of the layout: Choi et al., "VITON-HD" (CVPR 2021), https://github.com/shadow2496/VITON-HD. Two things differ:
pictures are 192x256 and the parsing maps carry the ATR labels of `figure/labels.py`. The cloth is the upper
garment or the dress.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from twinset.common.atomic_files import write_atomic
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import flat_keypoints, render_flat
from twinset.figure.drawing.garments import garment_parts
from twinset.figure.drawing.parts import in_order, part_map
from twinset.figure.keypoints import BODY_25, FRAME, L_HIP, R_HIP, Keypoints, draw_skeleton, with_visibility
from twinset.figure.labels import PALETTE
from twinset.figure.rig import build_rig
from twinset.training.mannequin import render
from twinset.training.mannequin.spec import GarmentDesign, draw_spec
from twinset.training.mannequin.store import HELD_OUT_START, Speed

#: Split -> VITON-HD's half and the first seed, which is sample 00000.
HALVES = {"train": ("train", 0), "held_out": ("test", HELD_OUT_START)}
MID_HIP = 8  # of OpenPose's 25 joints
#: The files of one sample; the picture is written last, so a sample with a picture is complete.
FILES = (
    "cloth/{}.jpg", "cloth-mask/{}.jpg", "image-parse-v3/{}.png", "openpose_img/{}_rendered.png",
    "openpose_json/{}_keypoints.json", "image/{}.jpg",
)  # fmt: skip


def write_viton(out: Path, count: int, split: str = "train", start: int = 0) -> None:
    """Writes `count` samples and the list of pairs; complete samples are kept, so a stopped run goes on.

    Args:
        out: Folder; gets train/ and train_pairs.txt, or test/ and test_pairs.txt.
        count: Number of samples.
        split: "train", or "held_out" for VITON-HD's test half.
        start: First seed; for "held_out" 0 means 900_000_000. A seed always has the same file names.

    Raises:
        InputError: if the split is another one.
        ValueError: if count is not positive or a seed is outside the split.
    """
    if split not in HALVES:
        raise InputError(f"split {split!r} has no place in VITON-HD; choose one of {', '.join(HALVES)}")
    if count < 1:
        raise ValueError(f"count {count} must be at least 1")
    half, first = HALVES[split]
    start = first if start == 0 else start
    for seed in (start, start + count - 1):
        draw_spec(seed, split)  # refuses seeds outside the split
    for path in _paths(out / half, ""):
        path.parent.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in range(start, start + count) if not _complete(out / half, _name(seed - first))]
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("render", total=count, completed=count - len(missing))
        for seed in missing:
            _write_sample(out / half, _name(seed - first), seed, split)
            progress.advance(task)
    write_atomic(out / f"{half}_pairs.txt", pair_lines(out / half, shift=int(half == "test")).encode())


def pair_lines(folder: Path, shift: int) -> str:
    """One line `picture cloth` for every sample of a half; the cloth is that of the sample `shift` places on."""
    names = sorted((path.name for path in (folder / "image").glob("*.jpg")), key=lambda name: (len(name), name))
    cloths = names[shift:] + names[:shift]
    return "".join(f"{picture} {cloth}\n" for picture, cloth in zip(names, cloths, strict=True))


def openpose_json(keypoints: Keypoints) -> dict[str, Any]:
    """OpenPose's JSON of one person: 25 joints in px with confidence 1, or 0, 0, 0 where not in the frame.

    Args:
        keypoints: float32 (18, 3).
    """
    joints = np.zeros((25, 3))
    joints[list(BODY_25)] = keypoints
    joints[MID_HIP] = with_visibility(keypoints[[R_HIP, L_HIP], :2].mean(0, keepdims=True))[0]
    joints[joints[:, 2] == 0] = 0
    others = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
    person = {"person_id": [-1], "pose_keypoints_2d": [round(value, 3) for value in joints.ravel().tolist()]}
    return {"version": 1.3, "people": [person | {name: [] for name in others}]}


def _name(number: int) -> str:
    return f"{number:05d}_00"


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / file.format(name) for file in FILES]


def _complete(folder: Path, name: str) -> bool:
    return all(path.is_file() for path in _paths(folder, name))


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _png(picture: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    buffer, image = BytesIO(), Image.fromarray(picture)
    if palette is not None:
        image.putpalette(palette.tobytes())  # mode L becomes P; the pixels stay labels
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _cloth_mask(kind: str) -> np.ndarray:
    """uint8 (256, 192): 255 where the flat picture of a kind shows the garment, its outline included."""
    owner = part_map(in_order(garment_parts(kind, build_rig(flat_keypoints(kind)))))
    ink = render_flat(GarmentDesign(kind, "black", (0, 0, 0), (0, 0, 0))).max(-1) < 128
    return np.where((owner > 0) | ink, 255, 0).astype(np.uint8)


def _write_sample(folder: Path, name: str, seed: int, split: str) -> None:
    spec = draw_spec(seed, split)
    garment, keypoints = spec.garments["upper"], render.true_keypoints(spec)
    contents = (
        _jpeg(render_flat(garment, FRAME)),
        _jpeg(_cloth_mask(garment.kind)),
        _png(render.render_parsing(spec), PALETTE),
        _png(draw_skeleton(keypoints)),
        json.dumps(openpose_json(keypoints)).encode(),
        _jpeg(render.render_picture(spec)),
    )
    for path, content in zip(_paths(folder, name), contents, strict=True):
        write_atomic(path, content)

"""People to learn from, and what is known of them: drawn ones, a folder of one's own, VITON-HD, DressCode.

| layout | picture | face | garment | parsing map | keypoints | words |
|---|---|---|---|---|---|---|
| Mannequin | rendered | same person, other selfie | flat drawing | exact | exact | its captions |
| folder | `N.jpg` | `selfies/N.*` | `garments/N.KIND.*` | `N.parsing.png` | `N.keypoints.json` | `N.txt` |
| viton-hd | `train/image` | – | `train/cloth` | `train/image-parse-v3` | `train/openpose_json` | – |
| dresscode | `CATEGORY/images` | – | the pair's | `CATEGORY/label_maps` | `CATEGORY/keypoints` | – |

What is not there is looked for in the picture. VITON-HD is of Choi et al. (CVPR 2021), its maps have LIP's 20 labels;
DressCode is of Morelli et al. (ECCV 2022), its maps have ATR's 18. Drawn people in VITON-HD's layout
(`twinset mannequin --viton`) have ATR's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from twinset.common.atomic_files import plain_reason
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import render_flat
from twinset.figure.keypoints import Keypoints
from twinset.figure.labels import ALL_KINDS, DRESS, FACE, PALETTE, UPPER
from twinset.perception.people.keypoint_files import read_keypoints
from twinset.perception.people.parsing import LIP
from twinset.training.adapters.options import AdapterOptions
from twinset.training.core.picture_files import PICTURES, caption_beside, read_training_picture
from twinset.training.mannequin import render
from twinset.training.mannequin.captions import captions
from twinset.training.mannequin.spec import draw_spec

WORDS = "a photo of a person"
NECK = 10
"""In VITON-HD's maps; LIP itself has jumpsuits there."""
CATEGORIES = {"upper_body": "t_shirt", "lower_body": "trousers", "dresses": "dress"}
"""DressCode's categories, and the kind that their garments are taken for."""


@dataclass(frozen=True)
class Shown:
    """A picture to learn from.

    Attributes:
        name: for messages.
        picture: uint8 (H, W, 3).
        caption: what it shows, in words.
        face: another picture of the person uint8 (h, w, 3), or an aligned crop (112, 112, 3).
        garments: kind → its own picture, uint8 (h, w, 3).
        labels: uint8 (H, W), ATR's labels.
        keypoints: float32 (18, 3), px.
    """

    name: str
    picture: np.ndarray
    caption: str
    face: np.ndarray | None = None
    garments: dict[str, np.ndarray] | None = None
    labels: np.ndarray | None = None
    keypoints: Keypoints | None = None


Source = Callable[[], Shown]
"""Reads or renders one picture."""


def sources(options: AdapterOptions) -> list[Source]:
    """What the options name, in a fixed order; each is read when it is called.

    Raises:
        InputError: the folder is not laid out so, or holds nothing.
    """
    if options.data is None:
        return [partial(drawn_shown, seed) for seed in range(min(options.people, options.limit or options.people))]
    if not options.data.is_dir():
        raise InputError(f"data {str(options.data)!r} is not a folder; give one, or leave --data out for drawn people")
    found = list(LAYOUTS[options.layout](options.data))[: options.limit]
    if not found:
        raise InputError(f"data {str(options.data)!r} holds no picture in the layout {options.layout}; see --layout")
    return found


def drawn_shown(seed: int) -> Shown:
    """One of Mannequin's people of the train split."""
    spec = draw_spec(seed, "train")
    rng = np.random.default_rng([11, seed])
    worn = {g.kind: render_flat(g) for slot, g in spec.garments.items() if slot in ("upper", "lower")}
    return Shown(
        f"drawn person {seed}",
        render.render_picture(spec),
        captions(spec, rng).english,
        render.render_crop(spec.restyled(rng)),
        worn,
        render.render_parsing(spec),
        render.true_keypoints(spec),
    )


def folder(root: Path) -> Iterator[Source]:
    """Pictures of one's own."""
    for path in sorted(root.iterdir()):
        if path.suffix.lower() not in PICTURES or path.name.startswith("."):  # macOS's doubles are called ._1.jpg
            continue
        if not path.stem.endswith((".parsing", ".mask")):
            yield partial(_own, root, path)


def _own(root: Path, path: Path) -> Shown:
    picture = read_training_picture(path)
    selfie = next(iter(_named(root / "selfies", path.stem)), None)
    parsing, pose = path.with_suffix(".parsing.png"), path.with_suffix(".keypoints.json")
    return Shown(
        str(path),
        picture,
        caption_beside(path) or WORDS,
        None if selfie is None else read_training_picture(selfie, "selfie"),
        {_kind_of(each): read_training_picture(each, "garment") for each in _named(root / "garments", path.stem)}
        or None,
        _labels(parsing, picture) if parsing.is_file() else None,
        read_keypoints(pose, _size(picture)) if pose.is_file() else None,
    )


def viton_hd_shown(root: Path) -> Iterator[Source]:
    """The half "train", or "test" where that is all there is; every cloth is the one that the person wears."""
    half = root / ("train" if (root / "train").is_dir() else "test")
    for path in sorted((half / "image").glob("*.jpg")) if half.is_dir() else ():
        yield partial(_of_viton, half, path)


def _of_viton(half: Path, path: Path) -> Shown:
    picture = read_training_picture(path)
    parsing = half / "image-parse-v3" / f"{path.stem}.png"
    labels = _labels(parsing, picture) if parsing.is_file() else None
    kind = "dress" if labels is not None and (labels == DRESS).sum() > (labels == UPPER).sum() else "t_shirt"
    return _paired(
        picture, path, half / "cloth" / path.name, kind, labels, half / "openpose_json" / f"{path.stem}_keypoints.json"
    )


def dresscode_shown(root: Path) -> Iterator[Source]:
    """All categories, by their `train_pairs.txt`, or `test_pairs_paired.txt` where that is all there is."""
    for category, kind in CATEGORIES.items():
        lists = [root / category / name for name in ("train_pairs.txt", "test_pairs_paired.txt")]
        listed = next((path for path in lists if path.is_file()), None)
        for line in () if listed is None else listed.read_text(encoding="utf-8").splitlines():
            if len(names := line.split()) == 2:
                yield partial(_of_dresscode, root / category, names[0], names[1], kind)


def _of_dresscode(category: Path, person: str, garment: str, kind: str) -> Shown:
    path = category / "images" / person
    picture, stem = read_training_picture(path), path.stem.rpartition("_")[0]
    parsing = category / "label_maps" / f"{stem}_4.png"
    labels = _labels(parsing, picture) if parsing.is_file() else None
    pose = category / "keypoints" / f"{stem}_2.json"
    return _paired(picture, path, category / "images" / garment, kind, labels, pose)


LAYOUTS: dict[str, Callable[[Path], Iterator[Source]]] = {
    "folder": folder, "viton-hd": viton_hd_shown, "dresscode": dresscode_shown
}  # fmt: skip


def _paired(picture: np.ndarray, path: Path, cloth: Path, kind: str, labels: np.ndarray | None, pose: Path) -> Shown:
    keypoints = read_keypoints(pose, _size(picture)) if pose.is_file() else None
    words = f"{WORDS} wearing a {kind.replace('_', '-')}"
    return Shown(str(path), picture, words, None, {kind: read_training_picture(cloth, "garment")}, labels, keypoints)


def _named(where: Path, stem: str) -> Sequence[Path]:
    """The pictures of a folder that are called `stem` or `stem.….`"""
    if not where.is_dir():
        return ()
    return [p for p in sorted(where.iterdir()) if p.suffix.lower() in PICTURES and p.name.split(".")[0] == stem]


def _kind_of(path: Path) -> str:
    kind = path.name.split(".")[-2]
    if kind not in ALL_KINDS:
        known = ", ".join(ALL_KINDS)
        raise InputError(f"garment {str(path)!r} does not say its kind; call it N.KIND{path.suffix}, KIND of {known}")
    return kind


def _size(picture: np.ndarray) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _labels(path: Path, picture: np.ndarray) -> np.ndarray:
    """A parsing map in ATR's labels, of the picture's size.

    Raises:
        InputError: it cannot be read, or its values are no labels.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("P", "L"):
                raise InputError(f"parsing map {str(path)!r} is in colours; save its labels as a grey or indexed PNG")
            ours = image.mode == "P" and bytes(image.getpalette() or ())[: PALETTE.size] == PALETTE.tobytes()
            labels = np.asarray(image.resize(_size(picture), Image.Resampling.NEAREST))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        reason = plain_reason(error)
        raise InputError(f"parsing map {str(path)!r} cannot be read ({reason}); get another copy") from None
    if not ours and path.parent.name == "image-parse-v3":
        return _from_lip(labels, path)
    if labels.max() >= len(PALETTE):
        raise InputError(f"parsing map {str(path)!r} has label {labels.max()}; ATR's go from 0 to {len(PALETTE) - 1}")
    return labels.astype(np.uint8)


def _from_lip(labels: np.ndarray, path: Path) -> np.ndarray:
    """ATR's labels of a map in LIP's 20; VITON-HD's neck (10) is face."""
    if labels.max() >= len(LIP):
        raise InputError(f"parsing map {str(path)!r} has label {labels.max()}; LIP's go from 0 to {len(LIP) - 1}")
    table = np.array([label for _, label in LIP], np.uint8)
    table[NECK] = FACE
    return table[labels]

"""From a request to what one denoising pass needs: the inputs are read, the layout drawn, the conditions made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import binary_fill_holes

from twinset.errors import InputError
from twinset.models.clip import GARMENT_SENTENCES
from twinset.models.face_finder import CROP, align
from twinset.models.figure.flat import flat_keypoints, warp_flat
from twinset.models.figure.hair import HAIR_LENGTHS, HAIR_STYLES
from twinset.models.figure.keypoints import BODY_25, FRAME, Keypoints, with_visibility
from twinset.models.figure.labels import GARMENT_KINDS
from twinset.models.figure.layout import draw_layout
from twinset.models.figure.poses import PRESETS, preset
from twinset.models.figure.retarget import ORDINARY, head_share, retarget
from twinset.pipelines.joint import Condition, JointPipeline, Layout
from twinset.pipelines.pictures import read_picture
from twinset.pipelines.request import GarmentPicture, Request
from twinset.prompts.brief import Brief, read_brief

WIDTH, HEIGHT = FRAME
FLAT_FILL = 0.86
"""Share of the frame that a garment spans in the flat pictures that CLIP was trained on."""
PLAIN_BACKGROUND = 12
"""Largest channel difference to the border's colour that still counts as background of a garment picture."""
MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""Joint `MIRRORED[i]` stands where joint `i` stood once the picture is flipped."""
DRAWN_KINDS = {"upper": ("t_shirt", "shirt", "hoodie"), "lower": ("trousers", "skirt", "shorts"), "shoes": ("shoes",)}


@dataclass(frozen=True)
class Composition:
    """All that one pass needs, and what was decided on the way.

    Attributes:
        prompt: For the text encoder.
        layout: Keypoints and parsing map.
        conditions: Identity and garments.
        brief: What the sentence was understood to ask.
        pose: Name of the preset, or the keypoint file.
        hair: Hair style drawn in the layout.
        kinds: Garment kinds the person wears, given, named or drawn from the seed.
        selfie: uint8 (112, 112, 3) aligned face, or None.
        flats: Garment kind to uint8 (256, 192, 3) picture fitted to its flat frame.
        notes: Lines the user should see.
    """

    prompt: str
    layout: Layout
    conditions: tuple[Condition, ...]
    brief: Brief
    pose: str
    hair: str
    kinds: tuple[str, ...]
    selfie: np.ndarray | None
    flats: dict[str, np.ndarray]
    notes: tuple[str, ...]

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """What each condition owns: "face" and garment kinds to float32 (H, W) masks in [0, 1]."""
        kinds = iter(self.flats)
        named = [("face" if c.kind == "identity" else next(kinds), c.region[0, 0]) for c in self.conditions]
        return {name: region.float().cpu().numpy() for name, region in named}


def compose(pipe: JointPipeline, request: Request) -> Composition:
    """Read a request's inputs and turn them into a layout and conditions.

    Raises:
        InputError: An input cannot be used; the message says which, why, and what to do.
    """
    notes: list[str] = []
    brief = read_brief(request.prompt)
    rng = np.random.default_rng(request.seed)
    pose, keypoints = choose_pose(request, brief, rng, notes)
    hair = choose_hair(brief, rng)
    selfie = None if request.selfie is None else read_selfie(pipe, request.selfie, notes)
    flats = read_garments(pipe, request.garments, notes)
    kinds = dress_person(tuple(flats), brief, rng)
    layout = Layout(keypoints, draw_layout(keypoints, kinds, hair))
    conditions = []
    if selfie is not None and request.identity_strength > 0:
        conditions.append(pipe.identity(selfie, layout, weight=request.identity_strength))
    if request.garment_strength > 0:
        conditions += [pipe.garment(f, kind, layout, weight=request.garment_strength) for kind, f in flats.items()]
    return Composition(request.prompt, layout, tuple(conditions), brief, pose, hair, kinds, selfie, flats, tuple(notes))


# Selfie and garments


def read_selfie(pipe: JointPipeline, path: Path, notes: list[str]) -> np.ndarray:
    """Find and align the face of a picture.

    Args:
        pipe: Holds the face finder.
        path: An ordinary picture or an aligned 112 x 112 crop.
        notes: Receives a line when there was something to decide.

    Returns:
        uint8 (112, 112, 3), aligned to ArcFace's template.

    Raises:
        InputError: No face is found.
    """
    picture = read_picture(path, "selfie")
    faces = pipe.face_finder.find(picture)
    if faces:
        if len(faces) > 1:
            notes.append(f"selfie {str(path)!r} shows {len(faces)} faces; the largest is used")
        return align(picture, faces[0].landmarks).copy()  # the largest comes first
    if picture.shape[:2] == (CROP, CROP):
        notes.append(f"selfie {str(path)!r} is taken as an aligned crop: no face was found in it")
        return picture
    raise InputError(f"selfie {str(path)!r} shows no face; give a picture with the face upright and well visible")


def read_garments(pipe: JointPipeline, garments: Sequence[GarmentPicture], notes: list[str]) -> dict[str, np.ndarray]:
    """Read garment pictures and fit each to the flat frame of its kind.

    Returns:
        Kind to uint8 (256, 192, 3).

    Raises:
        InputError: An unknown kind, an empty picture, or two garments for one place.
    """
    flats: dict[str, np.ndarray] = {}
    for garment in garments:
        picture = read_picture(garment.path, "garment")
        kind = garment.kind or guess_kind(pipe, picture)
        if garment.kind is None:
            notes.append(f"garment {str(garment.path)!r} is taken as {kind}; say kind=path to overrule")
        if kind not in GARMENT_KINDS:
            raise InputError(f"garment kind {kind!r} is unknown; choose one of {', '.join(GARMENT_KINDS)}")
        clash = next((other for other in flats if slots(other) & slots(kind)), None)
        if clash:
            raise InputError(f"garment {str(garment.path)!r} ({kind}) has no place beside {clash}; give one of them")
        flats[kind] = fit_flat(picture, kind)
    return flats


def guess_kind(pipe: JointPipeline, picture: np.ndarray) -> str:
    """Garment kind of a picture on a plain background, zero-shot by the pipeline's CLIP.

    The picture is judged as it is and with the margins that CLIP is used to, since it may be cropped in any way.
    """
    cut = Image.fromarray(cut_garment(picture))
    inner = ImageOps.contain(cut, (round(FLAT_FILL * WIDTH), round(FLAT_FILL * HEIGHT)), Image.Resampling.LANCZOS)
    framed = Image.new("RGB", FRAME, "white")
    framed.paste(inner, ((WIDTH - inner.width) // 2, (HEIGHT - inner.height) // 2))
    sentences = list(GARMENT_SENTENCES.values())
    likely = sum(pipe.clip.choose(view, sentences) for view in (picture, np.array(framed)))
    return list(GARMENT_SENTENCES)[int(np.argmax(likely))]


def fit_flat(picture: np.ndarray, kind: str) -> np.ndarray:
    """Fit a garment picture to the flat frame: its box becomes the box in which the kind is drawn flat.

    Args:
        picture: uint8 (H, W, 3), the garment on a plain background.
        kind: A key of `GARMENT_KINDS`.

    Returns:
        uint8 (256, 192, 3) on white.

    Raises:
        InputError: The picture has one colour, so there is no garment to find.
    """
    rows, columns = flat_box(kind)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    flat = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    flat[rows, columns] = np.asarray(Image.fromarray(cut_garment(picture)).resize(size, Image.Resampling.LANCZOS))
    return flat


def cut_garment(picture: np.ndarray) -> np.ndarray:
    """Cut a garment out of its picture: the box of all that differs from the border, on white.

    Args:
        picture: uint8 (H, W, 3) on a plain background, whose colour is the border's median.

    Returns:
        uint8 (h, w, 3).

    Raises:
        InputError: The picture has one colour.
    """
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    differs = np.abs(picture.astype(int) - np.median(border, 0)).max(-1) > PLAIN_BACKGROUND
    if not differs.any():
        raise InputError("a garment's picture shows one plain colour; give the garment on a plain background")
    box = _box(differs)
    inside = binary_fill_holes(differs[box])  # a print in the background's colour stays as it is
    return np.where(np.asarray(inside)[..., None], picture[box], 255).astype(np.uint8)


def flat_box(kind: str) -> tuple[slice, slice]:
    """Rows and columns that a kind covers in its flat frame."""
    _, coverage = warp_flat(np.zeros((HEIGHT, WIDTH, 3), np.uint8), kind, flat_keypoints(kind))
    return _box(coverage > 0)


def _box(region: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


# Layout


def slots(kind: str) -> set[str]:
    """Places on the body that a kind takes; a dress takes two."""
    return {"upper", "lower"} if kind == "dress" else {GARMENT_KINDS[kind][0]}


def dress_person(given: tuple[str, ...], brief: Brief, rng: np.random.Generator) -> tuple[str, ...]:
    """Complete the garments given: by the prompt's words, else from the seed.

    Returns:
        Kinds for a whole outfit (upper, lower, shoes, or a dress and shoes), those given first.
    """
    drawn = tuple(str(rng.choice(kinds)) for kinds in DRAWN_KINDS.values())
    worn: list[str] = []
    for kind in (*given, *brief.garments, *drawn):
        if not any(slots(other) & slots(kind) for other in worn):
            worn.append(kind)
    return tuple(worn)


def choose_hair(brief: Brief, rng: np.random.Generator) -> str:
    """The hair style that the prompt names, else one of the length it names; the seed draws among them."""
    if brief.hair_style in HAIR_STYLES:
        return brief.hair_style
    fitting = [style for style, length in HAIR_LENGTHS.items() if length == brief.hair_length]
    return str(rng.choice(fitting or HAIR_STYLES))


def choose_pose(request: Request, brief: Brief, rng: np.random.Generator, notes: list[str]) -> tuple[str, Keypoints]:
    """The pose asked for, the prompt's pose word, or a preset drawn from the seed.

    Returns:
        Its name and keypoints (18, 3) in the frame.

    Raises:
        InputError: The pose is neither a preset nor a keypoint file.
    """
    drawn = str(rng.choice(sorted(PRESETS)))
    name = request.pose or (brief.pose if brief.pose in PRESETS else None) or drawn
    base, _, variant = name.partition(":")
    if base in PRESETS and variant in ("", "mirror"):
        keypoints = preset(base, request.framing)
        return name, mirror(keypoints) if variant else keypoints
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        return name, figure_keypoints(read_keypoints(path), name, notes)
    raise InputError(f"pose {name!r} is neither a preset nor a keypoint file; `twinset poses` lists the presets")


def mirror(keypoints: Keypoints) -> Keypoints:
    """The pose seen in a mirror: flipped, left and right exchanged."""
    flipped = keypoints[list(MIRRORED)].copy()
    known = np.abs(flipped[:, :2]).sum(1) > 0
    flipped[known, 0] = WIDTH - 1 - flipped[known, 0]
    return flipped


def figure_keypoints(keypoints: Keypoints, name: str, notes: list[str]) -> Keypoints:
    """Keypoints in the figure's proportions: those of an ordinary person are retargeted, with a note."""
    share = head_share(keypoints)
    if share is None or share >= ORDINARY:
        return keypoints
    notes.append(f"pose {name!r} is of a person with a smaller head ({share:.2f} of the figure's); it is retargeted")
    return retarget(keypoints)


def read_keypoints(path: Path) -> Keypoints:
    """Read a pose from JSON: OpenPose's own format (18 or 25 joints) or a plain list of 18 `[x, y, confidence]`.

    The canvas, when the file names it, is fitted into the frame; without one, a pose that is not yet inside the
    frame is.

    Raises:
        InputError: The file is missing or holds no such pose.
    """
    if not path.is_file():
        raise InputError(f"pose {str(path)!r} is not a file; check the path")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data = data[0] if isinstance(data, list) and isinstance(data[0], dict) else data
        points = np.asarray(_flat_list(data), dtype=np.float32).reshape(-1, 3)
        points = points[list(BODY_25)] if len(points) == 25 else points
        if points.shape != (18, 3) or not np.isfinite(points).all() or not (points[:, 2] > 0).any():
            raise ValueError(f"{len(points)} joints")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"pose {str(path)!r} is not OpenPose JSON ({error}); give pose_keypoints_2d or a list of 18 [x, y, c]"
        ) from None
    canvas = (data.get("canvas_width"), data.get("canvas_height")) if isinstance(data, dict) else (None, None)
    return _into_frame(points, canvas)


def _flat_list(data: Any) -> Any:
    person = data["people"][0] if isinstance(data, dict) and "people" in data else data
    return person["pose_keypoints_2d"] if isinstance(person, dict) else person


def _into_frame(points: np.ndarray, canvas: tuple[Any, Any]) -> Keypoints:
    """Scale joints (18, 3: x, y, confidence) into the frame; unknown joints become 0, 0, 0."""
    known = points[:, 2] > 0
    xy = points[:, :2]
    low, high = xy[known].min(0), xy[known].max(0)
    if all(canvas):
        if high.max() <= 1:  # normalised to the canvas
            xy = xy * np.array(canvas)
        low, high, room = np.zeros(2), np.array(canvas, float), np.array(FRAME, float)
    elif (low >= 0).all() and (high < FRAME).all() and high.max() > 1:
        low, high, room = np.zeros(2), np.array(FRAME, float), np.array(FRAME, float)
    else:
        room = np.array(FRAME) * 0.84
    scale = (room / np.maximum(high - low, 1e-6)).min()
    placed = with_visibility((xy - (low + high) / 2) * scale + np.array(FRAME) / 2)
    return np.where(known[:, None], placed, 0).astype(np.float32)

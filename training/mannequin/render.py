"""Pictures and their ground truth from a Spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twinset.figure.body import body_parts, head_parts
from twinset.figure.drawing.figure_draft import figure_draft
from twinset.figure.drawing.garments import garment_parts
from twinset.figure.drawing.hair import hair_parts
from twinset.figure.drawing.paint import paint_person
from twinset.figure.drawing.parts import BodyPart, label_map
from twinset.figure.drawing.raster import matrix_text, rasterise
from twinset.figure.drawn_parsing import draw_layout
from twinset.figure.keypoints import L_EAR, NOSE, R_EYE, Keypoints, with_visibility
from twinset.figure.poses import Arm, Pose, place, placement
from twinset.figure.rig import Rig, build_rig
from twinset.training.mannequin import face
from twinset.training.mannequin.beard import beard_svg
from twinset.training.mannequin.scenes import scene_svg
from twinset.training.mannequin.spec import GarmentDesign, Light, Spec, white_light

#: ArcFace's 5-point template in a 112x112 crop (insightface, face_align.py).
ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
_SELFIE_ZOOM = 1.12


@dataclass(frozen=True)
class Window:
    """What is rendered: the frame, or a window of its size in a picture that is `scale` times as large.

    Attributes:
        scale: of the larger picture.
        left, top: the window's corner in it, in pixels.
    """

    scale: int = 1
    left: int = 0
    top: int = 0

    def keypoints(self, points: Keypoints) -> Keypoints:
        """Keypoints (18, 3) of the frame in the window."""
        return with_visibility(points[:, :2] * self.scale - np.array([self.left, self.top]))

    @property
    def transform(self) -> str:
        """SVG text from the frame to the window; empty for the frame itself."""
        return "" if self == WHOLE else f"translate({-self.left} {-self.top}) scale({self.scale})"


WHOLE = Window()


def lit(albedo: np.ndarray, light: Light, window: Window = WHOLE) -> np.ndarray:
    """Picture under a light: albedo times the tint gain times a soft ramp along the light's direction."""
    height, width = window.scale * albedo.shape[0], window.scale * albedo.shape[1]
    rows, columns = slice(window.top, window.top + albedo.shape[0]), slice(window.left, window.left + albedo.shape[1])
    angle = np.deg2rad(light.direction)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[columns] * np.float32(np.cos(angle))
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[rows] * np.float32(np.sin(angle))
    along = across[None] + down[:, None]
    ramp = 1 - light.strength * along * 0.9
    gain = np.array(light.gain, dtype=np.float32)
    if light.sides:
        near, far = np.array(light.sides, dtype=np.float32)
        share = np.clip(0.5 + 1.25 * along, 0, 1)[..., None]
        gain = near + (far - near) * share
    picture = albedo.astype(np.float32) * ramp[..., None] * gain
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def layout_keypoints(spec: Spec, window: Window = WHOLE) -> Keypoints:
    """Keypoints with the average head: what the model is given."""
    return window.keypoints(place(spec.pose, spec.where))


def true_keypoints(spec: Spec, window: Window = WHOLE) -> Keypoints:
    """Keypoints with the person's own eyes, nose and ears."""
    average = layout_keypoints(spec, window)
    frame = build_rig(average).frames["head"]
    head = face.head_keypoints(spec.identity, spec.head_turn)
    points = average[:, :2].copy()
    points[[NOSE, *range(R_EYE, L_EAR + 1)]] = head @ frame[:, :2].T + frame[:, 2]
    return with_visibility(points)


def person_parts(spec: Spec, rig: Rig, hair: bool = True) -> list[BodyPart]:
    """Parts of the person with the own head."""
    identity = spec.identity
    parts = body_parts(rig) + head_parts(rig, face.outline(identity), face.ears(identity))
    parts += [part for kind in spec.kinds for part in garment_parts(kind, rig)]
    width, hat = face.face_width(identity), "hat" in spec.garments
    return parts + (hair_parts(rig, spec.hair.style, width, hat) if hair else [])


def _features(spec: Spec) -> str:
    """The face's features and the beard."""
    beard = beard_svg(spec.identity, spec.beard, spec.hair.colour, spec.expression, spec.head_turn)
    return face.features(spec.identity, spec.expression, spec.head_turn, beard)


def _person_svg(spec: Spec, rig: Rig, hair: bool = True) -> str:
    parts = person_parts(spec, rig, hair)
    return paint_person(parts, face.skin_colour(spec.identity), spec.hair.colour, spec.garments, _features(spec))


def render_picture(spec: Spec, window: Window = WHOLE) -> np.ndarray:
    """The person in the scene, uint8 (256, 192, 3)."""
    drawn = scene_svg(spec.scene, spec.scene_seed) + _person_svg(spec, build_rig(layout_keypoints(spec)))
    return lit(rasterise(drawn, transform=window.transform), spec.light, window)


def render_scene(spec: Spec) -> np.ndarray:
    """The scene without the person, uint8 (256, 192, 3)."""
    return lit(rasterise(scene_svg(spec.scene, spec.scene_seed)), spec.light)


def render_parsing(spec: Spec) -> np.ndarray:
    """True ATR labels, uint8 (256, 192)."""
    return label_map(person_parts(spec, build_rig(layout_keypoints(spec))))


def render_layout(spec: Spec, window: Window = WHOLE) -> np.ndarray:
    """Labels of the average person in the same pose, clothes and hair style, uint8 (256, 192)."""
    return draw_layout(layout_keypoints(spec, window), spec.kinds, spec.hair.style)


def render_figure_draft(spec: Spec, window: Window = WHOLE) -> np.ndarray:
    """Hair and skin in their colours, in white light, as `figure_draft` gives them; uint8 (256, 192, 3)."""
    points, skin = layout_keypoints(spec, window), face.skin_colour(spec.identity)
    return figure_draft(points, spec.hair.style, spec.hair.colour, skin, "hat" in spec.garments)


def _selfie_spec(spec: Spec) -> Spec:
    """The person close up, arms down, without hat and bag."""
    pose = replace(spec.pose, right_arm=Arm(12, 4), left_arm=Arm(12, 4), lean=0.3 * spec.pose.lean)
    garments = {slot: garment for slot, garment in spec.garments.items() if slot not in ("hat", "bag")}
    return replace(spec, pose=pose, framing="portrait", where=placement("portrait", _SELFIE_ZOOM), garments=garments)


def _upper_only(parts: Sequence[BodyPart]) -> list[BodyPart]:
    """Without legs and shoes, which a close-up never shows."""
    legs = ("shin", "thigh", "foot")
    return [part for part in parts if part.role not in ("lower", "shoes") and not part.name.endswith(legs)]


def _close_up(spec: Spec, hair: bool = True) -> str:
    near = _selfie_spec(spec)
    parts = _upper_only(person_parts(near, build_rig(layout_keypoints(near)), hair))
    return paint_person(parts, face.skin_colour(near.identity), near.hair.colour, near.garments, _features(near))


def render_selfie(spec: Spec) -> np.ndarray:
    """Head and shoulders in the scene, uint8 (256, 192, 3)."""
    return lit(rasterise(scene_svg(spec.scene, spec.scene_seed) + _close_up(spec)), spec.light)


def selfie_landmarks(spec: Spec) -> np.ndarray:
    """float32 (5, 2) px in `render_selfie`: image-left eye, image-right eye, nose, mouth corners."""
    near = _selfie_spec(spec)
    frame = build_rig(layout_keypoints(near)).frames["head"]
    local = face.landmarks(near.identity, near.expression, near.head_turn)
    return (local @ frame[:, :2].T + frame[:, 2]).astype(np.float32)


def similarity_matrix(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) least-squares similarity from source to target points (Umeyama 1991, no reflection)."""
    centre, goal = source.mean(0), target.mean(0)
    a, b = source - centre, target - goal
    real, imaginary = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    c, s = np.array([real, imaginary]) / (a**2).sum()
    turn = np.array([[c, -s], [s, c]])
    return np.concatenate([turn, (goal - turn @ centre)[:, None]], axis=1)


def _crop(spec: Spec, background: str, hair: bool) -> np.ndarray:
    matrix = similarity_matrix(selfie_landmarks(spec).astype(np.float64), ARCFACE_TEMPLATE)
    return lit(rasterise(background + _close_up(spec, hair), (112, 112), matrix_text(matrix)), spec.light)


def render_crop(spec: Spec) -> np.ndarray:
    """The selfie's face aligned to ARCFACE_TEMPLATE, uint8 (112, 112, 3)."""
    return _crop(spec, scene_svg(spec.scene, spec.scene_seed), True)


def render_neutral_crop(spec: Spec) -> np.ndarray:
    """The same person bald, shaven, neutral, frontal, in white light on grey, aligned; uint8 (112, 112, 3)."""
    return render_canvas(replace(spec, pose=Pose(), expression="neutral", beard="none"))


def render_canvas(spec: Spec) -> np.ndarray:
    """The person with expression, turn of the head and beard, bald, in white light on grey; uint8 (112, 112, 3)."""
    grey = GarmentDesign("t_shirt", "grey", (150, 150, 150), (250, 250, 250))
    upright = Pose(head_turn=spec.head_turn)
    plain = replace(spec, pose=upright, light=white_light(), garments={"upper": grey})
    return _crop(plain, '<rect x="-500" y="-500" width="2000" height="2000" fill="#b0b0b0"/>', False)

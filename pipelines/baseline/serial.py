"""The serial way, with which one joint pass is compared: swap the face, try the garments on, repair the colours.

The same weights, scheduler and steps as the joint way. Pose and parsing map are read off the first picture and kept for
all that follow, as the chained programs do (FaceFusion's swap, VITON-HD's thin-plate warp, Reinhard's transfer).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from twinset.adapters.condition import Condition, Layout
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import GREY
from twinset.figure.labels import BACKGROUND, FACE, garment_labels
from twinset.perception.garments.cutout import class_of, cut_out
from twinset.perception.garments.tps_warp import warp_to_pose
from twinset.pipelines.baseline.face_fusion import face_fusion
from twinset.pipelines.compose import Composition
from twinset.pipelines.controller.colour_repair import even_shading, match_skin, reinhard
from twinset.pipelines.families.backend import FamilyBackend, Selfie
from twinset.pipelines.families.tryon_photo import changes, dressed_anew, dressed_as
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.stages import Lay, OnePass, View, draw_stages, stages_of
from twinset.scoring.skin import LIMBS

DrawLayout = Callable[[Layout, Lay], np.ndarray]
"""One pass of the model in all its stages, over a layout and what lays the conditions: uint8 (H, W, 3)."""
Swap = Callable[[Selfie, np.ndarray], np.ndarray]
"""Another program's swap: the selfie's face put into a picture uint8 (H, W, 3)."""


@dataclass(frozen=True)
class SerialPictures:
    """What the serial way made, in order.

    Attributes:
        first: uint8 (H, W, 3), the words and the pose alone, or the photo given.
        swapped: with the face.
        dressed: with the garments.
        repaired: with colours repaired; the result.
    """

    first: np.ndarray
    swapped: np.ndarray
    dressed: np.ndarray
    repaired: np.ndarray


def draw_serially(
    pipe: JointPass,
    people: FamilyBackend,
    draw: DrawLayout,
    layout: Layout,
    selfie: Selfie | None,
    flats: Mapping[str, np.ndarray],
    photo: np.ndarray | None = None,
    swap: Swap | None = None,
    face_lora_strength: float = 1.0,
) -> SerialPictures:
    """Run the chain; a stage with nothing to do passes its input on.

    Args:
        pipe: the model, for what the photo mode's passes keep.
        people: the family's backend.
        draw: one pass with the request's words, seed, steps and guidance.
        layout: of the first picture.
        selfie: whose face.
        flats: garment kind to its picture, as the family takes it.
        photo: uint8 (H, W, 3) of the frame's size, used instead of drawing a first picture.
        swap: another program's face swap in place of our identity pass.
        face_lora_strength: see `Request`.
    """
    first = draw(layout, lambda view, there: ()) if photo is None else photo
    seen = people.figure(first)
    here = Layout(seen.keypoints, seen.labels) if seen.found else layout
    swapped = first
    if selfie is not None and swap is not None:
        swapped = swap(selfie, first)
    elif selfie is not None:
        swapped = swap_face(pipe, people, draw, here, selfie, first, face_lora_strength)
    dressed = try_on(pipe, people, draw, here, flats, swapped) if flats else swapped
    repaired = repair(dressed, here.labels) if selfie is not None else dressed
    return SerialPictures(first, swapped, dressed, repaired)


def serially(pipe: JointPass, people: FamilyBackend, one_pass: OnePass, composition: Composition) -> np.ndarray:
    """A composition drawn by the chain instead of in one pass, uint8 (H, W, 3)."""
    views, strength = [stage.view for stage in composition.stages], composition.stages[:2][-1].strength

    def draw(layout: Layout, lay: Lay) -> np.ndarray:
        return draw_stages(one_pass, stages_of(layout, lay, views, strength))

    photo = None if composition.photo is None else composition.photo.seen
    swap = face_fusion() if composition.selfie is not None else None
    given = composition.layout, composition.selfie, composition.flats
    face_lora = next((c.lora_weight for c in composition.conditions if c.kind == "identity"), 1.0)
    return draw_serially(pipe, people, draw, *given, photo, swap, face_lora).repaired


def swap_face(
    pipe: JointPass,
    people: FamilyBackend,
    draw: DrawLayout,
    layout: Layout,
    selfie: Selfie,
    picture: np.ndarray,
    face_lora_strength: float = 1.0,
) -> np.ndarray:
    """The identity pass: only the face is drawn anew, as face swappers do."""
    anew = changes(np.where(layout.labels == FACE, BACKGROUND, layout.labels), layout.labels, (), face=False)

    def lay(view: View, there: Layout) -> list[Condition]:
        face = people.identity(selfie, there, 1.0)
        own = [] if face is None else [replace(face, lora_weight=face_lora_strength)]
        return [*own, pipe.photo(view.picture(picture), view.mask(anew))]

    return np.where(anew[..., None], draw(layout, lay), picture)


def try_on(
    pipe: JointPass,
    people: FamilyBackend,
    draw: DrawLayout,
    layout: Layout,
    flats: Mapping[str, np.ndarray],
    picture: np.ndarray,
) -> np.ndarray:
    """The garment pass: garments warped by a thin-plate spline, then what they change drawn anew."""
    kinds = tuple(flats)
    dressed = people.labels(layout.keypoints, dressed_as(layout.labels, kinds), "short")
    wanted = Layout(layout.keypoints, dressed_anew(layout.labels, dressed, kinds))
    anew = changes(layout.labels, wanted.labels, kinds, face=False)

    def lay(view: View, there: Layout) -> list[Condition]:
        garments = {kind: (flat, people.garment(flat, kind, there, 1.0)) for kind, flat in flats.items()}
        worn = [warped(pipe, made, flat, kind, there) for kind, (flat, made) in garments.items() if made is not None]
        return [*worn, pipe.photo(view.picture(picture), view.mask(anew))]

    return np.where(anew[..., None], draw(wanted, lay), picture)


def warped(pipe: JointPass, garment: Condition, flat: np.ndarray, kind: str, layout: Layout) -> Condition:
    """The condition with a thin-plate warp as its draft, where the family's ControlNet reads drafts at all."""
    name = class_of(kind)
    if garment.draft is None or name in (None, "shoes", "bag"):
        return garment
    cut = cut_out(flat)
    height, width = layout.labels.shape
    try:
        laid, cover = warp_to_pose(cut.picture, cut.mask, name, layout.keypoints, (width, height))
    except InputError:  # shoulders are not seen: the spline has nothing to hold on to
        return garment
    owned = np.isin(layout.labels, garment_labels(kind)) & (cover > 0.5)
    return replace(garment, draft=pipe.encode(np.where(owned[..., None], laid, np.uint8(GREY))))


def repair(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Colour and light: the swapped face takes the body's shading and its skin's tone; without any skin, the picture's.

    Args:
        picture: uint8 (H, W, 3), dressed.
        labels: uint8 (H, W) parsing map of the first picture.
    """
    face, skin = labels == FACE, np.isin(labels, LIMBS)
    picture = even_shading(picture, face, ~np.isin(labels, (BACKGROUND, FACE)))
    if skin.sum() >= face.sum() * 0.1:
        return match_skin(picture, face, skin)
    return reinhard(picture, face, picture[labels != FACE], strength=0.2, spread=False)

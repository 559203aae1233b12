"""From a request to what one denoising pass needs: the inputs are read, the layout drawn, the conditions made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from twinset.adapters.condition import KNOWN_TO_ALL, Condition, Layout
from twinset.errors import InputError
from twinset.figure.drawing.hair import HAIR_LENGTHS, HAIR_STYLES
from twinset.figure.keypoints import Keypoints
from twinset.figure.labels import HAT, garment_labels
from twinset.figure.poses import NAMED, PRESETS
from twinset.perception.people.keypoint_files import mirror, read_keypoints
from twinset.pipelines.denoising.colour_hold import HeldColour
from twinset.pipelines.families.backend import FamilyBackend, Selfie
from twinset.pipelines.families.drawn import StudioBackend
from twinset.pipelines.families.given_pictures import colours_of, read_garments, read_selfies
from twinset.pipelines.families.looks import Looks, choose_looks
from twinset.pipelines.families.photo_pose import photo_pose, redressed
from twinset.pipelines.families.several_people import (
    Member,
    beside_each_other,
    columns,
    placed,
    require_families,
    together,
    with_count,
)
from twinset.pipelines.families.tryon_photo import Photo, read_photo
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.loading.parts_on_demand import prepared
from twinset.pipelines.loading.pasted_settings import unused_settings
from twinset.pipelines.request import Request
from twinset.pipelines.sizes import size_of
from twinset.pipelines.stages import Stage, View, face_view, stages_of
from twinset.pipelines.wardrobe import (
    DrawnGarment,
    draw_clothes,
    drawing_note,
    dress_person,
    missing_notes,
    named_kinds,
)
from twinset.prompts.brief import Brief
from twinset.prompts.conflicts import without_colours
from twinset.prompts.sentence import Sentence, completed, understand
from twinset.scoring.garment import FEWEST_PIXELS

if TYPE_CHECKING:
    from twinset.pipelines.studio import StudioPipeline


@dataclass(frozen=True)
class Composition:
    """Everything that one pass needs, and the decisions that led to it.

    Attributes:
        sentence: The parsed prompt; its `prompt` and `negative` go to the text encoder.
        layout: Keypoints and parsing map, at the size that is drawn.
        conditions: Identity and garments, laid there.
        pose: Name of the preset, the keypoint file or the picture.
        hair: Hair style drawn in the layout.
        looks: Hair, beard and expression; None in photo mode.
        kinds: Garment kinds the person wears: from pictures, from the prompt or drawn by the seed.
        selfie: The aligned face, or None.
        flats: Garment kind to its picture, uint8 (h, w, 3), as the family takes it; the user's first, then `drawn`.
        notes: Lines the user should see.
        stages: Stages of the pass, each with the conditions at its size.
        photo: The photo of which a part is redrawn, or None.
        drawn: Clothes without a picture, drawn flat and used as if the user had given one.
        members: Of several people; `selfie`, `flats` and `looks` are then empty.
        holds_colours: Whether plain clothes drawn from words keep their colours from stage to stage.
        posed: Whether the pass obeys the layout. Without any ControlNet the words alone decide; pose, hair and kinds
            are then empty.
    """

    sentence: Sentence
    layout: Layout
    conditions: tuple[Condition, ...]
    pose: str
    hair: str
    kinds: tuple[str, ...]
    selfie: Selfie | None
    flats: dict[str, np.ndarray]
    notes: tuple[str, ...]
    stages: tuple[Stage, ...]
    looks: Looks | None = None
    photo: Photo | None = None
    drawn: tuple[DrawnGarment, ...] = ()
    members: tuple[Member, ...] = ()
    posed: bool = True
    holds_colours: bool = True

    @property
    def prompt(self) -> str:
        """For the text encoder."""
        return self.sentence.prompt

    @property
    def held(self) -> tuple[HeldColour, ...]:
        """Plain clothes drawn from words, which keep their colours from stage to stage."""
        plain = (each.garment for each in self.drawn if self.holds_colours and each.garment.pattern == "plain")
        return tuple(HeldColour(garment_labels(each.kind), each.colour) for each in plain)

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """Masks of the conditions, float32 (H, W) in [0, 1], by name: "face", garment kinds, and "kept" for a photo."""
        kinds = iter(self.flats)
        owned = [c for c in self.conditions if c.kind not in KNOWN_TO_ALL]
        named = [("face" if c.kind == "identity" else next(kinds, c.kind), c.region[0, 0]) for c in owned]
        masks: dict[str, np.ndarray] = {}
        for name, region in named:  # of several people: face, face 2, …
            again = sum(other.partition(" ")[0] == name for other in masks)
            masks[f"{name} {again + 1}" if again else name] = region.float().cpu().numpy()
        return masks if self.photo is None else masks | {"kept": (~self.photo.redrawn).astype(np.float32)}


def compose(pipe: JointPass, request: Request, draw_clothes: bool = True) -> Composition:
    """Read a request's inputs and turn them into a layout and conditions.

    Args:
        pipe: The model.
        request: What to draw; of several pictures the first, for another one see `Request.of_picture`.
        draw_clothes: Draw clothes that have no picture, where the family takes them so; records of versions that
            did not are replayed without.

    Raises:
        InputError: An input cannot be used; the message says which, why, and what to do.
    """
    notes: list[str] = unused_settings(request.prompt, request.model)
    prepared(pipe, request)
    people = backend_at(pipe, request)
    if request.people:
        return compose_several(pipe, people, request, notes)
    if request.way == "serial":
        require_reader(people)
    flats = read_garments(people, request.garments, notes)
    shown = colours_of(flats)
    told = request.seed or 0, shown, request.negative, request.raw_prompt
    sentence = understand(request.prompt, people.family, *told)
    brief = sentence.brief
    selfie = read_selfies(people, request.selfies, request.face, notes) if request.selfies else None
    photo, looks, drawn = None, None, ()
    if request.photo is None:
        pose, looks, kinds, layout = lay_out(people, request, brief, selfie, tuple(flats), notes)
        hair = looks.hair
        if (
            draw_clothes and people.draws_clothes and request.garment_strength > 0 and not request.loras
        ):  # one of them may be a garment
            drawn = clothe(people, request, brief, kinds, layout, tuple(flats), notes)
            if not request.raw_prompt:
                sentence = replace(sentence, prompt=without_colours(sentence.prompt, flats))
            flats |= {each.garment.kind: each.flat for each in drawn}
    else:
        photo, layout, kinds = read_photo(people, request.photo, tuple(flats), selfie is not None, notes)
        pose, hair = str(request.photo), "the photo's"

    def lay(view: View, there: Layout) -> list[Condition]:
        return lay_conditions(pipe, people, request, selfie, flats, looks, photo, view, there)

    strength = request.hires_strength or people.hires_strength(layout)
    stages = stages_of(layout, lay, views_of(people, request, layout, selfie), strength)
    if not pipe.nets:
        pose, hair, kinds = "", "", ()
        notes.append("the pose is not used: prompts alone are drawn without a pose ControlNet; give --pose to use one")
    if not request.raw_prompt:
        framing = request.framing if pipe.nets and photo is None else ""
        sentence = completed(sentence, people.family, shown, pose if pose.partition(":")[0] in NAMED else "", framing)
    whole = [stage for stage in stages if stage.view.window is None][-1]
    inputs = sentence, whole.layout, whole.conditions, pose, hair, kinds, selfie, flats
    return Composition(*inputs, (*sentence.notes, *notes), stages, looks, photo, drawn, posed=bool(pipe.nets))


def compose_several(pipe: JointPass, people: FamilyBackend, request: Request, notes: list[str]) -> Composition:
    """Several people side by side: each reads, stands and is dressed alone, and one pass draws all of them."""
    require_families(request, draws_one=people.draws_clothes)
    sentence = understand(request.prompt, people.family, request.seed or 0, {}, request.negative, request.raw_prompt)
    if not request.raw_prompt:
        counted = with_count(sentence.prompt, len(request.people), sentence.brief.count)
        sentence = completed(replace(sentence, prompt=counted), people.family, {}, "", request.framing)
    members = read_members(people, request, sentence.brief, notes)

    def lay(view: View, there: Layout) -> list[Condition]:
        laid = ((member, view.layout(member.layout)) for member in members)
        given = [
            lay_conditions(pipe, people, member.request, member.selfie, member.flats, None, None, view, own)
            for member, own in laid
        ]
        return [condition for conditions in given for condition in conditions]

    layout = together([member.layout for member in members])
    views = [View(size) for size in people.stage_sizes()]
    stages = stages_of(layout, lay, views, request.hires_strength or people.hires_strength(layout))
    poses, kinds = ", ".join(m.pose for m in members), tuple(kind for m in members for kind in m.kinds)
    notes.append("several people are drawn together: likeness and garments are not measured or repaired")
    inputs = sentence, stages[-1].layout, stages[-1].conditions, poses, "", kinds, None, {}
    return Composition(*inputs, (*sentence.notes, *notes), stages, members=tuple(members), posed=bool(pipe.nets))


def read_members(people: FamilyBackend, request: Request, brief: Brief, notes: list[str]) -> list[Member]:
    """Read each person's pictures and lay the person out in a column of the picture."""
    found: list[Member] = []
    for one, (left, width) in zip(request.each_person, columns(people.size, len(request.people)), strict=True):
        own = people.at((width, people.size[1]))
        flats = read_garments(people, one.garments, notes)
        selfie = read_selfies(people, one.selfies, one.face, notes) if one.selfies else None
        pose, _, kinds, layout = lay_out(own, one, brief, selfie, tuple(flats), notes)
        found.append(Member(one, selfie, flats, pose, kinds, placed(layout, left, people.size)))
    layouts = beside_each_other([member.layout for member in found])
    return [replace(member, layout=layout) for member, layout in zip(found, layouts, strict=True)]


def backend_of(pipe: JointPass) -> FamilyBackend:
    """How the pipeline's family sees people."""
    return StudioBackend(cast("StudioPipeline", pipe)) if pipe.backend is None else pipe.backend


def backend_at(pipe: JointPass, request: Request) -> FamilyBackend:
    """The family for pictures of the size that a request's last stage draws."""
    people = backend_of(pipe)
    asked = people.at(size_of(request.size, people.usual_size, people.frame))
    return people.at(asked.stage_sizes()[-1])


def require_reader(people: FamilyBackend) -> None:
    """Make sure before the first step that a family can read its own pictures, as the serial way does between passes.

    Raises:
        InputError: it lacks a package or a network; the line names the remedy.
    """
    people.figure(np.full((people.size[1], people.size[0], 3), 255, np.uint8))


def views_of(people: FamilyBackend, request: Request, layout: Layout, selfie: Selfie | None) -> list[View]:
    """What the stages see: the whole picture at growing sizes, then perhaps the face closely."""
    views = [View(size) for size in people.stage_sizes()]
    close = face_view(layout, people.frame) if request.detail == "face" and selfie is not None else None
    return [*views, *([close] if close else [])]


def lay_conditions(
    pipe: JointPass,
    people: FamilyBackend,
    request: Request,
    selfie: Selfie | None,
    flats: Mapping[str, np.ndarray],
    looks: Looks | None,
    photo: Photo | None,
    view: View,
    layout: Layout,
) -> list[Condition]:
    """The conditions of a request, laid at what a stage sees."""
    conditions = []
    if request.garment_strength > 0 and (person := people.person(selfie, flats, layout, request.garment_strength)):
        conditions.append(person)
    if selfie is not None and request.identity_strength > 0:
        face = people.identity(selfie, layout, request.identity_strength, looks)
        conditions += [] if face is None else [replace(face, lora_weight=request.face_lora_strength)]
    if looks is not None:
        shown = selfie if request.identity_strength > 0 else None
        hat = bool((layout.labels == HAT).any())
        figure = people.figure_condition(layout, looks, shown, hat)
        conditions += [figure] if figure is not None else []
    if request.garment_strength > 0:
        worn = [people.garment(flat, kind, layout, request.garment_strength) for kind, flat in flats.items()]
        conditions += [garment for garment in worn if garment is not None]
    if photo is not None:
        conditions.append(pipe.photo(view.picture(photo.seen), view.mask(photo.redrawn)))
    return conditions


# Layout


def lay_out(
    people: FamilyBackend,
    request: Request,
    brief: Brief,
    selfie: Selfie | None,
    given: tuple[str, ...],
    notes: list[str],
) -> tuple[str, Looks, tuple[str, ...], Layout]:
    """Pose, looks, kinds worn and the layout of them; what neither request, prompt nor selfie says, the seed draws."""
    rng = np.random.default_rng(request.seed)
    pose, keypoints, seen = choose_pose(people, request, brief, rng, notes)
    worn_hair = selfie.hair if selfie is not None and request.hair == "selfie" else None
    looks = choose_looks(brief, worn_hair, choose_hair(brief, rng), request.seed or 0)
    notes += looks.note()
    named = named_kinds(brief, people.kinds)
    kinds = dress_person(given, named, rng, brief.negatives)
    if seen is None:
        return pose, looks, kinds, Layout(keypoints, people.labels(keypoints, kinds, looks.hair))
    kinds = tuple(kind for kind in kinds if kind in given or (people.draws_clothes and kind in named))
    return pose, looks, kinds, Layout(keypoints, redressed(seen, keypoints, kinds))


def clothe(
    people: FamilyBackend,
    request: Request,
    brief: Brief,
    kinds: tuple[str, ...],
    layout: Layout,
    given: tuple[str, ...],
    notes: list[str],
) -> tuple[DrawnGarment, ...]:
    """Draw the clothes that no picture shows and the layout has a place for."""
    in_sight = [kind for kind in kinds if np.isin(layout.labels, garment_labels(kind)).sum() >= FEWEST_PIXELS]
    notes += missing_notes(brief, kinds, in_sight, people.kinds)
    drawn = draw_clothes(brief, [kind for kind in in_sight if kind not in given], request.seed or 0)
    notes += drawing_note(drawn)
    return drawn


def choose_hair(brief: Brief, rng: np.random.Generator) -> str:
    """The hair style that the prompt names, else one of the length it names; the seed draws among them."""
    if brief.hair_style in HAIR_LENGTHS:
        return brief.hair_style
    fitting = [style for style, length in HAIR_LENGTHS.items() if length == brief.hair_length]
    return str(rng.choice(fitting or HAIR_STYLES))


def choose_pose(
    people: FamilyBackend, request: Request, brief: Brief, rng: np.random.Generator, notes: list[str]
) -> tuple[str, Keypoints, np.ndarray | None]:
    """The pose asked for, the prompt's pose word, or a preset drawn from the seed.

    Returns:
        Its name, keypoints (18, 3) in the frame, and the parsing map (H, W) where a picture was given.

    Raises:
        InputError: The pose is neither a preset, a keypoint file nor a picture that can be read.
    """
    drawn = str(rng.choice(sorted(PRESETS)))
    name = request.pose or (brief.pose if brief.pose in NAMED else None) or drawn
    base, _, variant = name.partition(":")
    if base in NAMED and variant in ("", "mirror"):
        keypoints = people.preset(base, request.framing)
        return name, mirror(keypoints, people.size[0]) if variant else keypoints, None
    path = Path(name)
    if path.suffix == ".json":
        return name, people.adopt(read_keypoints(path, people.size, notes), name, notes), None
    if path.is_file():
        return name, *photo_pose(people, path, notes)
    raise InputError(
        f"pose {name!r} is neither a preset, a keypoint file nor a picture; `twinset poses` lists the presets"
    )

"""Which parts of a profile a request needs, and how they are had: pulled from the hub, or found in its cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.figure.poses import NAMED
from twinset.models.hub.download import Announce, locate, pull_parts
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import clean_names, require_commercial
from twinset.pipelines.denoising.net_pictures import NetRole
from twinset.pipelines.families.photo import clearly_flat
from twinset.pipelines.families.photo_adapters import ChosenAdapters, choose_adapters
from twinset.pipelines.loading.assembly import RECOGNISERS
from twinset.pipelines.request import Request

BASE = ("base", "vae")
"""Parts that every picture of a profile needs."""
PERCEPTION = ("person_detector", "pose_estimator", "parser")
"""Parts that read people off photographs; `PhotoReader` loads them."""
FAST = "fast_lora"
NET_ROLES: dict[str, tuple[NetRole, ...]] = {
    "union_controlnet": ("pose", "parsing"),
    "pose_controlnet": ("pose",),
    "parsing_controlnet": ("parsing",),
    "instantid_controlnet": ("face",),
}
"""ControlNets among the parts, and what each sees."""
DETECTOR_OF = {"antelopev2": "antelopev2_detector", "buffalo_l": "buffalo_l_detector"}
"""Recogniser → the detector of its own package; others take YuNet."""


@dataclass(frozen=True)
class Pulling:
    """How parts are had.

    Attributes:
        commercial: take only what may be used commercially.
        offline: take only what is here.
        endpoint: the hub or a mirror of it.
        say: called with one line on what comes next.
        announce: called with what will be downloaded, before the first byte.
    """

    commercial: bool = False
    offline: bool = False
    endpoint: str | None = None
    say: Callable[[str], None] = lambda line: None
    announce: Announce | None = None

    def pull(self, profile: Profile, names: Sequence[str], what: str = "this model") -> None:
        """Make sure that parts are here: download what is not, or refuse to go on without it.

        Args:
            profile: the parts' profile.
            names: of the parts.
            what: needs them, for the message.

        Raises:
            InputError: parts are not allowed, or cannot be had; the line names them and the remedy.
        """
        parts = [profile.part(name) for name in names]
        if self.commercial:
            require_commercial(profile, parts)
        missing = [part for part in parts if not part_is_here(profile, part.name)]
        if missing and (self.offline or not all(part.repo for part in missing)):
            command = f"twinset models pull {profile.name} --part {' --part '.join(part.name for part in missing)}"
            raise InputError(
                f"{what} needs parts of profile {profile.name!r} that are not here: "
                f"{', '.join(part.name for part in missing)}; run: {command}"
            )
        if missing:
            for report in pull_parts(profile, parts, endpoint=self.endpoint, announce=self.announce):
                self.say(f"{report.part.name} is here")


def part_is_here(profile: Profile, name: str) -> bool:
    """Whether all files of a part lie here."""
    part = profile.part(name)
    return all(locate(profile, part, path) is not None for path in part.wanted)


def needed_parts(profile: Profile, request: Request, pulling: Pulling, own_net: bool = False) -> list[str]:
    """Names of the parts that a request needs beside the base; none for words alone.

    Args:
        profile: of the base's family.
        request: what is asked for.
        pulling: whether only commercial parts are allowed, and whether anything can be downloaded.
        own_net: whether the base has a ControlNet of its own, which then acts in place of the profile's.

    Raises:
        InputError: a chosen adapter does not exist for the family or lacks the selfie that it needs, or a garment's
            picture cannot be read.
    """
    chosen = chosen_adapters(request, pulling)
    names = [] if own_net else _nets(profile, request)
    if _reads_photographs(request, pulling):
        own = {"parser"} if request.parser else set()
        own |= {"person_detector", "pose_estimator"} if request.pose_estimator == "openpose" else set()
        allowed = [part for part in map(profile.part, PERCEPTION) if part.commercial or not pulling.commercial]
        names += [part.name for part in allowed if part.name not in own]  # without a parser maps are background only
    for one in request.each_person:
        names += _adapters(profile, one, chosen, pulling.commercial)
    return list(dict.fromkeys([*names, FAST] if request.fast else names))


def usual_parts(profile: Profile, commercial: bool = False) -> list[str]:
    """Names of the parts, the base aside, that are pulled where nobody names any; clean ones for commercial use."""
    parts = [part for part in profile.chosen() if part.name not in BASE]
    if not commercial:
        return [part.name for part in parts]
    return list(clean_names(profile, parts))


def chosen_adapters(request: Request, pulling: Pulling) -> ChosenAdapters:
    """The adapters that a request names, else the usual ones."""
    return choose_adapters(request.identity_adapter, request.garment_adapter, pulling.commercial)


def asked(request: Request) -> str:
    """What of a request needs parts, in words."""
    given = {
        "several people": request.people,
        "a selfie": request.selfies,
        "a garment": request.garments,
        "a photo": request.photo,
        "a pose": request.pose,
        "--way serial": request.way == "serial",
        "--fast": request.fast,
    }
    return " and ".join(name for name, value in given.items() if value)


def _nets(profile: Profile, request: Request) -> list[str]:
    """ControlNets that act: those of roles with any weight, where there is something to lay out."""
    if not (request.pose or request.selfies or request.garments or request.photo or request.people):
        return []
    weights = {"pose": request.pose_strength, "parsing": request.parsing_strength}
    usual = {part.name for part in profile.chosen()}
    return [name for name, roles in NET_ROLES.items() if name in usual and any(weights.get(role) for role in roles)]


def _reads_photographs(request: Request, pulling: Pulling) -> bool:
    """Whether somebody must be read off a picture; of garments, where it is not clear that they are laid flat."""
    each = request.each_person
    if request.photo or request.way == "serial" or any(_is_picture(one.pose or "") for one in each):
        return True
    if pulling.offline:  # a note says then that worn was not told from flat
        return False
    pictures = (read_picture(garment.path, "garment") for one in each for garment in one.garments)
    return not all(map(clearly_flat, pictures))


def _is_picture(pose: str) -> bool:
    """Whether a pose is neither a preset nor a keypoint file."""
    return pose.partition(":")[0] not in NAMED and Path(pose).suffix != ".json" and Path(pose).is_file()


def _adapters(profile: Profile, request: Request, chosen: ChosenAdapters, commercial: bool) -> list[str]:
    """Adapters, and what they read faces and pictures with."""
    if chosen.person_at_once and request.garments and not request.selfies:
        raise InputError("--garment-adapter storymaker draws a face with its outfit; give --selfie too")
    used = [chosen.identity] if request.selfies else []
    used += [chosen.garment] if request.garments else []
    names = [part for choice in used for part in choice.parts_for(profile.family)]
    if request.selfies:
        own = [r for r in (profile.part(name).recogniser for name in names) if r in RECOGNISERS]
        clean = commercial or chosen.identity.name == "plus-face"
        recogniser = own[0] if own else "auraface" if clean else "buffalo_l"  # which then only measures likeness
        names += [recogniser, DETECTOR_OF.get(recogniser, "yunet")]
    clip = any(choice.reads_clip and choice.name != "none" for choice in used)
    return [*names, "image_encoder"] if clip else names

"""The identity and garment adapters of the full-size families: their parts, and how their authors draw with each.

What an adapter is given (how a face or a garment is cut, on which ground, at what size) is in
`twinset.pipelines.families.photo`; its mathematics is in `twinset.adapters.public`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from twinset.errors import InputError
from twinset.pipelines.denoising.schedulers import SchedulerName

if TYPE_CHECKING:
    from twinset.pipelines.request import Request

IdentityName = Literal["faceid-plusv2", "faceid", "plus-face", "instantid", "none"]
GarmentName = Literal["ip-adapter-plus", "imagdressing", "magic-clothing", "storymaker", "none"]


@dataclass(frozen=True)
class AuthorSettings:
    """How an adapter's authors draw with it; None for what they leave to the base model.

    Attributes:
        scheduler: sampler.
        steps: denoising steps.
        guidance: over the words, and over what the next two do not name.
        garment_guidance: over the garment.
        order: in which text, identity and garment join the guidance, see `Guidance`; None for its own.
    """

    scheduler: SchedulerName | None = None
    steps: int | None = None
    guidance: float | None = None
    garment_guidance: float | None = None
    order: tuple[str, ...] | None = None


USUAL = AuthorSettings()
FAST = AuthorSettings("ddim_trailing", 8, 5.0)
"""Of Hyper-SD's 8-step LoRA with guidance kept."""


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter that a request may name.

    Attributes:
        name: as the command line takes it.
        parts: of a profile, by family: the adapter's own file first, then what goes with it.
        reads_clip: whether it looks at pictures through CLIP.
        settings: of its authors.
    """

    name: str
    parts: Mapping[str, tuple[str, ...]]
    reads_clip: bool = True
    settings: AuthorSettings = USUAL

    def parts_for(self, family: str) -> tuple[str, ...]:
        """Its parts in a family's profile.

        Raises:
            InputError: it does not exist for that family; the line names those that do.
        """
        if self.name == "none":
            return ()
        if family not in self.parts:
            kind, known = ("identity", IDENTITY) if self in IDENTITY.values() else ("garment", GARMENT)
            fitting = ", ".join(name for name, other in known.items() if name == "none" or family in other.parts)
            raise InputError(
                f"--{kind}-adapter {self.name} does not exist for {family}, only for {', '.join(self.parts)}; "
                f"choose one of {fitting}"
            )
        return self.parts[family]


BOTH = ("sd15", "sdxl")
IDENTITY: Mapping[str, AdapterChoice] = {
    choice.name: choice
    for choice in (
        AdapterChoice("faceid-plusv2", dict.fromkeys(BOTH, ("identity_adapter",))),
        AdapterChoice("faceid", dict.fromkeys(BOTH, ("faceid_adapter",)), reads_clip=False),
        AdapterChoice("plus-face", dict.fromkeys(BOTH, ("face_adapter",))),
        AdapterChoice(
            "instantid",
            {"sdxl": ("instantid_adapter", "instantid_controlnet")},
            reads_clip=False,
            settings=AuthorSettings("euler", 30, 5.0),
        ),
        AdapterChoice("none", {}),
    )
}
GARMENT: Mapping[str, AdapterChoice] = {
    choice.name: choice
    for choice in (
        AdapterChoice("ip-adapter-plus", dict.fromkeys(BOTH, ("garment_adapter",))),
        AdapterChoice("imagdressing", {"sd15": ("imagdressing_adapter",)}, settings=AuthorSettings("ddim", 50, 7.5)),
        AdapterChoice(
            "magic-clothing",
            {"sd15": ("magic_clothing_adapter",)},
            reads_clip=False,
            settings=AuthorSettings("unipc", 20, 7.5, garment_guidance=2.5, order=("garment", "text", "identity")),
        ),
        AdapterChoice("storymaker", {"sdxl": ("storymaker_adapter",)}, settings=AuthorSettings("unipc", 25, 7.5)),
        AdapterChoice("none", {}),
    )
}
"""Adapters by name, as their authors' own programs run them (scheduler, steps, guidance)."""
USUAL_IDENTITY, CLEAN_IDENTITY, USUAL_GARMENT = "faceid-plusv2", "plus-face", "ip-adapter-plus"
IDENTITYNET_SCALE = 0.8
"""Conditioning scale of IdentityNet beside InstantID's tokens, as its authors have it."""


@dataclass(frozen=True)
class ChosenAdapters:
    """The adapters of one request.

    Attributes:
        identity, garment: which; "none" for no adapter.
    """

    identity: AdapterChoice
    garment: AdapterChoice

    @property
    def person_at_once(self) -> bool:
        """Whether one adapter takes face and outfit together (StoryMaker)."""
        return self.garment.name == "storymaker"


def choose_adapters(
    identity: IdentityName | None, garment: GarmentName | None, commercial: bool = False
) -> ChosenAdapters:
    """The adapters that a request names, the usual ones where it names none.

    Raises:
        InputError: StoryMaker, which brings the face too, is asked for beside another identity adapter.
    """
    if garment == "storymaker" and identity not in (None, "none"):
        raise InputError(f"--garment-adapter storymaker brings the face too; leave --identity-adapter {identity} out")
    usual = CLEAN_IDENTITY if commercial else USUAL_IDENTITY
    face = "none" if garment == "storymaker" else identity or usual
    return ChosenAdapters(IDENTITY[face], GARMENT[garment or USUAL_GARMENT])


def settings_for(request: Request, commercial: bool = False) -> AuthorSettings:
    """How a request is drawn where it does not say: the way of its garment's adapter, else of its face's.

    With `--fast` the fast LoRA's scheduler, steps and guidance stand in for the adapter's.
    """
    chosen = choose_adapters(request.identity_adapter, request.garment_adapter, commercial)
    each = request.each_person
    found = chosen.garment.settings if any(one.garments for one in each) else USUAL
    if found == USUAL and any(one.selfies for one in each):
        found = chosen.identity.settings
    fast = {"scheduler": FAST.scheduler, "steps": FAST.steps, "guidance": FAST.guidance}
    return replace(found, **fast) if request.fast else found

"""The parts of a profile around a base: each comes in when a request first needs it, and no others.

Which parts act follows from the request alone, never from what happens to be in the cache or was used before, so that
the same request gives the same picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twinset.models.hub.parts import Profile
from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.families.photo import PhotoBackend
from twinset.pipelines.families.photo_adapters import ChosenAdapters, choose_adapters
from twinset.pipelines.families.photo_pose import PhotoReader
from twinset.pipelines.joint_pass import JointPass, several
from twinset.pipelines.loading.assembly import DETECTORS, RECOGNISERS, Parts, load_parts
from twinset.pipelines.loading.needed_parts import (
    BASE,
    FAST,
    NET_ROLES,
    PERCEPTION,
    Pulling,
    asked,
    chosen_adapters,
    needed_parts,
    usual_parts,
)
from twinset.pipelines.loading.placement import DevicePlacement, put_on_device
from twinset.pipelines.request import Request


class PartsOnDemand:
    """Puts the parts that requests need into a pipeline, and takes its ControlNets out where none is asked for.

    Args:
        pipe: of the base, on its device; it may have a ControlNet of its own, which then stays.
        profile: of the base's family.
        model: what messages call the base.
        revision: SHA-256 of the base; "" where `base` holds it.
        base: the parts that were loaded with the base.
        where: the base is, and parts come to.
        pulling: how parts are had.
        scheduler: that the parts' authors draw with; None for the base's own.
    """

    def __init__(
        self,
        pipe: Any,
        profile: Profile,
        model: str,
        revision: str,
        base: Parts | None,
        where: DevicePlacement,
        pulling: Pulling,
        scheduler: SchedulerName | None = None,
    ):
        self.pipe, self.profile, self.model, self.base, self.own_net = pipe, profile, model, revision, pipe.controlnet
        self.files = {} if base is None else dict(base.files)
        self.always = () if base is None else tuple(base.licences)
        self.where, self.pulling = where, pulling
        self.loaded: dict[str, Any] = {}
        reader = PhotoReader(profile, pulling.commercial)
        self.people = pipe.backend = PhotoBackend(pipe, profile.size, None, None, reader, scheduler)
        self.in_use: tuple[list[str], ChosenAdapters] | None = None
        self._use([], self.people.adapters)

    def prepare(self, request: Request) -> None:
        """Bring in what a request needs.

        Raises:
            InputError: parts cannot be had, are damaged or not allowed; the line names them and the remedy.
        """
        names = needed_parts(self.profile, request, self.pulling, self.own_net is not None)
        chosen = chosen_adapters(request, self.pulling)
        if (names, chosen) != self.in_use:
            self._bring_in(names, chosen, f"model {self.model!r} with {asked(request)}")

    def prepare_parts(self, names: Sequence[str] | None = None) -> None:
        """Bring in the parts that are named, as far as the profile has them, or all that it usually works with.

        Raises:
            InputError: as `prepare`.
        """
        usual = usual_parts(self.profile, self.pulling.commercial)
        known = {part.name for part in self.profile.parts}
        wanted = usual if names is None else [name for name in names if name in known and name not in BASE]
        kept = [name for name in wanted if not (self.own_net is not None and name in NET_ROLES)]
        self._bring_in(kept, choose_adapters(None, None, self.pulling.commercial), f"model {self.model!r}")

    def stay_with_usual(self) -> None:
        """Download what is usually needed now, and nothing from then on: users of a service may not order gigabytes.

        Raises:
            InputError: as `prepare`.
        """
        self.pulling.pull(self.profile, usual_parts(self.profile, self.pulling.commercial), f"model {self.model!r}")
        self.pulling = replace(self.pulling, offline=True)

    def _bring_in(self, names: list[str], chosen: ChosenAdapters, what: str) -> None:
        self.pulling.pull(self.profile, names, what)
        new = [name for name in names if name not in self.loaded and name not in PERCEPTION]
        if new:
            options = {"dtype": self.pipe.unet.dtype, "base": False, "offline": True, "progress": self.pulling.say}
            beside = [name for name in names if name not in new]
            self._take(load_parts(self.profile, names=new, beside=beside, **options), new)
        self._use(names, chosen)

    @property
    def fast_lora(self) -> Path:
        """File of the few-step LoRA, once a request with `fast` was prepared."""
        return self.loaded[FAST]

    def _take(self, parts: Parts, names: Sequence[str]) -> None:
        """Put what was loaded where it belongs; ControlNets come into the pipeline when they are used."""
        if (encoder := parts.networks.get("image_encoder")) is not None:
            self.pipe.register_modules(image_encoder=encoder)
        for name in parts.adapters.keys() - self.pipe.adapters.keys():
            self.pipe.load_adapter(parts.adapters[name], name)
        self.loaded |= dict.fromkeys(names) | dict(parts.networks) | dict(parts.loras)
        for kind, found in ((RECOGNISERS, parts.recogniser), (DETECTORS, parts.detector)):
            self.loaded |= {name: found for name in names if name in kind}
        self.files |= parts.files

    def _use(self, names: Sequence[str], chosen: ChosenAdapters) -> None:
        """Let the named parts take part, and no others; adapters that no condition uses have no effect."""
        nets = {name: self.loaded[name] for name in NET_ROLES if name in names}
        own = list(getattr(self.own_net, "nets", [] if self.own_net is None else [self.own_net]))
        together = [*own, *nets.values()]
        self.pipe.register_modules(controlnet=several(together) if len(together) > 1 else next(iter(together), None))
        self.pipe.net_roles = (*([("pose",)] * len(own)), *(NET_ROLES[name] for name in nets))
        put_on_device(self.pipe, self.where)
        self.people.adapters = chosen
        self.people.recogniser = next((self.loaded[name] for name in names if name in RECOGNISERS), None)
        self.people.detector = next((self.loaded[name] for name in names if name in DETECTORS), None)
        used = {path: sha for path, sha in self.files.items() if path.partition("/")[0] in {*names, *self.always}}
        self.pipe.revision = _joined(self.base, used) if used else self.base
        self.pipe.licences = {name: self.profile.part(name).licence for name in (*self.always, *names)}
        self.in_use = list(names), chosen


def prepared(pipe: JointPass, request: Request) -> None:
    """Bring in what a request needs, where a pipeline takes its parts on demand.

    Raises:
        InputError: see `PartsOnDemand.prepare`.
    """
    if pipe.parts_on_demand is not None:
        pipe.parts_on_demand.prepare(request)


def _joined(base: str, files: Mapping[str, str]) -> str:
    lines = [f"base {base}", *(f"{path} {sha256}" for path, sha256 in sorted(files.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

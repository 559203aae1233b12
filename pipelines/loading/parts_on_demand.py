"""The parts of a profile around a base of the user's own: each comes in when a request first needs it.

Which parts act follows from the request alone, never from what happens to be in the cache or was used before, so that
the same request gives the same picture. Nothing is downloaded here: what is missing is named, with the command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twinset.errors import InputError
from twinset.figure.poses import NAMED
from twinset.models.hub.download import locate
from twinset.models.hub.parts import Profile
from twinset.pipelines.families.photo import PhotoBackend
from twinset.pipelines.families.photo_pose import PhotoReader
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.loading.assembly import DETECTORS, Parts, load_parts
from twinset.pipelines.loading.placement import DevicePlacement, put_on_device
from twinset.pipelines.request import Request

PERCEPTION = ("person_detector", "pose_estimator", "parser")
"""Parts that read people off photographs; `PhotoReader` loads them."""


class PartsOnDemand:
    """Puts the parts that requests need into a pipeline, and takes its ControlNet out where none is asked for.

    Args:
        pipe: of the base, on its device; it may have a ControlNet of its own, which then stays.
        profile: of the base's family.
        model: what messages call the base.
        revision: SHA-256 of the base.
        files: "part/path" → SHA-256 of parts that were loaded with the base.
        where: the base is, and parts come to.
    """

    def __init__(
        self, pipe: Any, profile: Profile, model: str, revision: str, files: Mapping[str, str], where: DevicePlacement
    ):
        self.pipe, self.profile, self.model, self.base, self.own_net = pipe, profile, model, revision, pipe.controlnet
        self.files, self.where = dict(files), where
        self.always = {name.partition("/")[0] for name in files}
        self.loaded: dict[str, Any] = {}
        self.people = pipe.backend = PhotoBackend(pipe, profile.size, None, None, PhotoReader(profile))
        self._use(())

    def prepare(self, request: Request) -> None:
        """Bring in what a request needs.

        Raises:
            InputError: parts are not here or damaged; the line names them and the command that gets them.
        """
        names = self.needed(request)
        require_cached(self.profile, names, f"model {self.model!r} with {_asked(request)}")
        new = [name for name in names if name not in self.loaded and name not in PERCEPTION]
        if new:
            parts = load_parts(self.profile, dtype=self.pipe.unet.dtype, names=new, base=False, offline=True)
            self._take(parts, new)
        self._use(names)

    def needed(self, request: Request) -> list[str]:
        """Names of the parts that a request needs; none for words alone."""
        names: list[str] = []
        if request.pose or request.selfies or request.garments or request.photo:
            names += ["pose_controlnet"] if self.own_net is None else []
        if request.photo or _is_picture(request.pose or "") or request.way == "serial":
            own = {"parser"} if request.parser else set()
            own |= {"person_detector", "pose_estimator"} if request.pose_estimator == "openpose" else set()
            names += [name for name in PERCEPTION if name not in own]
        if request.selfies:
            identity = self.profile.part("identity_adapter")
            detector = next(part.name for part in self.profile.chosen() if part.name in DETECTORS)
            names += [identity.name, str(identity.recogniser), detector]
        if request.garments:
            names.append("garment_adapter")
        return [*names, "image_encoder"] if request.selfies or request.garments else names

    def _take(self, parts: Parts, names: Sequence[str]) -> None:
        if parts.image_encoder is not None:
            self.pipe.register_modules(image_encoder=parts.image_encoder)
        for name in parts.adapters.keys() - self.pipe.adapters.keys():
            self.pipe.load_adapter(parts.adapters[name], name)
        found = {"pose_controlnet": parts.pose_controlnet, "recogniser": parts.recogniser, "detector": parts.detector}
        self.loaded |= dict.fromkeys(names) | {name: part for name, part in found.items() if part is not None}
        self.files |= parts.files

    def _use(self, names: Sequence[str]) -> None:
        """Let the named parts take part, and no others; adapters that no condition uses have no effect."""
        net = self.loaded.get("pose_controlnet") if "pose_controlnet" in names else None
        self.pipe.register_modules(controlnet=self.own_net or net)
        put_on_device(self.pipe, self.where)
        face = "identity_adapter" in names
        self.people.recogniser = self.loaded.get("recogniser") if face else None
        self.people.detector = self.loaded.get("detector") if face else None
        used = {path: sha for path, sha in self.files.items() if path.partition("/")[0] in {*names, *self.always}}
        self.pipe.revision = _joined(self.base, used) if used else self.base
        self.pipe.licences = {name: self.profile.part(name).licence for name in (*self.always, *names)}


def prepared(pipe: JointPass, request: Request) -> None:
    """Bring in what a request needs, where a pipeline takes its parts on demand.

    Raises:
        InputError: see `PartsOnDemand.prepare`.
    """
    if pipe.parts_on_demand is not None:
        pipe.parts_on_demand.prepare(request)


def require_cached(profile: Profile, names: Sequence[str], what: str) -> None:
    """Make sure that parts are in the cache.

    Raises:
        InputError: some are not.
    """
    missing = [name for name in names if not _is_here(profile, name)]
    if missing:
        command = f"twinset models pull {profile.name} --part {' --part '.join(missing)}"
        raise InputError(
            f"{what} needs parts of profile {profile.name!r} that are not here: {', '.join(missing)}; run: {command}"
        )


def _is_picture(pose: str) -> bool:
    """Whether a pose is neither a preset nor a keypoint file."""
    return pose.partition(":")[0] not in NAMED and Path(pose).suffix != ".json" and Path(pose).is_file()


def _is_here(profile: Profile, name: str) -> bool:
    part = profile.part(name)
    return all(locate(profile, part, path) is not None for path in part.wanted)


def _asked(request: Request) -> str:
    """What of a request needs parts, in words."""
    serial = request.way == "serial"
    given = {
        "a selfie": request.selfies,
        "a garment": request.garments,
        "a photo": request.photo,
        "a pose": request.pose,
    }
    return " and ".join(name for name, value in (given | {"--way serial": serial}).items() if value)


def _joined(base: str, files: Mapping[str, str]) -> str:
    lines = [f"base {base}", *(f"{path} {sha256}" for path, sha256 in sorted(files.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

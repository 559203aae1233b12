"""What a request may choose in place of the usual: insightface, OpenPose, xformers, networks from one's own files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from twinset.errors import InputError
from twinset.models.hub.catalog import BUFFALO_L
from twinset.perception.faces.insightface_package import import_analysis
from twinset.perception.people.pose import import_openpose
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.request import Request


def require_packages(request: Request, commercial: bool = False) -> None:
    """Refuse what cannot or must not be chosen, before anything large is loaded.

    Args:
        request: with the choices.
        commercial: refuse what may not be used commercially.

    Raises:
        InputError: a package does not load, or its licence forbids it; the line names the remedy.
    """
    if commercial:
        _require_commercial(request)
    if request.faces == "insightface":
        import_analysis()
    if request.pose_estimator == "openpose":
        import_openpose()


def _require_commercial(request: Request) -> None:
    if request.faces == "insightface":
        recogniser, detector = BUFFALO_L
        raise InputError(
            f"--faces insightface is refused for commercial use (its models are {recogniser.licence}); "
            f"leave it out: {detector.substitute} finds the faces then"
        )
    if request.pose_estimator == "openpose":
        raise InputError(
            "--pose-estimator openpose is refused for commercial use (CMU's licence is non-commercial); "
            "leave it out: rtmlib's DWPose, Apache-2.0, reads the poses then"
        )
    for path in request.networks:
        raise InputError(f"network {str(path)!r} states no licence; --commercial takes the model's own alone")


@contextmanager
def packages_on(pipe: JointPass, request: Request) -> Iterator[None]:
    """What a request chooses, in use while this is open; before any pass, so that a fault shows before any work.

    Args:
        pipe: the model.
        request: `attention` "native" leaves what the pipeline's user chose by `pipe.attention.use`.

    Raises:
        InputError: a package or file does not load or run here, or this model does not look at photographs.
    """
    own = [request.faces != "profile", request.pose_estimator != "rtmlib", request.parser is not None]
    if any(own) and pipe.backend is None:
        raise InputError(
            "--faces, --pose-estimator and --parser are for photographs, and this model draws and sees drawn people; "
            "leave them out, or take --model sd15 or sdxl"
        )
    with ExitStack() as choices:
        if any(own):
            require_packages(request, pipe.backend.commercial)
            choices.enter_context(pipe.backend.using(request))
        if request.attention != "native":
            choices.enter_context(pipe.attention.using(request.attention))
        yield

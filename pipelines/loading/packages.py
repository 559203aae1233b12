"""What a request may choose in place of the usual: packages, networks from one's own files, a scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twinset.adapters.lora.files import read_lora
from twinset.adapters.lora.install import install_lora, remove_lora
from twinset.errors import InputError
from twinset.models.hub.catalog import BUFFALO_L
from twinset.perception.faces.insightface_package import import_analysis
from twinset.perception.people.pose import import_openpose
from twinset.pipelines.denoising.schedulers import scheduler_on
from twinset.pipelines.families.photo_adapters import choose_adapters
from twinset.pipelines.joint_pass import JointPass
from twinset.pipelines.request import READERS, Request

FAST_LORA = "few-steps"
PHOTOGRAPHS_ONLY = (
    "--faces, --pose-estimator and --parser are for photographs, and this model draws and sees drawn people; "
    "leave them out, or use --model sd15 or sdxl"
)


FULL_SIZE_ONLY = (
    "--fast, --identity-adapter, --garment-adapter and --embedding are for --model sd15 and sdxl: the bundled model "
    "has adapters of its own and draws in 12 steps; leave them out"
)


def require_choices(request: Request, commercial: bool = False) -> None:
    """As `require_packages`, of a command whose request names the model that is about to be loaded.

    Raises:
        InputError: as there, or the bundled model should read photographs.
    """
    if request.model == "studio" and _reads_photographs(request):
        raise InputError(PHOTOGRAPHS_ONLY)
    if request.model == "studio" and _of_full_size(request):
        raise InputError(FULL_SIZE_ONLY)
    choose_adapters(request.identity_adapter, request.garment_adapter, commercial)
    require_packages(request, commercial)


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


def _reads_photographs(request: Request) -> bool:
    """Whether a request chooses what reads photographs."""
    return any(getattr(request, name) != Request.model_fields[name].default for name in READERS)


def _of_full_size(request: Request) -> bool:
    """Whether a request chooses what only the full-size families have."""
    adapters = request.identity_adapter, request.garment_adapter
    return request.fast or adapters != (None, None) or bool(request.embeddings)


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
        raise InputError(f"network {str(path)!r} states no licence; with --commercial leave it out")


@contextmanager
def packages_on(pipe: JointPass, request: Request) -> Iterator[None]:
    """What a request chooses, in use while this is open; before any pass, so that a fault shows before any work.

    Args:
        pipe: the model.
        request: `attention` "native" leaves what the pipeline's user chose by `pipe.attention.use`.

    Raises:
        InputError: a package or file does not load or run here, or this model does not look at photographs.
    """
    if pipe.backend is None and _of_full_size(request):
        raise InputError(FULL_SIZE_ONLY)
    reads = _reads_photographs(request)
    if reads and pipe.backend is None:
        raise InputError(PHOTOGRAPHS_ONLY)
    with ExitStack() as choices:
        if reads:
            require_packages(request, pipe.backend.commercial)
            choices.enter_context(pipe.backend.using(request))
        if request.attention != "native":
            choices.enter_context(pipe.attention.using(request.attention))
        choices.enter_context(scheduler_on(pipe, request.scheduler))
        choices.enter_context(fast_on(pipe, request))
        yield


@contextmanager
def fast_on(pipe: Any, request: Request) -> Iterator[None]:
    """The few-step LoRA of the model's profile in the UNet while this is open, where a request asks for it."""
    if not request.fast:
        yield
        return
    install_lora(pipe, read_lora(pipe.parts_on_demand.fast_lora), FAST_LORA)
    try:
        yield
    finally:
        remove_lora(pipe, FAST_LORA)

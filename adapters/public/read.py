"""One reader for all formats, which are told apart by a file's keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from diffusers import UNet2DConditionModel

from twinset.adapters.public.adapter import PublicAdapter
from twinset.adapters.public.face_id import read_face_id
from twinset.adapters.public.imagdressing import read_imagdressing
from twinset.adapters.public.ip_adapter import FACE_WIDTH, read_ip_adapter
from twinset.adapters.public.magic_clothing import read_magic_clothing
from twinset.adapters.public.story_maker import read_story_maker
from twinset.adapters.weights import LayoutError, Weights, open_weights

Form = Literal[
    "face-id",
    "face-id-plus",
    "face-id-plus-v2",
    "ip-adapter-plus",
    "instant-id",
    "imagdressing",
    "magic-clothing",
    "story-maker",
]
READERS: dict[Form, Callable[[Path, UNet2DConditionModel], PublicAdapter]] = {
    "face-id": partial(read_face_id, form="face-id"),
    "face-id-plus": partial(read_face_id, form="face-id-plus"),
    "face-id-plus-v2": partial(read_face_id, form="face-id-plus-v2"),
    "ip-adapter-plus": partial(read_ip_adapter, form="ip-adapter-plus"),
    "instant-id": partial(read_ip_adapter, form="instant-id"),
    "imagdressing": read_imagdressing,
    "magic-clothing": read_magic_clothing,
    "story-maker": read_story_maker,
}


def read_adapter(path: str | Path, unet: UNet2DConditionModel, form: Form | None = None) -> PublicAdapter:
    """Read a public adapter file.

    Args:
        path: the file as its authors publish it.
        unet: the UNet it will be used with, SD1.5 or SDXL; it may lie on the meta device.
        form: the format, where the keys (or for FaceID-Plus the file's name) do not tell it.

    Raises:
        LayoutError: the file is damaged, unsafe, of no known format, or made for another family of UNet.

    Example:
        adapter = read_adapter("ip-adapter-faceid-plusv2_sd15.bin", unet)
        tokens = adapter.projector(embedding, clip_states)
        unet.load_lora_adapter(adapter.lora, prefix=None, adapter_name="face")
    """
    path = Path(path)
    if form is not None and form not in READERS:
        raise LayoutError(f"unknown adapter form {form!r}; one of {', '.join(get_args(Form))}")
    return READERS[form or recognise(open_weights(path), path)](path, unet)


def recognise(state: Weights, path: Path) -> Form:
    """The format, recognised by the keys and, for FaceID-Plus, the file name."""
    if "image_proj.perceiver_resampler.proj_in.weight" in state:
        return _plus_version(path)
    if "image_proj.proj_in.weight" in state:
        return "instant-id" if state["image_proj.proj_in.weight"].shape[1:] == (FACE_WIDTH,) else "ip-adapter-plus"
    marks: dict[str, Form] = {
        "image_proj.proj.2.weight": "face-id",
        "image_proj_model.pos_embed": "story-maker",
        "module.proj.latents": "imagdressing",
        "conv_in.weight": "magic-clothing",
    }
    for key, form in marks.items():
        if key in state:
            return form
    keys = ", ".join(list(state)[:3])
    raise LayoutError(f"{path} is no known adapter (its keys begin {keys}); known: {', '.join(get_args(Form))}")


def _plus_version(path: Path) -> Form:
    """FaceID-Plus and -PlusV2 have the same keys and shapes; their names tell them apart."""
    name = path.name.lower().replace("-", "").replace("_", "")
    if "plusv2" in name:
        return "face-id-plus-v2"
    if "plus" in name:
        return "face-id-plus"
    raise LayoutError(
        f"{path} is FaceID-Plus or -PlusV2, which only the name tells apart; "
        'keep the published name or say form="face-id-plus" or form="face-id-plus-v2"'
    )

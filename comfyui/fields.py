"""The service's fields as ComfyUI's inputs: same names, same ranges, same defaults.

They come from `request_fields.json`, which Twinset writes from its own declaration of a request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Input = tuple[Any, dict[str, Any]]
"""A type, or the choices; and what ComfyUI knows of it."""

_SERVICE: dict[str, Any] = json.loads(Path(__file__).with_name("request_fields.json").read_text(encoding="utf-8"))
LARGEST_SEED: int = _SERVICE["largest_seed"]
MOST_SELFIES: int = _SERVICE["most_selfies"]
GARMENTS = tuple(range(1, _SERVICE["most_garments"] + 1))
AUTO = "auto"
PURPOSES: tuple[str, ...] = tuple(_SERVICE["purposes"])
KINDS: tuple[str, ...] = tuple(_SERVICE["kinds"])
POSES: tuple[str, ...] = tuple(_SERVICE["poses"])
ABSENT: dict[str, Any] = {"consent": "", "pose": AUTO, **_SERVICE["absent"]}
"""Values that stand for nothing: ComfyUI's inputs cannot be empty."""


def _options(*uses: str) -> dict[str, Input]:
    """The inputs of options that are for one of some uses."""
    return {
        name: (kind, settings)
        for name, (kind, settings) in _SERVICE["options"].items()
        if _SERVICE["use"][name] in uses
    }


def _choice(choices: tuple[str, ...], default: str, tooltip: str) -> Input:
    return list(choices), {"default": default, "tooltip": tooltip, "advanced": False}


def _text(default: str, tooltip: str) -> Input:
    return "STRING", {"default": default, "tooltip": tooltip, "advanced": False}


def _image(tooltip: str) -> Input:
    return "IMAGE", {"tooltip": tooltip}


SERVICE: Input = ("TWINSET_SERVICE", {"tooltip": "The output of Twinset Service."})
PROMPT: Input = (
    "STRING",
    {
        "default": "",
        "multiline": True,
        "dynamicPrompts": False,  # the service expands {a|b} itself, by the seed
        "placeholder": "short hair, smiling, on the beach / 短发，微笑，站在海边",
        "tooltip": "What to draw: a sentence, English or Chinese.",
    },
)
SEED: Input = (
    "INT",
    {
        "default": 0, "min": 0, "max": LARGEST_SEED, "control_after_generate": True,
        "tooltip": "Picture i uses seed + i; the same inputs and seed give the same pictures.",
    },
)  # fmt: skip
CONSENT = _text("", "The output of Twinset Consent, or the id of an earlier consent; a face needs one.")
SELFIES = _image("Up to four pictures of the person, as a batch; several become one identity.")
PHOTO = _image("The photo in which to change face, outfit or both; everything else stays.")
POSE_PICTURE = _image("A picture that shows somebody in the pose; `pose` must then be auto.")
WEARING: dict[str, Input] = {
    name: node_input
    for number in GARMENTS
    for name, node_input in (
        (f"garment_{number}", _image("A garment to wear.")),
        (f"kind_{number}", _choice((AUTO, *KINDS), AUTO, "Its kind; auto: recognised.")),
    )
}
POSING: dict[str, Input] = {
    "pose": _choice(
        (AUTO, *POSES, *(f"{pose}:mirror" for pose in POSES)),
        AUTO,
        "auto: the pose that the prompt names, else one drawn by the seed.",
    ),
    **_options("scene"),
}
BLENDING: dict[str, Input] = _options("photo")
OPTIONS: dict[str, Input] = _options("both")
NOT_SENT = ("service", "selfies", "photo", "pose_picture", *WEARING)
"""Inputs that are no fields, or pictures that are sent before."""


def order_fields(inputs: dict[str, Any]) -> dict[str, Any]:
    """A node's inputs as fields of an order, pictures aside; inputs at their `ABSENT` value are left out."""
    fields = {name: value for name, value in inputs.items() if name not in NOT_SENT}
    return {name: value for name, value in fields.items() if name not in ABSENT or value != ABSENT[name]}

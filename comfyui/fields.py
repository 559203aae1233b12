"""The service's fields as ComfyUI's inputs: same names, same ranges, same defaults."""

from __future__ import annotations

from typing import Any

Input = tuple[Any, dict[str, Any]]
"""A type, or the choices; and what ComfyUI knows of it."""

LARGEST_SEED = 2**32 - 1
MOST_SELFIES = 4
GARMENTS = (1, 2, 3, 4)
AUTO = "auto"
PURPOSES = ("try-on", "promotion", "training")
KINDS = ("t_shirt", "tank_top", "shirt", "hoodie", "coat", "dress", "skirt", "trousers", "shorts", "shoes", "bag")
POSES = (
    "standing", "walking", "waving", "arms_up", "hands_on_hips", "arms_crossed", "thinking", "pointing", "peace",
    "running", "leaning", "dancing", "cheering", "shrugging", "hand_on_heart", "star", "arms_out", "striding",
)  # fmt: skip
ABSENT: dict[str, Any] = {"consent": "", "pose": AUTO, "steps": 0, "guidance": -1.0, "min_identity": -1.0}
"""Values that stand for nothing: ComfyUI's inputs cannot be empty."""


def _number(kind: str, default: float, least: float, most: float, step: float, told: str, rare: bool = False) -> Input:
    return kind, {"default": default, "min": least, "max": most, "step": step, "tooltip": told, "advanced": rare}


def _strength(told: str) -> Input:
    return _number("FLOAT", 1.0, 0.0, 2.0, 0.05, f"{told}: 0 switches it off, 1 is usual.")


def _choice(choices: tuple[str, ...], default: str, told: str, rare: bool = False) -> Input:
    return list(choices), {"default": default, "tooltip": told, "advanced": rare}


def _switch(default: bool, told: str) -> Input:
    return "BOOLEAN", {"default": default, "tooltip": told, "advanced": True}


def _text(default: str, told: str, rare: bool = False) -> Input:
    return "STRING", {"default": default, "tooltip": told, "advanced": rare}


def _image(told: str) -> Input:
    return "IMAGE", {"tooltip": told}


SERVICE: Input = ("TWINSET_SERVICE", {"tooltip": "Of Twinset Service."})
PROMPT: Input = (
    "STRING",
    {
        "default": "",
        "multiline": True,
        "dynamicPrompts": False,  # the service expands {a|b} itself, by the seed
        "placeholder": "short hair, smiling, on the beach / 短发，微笑，站在海边",
        "tooltip": "A sentence, English or Chinese.",
    },
)
SEED: Input = (
    "INT",
    {
        "default": 0, "min": 0, "max": LARGEST_SEED, "control_after_generate": True,
        "tooltip": "Picture i has the seed seed + i; the same inputs and seed are the same pictures.",
    },
)  # fmt: skip
CONSENT = _text("", "Id of Twinset Consent, or of a consent entered before; a face needs one.")
SELFIES = _image("Up to four pictures of the person, as a batch; several become one identity.")
PHOTO = _image("The photo in which face, outfit or both are to change; all else stays.")
POSE_PICTURE = _image("A picture that shows somebody in the pose; `pose` must then be auto.")
WEARING: dict[str, Input] = {
    name: given
    for number in GARMENTS
    for name, given in (
        (f"garment_{number}", _image("A garment to wear.")),
        (f"kind_{number}", _choice((AUTO, *KINDS), AUTO, "What it is; auto: recognised.")),
    )
}
POSING: dict[str, Input] = {
    "pose": _choice(
        (AUTO, *POSES, *(f"{pose}:mirror" for pose in POSES)), AUTO, "auto: by the prompt's words, else by the seed."
    ),
    "framing": _choice(("portrait", "half", "three_quarter", "full"), "three_quarter", "How much of the body is seen."),
    "pose_strength": _strength("Weight of the pose"),
    "economical": _switch(False, "About half the work, a picture a little different."),
}
BLENDING: dict[str, Input] = {
    "blend": _choice(("soft", "poisson"), "soft", "poisson: the photo's level, no seam."),
}
OPTIONS: dict[str, Input] = {
    "num": _number("INT", 1, 1, 256, 1, "Number of pictures; a service may allow fewer."),
    "identity_strength": _strength("Weight of the selfies"),
    "garment_strength": _strength("Weight of the garments"),
    "steps": _number("INT", 0, 0, 1000, 1, "0: the model's own number."),
    "guidance": _number(
        "FLOAT", -1.0, -1.0, 30.0, 0.1, "How strictly words are followed, 1 is off; -1: the model's own."
    ),
    "candidates": _number("INT", 2, 1, 64, 1, "Seeds that may be tried for a picture while something is wrong."),
    "min_identity": _number(
        "FLOAT", -1.0, -1.0, 1.0, 0.05, "Faces that resemble the selfies less are refused; -1: none is."
    ),
    "face": _text("largest", "Of several faces in a selfie: largest, centre, or its number from the left.", rare=True),
    "repair": _switch(True, "Measure each picture, and repair what is wrong with it."),
    "repair_seconds": _number("FLOAT", 300.0, 0.0, 86400.0, 1.0, "No repair is begun after so long.", rare=True),
    "fusion_strength": _number("FLOAT", 1.0, 0.0, 1.0, 0.05, "How far repairs of colour and light go.", rare=True),
    "skin_tone_match": _number("FLOAT", 0.8, 0.0, 1.0, 0.05, "How far the face takes the body's skin tone.", rare=True),
    "way": _choice(("joint", "serial"), "joint", "serial: swap, try on and repair, to compare with.", rare=True),
    "labels": _switch(True, "Say in the file that the picture was generated; laws may ask for it."),
    "label_text": _text("AI生成", "Words of the visible label.", rare=True),
    "label_corner": _choice(
        ("top_left", "top_right", "bottom_left", "bottom_right", "none"), "bottom_right",
        "Where the visible label is; none leaves it out, and keeps the others.", rare=True,
    ),
    "face_lora_strength": _number(
        "FLOAT", 1.0, 0.0, 2.0, 0.05, "Of FaceID's LoRA, with selfies: 0.6 to 0.8 is usual, 0 off.", rare=True
    ),
}  # fmt: skip
NOT_SENT = ("service", "selfies", "photo", "pose_picture", *WEARING)
"""Inputs that are no fields, or pictures that are sent before."""


def order_fields(inputs: dict[str, Any]) -> dict[str, Any]:
    """What a node was given as fields of an order, but for the pictures; what stands for nothing is left out."""
    told = {name: value for name, value in inputs.items() if name not in NOT_SENT}
    return {name: value for name, value in told.items() if name not in ABSENT or value != ABSENT[name]}

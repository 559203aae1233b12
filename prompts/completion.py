"""What a sentence for a full-size family leaves open and its text encoder should read all the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from twinset.prompts.brief import GARMENT_WORDS, Brief

QUALITY_WORDS = {"sd15": "best quality, high quality", "sdxl": "high quality, highly detailed"}
"""Words with which each family's captions praise a picture."""
NEGATIVE_WORDS = ("monochrome", "lowres", "bad anatomy", "worst quality", "low quality", "blurry", "watermark")
"""The negative prompt that the authors of IP-Adapter and FaceID draw with, and two words more."""
_PERSON = re.compile(
    r"\b(?:1?(?:girl|boy|woman|man|lady|person|model|human|child|kid|someone|somebody|people|couple|women|men)s?"
    r"|i|me|my|myself|we|us|she|he|her|him|portrait|selfie)\b",
    re.IGNORECASE,
)
_FRAMINGS = {"portrait": "portrait", "half": "upper body", "three_quarter": "three-quarter length", "full": "full body"}
_BODY_SHOT = re.compile(
    r"\b(?:portrait|close-?up|upper body|full[- ]body|full[- ]length|headshot|half[- ]body)\b", re.I
)
_POSES = {
    "peace": "showing a peace sign", "star": "arms and legs spread", "arms_out": "arms stretched out",
    "arms_up": "arms raised", "hand_on_heart": "hand on heart",
}  # fmt: skip
_PLURAL = ("trousers", "shorts", "shoes", "boots", "heels", "glasses", "sunglasses")


def missing_words(
    brief: Brief, prompt: str, shown: Mapping[str, Sequence[str]], pose: str, framing: str
) -> tuple[list[str], list[str]]:
    """Phrases to put before and after an English prompt.

    Args:
        brief: of the sentence.
        prompt: in English.
        shown: garment kind to the colours of its picture, the main one first.
        pose: name of a preset; "" for none.
        framing: a key of the framings; "" for none.

    Returns:
        Before: somebody, where the prompt names nobody. After: garments that only pictures show, pose and framing.
    """
    nobody = not _PERSON.search(prompt) and brief.gender is None
    unnamed = [kind for kind in shown if kind not in brief.garments]
    worn = ["wearing " + " and ".join(_garment(kind, shown[kind]) for kind in unnamed)] if unnamed else []
    posed = [_pose_words(pose)] if pose and brief.pose is None else []
    framed = [_FRAMINGS[framing]] if framing in _FRAMINGS and not _BODY_SHOT.search(prompt) else []
    return ["a person"] if nobody else [], [*worn, *posed, *framed]


def _garment(kind: str, colours: Sequence[str]) -> str:
    """ "a red dress", "blue trousers"."""
    words = " ".join([*colours[:1], GARMENT_WORDS[kind][0] if kind in GARMENT_WORDS else kind.replace("_", " ")])
    return words if kind in _PLURAL else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _pose_words(pose: str) -> str:
    name = pose.partition(":")[0]
    return _POSES.get(name, name.replace("_", " "))

"""The nodes, in ComfyUI's classic form, which every version of it reads."""

from __future__ import annotations

import os
from typing import Any

from . import fields
from .drawing import PictureFiles, draw
from .fields import Input
from .host import output_place
from .service import USUAL_URL, AnswerError, Service, ServiceError, service_at

Inputs = dict[str, dict[str, Input]]
CATEGORY = "Twinset"
UNTIL = "YYYY-MM-DD"
"""Stands where a day is to be written."""
_ENTERED: dict[tuple[Any, ...], str] = {}
"""Words of a consent → its id."""
_ENDED: set[str] = set()
"""Consents that the service refused: withdrawn, ended, or of another person."""
PICTURES = ("IMAGE", "STRING", "TWINSET_FILES")
PICTURE_NAMES = ("images", "report", "files")
PICTURE_TOOLTIPS = (
    "The pictures, without the labels of their files.",
    "Seeds, scores, repairs and faults, as JSON.",
    "The files as the service made them, for Twinset Save: with their labels.",
)


class TwinsetService:
    """Where the service is."""

    RETURN_TYPES = ("TWINSET_SERVICE",)
    RETURN_NAMES = ("service",)
    FUNCTION = "choose"
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Twinset's REST service. Keys are taken from TWINSET_API_KEY or TWINSET_API_KEY_FILE where ComfyUI is "
        "started; other machines' addresses must also be in TWINSET_URL."
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The service's address, and how long to wait for it."""
        usual = os.environ.get("TWINSET_URL") or USUAL_URL
        wait = {"default": 1800, "min": 1, "max": 86400, "tooltip": "Seconds to wait for an order before giving up."}
        return {"required": {"url": ("STRING", {"default": usual, "tooltip": "Its address."}), "wait": ("INT", wait)}}

    def choose(self, url: str, wait: int) -> tuple[Service]:
        """The service as the other nodes use it; nothing is sent yet."""
        return (service_at(url, wait),)


class TwinsetConsent:
    """A person's consent, entered once for the same words."""

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("consent",)
    FUNCTION = "enter"
    CATEGORY = CATEGORY
    DESCRIPTION = "Records a person's consent to the use of their face. What you enter here is saved in the workflow."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The statement's fields; each purpose is a switch."""
        purposes: dict[str, Input] = {
            _switch_of(purpose): ("BOOLEAN", {"default": purpose == "try-on", "tooltip": f"For {purpose}."})
            for purpose in fields.PURPOSES
        }
        statement: dict[str, Input] = {
            "person": ("STRING", {"default": "", "tooltip": "Who agrees."}),
            **purposes,
            # ComfyUI shows no placeholder in a single line, so the form stands in the field
            "until": ("STRING", {"default": UNTIL, "tooltip": "The last day on which it is valid, as 2027-12-31."}),
            "agreed": ("BOOLEAN", {"default": False, "tooltip": "The person has agreed."}),
        }
        return {"required": {"service": fields.SERVICE, **statement}}

    @classmethod
    def IS_CHANGED(cls, **statement: Any) -> float | str:
        """ComfyUI keeps the id of the same words, but not one that the service has refused since."""
        entered = _ENTERED.get(_words_of(statement))
        return float("nan") if entered in _ENDED else ""

    def enter(self, service: Service, person: str, until: str, agreed: bool, **purposes: bool) -> tuple[str]:
        """The consent's id."""
        if not agreed:
            raise ServiceError("agreed: is not ticked; ask the person, and tick it when they agree")
        if until.strip() in ("", UNTIL):
            raise ServiceError(f"until: is {until!r}; write the last day on which it is valid, as 2027-12-31")
        words = _words_of({"person": person, "until": until, **purposes})
        if _ENTERED.get(words) in _ENDED:
            raise ServiceError("consent: it was withdrawn or has ended; ask the person anew, and write a new last day")
        told = [purpose for purpose in fields.PURPOSES if purposes.get(_switch_of(purpose))]
        _ENTERED[words] = service.consent({"person": person, "purposes": told, "until": until, "agreed": True})
        return (_ENTERED[words],)


class TwinsetGenerate:
    """Pictures of a person in an outfit and a scene."""

    RETURN_TYPES = PICTURES
    RETURN_NAMES = PICTURE_NAMES
    OUTPUT_TOOLTIPS = PICTURE_TOOLTIPS
    FUNCTION = "generate"
    CATEGORY = CATEGORY
    DESCRIPTION = "Draws face and outfit in one pass: a sentence, selfies, garments and a pose."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The service's fields."""
        given = {"consent": fields.CONSENT, "selfies": fields.SELFIES, **fields.WEARING}
        given |= {"pose_picture": fields.POSE_PICTURE, **fields.POSING, **fields.OPTIONS}
        return {
            "required": {"service": fields.SERVICE, "prompt": fields.PROMPT, "seed": fields.SEED},
            "optional": given,
        }

    def generate(self, service: Service, **inputs: Any) -> tuple[Any, str, PictureFiles]:
        """Pictures, what is known of them, their files."""
        return _drawn(service, inputs)


class TwinsetTryOnPhoto:
    """Face, outfit or both of an existing photo."""

    RETURN_TYPES = PICTURES
    RETURN_NAMES = PICTURE_NAMES
    OUTPUT_TOOLTIPS = PICTURE_TOOLTIPS
    FUNCTION = "try_on"
    CATEGORY = CATEGORY
    DESCRIPTION = "Changes face, outfit or both of a photo in one pass; pose, framing and all else stay."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The service's fields, but for the pose, which is the photo's."""
        told, options = fields.PROMPT[1] | {"default": "a person"}, {**fields.BLENDING, **fields.OPTIONS}
        needed = {"service": fields.SERVICE, "photo": fields.PHOTO, "prompt": (fields.PROMPT[0], told)}
        given = {"selfies": fields.SELFIES, **fields.WEARING, **options}
        return {"required": {**needed, "seed": fields.SEED, "consent": fields.CONSENT}, "optional": given}

    def try_on(self, service: Service, **inputs: Any) -> tuple[Any, str, PictureFiles]:
        """Pictures, what is known of them, their files."""
        return _drawn(service, inputs)


class TwinsetSave:
    """Files into ComfyUI's output folder, byte for byte."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Writes the service's files as they came, so that their labels (XMP, C2PA) survive; Save Image loses them. "
        "The workflow is not written into them: that would break the signature."
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """What to write, and where."""
        prefix = {"default": "Twinset", "tooltip": "As in Save Image: folder/name, %date:yyyy-MM-dd% and the like."}
        files = ("TWINSET_FILES", {"tooltip": "Of Twinset Generate or Twinset Try On Photo."})
        return {"required": {"files": files, "filename_prefix": ("STRING", prefix)}}

    def save(self, files: PictureFiles, filename_prefix: str) -> dict[str, Any]:
        """What ComfyUI shows under the node."""
        from .pictures import size_of

        folder, name, number, inside = output_place(filename_prefix, size_of(files.pngs[0]))
        shown = []
        for index, png in enumerate(files.pngs, number):
            file = f"{name}_{index:05}_.png"
            with (folder / file).open("xb") as out:
                out.write(png)
            shown.append({"filename": file, "subfolder": inside, "type": "output"})
        return {"ui": {"images": shown}}


def _drawn(service: Service, inputs: dict[str, Any]) -> tuple[Any, str, PictureFiles]:
    from .pictures import to_batch

    try:
        report, files = draw(service, inputs)
    except AnswerError as error:
        if inputs.get("consent") and "consent" in str(error):
            _ENDED.add(inputs["consent"])
        raise
    return to_batch(files.pngs), report, files


def _words_of(statement: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one consent from another."""
    return tuple(statement.get(name) for name in ("person", "until", *map(_switch_of, fields.PURPOSES)))


def _switch_of(purpose: str) -> str:
    return purpose.replace("-", "_")


NODES = {
    "Twinset Service": TwinsetService,
    "Twinset Consent": TwinsetConsent,
    "Twinset Generate": TwinsetGenerate,
    "Twinset Try On Photo": TwinsetTryOnPhoto,
    "Twinset Save": TwinsetSave,
}
NODE_CLASS_MAPPINGS = {node.__name__: node for node in NODES.values()}
NODE_DISPLAY_NAME_MAPPINGS = {node.__name__: name for name, node in NODES.items()}

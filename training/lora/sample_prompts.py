"""What is drawn to look at while a LoRA is trained: one sentence, or a file of them as sd-scripts reads it.

# a line for each picture; lines like this one are left out
wearing jckt coat, in the park --n blurry --d 7 --s 20 --l 6
wearing jckt coat, on the beach --selfie me.jpg --garment jeans.jpg --pose walking
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from twinset.common.validation import one_line
from twinset.errors import InputError
from twinset.pipelines.named_files import GarmentPicture
from twinset.pipelines.request import Request
from twinset.training.core.picture_files import decoded, read_training_picture
from twinset.training.lora.captions import noun
from twinset.training.lora.options import LoraOptions

#: Letters of sd-scripts, and names of ours → field of a request, or None where the model alone decides.
FLAGS: dict[str, str | None] = {
    "n": "negative", "d": "seed", "s": "steps", "l": "guidance", "g": "guidance", "ss": "scheduler",
    "w": None, "h": None, "selfie": "selfies", "garment": "garments", "pose": "pose",
}  # fmt: skip


def sample_requests(options: LoraOptions) -> list[Request]:
    """One request for each sample picture, seeds counted up where a line does not say one.

    Raises:
        InputError: a line or a picture that it names cannot be used; the message names the line.
    """
    if options.sample_prompts is None:
        sentence = (
            options.sample_prompt
            or f"a photo of a person wearing {options.word} {noun(options.garment_kind or 'clothes')}"
        )
        fields: dict[str, Any] = {"prompt": sentence}
        if options.sample_selfie is not None:
            fields["selfies"] = (options.sample_selfie,)
        if options.sample_garment is not None:
            fields["garments"] = (GarmentPicture(path=options.sample_garment),)
        return [_request(fields, options, index, "sample") for index in range(options.samples)]
    path = options.sample_prompts
    if not path.is_file():
        raise InputError(f"sample_prompts {str(path)!r} is not a file; give a text file with a prompt in each line")
    lines = [(n, line.strip()) for n, line in enumerate(decoded(path.read_bytes())[0].splitlines(), 1)]
    written = [(n, line) for n, line in lines if line and not line.startswith("#")]
    return [_of_line(line, options, index, f"{path}: line {n}") for index, (n, line) in enumerate(written)]


def _of_line(line: str, options: LoraOptions, index: int, where: str) -> Request:
    prompt, *flags = re.split(r"\s--(?=[a-z])", f" {line}")
    fields: dict[str, Any] = {"prompt": prompt.strip()}
    for flag in flags:
        name, _, value = flag.partition(" ")
        if name not in FLAGS or not value.strip():
            known = ", ".join(f"--{known}" for known in FLAGS)
            raise InputError(f"{where}: {'--' + flag!r} is unknown or has no value; there are {known}")
        field, value = FLAGS[name], value.strip()
        if field in ("selfies", "garments"):
            picture = options.sample_prompts.parent / value  # type: ignore[union-attr]
            fields[field] = (*fields.get(field, ()), picture if field == "selfies" else GarmentPicture(path=picture))
        elif field is not None:
            fields[field] = value
    return _request(fields, options, index, where)


def _request(fields: dict[str, Any], options: LoraOptions, index: int, where: str) -> Request:
    """A request, its pictures readable."""
    for picture in (*fields.get("selfies", ()), *(garment.path for garment in fields.get("garments", ()))):
        read_training_picture(picture, "sample picture")
    common = {"seed": options.seed + index, "pose": options.sample_pose, "model": options.model}
    try:
        return Request.model_validate({**common, **fields})
    except ValidationError as error:
        raise InputError(f"{where}: {one_line(error, 'prompt', quote=True)}") from None

"""A picture is drawn from its own seed and nothing else, alone or among others; pasted prompts say seeds too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.helpers.tiny import tiny_pipeline
from twinset.errors import InputError
from twinset.pipelines.generate import generate
from twinset.pipelines.loading.pasted_settings import LARGEST_SEED, tagged_loras, unused_settings
from twinset.pipelines.named_files import LoraChoice
from twinset.pipelines.record import Record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request, read_request
from twinset.pipelines.studio import StudioPipeline

PASTE = (
    "a woman in a {red|blue|green} coat, snow\nNegative prompt: hat, blurry\n"
    "Steps: 2, Sampler: DPM++ 2M Karras, CFG scale: 3.5, Seed: 77, Size: 192x256, Model hash: abc, Clip skip: 2"
)


def drawn(folder: Path, **fields: object) -> list[Record]:
    """Small unlabelled pictures, one step each."""
    own = {"steps": 1, "size": "frame", "detail": "none", "labels": False, "repair": False} | fields
    return generate(pipeline(), read_request(own), folder)


def pipeline() -> StudioPipeline:
    """Of no folder, so its weights have no hash."""
    pipe = tiny_pipeline()
    pipe.revision = "0" * 64
    return pipe


@pytest.mark.long
def test_a_picture_of_a_batch_is_the_one_drawn_alone(tmp_path: Path) -> None:
    prompt = "a person in a {red shirt|blue coat|green hoodie}, {beach|city|forest}"
    batch = drawn(tmp_path / "batch", prompt=prompt, seed=20, num=4)
    assert len({record.composed["prompt"] for record in batch}) > 1
    assert len({record.composed["pose"] for record in batch}) > 1
    for index in (1, 3):
        (alone,) = drawn(tmp_path / f"alone{index}", prompt=prompt, seed=20 + index)
        assert (alone.seed, alone.composed) == (batch[index].seed, batch[index].composed)
        one, other = tmp_path / "batch" / batch[index].picture, tmp_path / f"alone{index}" / alone.picture
        assert one.read_bytes() == other.read_bytes()
    path, equal = replay(pipeline(), batch[2], tmp_path / "again")
    assert equal and path.read_bytes() == (tmp_path / "batch" / batch[2].picture).read_bytes()


@pytest.mark.long
def test_the_largest_seed_and_what_comes_after_it(tmp_path: Path) -> None:
    batch = drawn(tmp_path / "both", prompt="red dress", seed=LARGEST_SEED, num=2)
    assert [record.seed for record in batch] == [2**64 - 1, 0]
    (first,) = drawn(tmp_path / "first", prompt="red dress", seed=0)
    assert (tmp_path / "both" / batch[1].picture).read_bytes() == (tmp_path / "first" / first.picture).read_bytes()
    with pytest.raises(InputError, match="seed"):
        read_request({"prompt": "red dress", "seed": 2**64})


def test_pasted_settings_take_their_places_where_no_field_says_otherwise() -> None:
    request = read_request({"prompt": PASTE, "model": "sd15"})
    assert (request.steps, request.guidance, request.seed, request.size) == (2, 3.5, 77, "192x256")
    assert request.scheduler == "dpmpp_2m_karras"
    own = read_request({"prompt": PASTE, "seed": 5, "steps": None})
    assert (own.seed, own.steps, own.scheduler) == (5, 2, None)  # the bundled model draws with few samplers
    assert unused_settings(PASTE, "studio") == [
        "pasted settings that this model does not take: sampler: DPM++ 2M Karras"
    ]
    assert Request.model_validate_json(request.model_dump_json()) == request
    wild = "red dress\nSteps: 99999, Sampler: none such, CFG scale: 70, Seed: -1, Size: 5x5"
    assert read_request({"prompt": wild}).steps is None and len(unused_settings(wild, "sd15")[0].split(", ")) == 5


def test_lora_tags_find_files_beside_those_of_the_request_and_nowhere_else(tmp_path: Path) -> None:
    for name in ("coat", "boots"):
        save_file({"a": np.zeros(1, np.float32)}, tmp_path / f"{name}.safetensors")
    known = (LoraChoice(path=tmp_path / "coat.safetensors", weight=0.5),)
    prompt = "<lora:coat:0.9>, <lora:boots:0.7>, <lora:../boots>, <lora:hat>, a woman"
    loras, notes = tagged_loras(prompt, known)
    assert [(lora.path.stem, lora.weight) for lora in loras] == [("coat", 0.5), ("boots", 0.7)]
    assert [note.split("'")[1] for note in notes] == ["../boots", "hat"]
    assert tagged_loras("<lora:coat:0.9>", ()) == (
        (),
        ["LoRA 'coat' of the prompt is not used: give its file with --lora FILE=0.9"],
    )

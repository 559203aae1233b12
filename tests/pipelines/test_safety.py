"""The safety hook: its levels, on what it looks, and that it says when nobody looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from tests.helpers.tiny import noise_picture
from twinset.compliance import moderation
from twinset.compliance.moderation import Moderator, cached_moderator
from twinset.errors import InputError
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import SD15
from twinset.pipelines.generate import generate
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.record import load_record
from twinset.pipelines.request import Request
from twinset.pipelines.safety import CONCERN, UnsafeError, require_level

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def moderator() -> Moderator:
    """Random weights of the checker's architecture, small; nothing is a concern yet."""
    torch.manual_seed(0)
    config: Any = CLIPConfig(
        projection_dim=24, vision_config=SMALL | {"image_size": 32, "patch_size": 8}, text_config=SMALL
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds_weights.data[:] = checker.special_care_embeds_weights.data[:] = 2.0  # no cosine is as large
    return Moderator(checker, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}))


def concerned_by(moderator: Moderator, picture: np.ndarray, nearness: float = 0.999) -> Moderator:
    """A checker whose first concept is this picture."""
    checker, pixels = moderator.checker, moderator.processor(picture, return_tensors="pt").pixel_values
    with torch.no_grad():
        concept = checker.visual_projection(checker.vision_model(pixels)[1])[0]
    config: Any = checker.config
    copied = StableDiffusionSafetyChecker(config)
    copied.load_state_dict(checker.state_dict())
    copied.concept_embeds.data[0], copied.concept_embeds_weights.data[0] = concept, nearness
    return Moderator(copied.eval(), moderator.processor)


def test_the_checker_flags_its_concepts_alone(moderator: Moderator) -> None:
    one, other = noise_picture(64, 80, 1), np.full((80, 64, 3), 120, np.uint8)
    named = concerned_by(moderator, one)
    assert named.flags(one) and not named.flags(other) and not moderator.flags(one)
    np.testing.assert_array_equal(one, noise_picture(64, 80, 1))  # it blackens nothing of ours


def test_it_is_read_from_the_public_layout(
    moderator: Moderator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = SD15.part("safety_checker")
    assert part.wanted[0] == "safety_checker/model.fp16.safetensors" and part.optional
    picture = noise_picture(64, 80, 1)
    named = concerned_by(moderator, picture, nearness=0.99)
    named.checker.half().save_pretrained(tmp_path / "safety_checker", variant="fp16")
    named.processor.save_pretrained(tmp_path / "feature_extractor")

    def here(profile: Profile, part: Any, path: str) -> Path | None:
        return tmp_path / path if (tmp_path / path).is_file() else None

    monkeypatch.setattr(moderation, "locate", here)
    found = cached_moderator(SD15)
    assert found is not None and found.flags(picture) and not found.flags(noise_picture(64, 80, 2) // 9)
    (tmp_path / part.wanted[0]).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"does not load .* replace it: twinset models pull sd15"):
        cached_moderator(SD15)
    (tmp_path / part.wanted[0]).unlink()
    assert cached_moderator(SD15) is None


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("twinset.pipelines.safety.cached_moderator", lambda profile: None)
    pipe: Any = load_pipeline("studio")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.long
def test_it_says_when_nobody_looks(pipe: Any, tmp_path: Path) -> None:
    generate(pipe, Request(prompt="hat", seed=1, steps=1, repair=False), tmp_path)
    told = load_record(tmp_path / "0001.json").safety
    assert told == {"level": "warn", "active": False, "concern": None}
    for call in (lambda: generate(pipe, Request(prompt="hat", safety="refuse"), tmp_path / "no"),
                 lambda: require_level("refuse")):  # fmt: skip
        with pytest.raises(InputError, match="needs a safety checker; get it: twinset models pull sd15"):
            call()
    assert not (tmp_path / "no").exists()
    with pytest.raises(InputError, match="safety = 'strict'"):
        require_level("strict")


@pytest.mark.long
def test_levels_for_what_is_given_and_what_is_drawn(pipe: Any, moderator: Moderator, tmp_path: Path) -> None:
    selfie = np.asarray(Image.open("examples/selfie.png").convert("RGB"))
    pipe.moderator = concerned_by(moderator, selfie)
    given = {"prompt": "hat", "selfies": (Path("examples/selfie.png"),), "seed": 1, "steps": 1, "repair": False}
    given |= {"garment_strength": 0.0}  # nothing is drawn in clothes of its own
    with pytest.raises(UnsafeError, match=f"selfie .*{CONCERN}; give another picture"):
        generate(pipe, Request(**given, safety="refuse"), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    (record,) = generate(pipe, Request(**given), tmp_path / "told")
    assert any(CONCERN in note for note in record.composed["notes"]) and record.safety["active"]
    drawn = np.asarray(Image.open(tmp_path / "told" / record.picture).convert("RGB"))
    pipe.moderator = concerned_by(moderator, drawn, nearness=0.9)  # the file is labelled, what is looked at is not
    (again,) = generate(pipe, Request(**given), tmp_path / "again")
    assert CONCERN in again.faults and again.safety["concern"] == CONCERN
    with pytest.raises(InputError, match=f"refused 1 of 1 pictures .*{CONCERN}"):
        generate(pipe, Request(**given, safety="refuse"), tmp_path / "nothing")
    assert not list((tmp_path / "nothing").glob("*.png"))
    (off,) = generate(pipe, Request(**given, safety="off"), tmp_path / "off")
    assert off.safety == {"level": "off", "active": False, "concern": None} and CONCERN not in off.faults

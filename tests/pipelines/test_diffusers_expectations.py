"""What users of any diffusers pipeline count on holds for both families: loading, schedulers, callbacks, tiling.

Loaded weights are in `test_loaded_weights.py`, single files in `test_single_file.py`, the choice of attention in
`test_attention_choice.py`, offloading and number formats in `test_offload.py`.
"""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.callbacks import (
    MultiPipelineCallbacks,
    PipelineCallback,
    SDXLCFGCutoffCallback,
    SDXLControlnetCFGCutoffCallback,
)
from torch import Tensor

from tests.helpers.both_families import FAMILIES, close, latents, ours, parts_of, theirs
from tests.helpers.diffusers_parts import inputs
from twinset.errors import InputError
from twinset.pipelines.denoising.guidance import Guidance

# Loading and saving


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_loads_what_diffusers_saved_and_gives_it_back(family: str, tmp_path: Path) -> None:
    plain = theirs(family)
    plain.save_pretrained(tmp_path / "theirs")
    cls: Any = type(ours(family))
    more = {"add_watermarker": False} if family == "sdxl" else {}
    pipe = cls.from_pretrained(tmp_path / "theirs", default_steps=3, default_guidance=2.5, **more)
    close(latents(pipe), latents(plain))
    pipe.save_pretrained(tmp_path / "ours")
    again = cls.from_pretrained(tmp_path / "ours", **more)
    assert again.config["default_steps"] == 3 and again.config["default_guidance"] == 2.5
    close(latents(again), latents(pipe), 1e-6)
    unsaid = latents(again, num_inference_steps=None, guidance_scale=None)
    close(unsaid, latents(pipe, num_inference_steps=3, guidance_scale=2.5), 1e-6)


@pytest.mark.long
@pytest.mark.parametrize("keyword", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loads_in_the_precision_asked_for(family: str, keyword: str, tmp_path: Path) -> None:
    theirs(family).save_pretrained(tmp_path)
    cls: Any = type(ours(family))
    more = {"add_watermarker": False} if family == "sdxl" else {}
    pipe = cls.from_pretrained(tmp_path, **{keyword: torch.bfloat16}, **more)
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.controlnet.dtype, pipe.text_encoder.dtype} == {torch.bfloat16}
    assert cls.from_pretrained(tmp_path, **more).unet.dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_loads_by_its_name_on_the_hub(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, asked = theirs(family), []
    plain.save_pretrained(tmp_path)
    pipe_class: Any = type(ours(family))

    def download(name: str, **_: Any) -> str:
        asked.append(name)
        return str(tmp_path)

    monkeypatch.setattr(pipe_class, "download", download)
    more = {"add_watermarker": False} if family == "sdxl" else {}
    pipe = pipe_class.from_pretrained("someone/dressed", **more)
    assert asked == ["someone/dressed"]
    close(latents(pipe), latents(plain))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["no-such-model", "a/b/c", "empty"])
def test_an_unknown_model_is_named(family: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cls: Any = type(ours(family))
    asked = str(tmp_path / "empty") if name == "empty" else name
    with pytest.raises(InputError, match=name):
        cls.from_pretrained(asked)


# Schedulers

KARRAS = {"use_karras_sigmas": True}
TIMETABLE = {"timesteps": [900, 500, 100], "num_inference_steps": None}
SCHEDULERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("DDIMScheduler", {}, {"eta": 0.5}),
    ("EulerDiscreteScheduler", {}, {}),
    ("EulerDiscreteScheduler", KARRAS, {}),
    ("EulerDiscreteScheduler", {}, {"sigmas": [10.0, 3.0, 0.5], "num_inference_steps": None}),
    ("EulerDiscreteScheduler", {}, TIMETABLE),
    ("EulerAncestralDiscreteScheduler", {}, {}),
    ("HeunDiscreteScheduler", {}, {}),
    ("DPMSolverMultistepScheduler", {}, {}),
    ("DPMSolverMultistepScheduler", KARRAS, {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ("UniPCMultistepScheduler", {}, {}),
    ("LCMScheduler", {}, TIMETABLE),
    ("LCMScheduler", {}, {"guidance_scale": 1.0}),
]


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name, config, options", SCHEDULERS)
def test_every_scheduler_gives_what_diffusers_gives(
    family: str, name: str, config: dict[str, Any], options: dict[str, Any]
) -> None:
    """From the same generator, so what a scheduler draws itself (Euler ancestral, LCM, SDE) is drawn the same."""
    parts, given = parts_of(family), {"num_inference_steps": 3, **options}
    parts["scheduler"] = getattr(diffusers, name).from_config(parts["scheduler"].config, **config)
    ours_first = latents(ours(family, parts), **given)
    close(ours_first, latents(theirs(family, parts), **given))
    torch.testing.assert_close(latents(ours(family, parts), **given), ours_first, rtol=0, atol=0)


# Callbacks


@pytest.mark.parametrize("family", FAMILIES)
def test_latents_changed_in_a_callback_take_effect(family: str) -> None:
    pipe, seen = ours(family), []

    def half(_pipe: Any, step: int, timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append((step, int(timestep), sorted(given)))
        return {"latents": given["latents"] / 2}

    once = latents(pipe, num_inference_steps=1)
    assert torch.equal(latents(pipe, num_inference_steps=1, callback_on_step_end=half), once / 2)
    close(latents(pipe, callback_on_step_end=half), latents(theirs(family), callback_on_step_end=half))
    assert [step for step, _, _ in seen] == [0, 0, 1, 0, 1] and seen[1:3] == seen[3:]
    assert all(names == ["latents"] for _, _, names in seen)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_stops_when_it_is_told_to(family: str) -> None:
    pipe, after = ours(family), []

    def stop(pipe: Any, step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        after.append(given["latents"].clone())
        pipe._interrupt = step == 1
        return given

    stopped = latents(pipe, num_inference_steps=4, callback_on_step_end=stop)
    assert len(after) == 2 and torch.equal(stopped, after[1])
    unstopped = latents(pipe, num_inference_steps=4)
    assert not pipe.interrupt and not torch.allclose(unstopped, stopped)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_without_guidance_costs_half(family: str) -> None:
    """Guidance that a callback ends halves the rows that the UNet sees, and changes the picture."""
    pipe, rows = ours(family), []
    pipe.unet.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))

    def unguided(pipe: Any, step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe._guidance_scale = 0.0 if step == 0 else pipe._guidance_scale
        return given

    ended = latents(pipe, num_inference_steps=3, callback_on_step_end=unguided)
    assert rows == [2, 1, 1]
    assert not torch.allclose(ended, latents(pipe, num_inference_steps=3), rtol=1e-2)


class Shift(PipelineCallback):
    """Adds 1 to the latents of every step."""

    tensor_inputs = ["latents"]  # noqa: RUF012  # type: ignore[assignment]

    def callback_fn(self, pipeline: Any, step_index: int, timesteps: Any, callback_kwargs: Any) -> dict[str, Any]:
        return {"latents": callback_kwargs["latents"] + 1}


def test_callback_objects_one_or_several() -> None:
    pipe = ours("sd15")
    plain = latents(pipe, num_inference_steps=1)
    assert torch.equal(latents(pipe, num_inference_steps=1, callback_on_step_end=Shift()), plain + 1)
    twice = MultiPipelineCallbacks([Shift(), Shift()])
    assert torch.equal(latents(pipe, num_inference_steps=1, callback_on_step_end=twice), plain + 1 + 1)


def test_diffusers_own_cutoff_of_guidance() -> None:
    """SDXL's; SD1.5's callbacks see negative and positive rows together in diffusers, the positive ones alone here."""
    official = SDXLControlnetCFGCutoffCallback(None, cutoff_step_index=0)
    options = {"num_inference_steps": 3, "callback_on_step_end": official}
    close(latents(ours("sdxl"), **options), latents(theirs("sdxl"), **options))


def test_the_cutoff_for_sdxl_without_controlnets_too() -> None:
    """diffusers' own ControlNet pipeline goes on with twice the picture and fails; this one has no such rows."""
    options = {"num_inference_steps": 3}
    base = SDXLCFGCutoffCallback(None, cutoff_step_index=0)
    net = SDXLControlnetCFGCutoffCallback(None, cutoff_step_index=0)
    one, other = (latents(ours("sdxl"), callback_on_step_end=c, **options) for c in (base, net))
    assert torch.equal(one, other)


@pytest.mark.parametrize("family", ["sdxl"])
def test_words_changed_in_a_callback_take_effect(family: str) -> None:
    """Another text from the second step on, as diffusers' own pipeline goes on with what a callback returns."""

    def zeros(_pipe: Any, _step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"prompt_embeds": torch.zeros_like(given["prompt_embeds"])}

    options = {"callback_on_step_end": zeros, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    changed = latents(ours(family), num_inference_steps=3, **options)
    close(changed, latents(theirs(family), num_inference_steps=3, **options))
    assert not torch.allclose(changed, latents(ours(family), num_inference_steps=3), rtol=1e-3)


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match="noise_pred"):
        latents(
            ours("sd15"),
            callback_on_step_end=lambda *_: {},
            callback_on_step_end_tensor_inputs=["noise_pred"],
        )


def test_a_callback_may_ask_whether_there_is_guidance() -> None:
    """`do_classifier_free_guidance` and `guidance_scale` are there in a callback, with a `Guidance` too."""
    seen = []

    def ask(pipe: Any, _step: int, _timestep: Tensor, given: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append((pipe.do_classifier_free_guidance, pipe.num_timesteps))
        return given

    for scale in (2.0, Guidance(text=2.0), 1.0, Guidance(text=1.0)):
        latents(ours("sd15"), num_inference_steps=1, guidance_scale=scale, callback_on_step_end=ask)
    assert seen == [(True, 1), (True, 1), (False, 1), (False, 1)]


# The VAE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiled_or_sliced_vae_gives_about_the_same_picture(family: str) -> None:
    pipe, calls = ours(family), []
    plain = pipe(**inputs()).images
    pipe.vae.enable_slicing()
    np.testing.assert_allclose(pipe(**inputs()).images, plain, atol=1e-5)
    pipe.vae.disable_slicing()
    pipe.vae.enable_tiling()
    pipe.vae.tile_latent_min_size, pipe.vae.tile_sample_min_size = 24, 48
    tiled = pipe.vae.tiled_decode
    pipe.vae.tiled_decode = lambda *args, **kwargs: calls.append(1) or tiled(*args, **kwargs)
    picture = pipe(**inputs()).images
    assert calls == [1] and picture.shape == plain.shape
    assert 0 < np.abs(picture - plain).mean() < 0.1


def test_pictures_in_every_form() -> None:
    pipe = ours("sd15")
    as_np, as_pt = (pipe(**inputs() | {"output_type": form}).images for form in ("np", "pt"))
    np.testing.assert_allclose(as_pt.permute(0, 2, 3, 1).numpy(), as_np, atol=1e-6)
    as_pil = pipe(**inputs() | {"output_type": "pil"}).images[0]
    assert np.abs(np.asarray(as_pil) / 255 - as_np[0]).max() <= 0.5 / 255 + 1e-6
    images, flags = pipe(**inputs(), return_dict=False)
    assert flags is None and np.array_equal(images, as_np)

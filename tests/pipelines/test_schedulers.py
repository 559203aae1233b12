"""Schedulers by name: each draws, is taken off again, and is in the record."""

# pyright: reportArgumentType=false
from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.helpers.both_families import ours
from tests.helpers.tiny import save_tiny
from twinset.errors import InputError
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.compose import Composition, compose
from twinset.pipelines.denoising.schedulers import SCHEDULERS, WITH_TERMINAL_NOISE, SchedulerName, scheduler_on
from twinset.pipelines.draw import draw, prompt_arguments
from twinset.pipelines.families.photo import PhotoBackend
from twinset.pipelines.generate import generate, with_model_defaults
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.record import load_record
from twinset.pipelines.replay import replay
from twinset.pipelines.request import Request


@pytest.fixture(scope="module")
def pipe():
    """SD1.5 on small parts, as `generate` has it."""
    made = ours("sd15")
    made.backend = PhotoBackend(made, (64, 64), None, None, scheduler="ddim")
    return made


def asking(**fields: object) -> Request:
    """A request of few steps."""
    return Request(**{"prompt": "a woman", "seed": 1, "steps": 4, "guidance": 2.0, "pose": "standing"} | fields)


def drawn(pipe, request: Request) -> tuple[np.ndarray, Composition]:
    """The picture of a request, and what was composed for it."""
    request = with_model_defaults(pipe, request)
    composition = compose(pipe, request)
    with scheduler_on(pipe, request.scheduler):
        return draw(pipe, request, composition, 0), composition


def test_every_name_has_a_class_of_diffusers_and_draws_in_its_own_way(pipe) -> None:
    before, pictures = pipe.scheduler, {}
    for name in SCHEDULERS:
        pictures[name] = drawn(pipe, asking(scheduler=name))[0].tobytes()
        assert pipe.scheduler is before
    assert set(SCHEDULERS) == set(get_args(SchedulerName))
    assert len(set(pictures.values())) == len(SCHEDULERS)
    assert drawn(pipe, asking())[0].tobytes() == pictures["ddim"]  # the backend's usual one


def test_profiles_name_schedulers_that_exist() -> None:
    assert {profile.scheduler for profile in ON_HUB.values()} <= set(SCHEDULERS)


def test_a_model_that_starts_from_noise_alone_takes_those_that_can(tmp_path: Path) -> None:
    studio = load_pipeline(str(save_tiny(tmp_path)))
    for name in SCHEDULERS:
        if name in WITH_TERMINAL_NOISE:
            assert np.isfinite(drawn(studio, asking(scheduler=name))[0]).all()
        else:
            with pytest.raises(InputError, match=r"take ddim, .*, unipc"), scheduler_on(studio, name):
                raise AssertionError(name)


def test_the_scheduler_is_in_the_record_and_in_its_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = load_pipeline(str(save_tiny(tmp_path / "model")))
    request = asking(scheduler="dpmpp_2m", labels=False, repair=False, model=str(tmp_path / "model"), negative="hat")
    (record,) = generate(studio, request, tmp_path / "out")
    again = load_record(tmp_path / "out" / "0001.json")
    assert again.request.scheduler == "dpmpp_2m" and again.composed["negative"] == "hat"
    monkeypatch.setattr("twinset.pipelines.compose.understand", _other_words())
    path, same = replay(studio, again, tmp_path / "replayed")
    assert same and path.read_bytes() == (tmp_path / "out" / record.picture).read_bytes()


def _other_words():
    """`understand` of a later version, with other prompts."""
    from dataclasses import replace

    from twinset.prompts.sentence import understand

    return lambda *args: replace(understand(*args), prompt="a person, words of a later version", negative="fog")


def test_prompts_of_any_length_are_read_to_their_end(pipe) -> None:
    filler = "a woman, " + "a very detailed picture of somebody somewhere, " * 20
    one, other = (drawn(pipe, asking(prompt=filler + end, raw_prompt=True)) for end in ("red", "a green forest"))
    arguments = prompt_arguments(pipe, one[1].sentence)
    assert arguments["prompt_embeds"].shape[1] > 77
    assert not np.array_equal(one[0], other[0])


def test_the_negative_prompt_acts(pipe) -> None:
    plain, without = drawn(pipe, asking()), drawn(pipe, asking(negative="blue"))
    assert without[1].sentence.negative.startswith("blue, ")
    assert not np.array_equal(plain[0], without[0])


def test_the_serial_way_says_what_it_lacks_before_it_draws(pipe) -> None:
    with pytest.raises(InputError, match="no networks that read people"):
        compose(pipe, with_model_defaults(pipe, asking(way="serial")))

"""The page's knobs: each kind of field has its component, and comes back as the service expects it."""

from __future__ import annotations

from typing import get_args

import pytest

from twinset.pipelines.denoising.schedulers import SchedulerName
from twinset.pipelines.options import choices
from twinset.serving.web.controls import knob, request_fields
from twinset.serving.web.session import MissingError


def test_what_the_knobs_say_is_what_a_request_says() -> None:
    said = {"size": "384x512", "negative": "fog", "scheduler": "ddim", "steps": "12", "guidance": "1.5", "num": 2}
    empty = {"min_identity": "", "hires_strength": None}
    assert request_fields(said | empty) == said | {"steps": 12, "guidance": 1.5}
    assert request_fields({"scheduler": "", "size": "", "negative": ""}) == {}
    with pytest.raises(MissingError):
        request_fields({"steps": "many"})


def test_a_choice_that_may_be_left_open_is_a_list_with_that_choice() -> None:
    dropdown = knob("scheduler")
    assert dropdown.value == "" and [value for _, value in dropdown.choices] == ["", *get_args(SchedulerName)]
    assert choices(SchedulerName | None) == get_args(SchedulerName) and choices(str | None) == ()
    assert knob("size").value == "" and knob("negative").value == ""

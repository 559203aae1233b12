"""diffusers' own test mixins hold for both pipelines: what users of any diffusers pipeline count on.

    pip install parameterized requests_mock torchsde
    git clone --depth 1 --branch v0.42.1 https://github.com/huggingface/diffusers diffusers-source
    DIFFUSERS_CHECKOUT=diffusers-source .venv/bin/python -m pytest -o addopts= tests/test_diffusers_mixins.py

Skipped without a checkout; `test_diffusers_expectations.py` states the most important of it in tests of our own.
"""

# pyright: reportArgumentType=false, reportUntypedBaseClass=false, reportGeneralTypeIssues=false
# (classes of the checkout are known only when it is there)
from __future__ import annotations

import unittest
from typing import Any

import pytest

from tests.diffusers_checkout import CHECKOUT, checkout_module
from tests.diffusers_parts import components, components_xl, inputs
from twinset.pipelines.joint import JointPipeline
from twinset.pipelines.joint_xl import JointXLPipeline

if not CHECKOUT:
    pytest.skip("DIFFUSERS_CHECKOUT names no checkout of diffusers", allow_module_level=True)

common: Any = checkout_module("pipelines.test_pipelines_common")
sets: Any = checkout_module("pipelines.pipeline_params")
LAYERS = (
    common.IPAdapterTesterMixin,
    common.PipelineLatentTesterMixin,
    common.PipelineKarrasSchedulerTesterMixin,
    common.SDFunctionTesterMixin,
    common.PipelineTesterMixin,
    unittest.TestCase,
)


class Shared(*LAYERS):
    """Both families' settings."""

    __test__ = False
    params = sets.TEXT_TO_IMAGE_PARAMS
    batch_params = sets.TEXT_TO_IMAGE_BATCH_PARAMS
    image_params = sets.IMAGE_TO_IMAGE_IMAGE_PARAMS
    image_latents_params = sets.TEXT_TO_IMAGE_IMAGE_PARAMS
    callback_cfg_params = sets.TEXT_TO_IMAGE_CALLBACK_CFG_PARAMS
    test_layerwise_casting = True
    test_group_offloading = True

    @unittest.skip("it looks for the source of encode_prompt among diffusers' own classes")
    def test_encode_prompt_works_in_isolation(self) -> None: ...

    @unittest.skip("it takes parts away that its own arguments need: the ControlNet, the text encoder")
    def test_save_load_optional_components(self) -> None: ...

    def get_dummy_inputs(self, device: Any, seed: int = 0) -> dict[str, Any]:
        return inputs(device, seed)


class TestJointPipeline(Shared):
    """SD1.5."""

    __test__ = True
    pipeline_class = JointPipeline

    def get_dummy_components(self) -> dict[str, Any]:
        return components()


class TestJointXLPipeline(Shared):
    """SDXL."""

    __test__ = True
    pipeline_class = JointXLPipeline

    def get_dummy_components(self) -> dict[str, Any]:
        return components_xl()

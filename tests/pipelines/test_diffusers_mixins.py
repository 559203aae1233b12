"""diffusers' own test mixins hold for both pipelines: what users of any diffusers pipeline count on.

    pip install parameterized requests_mock torchsde
    git clone --depth 1 --branch v0.42.1 https://github.com/huggingface/diffusers diffusers-source
    DIFFUSERS_CHECKOUT=diffusers-source .venv/bin/python -m pytest -o addopts= tests/pipelines/test_diffusers_mixins.py

Skipped without a checkout; `test_diffusers_expectations.py` states the most important of it in tests of our own.
"""

# pyright: reportArgumentType=false, reportUntypedBaseClass=false, reportGeneralTypeIssues=false
# (classes of the checkout are known only when it is there)
from __future__ import annotations

import tempfile
import unittest
from typing import Any

import pytest

from tests.helpers.diffusers_checkout import CHECKOUT, checkout_module
from tests.helpers.diffusers_parts import components, components_xl, inputs
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

    def test_encode_prompt_works_in_isolation(self, *_: Any, **__: Any) -> None:
        """diffusers' own looks for the source of encode_prompt among its own classes; the question is the same."""
        pipe = self.pipeline_class(**self.get_dummy_components())
        options = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        said = pipe.encode_prompt(self.get_dummy_inputs("cpu")["prompt"], **options)
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        isolated = self.get_dummy_inputs("cpu") | dict(zip(names, said, strict=False)) | {"prompt": None}
        pictures = [pipe(**given).images for given in (self.get_dummy_inputs("cpu"), isolated)]
        assert abs(pictures[0] - pictures[1]).max() < 1e-4

    def test_save_load_optional_components(self, *_: Any, **__: Any) -> None:
        """diffusers' own takes the ControlNet and text encoders away too, which its own arguments need."""
        pipe = self.pipeline_class(**self.get_dummy_components())
        needed = ("controlnet", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
        optional = [name for name in pipe._optional_components if name not in needed]
        for name in optional:
            setattr(pipe, name, None)
        with tempfile.TemporaryDirectory() as folder:
            pipe.save_pretrained(folder, safe_serialization=False)
            loaded = self.pipeline_class.from_pretrained(folder)
        assert all(getattr(loaded, name) is None for name in optional)
        pictures = [p(**self.get_dummy_inputs("cpu")).images for p in (pipe, loaded)]
        assert abs(pictures[0] - pictures[1]).max() < 1e-4

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

"""Nothing is computed twice of the same bytes, and nothing is kept beyond a change of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from peft import LoraConfig
from torch import nn

from tests.helpers.tiny import dressed, noise_picture, tiny_pipeline
from twinset.pipelines.denoising.condition_cache import ConditionCache, fingerprint
from twinset.pipelines.studio import StudioPipeline


@pytest.fixture(scope="module")
def pipe() -> StudioPipeline:
    return tiny_pipeline()


def runs(network: nn.Module, act: Callable[[], object]) -> int:
    """How often a network runs while `act` does."""
    calls: list[int] = []
    hook = network.register_forward_hook(lambda *_: calls.append(1))
    act()
    hook.remove()
    return len(calls)


def test_the_same_person_in_another_pose_is_not_encoded_again(pipe: StudioPipeline) -> None:
    crop, other = noise_picture(112, 112, 5), noise_picture(112, 112, 6)
    first = pipe.identity(crop, dressed())
    assert runs(pipe.face_encoder, lambda: pipe.identity(crop.copy(), dressed(("dress",)))) == 0
    assert runs(pipe.face_encoder, lambda: pipe.identity(other, dressed())) == 1
    assert torch.equal(pipe.identity(crop, dressed()).tokens, first.tokens)  # type: ignore[arg-type]


def test_the_same_garment_is_not_encoded_again_until_a_weight_changes() -> None:
    pipe, flat, layout = tiny_pipeline(), noise_picture(256, 192, 7), dressed()

    def worn() -> dict[str, torch.Tensor]:
        reference = pipe.garment(flat, "t_shirt", layout).reference
        assert reference is not None
        return reference

    before = worn()
    assert runs(pipe.unet, worn) == 0
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights="gaussian"), "garment")
    assert runs(pipe.unet, worn) == 1
    with torch.no_grad():
        pipe.unet.conv_in.weight.mul_(1.5)
    after = worn()
    assert not torch.equal(next(iter(after.values())), next(iter(before.values())))


def test_fingerprints_see_writes_casts_and_lora_switches() -> None:
    network = tiny_pipeline().unet
    network.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), "garment")
    seen = [fingerprint(network)]
    for change in (
        lambda: network.disable_adapters(),
        lambda: network.enable_adapters(),
        lambda: network.set_adapters("garment", 0.5),
        lambda: network.half(),
    ):
        change()
        seen.append(fingerprint(network))
    assert seen[2] == seen[0] and len(set(seen)) == 4
    assert fingerprint(network) == seen[-1]


def test_the_oldest_result_goes_first() -> None:
    memo, made = ConditionCache(size=2), []
    network = nn.Linear(1, 1)

    def make(picture: np.ndarray) -> int:
        made.append(int(picture[0]))
        return int(picture[0])

    for value in (1, 2, 1, 3, 1, 2):
        assert memo(make, np.array([value]), [network]) == value
    assert made == [1, 2, 3, 2]

"""Pictures that are drawn while an adapter is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.tiny import tiny_pipeline
from tests.training.test_adapter_training import asked
from twinset.training.adapters.data import AdapterData, AdapterPreviews
from twinset.training.adapters.networks import AdapterNetworks
from twinset.training.adapters.prepare import encode_people
from twinset.training.core.batches import TextStates
from twinset.training.core.denoising import denoising_loss, noise_schedule
from twinset.training.core.tensor_cache import TensorCache


@pytest.mark.long
@pytest.mark.parametrize("task", ["identity", "control"])
def test_previews_are_drawn_in_the_precision_of_the_training(task: str, tmp_path: Path) -> None:
    """On a GPU the frozen networks are in half precision and the adapter is not."""
    pipe = tiny_pipeline().to(torch.bfloat16)
    options = asked(task, model="studio", precision="bf16", samples=1, people=3, held_out=1)
    cache = TensorCache(tmp_path)
    rows = encode_people(pipe, options, cache, print)
    networks = AdapterNetworks(pipe, options)
    data = AdapterData(rows, options, cache, TextStates(pipe, cache))
    loss_fn = denoising_loss(noise_schedule(pipe.scheduler, options), options)
    previews = AdapterPreviews(networks, data, loss_fn, options, tmp_path)
    assert previews.sheet(1).std() > 1 and (tmp_path / "samples" / "000001.png").is_file()

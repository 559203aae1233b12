"""The training loop: several processes are one process with a larger batch."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn import functional as F

from twinset.training.checkpoints import Checkpoints
from twinset.training.loop import FitSettings, fit


class TwoLayers(nn.Module):
    """A net whose second branch is skipped in every other batch, as a dropped condition's is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.always, self.sometimes = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor, both: bool) -> Tensor:
        return self.always(x) + self.sometimes(x) if both else self.always(x)


def rows(index: int) -> dict[str, Tensor]:
    """Batch number `index` of one process: 8 rows of a linear task."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(index))
    return {"x": x, "y": x[:, :2] - x[:, 2:], "both": torch.tensor(index // 2 % 2 == 0)}


def loss_fn(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    loss = F.mse_loss(model(batch["x"], bool(batch["both"])), batch["y"])
    return loss, {"mse": loss.detach()}


def settings(out: Path) -> FitSettings:
    return FitSettings(out=out, steps=12, learning_rate=1e-2, warmup=1, clip=1e6)


def fit_as_one_of_two(out: Path) -> None:
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)
    fit(TwoLayers(), rows, loss_fn, settings(out))


def test_two_processes_are_one_with_twice_the_batch(tmp_path: Path) -> None:
    launch = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="test"
    )
    elastic_launch(launch, fit_as_one_of_two)(tmp_path / "two")
    state = Checkpoints(tmp_path / "two" / "checkpoints").newest()
    assert state is not None and state["step"] == 12

    def both(step: int) -> dict[str, Tensor]:
        one, other = rows(2 * step), rows(2 * step + 1)
        return {"both": one["both"], **{k: torch.cat([one[k], other[k]]) for k in ("x", "y")}}

    model = TwoLayers()
    before = model.sometimes.weight.clone()
    fit(model, both, loss_fn, settings(tmp_path / "one"))
    assert not torch.equal(model.sometimes.weight, before)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(state["model"][name], weight)

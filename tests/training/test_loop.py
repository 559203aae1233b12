"""The training loop: several processes are one process with a larger batch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn import functional as F

from twinset.training.core.checkpoints import Checkpoints
from twinset.training.core.fused import FusedBackward
from twinset.training.core.loop import FitSettings, fit


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


@pytest.mark.long
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


def fitted(out: Path, steps: int = 12, **changed: object) -> TwoLayers:
    model = TwoLayers()
    schedule = {"schedule": lambda step: 1 / (1 + step)}
    fit(model, rows, loss_fn, replace(settings(out), steps=steps, **changed), **schedule)  # type: ignore[arg-type]
    return model


def test_fused_backward_learns_the_same(tmp_path: Path) -> None:
    """Where no gradient is clipped, nothing but the moment of the update differs."""
    plain, fused = fitted(tmp_path / "plain"), fitted(tmp_path / "fused", fused_backward=True)
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    loss_fn(fused, rows(0))[0].backward()
    assert fused.always.weight.grad is not None  # it is nobody's any more


def test_fused_backward_keeps_one_gradient_at_a_time() -> None:
    model, alive = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5))), []
    weights = list(model.parameters())
    for weight in weights:  # told before the optimiser is
        weight.register_post_accumulate_grad_hook(lambda _: alive.append(sum(w.grad is not None for w in weights)))
    before = [weight.clone() for weight in weights]
    FusedBackward([{"params": weights}], lambda groups: torch.optim.SGD(groups, lr=0.1), clip=1.0)
    model(torch.ones(2, 4)).sum().backward()
    assert max(alive) <= 2 and len(alive) == 10 and all(weight.grad is None for weight in weights)
    assert not any(torch.equal(one, other) for one, other in zip(before, weights, strict=True))


def test_fused_backward_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = fitted(tmp_path / "whole", fused_backward=True)
    fitted(tmp_path / "parts", 5, fused_backward=True)
    gone_on = fitted(tmp_path / "parts", fused_backward=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), gone_on.parameters(), strict=True))


def test_fused_backward_refuses_what_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accumulate"):
        replace(settings(tmp_path), fused_backward=True, accumulate=2)
    fitted(tmp_path, 5)
    with pytest.raises(ValueError, match="as the run was begun"):
        fitted(tmp_path, fused_backward=True)

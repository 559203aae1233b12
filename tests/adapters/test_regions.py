"""Masks of conditions and their soft edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twinset.adapters.condition import Layout
from twinset.adapters.regions import region, soften
from twinset.figure.labels import garment_labels


@pytest.fixture
def step() -> torch.Tensor:
    """(1, 1, 32, 40): 0 left, 1 from column 20 on."""
    mask = torch.zeros(1, 1, 32, 40)
    mask[..., 20:] = 1
    return mask


def test_region_is_that_of_the_layout():
    labels = np.arange(18, dtype=np.uint8).repeat(2).reshape(4, 9)
    layout = Layout(np.zeros((18, 3), np.float32), labels)
    for owned in (garment_labels("shoes"), (11,), ()):
        mask = region(labels, owned)
        assert mask.shape == (1, 1, 4, 9) and mask.dtype == torch.float32
        assert torch.equal(mask, layout.region(owned)) and mask.sum() == 2 * len(owned)
        assert torch.equal(mask, region(torch.from_numpy(labels), owned))


@pytest.mark.parametrize("radius", [1, 3, 8, 4.4])
def test_a_soft_edge_is_one_half_where_the_edge_was(step, radius):
    soft, reach = soften(step, radius), round(radius)
    row = soft[0, 0, 5]
    assert (row[19] + row[20]) / 2 == pytest.approx(0.5)  # the edge lies between these
    assert (row[1:] >= row[:-1]).all()
    assert (row[: 20 - reach] == 0).all() and (row[20 + reach :] == 1).all()
    rise = row[20 - reach : 20 + reach].diff()
    assert torch.allclose(rise, torch.full_like(rise, 1 / (2 * reach + 1)))  # a straight line
    assert (soft == soft[:, :, :1]).all()  # the picture's border is no edge


def test_softening_keeps_range_order_and_input():
    masks = (torch.rand(2, 1, 24, 24) > 0.5).float()
    larger, before = torch.maximum(masks, (torch.rand(2, 1, 24, 24) > 0.5).float()), masks.clone()
    soft = soften(masks, 3)
    assert soft.shape == masks.shape and soft.min() >= 0 and soft.max() <= 1
    assert (soften(larger, 3) >= soft - 1e-6).all()
    assert soften(masks, 0) is masks and torch.equal(masks, before)
    assert torch.equal(soften(torch.ones(1, 1, 9, 9), 20), torch.ones(1, 1, 9, 9))


@pytest.mark.parametrize("radius", [-1, float("nan")])
def test_impossible_radii_are_refused(step, radius):
    with pytest.raises(ValueError, match=str(radius)):
        soften(step, radius)

"""Masks of conditions: soft edges, growth, fair shares, owners."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twinset.adapters.condition import Layout
from twinset.adapters.regions import grow, person_region, region, share, soften
from twinset.figure.labels import garment_labels
from twinset.figure.photo_parsing import Person, body_maps
from twinset.figure.photo_poses import ordinary_preset


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


def test_growing_is_by_a_disc():
    dot = torch.zeros(1, 1, 21, 25)
    dot[..., 10, 12] = 1
    y, x = torch.meshgrid(torch.arange(21) - 10, torch.arange(25) - 12, indexing="ij")
    for radius in (1, 4, 30):
        assert torch.equal(grow(dot, radius)[0, 0] > 0, x**2 + y**2 <= radius**2)
    assert grow(dot, 0) is dot and dot.sum() == 1


def test_growing_contains_and_respects_soft_values(step):
    soft = soften(step, 4)
    grown = grow(soft, 3)
    assert (grown >= soft).all() and grown.max() == 1
    assert torch.equal(grown[..., :30], soft[..., 3:33])  # a straight edge moves by the radius


@pytest.mark.parametrize("change", [soften, grow])
@pytest.mark.parametrize("radius", [-1, float("nan")])
def test_impossible_radii_are_refused(step, change, radius):
    with pytest.raises(ValueError, match=str(radius)):
        change(step, radius)


def test_owners_share_in_proportion():
    first, second = (
        torch.tensor([1.0, 0.9, 0.3, 0.0]).view(1, 1, 1, 4),
        torch.tensor([1.0, 0.3, 0.3, 0.0]).view(1, 1, 1, 4),
    )
    a, b = share([first, second])
    assert a.flatten().tolist() == pytest.approx([0.5, 0.75, 0.3, 0])
    assert b.flatten().tolist() == pytest.approx([0.5, 0.25, 0.3, 0])
    masks = list(torch.rand(5, 1, 1, 16, 16))
    assert sum(share(masks)).max() <= 1 + 1e-6  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="at least one"):
        share([])


def test_people_have_their_own_regions():
    size = (256, 192)
    left, right = (ordinary_preset("standing", "full", size) for _ in range(2))
    left[:, 0] -= 20
    right[:, 0] += 20
    labels, owner = body_maps([Person(left, ("shirt",)), Person(right, ("shirt",))], size)
    shirts = region(labels, garment_labels("shirt"))
    each = [person_region(owner, index) * shirts for index in range(2)]
    assert all(mask.shape == (1, 1, 192, 256) and mask.sum() > 200 for mask in each)
    assert torch.equal(each[0] + each[1], shirts)
    shared = share([soften(grow(mask, 3), 4) for mask in each])
    assert (shared[0] + shared[1]).max() <= 1 + 1e-6
    assert not person_region(owner, 7).any()
    with pytest.raises(ValueError, match="-1"):
        person_region(owner, -1)

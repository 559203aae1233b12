"""Training of autoencoder and joint model on a few drawn people: it learns, and it sees what inference will see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.helpers.tiny import tiny_model, tiny_pipeline
from twinset.adapters.condition import Condition, paint
from twinset.adapters.regions import TRACE
from twinset.figure.flat_garments import garment_draft, render_flat
from twinset.figure.labels import garment_labels
from twinset.models.region_controlnet import Paint, label_masks
from twinset.models.vae import PatchAutoencoderKL, decode, encode
from twinset.pipelines.joint import JointPipeline, Layout
from twinset.training.core.settings import from_mapping
from twinset.training.mannequin.spec import draw_spec
from twinset.training.mannequin.store import load_store, render_store
from twinset.training.studio.joint_data import Dropout, Encoders, JointData, PhotoMode, encode_store
from twinset.training.studio.joint_model import borders, edge_error, joint_loss, studio_scheduler
from twinset.training.studio.recipe import Recipe
from twinset.training.studio.vae import VaeSettings, draw_batch, make_loss, to_pixels

NOTHING = Dropout(words=0, identity=0, garment=0, pose=0, parsing=0)


@pytest.fixture(scope="module")
def pipe() -> JointPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    render_store(folder, 8, "train", workers=1)
    return folder


@pytest.fixture(scope="module")
def cache(data: Path, pipe: JointPipeline) -> Path:
    return encode_store(data, data / "cache", Encoders(pipe.vae, pipe.face_encoder, pipe.clip))


def test_linear_start_is_already_an_autoencoder(data: Path) -> None:
    pictures = to_pixels(load_store(data, ("picture",))["picture"])
    vae = PatchAutoencoderKL().eval()
    with torch.no_grad():
        untrained = float(F.mse_loss(decode(vae, encode(vae, pictures)), pictures))
        vae.start_linear(pictures)
        error = float(F.mse_loss(decode(vae, encode(vae, pictures)), pictures))
        assert encode(vae, pictures).shape == (8, 16, 32, 24)
    assert error < 0.02 < untrained  # 23 dB


def test_autoencoder_training_lowers_its_loss(data: Path, pipe: JointPipeline) -> None:
    store = load_store(data, ("picture", "parsing", "keypoints", "flats", "crops"))
    settings = VaeSettings(data=data, faces=data, out=data, crops=2, size=48, aligned=2)
    torch.manual_seed(0)
    vae, loss_fn = PatchAutoencoderKL(), make_loss(pipe.face_encoder)
    vae.start_linear(to_pixels(store["picture"]))
    optimiser = torch.optim.Adam(vae.parameters(), 3e-4)
    batch, losses = draw_batch(store, settings, 0), []
    for _ in range(25):
        loss, _ = loss_fn(vae, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_batches_repeat_by_step_and_differ_between_steps(cache: Path, pipe: JointPipeline) -> None:
    batches = JointData(cache, pipe.clip, 4, Dropout(), seed=3)
    first, again, other = batches.batch(5), batches.batch(5), batches.batch(6)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["noise"], other["noise"])
    assert first["latents"].shape == (4, 16, 32, 24) and first["words"].shape == (4, 77, 32)


def test_dropped_words_are_the_empty_text(cache: Path, pipe: JointPipeline) -> None:
    silent = JointData(cache, pipe.clip, 4, Dropout(words=1.0)).batch(0)
    assert torch.equal(silent["words"], silent["empty"].expand(4, -1, -1))
    spoken = JointData(cache, pipe.clip, 4, NOTHING).batch(0)
    assert not torch.equal(spoken["words"], spoken["empty"].expand(4, -1, -1))


def test_joint_training_lowers_its_loss(cache: Path, pipe: JointPipeline) -> None:
    model = tiny_model().train().requires_grad_(True)
    batch, loss_fn = JointData(cache, pipe.clip, 4, NOTHING).batch(0), joint_loss(studio_scheduler())
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss, figures = loss_fn(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert set(figures) == {"x0", "face", "edge", "canvas"}
    assert losses[-1] < 0.7 * losses[0]


def test_of_a_photo_only_what_is_drawn_anew_has_a_condition(cache: Path, pipe: JointPipeline) -> None:
    """The face is drawn anew, garments are the photo's own: they have no condition, and their cells are given."""
    photo = PhotoMode(share=1.0, face=1.0, garment=0.0, skin=0.0)
    batch = JointData(cache, pipe.clip, 8, NOTHING, photo=photo).batch(0)
    assert batch["identity_on"].all() and not batch["garment_on"].any()
    given = batch["photo_region"]
    assert set(given.unique().tolist()) == {0.0, 1.0}
    assert not (given * (batch["face_region"] > TRACE)).any()
    assert 0.3 < given.mean() < 0.98
    known = tiny_model().conditions(batch)[-1]
    assert known.kind == "photo" and known.draft is not None and torch.equal(known.draft, batch["latents"])


def test_without_photos_all_is_drawn(cache: Path, pipe: JointPipeline) -> None:
    batch = JointData(cache, pipe.clip, 8, NOTHING, photo=PhotoMode(share=0.0)).batch(0)
    assert not batch["photo_region"].any() and batch["identity_on"].all() and batch["garment_on"].all()


def test_a_photo_covers_what_conditions_laid_there() -> None:
    like = Paint.blank(1, 4, 8, (6, 6), torch.zeros(1))
    everywhere, left = torch.ones(1, 1, 6, 6), torch.ones(1, 1, 6, 6)
    left[..., 3:] = 0
    face = Condition("identity", torch.ones(1, 2, 8), everywhere, None, torch.full((1, 4, 6, 6), 2.0))
    photo = Condition("photo", None, left, None, torch.full((1, 4, 6, 6), 5.0))
    painted = paint([face, photo], 1, like)
    assert (painted.draft[..., :3] == 5).all() and (painted.draft[..., 3:] == 2).all()
    assert (painted.pooled[..., :3] == 0).all() and (painted.pooled[..., 3:] == 1).all()
    assert painted.given[0, :, 0, 0].tolist() == [0, 0, 1] and painted.given[0, :, 0, 5].tolist() == [1, 0, 0]


def test_edges_count_where_labels_meet_and_around_what_is_drawn_anew() -> None:
    masks, photo = torch.zeros(1, 18, 8, 8), torch.ones(1, 1, 8, 8)
    masks[:, 0, :, :4], masks[:, 4, :, 4:] = 1, 1
    masks[:, [0, 4], :, 4] = 0.5
    photo[..., 6:] = 0
    where = borders(masks, photo)[0, 0]
    assert where[0].tolist() == [0, 0, 0, 0, 0.5, 1, 1, 0]
    truth = torch.zeros(1, 2, 8, 8)
    moved = truth.clone()
    moved[..., 5:] = 1.0  # an edge where there is none
    assert edge_error(moved, truth, torch.ones(1, 1, 8, 8)).sum() == 2 * 8
    assert edge_error(truth + 3, truth, torch.ones(1, 1, 8, 8)).sum() == 0  # levels are the other loss's matter


def test_every_part_learns(cache: Path, pipe: JointPipeline) -> None:
    model = tiny_model().train().requires_grad_(True)
    batch = JointData(cache, pipe.clip, 4, NOTHING).batch(0) | {"with_reference": torch.tensor(True)}
    joint_loss(studio_scheduler())(model, batch)[0].backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # of the reference pass only the projections learn; a bias before a softmax over keys has no effect
    assert [n for n in silent if not n.endswith("read_key.bias")] == []


def test_training_sees_the_conditions_that_inference_makes(data: Path, cache: Path, pipe: JointPipeline) -> None:
    store = load_store(data)
    model = tiny_model()
    batches = JointData(cache, pipe.clip, 8, NOTHING)
    batch = batches.batch(0)  # all eight, in order
    assert torch.equal(batch["masks"], label_masks(batch["palette"], (32, 24)))
    conditions = model.conditions(batch)
    for row in range(3):
        layout = Layout(store["layout_keypoints"][row], store["layout"][row])
        selfie = int(np.argmin([float((batch["face_embedding"][row] - torch.tensor(e).float()).norm())
                                for e in np.asarray(batches.fields["face_embedding"][row])]))  # fmt: skip
        ours = pipe.identity(store["crops"][row][selfie], layout)
        assert torch.allclose(ours.tokens[0], conditions[0].tokens[row], atol=2e-2)
        assert torch.allclose(ours.draft[0], conditions[0].draft[row], atol=2e-2)
        assert torch.allclose(ours.mask((32, 24))[0], conditions[0].region[row], atol=1e-5)
        small = store["flats"][row][0]
        flat = render_flat(draw_spec(int(store["seed"][row]), "train").garments["upper"])
        worn = pipe.garment(np.kron(small, np.ones((2, 2, 1), np.uint8)), str(store["upper_kind"][row]), layout)
        assert torch.allclose(worn.tokens[0], conditions[1].tokens[row], atol=2e-2)
        assert torch.allclose(worn.mask((32, 24))[0], conditions[1].region[row], atol=1e-5)
        drawn = garment_draft(layout.labels, layout.keypoints, {str(store["upper_kind"][row]): flat})
        owned = layout.region(garment_labels(str(store["upper_kind"][row])))[0, 0].bool().numpy()
        assert np.array_equal(drawn[owned], store["draft"][row][owned])


def test_recipes_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match="unknown table \\[vea\\]"):
        Recipe({"vea": {}})
    with pytest.raises(ValueError, match="unknown option 'minuts'"):
        from_mapping(VaeSettings, {"data": "a", "faces": "b", "out": "c", "minuts": 3}, "vae")

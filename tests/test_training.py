"""Training of autoencoder and joint model on a few drawn people: it learns, and it sees what inference will see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.tiny import tiny_model, tiny_pipeline
from twinset.models.figure.flat import garment_draft
from twinset.models.figure.labels import garment_labels
from twinset.models.region_controlnet import label_masks
from twinset.models.vae import PatchAutoencoderKL, decode, encode
from twinset.pipelines.joint import JointPipeline, Layout
from twinset.training.joint_data import Dropout, Encoders, JointData, encode_store
from twinset.training.joint_model import joint_loss, studio_scheduler
from twinset.training.mannequin.render import render_flat
from twinset.training.mannequin.spec import draw_spec
from twinset.training.mannequin.store import load_store, render_store
from twinset.training.recipe import Recipe
from twinset.training.settings import from_mapping
from twinset.training.vae import VaeSettings, draw_batch, make_loss, to_pixels

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
    assert set(figures) == {"x0", "face", "canvas"}
    assert losses[-1] < 0.7 * losses[0]


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

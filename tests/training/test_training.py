"""Training of autoencoder and joint model on a few drawn people: it learns, and it sees what inference will see."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.helpers.tiny import save_tiny, tiny_model, tiny_pipeline
from twinset.adapters.condition import Condition, region_hints
from twinset.adapters.identity import IdentityAdapter
from twinset.adapters.regions import TRACE
from twinset.errors import InputError
from twinset.figure.drawing.flat_garments import garment_draft, render_flat
from twinset.figure.face_look import LOOKS, face_look
from twinset.figure.labels import garment_labels
from twinset.models.region_controlnet import RegionHints, label_masks
from twinset.models.vae import PatchAutoencoderKL, decode_latents, encode_picture
from twinset.pipelines.joint import Layout
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.studio import StudioPipeline
from twinset.training.core.command_line import options_from_command_line
from twinset.training.mannequin.spec import draw_spec
from twinset.training.mannequin.store import load_store, render_store
from twinset.training.studio.assemble import with_canvas
from twinset.training.studio.canvas import canvas_adapter, go_on
from twinset.training.studio.joint_data import Dropout, Encoders, JointData, PhotoMode, encode_store
from twinset.training.studio.joint_model import borders, edge_error, joint_loss, studio_scheduler
from twinset.training.studio.recipe import Recipe
from twinset.training.studio.vae import VaeOptions, draw_windows, make_loss, to_pixels

ROOT = Path(__file__).resolve().parents[2]
NOTHING = Dropout(words=0, identity=0, garment=0, pose=0, parsing=0)


@pytest.fixture(scope="module")
def pipe() -> StudioPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    render_store(folder, 8, "train", workers=1)
    return folder


@pytest.fixture(scope="module")
def cache(data: Path, pipe: StudioPipeline) -> Path:
    return encode_store(data, data / "cache", Encoders(pipe.vae, pipe.face_encoder, pipe.clip, pipe.identity_adapter))


@pytest.mark.long
def test_linear_start_is_already_an_autoencoder(data: Path) -> None:
    pictures = to_pixels(load_store(data, ("picture",))["picture"])
    vae = PatchAutoencoderKL().eval()
    with torch.no_grad():
        untrained = float(F.mse_loss(decode_latents(vae, encode_picture(vae, pictures)), pictures))
        vae.start_linear(pictures)
        error = float(F.mse_loss(decode_latents(vae, encode_picture(vae, pictures)), pictures))
        assert encode_picture(vae, pictures).shape == (8, 16, 32, 24)
    assert error < 0.02 < untrained  # 23 dB


@pytest.mark.long
def test_autoencoder_training_lowers_its_loss(data: Path, pipe: StudioPipeline) -> None:
    store = load_store(data, ("picture", "parsing", "keypoints", "flats", "crops"))
    settings = VaeOptions(data=data, faces=data, out=data, crops=2, size=48, aligned=2)
    torch.manual_seed(0)
    vae, loss_fn = PatchAutoencoderKL(), make_loss(pipe.face_encoder)
    vae.start_linear(to_pixels(store["picture"]))
    optimiser = torch.optim.Adam(vae.parameters(), 3e-4)
    batch, losses = draw_windows(store, settings, 0), []
    for _ in range(25):
        loss, _ = loss_fn(vae, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_batches_repeat_by_step_and_differ_between_steps(cache: Path, pipe: StudioPipeline) -> None:
    batches = JointData(cache, pipe.clip, 4, Dropout(), seed=3)
    first, again, other = batches.batch(5), batches.batch(5), batches.batch(6)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["noise"], other["noise"])
    assert first["latents"].shape == (4, 16, 32, 24) and first["words"].shape == (4, 77, 32)


def test_dropped_words_are_the_empty_text(cache: Path, pipe: StudioPipeline) -> None:
    silent = JointData(cache, pipe.clip, 4, Dropout(words=1.0)).batch(0)
    assert torch.equal(silent["words"], silent["empty"].expand(4, -1, -1))
    spoken = JointData(cache, pipe.clip, 4, NOTHING).batch(0)
    assert not torch.equal(spoken["words"], spoken["empty"].expand(4, -1, -1))


@pytest.mark.long
def test_joint_training_lowers_its_loss(cache: Path, pipe: StudioPipeline) -> None:
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
    assert set(figures) == {"x0", "face", "edge"}
    assert losses[-1] < 0.7 * losses[0]


def test_of_a_photo_only_what_is_drawn_anew_has_a_condition(cache: Path, pipe: StudioPipeline) -> None:
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


def test_without_photos_all_is_drawn(cache: Path, pipe: StudioPipeline) -> None:
    batch = JointData(cache, pipe.clip, 8, NOTHING, photo=PhotoMode(share=0.0)).batch(0)
    assert not batch["photo_region"].any() and batch["identity_on"].all() and batch["garment_on"].all()


def test_a_photo_covers_what_conditions_laid_there() -> None:
    like = RegionHints.blank(1, 4, 8, (6, 6), torch.zeros(1))
    everywhere, left = torch.ones(1, 1, 6, 6), torch.ones(1, 1, 6, 6)
    left[..., 3:] = 0
    face = Condition("identity", torch.ones(1, 2, 8), everywhere, None, torch.full((1, 4, 6, 6), 2.0))
    photo = Condition("photo", None, left, None, torch.full((1, 4, 6, 6), 5.0))
    painted = region_hints([face, photo], 1, like)
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


def test_every_part_learns(cache: Path, pipe: StudioPipeline) -> None:
    model = tiny_model().train().requires_grad_(True)
    batch = JointData(cache, pipe.clip, 4, NOTHING).batch(0) | {"with_reference": torch.tensor(True)}
    joint_loss(studio_scheduler())(model, batch)[0].backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # of the reference pass only the projections learn; a bias before a softmax over keys has no effect
    assert [n for n in silent if not n.endswith("read_key.bias") and "face_decoder" not in n] == []  # learnt before


def test_training_sees_the_conditions_that_inference_makes(data: Path, cache: Path, pipe: StudioPipeline) -> None:
    store = load_store(data)
    model = tiny_model()
    batches = JointData(cache, pipe.clip, 8, NOTHING, windows=0.0)
    batch = batches.batch(0)  # all eight, in order
    assert torch.equal(batch["masks"], label_masks(batch["palette"], (32, 24)))
    conditions = model.conditions(batch)
    for row in range(3):
        layout = Layout(store["layout_keypoints"][row], store["layout"][row])
        selfie = int(np.argmin([float((batch["face_embedding"][row] - torch.tensor(e).float()).norm())
                                for e in np.asarray(batches.fields["face_embedding"][row])]))  # fmt: skip
        ours = pipe.identity(store["crops"][row][selfie], layout)
        assert torch.allclose(ours.tokens[0], conditions[0].tokens[row], atol=2e-2)
        apart = (ours.draft[0] - conditions[0].draft[row]).abs()  # of half-precision embeddings through the canvas
        assert apart.mean() < 0.03 and apart.max() < 0.4
        assert torch.allclose(ours.mask((32, 24))[0], conditions[0].region[row], atol=1e-5)
        small = store["flats"][row][0]
        flat = render_flat(draw_spec(int(store["seed"][row]), "train").garments["upper"])
        worn = pipe.garment(np.kron(small, np.ones((2, 2, 1), np.uint8)), str(store["upper_kind"][row]), layout)
        upper = next(c for c in conditions if c.kind == "garment" and c.tokens is not None)
        assert torch.allclose(worn.tokens[0], upper.tokens[row], atol=2e-2)
        assert torch.allclose(worn.mask((32, 24))[0], upper.region[row], atol=1e-5)
        drawn = garment_draft(layout.labels, layout.keypoints, {str(store["upper_kind"][row]): flat})
        owned = layout.region(garment_labels(str(store["upper_kind"][row])))[0, 0].bool().numpy()
        assert np.array_equal(drawn[owned], store["draft"][row][owned])


def test_recipes_refuse_what_they_do_not_know() -> None:
    with pytest.raises(InputError, match="unknown table \\[vea\\]"):
        Recipe({"vea": {}})
    with pytest.raises(InputError, match="\\[vae\\]: option 'minuts' is unknown; did you mean 'minutes'"):
        Recipe({"vae": {"minuts": 3}})
    with pytest.raises(InputError, match="\\[render\\]: workers = 0"):
        Recipe({"render": {"workers": 0}})


def test_the_recipe_that_make_train_runs_is_known() -> None:
    recipe = Recipe(tomllib.loads((ROOT / "training" / "studio.toml").read_text(encoding="utf-8")))
    assert list(recipe.stages()) == [
        "render", "face_encoder", "vae", "canvas", "clip", "face_finder", "figure_reader", "joint", "assemble", "judges"
    ]  # fmt: skip
    assert (recipe.joint_options.minutes, recipe.joint_options.processes) == (240, 2)
    assert recipe.networks["vae"][0].out == Path("runs/vae")
    assert recipe.judge_options.data == Path("data/judge") and recipe.render_options.judge == 6144


@pytest.mark.long
def test_a_whole_recipe_runs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage at its smallest; a second run finds all parts and goes on with nothing."""
    monkeypatch.setattr("twinset.training.studio.recipe.STUDIO", tmp_path / "studio")
    monkeypatch.setattr("twinset.training.studio.recipe.JUDGES", tmp_path / "judges")
    once: dict[str, Any] = {"steps": 1, "held_out": 2}
    small: dict[str, dict[str, Any]] = {
        "render": {"out": str(tmp_path / "data"), "train": 6, "judge": 6, "faces": 6, "workers": 1},
        "face_encoder": {**once, "people": 2},
        "vae": {"steps": 1, "crops": 1, "size": 16, "aligned": 1},
        "clip": {**once, "pictures": 2, "garments": 2, "faces": 2, "spoiled": 2},
        "face_finder": {**once, "batch_size": 2, "scenes": 3},
        "figure_reader": {**once, "batch_size": 2},
        "joint": {"steps": 1, "batch": 2},
        "judges": {**once, "batch_size": 2},
    }
    for stage in Recipe(small, tmp_path / "runs").stages().values():
        stage()
    assert (tmp_path / "studio" / "checksums.json").is_file()
    assert sorted(path.name for path in (tmp_path / "judges").iterdir()) == ["face", "garment", "picture", "runs"]
    assert list((tmp_path / "runs" / "joint" / "samples").glob("*.png"))
    before = (tmp_path / "runs" / "parts" / "vae" / "config.json").stat().st_mtime_ns
    Recipe(small, tmp_path / "runs").stages()["vae"]()
    assert (tmp_path / "runs" / "parts" / "vae" / "config.json").stat().st_mtime_ns == before


def test_a_network_is_trained_by_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", "a", "--faces", "b", "--out", "c", "--minutes", "9", "--no-bf16"]
    options = options_from_command_line(VaeOptions, "Trains.", given)
    assert options == VaeOptions(data=Path("a"), faces=Path("b"), out=Path("c"), minutes=9, bf16=False)
    for mistake, told in (
        (["--data", "a"], "required: --faces, --out"),
        ([*given, "--minuts", "3"], "unrecognized arguments: --minuts"),
        ([*given, "--size", "90"], "size = '90': Input should be a multiple of 8"),
    ):
        with pytest.raises(SystemExit) as stop:
            options_from_command_line(VaeOptions, "Trains.", mistake)
        assert stop.value.code == 2 and told in capsys.readouterr().err
    with pytest.raises(SystemExit):
        options_from_command_line(VaeOptions, "Trains.", ["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "their side in pixels, divisible by 8. [default: 96]" in said and "--bf16, --no-bf16" in said


def test_a_canvas_goes_on_from_another_one(tmp_path: Path) -> None:
    """Before the first step the wider canvas gives the same faces, whatever the look."""
    torch.manual_seed(3)
    earlier, wider = IdentityAdapter({}, canvas_hidden=24), canvas_adapter(40)
    go_on(wider, earlier)
    embeddings, looks = torch.nn.functional.normalize(torch.randn(5, 512)), torch.randn(5, LOOKS)
    torch.testing.assert_close(wider.face(embeddings, looks), earlier.face(embeddings))
    with pytest.raises(InputError, match="width 40 does not go into one of 24"):
        go_on(canvas_adapter(24), wider)


def test_a_canvas_comes_into_a_pipeline_folder_alone(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model")
    before = IdentityAdapter.from_pretrained(folder / "identity_adapter").state_dict()
    canvas_adapter(16).save_pretrained(tmp_path / "canvas")
    with_canvas(folder, tmp_path / "canvas")
    after = IdentityAdapter.from_pretrained(folder / "identity_adapter")
    assert (after.looks, after.config["canvas_hidden"]) == (LOOKS, 16)
    kept = {key: value for key, value in after.state_dict().items() if not key.startswith("face_decoder.")}
    assert all(torch.equal(value, before[key].half().float()) for key, value in kept.items())
    pipe: Any = load_pipeline(str(folder))
    assert pipe.canvas(np.zeros(512), face_look("smile")).shape == (112, 112, 3)

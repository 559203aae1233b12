"""Training one adapter around a frozen model: what is learnt, what is written, and that others read it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.helpers.both_families import FAMILIES, ours
from tests.helpers.tiny import save_tiny, tiny_pipeline
from twinset import cli
from twinset.adapters.garment import GarmentAdapter
from twinset.adapters.identity import IdentityAdapter
from twinset.errors import InputError
from twinset.figure.labels import DRESS, FACE, LABELS, PALETTE, PANTS, UPPER
from twinset.models.region_controlnet import RegionControlNetModel
from twinset.pipelines.families.backend import Selfie
from twinset.pipelines.families.drawn import StudioBackend
from twinset.pipelines.families.photo import PhotoBackend
from twinset.training.adapters.data import AdapterData
from twinset.training.adapters.options import AdapterOptions, ControlOptions, GarmentOptions, IdentityOptions
from twinset.training.adapters.prepare import PeopleEncoder
from twinset.training.adapters.shown import Shown, drawn_shown, sources
from twinset.training.adapters.train import train_adapter
from twinset.training.core.checkpoints import Checkpoints
from twinset.training.core.options import checked, read_recipe
from twinset.training.core.tensor_cache import TensorCache
from twinset.training.mannequin.viton import write_viton

pytestmark = pytest.mark.long

KINDS: dict[str, type[AdapterOptions]] = {
    "identity": IdentityOptions, "garment": GarmentOptions, "control": ControlOptions
}  # fmt: skip


class Recogniser:
    """Says of a face what its pixels' means are."""

    sha256 = "of the tests"

    def embed(self, face: np.ndarray) -> np.ndarray:
        means = face.reshape(16, 7, 16, 7, 3).mean((1, 3)).ravel()[:512] / 255 - 0.5
        return (means / np.linalg.norm(means)).astype(np.float32)


def full(family: str) -> Any:
    """A small pipeline of a full-size family, with a CLIP of the public width and a recogniser."""
    pipe = ours(family)
    torch.manual_seed(4)
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=32, num_hidden_layers=2, num_attention_heads=16, image_size=28,
        patch_size=14, projection_dim=16,
    )  # fmt: skip
    pipe.register_modules(image_encoder=CLIPVisionModelWithProjection(config).eval())
    pipe.backend = PhotoBackend(pipe, (64, 64), Recogniser(), None)  # type: ignore[arg-type]
    return pipe


def asked(task: str, **more: Any) -> AdapterOptions:
    common = {"model": "sd15", "people": 5, "held_out": 2, "samples": 0, "batch": 2, "steps": 4, "save_every": 2}
    common |= {"sample_every": 0, "learning_rate": 1e-3, "resolution": 64}
    wide = {"width": 64} if task == "garment" and more.get("model") != "studio" else {}
    return checked(KINDS[task], common | wide | more, "the test")


def weights(pipe: Any) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": tensor.clone()
        for part in ("unet", "vae", "text_encoder")
        for name, tensor in getattr(pipe, part).state_dict().items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# Full-size families


@pytest.mark.parametrize("family", FAMILIES)
def test_an_identity_adapter_is_a_face_id_file(family: str, tmp_path: Path) -> None:
    pipe = full(family)
    before = weights(pipe)
    out = train_adapter(pipe, asked("identity", model=family), tmp_path / "ip-adapter-faceid.safetensors").out
    assert same(before, weights(pipe))
    region, face = torch.ones(1, 1, 64, 64), np.ones(512, np.float32)
    pipe.load_adapter(out, "mine", form="face-id")
    condition = pipe.face_condition("mine", face, region)
    assert condition.tokens.shape[1] == 4 and pipe.adapters["mine"].adapter.lora
    said = [
        pipe("x", image=[torch.zeros(1, 3, 64, 64)] * len(pipe.nets), conditions=[c], num_inference_steps=1,
             output_type="latent", generator=torch.Generator().manual_seed(0)).images
        for c in (condition, condition.weighted(0.0))
    ]  # fmt: skip
    assert not torch.equal(*said)
    pipe.unload_adapter("mine")
    assert same(before, weights(pipe))


def test_diffusers_reads_the_face_id_file(tmp_path: Path) -> None:
    pipe = full("sd15")
    train_adapter(pipe, asked("identity"), tmp_path / "faces.safetensors")
    pipe.load_ip_adapter(str(tmp_path), subfolder=None, weight_name="faces.safetensors", image_encoder_folder=None)
    assert any("IPAdapter" in type(p).__name__ for p in pipe.unet.attn_processors.values())


def test_an_identity_without_attention_lora_has_zeros_for_it(tmp_path: Path) -> None:
    pipe = full("sd15")
    out = train_adapter(pipe, asked("identity", attention_lora=False), tmp_path / "x.safetensors").out
    pipe.load_adapter(out, "mine", form="face-id")
    lora = pipe.adapters["mine"].adapter.lora
    assert lora and not any(tensor.any() for tensor in lora.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_garment_adapter_is_an_ip_adapter_plus_file(family: str, tmp_path: Path) -> None:
    pipe = full(family)
    before = weights(pipe)
    out = train_adapter(pipe, asked("garment", model=family), tmp_path / "cloth.safetensors").out
    assert same(before, weights(pipe))
    pipe.load_adapter(out, "cloth", form="ip-adapter-plus")
    looks = [pipe.image_condition("cloth", picture, torch.ones(1, 1, 64, 64)).tokens for picture in two_garments()]
    assert looks[0].shape[1] == 16 and not torch.equal(*looks)


def two_garments() -> list[np.ndarray]:
    return [next(iter((drawn_shown(seed).garments or {}).values())) for seed in (0, 1)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["parsing", "pose"])
def test_a_controlnet_is_a_folder_of_diffusers(family: str, kind: str, tmp_path: Path) -> None:
    pipe = full(family)
    before = weights(pipe)
    out = train_adapter(pipe, asked("control", model=family, kind=kind), tmp_path / "net").out
    assert same(before, weights(pipe))
    net: Any = ControlNetModel.from_pretrained(out)
    assert any(block.weight.any() for block in net.controlnet_down_blocks)  # they began at zero
    assert (out / "palette.json").is_file() == (kind == "parsing")
    if kind == "parsing":
        palette = json.loads((out / "palette.json").read_text("utf-8"))
        assert list(palette) == list(LABELS) and palette["face"] == PALETTE[FACE].tolist()


def test_the_loss_falls(tmp_path: Path) -> None:
    """Of a ControlNet on one picture, always in the same noise."""
    pipe = full("sd15")
    options = asked("control", people=2, held_out=1, steps=16, sample_every=8, learning_rate=1e-2, caption_dropout=0)
    run = train_adapter(pipe, options, tmp_path / "net").run
    losses = [json.loads(line)["loss"] for line in (run / "validation.jsonl").read_text("utf-8").splitlines()]
    state = Checkpoints(run / "checkpoints").newest()
    assert state and losses[-1] < losses[0]


# The bundled model


@pytest.fixture(scope="module")
def studio_tiny() -> Any:
    return tiny_pipeline()


@pytest.mark.parametrize(
    ("task", "reader"),
    [("identity", IdentityAdapter), ("garment", GarmentAdapter), ("control", RegionControlNetModel)],
)
def test_the_bundled_models_parts_are_trained_on(studio_tiny: Any, task: str, reader: Any, tmp_path: Path) -> None:
    own = {"identity": studio_tiny.identity_adapter, "garment": studio_tiny.garment_adapter, "control": None}[task]
    own = studio_tiny.controlnet.nets[1] if own is None else own
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    trained = train_adapter(studio_tiny, asked(task, model="studio", samples=1), tmp_path / "part")
    assert same(before, own.state_dict())
    written = reader.from_pretrained(trained.out).state_dict()
    assert written.keys() == before.keys() and not same(before, written)
    with Image.open(trained.run / "samples" / "000004.png") as sheet:
        assert sheet.width >= 2 * 192


def test_a_stopped_run_goes_on_bit_for_bit(studio_tiny: Any, tmp_path: Path) -> None:
    def state(folder: Path) -> dict[str, torch.Tensor]:
        return (Checkpoints(folder / "checkpoints").newest() or {})["model"]

    whole = train_adapter(studio_tiny, asked("identity", model="studio"), tmp_path / "whole")
    options = asked("identity", model="studio")
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train_adapter(studio_tiny, options, tmp_path / "parts")
    gone_on = train_adapter(studio_tiny, options, tmp_path / "parts")
    assert same(state(whole.run), state(gone_on.run))
    again = checked(IdentityOptions, read_recipe(whole.recipe, IdentityOptions), "recipe")
    assert again == options.located().model_copy(update={"precision": "no"})  # "auto", as it was settled on the CPU
    with pytest.raises(InputError, match="was started with seed = 0, not 1"):
        train_adapter(studio_tiny, asked("identity", model="studio", seed=1), tmp_path / "parts")


def stop_at(patch: pytest.MonkeyPatch, number: int) -> None:
    from twinset.training.adapters.data import AdapterData

    plain = AdapterData.batch

    def failing(self: AdapterData, at: int) -> Any:
        if at == number:
            raise KeyboardInterrupt
        return plain(self, at)

    patch.setattr(AdapterData, "batch", failing)


# What is shown


def test_drawn_people_are_wholly_known() -> None:
    shown = drawn_shown(3)
    assert shown.labels is not None and shown.keypoints is not None and shown.face is not None
    assert shown.picture.shape == (256, 192, 3) and shown.face.shape == (112, 112, 3) and shown.garments
    assert np.array_equal(shown.picture, drawn_shown(3).picture) and not np.array_equal(
        shown.picture, drawn_shown(4).picture
    )


def test_viton_hd_is_read_with_either_labels(tmp_path: Path) -> None:
    write_viton(tmp_path, 2)
    found = [source() for source in sources(checked(GarmentOptions, {"data": tmp_path, "layout": "viton-hd"}, ""))]
    assert [Path(one.name).name for one in found] == ["00000_00.jpg", "00001_00.jpg"]
    assert all(one.keypoints is not None and one.labels is not None and one.garments for one in found)
    path = tmp_path / "train" / "image-parse-v3" / "00000_00.png"
    lip = np.zeros((256, 192), np.uint8)
    lip[:20], lip[20:40], lip[40:60] = 5, 10, 9  # upper clothes, VITON-HD's neck, trousers
    Image.fromarray(lip).save(path)
    (first, _) = (source() for source in sources(checked(GarmentOptions, {"data": tmp_path, "layout": "viton-hd"}, "")))
    assert first.labels is not None
    assert [int(first.labels[row, 0]) for row in (0, 20, 40, 80)] == [UPPER, FACE, PANTS, 0]


def test_dresscode_is_read_by_category(tmp_path: Path) -> None:
    shown, category = drawn_shown(0), tmp_path / "dresses"
    for name in ("images", "label_maps", "keypoints"):
        (category / name).mkdir(parents=True)
    Image.fromarray(shown.picture).save(category / "images" / "000001_0.jpg")
    Image.fromarray(two_garments()[0]).save(category / "images" / "000001_1.jpg")
    Image.fromarray(np.full((256, 192), DRESS, np.uint8)).save(category / "label_maps" / "000001_4.png")
    (category / "train_pairs.txt").write_text("000001_0.jpg\t000001_1.jpg\n", encoding="utf-8")
    (source,) = sources(checked(ControlOptions, {"data": tmp_path, "layout": "dresscode"}, ""))
    found = source()
    assert found.labels is not None and (found.labels == DRESS).all() and list(found.garments or {}) == ["dress"]
    assert found.caption == "a photo of a person wearing a dress"


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    shown = drawn_shown(0)
    for folder in ("garments", "selfies"):
        (tmp_path / folder).mkdir()
    Image.fromarray(shown.picture).save(tmp_path / "a.png")
    Image.fromarray(shown.labels).save(tmp_path / "a.parsing.png")  # type: ignore[arg-type]
    Image.fromarray(two_garments()[0]).save(tmp_path / "garments" / "a.hoodie.png")
    Image.fromarray(shown.face).save(tmp_path / "selfies" / "a.png")  # type: ignore[arg-type]
    (tmp_path / "a.txt").write_text("somebody in a hoodie\n", encoding="utf-8")
    (source,) = sources(checked(IdentityOptions, {"data": tmp_path}, ""))
    found = source()
    assert found.caption == "somebody in a hoodie" and list(found.garments or {}) == ["hoodie"]
    assert found.face is not None and found.face.shape == (112, 112, 3)
    np.testing.assert_array_equal(found.labels, shown.labels)  # type: ignore[arg-type]
    (tmp_path / "garments" / "a.hoodie.png").rename(tmp_path / "garments" / "a.png")
    with pytest.raises(InputError, match=r"does not say its kind; call it N\.KIND\.png"):
        source()


def test_wrong_folders_and_options_are_refused_in_one_line(tmp_path: Path, studio_tiny: Any) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        sources(checked(IdentityOptions, {"data": tmp_path / "gone"}, ""))
    with pytest.raises(InputError, match="holds no picture in the layout viton-hd"):
        sources(checked(IdentityOptions, {"data": tmp_path, "layout": "viton-hd"}, ""))
    with pytest.raises(InputError, match="train identity: option 'widht' is unknown"):
        checked(IdentityOptions, {"widht": 3}, "train identity")
    with pytest.raises(InputError, match="did you mean 'width'"):
        checked(GarmentOptions, {"widht": 3}, "train garment")
    with pytest.raises(InputError, match="is a folder without an ending"):
        train_adapter(studio_tiny, asked("identity", model="studio"), tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"ends in \.safetensors; call it x\.safetensors"):
        train_adapter(full("sd15"), asked("identity"), tmp_path / "x")
    with pytest.raises(InputError, match=r"3 usable picture.*a lower --held-out"):
        train_adapter(studio_tiny, asked("identity", model="studio", people=3, held_out=3), tmp_path / "few")


def test_pictures_without_a_face_are_left_out(tmp_path: Path, studio_tiny: Any) -> None:
    for seed in range(4):
        Image.fromarray(drawn_shown(seed).picture).save(tmp_path / f"{seed}.png")
    Image.new("RGB", (192, 256), "white").save(tmp_path / "white.png")
    studio_tiny.backend = None
    told: list[str] = []
    people: Any = SimpleNamespace(faces=lambda picture: [] if picture.min() == 255 else [1])
    with pytest.MonkeyPatch.context() as patch:
        crop: Any = drawn_shown(0).face
        patch.setattr(StudioBackend, "faces", lambda self, picture: people.faces(picture))
        patch.setattr(StudioBackend, "selfie", lambda self, *given: Selfie(crop, crop))
        patch.setattr(StudioBackend, "figure", lambda self, picture: known_figure())
        options = asked("identity", model="studio", data=tmp_path, held_out=1, steps=1)
        train_adapter(studio_tiny, options, tmp_path / "faces", report=told.append)
    assert told and told[0].startswith("1 picture(s) left out") and "white.png" in told[0]


def known_figure() -> Any:
    shown = drawn_shown(0)
    return SimpleNamespace(found=True, labels=shown.labels, keypoints=shown.keypoints)


# The command line


def test_the_command_trains_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny(tmp_path / "model")
    line = f"twinset train control --model {model} --people 4 --held-out 1 --steps 2 --batch 1 --samples 0 --json"
    monkeypatch.setattr(sys, "argv", [*line.split(), "-o", str(tmp_path / "net")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 2 and Path(told["file"]).is_dir() and Path(told["recipe"]).is_file()


# What a picture was before it was cut


class Shouting(Recogniser):
    """Gives embeddings of another length than 1, as ArcFace's do."""

    def embed(self, face: np.ndarray) -> np.ndarray:
        return 20 * super().embed(face)


def encoded(pipe: Any, options: AdapterOptions, shown: Shown, folder: Path) -> dict[str, torch.Tensor]:
    store = TensorCache(folder)
    (key,) = PeopleEncoder(pipe, options, store).row(lambda: shown).keys
    return store(key, dict)


def test_faces_are_learnt_at_the_length_that_generation_gives_them(tmp_path: Path) -> None:
    pipe = full("sd15")
    pipe.backend = PhotoBackend(pipe, (64, 64), Shouting(), None)  # type: ignore[arg-type]
    said = encoded(pipe, asked("identity"), drawn_shown(0), tmp_path)["embedding"]
    assert float(said.norm()) == pytest.approx(1, abs=1e-5)
    condition = Shouting().embed(np.asarray(drawn_shown(0).face))
    torch.testing.assert_close(said, torch.from_numpy(condition / np.linalg.norm(condition)))


def test_sdxl_is_told_what_was_cut_off(tmp_path: Path) -> None:
    shown = drawn_shown(0)  # 192 × 256
    wide = replace(shown, picture=shown.picture[:64], labels=shown.labels[:64])  # type: ignore[index]
    sizes = encoded(full("sdxl"), asked("control", model="sdxl"), wide, tmp_path)["sizes"].tolist()
    height, width, top, left, high, broad = sizes
    assert (height, width) == (64, 192) and (high, broad) != (64, 192)
    assert top or left


def test_joints_that_nobody_knows_are_not_drawn_after_a_cut(tmp_path: Path) -> None:
    shown = drawn_shown(0)
    keypoints = np.zeros((18, 3), np.float32)
    keypoints[1] = (96, 32, 1)  # the neck alone
    wide = replace(shown, picture=shown.picture[:64], labels=shown.labels[:64], keypoints=keypoints)  # type: ignore[index]
    seen = encoded(full("sd15"), asked("control", kind="pose"), wide, tmp_path)["picture"]
    rows, columns = np.nonzero(seen.numpy().any(0))
    assert len(rows) and np.ptp(rows) <= 8 and np.ptp(columns) <= 8  # one disc, no limb


def test_minutes_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a tenth of a second whenever it is read."""
    monkeypatch.setattr("twinset.training.core.loop.time", SimpleNamespace(monotonic=count(0, 0.1).__next__))
    short, more = (asked("control", steps=100_000, minutes=minutes) for minutes in (0.02, 0.04))
    trained = train_adapter(full("sd15"), short, tmp_path / "net")
    assert 0 < trained.fit.step <= 12 and (trained.out / "config.json").is_file()
    longer = train_adapter(full("sd15"), more, tmp_path / "net")
    assert trained.fit.step < longer.fit.step <= 24

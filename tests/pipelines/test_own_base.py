"""`--model FOLDER` of plain Stable Diffusion and `--model FILE.safetensors`, from the command line to pictures."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.helpers.full_size import SIZE, networks, profile_on_disk, saved_base
from tests.helpers.ldm_layout import original_state
from tests.pipelines.test_safety import moderator as _moderator
from twinset import cli
from twinset.common.hashing import file_hash
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.generate import generate
from twinset.pipelines.loading import single_file
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.loading.single_file import write_configuration
from twinset.pipelines.record import load_record
from twinset.pipelines.request import Request

moderator = _moderator
PROMPT = "in the park"
UNET = "model.diffusion_model."


@dataclass(frozen=True)
class Bases:
    """One base model as a folder and as a file, and the profile whose parts go around it."""

    family: str
    folder: Path
    file: Path
    parts: Path


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bases, Any]:
    name, home = request.param, tmp_path_factory.mktemp(request.param)
    given = networks(name)
    folder = saved_base(name, given, home / "base")
    save_file(original_state(given), home / "checkpoint.safetensors")
    (home / "parts").mkdir()
    profile = profile_on_disk(name, given, home / "parts")
    return Bases(name, folder, home / "checkpoint.safetensors", home / "parts"), profile


@pytest.fixture
def bases(saved: tuple[Bases, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bases:
    """Of a family whose single files are configured as small as these; the hub's cache is empty."""
    found, profile = saved
    monkeypatch.setitem(ON_HUB, found.family, profile)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def small(family: str, folder: Path) -> None:
        assert family == found.family
        leave = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(found.folder, folder, ignore=leave, dirs_exist_ok=True)

    monkeypatch.setattr(single_file, "write_configuration", small)
    return found


@pytest.fixture
def selfie(tmp_path: Path) -> Path:
    Image.new("RGB", (640, 640), "white").save(tmp_path / "me.png")  # where the detector's graph finds two faces
    return tmp_path / "me.png"


@pytest.fixture
def dress(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (100, 150), "white")
    picture.paste((200, 20, 30), (20, 20, 80, 130))
    picture.save(tmp_path / "dress.png")
    return tmp_path / "dress.png"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["twinset", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def drawn(monkeypatch: pytest.MonkeyPatch, model: Path, out: Path, *more: object) -> tuple[dict[str, Any], np.ndarray]:
    """Record and picture of `twinset generate`."""
    asked = ["generate", "--model", model, "--prompt", PROMPT, "--seed", 7, "--no-labels", "-o", out, *more]
    assert run(monkeypatch, *asked) == 0
    picture = np.asarray(Image.open(out / "0007.png")).astype(int)
    assert picture.shape == (SIZE[1], SIZE[0], 3) and picture.std((0, 1)).min() > 10
    return json.loads((out / "0007.json").read_text()), picture


@pytest.mark.long
def test_words_alone(bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A folder and a file of the same weights: the same picture, recorded by path and hash, and drawn again."""
    pictures = []
    for model in (bases.folder, bases.file):
        out = tmp_path / model.name
        monkeypatch.chdir(model.parent)
        record, picture = drawn(monkeypatch, Path(model.name), out)
        assert record["model"]["name"] == record["request"]["model"] == str(model)
        assert "the pose is not used" in " ".join(record["composed"]["notes"]) and record["composed"]["pose"] == ""
        monkeypatch.chdir(tmp_path)
        assert run(monkeypatch, "replay", out / "0007.json", "-o", out / "again") == 0
        assert "the same bytes" in capsys.readouterr().err
        pictures.append(picture)
    assert record["model"]["revision"] == file_hash(bases.file)
    assert np.abs(pictures[0] - pictures[1]).max() <= 2  # memory layout differs, so not to the last bit


@pytest.mark.long
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_selfie_garment_and_pose_by_the_profiles_parts(
    kind: str, bases: Bases, selfie: Path, dress: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    posed, face, garment = ["--pose", "waving"], ["--selfie", selfie], ["--garment", f"dress={dress}"]
    asked = {"folder": [[], posed, posed + face, posed + garment], "file": [posed, posed + face + garment]}[kind]
    revisions, pictures = [], []
    for more in asked:
        record, picture = drawn(monkeypatch, getattr(bases, kind), tmp_path / str(len(pictures)), *more)
        revisions.append(record["model"]["revision"])
        pictures.append(picture)
    assert len(set(revisions)) == len(asked)
    assert min(np.abs(one - other).mean() for i, one in enumerate(pictures) for other in pictures[:i]) > 1
    capsys.readouterr()
    assert run(monkeypatch, "replay", tmp_path / f"{len(asked) - 1}/0007.json", "-o", tmp_path / "again") == 0
    assert "the same bytes" in capsys.readouterr().err


@pytest.mark.long
def test_what_is_missing_is_one_line(
    bases: Bases, selfie: Path, dress: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The parts by name, and the command that pulls them; nothing is written."""
    profile, face = ON_HUB[bases.family], ["identity_adapter", "buffalo_l", "buffalo_l_detector"]
    nets = {"sd15": ["pose_controlnet", "parsing_controlnet"], "sdxl": ["union_controlnet"]}[bases.family]
    cases: list[tuple[list[object], list[str]]] = [
        (["--pose", "waving"], nets),
        (["--selfie", selfie], [*nets, *face, "image_encoder"]),
        (["--garment", f"dress={dress}"], [*nets, "garment_adapter", "image_encoder"]),
        (["--pose", dress], [*nets, "person_detector", "pose_estimator", "parser"]),
        (["--selfie", selfie, "--pose", "waving"], face),
    ]
    for more, parts in cases:
        gone = (replace(p, file=f"no-{p.file}") if p.name in parts and p.repo is None else p for p in profile.parts)
        monkeypatch.setitem(ON_HUB, bases.family, replace(profile, parts=tuple(gone)))
        asked = ["generate", "--model", bases.file, "--prompt", PROMPT, "-o", tmp_path / "out", "--offline", *more]
        assert run(monkeypatch, *asked) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"not here: {', '.join(parts)}; run: twinset models pull {bases.family} --part " in line
        assert line.endswith(" --part ".join(parts)) and not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_request_is_the_same_whatever_came_before(bases: Bases, selfie: Path, dress: Path, tmp_path: Path) -> None:
    """Words alone, before and after a selfie and a garment brought their parts in."""
    pipe: Any = load_pipeline(str(bases.file))
    pipe.set_progress_bar_config(disable=True)
    given = {"prompt": PROMPT, "seed": 7, "model": str(bases.file), "candidates": 1, "labels": False}
    words, dressed = Request(**given), Request(**given, selfies=(selfie,), garments=(f"dress={dress}",))
    first, both, again, twice = (
        generate(pipe, request, tmp_path / str(number))[0]
        for number, request in enumerate((words, dressed, words, dressed))
    )
    assert (first.sha256, first.model) == (again.sha256, again.model)
    assert (both.sha256, both.model) == (twice.sha256, twice.model) and both.sha256 != first.sha256
    assert len(pipe.adapters) == 2 and both.model["revision"] != first.model["revision"]


@pytest.mark.long
def test_another_base_or_another_part_is_noticed(
    bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    model = Path(shutil.copytree(bases.folder, tmp_path / "model"))
    drawn(monkeypatch, model, tmp_path / "out", "--pose", "waving")
    scheduler = model / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.02", "0.021").replace("0.00085", "0.00086"))
    assert run(monkeypatch, "replay", tmp_path / "out" / "0007.json") == 2
    assert "the record was made with" in capsys.readouterr().err
    name = {"sd15": "pose_controlnet", "sdxl": "union_controlnet"}[bases.family]
    net = Path(shutil.copytree(bases.parts, tmp_path / "parts")) / name / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.01 for name, value in load_file(net).items()}, net)
    shutil.rmtree(model)
    shutil.copytree(bases.folder, model)
    assert run(monkeypatch, "replay", tmp_path / "out" / "0007.json", "-o", tmp_path / "again") == 0
    monkeypatch.setitem(ON_HUB, bases.family, replace(ON_HUB[bases.family], folder=tmp_path / "parts"))
    assert run(monkeypatch, "replay", tmp_path / "out" / "0007.json") == 2
    assert "the record was made with" in capsys.readouterr().err


def test_files_come_in_half_precision_and_without_a_vae(
    bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """On the CPU they become float32; a missing VAE is the profile's, or named."""
    state = {key: value.half() for key, value in load_file(bases.file).items() if not key.startswith("first_stage")}
    save_file(state, tmp_path / "pruned.safetensors")
    record, _ = drawn(monkeypatch, tmp_path / "pruned.safetensors", tmp_path / "out")
    assert record["model"]["revision"] != file_hash(tmp_path / "pruned.safetensors")  # the VAE is in it
    pipe: Any = load_pipeline(str(tmp_path / "pruned.safetensors"))
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.float32}
    profile = ON_HUB[bases.family]
    monkeypatch.setitem(ON_HUB, bases.family, replace(profile, folder=tmp_path / "nowhere"))
    assert run(monkeypatch, "generate", "--model", tmp_path / "pruned.safetensors", "--prompt", PROMPT) == 2
    assert f"no VAE of its own: needs parts of profile {bases.family!r}" in capsys.readouterr().err


@pytest.mark.long
def test_folders_of_half_precision_files(bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the hub has them: `….fp16.safetensors` alone for some parts, both for others; the plain ones count."""
    model = Path(shutil.copytree(bases.folder, tmp_path / "model"))
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    half = {key: value.half() for key, value in load_file(weights).items()}
    save_file(half, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    nothing = {key: value * 0 for key, value in half.items()}
    save_file(nothing, weights.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    plain, _ = drawn(monkeypatch, model, tmp_path / "plain")
    weights.unlink()
    pipe: Any = load_pipeline(str(model))
    assert all(torch.equal(value, half[key].float()) for key, value in pipe.unet.state_dict().items())
    assert drawn(monkeypatch, model, tmp_path / "half")[0]["model"]["revision"] != plain["model"]["revision"]


def test_a_folders_own_safety_checker_follows_the_level_of_safety(
    bases: Bases, tmp_path: Path, moderator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not blacken pictures that the user asked it not to look at."""
    if bases.family == "sdxl":
        pytest.skip("SDXL's folders have none")
    model = Path(shutil.copytree(bases.folder, tmp_path / "model"))
    moderator.checker.save_pretrained(model / "safety_checker")
    moderator.processor.save_pretrained(model / "feature_extractor")
    index = json.loads((model / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    index |= {"feature_extractor": ["transformers", "CLIPImageProcessor"], "requires_safety_checker": True}
    (model / "model_index.json").write_text(json.dumps(index))
    weights = model / "safety_checker" / "model.safetensors"
    everything = {key: value * 0 - 2 if "_weights" in key else value for key, value in load_file(weights).items()}
    save_file(everything, weights, {"format": "pt"})  # every picture is beyond the limit
    assert drawn(monkeypatch, model, tmp_path / "off", "--safety", "off")[0]["safety"]["active"] is False
    record, _ = drawn(monkeypatch, model, tmp_path / "warn")
    assert record["safety"]["active"] and "nudity" in record["safety"]["concern"]
    asked = ["generate", "--model", model, "--prompt", PROMPT, "--safety", "refuse", "-o", tmp_path / "no"]
    assert run(monkeypatch, *asked) == 2 and not list(tmp_path.glob("no/*.png"))


# The families' own sizes


BOTH = {"vae": 83_653_863, "text_encoder": 123_060_480}
SIZES = {
    "sd15": BOTH | {"unet": 859_520_964},
    "sdxl": BOTH | {"unet": 2_567_463_684, "text_encoder_2": 694_659_840},
}


@pytest.mark.parametrize("family", SIZES)
def test_configurations_are_the_published_ones(family: str, tmp_path: Path) -> None:
    """Numbers of parameters as published, and settings that no weight tells."""
    write_configuration(family, tmp_path)
    classes: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    texts: dict[str, Any] = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    for name, count in SIZES[family].items():
        with torch.device("meta"):
            if name in classes:
                network = classes[name].from_config(classes[name].load_config(str(tmp_path / name)))
            else:
                network = texts[name](CLIPTextConfig.from_pretrained(tmp_path / name))
        assert sum(parameter.numel() for parameter in network.parameters()) == count, name
    read = {name: json.loads((tmp_path / name).read_text()) for name in ("vae/config.json", "model_index.json")}
    assert read["vae/config.json"]["scaling_factor"] == {"sd15": 0.18215, "sdxl": 0.13025}[family]
    scheduler = {"sd15": "PNDMScheduler", "sdxl": "EulerDiscreteScheduler"}[family]
    assert read["model_index.json"]["scheduler"] == ["diffusers", scheduler]
    if family == "sdxl":
        assert json.loads((tmp_path / "text_encoder_2/config.json").read_text())["hidden_act"] == "gelu"


def test_the_record_of_a_folder_loads(bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, bases.folder, tmp_path / "out", "--num", 2)
    assert load_record(tmp_path / "out" / "0008.json").model["name"] == str(bases.folder)
    assert (tmp_path / "out" / "sheet.png").is_file()

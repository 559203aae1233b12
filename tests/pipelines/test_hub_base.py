"""`--model owner/name`: somebody's fine-tune on the hub, as a diffusers repository or as one checkpoint."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.helpers.full_size import SIZE, networks, profile_on_disk, saved_base
from tests.helpers.hub import Hub
from tests.helpers.hub import hub as hub
from tests.helpers.ldm_layout import original_state
from tests.pipelines.test_load import run
from twinset.errors import InputError
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.loading import load, single_file
from twinset.pipelines.loading.hub_base import diffusers_files, is_hub_id, pull_base
from twinset.pipelines.loading.needed_parts import Pulling

REPO, FILES_REPO = "someone/realistic", "someone/checkpoints"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Any, Path]:
    """Two repositories of the same base, the profile around it, and the base's folder."""
    root, given = tmp_path_factory.mktemp("served"), networks("sd15")
    folder = saved_base("sd15", given, root / REPO)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v.half() for k, v in load_file(unet).items()}, unet.with_name(f"{unet.stem}.fp16.safetensors"))
    for name in ("README.md", "sample.png", "unet/diffusion_pytorch_model.bin"):
        (folder / name).write_bytes(b"not read")
    (root / FILES_REPO).mkdir()
    save_file(original_state(given), root / FILES_REPO / "v1.safetensors")
    (root / "parts").mkdir()
    profile = profile_on_disk("sd15", given, root / "parts")
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in (root / "someone").rglob("*") if p.is_file()}
    return files, profile, folder


@pytest.fixture
def base_hub(served: tuple[dict[str, bytes], Any, Path], hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    files, profile, folder = served
    hub.files, hub.cards = dict(files), {REPO: "openrail"}
    monkeypatch.setattr(load, "Pulling", lambda c, o, _, *more: Pulling(c, o, hub.url, *more))
    monkeypatch.setitem(ON_HUB, "sd15", profile)

    def small(family: str, into: Path) -> None:
        shutil.copytree(folder, into, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)

    monkeypatch.setattr(single_file, "write_configuration", small)
    return hub


@pytest.mark.long
@pytest.mark.parametrize("model", [REPO, FILES_REPO])
def test_drawn_from_and_drawn_from_again_without_the_hub(model: str, base_hub: Hub, tmp_path: Path) -> None:
    asked = ["--base", model, "--prompt", "in the park", "--pose", "waving", "--seed", 7, "--no-labels"]
    done = run(*asked, "-o", tmp_path / "first")
    assert done.exit_code == 0, done.output
    assert "downloading 1 part(s)" in done.output
    record = json.loads((tmp_path / "first" / "0007.json").read_text())
    assert record["request"]["model"] == record["model"]["name"] == model
    picture = np.asarray(Image.open(tmp_path / "first" / "0007.png"))
    assert picture.shape == (SIZE[1], SIZE[0], 3) and picture.std() > 10
    base_hub.requests.clear()
    done = run(*asked, "--offline", "-o", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again" / "0007.png").read_bytes() == (tmp_path / "first" / "0007.png").read_bytes()
    assert base_hub.requests == []


def test_no_more_is_pulled_than_is_read(base_hub: Hub) -> None:
    folder = pull_base(REPO, Pulling(endpoint=base_hub.url))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert (
        "unet/diffusion_pytorch_model.fp16.safetensors" in names and "vae/diffusion_pytorch_model.safetensors" in names
    )
    assert not names & {"README.md", "sample.png", "unet/diffusion_pytorch_model.bin"}
    assert "unet/diffusion_pytorch_model.safetensors" not in names
    base_hub.requests.clear()
    assert pull_base(REPO, Pulling(endpoint=base_hub.url)) == folder
    assert not [path for _, path, _ in base_hub.requests if path.endswith(".safetensors")]


def test_shards_and_their_index_belong_together() -> None:
    names = [
        "unet/config.json", "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json", "unet/model.onnx", "tokenizer/vocab.json",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors", "lora/x.safetensors",
    ]  # fmt: skip
    found = list(diffusers_files(names))
    assert found == [names[0], names[3], names[1], names[2], "tokenizer/vocab.json"]


def test_what_cannot_be_a_base_is_one_line(base_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulling = Pulling(endpoint=base_hub.url)
    with pytest.raises(InputError, match=r"part 'base' \(someone/nothing\) is not at"):
        pull_base("someone/nothing", pulling)
    base_hub.files |= {
        "someone/many/a.safetensors": b"x",
        "someone/many/b.safetensors": b"x",
        "someone/none/a.txt": b"",
    }
    with pytest.raises(InputError, match=r"holds 2 checkpoints \(a.*, b.*\); name one: someone/many/a.safetensors"):
        pull_base("someone/many", pulling)
    with pytest.raises(InputError, match=r"holds neither model_index.json nor a .safetensors file"):
        pull_base("someone/none", pulling)
    with pytest.raises(InputError, match=r"neither a folder here nor in the cache; run once without --offline"):
        pull_base("someone/other", Pulling(offline=True))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "mine").mkdir(parents=True)
    assert not is_hub_id("someone/mine") and is_hub_id("someone/other") and is_hub_id("a/b/c.safetensors")
    assert not is_hub_id("studio") and not is_hub_id("/someone/other") and not is_hub_id("../a")

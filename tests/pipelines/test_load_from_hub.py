"""`--model sd15` from an empty cache to a picture: its parts, small, come over Xet to the real client library."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.utils import logging
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.helpers.full_size import small_net
from tests.helpers.hub import COMMIT, LARGE, Hub, sha256
from tests.helpers.hub import hub as hub
from tests.helpers.hub import xet_hub as xet_hub
from tests.helpers.public_files import random_state, shapes_of, write
from tests.perception.test_onnx_faces import recogniser_graph, scrfd_graph
from tests.pipelines.test_load import SIZE, networks, run
from tests.pipelines.test_load import dress as dress
from tests.pipelines.test_load import selfie as selfie
from twinset import cli
from twinset.models.hub.parts import Part
from twinset.models.hub.profiles import BUNDLED, ON_HUB
from twinset.pipelines.loading import load
from twinset.pipelines.loading.needed_parts import Pulling

SD15 = ON_HUB["sd15"]
UNDRAWN = 3
"""Parts that read photographs; a picture of a preset's pose pulls none of them."""
FORMS = {"identity_adapter": "face-id-plus-v2", "garment_adapter": "ip-adapter-plus"}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def save_tokenizer(folder: Path) -> None:
    """The files of the public repository, of which the bundled model keeps one of the newer kind."""
    folder.mkdir(parents=True)
    words = json.loads((BUNDLED / "tokenizer" / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(words["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, words["merges"])]) + "\n")
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokens = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save_parts(root: Path) -> None:
    """Every file of the profile that draws, by `<hub id>/<path>`, as the public ones are laid out."""
    given = networks("sd15")
    at = {part.name: root / str(part.repo) / str(part.file or "model_index.json") for part in SD15.chosen()}
    base = at["base"].parent
    for name in ("unet", "text_encoder"):
        given[name].half().save_pretrained(base / name, variant="fp16")
    given["scheduler"].save_pretrained(base / "scheduler")
    save_tokenizer(base / "tokenizer")
    at["base"].write_text(json.dumps(INDEX))
    given["vae"].save_pretrained(at["vae"].parent)
    given["controlnet"].half().save_pretrained(at["pose_controlnet"].parent, variant="fp16")
    small_net(given["unet"]).half().save_pretrained(at["parsing_controlnet"].parent, variant="fp16")
    vision = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=64, num_hidden_layers=2, num_attention_heads=8, image_size=28, patch_size=14
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(at["image_encoder"].parent)
    for name, form in FORMS.items():
        at[name].parent.mkdir(parents=True, exist_ok=True)
        write(at[name], random_state(shapes_of(form, given["unet"])))
    at["buffalo_l"].parent.mkdir(parents=True)
    recogniser_graph(at["buffalo_l"], seed=0)
    scrfd_graph(at["buffalo_l_detector"], size=(640, 640))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("served")
    save_parts(root)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def sd15(served: dict[str, bytes], xet_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that `--model sd15` pulls these files from; their hashes and revisions are pinned where the real are."""

    def small(part: Part) -> Part:
        pinned = part.sha256 and f"{part.repo}/{part.file}" in served and sha256(served[f"{part.repo}/{part.file}"])
        return replace(part, sha256=pinned or None, size=None, revision=part.revision and COMMIT)

    profile = replace(SD15, parts=tuple(map(small, SD15.parts)), size=SIZE, steps=2, guidance=3.0)
    monkeypatch.setitem(ON_HUB, "sd15", profile)
    logging.set_verbosity_warning()  # as in a fresh process
    monkeypatch.setattr(load, "Pulling", lambda c, o, _, *more: Pulling(c, o, xet_hub.url, *more))
    xet_hub.files = dict(served)
    return xet_hub


@pytest.mark.long
def test_from_an_empty_cache_to_a_picture(sd15: Hub, selfie: Path, dress: Path, tmp_path: Path) -> None:
    asked = ["--model", "sd15", "--prompt", "in the park", "--selfie", selfie, "--garment", f"dress={dress}"]
    asked += ["--seed", 7, "--no-repair", "--no-labels"]
    first, again = tmp_path / "first", tmp_path / "again"
    done = run(*asked, "-o", first)
    assert done.exit_code == 0, done.output
    assert f"downloading {len(SD15.chosen()) - UNDRAWN} part(s), " in done.output and "NON-COMMERCIAL" in done.output
    assert "licences: CreativeML-OpenRAIL-M: base" in done.output
    large = [name for name in sd15.files if name.endswith(LARGE)]
    assert len([path for path in sd15.xet_requests if path.startswith("/xet/xorb/")]) == len(large) == 10
    picture = np.asarray(Image.open(first / "0007.png"))
    assert picture.shape == (SIZE[1], SIZE[0], 3) and picture.std() > 1
    record = json.loads((first / "0007.json").read_text())
    assert record["model"]["name"] == "sd15" and len(record["model"]["revision"]) == 64
    sd15.requests.clear()
    sd15.xet_requests.clear()
    done = run(*asked, "--offline", "-o", again)
    assert done.exit_code == 0, done.output
    assert (again / "0007.png").read_bytes() == (first / "0007.png").read_bytes()
    assert sd15.requests == sd15.xet_requests == []


@pytest.mark.parametrize(
    ("address", "words"), [("/xet/v1/", "(Xet: HTTP 404, "), ("/stable-diffusion-v1-5/", "(HTTP 503, ")]
)
def test_hub_that_fails_is_one_line(
    address: str, words: str, sd15: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sd15.statuses[address] = int(words.rstrip(", ")[-3:])
    monkeypatch.setattr(sys, "argv", ["twinset", "generate", "--model", "sd15", "--prompt", "in the park"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("twinset: part 'base' (stable-diffusion-v1-5/") and words in lines[-1]
    assert not [line for line in lines if "Retrying" in line or "Traceback" in line]
    assert logging.get_verbosity() == logging.ERROR  # nor does the hub's library speak of it elsewhere

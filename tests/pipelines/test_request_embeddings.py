"""`--embedding`: textual inversions of both families, for one request, without a trace."""

# pyright: reportArgumentType=false
# (diffusers' hints are narrower than what it takes)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from tests.helpers.full_size import family_on_disk
from tests.pipelines.test_load_from_hub import save_tokenizer
from twinset.errors import InputError
from twinset.models.hub.parts import Profile
from twinset.models.hub.profiles import ON_HUB
from twinset.pipelines.generate import generate
from twinset.pipelines.loading.load import load_pipeline
from twinset.pipelines.loading.request_embeddings import embeddings_on
from twinset.pipelines.request import Request
from twinset.prompts.weighting import weighted_embeddings, with_all_vectors


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return family_on_disk(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def pipe(saved: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The family with the bundled vocabulary, of which its encoders have as many vectors as there are tokens."""
    monkeypatch.setitem(ON_HUB, saved.name, saved)
    pipe: Any = load_pipeline(saved.name, offline=True)
    pipe.set_progress_bar_config(disable=True)
    save_tokenizer(tmp_path / "tokenizer")
    for tokenizer, name in (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")):
        if hasattr(pipe, name):
            words, encoder = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer"), getattr(pipe, name)
            encoder.resize_token_embeddings(len(words))
            for part in (encoder, getattr(encoder, "text_model", encoder)):
                part.config.eos_token_id = part.eos_token_id = words.eos_token_id
            setattr(pipe, tokenizer, words)
    return pipe


def inversion(pipe: Any, path: Path, vectors: int = 3) -> Path:
    """A file as AUTOMATIC1111 and SDXL's trainers write them."""
    torch.manual_seed(5)
    encoders = {"clip_l": getattr(pipe, "text_encoder", None), "clip_g": getattr(pipe, "text_encoder_2", None)}
    found = {key: one.get_input_embeddings().embedding_dim for key, one in encoders.items() if one is not None}
    state = {key: torch.randn(vectors, width) for key, width in found.items()}
    save_file(state if len(state) > 1 else {"emb_params": state["clip_l"]}, path)
    return path


def states(pipe: Any, prompt: str) -> torch.Tensor:
    return weighted_embeddings(pipe, prompt)["prompt_embeds"]


def test_its_vectors_are_read_where_its_name_stands(pipe: Any, tmp_path: Path) -> None:
    path = inversion(pipe, tmp_path / "mystyle.safetensors")
    before, plain = states(pipe, "a mystyle coat"), states(pipe, "a coat")
    with embeddings_on(pipe, [path]):
        assert with_all_vectors(pipe.tokenizer, "a mystyle coat") == "a mystyle mystyle_1 mystyle_2 coat"
        ids = pipe.tokenizer("a mystyle mystyle_1 mystyle_2 coat").input_ids
        assert len(ids) == len(pipe.tokenizer("a coat").input_ids) + 3
        table = pipe.text_encoder.get_input_embeddings().weight
        given = load_file(path)
        assert torch.equal(table[ids[-5:-2]], given.get("emb_params", given.get("clip_l")))
        told = states(pipe, "a mystyle coat")
        assert torch.equal(states(pipe, "a coat"), plain)
    assert not torch.equal(told, before)
    assert torch.equal(states(pipe, "a mystyle coat"), before)
    assert with_all_vectors(pipe.tokenizer, "a mystyle coat") == "a mystyle coat"


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("a.pt", {}, "is a pickle, which may hold code"),
        ("a.safetensors", {"emb_params": (2, 5), "clip_l": (2, 5), "clip_g": (2, 5)}, "has vectors of 5 channels"),
        ("a.safetensors", {"lora_down": (2, 5), "lora_up": (2, 5)}, "is no textual inversion for"),
    ],
)
def test_what_is_no_inversion_is_one_line(
    name: str, state: dict[str, tuple[int, int]], words: str, pipe: Any, tmp_path: Path
) -> None:
    save_file({key: torch.zeros(shape) for key, shape in state.items()}, tmp_path / name)
    with pytest.raises(InputError, match=words), embeddings_on(pipe, [tmp_path / name]):
        pass
    with pytest.raises(InputError, match="is not a file"), embeddings_on(pipe, [tmp_path / "none.safetensors"]):
        pass


@pytest.mark.long
def test_a_request_draws_with_it_and_the_next_without(pipe: Any, saved: Profile, tmp_path: Path) -> None:
    path = inversion(pipe, tmp_path / "mystyle.safetensors")
    given = {"prompt": "a mystyle coat in the park", "seed": 7, "model": saved.name, "labels": False, "repair": False}
    plain, styled = Request(**given), Request(**given, embeddings=(path,))
    first, second, third = (
        generate(pipe, asked, tmp_path / str(number))[0] for number, asked in enumerate((plain, styled, plain))
    )
    assert first.sha256 == third.sha256 != second.sha256
    assert str(path) in second.inputs

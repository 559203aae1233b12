"""Textual inversions of a request: tokens of its text encoders for as long as its pictures are drawn.

A token is written as the file is named, `easynegative` for `easynegative.safetensors`, as in AUTOMATIC1111's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import Tensor

from twinset.adapters.weights import PICKLE_SUFFIXES, read_weights
from twinset.errors import InputError

SDXL_KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
"""Text encoder → the key of its vectors in an SDXL file."""
TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


@contextmanager
def embeddings_on(pipe: Any, paths: Sequence[Path]) -> Iterator[None]:
    """The tokens of some files in a pipeline while this is open; afterwards its encoders are the same bits as before.

    Args:
        pipe: a pipeline of SD1.5's or SDXL's family.
        paths: `.safetensors` files of textual inversions.

    Raises:
        InputError: a file is damaged, no textual inversion, or of another family.
    """
    if not paths:
        yield
        return
    vectors = {path: read_inversion(path, pipe) for path in paths}
    encoders = [name for name in SDXL_KEYS if getattr(pipe, name, None) is not None]
    before = {name: (getattr(pipe, TOKENIZERS[name]), _kept(getattr(pipe, name))) for name in encoders}
    try:
        for name in encoders:
            setattr(pipe, TOKENIZERS[name], deepcopy(before[name][0]))
        for path, by_encoder in vectors.items():
            for name, values in by_encoder.items():
                given = {"text_encoder": getattr(pipe, name), "tokenizer": getattr(pipe, TOKENIZERS[name])}
                pipe.load_textual_inversion({path.stem: values}, token=path.stem, **given)
        yield
    finally:
        for name, (tokenizer, (embeddings, size)) in before.items():
            setattr(pipe, TOKENIZERS[name], tokenizer)
            getattr(pipe, name).set_input_embeddings(embeddings)
            getattr(pipe, name).config.vocab_size = size


def read_inversion(path: Path, pipe: Any) -> dict[str, Tensor]:
    """The vectors (n, width) of a file by text encoder of a pipeline.

    Raises:
        InputError: the file is a pickle, damaged, no textual inversion, or for encoders of other widths.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise InputError(f"embedding {str(path)!r} is a pickle, which may hold code; get it as .safetensors")
    if not path.is_file():
        raise InputError(f"embedding {str(path)!r} is not a file; give a textual inversion as .safetensors")
    state = read_weights(path)
    encoders = {name: getattr(pipe, name, None) for name in SDXL_KEYS}
    named = _sdxl_vectors(state) if encoders["text_encoder_2"] is not None else _sd15_vectors(state)
    for name, values in named.items():
        width = encoders[name].get_input_embeddings().embedding_dim
        if values.shape[-1] != width:
            raise InputError(
                f"embedding {str(path)!r} has vectors of {values.shape[-1]} channels, and this model's {name} reads "
                f"{width}: it is for another family"
            )
    if not named:
        kind = "SDXL" if encoders["text_encoder_2"] is not None else "SD1.5"
        raise InputError(
            f"embedding {str(path)!r} is no textual inversion for {kind} (keys: {', '.join([*state][:3])})"
        )
    return named


def _sdxl_vectors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: state[key].reshape(-1, state[key].shape[-1]) for name, key in SDXL_KEYS.items() if key in state}


def _sd15_vectors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AUTOMATIC1111's `emb_params`, or diffusers' one key, which is the token."""
    values = state.get("emb_params", next(iter(state.values())) if len(state) == 1 else None)
    fits = values is not None and values.ndim in (1, 2)
    return {"text_encoder": values.reshape(-1, values.shape[-1])} if fits and values is not None else {}


def _kept(encoder: Any) -> tuple[Any, int]:
    return encoder.get_input_embeddings(), encoder.config.vocab_size

"""A base model that is named by its hub id: which of the repository's files are needed, and where they come to lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants

from twinset.errors import InputError
from twinset.models.hub.catalog import hub_page
from twinset.models.hub.download import pull_parts
from twinset.models.hub.download_errors import explain
from twinset.models.hub.lockfile import read_lock
from twinset.models.hub.parts import Part, Profile, holds_data
from twinset.pipelines.loading.needed_parts import Pulling

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(.+\.safetensors))?")
INDEX = "model_index.json"
FOLDERS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
"""Folders of a diffusers repository that are read."""
WEIGHTS = ".safetensors"
MOST_NAMED = 6
"""Files that a message names."""


def is_hub_id(model: str) -> bool:
    """Whether a model's name is a hub id, `owner/name` or `owner/name/file.safetensors`, and no path here."""
    return HUB_ID.fullmatch(model) is not None and not Path(model).exists()


def pull_base(model: str, pulling: Pulling) -> Path:
    """A hub's base model in the cache: its diffusers folder, or its checkpoint file; what is missing is downloaded.

    Which files those are is asked once; afterwards the lock file knows.

    Args:
        model: a hub id, with a file's path where the repository holds several checkpoints.
        pulling: how parts are had.

    Raises:
        InputError: it cannot be had, or holds nothing that can be used; the line names the remedy.
    """
    found = HUB_ID.fullmatch(model)
    if found is None:
        raise ValueError(f"model = {model!r}: this is no hub id")
    repo, file = found.groups()
    part = _known_part(repo, file) or _asked_part(repo, file, pulling)
    profile = Profile(
        name=model, family="sd15", parts=(part,), size=(0, 0), steps=0, guidance=0.0, description="a hub's base"
    )
    where = {"offline": pulling.offline, "endpoint": pulling.endpoint, "announce": pulling.announce}
    (report,) = pull_parts(profile, [part], **where)
    places = {each.path: Path(str(each.local)) for each in report.files}
    return places[str(part.file)] if part.file else places[INDEX].parent


def _part(repo: str, file: str | None, files: Sequence[str], licence: str) -> Part:
    return Part(name="base", repo=repo, file=file, files=tuple(files), licence=licence, url=hub_page(repo))


def _known_part(repo: str, file: str | None) -> Part | None:
    """As an earlier pull recorded it."""
    start = f"{repo}@main:"
    names = [key.removeprefix(start) for key in read_lock() if key.startswith(start)]
    if file is not None:
        return _part(repo, file, (), "see its page") if file in names else None
    if INDEX in names:
        return _part(repo, None, names, "see its page")
    return _part(repo, names[0], (), "see its page") if len(names) == 1 else None


def _asked_part(repo: str, file: str | None, pulling: Pulling) -> Part:
    """As the hub lists it.

    Raises:
        InputError: there is no such repository, or it holds no base model.
    """
    blank = _part(repo, None, (), "")
    offline = pulling.offline or constants.HF_HUB_OFFLINE
    if offline:
        raise InputError(f"model {repo!r} is neither a folder here nor in the cache; run once without --offline")
    endpoint = pulling.endpoint or constants.ENDPOINT
    try:
        info = HfApi(endpoint=endpoint).model_info(repo)
    except Exception as error:  # of the hub's library, whose errors are of many kinds
        raise InputError(
            explain(error, blank, "its list of files", "main", offline=False, endpoint=endpoint)
        ) from error
    names = [each.rfilename for each in info.siblings or ()]
    licence = str((info.card_data or {}).get("license") or "unstated")
    if file is not None:
        return _part(repo, file, (), licence)
    if INDEX in names:
        return _part(repo, None, (INDEX, *diffusers_files(names)), licence)
    return _part(repo, _only_checkpoint(repo, names), (), licence)


def diffusers_files(names: Sequence[str]) -> Iterator[str]:
    """What is read of a diffusers repository: tables, and of weights half precision where it is there.

    Args:
        names: paths of all its files.
    """
    for folder in FOLDERS:
        inside = [name for name in names if str(PurePosixPath(name).parent) == folder]
        yield from (name for name in inside if holds_data(name) and not name.endswith((WEIGHTS, ".onnx")))
        yield from _of_variant(inside, "fp16") or _of_variant(inside, "")


def _of_variant(names: Sequence[str], variant: str) -> list[str]:
    """Weight files `name.safetensors` or `name.fp16.safetensors`, whole or in shards."""
    stems = {name: PurePosixPath(name).name.removesuffix(WEIGHTS) for name in names if name.endswith(WEIGHTS)}
    return [name for name, stem in stems.items() if stem.partition(".")[2].partition("-")[0] == variant]


def _only_checkpoint(repo: str, names: Sequence[str]) -> str:
    """The one checkpoint of a repository without a diffusers folder."""
    found = [name for name in names if name.endswith(WEIGHTS)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"model {repo!r} holds neither {INDEX} nor a {WEIGHTS} file; choose another one")
    named = ", ".join(found[:MOST_NAMED]) + (" …" if len(found) > MOST_NAMED else "")
    raise InputError(f"model {repo!r} holds {len(found)} checkpoints ({named}); name one: {repo}/{found[0]}")

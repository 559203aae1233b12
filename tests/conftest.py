"""Settings for every test: no model hub, few threads, the same random numbers."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before diffusers and transformers are imported

from collections.abc import Iterator
from typing import Any

import pytest
import torch

torch.set_num_threads(min(2, torch.get_num_threads()))  # OMP_NUM_THREADS=1 still lowers it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Give every test the same torch random state, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What perception finds in tests is not kept among the user's results, nor is a certificate made for the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINSET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TWINSET_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_stage() -> Iterator[None]:
    """Pictures of the bundled model take one stage where a test does not ask for a size; a second costs four times."""
    from twinset.pipelines.families.drawn import StudioBackend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudioBackend, "usual_size", StudioBackend.frame)
        yield


@pytest.fixture(scope="session")
def studio() -> Any:
    """The bundled pipeline, loaded once for all tests that look at pictures."""
    from twinset.pipelines.studio import StudioPipeline

    pipe = StudioPipeline.from_pretrained("studio")
    pipe.set_progress_bar_config(disable=True)
    return pipe

"""A trained adapter takes its file's name when all of it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinset.training.adapters.train import publish_adapter
from twinset.training.adapters.trained import TrainedAdapter


def test_a_result_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    class Broken(TrainedAdapter):
        def write(self, out: Path) -> Path:
            out.write_bytes(b"half")
            raise OSError("disk full")

    out = tmp_path / "x.safetensors"
    out.write_bytes(b"before")
    with pytest.raises(OSError, match="disk full"):
        publish_adapter(Broken(), out)
    assert out.read_bytes() == b"before" and list(tmp_path.iterdir()) == [out]

"""Hashes that are remembered: right after every change, and not computed anew without one."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from twinset.common import hashing
from twinset.common.hashing import WORTH_REMEMBERING, remembered_hash


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is worth remembering and was left alone for long, and a cache folder of its own."""
    monkeypatch.setenv("TWINSET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hashing, "SETTLED", 0.0)
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(WORTH_REMEMBERING))
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that are read."""
    read: list[Path] = []
    plain = hashing.file_hash
    monkeypatch.setattr(hashing, "file_hash", lambda path: (read.append(path), plain(path))[1])
    return read


def test_an_unchanged_file_is_read_once(large: Path, hashed: list[Path]) -> None:
    expected = hashlib.sha256(large.read_bytes()).hexdigest()
    assert [remembered_hash(large) for _ in range(3)] == [expected] * 3 and hashed == [large]


def test_a_changed_file_is_read_again_even_with_its_old_time(large: Path, hashed: list[Path]) -> None:
    remembered_hash(large)
    before = large.stat()
    data = bytes(WORTH_REMEMBERING - 1) + b"!"
    large.write_bytes(data)
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered_hash(large) == hashlib.sha256(data).hexdigest() and len(hashed) == 2


def test_a_file_that_was_just_written_is_not_remembered(
    large: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SETTLED", 3600.0)
    remembered_hash(large)
    remembered_hash(large)
    assert len(hashed) == 2 and time.time() - large.stat().st_mtime < 3600


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1', "\ufeff"])
def test_a_damaged_memory_costs_time_alone(large: Path, hashed: list[Path], content: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "hashes.json").write_text(content)
    assert remembered_hash(large) == remembered_hash(large) and len(hashed) == 1


def test_a_cache_that_cannot_be_written_costs_time_alone(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSET_CACHE", str(large / "no folder"))
    assert remembered_hash(large) == hashlib.sha256(large.read_bytes()).hexdigest()


def test_files_that_are_gone_are_forgotten(large: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(WORTH_REMEMBERING))
    remembered_hash(other)
    other.unlink()
    remembered_hash(large)
    text = (tmp_path / "cache" / "hashes.json").read_text()
    assert "large.bin" in text and "other.bin" not in text

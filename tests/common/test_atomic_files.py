"""A file is whole or not there; the first of several makers wins."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from twinset.common.atomic_files import atomic_path, create_atomic, write_atomic


def test_what_is_written_takes_the_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["record.json"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomic(path, "old")
    with pytest.raises(ValueError, match="no more"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("no more")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["record.json"]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_modes_hold(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"1", 0o600)
    create_atomic(tmp_path / "b", b"2")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o600, 0o600]


def test_the_first_maker_wins(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert create_atomic(path, b"first") and not create_atomic(path, b"second")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["key"]


def test_files_and_folder_are_flushed_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    flush, rename = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        flush(descriptor)

    def renamed(source: Path, target: Path) -> None:
        events.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    write_atomic(tmp_path / "a", b"1")
    assert events == ["file", "rename", "folder"]

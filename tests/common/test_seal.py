"""What perception keeps is closed to everybody without the key."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest

from twinset.common.encryption import Seal, own_seal
from twinset.common.result_cache import PerceptionCache
from twinset.errors import InputError

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
EMBEDDING = np.linspace(-1, 1, 512, dtype=np.float32)


def kept(folder: Path) -> np.ndarray:
    return PerceptionCache(folder)("embedding", lambda: {"said": EMBEDDING}, PICTURE, revision="r")["said"]


def test_no_embedding_lies_readable_on_disk(tmp_path: Path) -> None:
    kept(tmp_path)
    (file,) = tmp_path.glob("*.npz")
    content, raw = file.read_bytes(), EMBEDDING.tobytes()
    assert not any(raw[start : start + 8] in content for start in range(0, len(raw), 8))
    assert b"said" not in content and b"PK" not in content[:4]
    with pytest.raises(ValueError, match=r"pickle|magic|zip"):
        np.load(io.BytesIO(content), allow_pickle=False)
    np.testing.assert_array_equal(kept(tmp_path), EMBEDDING)
    assert file.read_bytes() == content  # it was read, not made anew


def test_another_key_has_seen_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path)
    monkeypatch.setenv("TWINSET_CACHE_KEY", base64.b64encode(bytes(32)).decode())
    with pytest.warns(UserWarning, match="encrypted with another key"):
        np.testing.assert_array_equal(kept(tmp_path), EMBEDDING)
    np.testing.assert_array_equal(kept(tmp_path), EMBEDDING)  # now by this key
    monkeypatch.setenv("TWINSET_CACHE_KEY", "short")
    with pytest.raises(InputError, match="openssl rand -base64 32"):
        own_seal()


def test_a_file_cannot_pass_for_another() -> None:
    seal = Seal(bytes(range(32)))
    closed = seal.close(b"of Mei", "a.npz")
    assert seal.open(closed, "a.npz") == b"of Mei" and closed != seal.close(b"of Mei", "a.npz")
    assert seal.open(closed, "b.npz") is None and seal.open(closed[:-1], "a.npz") is None
    assert Seal(bytes(32)).open(closed, "a.npz") is None and seal.open(b"", "a.npz") is None


def test_the_key_is_made_once_and_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINSET_DATA", str(tmp_path))
    closed = own_seal().close(b"x", "n")
    assert own_seal().open(closed, "n") == b"x"
    (file,) = tmp_path.iterdir()
    assert file.name == "cache.key" and file.stat().st_mode & 0o077 == 0
    file.write_bytes(b"cut off")
    assert own_seal().open(closed, "n") is None and len(file.read_bytes()) == 32

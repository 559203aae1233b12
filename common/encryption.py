"""Files about people, encrypted at rest: AES-256-GCM with a key that lies apart from them."""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinset.common.atomic_files import create_atomic, write_atomic
from twinset.common.paths import data_folder
from twinset.common.settings import settings
from twinset.errors import InputError

MAGIC, NONCE, KEY = b"TWS1", 12, 32
KEY_FILE = "cache.key"


class Seal:
    """Closes and opens files; each is bound to its name, so that none can pass for another.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes):
        self.cipher = AESGCM(key)

    def close(self, data: bytes, name: str) -> bytes:
        """Encrypt what is to be kept under a name."""
        nonce = secrets.token_bytes(NONCE)
        return MAGIC + nonce + self.cipher.encrypt(nonce, data, name.encode())

    def open(self, data: bytes, name: str) -> bytes | None:
        """Decrypt what was kept under a name; None where the key is another, or the file is damaged."""
        if not data.startswith(MAGIC):
            return None
        nonce, closed = data[len(MAGIC) :][:NONCE], data[len(MAGIC) + NONCE :]
        try:
            return self.cipher.decrypt(nonce, closed, name.encode())
        except (InvalidTag, ValueError):
            return None


def own_seal() -> Seal:
    """The user's: by `$TWINSET_CACHE_KEY` (32 bytes in base64), else by a key file that is made at first.

    Raises:
        InputError: the variable is no such key.
    """
    text = settings().cache_key
    if text is not None:
        return Seal(_decoded_key(text))
    path = data_folder() / KEY_FILE
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    return Seal(key if len(key) == KEY else _made_key(path))


def _decoded_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY:
        raise InputError("TWINSET_CACHE_KEY is not 32 bytes in base64; make one: openssl rand -base64 32")
    return key


def _made_key(path: Path) -> bytes:
    """A new key; of several processes that make one at the same time, the first's counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY)
    if not create_atomic(path, key) and len(path.read_bytes()) != KEY:  # cut off by a full disk
        write_atomic(path, key, 0o600)
    return path.read_bytes()

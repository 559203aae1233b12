"""API keys: made here, stored as hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from twinset.common.atomic_files import write_atomic
from twinset.errors import InputError

OPEN_OWNER = "everybody"
"""Who asks where the service is open to this machine without keys."""


class Keys:
    """Keys of a file `{name: SHA-256 of the key}`.

    Args:
        path: the file, the service's user's alone.
    """

    def __init__(self, path: Path):
        self.path = path

    def add(self, name: str) -> str:
        """Make a key for somebody; it is shown once and stored nowhere.

        Raises:
            InputError: the name has one.
        """
        known = self._known()
        if name in known:
            raise InputError(f"{name!r} already has a key; remove it first, or choose another name")
        key = f"tw_{secrets.token_urlsafe(32)}"
        self._write(known | {name: _hash(key)})
        return key

    def remove(self, name: str) -> None:
        """Make a key worthless.

        Raises:
            InputError: there is none of that name.
        """
        known = self._known()
        if name not in known:
            raise InputError(f"{name!r} has no key; there are {', '.join(known) or 'none'}")
        self._write({other: value for other, value in known.items() if other != name})

    def owner(self, key: str) -> str | None:
        """Whose key it is; None for nobody's."""
        digest = _hash(key)
        return next((name for name, value in self._known().items() if hmac.compare_digest(value, digest)), None)

    def count(self) -> int:
        """How many keys there are."""
        return len(self._known())

    def _known(self) -> dict[str, str]:
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise InputError(f"key file {str(self.path)!r} is damaged; restore it, or delete it and add keys") from None

    def _write(self, known: dict[str, str]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.path, json.dumps(known, indent=1), 0o600)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()

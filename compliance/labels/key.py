"""The key of the pixel mark.

Without a key of one's own the mark is laid with a public one, so that anybody can read it with `twinset verify` free of
charge, as Article 50 of the EU's AI Act wants. Whoever knows a key can also take its mark out, or lay one into any
picture: a mark of the public key proves nothing. Of a secret one (`TWINSET_MARK_KEY`) only its owner can read the mark
or lay a new one.

A secret key does not keep anybody from lifting a mark: who has a marked picture can estimate what was added to it, and
add that to another picture. The mark says what is to be seen in the picture that it was laid into, by a code that needs
the key (`twinset.compliance.labels.content`), so that `twinset verify` tells a lifted mark on another picture in nearly
all cases. A small change of the marked picture itself, a face exchanged say, it does not tell; the signature does. Nor
does a secret key keep anybody from destroying a mark: strong blur, redrawing or cutting takes out any.
"""

from __future__ import annotations

import hashlib

from twinset.common.settings import settings

PUBLIC_KEY = b"twinset public mark key, 2026"


def mark_key() -> bytes:
    """The key to mark with: `TWINSET_MARK_KEY` where it is set, else the public one."""
    own = settings().mark_key
    return PUBLIC_KEY if own is None else own.encode()


def keys_to_try() -> dict[str, bytes]:
    """Keys to look for marks with, by name: "own" where there is one, then "public"."""
    own = mark_key()
    return ({} if own == PUBLIC_KEY else {"own": own}) | {"public": PUBLIC_KEY}


def key_name(key: bytes) -> str:
    """What a record says of a key: "public", or eight digits of its SHA-256, which do not give it away."""
    return "public" if key == PUBLIC_KEY else hashlib.sha256(b"twinset key" + key).hexdigest()[:8]

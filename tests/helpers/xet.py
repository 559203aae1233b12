"""How the hub's second storage, Xet, hands out a file: the terms it is rebuilt from, and the chunks of its xorb.

The real client library (hf_xet) reads both. One file is one xorb here; its chunks go uncompressed, behind headers of
8 bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

CHUNK = 1 << 17
HEADER = 8
UNCOMPRESSED = 0


def xet_hash(name: str) -> str:
    """Stands in for the hash of a file's chunks: 64 hexadecimal digits that are not its SHA-256."""
    return hashlib.blake2b(name.encode(), digest_size=32).hexdigest()


def xorb(data: bytes) -> bytes:
    """A file as its chunks lie in storage: version, stored length, compression, length; then the bytes."""
    out = bytearray()
    for start in range(0, len(data), CHUNK):
        chunk = data[start : start + CHUNK]
        length = len(chunk).to_bytes(3, "little")
        out += b"\0" + length + bytes([UNCOMPRESSED]) + length + chunk
    return bytes(out)


def reconstruction(name: str, size: int, wanted: str | None, url: str) -> dict[str, Any] | None:
    """Which chunks make up the bytes wanted of a file, and where they are.

    Args:
        name: of the file.
        size: bytes of the file.
        wanted: the request's Range header; the whole file when None.
        url: of the file's xorb.

    Returns:
        The answer's JSON; None when the range begins behind the end.
    """
    start, end = 0, size - 1
    if wanted:
        first, last = wanted.removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last), size - 1)
    if start >= size:
        return None
    chunks = {"start": start // CHUNK, "end": end // CHUNK + 1}
    unpacked = min(chunks["end"] * CHUNK, size) - chunks["start"] * CHUNK
    at = chunks["start"] * (CHUNK + HEADER)
    length = unpacked + HEADER * (chunks["end"] - chunks["start"])
    place = {"range": chunks, "url": url, "url_range": {"start": at, "end": at + length - 1}}
    return {
        "offset_into_first_range": start - chunks["start"] * CHUNK,
        "terms": [{"hash": xet_hash(f"xorb {name}"), "unpacked_length": unpacked, "range": chunks}],
        "fetch_info": {xet_hash(f"xorb {name}"): [place]},
    }

"""Reads the labels of a picture's file, each layer by itself, and checks whether they agree."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from twinset.common.image_io import read_picture
from twinset.compliance.labels.find import find_mark
from twinset.compliance.labels.key import keys_to_try
from twinset.compliance.labels.signing import GENERATED, can_sign, read_c2pa_manifest
from twinset.compliance.labels.xmp import AIGC, SOURCE_TYPE, read_property, read_xmp

NOT_BOUND = (
    "the pixel mark is not of this picture: it was lifted from another one, or laid by an older version of Twinset"
)
MarkVerdict = Literal["own key", "public key", "another picture's"]
"""Of a pixel mark: laid by who has this machine's secret key; by anybody; or into another picture than this one."""
ManifestVerdict = Literal["own", "trusted", "unknown", "changed", "invalid", "elsewhere"]
"""Of a manifest: signed with this machine's certificate, with one of the trust list, with one that anybody can make;
the file was changed since; the signature does not hold; or there is none, only an address of one."""


@dataclass(frozen=True)
class Verified:
    """What was found of a picture, and how much of it is proven.

    Attributes:
        picture: The file.
        mark: `payload` (eight hexadecimal digits), `key` ("own" or "public"), `bound` (whether it was laid into what
            this picture shows), `pilot`, `scale`, `turn` in degrees and `mirrored`; None where there is none.
        xmp: `aigc` (the JSON of the TC260 field) and `source_type`; None where XMP says nothing of either.
        c2pa: See `twinset.compliance.labels.signing.read_c2pa_manifest`; None where there is none.
        notes: Layers that could not be checked, and layers that contradict each other.
    """

    picture: str
    mark: dict[str, Any] | None
    xmp: dict[str, Any] | None
    c2pa: dict[str, Any] | None
    notes: tuple[str, ...]

    @property
    def mark_verdict(self) -> MarkVerdict | None:
        """Whose the pixel mark is."""
        if self.mark is None:
            return None
        if not self.mark["bound"]:
            return "another picture's"
        return "own key" if self.mark["key"] == "own" else "public key"

    @property
    def manifest_verdict(self) -> ManifestVerdict | None:
        """Whose the manifest is, if it holds."""
        if self.c2pa is None:
            return None
        if self.c2pa["state"] == "Valid":
            return self.c2pa["signer"]
        return "elsewhere" if self.c2pa["state"] == "Elsewhere" else "changed" if self.c2pa["changed"] else "invalid"

    @property
    def layers(self) -> list[str]:
        """The layers that say that the picture was generated, and are this picture's."""
        signed = self.c2pa is not None and self.c2pa["generated"] and self.c2pa["state"] == "Valid"
        marked = self.mark_verdict in ("own key", "public key")
        said = {"mark": marked, "xmp": self.xmp is not None, "c2pa": signed}
        return [name for name, holds in said.items() if holds]

    @property
    def proven(self) -> list[str]:
        """Those of `layers` that not everybody could have put there: of the secret key, or of a known certificate."""
        known = {"mark": self.mark_verdict == "own key", "c2pa": self.manifest_verdict in ("own", "trusted")}
        return [name for name in self.layers if known.get(name)]

    @property
    def broken(self) -> bool:
        """Whether a signature does not hold, in most cases since the file was changed."""
        return self.manifest_verdict in ("changed", "invalid")

    def to_json(self) -> dict[str, Any]:
        """Keys as in the attributes, and `layers`, `proven`, `verdicts` and `broken`."""
        xmp = None if self.xmp is None else "anybody's"
        verdicts = {"mark": self.mark_verdict, "xmp": xmp, "c2pa": self.manifest_verdict}
        found = {"layers": self.layers, "proven": self.proven, "verdicts": verdicts, "broken": self.broken}
        return asdict(self) | {"notes": list(self.notes)} | found


def verify(path: Path) -> Verified:
    """Read all layers of a picture's file; nothing is looked up anywhere else.

    Raises:
        InputError: The file is missing or is no picture.
    """
    pixels = read_picture(path, "picture")
    data, notes = path.read_bytes(), []
    mark, xmp = None, _xmp(data, notes)
    for name, key in keys_to_try().items():
        found = find_mark(pixels, key)
        if found is not None:
            mark = asdict(found) | {"payload": f"{found.payload:08x}", "key": name, "bound": found.bound}
            del mark["content"]
            break
    if mark is not None and not mark["bound"]:
        notes.append(NOT_BOUND)
    manifest = read_c2pa_manifest(data) if can_sign() else None
    if not can_sign():
        notes.append("C2PA was not checked: c2pa-python is missing; pip install 'twinset[provenance]'")
    if manifest is not None and manifest["state"] == "Elsewhere":
        notes.append("the file names an address of a manifest; it was not looked up, and proves nothing")
    notes += _contradictions(mark, xmp, manifest)
    return Verified(str(path), mark, xmp, manifest, tuple(notes))


def _xmp(data: bytes, notes: list[str]) -> dict[str, Any] | None:
    """What XMP says; a field that is damaged is noted."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.load()
            packet = read_xmp(picture)
        aigc, source = (read_property(packet, name) if packet else None for name in (AIGC, SOURCE_TYPE))
        field = json.loads(aigc) if aigc else None
    except (OSError, ValueError, SyntaxError, RecursionError) as error:
        notes.append(f"XMP cannot be read ({str(error).splitlines()[0]})")
        return None
    generated = source is not None and source.rpartition("/")[2] in GENERATED
    if not (isinstance(field, dict) and field.get("Label") in ("1", "2", "3")) and not generated:
        return None
    return {"aigc": field, "source_type": source}


def _contradictions(
    mark: dict[str, Any] | None, xmp: dict[str, Any] | None, manifest: dict[str, Any] | None
) -> list[str]:
    """Layers that are of different pictures: somebody put one file's metadata to another's pixels."""
    names = {} if mark is None else {"the pixel mark": mark["payload"]}
    if xmp is not None and isinstance(xmp["aigc"], dict) and xmp["aigc"].get("ProduceID"):
        names["the XMP"] = str(xmp["aigc"]["ProduceID"])[:8]
    if manifest is not None and isinstance(manifest["mark"], dict) and manifest["mark"].get("mark"):
        names["the manifest"] = str(manifest["mark"]["mark"])
    if len(set(names.values())) < 2:
        return []
    return [f"the layers disagree: {', '.join(f'{layer} says {name}' for layer, name in names.items())}"]

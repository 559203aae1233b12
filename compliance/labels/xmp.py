"""XMP that says a picture was generated: China's AIGC field and IPTC's digital source type.

The field (namespace TC260, property AIGC) and its JSON are those of GB 45438-2025, known here from secondary sources;
the source type is IPTC's photo metadata standard 2023.2. XMP itself: ISO 16684-1; PNG carries it as iTXt
`XML:com.adobe.xmp`, JPEG as APP1, WebP as `XMP `.
"""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from twinset.common.settings import settings
from twinset.errors import InputError

Format = Literal["PNG", "JPEG", "WEBP"]
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": RDF,
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
AIGC = f"{{{NAMESPACES['TC260']}}}AIGC"
SOURCE_TYPE = f"{{{NAMESPACES['Iptc4xmpExt']}}}DigitalSourceType"
TOOL = f"{{{NAMESPACES['xmp']}}}CreatorTool"
SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_HEAD, _TAIL = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n', '\n<?xpacket end="w"?>'


def aigc_field(produce_id: str, producer: str | None = None) -> str:
    """The JSON of the AIGC property.

    Args:
        produce_id: The picture's number with its producer; printable ASCII without spaces.
        producer: Who produced it, likewise; `TWINSET_PRODUCER` or "Twinset" when absent.

    Raises:
        InputError: One of them is not so.
    """
    named = {"ContentProducer": producer or settings().producer, "ProduceID": produce_id}
    for name, value in named.items():
        if not re.fullmatch(r"[!-~]+", value):
            raise InputError(f"{name} {value!r} is not printable ASCII without spaces; fix TWINSET_PRODUCER")
    rest = {"ReservedCode1": "", "ContentPropagator": "", "PropagateID": "", "ReservedCode2": ""}
    return json.dumps({"Label": "1"} | named | rest, separators=(",", ":"))


def properties(produce_id: str, edited: bool) -> dict[str, str]:
    """The XMP properties of a picture, by qualified name.

    Args:
        produce_id: See `aigc_field`.
        edited: Whether it is a photo of which a part was drawn anew.
    """
    source = "compositeWithTrainedAlgorithmicMedia" if edited else "trainedAlgorithmicMedia"
    return {AIGC: aigc_field(produce_id), SOURCE_TYPE: SOURCES + source, TOOL: "Twinset"}


def packet(values: Mapping[str, str], existing: bytes | None = None) -> bytes:
    """An XMP packet with simple properties; those of an existing packet are replaced one by one, the rest of it stays.

    Args:
        values: Text by qualified name, `{namespace}name`.
        existing: A packet.

    Raises:
        InputError: The existing one is not XMP.
    """
    root = _meta(existing)
    descriptions = root.findall(f".//{{{RDF}}}Description")
    for name, text in values.items():
        for description in descriptions:
            description.attrib.pop(name, None)
            for old in description.findall(name):
                description.remove(old)
        ElementTree.SubElement(descriptions[0], name).text = text
    for prefix, namespace in NAMESPACES.items():
        ElementTree.register_namespace(prefix, namespace)
    return (_HEAD + ElementTree.tostring(root, encoding="unicode") + _TAIL).encode()


def _meta(existing: bytes | None) -> ElementTree.Element:
    """The `x:xmpmeta` of a packet, or a new one, with at least one description."""
    root = _parsed(existing) if existing else ElementTree.Element(f"{{{NAMESPACES['x']}}}xmpmeta")
    rdf = root if root.tag == f"{{{RDF}}}RDF" else root.find(f"{{{RDF}}}RDF")
    rdf = ElementTree.SubElement(root, f"{{{RDF}}}RDF") if rdf is None else rdf
    if rdf.find(f"{{{RDF}}}Description") is None:
        ElementTree.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    return root


def _parsed(data: bytes) -> ElementTree.Element:
    """The tree of a packet; one that declares entities is none."""
    if b"<!" in data.replace(b"<!--", b""):
        raise InputError("XMP with a document type is refused; save the picture without it")
    try:
        return ElementTree.fromstring(data.rstrip(b"\0 "))
    except ElementTree.ParseError as error:
        raise InputError(f"XMP of the picture is damaged ({error}); save the picture without it") from None


def read_xmp(picture: Image.Image) -> bytes | None:
    """The XMP packet of a PNG, JPEG or WebP that Pillow has opened."""
    found = picture.info.get("XML:com.adobe.xmp") or picture.info.get("xmp")
    return found.encode() if isinstance(found, str) else found


def read_property(data: bytes, name: str) -> str | None:
    """A simple property of a packet, or None."""
    for description in _parsed(data).iter(f"{{{RDF}}}Description"):
        value = description.get(name) or description.findtext(name)
        if value:
            return value
    return None


def encode_png(picture: Image.Image, values: Mapping[str, str], format: Format = "PNG") -> bytes:
    """A picture's file with XMP and no other metadata; equal pixels and values make equal bytes.

    Args:
        picture: RGB.
        values: See `packet`; none leave XMP out.
        format: The file's; WebP is lossless, JPEG of quality 95.
    """
    plain, file = Image.frombytes("RGB", picture.size, picture.convert("RGB").tobytes()), io.BytesIO()
    options: dict[str, object] = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"lossless": True}}[format]
    if values and format == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet(values).decode())
        options["pnginfo"] = text
    elif values:
        options["xmp"] = packet(values)
    plain.save(file, format, **options)
    return file.getvalue()

"""C2PA: a signed manifest in the file that says how the picture came about (C2PA specification 2.x, by c2pa-python).

The signature binds the bytes of the file, so it comes last. A picture drawn whole is "created" by a trained algorithm;
one in photo mode is "edited", and the photo is its ingredient: with its own manifest where it has one, else by its
pixels alone, so that nothing of its metadata goes further.
"""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from twinset.common.settings import settings
from twinset.compliance.labels.certificate import DEVELOPMENT, Certificate, signing_certificate
from twinset.compliance.labels.xmp import SOURCES
from twinset.errors import InputError

if TYPE_CHECKING:
    from c2pa import Builder, Signer

ASSERTION = "org.twinset.mark"
GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
MISSING = "not signed: the package c2pa-python is missing; pip install 'twinset[provenance]'"
SELF_MADE = (
    "signed with a development certificate, which proves no identity; give your own by TWINSET_C2PA_CERT and _KEY"
)
_MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}  # no second picture in the file, least of all of the photo


def can_sign() -> bool:
    """Whether c2pa-python is installed."""
    return find_spec("c2pa") is not None


def sign(data: bytes, title: str, mark: dict[str, Any], photo: Path | None = None) -> tuple[bytes, bool]:
    """A picture's file with a manifest, and whether a development certificate signed it; pixels and XMP stay.

    Args:
        data: The encoded picture, PNG, JPEG or WebP.
        title: Its name.
        mark: What the manifest says of the pixel mark, JSON.
        photo: In photo mode, the photo.

    Raises:
        InputError: The certificate cannot be used.
        ValueError: It is a file of another kind.
    """
    from c2pa import Builder, C2paError, Context, Settings

    mime = _mime(data)
    if mime is None:
        raise ValueError("only PNG, JPEG and WebP can be signed")
    certificate = signing_certificate()
    manifest = {
        "claim_generator_info": [{"name": "Twinset"}],
        "title": title,
        "assertions": [{"label": ASSERTION, "data": mark}],
    }
    signed = io.BytesIO()
    try:
        with Builder(manifest, Context(Settings.from_dict(_SETTINGS))) as builder:
            _say_how(builder, photo)
            builder.sign(_signer(certificate), mime, io.BytesIO(data), signed)
    except C2paError as error:
        if certificate.development:
            raise
        fault = str(error).replace("\n", " ")
        raise InputError(f"TWINSET_C2PA_CERT {str(settings().c2pa_cert)!r} cannot sign ({fault})") from None
    return signed.getvalue(), certificate.development


def _say_how(builder: Builder, photo: Path | None) -> None:
    """Created, or opened and edited."""
    from c2pa import C2paBuilderIntent, C2paDigitalSourceType

    if photo is None:
        builder.set_intent(C2paBuilderIntent.CREATE, C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
        return
    builder.set_intent(C2paBuilderIntent.EDIT)
    mime, data = _ingredient(photo)
    builder.add_ingredient({"title": "photo", "relationship": "parentOf"}, mime, io.BytesIO(data))
    builder.add_action({"action": "c2pa.edited", "digitalSourceType": SOURCES + GENERATED[1]})


def _ingredient(photo: Path) -> tuple[str, bytes]:
    """Type and bytes of a photo: its file where that has a manifest, else its pixels as PNG."""
    from twinset.common.image_io import read_picture

    data = photo.read_bytes()
    mime = _mime(data)
    if mime is not None and _manifests(mime, data) is not None:
        return mime, data
    file = io.BytesIO()
    Image.fromarray(read_picture(photo, "photo")).save(file, "PNG")
    return _MIMES["PNG"], file.getvalue()


def _mime(data: bytes) -> str | None:
    """The type of a PNG, JPEG or WebP by its first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _MIMES["WEBP"]
    return {b"\x89PN": _MIMES["PNG"], b"\xff\xd8\xff": _MIMES["JPEG"]}.get(data[:3])


def _signer(certificate: Certificate) -> Signer:
    from c2pa import C2paSignerInfo, Signer

    tsa = settings().c2pa_tsa
    return Signer.from_info(
        C2paSignerInfo(_algorithm(certificate.key), certificate.chain, certificate.key, tsa.encode() if tsa else None)
    )


def _algorithm(key: bytes) -> bytes:
    """C2PA's name of the algorithm that a private key signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"TWINSET_C2PA_KEY is not an unencrypted PEM private key ({error}); give one in PKCS #8"
        ) from None
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        return {256: b"es256", 384: b"es384", 521: b"es512"}[loaded.key_size]
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    if isinstance(loaded, rsa.RSAPrivateKey):
        return b"ps256"
    raise InputError(f"TWINSET_C2PA_KEY is a {type(loaded).__name__}; give an elliptic, Ed25519 or RSA key")


def _manifests(mime: str, data: bytes) -> dict[str, Any] | None:
    """What c2pa reads of a file, or None where it has no manifest; one that is damaged reads as invalid."""
    from c2pa import C2paError, Reader

    try:
        reader = Reader.try_create(mime, io.BytesIO(data))
        return None if reader is None else json.loads(reader.json())
    except (C2paError, ValueError) as error:
        return {"validation_state": "Invalid", "validation_status": [{"code": str(error).splitlines()[0]}]}


def read_c2pa_manifest(data: bytes) -> dict[str, Any] | None:
    """What the manifest of a picture's file says, or None where there is none.

    Returns:
        `state` ("Trusted", "Valid": unchanged since signed by somebody whom no trust list vouches for, or "Invalid"),
        `issuer`, `development`, `generated` (whether it says that a trained algorithm made the picture or a part of
        it), `mark` (what it says of Twinset's pixel mark) and `faults`.
    """
    mime = _mime(data)
    found = _manifests(mime, data) if mime else None
    if found is None:
        return None
    active = found.get("manifests", {}).get(found.get("active_manifest"), {})
    assertions = {one["label"]: one.get("data") for one in active.get("assertions", ())}
    actions = [a for label, told in assertions.items() if label.startswith("c2pa.actions") for a in told["actions"]]
    sources = {str(action.get("digitalSourceType", "")).rpartition("/")[2] for action in actions}
    issuer = active.get("signature_info", {}).get("issuer")
    return {
        "state": found.get("validation_state"),
        "issuer": issuer,
        "development": issuer == DEVELOPMENT,
        "generated": bool(sources & set(GENERATED)),
        "mark": assertions.get(ASSERTION),
        "faults": sorted({status["code"] for status in found.get("validation_status", ())}),
    }

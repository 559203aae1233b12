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
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from twinset.common.settings import settings
from twinset.compliance.labels.certificate import Certificate, own_chain, signing_certificate
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
_ALONE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
"""What a file says never makes this machine connect to anywhere."""
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},  # no second picture in the file, least of all of the photo
    "verify": _ALONE,
}
_REMOTE = "Remote: "
"""How c2pa's error begins where a file has no manifest, but says where one would be."""
SignerKind = Literal["own", "trusted", "unknown"]
"""Whose certificate signed: this machine's own, one that the trust list vouches for, or one that anybody can make."""


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
    if mime is not None and (_manifests(mime, data) or {}).get("manifests"):
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


def _manifests(mime: str, data: bytes, trust: dict[str, str] | None = None) -> dict[str, Any] | None:
    """What c2pa reads of a file, or None where it has no manifest; one that is damaged reads as invalid.

    Args:
        mime: of the file.
        data: its bytes.
        trust: certificates that are trusted, as c2pa's settings have them; none when None.
    """
    from c2pa import C2paError, Context, Reader, Settings

    trusted = {} if trust is None else {"trust": trust}
    context = Context(Settings.from_dict({"verify": _ALONE | {"verify_trust": True}} | trusted))
    try:
        reader = Reader.try_create(mime, io.BytesIO(data), context=context)
        return None if reader is None else json.loads(reader.json())
    except (C2paError, ValueError) as error:
        told = str(error).splitlines()[0]
        if told.startswith(_REMOTE):
            return {"validation_state": "Elsewhere"}
        return {"validation_state": "Invalid", "validation_status": [{"code": told}]}


def _signer_of(mime: str, data: bytes) -> SignerKind:
    """Whose certificate signed a file whose signature holds: asked by certificates, since names prove nothing."""
    own, listed = own_chain(), settings().c2pa_trust
    if own is not None:
        found = _manifests(mime, data, {"user_anchors": own[1].decode("ascii")}) or {}
        serial = str(_active(found).get("signature_info", {}).get("cert_serial_number"))
        if found.get("validation_state") == "Trusted" and serial == str(own[0]):  # an authority gives each number once
            return "own"
    if listed is None:
        return "unknown"
    try:
        anchors = listed.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"TWINSET_C2PA_TRUST = {str(listed)!r} cannot be read; give a PEM file of authorities' certificates"
        ) from None
    found = _manifests(mime, data, {"trust_anchors": anchors}) or {}
    return "trusted" if found.get("validation_state") == "Trusted" else "unknown"


def _active(found: dict[str, Any]) -> dict[str, Any]:
    """The manifest of the file itself, of all that are in it."""
    return found.get("manifests", {}).get(found.get("active_manifest"), {})


def read_c2pa_manifest(data: bytes) -> dict[str, Any] | None:
    """What the manifest of a picture's file says, or None where there is none.

    Returns:
        `state` ("Valid": unchanged since it was signed; "Invalid"; or "Elsewhere": the file has none, and says where
        one would be, which is not looked up), `signer` (see `SignerKind`; None where the signature does not hold),
        `changed` (whether it is invalid since the file was changed), `issuer` (what the certificate calls its owner,
        which proves nothing where the signer is unknown), `development` (whether it is this machine's development
        certificate), `generated` (whether it says that a trained algorithm made the picture or a part of it), `mark`
        (what it says of Twinset's pixel mark) and `faults`.
    """
    mime = _mime(data)
    found = _manifests(mime, data) if mime else None
    if mime is None or found is None:
        return None
    active = _active(found)
    assertions = {one["label"]: one.get("data") for one in active.get("assertions", ())}
    sources = {
        str(action.get("digitalSourceType", "")).rpartition("/")[2]
        for label, told in assertions.items()
        if label.startswith("c2pa.actions") and isinstance(told, dict)
        for action in told.get("actions") or ()
        if isinstance(action, dict)  # anybody may sign anything
    }
    issuer, faults = active.get("signature_info", {}).get("issuer"), _faults(found)
    holds = found.get("validation_state") in ("Valid", "Trusted")
    signer = _signer_of(mime, data) if holds else None
    return {
        "state": "Valid" if holds else found.get("validation_state"),
        "signer": signer,
        "changed": any(code.endswith("mismatch") for code in faults),
        "issuer": issuer,
        "development": signer == "own" and settings().c2pa_cert is None,
        "generated": bool(sources & set(GENERATED)),
        "mark": told if isinstance(told := assertions.get(ASSERTION), dict) else None,
        "faults": faults,
    }


def _faults(found: dict[str, Any]) -> list[str]:
    """Codes of what is wrong; that nobody vouches for the certificate is said by `signer`."""
    codes = {status["code"] for status in found.get("validation_status", ())}
    return sorted(codes - {"signingCredential.untrusted"})

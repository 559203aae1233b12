"""Who signs: a user's own certificate, or a development one that is made on this machine and says so.

A development certificate proves that a file was not changed since, not who made it: nobody vouches for its root. Its
profile is that of the C2PA specification 2.1, section 14.5.1 (an end entity's certificate, never self-signed, for
digital signatures, with a key usage of its own).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinset.common.atomic_files import create_atomic
from twinset.common.paths import data_folder
from twinset.common.settings import VARIABLES, settings
from twinset.errors import InputError

if TYPE_CHECKING:
    from cryptography.x509 import KeyUsage

DEVELOPMENT = "Twinset development certificate, proves no identity"
YEARS = 5


@dataclass(frozen=True)
class Certificate:
    """A chain of certificates and the private key of the first.

    Attributes:
        chain: PEM, the signer's certificate first.
        key: PEM, PKCS #8.
        development: Made on this machine, trusted by nobody.
    """

    chain: bytes
    key: bytes
    development: bool


def signing_certificate(folder: Path | None = None) -> Certificate:
    """The certificate to sign with: the user's own, else the development one, made at the first use.

    Args:
        folder: Of the development certificate; `twinset/c2pa` in the user's data folder when absent.

    Environment:
        TWINSET_C2PA_CERT, TWINSET_C2PA_KEY: PEM files of a chain and its private key; `TWINSET_DATA` moves the folder.

    Raises:
        InputError: Only one of both is set, or a file is missing.
    """
    chosen = settings()
    if chosen.c2pa_cert or chosen.c2pa_key:
        chain, private = _own_file("c2pa_cert", chosen.c2pa_cert), _own_file("c2pa_key", chosen.c2pa_key)
        return Certificate(chain, private, development=False)
    path = _development_file() if folder is None else folder / "development.pem"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        create_atomic(path, b"".join(_made()))
    key, _, chain = path.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
    return Certificate(b"-----BEGIN CERTIFICATE-----" + chain, key, development=True)


def own_chain() -> tuple[int, bytes] | None:
    """Of the certificate that this machine signs with, its serial number and its authority's certificate, PEM.

    Returns:
        None where it has none yet, or where the file holds none.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    path = settings().c2pa_cert or _development_file()
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return None
    return chain[0].serial_number, chain[-1].public_bytes(Encoding.PEM)


def _development_file() -> Path:
    return data_folder() / "c2pa" / "development.pem"


def _own_file(setting: str, path: Path | None) -> bytes:
    if path is None or not path.is_file():
        value = None if path is None else str(path)
        raise InputError(
            f"{VARIABLES[setting].name} = {value!r} is not a file; "
            "give PEM files by TWINSET_C2PA_CERT and TWINSET_C2PA_KEY"
        )
    return path.read_bytes()


def _made() -> tuple[bytes, bytes, bytes]:
    """A private key, its certificate, and that of the root that signed it, PEM; the root's key is thrown away."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, name = (
        x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT), x509.NameAttribute(NameOID.COMMON_NAME, n)]
        )
        for n in ("Twinset development root", "Twinset development signer")
    )
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)

    def certificate(subject: x509.Name, owner: ec.EllipticCurvePrivateKey, authority: bool) -> x509.CertificateBuilder:
        built = x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(owner.public_key())
        built = built.serial_number(x509.random_serial_number()).not_valid_before(start)
        built = built.not_valid_after(start + datetime.timedelta(days=365 * YEARS))
        constraints = x509.BasicConstraints(ca=authority, path_length=None)
        known_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        built = built.add_extension(constraints, critical=True).add_extension(known_by, critical=False)
        built = built.add_extension(x509.SubjectKeyIdentifier.from_public_key(owner.public_key()), critical=False)
        return built.add_extension(_usage(authority), critical=True)

    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    signer = certificate(name, key, False).add_extension(usage, critical=False).sign(root_key, hashes.SHA256())
    root = certificate(root_name, root_key, True).sign(root_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return plain, signer.public_bytes(pem), root.public_bytes(pem)


def _usage(authority: bool) -> KeyUsage:
    """Certificates for a root, signatures for a signer."""
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

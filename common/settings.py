"""Every environment variable of Twinset: name, type, default, meaning. No other module reads one.

They are read anew at each call of `settings()`, so that a program may set them after the import.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_path, user_data_path


@dataclass(frozen=True)
class Variable:
    """An environment variable, for readers.

    Attributes:
        name: in the environment.
        kind: what its text is: a folder, a file, text, a secret, a command or an address.
        default: what holds where it is not set, in words.
        meaning: in a sentence.
    """

    name: str
    kind: str
    default: str
    meaning: str


VARIABLES = {
    "cache": Variable(
        "TWINSET_CACHE", "folder", "`twinset` in the user's cache folder, `~/.cache/twinset` on Linux",
        "What may be deleted at any time: perception results; see `twinset cache`.",
    ),
    "data": Variable(
        "TWINSET_DATA", "folder", "`twinset` in the user's data folder, `~/.local/share/twinset` on Linux",
        "What may not: the cache's key, consents, the development certificate, and the service's own folder.",
    ),
    "consent": Variable(
        "TWINSET_CONSENT", "folder", "`consent` in `TWINSET_DATA`",
        "The book of consents; see `twinset consent`. The service has one in its own folder.",
    ),
    "cache_key": Variable(
        "TWINSET_CACHE_KEY", "secret", "`cache.key` in `TWINSET_DATA`, made at the first use",
        "32 bytes in base64 with which perception results are encrypted; make one: `openssl rand -base64 32`.",
    ),
    "mark_key": Variable(
        "TWINSET_MARK_KEY", "secret", "a public key, so that everybody can read the mark",
        "Key of the mark in the pixels; with one of your own only you can read it, or take it out.",
    ),
    "producer": Variable(
        "TWINSET_PRODUCER", "text", "`Twinset`",
        "Who is named as producer in the AIGC field (GB 45438): printable ASCII without spaces.",
    ),
    "c2pa_cert": Variable(
        "TWINSET_C2PA_CERT", "file", "a development certificate, which proves no identity",
        "PEM chain of the certificate that signs C2PA manifests; goes with `TWINSET_C2PA_KEY`.",
    ),
    "c2pa_key": Variable(
        "TWINSET_C2PA_KEY", "file", "the development certificate's",
        "PEM private key of that certificate: PKCS #8, not encrypted; elliptic, Ed25519 or RSA.",
    ),
    "c2pa_tsa": Variable(
        "TWINSET_C2PA_TSA", "address", "none: signatures have no trusted time",
        "Time stamp authority (RFC 3161) that is asked when a manifest is signed.",
    ),
    "c2pa_trust": Variable(
        "TWINSET_C2PA_TRUST", "file", "none: of certificates only your own is known",
        "PEM file of the authorities whose certificates `twinset verify` trusts; names in certificates prove nothing.",
    ),
    "device": Variable(
        "TWINSET_DEVICE", "text", "`auto`: the first that is here",
        "Where models run: `cuda`, `xpu`, `mps` or `cpu`; `--device` comes before it.",
    ),
    "memory": Variable(
        "TWINSET_MEMORY", "text", "`auto`: by the device's free memory",
        "`high` keeps all parts on the device, `low` those at work alone; `--memory` comes before it.",
    ),
    "facefusion": Variable(
        "TWINSET_FACEFUSION", "command", "`facefusion`, where it is installed",
        "Command that starts FaceFusion, the face swap of the serial baseline.",
    ),
}  # fmt: skip
"""Field of `Settings` → its variable."""
CLIENT_VARIABLES = (
    Variable(
        "TWINSET_URL", "address", "`http://127.0.0.1:8080`",
        "The service; ComfyUI's nodes send faces and keys to no other machine than the one named here.",
    ),
    Variable("TWINSET_API_KEY", "secret", "none", "Key for the service, made by `twinset serve-keys add`."),
    Variable("TWINSET_API_KEY_FILE", "file", "none", "File with that key, for ComfyUI's nodes."),
    Variable(
        "TWINSET_WEBHOOK_SECRET", "secret", "none",
        "What `twinset serve-keys secret` printed, for the example that receives webhooks.",
    ),
)  # fmt: skip
"""What the service's clients read, ComfyUI's nodes and the examples; they run without Twinset."""


@dataclass(frozen=True)
class Settings:
    """What the environment says; `VARIABLES` tells what each field means. None: not set, and there is no default."""

    cache: Path
    data: Path
    consent: Path
    cache_key: str | None = field(repr=False)
    mark_key: str | None = field(repr=False)
    producer: str
    c2pa_cert: Path | None
    c2pa_key: Path | None
    c2pa_tsa: str | None
    c2pa_trust: Path | None
    facefusion: str | None
    device: str
    memory: str


def settings() -> Settings:
    """What the environment says now; an empty variable is as one that is not set."""
    data = _path("data") or user_data_path("twinset")
    return Settings(
        cache=_path("cache") or user_cache_path("twinset"),
        data=data,
        consent=_path("consent") or data / "consent",
        cache_key=_text("cache_key"),
        mark_key=_text("mark_key"),
        producer=_text("producer") or "Twinset",
        c2pa_cert=_path("c2pa_cert"),
        c2pa_key=_path("c2pa_key"),
        c2pa_tsa=_text("c2pa_tsa"),
        c2pa_trust=_path("c2pa_trust"),
        facefusion=_text("facefusion"),
        device=_text("device") or "auto",
        memory=_text("memory") or "auto",
    )


def _text(setting: str) -> str | None:
    return os.environ.get(VARIABLES[setting].name) or None


def _path(setting: str) -> Path | None:
    text = _text(setting)
    return None if text is None else Path(text)


SILENCED = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime keeps a device's id and sends events
    "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False",
    "RAY_USAGE_STATS_ENABLED": "0", "NO_ALBUMENTATIONS_UPDATE": "1",
}  # fmt: skip
"""Switches of other packages that report to their makers, or ask for news, unless they are told otherwise."""


def silence_reports() -> None:
    """Turn reports of other packages off, here and in all processes that are started from here.

    Most are read when the package is first imported, so this comes before any other import (`twinset/__init__.py`).
    Whoever wants one back sets its variable to something else.
    """
    for name, value in SILENCED.items():
        os.environ.setdefault(name, value)


def set_consent_folder(folder: Path) -> None:
    """Where the book of consents is, for the rest of this process and those that it starts."""
    os.environ[VARIABLES["consent"].name] = str(folder)


def settings_table(variables: Iterable[Variable] = VARIABLES.values()) -> str:
    """Variables as a table in Markdown, for docs/configuration.md."""
    rows = [f"| `{one.name}` | {one.kind} | {one.default} | {one.meaning} |" for one in variables]
    return "\n".join(["| variable | type | where it is not set | meaning |", "| --- | --- | --- | --- |", *rows])

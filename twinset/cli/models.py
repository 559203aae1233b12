"""`twinset models`: what the profiles consist of, what of it is here and right, and what its licences allow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from twinset.cli.console import announce_downloads, megabytes
from twinset.errors import InputError

if TYPE_CHECKING:
    from twinset.models.hub.download import FileReport, PartReport
    from twinset.models.hub.parts import Part, Profile

models_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
say = Console(stderr=True, highlight=False, soft_wrap=True)

Name = Annotated[str, typer.Argument(metavar="PROFILE", help="studio, sd15, sdxl, or a model folder.")]
Parts = Annotated[
    list[str] | None, typer.Option("--part", help="Only this part, which may be an optional one; repeatable.")
]
Commercial = Annotated[bool, typer.Option("--commercial", help="Refuse parts that may not be used commercially.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


@models_app.callback()
def models() -> None:
    """Model profiles: their parts, licences and files."""


@models_app.command("list")
def list_profiles(as_json: Json = False) -> None:
    """List profiles and parts, with sizes where known and what is here.

    JSON: a list of `{profile, family, size [width, height], steps, guidance, description, parts}`; a part is
    `{part, repo, file, revision, sha256, licence, commercial, optional, recogniser, substitute, url, note, bytes,
    present}`. An empty revision or sha256 is recorded at the first pull.

    Example: `twinset models list --json`
    """
    from twinset.models.hub.profiles import profiles

    known = profiles()
    if as_json:
        print(json.dumps([_profile_keys(profile) for profile in known], indent=2))
        return
    for profile in known:
        table = _table(f"{profile.name}: {profile.description}", "part", "from", "size", "commercial", "here")
        for part in profile.parts:
            keys = _part_keys(profile, part)
            here = "yes" if keys["present"] else "optional" if part.optional else "no"
            table.add_row(part.name, part.repo or "this package", _size(keys["bytes"]), _yes(part.commercial), here)
        Console(soft_wrap=False).print(table)


@models_app.command("pull")
def pull_command(
    profile: Name,
    part: Parts = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use the cache alone, no network.")] = False,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="A mirror of the hub (also: HF_ENDPOINT).")
    ] = None,
    commercial: Commercial = False,
    as_json: Json = False,
) -> None:
    """Download a profile's parts into the hub's cache, and compare every file with its SHA-256.

    A file without a known SHA-256 is compared with what the hub announces, recorded at its first pull, and refused if
    it differs later. A damaged file is downloaded anew. Run the command again after an interruption: complete files are
    kept. JSON: as of `twinset models check`.

    Examples:

        twinset models pull sd15

        twinset models pull sdxl --part face_adapter --part image_encoder

        twinset models pull sd15 --endpoint https://mirror.example
    """
    from twinset.models.hub.profiles import require_commercial, resolve

    found = resolve(profile)
    parts = found.chosen(part or ())
    if commercial:
        require_commercial(found, parts)
    _check_endpoint(endpoint)
    from huggingface_hub.utils import logging

    from twinset.models.hub import download

    logging.set_verbosity_error()  # what went wrong is said once, by us
    reports = _told(download.pull_parts(found, parts, offline=offline, endpoint=endpoint, announce=announce_downloads))
    if as_json:
        print(json.dumps(_report_keys(found, reports), indent=2))


@models_app.command("check")
def check_command(profile: Name, part: Parts = None, as_json: Json = False) -> None:
    """Check that a profile's files are here and have the right SHA-256; exit code 2 when not.

    Optional parts count when they are here or named. JSON: `{profile, ok, parts}`; a part is `{part, repo, optional,
    state, files}`, a file `{path, local, state, sha256, expected, source}`. States: ok, missing, changed, unrecorded
    (here, but never pulled by this program). Sources of the expected hash: profile, lock.

    Examples:

        twinset models check studio

        twinset models check sd15 --part vae --json
    """
    from twinset.models.hub import download
    from twinset.models.hub.profiles import resolve

    found = resolve(profile)
    reports = _told(download.check_parts(found, part or ()))
    if as_json:
        print(json.dumps(_report_keys(found, reports), indent=2))
    download.require_intact(found, reports)
    unrecorded = [report.part.name for report in reports if report.state == "unrecorded"]
    if unrecorded:
        raise InputError(
            f"profile {profile!r}: no SHA-256 is recorded for {', '.join(unrecorded)}; "
            f"compare it with the hub and record it: twinset models pull {profile}; "
            f"or, if you trust the cache: twinset models pull {profile} --offline"
        )


@models_app.command()
def licences(
    profile: Annotated[str | None, typer.Argument(metavar="[PROFILE]", help="All profiles when absent.")] = None,
    commercial: Commercial = False,
    as_json: Json = False,
) -> None:
    """List the licence of every part; with --commercial, exit code 2 for a profile that needs non-commercial parts.

    JSON: a list of `{profile, commercial, clean, parts}`: whether its required parts may be used commercially, names
    of clean parts with substitutes, and `{part, licence, commercial, optional, substitute, url, note}` of all parts.

    Examples:

        twinset models licences sd15

        twinset models licences sdxl --commercial
    """
    from twinset.models.hub.profiles import profiles, require_commercial, resolve

    if commercial and profile is None:
        raise InputError(
            "--commercial needs a profile to judge; give one, as in: twinset models licences sd15 --commercial"
        )
    found = profiles() if profile is None else (resolve(profile),)
    if as_json:
        print(json.dumps([_licence_keys(one) for one in found], indent=2))
    else:
        for one in found:
            _print_licences(one)
    if commercial:
        require_commercial(found[0], found[0].chosen())


def _print_licences(profile: Profile) -> None:
    table = _table(f"{profile.name} (pages and notes: --json)", "part", "licence", "commercial", "instead")
    for part in profile.parts:
        table.add_row(part.name, part.licence.removeprefix("LicenseRef-"), _yes(part.commercial), part.substitute or "")
    Console(soft_wrap=False).print(table)


def _told(reports: Iterable[PartReport]) -> list[PartReport]:
    """Says each part's state as soon as it is known."""
    told = []
    for report in reports:
        say.print(f"{report.part.name}: {report.state}, {len(report.files)} file(s)", markup=False)
        told.append(report)
    return told


def _check_endpoint(endpoint: str | None) -> None:
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise InputError(f"endpoint {endpoint!r} is not a URL; give one such as https://mirror.example")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _size(count: int | None) -> str:
    return "" if count is None else megabytes(count)


def _yes(commercial: bool) -> str:
    return "yes" if commercial else "NO"


def _profile_keys(profile: Profile) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "family": profile.family,
        "size": list(profile.size),
        "steps": profile.steps,
        "guidance": profile.guidance,
        "description": profile.description,
        "parts": [_part_keys(profile, part) for part in profile.parts],
    }


def _part_keys(profile: Profile, part: Part) -> dict[str, Any]:
    from twinset.models.hub.download import locate

    here = [locate(profile, part, path) for path in part.wanted]
    whole = all(here)
    keys = ("repo", "file", "revision", "sha256", "licence", "commercial", "optional", "recogniser", "substitute")
    fields = {key: getattr(part, key) for key in (*keys, "url", "note")}
    size = sum(local.stat().st_size for local in here if local) if whole else part.size
    return {"part": part.name} | fields | {"bytes": size, "present": whole}


def _report_keys(profile: Profile, reports: list[PartReport]) -> dict[str, Any]:
    parts = [
        {
            "part": report.part.name,
            "repo": report.part.repo,
            "optional": report.part.optional,
            "state": report.state,
            "files": [_file_keys(file) for file in report.files],
        }
        for report in reports
    ]
    return {"profile": profile.name, "ok": all(part["state"] == "ok" for part in parts), "parts": parts}


def _file_keys(file: FileReport) -> dict[str, Any]:
    keys = {key: getattr(file, key) for key in ("path", "state", "sha256", "expected", "source")}
    return keys | {"local": file.local and str(file.local)}


def _licence_keys(profile: Profile) -> dict[str, Any]:
    from twinset.models.hub.profiles import clean_names

    fields = ("licence", "commercial", "optional", "substitute", "url", "note")
    parts = [{"part": part.name} | {key: getattr(part, key) for key in fields} for part in profile.parts]
    required = profile.chosen()
    clean = list(clean_names(profile, required))
    commercial = all(part.commercial for part in required)
    return {"profile": profile.name, "commercial": commercial, "clean": clean, "parts": parts}

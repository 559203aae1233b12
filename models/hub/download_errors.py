"""Errors of failed downloads in one line: what, value and remedy, whichever library raised them.

Large files come over Xet, whose client (hf_xet) raises `RuntimeError` with the HTTP status in its text; everything else
comes over HTTP, whose errors carry the answer or the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from twinset.common.atomic_files import NO_ROOM, disk_full
from twinset.models.hub.parts import Part

HUB = "https://huggingface.co"
TOO_MANY_REQUESTS = 429
XET_STATUS = re.compile(r"\((\d{3}) [A-Z]")  # "HTTP status client error (404 Not Found), domain: http://…"
XET_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
ADDRESS = re.compile(r"https?://([^/\s'\")]+)")


def explain(error: Exception, part: Part, path: str, revision: str, *, offline: bool, endpoint: str) -> str:
    """One line on a file that could not be downloaded.

    Args:
        error: of huggingface_hub, hf_xet, their HTTP library or the file system.
        part: the file's part.
        path: the file's, in the part's repository.
        revision: commit or branch that was asked for.
        offline: whether only the cache was looked at.
        endpoint: the hub or its mirror.

    Returns:
        str: what, value and remedy.
    """
    what = f"part {part.name!r} ({part.repo})"
    match error:
        case GatedRepoError():
            return f"{what} is gated: accept the licence at {HUB}/{part.repo} and set HF_TOKEN"
        case RepositoryNotFoundError():
            return (
                f"{what} is not at {endpoint}: it was renamed, removed or made private; see {part.url}, or set HF_TOKEN"
            )
        case RevisionNotFoundError():
            return f"{what} has no revision {revision!r} at {endpoint}; a mirror may lag, try another --endpoint"
        case LocalEntryNotFoundError() if offline:
            return (
                f"{what} lacks {path!r} in the cache {constants.HF_HUB_CACHE!r} and the network is switched off; "
                "pull once without --offline and HF_HUB_OFFLINE"
            )
        case EntryNotFoundError() if not isinstance(error, LocalEntryNotFoundError):
            return f"{what} has no file {path!r} at {endpoint}; a mirror may lag, try another --endpoint"
        case PermissionError():
            return f"{what}: {error.filename!r} is not writable; fix its permissions, or set HF_HOME elsewhere"
    if _no_room(error):
        return f"{what}: no space for {path!r} in {constants.HF_HUB_CACHE!r}; free some, or set HF_HOME elsewhere"
    return f"{what}: {path!r} did not download completely from {endpoint} ({_reason(error)}); {_remedy(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, the outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_room(error: Exception) -> bool:
    number = XET_SYSTEM_ERROR.search(str(error))
    return disk_full(error) or bool(number and int(number[1]) in NO_ROOM)


def _reason(error: Exception) -> str:
    """The HTTP status, or what else went wrong, and the host where it is known."""
    causes = list(_chain(error))
    status = _status(error)
    if status is None and any(isinstance(cause, FileMetadataError) for cause in causes):
        return "it does not answer as a model hub"
    cause = next((cause for cause in reversed(causes) if isinstance(cause, HTTPError)), error)
    host = _host(cause)
    unanswered = host is not None and not isinstance(cause, HTTPError)  # hf_xet's text is little but a long address
    what = f"HTTP {status}" if status else "no answer" if unanswered else _first_line(cause)
    return ("Xet: " if _over_xet(error) else "") + what + (f", {host}" if host else "")


def _first_line(error: BaseException) -> str:
    kind = type(error).__name__
    return f"{kind}: {text.splitlines()[0][:200]}" if (text := str(error).strip()) else kind


def _status(error: Exception) -> int | None:
    for cause in _chain(error):
        if (response := getattr(cause, "response", None)) is not None:
            return int(response.status_code)
    found = XET_STATUS.search(str(error)) if _over_xet(error) else None
    return int(found[1]) if found else None


def _host(error: BaseException) -> str | None:
    """Where the request went, which need not be the endpoint: large files lie on other hosts."""
    try:
        address = str(error.request.url) if isinstance(error, HTTPError) else str(error)
    except RuntimeError:  # the HTTP library's, of an error without its request
        address = str(error)
    found = ADDRESS.search(address)
    return found[1] if found else None


def _over_xet(error: Exception) -> bool:
    """Whether hf_xet, or the hub's token for it, failed: all else is an HTTP error or the system's."""
    of_token = any(words in str(error) for words in ("/xet-read-token/", "Xet headers"))
    return not constants.HF_HUB_DISABLE_XET and (of_token or not isinstance(error, (HTTPError, OSError, ValueError)))


def _remedy(error: Exception) -> str:
    again = "pull again (complete files are kept)"
    if _status(error) == TOO_MANY_REQUESTS:
        return f"wait and {again}, set HF_TOKEN, or give the --endpoint of a mirror"
    if _over_xet(error):
        return f"{again}, or, where Xet is blocked, set HF_HUB_DISABLE_XET=1 to take plain HTTP, or use --offline"
    return f"check the network and its proxy and {again}, give the --endpoint of a mirror, or use --offline"

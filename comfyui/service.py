"""A client of Twinset's REST service, of the standard library alone.

Workflows come from anywhere. What one says of the service's address is therefore not enough to send pictures or the key
there: only this machine's own address is taken from a workflow, any other must also be in `$TWINSET_URL`. The key comes
from `$TWINSET_API_KEY` or from the file that `$TWINSET_API_KEY_FILE` names, and never goes into a workflow.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import re
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

USUAL_URL = "http://127.0.0.1:8080"
TIMEOUT = 60.0
"""Seconds without a byte after which the service counts as silent."""
MOST_BYTES = 128 * 2**20
"""Of an answer."""
LARGE = 2**20
"""Bytes of a picture that may be too many for a service."""
SECONDS_BEFORE_ANOTHER_TRY = 5
"""Where the service does not say."""


class ServiceError(Exception):
    """Something did not work; the message says what, and what helps."""


class UnreachableError(ServiceError):
    """The service was not reached, or the connection broke.

    Args:
        message: says what helps.
        refused: nothing listens there: nothing was sent.
    """

    def __init__(self, message: str, refused: bool):
        super().__init__(message)
        self.refused = refused


class AnswerError(ServiceError):
    """The service refused.

    Args:
        message: its own words, with the remedy.
        status: HTTP's.
        retry_after: seconds after which another try may succeed.
    """

    def __init__(self, message: str, status: int, retry_after: float):
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class Service:
    """A service, and how long to wait for its pictures.

    Attributes:
        url: its address.
        wait: seconds after which an order is given up.
    """

    url: str
    wait: float

    def upload(self, png: bytes) -> str:
        """Send a picture; its id."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="picture.png"\r\n'
        body = f"{head}Content-Type: image/png\r\n\r\n".encode() + png + f"\r\n--{edge}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        try:
            return _record(self.url, self._ask("POST", "/v1/uploads", body, kind))["id"]
        except UnreachableError as error:
            if error.refused or len(png) < LARGE:
                raise
            # what a service says of a body that it does not read to the end is often lost with the connection
            size = f"{len(png) / 2**20:.0f} MB"
            raise UnreachableError(f"{error}; or send a smaller one: the picture has {size}", False) from None

    def forget(self, upload: str) -> None:
        """Delete a picture that was sent."""
        self._ask("DELETE", f"/v1/uploads/{quote(upload, safe='')}")

    def consent(self, fields: dict[str, Any]) -> str:
        """Enter a consent; its id."""
        return self._told("POST", "/v1/consents", fields)["id"]

    def order(self, fields: dict[str, Any], key: str) -> dict[str, Any]:
        """Order pictures; the same key again is the same job."""
        return self._told("POST", "/v1/jobs", fields, {"Idempotency-Key": key})

    def job(self, job: str) -> dict[str, Any]:
        """A job's current state."""
        return self._told("GET", f"/v1/jobs/{quote(job, safe='')}")

    def cancel(self, job: str) -> None:
        """Cancel a job that is not over."""
        self._told("POST", f"/v1/jobs/{quote(job, safe='')}/cancel", {})

    def picture(self, job: str, number: int) -> bytes:
        """A picture's file as the service made it, PNG with its labels."""
        return self._ask("GET", f"/v1/jobs/{quote(job, safe='')}/pictures/{number}")

    def _told(
        self, method: str, path: str, fields: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        body = None if fields is None else json.dumps(fields).encode()
        kind = {"Content-Type": "application/json"}
        return _record(self.url, self._ask(method, path, body, kind | (headers or {})))

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        """One request, one answer.

        Raises:
            AnswerError: the service refused.
            UnreachableError: it was not reached.
        """
        key = api_key()
        headers = (headers or {}) | ({} if key is None else {"X-API-Key": key})
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with _opener(self.url).open(request, timeout=TIMEOUT) as answer:
                data = answer.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(self.url, error.code, error.headers, error.read(2**16)) from None
        except (OSError, http.client.HTTPException) as error:
            raise _unreached(self.url, error) from None
        if len(data) > MOST_BYTES:
            raise ServiceError(f"{self.url} sends more than {MOST_BYTES // 2**20} MB at once; is it Twinset's service?")
        return data


#: How the service's checks put it, and how a person would.
_WORDS = (
    (r"(Input|Value|String) should be a valid ", "must be a "),
    (r"(Input|Value) should be ", "must be "),
    (r"(String|List|Value) should have at least 1 (character|item)", "is empty"),
    (r"(String|List|Value) should have ", "must have "),
    (r"String should match pattern \S+", "has another form than the service's ids"),
    (r"Field required", "is missing"),
    (r"Extra inputs are not permitted", "is not known to this service; update one of both"),
    (r"(Value|Assertion) error, ", ""),
)


def plain_words(said: str) -> str:
    """A refusal in a person's words, not in those of the library that checks requests."""
    for pattern, words in _WORDS:
        said = re.sub(pattern, words, said)
    return said


def service_at(url: str, wait: float) -> Service:
    """A service by its address.

    Args:
        url: http or https; other machines' only where `$TWINSET_URL` says the same.
        wait: seconds after which an order is given up.

    Raises:
        ServiceError: it is no address, or not one that a workflow may choose.
    """
    plain = _plain(url or os.environ.get("TWINSET_URL", "") or USUAL_URL)
    trusted = os.environ.get("TWINSET_URL")
    if not _is_here(plain) and (not trusted or _plain(trusted) != plain):
        raise ServiceError(
            f"{plain} is another machine, and a workflow alone may not send your pictures there; "
            f"if you want that, start ComfyUI with TWINSET_URL={plain}"
        )
    return Service(plain, wait)


def api_key() -> str | None:
    """`$TWINSET_API_KEY`, or what is in the file that `$TWINSET_API_KEY_FILE` names; None without both.

    Raises:
        ServiceError: the file cannot be read.
    """
    key, path = os.environ.get("TWINSET_API_KEY"), os.environ.get("TWINSET_API_KEY_FILE")
    if not key and path:
        try:
            key = Path(path).read_text(encoding="ascii")
        except (OSError, ValueError):
            raise ServiceError(
                f"TWINSET_API_KEY_FILE={path} cannot be read; write the key there: twinset serve-keys add"
            ) from None
    return key.strip() if key and key.strip() else None


def _plain(url: str) -> str:
    """An address without what does not belong to it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or "\\" in parts.netloc:
        raise ServiceError(f"url {url!r} is not a service's address; write it as {USUAL_URL}")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _is_here(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _opener(url: str) -> urllib.request.OpenerDirector:
    """HTTP alone, without redirections: they would take key and pictures along to wherever they point."""
    opener = urllib.request.OpenerDirector()
    kinds = [urllib.request.HTTPHandler, urllib.request.HTTPSHandler]
    kinds += [urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor]
    for kind in kinds if _is_here(url) else [*kinds, urllib.request.ProxyHandler]:
        opener.add_handler(kind())
    return opener


def _record(url: str, answer: bytes) -> dict[str, Any]:
    """What the service tells of an upload, a consent or a job."""
    with contextlib.suppress(ValueError):
        told = json.loads(answer)
        if isinstance(told, dict) and isinstance(told.get("id"), str):
            return told
    raise ServiceError(f"{url} does not answer as Twinset's service does; check the address")


def _refusal(url: str, status: int, headers: Message, body: bytes) -> AnswerError:
    """The service's problem details as a message."""
    try:
        problem = json.loads(body)
        said = plain_words("; ".join(part for part in (problem["detail"], problem.get("remedy")) if part))
    except (ValueError, KeyError, TypeError):
        said = f"answers with status {status}, and not as Twinset's service does; check the address"
    if status == 401:
        said += "; start ComfyUI with TWINSET_API_KEY, or with TWINSET_API_KEY_FILE"
    after = headers.get("Retry-After", "")
    return AnswerError(f"{url}: {said}", status, float(after) if after.isdigit() else SECONDS_BEFORE_ANOTHER_TRY)


def _unreached(url: str, error: Exception) -> UnreachableError:
    """What to do about a connection that failed."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ConnectionRefusedError):
        return UnreachableError(f"nothing answers at {url}; start it: twinset serve", True)
    if isinstance(reason, TimeoutError):
        return UnreachableError(f"{url} was silent for {TIMEOUT:.0f} s; check that it still runs", False)
    return UnreachableError(f"{url}: the connection failed ({reason}); check the address and the service", False)

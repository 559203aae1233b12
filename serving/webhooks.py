"""Webhooks: a job's end is posted to a URL of the client, signed, and retried until it is accepted or given up.

Signed as the Standard Webhooks specification 1.0 says: HMAC-SHA256 over `id.timestamp.body`. The address is resolved
once, must be public, and is itself connected to, so that a name that resolves differently a moment later leads nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import random
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from twinset.common.atomic_files import create_atomic
from twinset.serving.contract import JobOut
from twinset.serving.queue import JobQueue
from twinset.serving.repository import Delivery

WAITS = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0)
"""Seconds after each failed try; after as many, and one more, it is given up."""
PATIENCE = 10.0
"""Seconds of a try."""
CLAIM = 60.0
"""Seconds for which a try belongs to the process that began it."""
AT_ONCE = 8
"""Tries at a time, so that a receiver that is slow does not keep the others waiting."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""Where the public IPv6 addresses lie (RFC 4291, 2.4): mapped, compatible and NAT64 ones do not."""
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("2001::/32", "2002::/16", "3fff::/20", "192.88.99.0/24")))
"""Tunnels to IPv4 (Teredo, 6to4 and its relays), and addresses of documentation that older Pythons do not know."""


class UndeliveredError(Exception):
    """A try failed; the message says why, without what the receiver answered."""


class Secrets:
    """A signing secret for each client, derived from one root secret.

    Args:
        path: the file, made when missing, the service's user's alone.
    """

    def __init__(self, path: Path):
        self.path = path

    def of(self, owner: str) -> bytes:
        """The secret of a client, 32 bytes."""
        return hmac.new(self._root(), b"webhooks of " + owner.encode(), hashlib.sha256).digest()

    def encoded(self, owner: str) -> str:
        """The secret as receivers write it: `whsec_` and base64."""
        return "whsec_" + base64.b64encode(self.of(owner)).decode()

    def _root(self) -> bytes:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.path.exists():
            create_atomic(self.path, secrets.token_bytes(32))  # of several processes, the first one's counts
        return self.path.read_bytes()


def signature(secret: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature` of a message."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class WebhookSender:
    """Sends the webhooks that are due.

    Args:
        queue: of the jobs, which hold what was delivered.
        keys: to sign with.
        loopback: whether this machine may receive them too, by plain HTTP as well.
        resolve: name and port → addresses, as `socket.getaddrinfo`.
    """

    def __init__(
        self, queue: JobQueue, keys: Secrets, loopback: bool = False,
        resolve: Callable[..., Any] = socket.getaddrinfo,
    ):  # fmt: skip
        self.queue, self.keys, self.loopback, self.resolve = queue, keys, loopback, resolve

    def deliver_due(self) -> int:
        """Try every due webhook once; returns how many were due."""
        due = self.queue.claim_deliveries(CLAIM, AT_ONCE)
        if due:
            with ThreadPoolExecutor(len(due)) as pool:
                list(pool.map(self._try, due))
        return len(due)

    def _try(self, delivery: Delivery) -> None:
        job, tries = delivery.job.id, delivery.webhook.tries
        try:
            self.deliver(delivery)
            self.queue.record_delivery(job, "delivered")
        except UndeliveredError as error:
            if tries > len(WAITS):
                self.queue.record_delivery(job, "failed", str(error))
            else:
                self.queue.record_delivery(job, "pending", str(error), WAITS[tries - 1] * random.uniform(1.0, 1.3))

    def deliver(self, delivery: Delivery) -> None:
        """Tell of one job.

        Raises:
            UndeliveredError: the receiver did not accept it.
        """
        job = JobOut.of(delivery.job)
        body = json.dumps({"type": f"job.{job.state}", "data": job.model_dump(mode="json")}).encode()
        now, identifier = int(datetime.now(UTC).timestamp()), f"msg_{job.id}"
        headers = {
            "Content-Type": "application/json", "User-Agent": "Twinset", "webhook-id": identifier,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self.keys.of(delivery.job.owner), identifier, now, body),
        }  # fmt: skip
        self.post(delivery.webhook.url, body, headers)

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """Send to a public address; redirects are not followed, and the answer is not read.

        Raises:
            UndeliveredError: the address is not allowed, nobody answers in time, or the answer is not 2xx.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise UndeliveredError("no address") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self.loopback):
            raise UndeliveredError("only https is allowed")
        address = self._address(parts.hostname or "", port, parts.scheme == "http")
        try:
            status = _post(parts, address, port, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: letters beyond ASCII, no name
            raise UndeliveredError(f"no answer ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise UndeliveredError(f"answered {status}")

    def _address(self, host: str, port: int, plain: bool) -> str:
        """The address of a host, all of whose addresses are public; `plain` HTTP leads to this machine alone."""
        try:
            found = [one[4][0] for one in self.resolve(host, port, type=socket.SOCK_STREAM)]
        except (OSError, ValueError):
            raise UndeliveredError("the host name does not resolve") from None
        loopback = self.loopback and all(map(_is_loopback, found))
        if not found or not (loopback or all(map(is_public, found))):
            raise UndeliveredError("the address is not public")
        if plain and not loopback:
            raise UndeliveredError("only https is allowed")
        return found[0]


def is_public(address: str) -> bool:
    """Whether an address is one host's in the public network, and carries no other inside."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if found.version == 6 and found not in _UNICAST:
        return False
    carried = any(found in network for network in _NOT_PUBLIC if network.version == found.version)
    return found.is_global and not found.is_multicast and not carried


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _post(parts: SplitResult, address: str, port: int, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer; whatever the receiver does, it is over after `PATIENCE`."""
    with socket.create_connection((address, port), timeout=PATIENCE) as plain, plain.dup() as whole:
        late = threading.Timer(PATIENCE, _end, [whole])  # TLS takes `plain` over and leaves it closed
        late.daemon = True
        late.start()
        connection = http.client.HTTPConnection(parts.hostname or "", port, timeout=PATIENCE)
        try:
            connection.sock = _secured(plain, parts)
            path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        finally:
            late.cancel()
            connection.close()


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def _secured(plain: socket.socket, parts: SplitResult) -> socket.socket:
    """TLS for the host's name over a connection to its address."""
    if parts.scheme != "https":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)

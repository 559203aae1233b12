"""Takes the service's webhooks and believes those that are signed; the standard library alone.

twinset serve-keys secret shop          prints the secret of that key's webhooks
TWINSET_WEBHOOK_SECRET=whsec_... python examples/service/receive_webhook.py 9000
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

TOLERANCE = 300
"""Seconds that a message may be old: an older one may be somebody's copy."""


def is_genuine(secret: str, headers: Mapping[str, str] | Message, body: bytes) -> bool:
    """Whether a message was signed with a secret, and lately (Standard Webhooks 1.0)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    identifier, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdigit() or abs(time.time() - int(sent)) > TOLERANCE:
        return False
    signed = hmac.new(key, f"{identifier}.{sent}.".encode() + body, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(signed).decode()
    return any(hmac.compare_digest(wanted, given) for given in headers.get("webhook-signature", "").split())


class Receiver(BaseHTTPRequestHandler):
    """Prints what comes; the same message may come twice, so remember `webhook-id`."""

    def do_POST(self) -> None:
        """Take a message, or refuse it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        genuine = is_genuine(os.environ["TWINSET_WEBHOOK_SECRET"], self.headers, body)
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine:
            told = json.loads(body)
            print(told["type"], told["data"]["id"], [one["url"] for one in told["data"]["pictures"]], flush=True)


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()

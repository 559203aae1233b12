"""From a selfie to a picture through the service, with the standard library alone.

twinset serve --open
python examples/service/order.py examples/selfie.png out/service
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any

SERVICE = os.environ.get("TWINSET_URL", "http://127.0.0.1:8080")


def ask(path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    """GET, or POST of a body."""
    headers = {"X-API-Key": os.environ.get("TWINSET_API_KEY", ""), "Content-Type": kind}
    with urllib.request.urlopen(urllib.request.Request(SERVICE + path, body, headers)) as answer:
        return answer.read()


def told(path: str, fields: dict[str, Any] | None = None) -> Any:
    """The answer's JSON; a POST where there are fields."""
    return json.loads(ask(path, None if fields is None else json.dumps(fields).encode()))


def upload(path: Path) -> str:
    """Send a picture; its id."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n'
    body = head.encode() + path.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    return json.loads(ask("/v1/uploads", body, f"multipart/form-data; boundary={edge}"))["id"]


def main(selfie: Path, out: Path) -> None:
    """Order, wait, fetch."""
    until = (date.today() + timedelta(days=30)).isoformat()
    agreed = {"person": "me", "purposes": ["try-on"], "until": until, "agreed": True}
    consent = told("/v1/consents", agreed)["id"]
    order = {"prompt": "smiling, in the park", "selfies": [upload(selfie)], "consent": consent, "seed": 3}
    job = told("/v1/jobs", order)
    while job["state"] in ("queued", "running"):
        time.sleep(0.5)
        job = told(f"/v1/jobs/{job['id']}")
        print(job["state"], job["progress"])
    if job["error"]:
        sys.exit(job["error"])
    out.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(job["pictures"]):
        (out / f"{number}.png").write_bytes(ask(picture["url"]))
        print(out / f"{number}.png", picture["scores"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Which files of the page a browser's session may use: what it uploaded itself, and what it was shown.

Gradio opens a path that a browser sends if it lies in the page's cache folder. All users of the page share that folder,
and Gradio does not know whose upload a file is. So every path that a browser sends is looked up here first, under the
session that sends it; what is not found is refused before Gradio sees the request.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinset.serving.api_keys import Keys
from twinset.serving.problem_details import Problem
from twinset.serving.web.translations import told

CALLS = "/gradio_api/"
"""Behind it stands what Gradio is asked for: `upload`, `file=PATH`, `queue/join` …"""
FORGET_EVERY = 60.0
"""Seconds between looks at which files are gone."""


class SessionFiles:
    """Files of the page's cache, and the sessions that may use them.

    Args:
        folder: the cache, without links in its path.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.of_page: frozenset[str] = frozenset()
        """Files of the page itself, which every session is shown."""
        self._uploads: defaultdict[str, set[str]] = defaultdict(set)
        self._shown: defaultdict[str, set[str]] = defaultdict(set)
        self._forget_at = 0.0

    def add_uploads(self, paths: Iterable[str], session: str) -> None:
        """Remember what a session uploaded."""
        self._add(self._uploads, paths, session)

    def add_shown(self, paths: Iterable[str], session: str) -> None:
        """Remember what a session is shown."""
        self._add(self._shown, paths, session)

    def may_open(self, path: Any, session: str) -> bool:
        """Whether a path is an upload of this session."""
        return isinstance(path, str) and session in self._uploads.get(path, ()) and self._is_file(path)

    def may_fetch(self, path: Any, session: str) -> bool:
        """Whether a path is an upload of this session, or was shown to it."""
        if not isinstance(path, str):
            return False
        known = path in self.of_page or session in self._shown.get(path, ()) or session in self._uploads.get(path, ())
        return known and self._is_file(path)

    def _is_file(self, path: str) -> bool:
        """Whether a plain file of the folder stands there now: no link leads to it, and it is no pipe and no device."""
        try:
            plain = stat.S_ISREG(os.lstat(path).st_mode)
        except OSError:
            return False
        return plain and os.path.realpath(path) == path and Path(path).is_relative_to(self.folder)

    def _add(self, known: defaultdict[str, set[str]], paths: Iterable[str], session: str) -> None:
        if time.monotonic() > self._forget_at:
            for files in (self._uploads, self._shown):
                for path in [path for path in files if not os.path.lexists(path)]:
                    del files[path]
            self._forget_at = time.monotonic() + FORGET_EVERY
        for path in paths:
            known[path].add(session)


class SignIns:
    """Who has signed in with which key: a sign-in lasts as long as its key, and no key of the same name revives it.

    Args:
        keys: of the service.
    """

    def __init__(self, keys: Keys):
        self.keys = keys
        self.current: ContextVar[list[str]] = ContextVar("keys that the request at hand signed in with")
        self._keys: dict[str, str] = {}

    def check(self, name: str, key: str) -> bool:
        """Whether a key is this name's; asked by Gradio, which then makes the sign-in."""
        if self.keys.owner(key) != name:
            return False
        self.current.get().append(key)
        return True

    def begin(self, token: str, key: str) -> None:
        """Remember the key of a sign-in."""
        self._keys[token] = key

    def key(self, token: str) -> str | None:
        """The key of a sign-in; None where there is none, or the key is no longer valid."""
        key = self._keys.get(token)
        if key is not None and self.keys.owner(key) is None:
            self._keys = {known: value for known, value in self._keys.items() if value != key}
            return None
        return key


class SessionFilesMiddleware:
    """ASGI middleware around Gradio's application: no path of a browser passes that is not its session's.

    The session is a random cookie, together with Gradio's own cookie of who has signed in; handlers find it as
    `request.state.page_session`, and the key of the sign-in as `request.state.page_key`. A sign-in whose key is gone is
    taken out of the request, so that Gradio asks for another.

    Args:
        app: Gradio's.
        files: of the sessions.
        sign_ins: None where the service asks for no keys.
    """

    def __init__(self, app: ASGIApp, files: SessionFiles, sign_ins: SignIns | None = None):
        self.app, self.files, self.sign_ins = app, files, sign_ins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse its paths."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        key = None
        if self.sign_ins is not None:
            scope, key = _signed_in(scope, self.sign_ins)
            send = _beginning(scope, send, self.sign_ins)
        session, send = _session(scope, send)
        scope["state"] = {**scope.get("state", {}), "page_session": session, "page_key": key}
        _, _, call = scope["path"].partition(CALLS)
        try:
            if call == "upload":
                send = self._recording(session, send)
            elif call.startswith(("file=", "file/")):
                self._check_fetched(call[len("file=") :], session)
            elif call and scope["method"] == "POST":
                receive = await self._checked(Request(scope, receive), session)
        except Problem as problem:
            await problem.answer()(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        else:
            await self.app(scope, receive, send)

    def _recording(self, session: str, send: Send) -> Send:
        """Sends Gradio's answer to an upload, once the paths in it are known as this session's."""
        status, body = 0, b""

        async def recording(message: Message) -> None:
            nonlocal status, body
            status, body = message.get("status", status), body + message.get("body", b"")
            if message["type"] == "http.response.body" and not message.get("more_body") and status == 200:
                self.files.add_uploads(json.loads(body), session)
            await send(message)

        return recording

    def _check_fetched(self, path: str, session: str) -> None:
        """Whether a file may go to the browser.

        Raises:
            Problem: 404, the same for what is not there and for what is another's.
        """
        if not self.files.may_fetch(path, session):
            raise Problem(404, "this file is not here; it was deleted, or is not yours")

    async def _checked(self, request: Request, session: str) -> Receive:
        """Receives a request's body anew, in which each path is an upload of this session.

        What an event tells of the thing that was pressed, nobody opens: that may also be what the session was shown.

        Raises:
            Problem: 400, no JSON; 403, a path is not this session's.
        """
        body = await request.body()
        try:
            content = json.loads(body or b"null")
        except (ValueError, RecursionError):
            raise Problem(400, "the body is not JSON; files go to /upload") from None
        pressed = content.pop("event_data", None) if isinstance(content, dict) else None
        foreign = [path for path in paths_in(content) if not self.files.may_open(path, session)]
        foreign += [path for path in paths_in(pressed) if not self.files.may_fetch(path, session)]
        if foreign:
            raise Problem(403, told(request, "not_uploaded", file=os.path.basename(str(foreign[0]))[:80]))
        return _received_anew(body, request.receive)


def paths_in(content: Any) -> Iterator[Any]:
    """Whatever stands as a file's path in JSON, whether Gradio would take it for one or not."""
    rest = [content]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            if one.get("path") is not None:
                yield one["path"]
            rest.extend(one.values())
        elif isinstance(one, list | tuple):
            rest.extend(one)


def _cookies_of_sign_in(scope: Scope) -> tuple[str, str]:
    """Names of Gradio's cookies of who has signed in."""
    return f"access-token-{scope['app'].cookie_id}", f"access-token-unsecure-{scope['app'].cookie_id}"


def _signed_in(scope: Scope, sign_ins: SignIns) -> tuple[Scope, str | None]:
    """A request without sign-ins whose key is gone, and the key of the one that is left."""
    sent, names = HTTPConnection(scope).cookies, _cookies_of_sign_in(scope)
    found = {name: sign_ins.key(sent[name]) for name in names if name in sent}
    key = next((one for one in found.values() if one is not None), None)
    if None not in found.values():
        return scope, key
    left = "; ".join(f"{name}={value}" for name, value in sent.items() if found.get(name, "") is not None)
    headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
    return {**scope, "headers": [*headers, (b"cookie", left.encode("latin-1", "replace"))]}, key


def _beginning(scope: Scope, send: Send, sign_ins: SignIns) -> Send:
    """Sends an answer, and remembers with which key the sign-in in its cookies was made."""
    used: list[str] = []
    sign_ins.current.set(used)
    names = _cookies_of_sign_in(scope)

    async def remembering(message: Message) -> None:
        if message["type"] == "http.response.start" and used:
            for name, value in message["headers"]:
                cookie, _, token = value.decode("latin-1").partition(";")[0].partition("=")
                if name == b"set-cookie" and cookie in names:
                    sign_ins.begin(token, used[-1])
        await send(message)

    return remembering


def _session(scope: Scope, send: Send) -> tuple[str, Send]:
    """Whose request it is, and `send` with the cookie that makes the next one the same session's."""
    known, service = HTTPConnection(scope).cookies, scope["app"].cookie_id  # browsers mix the cookies of all ports
    cookie = f"page-session-{service}"
    sent = known.get(cookie)
    token = sent or secrets.token_urlsafe(32)
    signed_in = next((known[name] for name in _cookies_of_sign_in(scope) if known.get(name)), "")
    secure = "; Secure" if scope["scheme"] == "https" else ""
    added = (b"set-cookie", f"{cookie}={token}; Path=/; HttpOnly; SameSite=Lax{secure}".encode("latin-1"))

    async def introducing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], added]}
        await send(message)

    session = hashlib.sha256(f"{token}\0{signed_in}".encode()).hexdigest()
    return session, send if sent else introducing


def _received_anew(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read already, and then what follows it."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return parts.pop() if parts else await receive()

    return received

"""What the page's tabs share: the user's client, consents, and HTML for a job's progress and result."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from twinset.serving.web.client import Client, RefusedError
from twinset.serving.web.session_files import SessionFiles
from twinset.serving.web.translations import WORDS, prefers_chinese, told

MOST_FOLLOWED = 10_000
"""Sessions whose last job is remembered."""
BY_STATUS = ("401", "413", "415", "429")
"""Refusals that the page says in its own words."""
SHOWN = ("identity", "garment_similarity", "garment_colour", "prompt", "light_mismatch", "skin_difference",
         "clip_iqa_quality")  # fmt: skip
"""Scores in this order first; the others follow."""


class MissingError(Exception):
    """A field was left empty or is wrong; carries the name of the text that says so.

    Args:
        name: key of `translations.WORDS`.
        values: for the text's placeholders; `knob` is the field whose label it names.
    """

    def __init__(self, name: str, **values: Any):
        super().__init__(name)
        self.name, self.values = name, values


@dataclass
class Desk:
    """The page's access to the service.

    Attributes:
        app: the service's application.
        folder: of what the page shows; emptied as time goes by.
        most: pictures of one job.
        keyed: whether the service asks for keys.
        files: which of them a browser's session may use.
    """

    app: FastAPI
    folder: Path
    most: int
    keyed: bool
    files: SessionFiles
    entered: dict[tuple[str | None, str, str], str] = field(default_factory=dict)
    """Consents that were entered here: (who asks, person, until) → id."""
    followed: dict[str, str] = field(default_factory=dict)
    """Session → the job that it ordered last, which a page that was loaded anew finds again."""

    def client(self, request: gr.Request) -> Client:
        """Asks the service for whoever uses the page."""
        return Client(self.app, (request.state.page_key or "") if self.keyed else None)

    def follow(self, job: str, request: gr.Request) -> None:
        """Remember which job a session looks at."""
        session = request.state.page_session
        self.followed.pop(session, None)
        self.followed[session] = job
        while len(self.followed) > MOST_FOLLOWED:
            del self.followed[next(iter(self.followed))]

    async def pictures(self, client: Client, job: dict[str, Any], request: gr.Request) -> list[Path]:
        """Fetch a job's pictures, to be shown to whoever asks."""
        found = await client.pictures(job, self.folder)
        self.files.add_shown(map(str, found), request.state.page_session)
        return found

    async def consent(self, client: Client, who: Sequence[Any], request: gr.Request) -> str:
        """The consent of the person, entered when the box is ticked.

        Args:
            client: of whoever asks.
            who: person, last day, and whether the box is ticked.
            request: of the browser.

        Raises:
            MissingError: it is not there.
        """
        person, until, agreed = who
        if not agreed or not str(person or "").strip() or not until:
            raise MissingError("consent_missing")
        key = (request.username, str(person).strip(), str(until)[:10])
        if key not in self.entered:
            self.entered[key] = await client.consent(key[1], date.fromisoformat(key[2]))
        return self.entered[key]

    def forget_consent(self, consent: str | None) -> None:
        """After the service refused it: enter it anew next time."""
        self.entered = {key: value for key, value in self.entered.items() if value != consent}


def consent_fields() -> list[Any]:
    """Whose face, until when, and the box."""
    from twinset.serving.web.translations import words

    month = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d")
    return [
        gr.Textbox(label=words("whose"), max_length=200, elem_id="whose"),
        gr.DateTime(month, include_time=False, type="string", label=words("until")),
        gr.Checkbox(False, label=words("agreed"), elem_id="agreed"),
    ]


def bar(request: gr.Request, job: dict[str, Any], started: float) -> str:
    """How far a job is, as HTML."""
    progress = job.get("progress")
    if job["state"] == "queued" or progress is None:
        return panel("busy", told(request, "queued"), 0.0)
    share = (progress["picture"] + progress["step"] / (progress.get("steps") or 100)) / max(1, progress["pictures"])
    text = told(
        request, "running", picture=progress["picture"] + 1, pictures=progress["pictures"], step=progress["step"]
    )
    spent = time.monotonic() - started
    if share > 0.05:
        text += " · " + told(request, "left", seconds=round(spent / share * (1 - share)))
    return panel("busy", text, share)


def sending(request: gr.Request) -> str:
    """That pictures are on their way."""
    return panel("busy", told(request, "sending"), 0.0)


def good(text: str) -> str:
    """That something went well."""
    return panel("good", text)


def wrong(request: gr.Request, error: Exception | str) -> str:
    """What went wrong and what helps, as HTML that stays until the next try."""
    detail, remedy = str(error), ""
    if isinstance(error, MissingError):
        values = {k: WORDS[v][prefers_chinese(request)] if k == "knob" else v for k, v in error.values.items()}
        detail, _, remedy = told(request, error.name, **values).replace("；", "; ", 1).partition("; ")
    elif isinstance(error, RefusedError) and str(error.status) in BY_STATUS:
        own = told(request, str(error.status), seconds=round(error.wait)).replace("；", "; ", 1)
        detail, _, remedy = own.partition("; ")
    elif isinstance(error, RefusedError):
        detail, remedy = html.escape(error.detail), html.escape(error.remedy)
    else:
        detail, _, remedy = html.escape(detail).partition("; ")
    return panel("wrong", f"<b>{told(request, 'failed')}:</b> {detail}" + (f"<br>→ {remedy}" if remedy else ""))


def panel(kind: str, text: str, share: float | None = None) -> str:
    """A box with a text that is HTML already, and a bar when it has a share of 0 to 1."""
    filled = "" if share is None else f'<div class="track"><div style="width:{100 * min(1.0, share):.0f}%"></div></div>'
    return f'<div class="panel {kind}" role="status">{text}{filled}</div>'


def score_table(request: gr.Request, job: dict[str, Any]) -> str:
    """Seeds, scores, what the controller did, and what is still wrong, as HTML."""
    found = {name for one in job["pictures"] for name in one["scores"]}
    names = [name for name in SHOWN if name in found] + sorted(found - {*SHOWN})
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("seed", *names))
    rows = [_row(request, one, names) for one in job["pictures"]]
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in job["notes"])
    told_labels = told(request, "labels_told")
    return (
        f'<div class="scores"><table><tr>{head}</tr>{"".join(rows)}</table><ul>{notes}</ul><p>{told_labels}</p></div>'
    )


def _row(request: gr.Request, one: dict[str, Any], names: list[str]) -> str:
    cells = [str(one["seed"]), *(f"{one['scores'][name]:.2f}" if name in one["scores"] else "" for name in names)]
    said = []
    if one["repairs"]:
        said.append(told(request, "repaired", what=", ".join(one["repairs"])))
    said.append(told(request, "still", what="; ".join(one["faults"])) if one["faults"] else told(request, "all_good"))
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr>{row}</tr><tr><td class="said" colspan="{len(cells)}">{" · ".join(said)}</td></tr>'

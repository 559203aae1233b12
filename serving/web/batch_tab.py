"""The tab for many pictures: every look with every sentence."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from twinset.serving.web.client import ENDED, Client, RefusedError
from twinset.serving.web.controls import knob, picture_field, request_fields
from twinset.serving.web.generate_tab import captioned
from twinset.serving.web.session import Desk, MissingError, consent_fields, good, panel, sending, wrong
from twinset.serving.web.translations import told, words

Values = dict[Any, Any]
SECONDS = 5.0
"""Of a picture, before any is known."""
MOST_ORDERS = 200
"""Pictures of one press of the button; `twinset batch` takes more, and survives a closed page."""


class BatchTab:
    """Its components and what they do.

    Args:
        desk: the service behind the page.
    """

    def __init__(self, desk: Desk):
        self.desk = desk
        self.jobs: gr.State = gr.State([])
        with gr.Row():
            with gr.Column(scale=5):
                self.sentences = gr.Textbox(
                    label=words("sentences"), placeholder=words("prompt_hint"), lines=5, elem_id="sentences"
                )
                with gr.Row():
                    self.selfie = picture_field(
                        "selfie", sources=["upload", "webcam"], height=200, elem_id="batch-selfie"
                    )
                    self.garments = gr.Gallery(
                        label=words("batch_garments"), interactive=True, file_types=["image"], height=200, columns=3,
                        object_fit="contain", elem_id="batch-garments",
                    )  # fmt: skip
                with gr.Accordion(words("consent_part"), open=True):
                    self.consent = consent_fields()
                self.seed = knob("seed")
                with gr.Row():
                    self.count = gr.Button(words("count"))
                    self.draw = gr.Button(words("draw_all"), variant="primary", elem_id="draw-all")
                    self.cancel = gr.Button(words("cancel"))
            with gr.Column(scale=6):
                self.status = gr.HTML(elem_id="batch-status")
                self.pictures = gr.Gallery(
                    label=words("pictures"), columns=4, height=560, interactive=False, object_fit="contain",
                    buttons=["download", "fullscreen"], elem_id="batch-pictures",
                )  # fmt: skip
                self.files = gr.File(label=words("files"), file_count="multiple", interactive=False)
        inputs = {self.sentences, self.selfie, self.garments, self.seed, *self.consent}
        outputs = [self.status, self.pictures, self.files, self.jobs]
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.count.click(self.counted, inputs, [self.status], **hidden)
        self.draw.click(self.drawn, inputs, outputs, concurrency_limit=None, **hidden)
        self.cancel.click(self.cancelled, [self.jobs], None, **hidden)

    def counted(self, values: Values, request: gr.Request) -> str:
        """How many pictures it will be, and how long they will take."""
        looks, sentences = max(1, len(values[self.garments] or ())), len(self._sentences(values))
        minutes = f"{looks * sentences * SECONDS / 60:.1f}"
        count = looks * sentences
        return good(told(request, "batch_count", looks=looks, sentences=sentences, count=count, minutes=minutes))

    async def drawn(self, values: Values, request: gr.Request) -> AsyncIterator[Values]:
        """Order all, then show each picture as it comes."""
        yield {self.status: sending(request), self.pictures: None, self.files: None, self.jobs: []}
        async with self.desk.client(request) as client:
            try:
                orders = await self._orders(client, values, request)
                jobs: list[dict[str, Any]] = []
                ordering = asyncio.create_task(self._order(client, orders, jobs))
                started, shown, every = time.monotonic(), [], -1
                while True:
                    await self._look(client, jobs)
                    ended = [job for job in jobs if job["state"] in ENDED]
                    if len(ended) != every:
                        every, shown = len(ended), await self._shown(client, ended, request)
                    text = self._told(request, len(orders), ended, time.monotonic() - started)
                    yield {
                        self.status: text, self.pictures: shown, self.files: [path for path, _ in shown],
                        self.jobs: [job["id"] for job in jobs],
                    }  # fmt: skip
                    if ordering.done() and len(ended) == len(jobs):
                        break
                    await asyncio.sleep(0.6)
                ordering.result()  # what the service refused
            except (MissingError, RefusedError) as error:
                yield {self.status: wrong(request, error)}

    @staticmethod
    async def _order(client: Client, orders: list[dict[str, Any]], jobs: list[dict[str, Any]]) -> None:
        """Order one after another, waiting where the queue is full."""
        for fields in orders:
            jobs.append(await client.order(fields, patient=True))

    @staticmethod
    async def _look(client: Client, jobs: list[dict[str, Any]]) -> None:
        """Ask after the jobs that have not ended; a job that was deleted meanwhile is over."""
        for index, job in enumerate(jobs):
            if job["state"] in ENDED:
                continue
            try:
                jobs[index] = await client.job(job["id"])
            except RefusedError:
                jobs[index] = job | {"state": "cancelled"}

    async def _shown(self, client: Client, ended: list[dict[str, Any]], request: gr.Request) -> list[tuple[str, str]]:
        shown: list[tuple[str, str]] = []
        for job in ended:
            if job["state"] == "done":
                shown += captioned(await self.desk.pictures(client, job, request), job)
        return shown

    @staticmethod
    def _told(request: gr.Request, count: int, ended: list[dict[str, Any]], spent: float) -> str:
        failed = [job for job in ended if job["state"] == "failed"]
        done = sum(job["state"] == "done" for job in ended)
        left = round(spent / max(1, len(ended)) * (count - len(ended)))
        text = told(request, "batch_told", done=done, count=count, failed=len(failed), seconds=left)
        reasons = "<br>".join(dict.fromkeys(told(request, "still", what=job["error"]) for job in failed))
        return panel("busy" if len(ended) < count else "good", text + (f"<br>{reasons}" if reasons else ""),
                     len(ended) / max(1, count))  # fmt: skip

    def _sentences(self, values: Values) -> list[str]:
        return [line.strip() for line in str(values[self.sentences] or "").splitlines() if line.strip()]

    async def _orders(self, client: Client, values: Values, request: gr.Request) -> list[dict[str, Any]]:
        """The orders; selfie and garments are sent once for all of them.

        Raises:
            MissingError: there are no sentences, or no consent.
            RefusedError: a picture is not taken.
        """
        sentences = self._sentences(values)
        if not sentences:
            raise MissingError("prompt_missing")
        common = request_fields({"seed": values[self.seed]})
        if values[self.selfie]:
            common["consent"] = await self.desk.consent(client, [values[one] for one in self.consent], request)
            common["selfies"] = [await client.upload(Path(values[self.selfie]))]
        looks = [[{"upload": await client.upload(Path(path))}] for path, _ in values[self.garments] or ()] or [[]]
        if len(looks) * len(sentences) > MOST_ORDERS:
            raise MissingError("too_many", most=MOST_ORDERS)
        return [common | {"prompt": line, "garments": look} for look, line in itertools.product(looks, sentences)]

    async def cancelled(self, jobs: list[str], request: gr.Request) -> None:
        """Cancel what has not ended."""
        async with self.desk.client(request) as client:
            for job in jobs:
                await client.cancel(job)

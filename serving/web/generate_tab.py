"""The tab from a sentence and a selfie to pictures."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from twinset.figure import poses
from twinset.figure.labels import ALL_KINDS
from twinset.serving.web.client import Client, RefusedError
from twinset.serving.web.controls import KNOBS, knob, picture_field, request_fields
from twinset.serving.web.pose_gallery import pose_pictures
from twinset.serving.web.session import Desk, MissingError, bar, consent_fields, good, score_table, sending, wrong
from twinset.serving.web.translations import told, words

PHOTO_PROMPT = "a person"
"""What is said where only a photo is to be changed."""
Values = dict[Any, Any]


class DrawTab:
    """Its components and what they do.

    Args:
        desk: the service behind the page.
    """

    def __init__(self, desk: Desk):
        self.desk = desk
        self.job = gr.State(None)
        with gr.Row():
            with gr.Column(scale=5):
                self._ask()
            with gr.Column(scale=6):
                self._show()
        inputs = {
            self.prompt, self.selfie, self.garments, self.kinds, self.pose, self.mirrored, self.own_pose, self.photo,
            *self.consent, *self.knobs.values(),
        }  # fmt: skip
        outputs = self.outputs = [self.status, self.pictures, self.files, self.told, self.job]
        gr.on(
            [self.draw.click, self.prompt.submit], self.drawn, inputs, outputs, concurrency_limit=None,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        self.cancel.click(self.cancelled, [self.job], None, api_visibility="private")
        self.gallery.select(self.chosen, None, [self.pose], show_progress="hidden", api_visibility="private")

    def _ask(self) -> None:
        self.prompt = gr.Textbox(label=words("prompt"), placeholder=words("prompt_hint"), lines=2, elem_id="prompt")
        with gr.Row():
            self.selfie = picture_field(
                "selfie", sources=["upload", "webcam", "clipboard"], height=230, elem_id="selfie"
            )
            self.garments = gr.Gallery(
                label=words("garments"), interactive=True, file_types=["image"], height=230, columns=2,
                object_fit="contain", elem_id="garments",
            )  # fmt: skip
        with gr.Accordion(words("consent_part"), open=True):
            self.consent = consent_fields()
        self.gallery = gr.Gallery(
            pose_pictures(), label=words("poses"), show_label=False, columns=6, height=300, allow_preview=False,
            object_fit="contain",
            interactive=False, buttons=[], elem_id="poses",
        )  # fmt: skip
        with gr.Row():
            self.pose = gr.Dropdown(["", *poses.NAMED], value="", label=words("pose"), elem_id="pose")
            self.mirrored = gr.Checkbox(False, label=words("mirrored"))
        with gr.Accordion(words("more"), open=False):
            with gr.Row():
                self.own_pose = picture_field("own_pose", sources=["upload"], height=180)
                self.photo = picture_field("photo", sources=["upload"], height=180)
            self.kinds = gr.Textbox(label=words("kinds"), placeholder=words("kinds_hint"), info=", ".join(ALL_KINDS))
            self.knobs = {}
            for names in (KNOBS[start : start + 3] for start in range(0, len(KNOBS), 3)):
                with gr.Row():
                    self.knobs |= {name: knob(name, self.desk.most if name == "num" else None) for name in names}
        with gr.Row():
            self.draw = gr.Button(words("draw"), variant="primary", elem_id="draw")
            self.cancel = gr.Button(words("cancel"), elem_id="cancel")

    def _show(self) -> None:
        self.status = gr.HTML(elem_id="status")
        self.pictures = gr.Gallery(
            label=words("pictures"), columns=4, object_fit="contain", height=560, interactive=False,
            preview=True, buttons=["download", "fullscreen"], elem_id="pictures",
        )  # fmt: skip
        self.told = gr.HTML(elem_id="scores")
        self.files = gr.File(label=words("files"), file_count="multiple", interactive=False, elem_id="files")

    def chosen(self, event: gr.SelectData) -> str:
        """The pose whose picture was pressed."""
        return list(poses.NAMED)[event.index]

    async def drawn(self, values: Values, request: gr.Request) -> AsyncIterator[Values]:
        """Send, order, follow, fetch: what is shown at each of these times."""
        started, fields = time.monotonic(), {}
        yield {self.status: sending(request), self.pictures: None, self.files: None, self.told: "", self.job: None}
        async with self.desk.client(request) as client:
            try:
                fields = await self._fields(client, values, request)
                ordered = await client.order(fields)
                self.desk.follow(ordered["id"], request)
                async for shown in self._followed(client, ordered, started, request):
                    yield shown
            except (MissingError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.field == "consent":
                    self.desk.forget_consent(fields.get("consent"))
                yield {self.status: wrong(request, error)}

    async def resumed(self, request: gr.Request) -> AsyncIterator[Values]:
        """What a page that is loaded anew shows: the job that its session ordered last, as far as it is."""
        started, job = time.monotonic(), self.desk.followed.get(request.state.page_session)
        if job is None:
            yield {}
            return
        async with self.desk.client(request) as client:
            try:
                async for shown in self._followed(client, await client.job(job), started, request):
                    yield shown
            except RefusedError:  # it was deleted
                self.desk.followed.pop(request.state.page_session, None)
                yield {}

    async def _followed(
        self, client: Client, ordered: dict[str, Any], started: float, request: gr.Request
    ) -> AsyncIterator[Values]:
        """How a job gets on, and what comes of it."""
        job = ordered
        async for job in client.followed(ordered):
            yield {self.status: bar(request, job, started), self.job: job["id"]}
        yield await self._ended(client, job, time.monotonic() - started, request)

    async def _ended(self, client: Client, job: dict[str, Any], seconds: float, request: gr.Request) -> Values:
        """What is shown of a job that is over."""
        if job["state"] == "cancelled":
            return {self.status: good(told(request, "cancelled"))}
        if job["state"] == "failed":
            return {self.status: wrong(request, job["error"])}
        files = await self.desk.pictures(client, job, request)
        done = told(request, "done", count=len(files), seconds=f"{seconds:.1f}")
        return {
            self.status: good(done), self.pictures: in_gallery(files, job), self.files: [str(path) for path in files],
            self.told: score_table(request, job),
        }  # fmt: skip

    async def _fields(self, client: Client, values: Values, request: gr.Request) -> dict[str, Any]:
        """The fields of an order, its pictures sent.

        Raises:
            MissingError: something was not filled in.
            RefusedError: the service does not take a picture or a value.
        """
        prompt = str(values[self.prompt] or "").strip() or (PHOTO_PROMPT if values[self.photo] else "")
        if not prompt:
            raise MissingError("prompt_missing")
        fields: dict[str, Any] = request_fields({name: values[one] for name, one in self.knobs.items()})
        fields |= {"prompt": prompt}
        if values[self.selfie] or values[self.photo]:
            fields["consent"] = await self.desk.consent(client, [values[one] for one in self.consent], request)
        if values[self.selfie]:
            fields["selfies"] = [await client.upload(Path(values[self.selfie]))]
        fields["garments"] = await sent_garments(client, values[self.garments], values[self.kinds])
        if values[self.photo]:
            fields["photo"] = await client.upload(Path(values[self.photo]))
        if values[self.own_pose]:
            fields["pose"] = await client.upload(Path(values[self.own_pose]))
        elif values[self.pose]:
            fields["pose"] = values[self.pose] + (":mirror" if values[self.mirrored] else "")
        return fields

    async def cancelled(self, job: str | None, request: gr.Request) -> None:
        """Cancel what is being drawn; the way that follows it says so."""
        if job is not None:
            async with self.desk.client(request) as client:
                await client.cancel(job)


def captioned(files: Sequence[Path], job: dict[str, Any]) -> list[tuple[str, str]]:
    """Pictures with their seeds and what matters most of their scores."""
    captions = []
    for one in job["pictures"]:
        identity = one["scores"].get("identity")
        captions.append(f"seed {one['seed']}" + ("" if identity is None else f" · identity {identity:.2f}"))
    return [(str(path), caption) for path, caption in zip(files, captions, strict=True)]


def in_gallery(files: Sequence[Path], job: dict[str, Any]) -> gr.Gallery:
    """Pictures of a job, the first of them large."""
    return gr.Gallery(captioned(files, job), selected_index=0)


async def sent_garments(client: Client, shown: Sequence[tuple[str, str]] | None, kinds: str) -> list[dict[str, Any]]:
    """Garments of a gallery, sent; the kinds are told in their order, where they are."""
    told_kinds = [kind.strip() for kind in (kinds or "").replace("，", ",").split(",")]
    garments = []
    for index, (path, _) in enumerate(shown or ()):
        kind = told_kinds[index] if index < len(told_kinds) else ""
        garments.append({"upload": await client.upload(Path(path))} | ({"kind": kind} if kind else {}))
    return garments

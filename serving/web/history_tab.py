"""The tab of what was drawn before."""

from __future__ import annotations

from typing import Any

import gradio as gr

from twinset.serving.web.client import RefusedError
from twinset.serving.web.generate_tab import in_gallery
from twinset.serving.web.session import Desk, good, score_table, wrong
from twinset.serving.web.translations import told, words

MOST = 24
"""Jobs shown."""


class HistoryTab:
    """Its components and what they do.

    Args:
        desk: the service behind the page.
    """

    def __init__(self, desk: Desk):
        self.desk = desk
        self.jobs: gr.State = gr.State([])
        self.chosen: gr.State = gr.State(None)
        self.refresh = gr.Button(words("refresh"), elem_id="refresh")
        self.status = gr.HTML(elem_id="history-status")
        with gr.Row():
            self.list = gr.Gallery(
                label=words("jobs"), columns=4, height=420, interactive=False, allow_preview=False, buttons=[],
                object_fit="contain", elem_id="history",
            )  # fmt: skip
            with gr.Column():
                self.pictures = gr.Gallery(
                    label=words("pictures"), columns=4, height=420, interactive=False, object_fit="contain",
                    preview=True, buttons=["download", "fullscreen"], elem_id="history-pictures",
                )  # fmt: skip
                self.told = gr.HTML()
                self.files = gr.File(label=words("files"), file_count="multiple", interactive=False)
                self.delete = gr.Button(words("delete"), variant="stop", elem_id="delete")
        of_job = [self.status, self.pictures, self.told, self.files, self.chosen]
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.refresh.click(self.listed, None, [self.status, self.list, self.jobs], **hidden)
        self.list.select(self.shown, [self.jobs], of_job, **hidden)
        self.delete.click(self.deleted, [self.chosen], of_job, **hidden).then(
            self.listed, None, [self.status, self.list, self.jobs], **hidden
        )

    async def listed(self, request: gr.Request) -> dict[Any, Any]:
        """The first picture of each of the latest jobs that are done."""
        async with self.desk.client(request) as client:
            try:
                jobs = [job for job in await client.jobs() if job["state"] == "done" and job["pictures"]][:MOST]
                shown = [
                    (
                        str((await self.desk.pictures(client, job, request))[0]),
                        f"{job['made'][5:16].replace('T', ' ')} {job['prompt'][:60]}",
                    )
                    for job in jobs
                ]
            except RefusedError as error:
                return {self.status: wrong(request, error)}
        said = "" if jobs else good(told(request, "nothing"))
        return {self.status: said, self.list: shown, self.jobs: [job["id"] for job in jobs]}

    async def shown(self, jobs: list[str], request: gr.Request, event: gr.SelectData) -> dict[Any, Any]:
        """All of the job whose picture was pressed."""
        async with self.desk.client(request) as client:
            try:
                job = await client.job(jobs[event.index])
                files = await self.desk.pictures(client, job, request)
            except RefusedError as error:
                return {self.status: wrong(request, error)}
        return {
            self.pictures: in_gallery(files, job), self.told: score_table(request, job), self.chosen: job["id"],
            self.files: [str(path) for path in files],
        }  # fmt: skip

    async def deleted(self, job: str | None, request: gr.Request) -> dict[Any, Any]:
        """Delete the job that is shown, here and in the service."""
        if job is None:
            return {self.status: ""}
        async with self.desk.client(request) as client:
            try:
                await client.delete(job)
            except RefusedError as error:
                return {self.status: wrong(request, error)}
        done = good(told(request, "deleted"))
        return {self.status: done, self.pictures: None, self.told: "", self.files: None, self.chosen: None}

"""The tab that shows who stands before the camera in another garment, as fast as the machine allows."""

from __future__ import annotations

import base64
import io
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from twinset.common.image_io import read_picture
from twinset.errors import InputError
from twinset.serving.web.client import Client, RefusedError
from twinset.serving.web.controls import picture_field
from twinset.serving.web.generate_tab import PHOTO_PROMPT
from twinset.serving.web.session import Desk, MissingError, consent_fields, good, wrong
from twinset.serving.web.translations import told, words

STEPS = 4
SIDE = 256
"""Pixels of a frame's shorter side: what is drawn has about as many, and marking more takes longer than drawing."""
EVERY = 0.1
"""Seconds between frames that the camera offers; those that come while one is drawn are dropped."""
ASKED = 0.05
"""Seconds between looks at a frame's job."""


class MirrorTab:
    """Its components and what they do.

    Args:
        desk: the service behind the page.
    """

    def __init__(self, desk: Desk):
        self.desk = desk
        self.last: gr.State = gr.State(None)
        gr.Markdown(words("mirror_help"))
        with gr.Row():
            with gr.Column():
                self.garment = picture_field("mirror_garment", sources=["upload"], height=180, elem_id="mirror-garment")
                with gr.Accordion(words("consent_part"), open=True):
                    self.consent = consent_fields()
                self.steps = gr.Slider(1, 12, STEPS, step=1, label=words("mirror_steps"))
                self.camera = gr.Image(
                    label=words("camera"), type="filepath", sources=["webcam"], streaming=True, format="jpeg",
                    height=300, elem_id="camera",
                )  # fmt: skip
            with gr.Column():
                self.status = gr.HTML(elem_id="mirror-status")
                self.mirror = gr.HTML(
                    label=words("seen_in_mirror"), show_label=True, container=True, min_height=560, elem_id="mirror"
                )
        self.camera.stream(
            self.shown, {self.camera, self.garment, self.steps, self.last, *self.consent},
            [self.mirror, self.status, self.last], stream_every=EVERY, time_limit=600, concurrency_limit=1,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    async def shown(self, values: dict[Any, Any], request: gr.Request) -> dict[Any, Any]:
        """One frame of the camera, with the garment on."""
        if not values[self.camera]:
            return {}
        started = time.monotonic()
        async with self.desk.client(request) as client:
            try:
                if not values[self.garment]:
                    raise MissingError("garment_missing")
                consent = await self.desk.consent(client, [values[one] for one in self.consent], request)
                picture = await self._drawn(client, values, consent)
            except (MissingError, RefusedError) as error:
                return {self.status: wrong(request, error)}
        now = time.monotonic()
        rate = f"{1 / max(now - (values[self.last] or started), 1e-3):.1f}"
        said = told(request, "mirror_told", rate=rate, seconds=f"{now - started:.2f}")
        return {self.mirror: _as_html(picture), self.status: good(said), self.last: now}

    async def _drawn(self, client: Client, values: dict[Any, Any], consent: str) -> Image.Image:
        """The frame with the garment on; what was sent and drawn is deleted at once.

        Raises:
            RefusedError: nobody is seen, say.
        """
        frame, garment = _small(Path(values[self.camera])), Path(values[self.garment])
        fields = {
            "prompt": PHOTO_PROMPT, "photo": await client.upload(frame),
            "garments": [{"upload": await client.upload(garment, goes_along=False)}], "consent": consent,
            "steps": int(values[self.steps]), "seed": 1, "repair": False, "candidates": 1,
        }  # fmt: skip
        ordered = job = await client.order(fields)
        try:
            async for told_job in client.followed(ordered, ASKED):
                job = told_job
            if job["state"] != "done":
                detail, _, remedy = str(job["error"] or job["state"]).partition("; ")
                raise RefusedError(422, detail, remedy)
            (picture,) = await client.pictures(job, self.desk.folder)
            return Image.open(picture).convert("RGB")  # the file goes with the job
        finally:
            with suppress(RefusedError):
                await client.delete(job["id"])
            frame.unlink(missing_ok=True)


def _as_html(picture: Image.Image) -> str:
    """A picture within its own text: the browser fetches no file, and none is kept for it."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=92)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}">'


def _small(frame: Path) -> Path:
    """A frame made small, in its own place.

    Raises:
        RefusedError: it is no picture.
    """
    try:
        pixels = read_picture(frame, "frame")
    except InputError as error:
        raise RefusedError(422, str(error).replace(str(frame), frame.name)) from None
    picture = Image.fromarray(pixels)
    scale = SIDE / min(picture.size)
    small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    small.save(frame, "JPEG", quality=92)
    return frame

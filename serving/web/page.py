"""The page: its tabs, its look, and where it is mounted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from twinset.common.atomic_files import private_folder
from twinset.serving.api_keys import Keys
from twinset.serving.storage import PAGE

PATH = "/page"
CSS = """
.panel { padding: .7em 1em; border-radius: 8px; margin: .2em 0; line-height: 1.5 }
.panel.busy { background: #eef2fb; color: #1c2a4a } .panel.good { background: #e9f6ec; color: #14381f }
.panel.wrong { background: #fdecea; color: #5f1410 }
.track { height: 8px; border-radius: 4px; background: #d5dced; margin-top: .5em; overflow: hidden }
.track div { height: 100%; background: #4a6fd0; transition: width .4s }
.scores { overflow-x: auto; font-size: .86em } .scores td, .scores th { padding: .2em .6em; text-align: right }
.scores table, .scores tr, .scores td, .scores th { border: 0 } .scores tr:nth-child(odd) { background: #8881 }
.caption-label { left: 2px; bottom: auto; top: 2px; max-width: 96%; font-size: .68em; padding: 0 .3em }
#mirror img { width: 100%; height: 560px; object-fit: contain }
#poses .caption-label { top: auto; bottom: 2px }
.scores td.said { text-align: left; color: var(--body-text-color-subdued); border-bottom: 1px solid #8884 }
"""


def add_page(app: FastAPI, keys: Keys | None, root: Path, most: int) -> FastAPI:
    """Mount the page on a service's application.

    Args:
        app: of the service.
        keys: who may sign in, with a name and its API key; None where the service asks for none.
        root: folder of the service.
        most: pictures of one job.
    """
    cache = (root / PAGE / "files").resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(cache)  # read when Gradio is imported
    import gradio as gr
    from starlette.middleware import Middleware

    from twinset.serving.web.batch_tab import BatchTab
    from twinset.serving.web.blocks import PageBlocks
    from twinset.serving.web.generate_tab import DrawTab
    from twinset.serving.web.history_tab import HistoryTab
    from twinset.serving.web.mirror_tab import MirrorTab
    from twinset.serving.web.session import Desk
    from twinset.serving.web.session_files import SessionFiles, SessionFilesMiddleware, SignIns, paths_in
    from twinset.serving.web.translations import TRANSLATIONS, words

    private_folder(root / PAGE)
    folder = private_folder(cache / "shown")
    sign_ins = None if keys is None else SignIns(keys)
    files = SessionFiles(cache)
    desk = Desk(app, folder, most, keys is not None, files)
    with PageBlocks(title="Twinset", analytics_enabled=False) as blocks:
        gr.Markdown(words("title"), elem_id="title")
        with gr.Tab(words("draw_tab"), elem_id="draw_tab"):
            draw = DrawTab(desk)
        for name, tab in (("batch_tab", BatchTab), ("history_tab", HistoryTab), ("mirror_tab", MirrorTab)):
            with gr.Tab(words(name), elem_id=name):
                tab(desk)
        blocks.load(
            draw.resumed, None, draw.outputs, show_progress="hidden", concurrency_limit=None, api_visibility="private"
        )

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse(PATH + "/")

    system = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]
    look: Any = gr.themes.Soft(font=system, font_mono=["ui-monospace", "monospace"])
    gr.mount_gradio_app(
        app, blocks, PATH, auth=None if sign_ins is None else sign_ins.check, i18n=TRANSLATIONS, theme=look, css=CSS,
        footer_links=["settings"], show_error=False, ssr_mode=False, run_history=False,
        app_kwargs={"middleware": [Middleware(SessionFilesMiddleware, files=files, sign_ins=sign_ins)]},
    )  # fmt: skip
    files.of_page = frozenset(paths_in([one["props"].get("value") for one in blocks.config["components"]]))
    return app

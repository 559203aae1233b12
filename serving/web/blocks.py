"""Gradio's blocks as a page of other people's pictures needs them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from twinset.serving.web.translations import told


class PageBlocks(gr.Blocks):
    """Blocks to be mounted that check paths as launched ones do, and whose errors name no file.

    Args:
        options: of Gradio's.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.has_launched = True  # as `launch()` sets it: of blocks that are only mounted, Gradio checks no path

    async def process_api(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Run an event; what nobody foresaw is told without its text, which may say where a file is.

        Raises:
            gradio.Error: the event failed.
        """
        try:
            return await super().process_api(*arguments, **options)
        except gr.Error:
            raise
        except Exception as error:
            request = options.get("request")
            raise gr.Error(told(request, "unforeseen"), title=told(request, "failed")) from error

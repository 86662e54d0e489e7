"""The page, and the server of it."""

import os
from pathlib import Path

# Before the import: Gradio reports its own import otherwise.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from sklunlearn.explorer._events import Events
from sklunlearn.explorer._layout import Parts
from sklunlearn.explorer._sessions import Lab
from sklunlearn.explorer._uploads import LIMITS

__all__ = ["build", "launch"]

_HOURS = 3600
_STYLE = (Path(__file__).parent / "_style.css").read_text(encoding="utf-8")


def build(lab=None):
    """The page as a :class:`gradio.Blocks`, not launched.

    Parameters
    ----------
    lab : Lab or None, default=None
        What its sessions share. None: a new one.

    Returns
    -------
    blocks : gradio.Blocks
    """
    blocks = gr.Blocks(
        title="sklunlearn explorer", analytics_enabled=False, delete_cache=(600, _HOURS)
    )
    with blocks:
        # Its time counts from the opening; of a page that was closed Gradio keeps it for an hour.
        page = gr.State(
            None, time_to_live=12 * _HOURS, delete_callback=lambda page: page and page.close()
        )
        Events(blocks, page, Parts(), lab or Lab()).connect()
    return blocks


def launch(*, host="127.0.0.1", port=7860, block=True):
    """Serve the page.

    Parameters
    ----------
    host : str, default="127.0.0.1"
        Address to listen at.
    port : int, default=7860
        Port to listen at; 0: any that is free.
    block : bool, default=True
        Whether to return only when the server ends.

    Returns
    -------
    blocks : gradio.Blocks
    """
    blocks = build()
    if block:
        print(f"The explorer is at http://{host}:{port}; press Ctrl-C to end it.", flush=True)
    blocks.queue(default_concurrency_limit=64, max_size=200)
    blocks.launch(
        server_name=host,
        server_port=port or None,
        share=False,
        prevent_thread_lock=not block,
        max_file_size=LIMITS["bytes"],
        state_session_capacity=200,
        footer_links=[],
        ssr_mode=False,
        quiet=True,
        theme=gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        css=_STYLE,
        js="() => document.body.classList.remove('dark')",  # pictures have a light ground
    )
    return blocks

"""The page on an address of this machine, until it is told to stop."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from cyclegan_media.errors import RunError, UserError
from cyclegan_media.web.settings import WebSettings

if TYPE_CHECKING:
    from cyclegan_media.web.sessions import Sessions

logger = logging.getLogger("cyclegan_media")

_MAX_THREADS = 40
_MAX_STATES = 200
"""Pages of which Gradio remembers what they show, 0.1 MB for each, gone or not."""


def serve(settings: WebSettings, *, ready: Any = None) -> None:
    """Serve the page until the process is interrupted or terminated.

    Args:
        ready: called with the page's address once it answers.

    Raises:
        UserError: Gradio is not installed, a folder holds no model, or there are neither models
            nor trainings.
        RunError: the port is taken.
    """
    _quiet_environment()
    from cyclegan_media.web.models import find_models
    from cyclegan_media.web.runs import find_runs

    offers = find_models(_local(place) for place in settings.models)
    find_runs(settings.runs)
    recipes = _recipes()
    from cyclegan_media.web.conversions import Conversions
    from cyclegan_media.web.sessions import Sessions

    sessions = Sessions()
    try:
        # Gradio reads this when it is imported, and stores there what browsers send.
        os.environ["GRADIO_TEMP_DIR"] = str(sessions.files)
        try:
            from cyclegan_media.web.page import build_page
        except ImportError as error:
            raise UserError(
                "the web page needs Gradio; install it by: pip install 'cyclegan-media[web]'"
            ) from error
        scratch = sessions.root / "scratch"
        scratch.mkdir()
        conversions = Conversions(settings, scratch)
        try:
            page = build_page(offers, recipes, settings.runs, sessions, conversions)
            _launch(page, settings, sessions, ready)
        finally:
            conversions.close()
    finally:
        sessions.close()


def _quiet_environment() -> None:
    """Gradio asks nobody anything: neither whether it is the newest, nor how it is used."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _local(place: str) -> str:
    """The folder of a model: of one of the Hub, where it was downloaded to."""
    if not place.startswith("hf:"):
        return place
    from cyclegan_media.pretrained.hub import download_model

    return str(download_model(place))


def _recipes() -> list[dict[str, str]]:
    from cyclegan_media.recipe.files import known_recipes, recipe_content

    keys = ("modality", "paper", "description", "data_wanted", "cost")
    return [
        {"name": name, **{key: str(recipe_content(path)[1].get(key) or "") for key in keys}}
        for name, path in known_recipes().items()
    ]


def _launch(page: Any, settings: WebSettings, sessions: Sessions, ready: Any) -> None:
    import gradio as gr
    from starlette.middleware import Middleware

    from cyclegan_media.web.guard import Guard
    from cyclegan_media.web.views import CSS

    fonts = ["system-ui", "sans-serif"]
    page.queue(max_size=None, default_concurrency_limit=8)
    try:
        _, address, _ = page.launch(
            server_name=settings.host,
            server_port=settings.port,
            auth=list(settings.accounts) or None,
            max_file_size=round(settings.max_megabytes * 1e6),
            max_threads=_MAX_THREADS,
            state_session_capacity=_MAX_STATES,
            theme=gr.themes.Default(font=fonts, font_mono=["ui-monospace", "monospace"]),
            css=CSS,
            app_kwargs={"middleware": [Middleware(Guard, uploaded=sessions.expect)]},
            share=False,
            inbrowser=False,
            quiet=True,
            show_error=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise RunError(
            f"{settings.host}:{settings.port or 7860}: cannot be served at: {error}; choose another"
            " --port"
        ) from error
    try:
        if ready is not None:
            ready(address)
        threading.Event().wait()
    finally:
        page.close(verbose=False)

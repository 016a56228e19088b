"""The page itself: its parts, and what happens when they are used. Needs the extra ``web``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from cyclegan_media.errors import CycleganMediaError
from cyclegan_media.web import views
from cyclegan_media.web.conversions import Conversions
from cyclegan_media.web.convert import Convert
from cyclegan_media.web.models import Offer
from cyclegan_media.web.runs import find_runs, mark, show_run
from cyclegan_media.web.sessions import Sessions

_REFRESH = 5.0
"""Seconds between two looks at a training."""


def build_page(
    offers: Sequence[Offer],
    recipes: Iterable[Mapping[str, str]],
    runs: Sequence[Path],
    sessions: Sessions,
    conversions: Conversions,
) -> gr.Blocks:
    """The page's parts, wired.

    Args:
        offers: the models to choose from; without any the page shows recipes and trainings only.
        recipes: what is known of each, for the gallery.
        runs: where trainings are, if any are to be followed.
    """
    with gr.Blocks(title="cyclegan_media", analytics_enabled=False) as page:
        gr.Markdown("# cyclegan_media\nTurn one kind of picture, clip or voice into another.")
        if offers:
            with gr.Tab("Convert"):
                Convert(offers, sessions, conversions).build()
        with gr.Tab("Recipes"):
            gr.Markdown(
                "What a model can be trained by: `cyclegan-media train RECIPE`, with a folder of"
                " examples of each domain. No example of one needs a counterpart in the other."
            )
            gr.HTML(views.recipe_cards(recipes))
        if runs:
            with gr.Tab("Trainings"):
                _follow_runs(runs, sessions)

        # With a request as its only argument, which Gradio recognises by its type.
        def gone(request: gr.Request) -> None:
            sessions.end(request.session_hash)

        page.unload(gone)
    return page


def _follow_runs(places: Sequence[Path], sessions: Sessions) -> None:
    """The part in which trainings are followed."""

    def names() -> list[str]:
        try:
            return list(find_runs(places))
        except CycleganMediaError:
            return []

    found = names()
    run = gr.Dropdown(found, value=found[0] if found else None, label="Training", elem_id="run")
    seen = gr.State("")
    shown = gr.HTML(views.empty("no training has begun yet"), elem_id="training")
    timer = gr.Timer(_REFRESH)

    def show(name: str | None, before: str, request: gr.Request) -> tuple[Any, Any, Any]:
        try:
            runs = find_runs(places)
        except CycleganMediaError as error:
            return gr.skip(), views.wrong(str(error)), ""
        name = name if name in runs else next(iter(runs), None)
        if name is None:
            return gr.skip(), views.empty("no training has begun yet"), ""
        now = f"{list(runs)} {mark(runs[name])}"
        if now == before:
            return gr.skip(), gr.skip(), gr.skip()
        session = sessions.of(request.session_hash)
        return gr.Dropdown(list(runs), value=name), show_run(runs[name], session), now

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    for trigger in (run.input, timer.tick):
        trigger(show, [run, seen], [run, shown, seen], **quiet)

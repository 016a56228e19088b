"""The part of the page in which files are converted. Needs the extra ``web``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from cyclegan_media.batch.settings import FileSettings
from cyclegan_media.errors import CycleganMediaError, UserError
from cyclegan_media.media.kinds import SUFFIXES, kind_of
from cyclegan_media.web import views
from cyclegan_media.web.conversions import Conversions, Ticket
from cyclegan_media.web.models import Offer
from cyclegan_media.web.sessions import Session, Sessions

_TICK = 0.25
"""Seconds between two looks at how far a conversion is."""
_NOTHING_YET = "what it becomes is shown here"
_PICTURES_KEPT = {".png", ".jpg", ".jpeg", ".webp"}
"""Formats of pictures that come back as they were sent, since any browser shows them."""


class Convert:
    """The part in which files are converted."""

    def __init__(
        self, offers: Sequence[Offer], sessions: Sessions, conversions: Conversions
    ) -> None:
        self._offers = {offer.name: offer for offer in offers}
        self._sessions = sessions
        self._conversions = conversions
        self._voices = {
            f"{offer.name} {way}": (f"{offer.name}: {offer.direction(way)}", offer.path, way)
            for offer in offers
            if offer.modality == "voice"
            for way in offer.directions
        }

    def build(self) -> None:
        first = next(iter(self._offers.values()))
        with gr.Row():
            with gr.Column():
                self.model = gr.Dropdown(
                    list(self._offers), value=first.name, label="Model", elem_id="model"
                )
                self.described = gr.HTML(views.described(first))
                self.direction = gr.Radio(**self._directions(first), label="Direction")
            with gr.Column():
                kinds = sorted(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
                self.file = gr.File(
                    label="Picture, clip or recording",
                    file_types=kinds,
                    height=140,
                    elem_id="file",
                )
                self.microphone = gr.Audio(
                    sources=["microphone"],
                    type="filepath",
                    label="or record your voice",
                    visible=first.modality == "voice",
                    elem_id="microphone",
                )
        self._build_options(first)
        with gr.Row():
            self.start = gr.Button("Convert", variant="primary", elem_id="convert")
            self.stop = gr.Button("Cancel", interactive=False, elem_id="cancel")
        self.state = gr.HTML("", elem_id="state")
        with gr.Row():
            with gr.Column():
                gr.Markdown("### Before")
                self.before = gr.HTML(views.empty("choose a file"), elem_id="before")
            with gr.Column():
                gr.Markdown("### After")
                self.after = gr.HTML(views.empty(_NOTHING_YET), elem_id="after")
                self.download = gr.DownloadButton("Download", interactive=False, elem_id="download")
        self._wire()

    def _build_options(self, first: Offer) -> None:
        with gr.Accordion("Options", open=False):
            image, many = first.modality == "image", first.many
            with gr.Group(visible=image) as self.of_pictures:
                self.voice = gr.Dropdown(
                    [
                        ("leave it", ""),
                        *((words, key) for key, (words, *_) in self._voices.items()),
                    ],
                    value="",
                    label="Voice of clips, converted in the same pass",
                    visible=bool(self._voices),
                    elem_id="voice",
                )
                self.steady = gr.Slider(
                    0, 0.95, 0, step=0.05, label="Steadiness of clips, against flicker"
                )
                self.faces = gr.Radio(
                    [("everything", ""), ("one face", "largest"), ("all faces", "all")],
                    value="largest" if first.faces else "",
                    label="Translate",
                )
            with gr.Group(visible=many) as self.of_styles:
                self.style = gr.Number(
                    0, precision=0, minimum=0, maximum=2**32, label="Style: any number"
                )
            with gr.Group(visible=not image) as self.of_voices:
                self.variance = gr.Slider(0, 1, 0, step=0.1, label="Variance, against muffling")
                self.retrieval = gr.Slider(
                    0, 1, 0, step=0.1, label="Retrieval, towards what the target has said"
                )
                self.pitch = gr.Radio(
                    [("mean and deviation", "gaussian"), ("whole distribution", "quantile")],
                    value="gaussian",
                    label="Pitch: match its",
                )
                self.synthesis = gr.Radio(
                    [("made anew", "vocoder"), ("by filtering, at its own pitch", "differential")],
                    value="vocoder",
                    label="Waveform",
                )

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        self.model.change(
            self._choose,
            [self.model],
            [
                *(self.described, self.direction, self.microphone),
                *(self.of_pictures, self.of_styles, self.of_voices, self.faces),
            ],
            **quiet,
        )
        shown = [self.before, self.after, self.download, self.state]
        for source in (self.file, self.microphone):
            gr.on(
                [source.upload, source.clear]
                if isinstance(source, gr.File)
                else [source.stop_recording, source.clear],
                self._look,
                [self.file, self.microphone],
                shown,
                **quiet,
            )
        inputs = [
            *(self.model, self.direction, self.file, self.microphone, self.steady, self.faces),
            *(self.style, self.variance, self.retrieval, self.pitch, self.synthesis, self.voice),
        ]
        self.start.click(
            self._convert,
            inputs,
            [self.state, self.before, self.after, self.download, self.start, self.stop],
            api_name="convert",
            api_visibility="public",
            show_progress="hidden",
            concurrency_limit=None,
            trigger_mode="once",
        )
        self.stop.click(self._cancel, None, [self.stop], queue=False, **quiet)

    @staticmethod
    def _directions(offer: Offer) -> dict[str, Any]:
        choices = [(offer.direction(way), way) for way in offer.directions]
        return {"choices": choices, "value": offer.directions[0]}

    def _choose(self, name: str) -> tuple[Any, ...]:
        offer = self._offers[name]
        image = offer.modality == "image"
        return (
            views.described(offer),
            gr.Radio(**self._directions(offer)),
            gr.Audio(visible=not image),
            gr.Group(visible=image),
            gr.Group(visible=offer.many),
            gr.Group(visible=not image),
            gr.Radio(value="largest" if offer.faces else ""),
        )

    async def _look(
        self, file: str | None, spoken: str | None, request: gr.Request
    ) -> tuple[Any, Any, Any, Any]:
        """Show what was chosen or spoken last."""
        after = views.empty(_NOTHING_YET)
        no_download = gr.DownloadButton(value=None, interactive=False)
        session = self._sessions.of(request.session_hash)
        try:
            source = self._source(session, file, spoken)
            if source is None:
                return views.empty("choose a file"), after, no_download, ""
            before = await self._shown(session, source)
        except CycleganMediaError as error:
            return views.empty("choose a file"), after, no_download, views.wrong(str(error))
        return before, after, no_download, ""

    def _source(self, session: Session, file: str | None, spoken: str | None) -> Path | None:
        chosen = file or spoken
        return None if chosen is None else self._sessions.adopt(session, chosen)

    async def _shown(self, session: Session, path: Path) -> str:
        if kind_of(path) is None:
            raise UserError(f"{path.name}: is no picture, clip or recording of a known format")
        if path in session.shown:
            return session.shown[path]
        # The reader may write into a folder that a browser gets files of, and nowhere else.
        found = await asyncio.to_thread(self._conversions.look, path, session.new_folder())
        caption = f"{path.name}: {found['summary']}"
        if found["kind"] == "video" and kind_of(found["shown"]) == "image":
            caption += ". Browsers do not play this format; this is its first frame."
        session.shown[path] = views.medium(found["shown"], f"before: {path.name}", caption)
        return session.shown[path]

    async def _convert(
        self,
        name: str,
        direction: str,
        file: str | None,
        spoken: str | None,
        steady: float,
        faces: str,
        style: float,
        variance: float,
        retrieval: float,
        pitch: str,
        synthesis: str,
        voice: str,
        request: gr.Request,
    ) -> AsyncIterator[tuple[Any, ...]]:
        idle = (gr.Button(interactive=True), gr.Button(interactive=False))
        busy = (gr.Button(interactive=False), gr.Button(interactive=True))
        same = gr.skip()
        session = self._sessions.of(request.session_hash)
        ticket: Ticket | None = None
        try:
            if session.cancel is not None:
                raise UserError("a conversion of yours is under way; wait for it, or cancel it")
            offer = self._offers.get(name)
            if offer is None:
                raise UserError(f"{name}: there is no such model here")
            source = self._source(session, file, spoken)
            if source is None:
                raise UserError("choose a file first")
            nothing = gr.DownloadButton(value=None, interactive=False)
            yield views.told("reading the file"), same, same, nothing, *busy
            before = await self._shown(session, source)
            settings = _settings(
                offer,
                direction=direction,
                steady=steady,
                faces=faces,
                style=style,
                variance=variance,
                retrieval=retrieval,
                pitch=pitch,
                synthesis=synthesis,
            )
            target = session.new_folder() / _output_name(source, offer, direction)
            spoken_by = self._voice(voice, offer, source)
            ticket = self._conversions.submit(source, target, offer.path, settings, spoken_by)
            session.cancel = ticket.cancel
            while not ticket.ended:
                ahead = self._conversions.before(ticket)
                yield views.progress(ticket, ahead), before, same, nothing, *busy
                await asyncio.sleep(_TICK)
            yield *self._outcome(ticket, source, before), *idle
        except CycleganMediaError as error:
            yield views.wrong(str(error)), same, same, same, *idle
        finally:
            if ticket is not None:
                ticket.cancel()  # of no effect on what has ended
                session.cancel = None

    def _voice(self, key: str, offer: Offer, source: Path) -> tuple[str, str] | None:
        """The model that converts a clip's voice, and its direction."""
        if not key or offer.modality != "image" or kind_of(source) != "video":
            return None
        if key not in self._voices:
            raise UserError(f"{key}: there is no such voice here")
        _, path, way = self._voices[key]
        return path, way

    def _outcome(self, ticket: Ticket, source: Path, before: str) -> tuple[Any, Any, Any, Any]:
        nothing = gr.DownloadButton(value=None, interactive=False)
        if ticket.state == "cancelled":
            return views.told("cancelled"), before, views.empty(_NOTHING_YET), nothing
        if ticket.state == "failed":
            reason = ticket.reason.replace(f"{source.parent}/", "").replace(
                f"{ticket.output.parent}/", ""
            )
            return views.wrong(reason), before, views.empty("it could not be converted"), nothing
        notes = [note.replace(f"{source.parent}/", "") for note in ticket.notes]
        after = views.medium(ticket.output, f"after: {source.name}", ticket.output.name)
        return (
            views.told(". ".join(["done", *notes])),
            before,
            after,
            gr.DownloadButton(value=str(ticket.output), interactive=True),
        )

    def _cancel(self, request: gr.Request) -> Any:
        cancel = self._sessions.of(request.session_hash).cancel
        if cancel is not None:
            cancel()
        return gr.Button(interactive=False)


def _settings(offer: Offer, **chosen: Any) -> FileSettings:
    """What was chosen, as far as the model knows it.

    Raises:
        UserError: a value that no translation has.
    """
    values: dict[str, Any] = {"direction": chosen["direction"]}
    if offer.modality == "image":
        values |= {"steady": float(chosen["steady"]), "faces": chosen["faces"] or None}
        if offer.many:
            values["seed"] = int(chosen["style"])
    else:
        values |= {name: float(chosen[name]) for name in ("variance", "retrieval")}
        values |= {name: chosen[name] for name in ("pitch", "synthesis")}
    return FileSettings().with_options(values, "this page")


def _output_name(source: Path, offer: Offer, direction: str) -> str:
    """What a browser saves the result as; in a format that it also shows."""
    domain = offer.domains[1 if direction == "a2b" else 0]
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in domain)[:40]
    if offer.modality == "voice":
        suffix = ".wav"
    elif kind_of(source) == "image":
        suffix = source.suffix.lower()
        suffix = suffix if suffix in _PICTURES_KEPT else ".png"
    else:
        suffix = ".mp4"
    return f"{source.stem[:80]}-{safe}{suffix}"

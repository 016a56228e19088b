"""The process in which files of visitors are opened: one that crashes over a file costs no page.

Requests are ``{"look": PATH, "folder": FOLDER, "max_seconds": S}`` and ``{"translate": TASK}``, a
:class:`cyclegan_media.batch.task.Task`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cyclegan_media.batch.worker import Say, seldom, serve
from cyclegan_media.errors import CycleganMediaError


def main(parent: int) -> None:
    """Work until the parent has gone.

    Args:
        parent: its process id.
    """
    serve(parent, _begin)


def _begin() -> Callable[[dict[str, Any], Say], None]:
    work: Any = None

    def answer(request: dict[str, Any], say: Say) -> None:
        nonlocal work
        if "look" in request:
            say({"ended": _look(request)})
            return
        # Imported here, since it takes torch, which a look does not need.
        from cyclegan_media.batch.task import Task, Work

        work = work or Work()
        say({"begun": True})
        told = seldom(lambda frames, total: say({"frames": frames, "total": total}))
        say({"ended": asdict(work.translate(Task(**request["translate"]), told))})

    return answer


def _look(request: dict[str, Any]) -> dict[str, Any]:
    from cyclegan_media.web.look import look

    try:
        return asdict(look(request["look"], request["folder"], request["max_seconds"]))
    except CycleganMediaError as error:
        return {"refused": str(error)}
    except Exception as error:  # a damaged file meets the decoders in ways of its own
        return {"refused": f"cannot be read: {type(error).__name__}"}

"""Griffe extension: Sphinx's roles in docstrings become code, as Markdown writes it."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`[~.]?([^`]+)`")


class Roles(griffe.Extension):
    """Turns ``:func:`analyse` `` into ``analyse`` in the text of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)

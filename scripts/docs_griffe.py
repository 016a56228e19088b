"""Griffe extension: docstrings as Markdown wants them, with the names that recipes use."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`[~.]?([^`]+)`")
REGISTERED = re.compile(r"register(?:_term|_method)?\(['\"](\w+)['\"]\)")


class ForMarkdown(griffe.Extension):
    """Sphinx's roles become code, and classes say under which name a recipe finds them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        for decorator in cls.decorators:
            found = REGISTERED.fullmatch(str(decorator.value))
            if found and cls.docstring:
                cls.docstring.value += f"\n\nIn a recipe: `{found[1]}`."

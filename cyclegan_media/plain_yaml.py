"""YAML that others wrote, as plain data: mappings, lists, texts and numbers, of a bounded size."""

from __future__ import annotations

from typing import Any

import yaml

# The one in C is ten times as fast; which of the two reads, nobody can tell by the data.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_CHARACTERS = 100_000
MOST_VALUES = 100_000
"""Of a text in which each alias stands for all that its anchor names, as it does for who reads the
data. A few lines can so stand for billions of values."""


def read_yaml(text: str) -> Any:
    """The data in ``text``; no tag in it makes an object of any other class.

    Raises:
        ValueError: it is not YAML, names other classes, is too long, or its values are too many,
            nested too deeply or hold themselves; says which in one line.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"is longer than {MOST_CHARACTERS} characters")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MOST_VALUES:
            raise ValueError(f"holds more than {MOST_VALUES} values")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        if "nesting depth" in str(error):  # of the loader in C
            raise ValueError("is nested too deeply") from error
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    finally:
        if loader is not None:
            loader.dispose()


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, with all that it names by aliases."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = 0
        inner = [
            part for item in node.value for part in (item if isinstance(item, tuple) else [item])
        ]
        if any(known.get(id(part)) == 0 for part in inner):
            raise ValueError("holds itself by an alias")
        known[id(node)] = 1 + sum(_values(part, known) for part in inner)
    return known[id(node)]

"""Recipes that state only what they change of another: the key ``extends``.

``extends: horse2zebra`` names a known recipe, ``extends: base.yaml`` a file beside the recipe.
The sections of the two are joined key by key; what stands under a key (a network, a term, a list)
is replaced as a whole. The name is never inherited.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from cyclegan_media.errors import UserError

KEY = "extends"
_SUFFIXES = (".yaml", ".yml")

_LENGTHS = (("steps", "decay_steps"), ("epochs", "decay_epochs"))
"""Two ways to state one thing, so that whoever states the one takes back the other."""


def extended(
    content: Mapping[str, Any],
    path: Path,
    read: Callable[[Path], dict[str, Any]],
    known: Mapping[str, Path],
) -> dict[str, Any]:
    """The content of the recipe at ``path``, joined with what it extends, and that in turn.

    Args:
        read: the content of a recipe file.
        known: the recipes that may be named without a path.

    Raises:
        UserError: the base does not exist or extends, through others, the recipe itself.
    """
    chain = [path]
    result, where = dict(content), path
    while KEY in result:
        base = _find(result.pop(KEY), where, known)
        if any(_same(base, other) for other in chain):
            names = " → ".join(file.name for file in [*chain, base])
            raise UserError(f"{path}: {KEY}: the recipes extend each other in a circle: {names}")
        chain.append(base)
        inherited = read(base)
        inherited.pop("name", None)
        result, where = _joined(inherited, result), base
    return result


def _find(named: Any, where: Path, known: Mapping[str, Path]) -> Path:
    if not isinstance(named, str):
        raise UserError(f"{where}: {KEY}: give the name of a recipe or a file, not {named!r}")
    if named.endswith(_SUFFIXES):
        path = where.parent / named
        if not path.is_file():
            raise UserError(f"{where}: {KEY}: there is no file {path}")
        return path
    if named not in known:
        raise UserError(
            f"{where}: {KEY}: no recipe is called {named!r}; give a file that ends in .yaml"
            f" or one of: {', '.join(known)}"
        )
    return known[named]


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _joined(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(base)
    for key, value in changes.items():
        before = joined.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            before = drop_other_length(before, value) if key == "trainer" else before
            joined[key] = {**before, **value}
        else:
            joined[key] = value
    return joined


def drop_other_length(trainer: Mapping[str, Any], stated: Container[str]) -> dict[str, Any]:
    """``trainer`` without its length in epochs where the keys ``stated`` have one in steps, and
    the other way."""
    steps, epochs = _LENGTHS
    dropped: set[str] = set()
    for given, other in ((steps, epochs), (epochs, steps)):
        if given[0] in stated:
            dropped.update(key for key in other if key not in stated)
    return {key: value for key, value in trainer.items() if key not in dropped}

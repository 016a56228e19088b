"""A recipe's ``objective`` section ↔ the core's objective."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cyclegan_media.core import TERMS, Objective, Term, Weight
from cyclegan_media.errors import UserError
from cyclegan_media.recipe.problems import first_problem
from cyclegan_media.recipe.schema import Recipe

_WEIGHT_KEYS = {
    # key of a recipe's term: field of Weight
    "weight": "value",
    "final_weight": "final",
    "start": "start",
    "end": "end",
    "until": "until",
}
_KEYS_OF_WEIGHT = {field: key for key, field in _WEIGHT_KEYS.items()}


def build_objective(recipe: Recipe) -> Objective:
    """The objective that a recipe states.

    Raises:
        UserError: unknown term or key, or a term needs what the data does not give.
    """
    terms = {name: _term(name, keys) for name, keys in recipe.objective.items()}
    try:
        objective = Objective(terms)
    except ValueError as error:
        raise UserError(f"objective: {error}") from error
    for name, needs in objective.needs.items():
        if lacking := needs - recipe.data.gives:
            raise UserError(
                f"objective.{name}: needs {', '.join(sorted(lacking))}, which the data of this"
                " recipe does not give; leave the term out"
            )
    return objective


def _term(name: str, keys: dict[str, Any]) -> tuple[Term, Weight]:
    where = f"objective.{name}"
    cls = TERMS.get(name)
    if cls is None:
        raise UserError(f"{where}: no term is called {name!r}; there are: {', '.join(TERMS)}")
    fields = [field.name for field in dataclasses.fields(cls)]
    for key in keys:
        if key not in fields and key not in _WEIGHT_KEYS:
            known = ", ".join([*_WEIGHT_KEYS, *fields])
            raise UserError(f"{where}.{key}: unknown key; known here: {known}")
    weight = {_WEIGHT_KEYS[key]: value for key, value in keys.items() if key in _WEIGHT_KEYS}
    options = {key: value for key, value in keys.items() if key in fields}
    try:
        return (
            TypeAdapter(cls).validate_python(options),
            TypeAdapter(Weight).validate_python({"value": 1.0, **weight}),
        )
    except ValidationError as error:
        raise UserError(first_problem(error, where, _KEYS_OF_WEIGHT)) from error


def complete_objective(objective: Objective) -> dict[str, dict[str, Any]]:
    """The inverse of :func:`build_objective`: the section with every default written out."""
    section: dict[str, dict[str, Any]] = {}
    for name, (term, weight) in objective.terms.items():
        schedule = {
            _KEYS_OF_WEIGHT[field.name]: getattr(weight, field.name)
            for field in dataclasses.fields(weight)
            if getattr(weight, field.name) != field.default
        }
        section[name] = {**schedule, **dataclasses.asdict(term)}  # type: ignore[call-overload]
    return section

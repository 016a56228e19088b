"""A recipe's ``method`` and ``objective`` ↔ the core's objective."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from cyclegan_media.core import METHODS, TERMS, Objective, Term, Weight, lacks
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
    """The objective that a recipe states, for the method that it names.

    Raises:
        UserError: unknown method, term or key; or a term or the method needs what the data does
            not give, or the term what the method does not; or the data gives what nothing needs.
    """
    method = METHODS.get(recipe.method)
    if method is None:
        known = ", ".join(METHODS)
        raise UserError(f"method: no method is called {recipe.method!r}; there are: {known}")
    terms = {name: _term(name, keys) for name, keys in recipe.objective.items()}
    for name, (term, _) in terms.items():
        if lacking := lacks(method, term):
            raise UserError(
                f"objective.{name}: reads {', '.join(lacking)}, which method {recipe.method!r}"
                " does not compute; leave the term out or choose another method"
            )
    needs = {
        f"method {recipe.method!r}": method.needs,
        **{f"objective.{name}": term.needs for name, (term, _) in terms.items()},
    }
    _check_data(recipe, needs)
    try:
        return Objective(terms, method)
    except ValueError as error:
        raise UserError(f"objective: {error}") from error


def _check_data(recipe: Recipe, needs: dict[str, frozenset[str]]) -> None:
    switches, gives = recipe.data.switches, recipe.data.gives
    for who, wanted in needs.items():
        if lacking := sorted(wanted - gives):
            keys = [f"data.{switches[name]}" for name in lacking if name in switches]
            help_ = f"set {' and '.join(keys)}" if len(keys) == len(lacking) else "leave it out"
            raise UserError(
                f"{who}: needs {', '.join(lacking)}, which the data of this recipe does not give;"
                f" {help_}"
            )
    for name, key in switches.items():
        if name in gives - frozenset().union(*needs.values()):
            raise UserError(f"data.{key}: gives {name}, which nothing in this recipe needs")


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
    _check_schedules(where, cls, options)
    try:
        return (
            TypeAdapter(cls).validate_python(options),
            TypeAdapter(Weight).validate_python({"value": 1.0, **weight}),
        )
    except ValidationError as error:
        raise UserError(first_problem(error, where, _KEYS_OF_WEIGHT)) from error


def _check_schedules(where: str, cls: type[Term], options: dict[str, Any]) -> None:
    """Refuse unknown keys of options that are schedules; dataclasses let them pass."""
    kinds = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(Weight)]
    for key, value in options.items():
        if kinds[key] is Weight and isinstance(value, dict):
            for unknown in value.keys() - set(known):
                raise UserError(
                    f"{where}.{key}.{unknown}: unknown key; known here: {', '.join(known)}"
                )


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

"""A River model that has learned goes on under another text: for the hyper-parameters that River lets change."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

from river import base, compose
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec

__all__ = ["changes", "check_same_question"]


def check_same_question(old: EngineSpec, new: EngineSpec) -> None:
    """Raise ConfigError where the two specs differ in more than the model text and the engine's options."""
    problems = []
    for what, before, after in (
        ("task", old.task, new.task),
        ("INPUT", _columns(old.inputs), _columns(new.inputs)),
        ("OUTPUT", _columns((old.output,)), _columns((new.output,))),
    ):
        if before != after:
            remedy = "Put it back; what a model has learned belongs to its columns."
            problems.append(Problem(what, f"was '{before}' and is '{after}'.", remedy))
    if problems:
        raise ConfigError(problems)


def changes(old: Any, new: Any) -> dict[str, Any]:
    """Return what makes one River model of another, as River's ``mutate`` takes it.

    Parameters
    ----------
    old, new : river estimator
        Of the two texts; neither has learned anything.

    Raises
    ------
    ConfigError
        Lists every difference that River does not let change in a model that has learned.
    """
    problems: list[Problem] = []
    found = _compare(old, new, type(new).__name__, problems)
    if problems:
        raise ConfigError(problems)
    return found


def _compare(old: Any, new: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    if type(old) is not type(new):
        what = f"was {type(old).__name__} and is {type(new).__name__}."
        problems.append(Problem(where, what, "Another estimator has to learn anew."))
        return {}
    before, after = dict(_parts(old)), dict(_parts(new))
    if list(before) != list(after):
        what = f"had the steps {', '.join(before)} and has {', '.join(after)}."
        problems.append(Problem(where, what, "Other steps have to learn anew."))
        return {}
    found: dict[str, Any] = {}
    mutable = before.keys() if hasattr(old, "steps") or hasattr(old, "transformers") else old._mutable_attributes  # noqa: SLF001
    for name, value in before.items():
        other, place = after[name], f"{where}, {name}"
        if isinstance(value, base.Base) and type(value) is type(other):
            inner = _compare(value, other, place, problems)
            if inner and name not in mutable:
                problems.append(Problem(place, "cannot change in a model that has learned.", "Put it back."))
            elif inner:
                found[name] = inner
        elif not _same(value, other):
            if name in mutable:
                found[name] = other
            else:
                what = f"was {_told(value)} and is {_told(other)}, and River keeps it for a model's life."
                problems.append(Problem(place, what, "Put it back."))
    return found


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the steps of a pipeline, the branches of a union, the parameters of anything else; Select has a set."""
    if hasattr(model, "steps"):
        yield from model.steps.items()
    elif hasattr(model, "transformers"):
        yield from model.transformers.items()
    else:
        if isinstance(model, (compose.Select, compose.Discard)):
            yield "keys", repr(model)
            return
        names = [name for name in signature(type(model)).parameters if hasattr(model, name)]
        yield from ((name, getattr(model, name)) for name in names)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, base.Base) or isinstance(other, base.Base):
        return repr(one) == repr(other)
    return bool(one == other) and type(one) is type(other)


def _told(value: Any) -> str:
    return " ".join(repr(value).split())[:80]


def _columns(fields: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in fields)

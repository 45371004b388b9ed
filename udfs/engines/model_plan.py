"""What a model text means, as data: constructors and what they are given, audited and not yet built."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, TypeAlias

from thalweg.connector.errors import ConfigError, Problem

__all__ = ["Call", "Class", "Group", "Join", "Literal", "Plan", "Table", "calls_of", "construct", "signature_of"]


@dataclass(frozen=True)
class Literal:
    """A number, a text, True, False or None."""

    value: object


@dataclass(frozen=True)
class Class:
    """A class handed over as it is, for the few parameters that want one."""

    cls: type


@dataclass(frozen=True)
class Group:
    """A list, a tuple or a set."""

    make: type
    items: tuple[Plan, ...]


@dataclass(frozen=True)
class Table:
    """A dictionary."""

    items: tuple[tuple[Plan, Plan], ...]


@dataclass(frozen=True)
class Join:
    """Two parts put together: ``|`` in sequence, ``+`` side by side, ``*`` as products or per group."""

    join: Any
    left: Plan
    right: Plan
    where: str


@dataclass(frozen=True)
class Call:
    """A constructor with its arguments.

    Attributes
    ----------
    name : str
        As in the text, without ``river.``.
    ordinal : int
        Its place in the text, from 0.
    unseeded : tuple of str
        Its seeds that were not given.
    limits : tuple of (str, object)
        Bounds of its growth that were not given.
    """

    name: str
    cls: type
    args: tuple[Plan, ...]
    kwargs: tuple[tuple[str, Plan], ...]
    where: str
    ordinal: int
    unseeded: tuple[str, ...]
    limits: tuple[tuple[str, object], ...] = ()


Plan: TypeAlias = "Literal | Class | Group | Table | Join | Call"


def calls_of(plan: Plan) -> list[Call]:
    """Return all constructors in ``plan``."""
    if isinstance(plan, Call):
        inner = [call for part in (*plan.args, *(value for _, value in plan.kwargs)) for call in calls_of(part)]
        return [plan, *inner]
    if isinstance(plan, Join):
        return calls_of(plan.left) + calls_of(plan.right)
    if isinstance(plan, Group):
        return [call for item in plan.items for call in calls_of(item)]
    if isinstance(plan, Table):
        return [call for _, value in plan.items for call in calls_of(value)]
    return []


def signature_of(name: str, cls: type) -> str:
    """Return the sentence that shows how a class is to be called."""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(cls).parameters.values()]
    return f"Its signature is {name}{inspect.Signature(plain)}."


def construct(plan: Plan, seed: int) -> Any:
    """Return what ``plan`` describes.

    Raises
    ------
    ConfigError
        A constructor or an operator refused what it was given.
    """
    if isinstance(plan, Literal):
        return plan.value
    if isinstance(plan, Class):
        return plan.cls
    if isinstance(plan, Group):
        return plan.make(construct(item, seed) for item in plan.items)
    if isinstance(plan, Table):
        return {construct(key, seed): construct(value, seed) for key, value in plan.items}
    if isinstance(plan, Join):
        left, right = construct(plan.left, seed), construct(plan.right, seed)
        try:
            return plan.join(left, right)
        except Exception as error:
            what = f"these two parts cannot be joined ({error})."
            raise ConfigError(
                [Problem(f"model text, {plan.where}", what, "Join transformers, then one estimator at the end.")]
            ) from error
    args = [construct(arg, seed) for arg in plan.args]
    kwargs = {name: construct(value, seed) for name, value in plan.kwargs}
    kwargs.update(dict.fromkeys(plan.unseeded, seed + plan.ordinal))
    kwargs.update(plan.limits)
    try:
        return plan.cls(*args, **kwargs)
    except Exception as error:
        what = f"{plan.name} refuses its arguments ({error})."
        raise ConfigError([Problem(f"model text, {plan.where}", what, signature_of(plan.name, plan.cls))]) from error

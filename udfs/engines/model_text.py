"""The text of a River model, read without running it: parse, audit, then construct.

Python's own parser makes a tree out of the text and nothing more. The walk over that tree knows a handful of shapes
(constructors, literals, ``|``, ``+``, ``*``); all else is refused with its column. Names resolve only to public classes
of the modules listed in ``river_names``, so no text can reach a file, a socket, a function or an attribute.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.model_plan import Call, Join, Literal, Plan, calls_of, construct
from thalweg.udfs.engines.model_reader import MAX_DEPTH, ModelReader
from thalweg.udfs.engines.river_limits import growth_advice
from thalweg.udfs.engines.river_names import advise

__all__ = ["MAX_LENGTH", "ModelText", "parse"]

MAX_LENGTH = 20_000
"""Characters."""


@dataclass(frozen=True)
class ModelText:
    """A model text that has passed the audit; nothing is built yet.

    Attributes
    ----------
    text : str
        The text as it was given.
    names : tuple of str
        The River classes it constructs, in the order of the text.
    advice : tuple of str
        Settings that are legal and known to go wrong; not errors.
    """

    text: str
    names: tuple[str, ...]
    advice: tuple[str, ...]
    plan: Plan

    def construct(self, seed: int = 0) -> Any:
        """Return a fresh River model.

        Parameters
        ----------
        seed : int
            Every component that draws random numbers and was given no seed gets ``seed`` plus its place in the text, so
            that two runs agree and two components do not move together.

        Raises
        ------
        ConfigError
            A constructor refused its arguments; the remedy shows its signature.
        """
        return construct(self.plan, seed)


def parse(text: str) -> ModelText:
    """Read and audit a model text.

    Parameters
    ----------
    text : str
        For instance ``preprocessing.StandardScaler() | linear_model.LogisticRegression()``. The prefix ``river.`` is
        allowed, line breaks count as spaces.

    Raises
    ------
    ConfigError
        With all offenders at once: each names its column, the reason and a remedy.

    Examples
    --------
    >>> model = parse("preprocessing.StandardScaler() | linear_model.LogisticRegression(optimizer=optim.SGD(0.05))")
    >>> model.names
    ('preprocessing.StandardScaler', 'linear_model.LogisticRegression', 'optim.SGD')
    >>> str(model.construct())
    'StandardScaler | LogisticRegression'
    >>> parse("optim.SGD(lambda t: t)")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    thalweg.connector.errors.ConfigError: model text, column 11: a lambda is code. Write the model ...
    """
    flat = "".join(" " if char in "\r\n\t\f" else char for char in text)
    reader = ModelReader()
    plan = reader.read(_tree(flat))
    if plan is not None and not reader.problems and not isinstance(plan, (Call, Join)):
        reader.refuse("column 1", "this is a value, not a model.", "Begin with a constructor.")
    if plan is None or reader.problems:
        raise ConfigError(reader.problems)
    calls = sorted(calls_of(plan), key=lambda call: call.ordinal)
    arguments = [(call.name, frozenset(name for name, _ in call.kwargs), literals_of(call)) for call in calls]
    names = tuple(call.name for call in calls)
    endless = filter(None, (growth_advice(name, names) for name in dict.fromkeys(names)))
    return ModelText(text, names, (*advise(arguments), *endless), plan)


def _tree(text: str) -> ast.expr:
    where = "model text"
    if not text.strip():
        raise ConfigError([Problem(where, "is empty.", "Give a River model, such as tree.HoeffdingTreeClassifier().")])
    if len(text) > MAX_LENGTH:
        raise ConfigError([Problem(where, f"has {len(text)} characters.", f"The limit is {MAX_LENGTH}.")])
    remedy = "Write constructors joined by '|' and '+', as in a.B(c=1) | d.E()."
    lead = len(text) - len(text.lstrip())
    try:
        return _shift(ast.parse(text.strip(), mode="eval").body, lead)
    except SyntaxError as error:
        column = (error.offset or 1) + lead
        raise ConfigError([Problem(f"{where}, column {column}", f"cannot be read ({error.msg}).", remedy)]) from None
    except (RecursionError, MemoryError):
        raise ConfigError([Problem(where, "is nested too deeply.", f"The limit is {MAX_DEPTH} levels.")]) from None
    except ValueError as error:
        raise ConfigError([Problem(where, f"cannot be read ({error}).", remedy)]) from None


def _shift(tree: ast.expr, columns: int) -> ast.expr:
    if columns:
        for node in ast.walk(tree):
            if hasattr(node, "col_offset"):
                node.col_offset += columns
    return tree


def literals_of(call: Call) -> dict[str, object]:
    bound = inspect.signature(call.cls).bind(*call.args, **dict(call.kwargs)).arguments
    return {name: value.value if isinstance(value, Literal) else value for name, value in bound.items()}

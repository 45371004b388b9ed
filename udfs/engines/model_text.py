"""The text of a River model, read without running it: parse, audit, then construct.

Python's own parser makes a tree out of the text and nothing more. The walk over that tree knows a handful of shapes
(constructors, literals, ``|``, ``+``, ``*``); all else is refused with its column. Names resolve only to public classes
of the modules listed in ``river_names``, so no text can reach a file, a socket, a function or an attribute.
"""

from __future__ import annotations

import ast
import inspect
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.river_names import VALUE_TYPES, advise, lacks, resolve

__all__ = ["ModelText", "parse"]

MAX_LENGTH = 20_000
MAX_DEPTH = 40

_SIGNS = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_JOINS = {ast.BitOr: operator.or_, ast.Add: operator.add, ast.Mult: operator.mul}
_REFUSED: dict[type[ast.AST], str] = {
    ast.Lambda: "a lambda is code",
    ast.Attribute: "an attribute of a result is not a constructor",
    ast.ListComp: "a comprehension is code",
    ast.SetComp: "a comprehension is code",
    ast.DictComp: "a comprehension is code",
    ast.GeneratorExp: "a comprehension is code",
    ast.JoinedStr: "an f-string is code",
    ast.Starred: "'*' unpacking hides the arguments",
    ast.NamedExpr: "an assignment is code",
    ast.IfExp: "a condition is code",
    ast.Subscript: "an index is code",
    ast.Compare: "a comparison is code",
    ast.BoolOp: "'and' and 'or' are code",
}


@dataclass(frozen=True)
class _Literal:
    value: object


@dataclass(frozen=True)
class _Class:
    """A class handed over as it is, for the few parameters that want one."""

    cls: type


@dataclass(frozen=True)
class _Group:
    """A list, a tuple or a set."""

    make: type
    items: tuple[_Plan, ...]


@dataclass(frozen=True)
class _Mapping:
    items: tuple[tuple[_Plan, _Plan], ...]


@dataclass(frozen=True)
class _Join:
    """Two parts put together: ``|`` in sequence, ``+`` side by side, ``*`` as products or per group."""

    join: Any
    left: _Plan
    right: _Plan
    where: str


@dataclass(frozen=True)
class _Call:
    name: str
    cls: type
    args: tuple[_Plan, ...]
    kwargs: tuple[tuple[str, _Plan], ...]
    where: str
    ordinal: int
    unseeded: tuple[str, ...]


_Plan: TypeAlias = "_Literal | _Class | _Group | _Mapping | _Join | _Call"


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
    plan: _Plan

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
        return _construct(self.plan, seed)


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
    reader = _Reader()
    plan = reader.read(_tree(flat))
    if plan is not None and not reader.problems and not isinstance(plan, (_Call, _Join)):
        reader.refuse("column 1", "this is a value, not a model.", "Begin with a constructor.")
    if plan is None or reader.problems:
        raise ConfigError(reader.problems)
    calls = sorted(_calls(plan), key=lambda call: call.ordinal)
    arguments = [(call.name, frozenset(name for name, _ in call.kwargs), _literals(call)) for call in calls]
    return ModelText(text, tuple(call.name for call in calls), tuple(advise(arguments)), plan)


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


class _Reader:
    """One walk over the tree, collecting every problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._ordinal = 0

    def refuse(self, where: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(f"model text, {where}", what, remedy))

    def read(self, node: ast.expr, depth: int = 0) -> _Plan | None:
        where = f"column {node.col_offset + 1}"
        if depth > MAX_DEPTH:
            self.refuse(where, "is nested too deeply.", f"The limit is {MAX_DEPTH} levels.")
            return None
        if isinstance(node, ast.Constant):
            return self._constant(node.value, where)
        if isinstance(node, ast.UnaryOp):
            return self._signed(node, where)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            make = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            items = [self.read(item, depth + 1) for item in node.elts]
            return _Group(make, tuple(item for item in items if item is not None))
        if isinstance(node, ast.Dict):
            return self._dictionary(node, where, depth)
        if isinstance(node, ast.BinOp):
            return self._join(node, where, depth)
        if isinstance(node, ast.Call):
            return self._call(node, where, depth)
        if isinstance(node, (ast.Name, ast.Attribute)) and _dotted(node) is not None:
            return self._reference(node, where)
        what = _REFUSED.get(type(node), f"'{type(node).__name__.lower()}' has no place in a model text")
        self.refuse(where, f"{what}.", "Write the model with constructors, literals, '|' and '+' alone.")
        return None

    def _constant(self, value: object, where: str) -> _Plan | None:
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(where, "this number is not finite.", "Give a finite number.")
            return None
        if value is None or isinstance(value, (bool, int, float, str)):
            return _Literal(value)
        self.refuse(
            where, f"a {type(value).__name__} is not a value of a model text.", "Give a number, a text or True."
        )
        return None

    def _signed(self, node: ast.UnaryOp, where: str) -> _Plan | None:
        sign, operand = _SIGNS.get(type(node.op)), node.operand
        number = operand.value if isinstance(operand, ast.Constant) else None
        if sign is None or isinstance(number, bool) or not isinstance(number, (int, float)):
            self.refuse(where, "a sign belongs before a number.", "Write the number out.")
            return None
        return self._constant(sign(number), where)

    def _dictionary(self, node: ast.Dict, where: str, depth: int) -> _Plan | None:
        pairs: list[tuple[_Plan, _Plan]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self.refuse(where, "'**' unpacking hides the entries.", "Write the entries out.")
                continue
            plan = self.read(key, depth + 1), self.read(value, depth + 1)
            if not isinstance(plan[0], _Literal):
                self.refuse(where, "a key must be a number or a text.", "Write the key as a literal.")
            elif plan[1] is not None:
                pairs.append((plan[0], plan[1]))
        return _Mapping(tuple(pairs))

    def _join(self, node: ast.BinOp, where: str, depth: int) -> _Plan | None:
        join = _JOINS.get(type(node.op))
        left, right = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
        if join is None:
            self.refuse(where, "only '|', '+' and '*' join models.", "Write numbers out.")
            return None
        if left is None or right is None:
            return None
        # ('name', step) | step is River's way to name a step; a group by features is written transformer * 'feature'.
        right_values = (_Literal, _Group) if join is operator.mul else (_Group,)
        if not isinstance(left, (_Call, _Join, _Group)) or not isinstance(right, (_Call, _Join, *right_values)):
            self.refuse(where, "models are joined here with a value.", "Arithmetic is not done; write the value out.")
            return None
        return _Join(join, left, right, where)

    def _reference(self, node: ast.expr, where: str) -> _Plan | None:
        name = _dotted(node) or ""
        if name in VALUE_TYPES:
            return _Class(VALUE_TYPES[name])
        found = resolve(name)
        if isinstance(found, Problem):
            self.refuse(where, found.what, found.remedy)
            return None
        if found.__module__ == "river.neural_net.activations":
            return _Class(found)
        self.refuse(where, f"'{name}' is a class, not an object.", f"Write {name}().")
        return None

    def _call(self, node: ast.Call, where: str, depth: int) -> _Plan | None:
        name = _dotted(node.func)
        if name is None:
            what = _REFUSED.get(type(node.func), "the result of an expression is called")
            self.refuse(where, f"{what}.", "Write the model with constructors, literals, '|' and '+' alone.")
            return None
        name = name.removeprefix("river.")
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        found = resolve(name)
        if isinstance(found, Problem):
            self.refuse(where, found.what, found.remedy)
        args = [self.read(arg, depth + 1) for arg in node.args]
        kwargs: list[tuple[str, _Plan | None]] = []
        for keyword in node.keywords:
            if keyword.arg is None:
                self.refuse(where, "'**' unpacking hides the arguments.", "Write the arguments out.")
            else:
                kwargs.append((keyword.arg, self.read(keyword.value, depth + 1)))
        if isinstance(found, Problem):
            return None
        given: dict[str, Any] = {}
        try:
            given = inspect.signature(found).bind(*args, **dict(kwargs)).arguments
        except TypeError as error:
            self.refuse(where, f"{name}: {error}.", _signature(name, found))
        else:
            if problem := lacks(name, given):
                self.refuse(where, problem.what, problem.remedy)
        return _Call(
            name,
            found,
            tuple(arg for arg in args if arg is not None),
            tuple((key, value) for key, value in kwargs if value is not None),
            where,
            ordinal,
            _unseeded(found, given),
        )


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _signature(name: str, cls: type) -> str:
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in inspect.signature(cls).parameters.values()]
    return f"Its signature is {name}{inspect.Signature(plain)}."


def _unseeded(cls: type, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the seeds of ``cls`` that were not given."""
    names = inspect.signature(cls).parameters.keys() & {"seed", "random_state"}
    if cls.__name__ == "STREAMKMeans":  # hands its keyword arguments on to a KMeans of its own
        given, names = given.get("kwargs", {}), {"seed"}
    return tuple(sorted(name for name in names if given.get(name) in (None, _Literal(None))))


def _calls(plan: _Plan) -> list[_Call]:
    if isinstance(plan, _Call):
        inner = [call for part in (*plan.args, *(value for _, value in plan.kwargs)) for call in _calls(part)]
        return [plan, *inner]
    if isinstance(plan, _Join):
        return _calls(plan.left) + _calls(plan.right)
    if isinstance(plan, _Group):
        return [call for item in plan.items for call in _calls(item)]
    if isinstance(plan, _Mapping):
        return [call for _, value in plan.items for call in _calls(value)]
    return []


def _literals(call: _Call) -> dict[str, object]:
    bound = inspect.signature(call.cls).bind(*call.args, **dict(call.kwargs)).arguments
    return {name: value.value if isinstance(value, _Literal) else value for name, value in bound.items()}


def _construct(plan: _Plan, seed: int) -> Any:
    if isinstance(plan, _Literal):
        return plan.value
    if isinstance(plan, _Class):
        return plan.cls
    if isinstance(plan, _Group):
        return plan.make(_construct(item, seed) for item in plan.items)
    if isinstance(plan, _Mapping):
        return {_construct(key, seed): _construct(value, seed) for key, value in plan.items}
    if isinstance(plan, _Join):
        left, right = _construct(plan.left, seed), _construct(plan.right, seed)
        try:
            return plan.join(left, right)
        except Exception as error:
            what = f"these two parts cannot be joined ({error})."
            raise ConfigError(
                [Problem(f"model text, {plan.where}", what, "Join transformers, then one estimator at the end.")]
            ) from error
    args = [_construct(arg, seed) for arg in plan.args]
    kwargs = {name: _construct(value, seed) for name, value in plan.kwargs}
    kwargs.update(dict.fromkeys(plan.unseeded, seed + plan.ordinal))
    try:
        return plan.cls(*args, **kwargs)
    except Exception as error:
        what = f"{plan.name} refuses its arguments ({error})."
        raise ConfigError([Problem(f"model text, {plan.where}", what, _signature(plan.name, plan.cls))]) from error

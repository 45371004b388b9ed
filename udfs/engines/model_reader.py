"""The tree of a model text, walked once: a handful of shapes is known, all else is refused with its column."""

from __future__ import annotations

import ast
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from thalweg.connector.errors import Problem
from thalweg.udfs.engines.model_plan import Call, Class, Group, Join, Literal, Plan, Table, signature_of
from thalweg.udfs.engines.river_limits import limits_of
from thalweg.udfs.engines.river_names import VALUE_TYPES, lacks, resolve

__all__ = ["MAX_DEPTH", "ModelReader"]

MAX_DEPTH = 40
"""Levels of nesting."""

_SIGNS: dict[type[ast.AST], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
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


class ModelReader:
    """One walk over the tree of a model text.

    Attributes
    ----------
    problems : list of Problem
        Everything that was refused.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._ordinal = 0

    def refuse(self, where: str, what: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(f"model text, {where}", what, remedy))

    def read(self, node: ast.expr, depth: int = 0) -> Plan | None:
        """Return what a node means; None if it is refused."""
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
            if make is set and not all(item is None or isinstance(item, Literal) for item in items):
                self.refuse(where, "a set holds numbers and texts.", "Write a list.")
            return Group(make, tuple(item for item in items if item is not None))
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

    def _constant(self, value: object, where: str) -> Plan | None:
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(where, "this number is not finite.", "Give a finite number.")
            return None
        if value is None or isinstance(value, (bool, int, float, str)):
            return Literal(value)
        self.refuse(
            where, f"a {type(value).__name__} is not a value of a model text.", "Give a number, a text or True."
        )
        return None

    def _signed(self, node: ast.UnaryOp, where: str) -> Plan | None:
        sign, operand = _SIGNS.get(type(node.op)), node.operand
        number = operand.value if isinstance(operand, ast.Constant) else None
        if sign is None or isinstance(number, bool) or not isinstance(number, (int, float)):
            self.refuse(where, "a sign belongs before a number.", "Write the number out.")
            return None
        return self._constant(sign(number), where)

    def _dictionary(self, node: ast.Dict, where: str, depth: int) -> Plan | None:
        pairs: list[tuple[Plan, Plan]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self.refuse(where, "'**' unpacking hides the entries.", "Write the entries out.")
                continue
            plan = self.read(key, depth + 1), self.read(value, depth + 1)
            if not isinstance(plan[0], Literal):
                self.refuse(where, "a key must be a number or a text.", "Write the key as a literal.")
            elif plan[1] is not None:
                pairs.append((plan[0], plan[1]))
        return Table(tuple(pairs))

    def _join(self, node: ast.BinOp, where: str, depth: int) -> Plan | None:
        join = _JOINS.get(type(node.op))
        left, right = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
        if join is None:
            self.refuse(where, "only '|', '+' and '*' join models.", "Write numbers out.")
            return None
        if left is None or right is None:
            return None
        # ('name', step) | step is River's way to name a step; a group by features is written transformer * 'feature'.
        right_values = (Literal, Group) if join is operator.mul else (Group,)
        if not isinstance(left, (Call, Join, Group)) or not isinstance(right, (Call, Join, *right_values)):
            self.refuse(where, "models are joined here with a value.", "Arithmetic is not done; write the value out.")
            return None
        return Join(join, left, right, where)

    def _reference(self, node: ast.expr, where: str) -> Plan | None:
        name = _dotted(node) or ""
        if name in VALUE_TYPES:
            return Class(VALUE_TYPES[name])
        found = resolve(name)
        if isinstance(found, Problem):
            self.refuse(where, found.what, found.remedy)
            return None
        if found.__module__ == "river.neural_net.activations":
            return Class(found)
        self.refuse(where, f"'{name}' is a class, not an object.", f"Write {name}().")
        return None

    def _call(self, node: ast.Call, where: str, depth: int) -> Plan | None:
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
        kwargs: list[tuple[str, Plan | None]] = []
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
            self.refuse(where, f"{name}: {error}.", signature_of(name, found))
        else:
            if problem := lacks(name, given):
                self.refuse(where, problem.what, problem.remedy)
        return Call(
            name,
            found,
            tuple(arg for arg in args if arg is not None),
            tuple((key, value) for key, value in kwargs if value is not None),
            where,
            ordinal,
            _unseeded(found, given),
            limits_of(name, found, given),
        )


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _unseeded(cls: type, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the seeds of ``cls`` that were not given."""
    names = inspect.signature(cls).parameters.keys() & {"seed", "random_state"}
    if cls.__name__ == "STREAMKMeans":  # hands its keyword arguments on to a KMeans of its own
        given, names = given.get("kwargs", {}), {"seed"}
    return tuple(sorted(name for name in names if given.get(name) in (None, Literal(None))))

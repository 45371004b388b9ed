"""River's trees as tensors: tables of nodes, and all trees of a forest gone down together, one level at a time.

Thresholds stay doubles and comparisons River's, which the tree operators of older ONNX versions, in float32, are not.
A feature that is missing, or a value without a branch, goes where most rows went, as in River.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from river.tree.base import Branch
from river.tree.nodes import branch as branches
from thalweg.udfs.engines.river_to_onnx_frame import Column, Frame, refuse

__all__ = ["Forest"]

_MISSING, _FIRST = 0, 1  # of a branch's children in the table: where a missing value goes, then one per branch
_NOMINAL = math.nan  # the threshold of a branch by value


class Forest:
    """Some trees, and the leaf that each row reaches in each of them.

    Parameters
    ----------
    frame : Frame
        The features.
    roots : sequence
        The root of each tree; anything that is no branch is a leaf.

    Attributes
    ----------
    leaves : list of list
        The leaves of each tree. They are numbered through all trees, in this order.
    branches : list
        The branches of all trees.
    places : list of str
        Per tree, the number of each row's leaf: int32, [rows].
    """

    def __init__(self, frame: Frame, roots: Sequence[Any]) -> None:
        self._frame, self._graph = frame, frame.graph
        self.leaves = [[node for node, _ in _walk(root) if not isinstance(node, Branch)] for root in roots]
        self.branches = inner = [node for root in roots for node, _ in _walk(root) if isinstance(node, Branch)]
        leaves = [leaf for tree in self.leaves for leaf in tree]
        self._number = {id(node): at for at, node in enumerate([*leaves, *inner])}
        self._slots: dict[tuple[Any, ...], int] = {}
        self._values: dict[str, list[Any]] = _nominal_values(inner)
        self._columns: list[str] = []
        tables = self._tables(leaves, inner)
        depth = max((depth for root in roots for _, depth in _walk(root)), default=0)
        starts = [self._number[id(root)] for root in roots]
        self.places = self._descend(tables, starts, depth)

    def _tables(self, leaves: Sequence[Any], inner: Sequence[Any]) -> tuple[str, str, str, str]:
        """Return column, threshold, and place of the first child of each node, and all children."""
        self._found = self._frame.find_all(str(node.feature) for node in inner)
        column, threshold = [0] * len(leaves), [math.inf] * len(leaves)
        first = [3 * at for at in range(len(leaves))]
        children = [at for at in range(len(leaves)) for _ in range(3)]  # a leaf stays where it is
        for node in inner:
            slot, bound, found = self._branch(node)
            column.append(slot)
            threshold.append(bound)
            first.append(len(children))
            children.extend(self._number[id(child)] for child in found)
        whole = [self._graph.const(table, np.int32) for table in (column, first, children)]
        return whole[0], self._graph.const(threshold), whole[1], whole[2]

    def _branch(self, node: Any) -> tuple[int, float, list[Any]]:
        """Return the column that a branch looks at, its threshold, and its children: that of a missing value first."""
        name = str(node.feature)
        _, usual = node.most_common_path()
        source = self._found[name]
        if source is None:
            return self._slot("nothing", name), _NOMINAL, [usual, usual]
        if isinstance(node, branches.NumericBinaryBranch):
            if not isinstance(source, Column):
                raise _unknown(node, "compares a text with a number")
            return self._slot("number", name), float(node.threshold), [usual, *node.children]
        if isinstance(node, branches.NumericMultiwayBranch):
            slots = tuple(node._mapping)  # noqa: SLF001
            ways = [node.children[node._mapping[slot]] for slot in slots]  # noqa: SLF001
            return self._slot("radius", name, float(node.radius), slots), _NOMINAL, [usual, usual, *ways]
        known = self._known(name)
        if isinstance(node, branches.NominalBinaryBranch):
            same, other = node.children
            ways = [same if value == node.value else other for value in known]
            return self._slot("value", name), _NOMINAL, [usual, other, *ways]
        if isinstance(node, branches.NominalMultiwayBranch):
            places = node._mapping  # noqa: SLF001
            ways = [node.children[places[value]] if value in places else usual for value in known]
            return self._slot("value", name), _NOMINAL, [usual, usual, *ways]
        raise _unknown(node, "is of a kind that is not known here")

    def _slot(self, kind: str, name: str, *more: Any) -> int:
        """Return the column of the matrix that holds a feature in some form."""
        key = (kind, name, *more)
        if key not in self._slots:
            self._slots[key] = len(self._slots)
            self._columns.append(self._column(kind, name, *more))
        return self._slots[key]

    def _known(self, name: str) -> list[Any]:
        source = self._found[name]
        kinds = (bool, int, float) if isinstance(source, Column) else (str,)
        return [value for value in self._values[name] if isinstance(value, kinds)]

    def _column(self, kind: str, name: str, *more: Any) -> str:
        """Return a feature as numbers [rows, 1], NaN where it is missing: itself, or the number of its value."""
        graph, source = self._graph, self._found[name]
        if source is None:
            return graph.rows([math.nan])
        if kind == "value":
            code, _ = self._frame.code(source, self._known(name))
        elif not isinstance(source, Column):
            raise refuse("tree", f"computes with the text '{name}'.", "Declare the feature as it was learned.")
        elif kind == "number":
            value, present = self._frame.gather([source])
            return graph.node("Where", present, value, graph.number(math.nan))
        else:
            radius, slots = more
            value, present = self._frame.gather([source])
            floor = graph.node("Floor", graph.node("Div", value, graph.number(radius)))
            code, _ = self._frame.code(Column(floor, present, 0, "number"), list(slots))
        missing = graph.node("Less", code, graph.number(0))
        return graph.node("Where", missing, graph.number(math.nan), code)

    def _descend(self, tables: tuple[str, str, str, str], starts: Sequence[int], depth: int) -> list[str]:
        graph = self._graph
        column, threshold, first, children = tables
        start = graph.const([list(starts)], np.int32)
        at = graph.node("Add", graph.node("Cast", graph.zeros(), to=6), start)
        if depth:
            matrix = graph.joined(self._columns)
            nominal = any(key[0] != "number" for key in self._slots)
            way = [graph.const(number, np.int32) for number in (_MISSING, _FIRST, _FIRST + 1)]
        for _ in range(depth):
            value = graph.node("GatherElements", matrix, graph.node("Gather", column, at), axis=1)
            bound = graph.node("Gather", threshold, at)
            step = graph.node("Where", graph.node("LessOrEqual", value, bound), way[1], way[2])
            missing = graph.node("IsNaN", value)
            if nominal:
                # The cast of a number that is no code has no meaning, and is not used.
                code = graph.node("Where", missing, graph.const(0.0), graph.node("Clip", value, *self._codes()))
                other = graph.node("Add", graph.node("Cast", code, to=6), way[1])
                step = graph.node("Where", graph.node("IsNaN", bound), other, step)
            step = graph.node("Where", missing, way[0], step)
            at = graph.node("Gather", children, graph.node("Add", graph.node("Gather", first, at), step))
        if len(starts) == 1:
            return [graph.node("Squeeze", at, graph.const([1], np.int64))]
        return [graph.node("Gather", at, graph.const(tree, np.int32), axis=1) for tree in range(len(starts))]

    def _codes(self) -> tuple[str, str]:
        return self._graph.const(0.0), self._graph.const(2.0**30)


def _walk(root: Any) -> Iterator[tuple[Any, int]]:
    """Yield each node of a tree and its depth, a branch before its children."""
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if isinstance(node, Branch):
            waiting.extend((child, depth + 1) for child in reversed(node.children))


def _nominal_values(inner: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the values that the branches tell apart, by feature."""
    found: dict[str, dict[Any, None]] = {}
    for node in inner:
        values = found.setdefault(str(node.feature), {})
        if isinstance(node, branches.NominalBinaryBranch):
            values[node.value] = None
        elif isinstance(node, branches.NominalMultiwayBranch):
            values.update(dict.fromkeys(node._mapping))  # noqa: SLF001
    return {name: list(values) for name, values in found.items()}


def _unknown(node: Any, what: str) -> Exception:
    return refuse(f"branch {type(node).__name__}", f"{what}.", "Use tree.HoeffdingTreeClassifier.")

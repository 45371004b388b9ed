"""A row of River, which is a dictionary, as tensors: the features, their values, and where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.river_to_onnx_graph import GraphWriter

__all__ = ["Column", "Frame", "OneHot", "Text", "refuse"]

T = TypeVar("T")
_BEYOND = 2.0**62


class Column(NamedTuple):
    """A feature that is a number.

    Attributes
    ----------
    block, present : str
        Values [rows, width] of numbers and of booleans: the latter say in which rows the feature is there.
    at : int
        Which column of the two.
    kind : str
        ``number``, ``integer`` or ``boolean``.
    """

    block: str
    present: str
    at: int
    kind: str


class Text(NamedTuple):
    """A feature that is a text: its value [rows, 1], and in which rows it is there, empty for all."""

    value: str
    present: str


class OneHot(NamedTuple):
    """The features that a one-hot encoder makes of one feature: 1 under the name ``before + value + after``.

    Attributes
    ----------
    source : Column or Text
        What is encoded.
    before, after : str
        What comes before and after the value in the names.
    zeros : tuple of str
        Values that are written as 0 where the row has another one.
    """

    source: Column | Text
    before: str
    after: str
    zeros: tuple[str, ...]

    def value_of(self, name: str) -> str | None:
        """Return the value that a feature's name speaks of, or None where it is none of these features."""
        fits = name.startswith(self.before) and name.endswith(self.after)
        fits = fits and len(name) >= len(self.before) + len(self.after)
        return name[len(self.before) : len(name) - len(self.after)] if fits else None

    def by_value(self, table: Mapping[str, T]) -> dict[str, T]:
        """Return the entries of a table by feature that speak of these features, by value."""
        found = {self.value_of(name): entry for name, entry in table.items()}
        return {value: entry for value, entry in found.items() if value is not None}

    def name_of(self, value: str) -> str:
        """Return the name of the feature that a value gives."""
        return f"{self.before}{value}{self.after}"


def refuse(where: str, what: str, remedy: str) -> ConfigError:
    """Return the error of a part that has no exact counterpart in ONNX."""
    return ConfigError([Problem(where, what, remedy)])


@dataclass(frozen=True)
class Frame:
    """All that a step of a pipeline sees of the rows.

    Attributes
    ----------
    graph : GraphWriter
        Where nodes are added.
    columns, texts : mapping of str to Column, Text
        Features by name, in River's order.
    one_hots : tuple of OneHot
        Features of which nobody knows the names beforehand.
    open : bool
        Whether a row may have further features whose values are of use to none but naive Bayes.
    """

    graph: GraphWriter
    columns: Mapping[str, Column]
    texts: Mapping[str, Text]
    one_hots: tuple[OneHot, ...] = ()
    open: bool = False

    def but(self, **changes: Any) -> Frame:
        """Return the frame with other features."""
        return replace(self, **changes)

    def gather(self, columns: Sequence[Column]) -> tuple[str, str]:
        """Return values and presence of some columns, [rows, number of columns]."""
        value = self._joined([(column.block, column.at) for column in columns])
        return value, self._joined([(column.present, column.at) for column in columns])

    def _joined(self, wanted: Sequence[tuple[str, int]]) -> str:
        runs: list[tuple[str, list[int]]] = []
        for block, at in wanted:
            if not runs or runs[-1][0] != block:
                runs.append((block, []))
            runs[-1][1].append(at)
        return self.graph.joined([self.graph.columns(block, places) for block, places in runs])

    def block(self, names: Iterable[str], values: str, present: str, kinds: Iterable[str]) -> dict[str, Column]:
        """Return the columns of one block by name."""
        pairs = list(zip(names, kinds, strict=True))
        for value in (values, present):
            self.graph.block(value, len(pairs))
        return {name: Column(values, present, at, kind) for at, (name, kind) in enumerate(pairs)}

    def missing_any(self, columns: Sequence[Column]) -> str:
        """Return the rows in which one of some columns is missing, [rows, 1]."""
        _, present = self.gather(columns)
        missing = self.graph.node("Cast", self.graph.node("Not", present), to=11)
        return self.graph.node("Greater", self.graph.row_sum(missing), self.graph.number(0))

    def find(self, name: str) -> Column | Text | None:
        """Return the feature of that name, or None where no row has it."""
        return self.find_all([name])[name]

    def find_all(self, names: Iterable[str]) -> dict[str, Column | Text | None]:
        """Return features by name, also those of one-hot encoders, and None for those that no row has."""
        found: dict[str, Column | Text | None] = {
            name: self.columns.get(name) or self.texts.get(name) for name in dict.fromkeys(names)
        }
        for group in self.one_hots:
            lacking = [name for name, one in found.items() if one is None]
            values = [value for name in lacking if (value := group.value_of(name)) is not None]
            if values:
                found.update(self.expand(group, values))
        return found

    def expand(self, group: OneHot, values: Sequence[str]) -> dict[str, Column]:
        """Return the features that a one-hot encoder gives for some values, by name."""
        graph = self.graph
        code, known = self.code(group.source, values, as_text=True)
        names = [group.name_of(value) for value in values]
        if not known:
            same = self.graph.node("Less", graph.rows([1.0] * len(values)), graph.number(0))
        else:
            wanted = [float(1 + known.index(value)) if value in known else -2.0 for value in values]
            same = graph.node("Equal", code, graph.const([wanted]))
        always = graph.const([[value in group.zeros for value in values]], np.bool_)
        ones = graph.node("Cast", same, to=11)
        return self.block(names, ones, graph.node("Or", same, always), ["integer"] * len(values))

    def code(self, source: Column | Text, values: Sequence[Any], as_text: bool = False) -> tuple[str, list[Any]]:
        """Return the number of each row's value, [rows, 1] doubles, and the values that a row can have.

        Numbers begin at 1 in the order of the values that are returned; 0 is any other value, -1 a missing one.

        Parameters
        ----------
        source : Column or Text
            The feature.
        values : sequence
            The values to tell apart.
        as_text : bool
            Whether numbers are told apart by what Python writes for them, as a one-hot encoder does.
        """
        graph = self.graph
        if isinstance(source, Text):
            known = [value for value in values if isinstance(value, str) and _is_utf8(value)]
            if source.present and "" in known:
                what = "has learned the empty text as a value, which in the exported model says that a text is missing."
                remedy = "Turn empty texts into NULL in SQL: NULLIF(column, '')."
                raise refuse("option 'on-null' is skip, and the model", what, remedy)
            found = graph.text_numbers(source.value, known) if known else graph.zeros()
            present = source.present
        else:
            block, present = self.gather([source])
            known, numbers = _numbers(source, values, as_text)
            found = graph.zeros()
            if known and all(number == int(number) and abs(number) < _BEYOND for number in numbers):
                found = graph.node("Cast", self._whole(block, [int(number) for number in numbers]), to=11)
            elif known:
                same = graph.node("Cast", graph.node("Equal", block, graph.const([numbers])), to=11)
                places = [[float(1 + at)] for at in range(len(known))]
                found = graph.node("MatMul", same, graph.const(places))
        return (graph.node("Where", present, found, graph.number(-1)) if present else found), known

    def _whole(self, block: str, numbers: Sequence[int]) -> str:
        """Return the codes of numbers that are whole; one that is broken has code 0."""
        graph = self.graph
        clipped = graph.node("Clip", block, graph.const(-_BEYOND), graph.const(_BEYOND))
        code = graph.node(
            "LabelEncoder",
            graph.node("Cast", clipped, to=7),
            keys_int64s=list(numbers),
            values_int64s=list(range(1, len(numbers) + 1)),
            default_int64=0,
        )
        same = graph.node("Equal", graph.node("Floor", block), block)
        return graph.node("Where", same, code, graph.const([[0]], np.int64))


def _numbers(source: Column, values: Sequence[Any], as_text: bool) -> tuple[list[Any], list[float]]:
    """Return which of the values a row can have, and the numbers they are."""
    if not as_text:
        known = [value for value in values if isinstance(value, (bool, int, float))]
        return known, [float(value) for value in known]
    read = {"True": 1.0, "False": 0.0} if source.kind == "boolean" else {}
    if source.kind == "integer":
        read = {value: float(value) for value in map(str, values) if _is_written(value)}
    written = [value for value in values if isinstance(value, str) and value in read]
    return written, [read[value] for value in written]


def _is_utf8(value: str) -> bool:
    """Return whether a text can come from SQL: half a surrogate pair cannot."""
    try:
        return bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False


def _is_written(value: str) -> bool:
    """Return whether Python writes a whole number in this way."""
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and str(int(value)) == value

"""The one builder of what goes into an ONNX model, driven by the model's own inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.connector.errors import Problem
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.onnx_columns import column, is_numbers

__all__ = ["Fed", "Inputs", "plan_inputs", "plan_positions"]

_TEXT = "tensor(string)"
_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    _TEXT: np.object_,
}
_TAKES = {
    "f": ("number", "integer", "boolean", "vector"),
    "i": ("integer", "boolean"),
    "u": ("integer", "boolean"),
    "b": ("boolean",),
    "O": ("string",),
}
_KINDS = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}
_ASKS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "booleans", "O": "texts"}


class _Slot(NamedTuple):
    """One input of the model and the features that fill it."""

    name: str
    dtype: Any
    rank: int
    width: int
    features: tuple[Field, ...]

    @property
    def in_columns(self) -> bool:
        """Whether each feature is one column of what the input takes."""
        return self.rank == 2 and len(self.features) > 1


class Fed(NamedTuple):
    """What a model is fed for some rows.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The rows that fit, by input.
    size : int
        How many they are.
    kept : ndarray of int or None
        Their places among all rows; None where every row fits.
    faults : dict of int to str
        Why the others do not, by their place.
    """

    arrays: dict[str, Any]
    size: int
    kept: Any
    faults: dict[int, str]


class Inputs:
    """Turns columns of features into what the model is fed.

    Parameters
    ----------
    slots : sequence of _Slot
        From ``plan_inputs``.
    nulls_as_nan : bool
        Whether a missing number goes into the model as NaN, instead of the row being refused.
    """

    def __init__(self, slots: Sequence[_Slot], nulls_as_nan: bool) -> None:
        self._slots = tuple(slots)
        self.fields = tuple(field for slot in slots for field in slot.features)
        self._nulls_as_nan = nulls_as_nan

    def feeds(self, columns: Mapping[str, Any], count: int) -> Fed:
        """Return what the model is fed for the rows that fit, and the reasons of the rows that do not.

        Parameters
        ----------
        columns : mapping of str to array or list
            One per feature; a feature that is missing counts as NULL.
        count : int
            Number of rows.
        """
        faults: dict[int, list[str]] = {}
        arrays = {}
        for slot in self._slots:
            given = [self._given(field.name, columns, count) for field in slot.features]
            made = self._table(slot, given, count, faults) if slot.in_columns else self._whole(slot, given[0], faults)
            arrays[slot.name] = made.reshape(count, slot.width) if slot.rank == 2 else made
        reasons = {at: "; ".join(each) for at, each in faults.items()}
        if not faults:
            return Fed(arrays, count, None, reasons)
        fits = np.ones(count, dtype=bool)
        fits[list(faults)] = False
        kept = np.flatnonzero(fits)
        return Fed({name: array[kept] for name, array in arrays.items()}, len(kept), kept, reasons)

    def made_up(self, count: int) -> dict[str, Any]:
        """Return zeros and empty texts for ``count`` rows, by input."""
        return {
            slot.name: np.full(
                count if slot.rank == 1 else (count, slot.width), "" if slot.dtype is np.object_ else 0, slot.dtype
            )
            for slot in self._slots
        }

    @staticmethod
    def _given(name: str, columns: Mapping[str, Any], count: int) -> Any:
        values = columns.get(name)
        values = [None] * count if values is None else values
        if len(values) != count:
            raise ValueError(f"column '{name}' has {len(values)} values for {count} rows")
        return values

    def _whole(self, slot: _Slot, values: Any, faults: dict[int, list[str]]) -> Any:
        return column(slot.features[0], values, slot.dtype, slot.width, self._nulls_as_nan, faults)

    def _table(self, slot: _Slot, given: Sequence[Any], count: int, faults: dict[int, list[str]]) -> Any:
        """Return the features side by side: cast straight into one array, looked at once, and one by one where not fit.

        Arrays that are made per feature and then joined take six times as long.
        """
        table = np.zeros((count, slot.width), slot.dtype)
        plain = {at for at, field in enumerate(slot.features) if is_numbers(field, given[at], slot.dtype)}
        with np.errstate(over="ignore"):
            for at in plain:
                table[:, at] = given[at]
        finite = np.isfinite(table) if plain else None
        left = range(len(given)) if finite is None or not finite.all() else sorted(set(range(len(given))) - plain)
        for at in left:
            if finite is None or at not in plain or not finite[:, at].all():
                field = slot.features[at]
                table[:, at] = column(field, given[at], slot.dtype, slot.width, self._nulls_as_nan, faults)
        return table


def plan_inputs(
    declared: Iterable[Any], fields: Sequence[Field], nulls_as_nan: bool, problems: list[Problem]
) -> Inputs | None:
    """Say which features go into which input of the model; what is wrong goes into ``problems``.

    An input whose name is a feature's takes that feature. The other inputs take the features that are left, in the
    order of the declaration: an input of texts the strings, one of numbers the rest, each as many as it is wide.

    Parameters
    ----------
    declared : iterable of onnxruntime.NodeArg
        The model's inputs.
    fields : sequence of Field
        The declared features.
    nulls_as_nan : bool
        Passed on.
    problems : list of Problem
        Is added to.
    """
    before = len(problems)
    left = {field.name: field for field in fields}
    inputs = [node for node in declared if _feedable(node, problems)]
    slots: list[_Slot] = []
    unnamed = []
    for node in inputs:
        field = left.pop(node.name, None)
        if field is None:
            unnamed.append(node)
        else:
            slots.append(_slot(node, (field,), problems))
    for family in (True, False):
        rivals = [node for node in unnamed if (node.type == _TEXT) is family]
        if len(rivals) > 1 and any(_width(node) is None for node in rivals):
            what = f"these inputs do not say how many features each takes: {', '.join(n.name for n in rivals)}."
            remedy = "Export the model with fixed widths, or give features the names of the inputs."
            problems.append(Problem("ONNX model", what, remedy))
    for node in unnamed:
        fitting = [field for field in left.values() if (field.kind == "string") == (node.type == _TEXT)]
        width = _width(node)
        vectors = [field for field in fitting if field.kind == "vector"]
        taken = vectors[:1] or fitting[: len(fitting) if width is None else width]
        for field in taken:
            del left[field.name]
        if taken:
            slots.append(_slot(node, tuple(taken), problems))
        else:
            what = f"no feature is left for this input ({_shown(node)})."
            problems.append(Problem(f"input '{node.name}' of the model", what, f"Declare it: INPUT ({node.name} ...)."))
    for field in left.values():
        what = f"the model does not use it; it takes {', '.join(f'{n.name} {_shown(n)}' for n in inputs) or 'nothing'}."
        problems.append(
            Problem(f"input '{field.name}'", what, "Remove it from INPUT, or give it the name of a model's input.")
        )
    if len(problems) > before:
        return None
    return Inputs(slots, nulls_as_nan)


def plan_positions(
    declared: Iterable[Any], vectors: Sequence[bool], nulls_as_nan: bool, problems: list[Problem]
) -> Inputs | None:
    """Say which arguments of a call go into which input of the model; what is wrong goes into ``problems``.

    Parameters
    ----------
    declared : iterable of onnxruntime.NodeArg
        The model's inputs; each takes its width of arguments, or one array.
    vectors : sequence of bool
        Per argument, whether it is an array.
    nulls_as_nan : bool
        Passed on.
    problems : list of Problem
        Is added to.
    """
    before, given = len(problems), len(vectors)
    inputs = [node for node in declared if _feedable(node, problems)]
    slots: list[_Slot] = []
    at = 0
    for place, node in enumerate(inputs):
        width = _width(node)
        if at < given and vectors[at]:
            fields: tuple[Field, ...] = (Field(node.name, "vector"),)
        else:
            rest = sum(_width(other) or 1 for other in inputs[place + 1 :])
            count = max(given - at - rest, 0) if width is None else width
            kind = _KINDS[np.dtype(_DTYPES[node.type]).kind]
            names = [node.name] if count == 1 else [f"{node.name}[{number}]" for number in range(count)]
            fields = tuple(Field(name, kind) for name in names)
        at += len(fields)
        slots.append(_slot(node, fields, problems))
    if at != given or not inputs:
        shown = ", ".join(f"{node.name} {_shown(node)}" for node in inputs) or "nothing"
        what = f"the model takes {at} and the call gives {given}; its inputs: {shown}."
        problems.append(Problem("features", what, "Give them all, in the order of the model, or one ARRAY per input."))
    if len(problems) > before:
        return None
    return Inputs(slots, nulls_as_nan)


def _feedable(node: Any, problems: list[Problem]) -> bool:
    where = f"input '{node.name}' of the model"
    if node.type not in _DTYPES:
        problems.append(
            Problem(where, f"is a {node.type}, which cannot be fed.", "Export the model with tensor inputs.")
        )
        return False
    if len(node.shape) not in (1, 2):
        what = f"has the shape {list(node.shape)}: features are fed as [rows] or [rows, width]."
        problems.append(Problem(where, what, "Export the model with one row of features per event."))
        return False
    return True


def _slot(node: Any, features: tuple[Field, ...], problems: list[Problem]) -> _Slot:
    dtype, width = _DTYPES[node.type], _width(node)
    letter = np.dtype(dtype).kind
    for name, kind in features:
        if kind not in _TAKES[letter]:
            what = f"is declared as {kind}, and the model's input '{node.name}' takes {_ASKS[letter]} ({_shown(node)})."
            problems.append(
                Problem(f"input '{name}'", what, "Declare the type the model was trained with, or CAST in a view.")
            )
    vectors = [field.name for field in features if field.kind == "vector"]
    if vectors and (width is None or len(node.shape) == 1):
        what = f"is a vector, and the model's input '{node.name}' does not say how wide it is ({_shown(node)})."
        problems.append(Problem(f"input '{vectors[0]}'", what, "Export the model with a fixed width."))
    elif not vectors and width is not None and width != len(features):
        names = ", ".join(field.name for field in features)
        what = f"takes {width} features and gets {len(features)} ({names})."
        problems.append(
            Problem(f"input '{node.name}' of the model", what, "Declare the features the model was trained with.")
        )
    return _Slot(node.name, dtype, len(node.shape), width or len(features), features)


def _width(node: Any) -> int | None:
    if len(node.shape) == 1:
        return 1
    return node.shape[1] if isinstance(node.shape[1], int) else None


def _shown(node: Any) -> str:
    return f"{node.type} {[size if isinstance(size, int) else 'n' for size in node.shape]}"

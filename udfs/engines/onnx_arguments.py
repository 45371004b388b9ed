"""The positional arguments of a SQL call as what a model takes: which go into which input, and in which type."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_inputs import Fed, Inputs, plan_positions

__all__ = ["Arguments"]

_EPOCH = np.datetime64(0, "ms")


class Arguments:
    """Binds the arguments of a call to the inputs of a model.

    Parameters
    ----------
    inputs : sequence of onnxruntime.NodeArg
        The model's inputs. Each takes as many arguments as it is wide, in order, or one array of that length; one that
        does not say how wide it is takes all that the others leave.
    vectors : sequence of bool
        Per argument, whether it is an array.
    options : dict
        ``on-null``, ``default-number`` and ``default-text`` of the model's reference.
    where : str
        Names the model in errors.

    Raises
    ------
    ConfigError
        Too many or too few arguments, or an input that SQL cannot feed.
    """

    def __init__(self, inputs: Sequence[Any], vectors: Sequence[bool], options: dict[str, Any], where: str) -> None:
        problems: list[Problem] = []
        plan = plan_positions(inputs, vectors, options["on-null"] == "nan", problems)
        if problems or plan is None:
            raise ConfigError(problem._replace(where=f"{where}, {problem.where}") for problem in problems)
        self._inputs: Inputs = plan
        self._fields = plan.fields
        self._defaults = options["on-null"] == "default"
        self._number, self._text = options["default-number"], options["default-text"]

    def feeds(self, arguments: Sequence[Any], count: int) -> Fed:
        """Return what the model is fed for the rows that fit, and the reasons of the rows that do not.

        Parameters
        ----------
        arguments : sequence of ndarray or plain value
            A plain value stands for a column of it.
        count : int
            Number of rows.
        """
        columns = {
            field.name: self._column(field.kind, argument, count)
            for field, argument in zip(self._fields, arguments, strict=True)
        }
        return self._inputs.feeds(columns, count)

    def made_up(self, count: int) -> dict[str, Any]:
        """Return arrays of zeros and empty texts for ``count`` rows, by input."""
        return self._inputs.made_up(count)

    def _column(self, kind: str, argument: Any, count: int) -> Any:
        if not isinstance(argument, np.ndarray):
            argument = np.array([argument] * count + [None], dtype=object)[:count]
        values = as_kind(kind, argument)
        if not self._defaults or kind == "vector":
            return values
        filler = self._text if kind == "string" else self._number
        if values.dtype.kind == "f":
            return np.where(np.isnan(values), filler, values)
        if values.dtype == object:
            return np.array([filler if value is None or value != value else value for value in values] + [None])[:-1]
        return values


def as_kind(kind: str, values: Any) -> Any:
    """Return a column of SQL values as the kind a model takes, where that is exact; else as it is, to be refused.

    Numbers: every whole and broken number, DECIMAL, BOOLEAN as 0 and 1, TIMESTAMP as epoch milliseconds.

    Examples
    --------
    >>> as_kind("number", np.array([Decimal("1.5"), None], dtype=object)).tolist()
    [1.5, nan]
    >>> as_kind("integer", np.array([1.0, np.nan])).tolist()
    [1, None]
    """
    letter = values.dtype.kind
    if letter == "M":
        missing = np.isnat(values)
        values = (values - _EPOCH) / np.timedelta64(1, "ms")
        values[missing] = np.nan
        letter = "f"
    if kind == "number":
        if letter == "b":
            return values.astype(np.float64)
        return _floats(values) if letter == "O" else values
    if kind == "integer":
        if letter == "b":
            return values.astype(np.int64)
        return _whole(values) if letter in "fO" else values
    if kind == "boolean" and letter in "iufO":
        return _objects([_boolean(value) for value in values.tolist()])
    if kind == "string" and letter == "O":
        return _objects([value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values])
    return values


def _floats(values: Any) -> Any:
    """Return objects as floats with NaN for NULL, or as they are where one of them is no number."""
    try:
        return np.fromiter((np.nan if value is None else _float(value) for value in values), np.float64, len(values))
    except TypeError:
        return _objects([float(v) if isinstance(v, (bool, Decimal)) else _moment(v) for v in values])


def _float(value: Any) -> float:
    if isinstance(value, (float, int, Decimal, np.number, np.bool_)):
        return float(value)
    if isinstance(value, datetime.datetime):
        return float(_moment(value))
    raise TypeError


def _whole(values: Any) -> Any:
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (np.abs(values) < 2.0**63)
        if whole.all() and (values == np.floor(values)).all():
            return values.astype(np.int64)
        values = [None if value != value else value for value in values.tolist()]
    return _objects([int(v) if isinstance(v, bool) or _is_whole(v) else _moment(v) for v in values])


def _is_whole(value: Any) -> bool:
    if not isinstance(value, (float, Decimal)):
        return False
    number = float(value)
    return abs(number) < 2.0**63 and value == int(value)


def _boolean(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else value


def _moment(value: Any) -> Any:
    """Return a moment as epoch milliseconds, anything else as it is."""
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return (value - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1)
    return value


def _objects(values: list[Any]) -> Any:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out

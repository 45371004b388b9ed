"""One column of features as an array of the type a model takes; values that do not fit are named, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.gate import coerce

__all__ = ["column", "is_numbers"]

_FLOATS = (np.float16, np.float32, np.float64)
# What a column may hold as it is, by kind: types of Python, and the letters of NumPy's types.
_PLAIN: dict[str, set[type]] = {"number": {float, int}, "integer": {int}, "boolean": {bool}, "string": {str}}
_WIDE: dict[str, Any] = {"number": np.float64, "integer": np.int64, "boolean": np.bool_}
_NATIVE = {"number": "fiu", "integer": "iu", "boolean": "b", "string": ""}


def column(
    field: Field, values: Any, dtype: Any, width: int, nulls_as_nan: bool, faults: dict[int, list[str]]
) -> np.ndarray[Any, Any]:
    """Return the values of one feature as an array; rows that do not fit are added to ``faults`` and hold a filler.

    Parameters
    ----------
    field : Field
        The feature.
    values : ndarray or list
        One value per row; NULL is None.
    dtype : type
        NumPy type of the array; ``object_`` for texts.
    width : int
        How many numbers a vector must have.
    nulls_as_nan : bool
        Whether a missing number becomes NaN, where the array is of floats.
    faults : dict of int to list of str
        Reasons, by row.

    Examples
    --------
    >>> faults = {}
    >>> column(Field("a", "number"), [1, None, 2.5], np.float32, 1, False, faults).tolist(), faults
    ([1.0, 0.0, 2.5], {1: ["'a' is NULL"]})
    """
    if isinstance(values, np.ndarray) and values.dtype == object:
        values = values.tolist()
    if is_numbers(field, values, dtype):
        return _numbers(field.name, values, dtype, nulls_as_nan, faults)
    fast = _vectors(values, dtype, width) if field.kind == "vector" else _scalars(field.kind, values, dtype)
    if fast is not None:
        return fast
    shape = (len(values), width) if field.kind == "vector" else len(values)
    out = np.full(shape, "" if dtype is np.object_ else 0, dtype)
    for at, value in enumerate(values):
        try:
            if field.kind == "vector":
                out[at] = _vector(field, value, dtype, width, nulls_as_nan)
            else:
                out[at] = _scalar(field.name, field.kind, value, dtype, nulls_as_nan)
        except RecordError as error:
            faults.setdefault(at, []).append(str(error))
    return out


def is_numbers(field: Field, values: Any, dtype: Any) -> bool:
    """Return whether a feature is an array of numbers that a cast alone turns into the model's floats."""
    return field.kind == "number" and isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and dtype in _FLOATS


def _numbers(
    name: str, values: np.ndarray[Any, Any], dtype: Any, nulls_as_nan: bool, faults: dict[int, list[str]]
) -> np.ndarray[Any, Any]:
    """Return an array of numbers as floats of the model's type; a missing number is NaN."""
    with np.errstate(over="ignore"):
        out: np.ndarray[Any, Any] = values.astype(dtype)
    fits = np.isfinite(out)
    if fits.all():
        return out
    if nulls_as_nan:
        fits |= np.isnan(values)
    for at in np.flatnonzero(~fits).tolist():
        out[at] = 0
        try:
            _scalar(name, "number", None if np.isnan(values[at]) else values[at], dtype, nulls_as_nan)
        except RecordError as error:
            faults.setdefault(at, []).append(str(error))
    return out


def _scalars(kind: str, values: Any, dtype: Any) -> np.ndarray[Any, Any] | None:
    """Return a whole column at once where every value plainly fits, else None."""
    if isinstance(values, list):
        if not set(map(type, values)) <= _PLAIN[kind]:
            return None
        if kind == "string":
            return _objects(values)
        try:
            values = np.array(values, dtype=_WIDE[kind])
        except OverflowError:
            return None
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in _NATIVE[kind]:
        return None
    return _cast(values, dtype)


def _vectors(values: Sequence[Any], dtype: Any, width: int) -> np.ndarray[Any, Any] | None:
    """Return vectors as a table, where each is an array, or a list of floats, of the right length; else None."""
    if all(isinstance(item, np.ndarray) and item.dtype.kind in "fiu" and item.shape == (width,) for item in values):
        table = np.concatenate(values).reshape(len(values), width) if len(values) else np.zeros((0, width))
        return _cast(table, dtype) if dtype in _FLOATS else None
    if any(type(item) is not list or set(map(type, item)) != {float} for item in values):
        return None
    try:
        table = np.array(values, dtype=np.float64)
    except ValueError:  # of different lengths
        return None
    return _cast(table, dtype) if table.shape == (len(values), width) else None


def _cast(values: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any] | None:
    with np.errstate(over="ignore"):
        out = values.astype(dtype)
    fits = np.isfinite(out) if dtype in _FLOATS else out == values
    return out if bool(fits.all()) else None


def _objects(values: list[str]) -> np.ndarray[Any, Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _scalar(name: str, kind: str, value: Any, dtype: Any, nulls_as_nan: bool) -> Any:
    # NULL and NaN are the same thing by the time an Arrow batch has become an array.
    if value is None or (nulls_as_nan and isinstance(value, (float, np.floating)) and value != value):
        if nulls_as_nan and dtype in _FLOATS:
            return np.nan
        raise RecordError(f"'{name}' is NULL")
    found = coerce(name, kind, value)
    if dtype in _FLOATS:
        with np.errstate(over="ignore"):
            fits = bool(np.isfinite(dtype(found)))
    else:
        fits = dtype in (np.object_, np.bool_) or np.iinfo(dtype).min <= found <= np.iinfo(dtype).max
    if not fits:
        raise RecordError(f"'{name}' is too large for the model's {np.dtype(dtype)} ({found})")
    return found


def _vector(field: Field, value: Any, dtype: Any, width: int, nulls_as_nan: bool) -> np.ndarray[Any, Any]:
    if value is None:
        raise RecordError(f"'{field.name}' is NULL")
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise RecordError(f"'{field.name}' should be a vector and is {value!r:.40} ({type(value).__name__})")
    if len(value) != width:
        raise RecordError(f"'{field.name}' has {len(value)} numbers; the model takes {width}")
    return np.array(
        [_scalar(f"{field.name}[{at}]", "number", item, dtype, nulls_as_nan) for at, item in enumerate(value)]
    )

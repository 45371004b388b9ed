"""The gate before a model: a row passes with plain, finite, declared values, or it does not pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from math import hypot, isfinite
from operator import itemgetter
from typing import Any

import numpy as np
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import Field

__all__ = ["Gate", "coerce", "usable"]

_EXACT: dict[str, type] = {"number": float, "integer": int, "boolean": bool, "string": str}
_LARGEST_INTEGER = 2**63
_LARGEST = 1e150  # its square is still finite: one larger value in a scaler is infinite variance for ever


def coerce(name: str, kind: str, value: object) -> Any:
    """Return ``value`` as the plain Python type of its declared kind.

    Parameters
    ----------
    name : str
        For the message.
    kind : str
        ``number``, ``integer``, ``boolean`` or ``string``. A Decimal is a number; NumPy scalars count as Python's.
    value : object
        What came over the SQL boundary; not None.

    Raises
    ------
    RecordError
        Another type, or not finite.

    Examples
    --------
    >>> from decimal import Decimal
    >>> coerce("amount", "number", Decimal("1.5")), coerce("n", "integer", 3.0)
    (1.5, 3)
    >>> coerce("amount", "number", "1.5")
    Traceback (most recent call last):
    ...
    thalweg.connector.errors.RecordError: 'amount' should be a number and is '1.5' (str)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is _EXACT[kind] and kind in ("boolean", "string"):
        return value
    if kind in ("number", "integer") and isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (OverflowError, ValueError):
            number = float("inf")
        if not isfinite(number):
            raise RecordError(f"'{name}' is not finite ({number})")
        if kind == "number":
            return number
        whole = int(value)
        if value == whole and -_LARGEST_INTEGER <= whole < _LARGEST_INTEGER:
            return whole
    article = "an" if kind == "integer" else "a"
    # Python refuses to write out a very long whole number.
    shown = "very long" if isinstance(value, int) and value.bit_length() > 99 else f"{value!r:.40}"
    raise RecordError(f"'{name}' should be {article} {kind} and is {shown} ({type(value).__name__})")


def usable(name: str, kind: str, value: object) -> Any:
    """Return ``coerce``'s answer for something that is to be learned; beyond 1e150 a number cannot be computed with.

    Raises
    ------
    RecordError
        Another type, not finite, or too large.
    """
    found = coerce(name, kind, value)
    if kind == "number" and abs(found) >= _LARGEST:
        raise RecordError(f"'{name}' is too large to be computed with ({found})")
    return found


class Gate:
    """Checks and converts the features of one model.

    Parameters
    ----------
    inputs : sequence of Field
        The declared features. Other keys of a row are ignored.
    skip_null : bool or collection of str
        What a missing or NULL feature does: False refuses the row, True leaves the feature out; names, only those may
        be left out.

    Examples
    --------
    >>> gate = Gate([Field("a", "number"), Field("b", "string")], skip_null=False)
    >>> gate.values({"b": "x", "a": 1, "c": 0})
    (1.0, 'x')
    >>> gate.values({"a": float("nan")})
    Traceback (most recent call last):
    ...
    thalweg.connector.errors.RecordError: 'a' is not finite (nan); 'b' is missing
    """

    def __init__(self, inputs: Sequence[Field], skip_null: bool | Collection[str]) -> None:
        self.names = tuple(field.name for field in inputs)
        skipped = self.names if skip_null is True else skip_null or ()
        self._skipped = frozenset(skipped)
        self._inputs = tuple(inputs)
        self._types = [_EXACT[field.kind] for field in inputs]
        self._take = _getter(self.names)
        self._numbers = _getter([at for at, field in enumerate(inputs) if field.kind in ("number", "integer")])
        self._limit = float(_LARGEST_INTEGER) if any(field.kind == "integer" for field in inputs) else _LARGEST

    def values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the features in declared order; raises RecordError naming every feature at fault."""
        try:
            values = self._take(row)
            # The length of the vector of numbers is below the limit only if each is, and NaN is below nothing.
            if list(map(type, values)) == self._types and hypot(*self._numbers(values)) < self._limit:
                return values
        except (KeyError, OverflowError):
            pass
        return tuple(self._slow(row, frozenset()).values())

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dict of the features in declared order, without those that are left out."""
        if self._skipped and any(row.get(name) is None for name in self._skipped):
            return self._slow(row, self._skipped)
        return dict(zip(self.names, self.values(row), strict=True))

    def _slow(self, row: Mapping[str, Any], skipped: Collection[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        faults: list[str] = []
        for name, kind in self._inputs:
            value = row.get(name)
            if value is None:
                if name not in skipped:
                    faults.append(f"'{name}' is {'NULL' if name in row else 'missing'}")
                continue
            try:
                found[name] = usable(name, kind, value)
            except RecordError as error:
                faults.append(str(error))
        if faults:
            raise RecordError("; ".join(faults))
        return found


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    if not keys:
        return lambda row: ()
    if len(keys) == 1:
        key = keys[0]
        return lambda row: (row[key],)
    return itemgetter(*keys)

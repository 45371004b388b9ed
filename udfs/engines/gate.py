"""The gate before a model: a row passes with plain, finite, declared values, or it does not pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from operator import itemgetter
from typing import Any

import numpy as np
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import Field

__all__ = ["Gate", "coerce"]

_EXACT: dict[str, type] = {"number": float, "integer": int, "boolean": bool, "string": str}
_LARGEST_INTEGER = 2**63


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
    if type(value) is _EXACT[kind] and kind != "number":
        return value
    if kind in ("number", "integer") and isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (OverflowError, ValueError):
            number = float("inf")
        if not isfinite(number):
            raise RecordError(f"'{name}' is not finite ({value})")
        if kind == "number":
            return number
        if value == int(value) and abs(value) < _LARGEST_INTEGER:
            return int(value)
    article = "an" if kind == "integer" else "a"
    raise RecordError(f"'{name}' should be {article} {kind} and is {value!r:.40} ({type(value).__name__})")


class Gate:
    """Checks and converts the features of one model.

    Parameters
    ----------
    inputs : sequence of Field
        The declared features. Other keys of a row are ignored.
    skip_null : bool
        What a missing or NULL feature does: False refuses the row, True leaves the feature out.

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

    def __init__(self, inputs: Sequence[Field], skip_null: bool) -> None:
        self.names = tuple(field.name for field in inputs)
        self.skip_null = skip_null
        self._inputs = tuple(inputs)
        self._types = [_EXACT[field.kind] for field in inputs]
        self._take = _getter(self.names)
        self._floats = _getter([at for at, field in enumerate(inputs) if field.kind == "number"])

    def values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the features in declared order; raises RecordError naming every feature at fault."""
        try:
            values = self._take(row)
        except KeyError:
            return tuple(self._slow(row, False).values())
        # The sum of floats is finite only if each is; where it overflows, the slow way looks at each.
        if list(map(type, values)) == self._types and isfinite(sum(self._floats(values))):
            return values
        return tuple(self._slow(row, False).values())

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dict of the features in declared order, without those that are left out."""
        if self.skip_null and (len(row) < len(self.names) or None in row.values() or not row.keys() >= set(self.names)):
            return self._slow(row, True)
        return dict(zip(self.names, self.values(row), strict=True))

    def _slow(self, row: Mapping[str, Any], skip: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        faults: list[str] = []
        for name, kind in self._inputs:
            value = row.get(name)
            if value is None:
                if not skip:
                    faults.append(f"'{name}' is {'NULL' if name in row else 'missing'}")
                continue
            try:
                found[name] = coerce(name, kind, value)
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

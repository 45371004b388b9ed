"""Strict checks of values against an Avro schema: fastavro writes 1.5 as a long, 'x' as true and None as false."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from thalweg.connector.errors import WireError

__all__ = ["Check", "checker"]

Check: TypeAlias = Callable[[Any, str], None]
"""Takes a value and the name of its place; raises WireError where the value does not fit."""

_INT = 2**31
_LONG = 2**63
_FLOAT_MAX = 3.4028235677973366e38  # the first double that no longer rounds to a finite float


def checker(avro: Any, *, finite: bool) -> Check:
    """Return the check for values of an Avro type.

    Parameters
    ----------
    avro : Avro type
        As parsed JSON: a name, a union (list) or a complex type (dict). Times are integers, never datetimes, whose
        meaning would depend on the machine's time zone.
    finite : bool
        Refuse NaN and infinities.

    Examples
    --------
    >>> checker({"type": "map", "values": "double"}, finite=True)({"a": float("nan")}, "metrics")
    Traceback (most recent call last):
        ...
    thalweg.connector.errors.WireError: metrics['a'] is nan; it must be finite.
    """
    if isinstance(avro, list):
        inner = checker(avro[1], finite=finite)
        return lambda value, where: None if value is None else inner(value, where)
    if isinstance(avro, str):
        return _primitive(avro, finite)
    kind = avro["type"]
    if kind == "record":
        return _record(avro, finite)
    if kind == "map":
        return _map(checker(avro["values"], finite=finite))
    if kind == "array":
        return _array(checker(avro["items"], finite=finite))
    if avro.get("logicalType") == "decimal":
        return _decimal(avro["precision"], avro["scale"])
    return _primitive(kind, finite)


def _fail(where: str, value: Any, what: str) -> WireError:
    return WireError(f"{where} is {_shown(value)}; it must be {what}.")


def _shown(value: Any) -> str:
    """Return the type, and the value of numbers only: texts and bytes may be secrets of the customer."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge integer"
    return repr(value) if value is None or type(value) in (bool, int, float) else f"of type {type(value).__name__}"


def _primitive(kind: str, finite: bool) -> Check:
    if kind in ("int", "long"):
        bound = _INT if kind == "int" else _LONG

        def check_integer(value: Any, where: str) -> None:
            if type(value) is not int or not -bound <= value < bound:
                raise _fail(where, value, f"an integer of {32 if kind == 'int' else 64} bits")

        return check_integer
    if kind in ("float", "double"):

        def check_number(value: Any, where: str) -> None:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise _fail(where, value, "a number")
            if not math.isfinite(value if isinstance(value, float) else _as_float(value, where)):
                if finite:
                    raise _fail(where, value, "finite")
            elif kind == "float" and abs(value) >= _FLOAT_MAX:
                raise _fail(where, value, "within the range of FLOAT")

        return check_number
    if kind == "string":

        def check_string(value: Any, where: str) -> None:
            if not isinstance(value, str):
                raise _fail(where, value, "a string")
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise WireError(f"{where} holds a lone surrogate, which UTF-8 cannot carry.") from error

        return check_string
    expected: tuple[type, str] = {"boolean": (bool, "a boolean"), "bytes": (bytes, "bytes")}[kind]

    def check_type(value: Any, where: str) -> None:
        if not isinstance(value, expected[0]):
            raise _fail(where, value, expected[1])

    return check_type


def _as_float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise _fail(where, value, "within the range of DOUBLE") from error


def _record(avro: Mapping[str, Any], finite: bool) -> Check:
    checks = {field["name"]: checker(field["type"], finite=finite) for field in avro["fields"]}

    def check_record(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _fail(where, value, "a mapping of field names")
        if value.keys() != checks.keys():
            missing = [name for name in checks if name not in value]
            unknown = [str(name)[:80] for name in value if name not in checks]
            told = [f"lacks the field '{name}'" for name in missing] + [f"has no field '{name}'" for name in unknown]
            raise WireError(f"{where} {' and '.join(told)}.")
        for name, check in checks.items():
            check(value[name], f"{where}.{name}")

    return check_record


def _map(inner: Check) -> Check:
    key_check = _primitive("string", True)

    def check_map(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _fail(where, value, "a mapping")
        for key, item in value.items():
            key_check(key, f"a key of {where}")
            inner(item, f"{where}[{key[:80]!r}]")

    return check_map


def _array(inner: Check) -> Check:
    def check_array(value: Any, where: str) -> None:
        if not isinstance(value, (list, tuple)):
            raise _fail(where, value, "a list")
        for number, item in enumerate(value):
            inner(item, f"{where}[{number}]")

    return check_array


def _decimal(precision: int, scale: int) -> Check:
    def check_decimal(value: Any, where: str) -> None:
        if not isinstance(value, Decimal) or not value.is_finite():
            raise _fail(where, value, "a finite Decimal")
        digits, exponent = value.as_tuple()[1:]
        whole = len(digits) + exponent if isinstance(exponent, int) and value else 0
        if not isinstance(exponent, int) or -exponent > scale or whole > precision - scale:
            raise WireError(f"{where} does not fit DECIMAL({precision}, {scale}).")

    return check_decimal

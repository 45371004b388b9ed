"""JSON bytes to rows of a customer's table, with strict types."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from typing import Any, NoReturn, TypeAlias

from thalweg.connector.errors import WireError
from thalweg.connector.sqltypes import SqlType

__all__ = ["json_decoder"]

Convert: TypeAlias = Callable[[Any, str], Any]

_RANGES = {"TINYINT": 2**7, "SMALLINT": 2**15, "INT": 2**31, "BIGINT": 2**63}
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z?)\Z", re.ASCII)
_CLOCK = re.compile(r"(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?\Z", re.ASCII)
_EXACT = Context(prec=100)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def json_decoder(row: SqlType) -> Callable[[bytes], dict[str, Any]]:
    """Return the decoder of JSON objects for the columns ``row``; see ``wire.decoder`` for what it returns.

    Numbers are JSON numbers, BYTES base64, DATE, TIME and timestamps the texts that Flink's json format writes
    (``2026-01-31 10:00:00.5`` or with ``T``, a ``Z`` behind TIMESTAMP_LTZ). Fields that are no column are ignored.
    """
    convert = _row(row)
    exact = _has_decimal(row)  # a Decimal keeps the digits as written; a float is faster where nobody asks for them

    def decode(raw: bytes) -> dict[str, Any]:
        try:
            parsed = json.loads(raw.decode(), parse_float=Decimal if exact else None, parse_constant=_no_constant)
        except RecursionError as error:
            raise WireError("The record is JSON that is nested too deeply.") from error
        except (ValueError, ArithmeticError) as error:
            what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON: {error}"
            raise WireError(f"The record is {what}.") from error
        result: dict[str, Any] = convert(parsed, "the record")
        return result

    return decode


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _has_decimal(kind: SqlType) -> bool:
    return kind.root == "DECIMAL" or any(map(_has_decimal, kind.children))


def _wrong(where: str, value: Any, kind: SqlType) -> WireError:
    names: dict[type, str] = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    told = names.get(type(value), "a number")
    return WireError(f"{where} is {told} that does not fit {kind.root}{'' if kind.nullable else ' NOT NULL'}.")


def _converter(kind: SqlType) -> Convert:
    inner = _inner(kind)
    if kind.nullable:
        return lambda value, where: None if value is None else inner(value, where)
    return inner


def _inner(kind: SqlType) -> Convert:
    root = kind.root
    if root == "ROW":
        return _row(kind)
    if root == "ARRAY":
        item = _converter(kind.children[0])

        def to_list(value: Any, where: str) -> list[Any]:
            if type(value) is not list:
                raise _wrong(where, value, kind)
            return [item(element, f"{where}[{number}]") for number, element in enumerate(value)]

        return to_list
    if root == "MAP":
        entry = _converter(kind.children[1])

        def to_map(value: Any, where: str) -> dict[str, Any]:
            if type(value) is not dict or kind.children[0].root != "STRING":
                raise _wrong(where, value, kind)
            return {key: entry(element, f"{where}[{key[:80]!r}]") for key, element in value.items()}

        return to_map
    if root in ("BOOLEAN", "STRING"):
        wanted = bool if root == "BOOLEAN" else str

        def same(value: Any, where: str) -> Any:
            if type(value) is not wanted or (isinstance(value, str) and _has_surrogate(value)):
                raise _wrong(where, value, kind)
            return value

        return same
    if root in _RANGES:
        bound = _RANGES[root]

        def to_int(value: Any, where: str) -> int:
            if type(value) is not int or not -bound <= value < bound:
                raise _wrong(where, value, kind)
            return value

        return to_int
    if root in ("DOUBLE", "FLOAT", "DECIMAL"):
        to_number = _decimal if root == "DECIMAL" else _float if root == "FLOAT" else _double

        def number(value: Any, where: str) -> Any:
            if type(value) not in (int, float, Decimal):
                raise _wrong(where, value, kind)
            try:
                return to_number(value, kind)
            except (ArithmeticError, ValueError) as error:
                raise _wrong(where, value, kind) from error

        return number
    parse = {"BYTES": _bytes, "DATE": _date, "TIME": _time, "TIMESTAMP": _stamp, "TIMESTAMP_LTZ": _stamp}[root]

    def from_text(value: Any, where: str) -> Any:
        if type(value) is not str:
            raise _wrong(where, value, kind)
        try:
            return parse(value, kind)
        except (ValueError, OverflowError, binascii.Error) as error:
            raise _wrong(where, value, kind) from error

    return from_text


def _row(kind: SqlType) -> Convert:
    fields = [(name, _converter(child), child.nullable) for name, child in zip(kind.names, kind.children, strict=True)]

    def to_row(value: Any, where: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _wrong(where, value, kind)
        row = {}
        for name, convert, nullable in fields:
            if name not in value and not nullable:
                raise WireError(f"{where} lacks the field '{name}', which is NOT NULL.")
            row[name] = convert(value.get(name), f"field '{name}'")
        return row

    return to_row


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _double(value: float | Decimal, kind: SqlType) -> float:
    result = float(value)
    if not math.isfinite(result):  # 1e999 is JSON, and infinite
        raise ValueError
    return result


def _float(value: float | Decimal, kind: SqlType) -> float:
    (result,) = struct.unpack("<f", struct.pack("<f", _double(value, kind)))
    return float(result)


def _decimal(value: float | Decimal, kind: SqlType) -> Decimal:
    precision, scale = kind.numbers
    number = Decimal(value)
    if number.adjusted() >= precision - scale and number:
        raise InvalidOperation
    result = number.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
    if result != number:
        raise InvalidOperation
    return result


def _bytes(text: str, kind: SqlType) -> bytes:
    return base64.b64decode(text, validate=True)


def _date(text: str, kind: SqlType) -> int:
    return (date.fromisoformat(text) - _EPOCH.date()).days


def _milliseconds(fraction: str | None) -> int:
    return int(f"{fraction or '':0<3}"[:3])


def _time(text: str, kind: SqlType) -> int:
    match = _CLOCK.match(text)
    if match is None:
        raise ValueError
    moment = datetime.fromisoformat(f"1970-01-01T{match[1]}+00:00")
    return (moment - _EPOCH) // timedelta(milliseconds=1) + _milliseconds(match[2])


def _stamp(text: str, kind: SqlType) -> int:
    match = _STAMP.match(text)
    if match is None or (match[4] and kind.root == "TIMESTAMP"):
        raise ValueError
    moment = datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00")
    return (moment - _EPOCH) // timedelta(milliseconds=1) + _milliseconds(match[3])

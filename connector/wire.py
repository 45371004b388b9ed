"""Records to bytes and back: the wire contract in ``schemas/*.avsc``, and customers' tables as Flink writes them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import fastavro
from thalweg.connector.errors import ConfigError, Problem, WireError
from thalweg.connector.jsonrows import json_decoder
from thalweg.connector.sqltypes import Column, parse_columns
from thalweg.connector.values import Check, checker

__all__ = ["SCHEMAS", "decode", "decoder", "encode", "encoder", "schema", "sql_schema"]

SCHEMAS = ("prediction", "label", "snapshot", "metric", "alert", "control", "decision", "dead_letter")
"""Names of the wire contract, one Avro schema each."""

_RECORD_NAME = "org.apache.flink.avro.generated.record"
_FRAMING = (
    "it begins with byte 0 as a schema registry's framing does (byte 0, four or eight bytes of id, then Avro): "
    "write plain Avro (Flink: 'format' = 'avro'), or read it with 'format' = 'avro-confluent'."
)
_JSON_FRAMING = (
    "The record is not JSON: it begins with byte 0 as a schema registry's framing does. Have its producer write plain"
    " JSON."
)
_HEADERS = (5, 9)  # of Confluent's registry, and of Apicurio's with its long ids
_READ_ERRORS = (EOFError, IndexError, OverflowError, TypeError, ValueError, ArithmeticError)


def schema(name: str) -> dict[str, Any]:
    """Return the Avro schema ``name`` of the wire contract as parsed JSON; a fresh copy.

    Raises
    ------
    WireError
        There is no such schema.

    Examples
    --------
    >>> [field["name"] for field in schema("label")["fields"]]
    ['event_id', 'label_time_ms', 'label']
    """
    if name not in SCHEMAS:
        raise WireError(f"'{name}' is not a schema of the wire contract; there are {', '.join(SCHEMAS)}.")
    text = resources.files("thalweg.connector").joinpath(f"schemas/{name}.avsc").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def encode(name: str, record: Mapping[str, Any]) -> bytes:
    r"""Return ``record`` as raw Avro binary of the schema ``name``: no header, no container.

    Parameters
    ----------
    name : str
        One of ``SCHEMAS``.
    record : mapping
        Every field of the schema and no other. Times are integers, numbers finite.

    Raises
    ------
    WireError
        Names the schema and the field that does not fit.

    Examples
    --------
    >>> encode("label", {"event_id": "UA1", "label_time_ms": 2, "label": "true"})
    b'\x06UA1\x04\x08true'
    """
    parsed, check, first, _ = _contract(name)
    check(record, name)
    if not record[first]:
        raise WireError(f"{name}.{first} is empty; it must name something.")
    return _write(parsed, record, name)


def decode(name: str, raw: bytes | None) -> dict[str, Any]:
    """Return the record that ``encode``, or Flink's avro format, wrote; strict to the last byte.

    What was written before a schema had its last fields is read too: these fields are null.

    Parameters
    ----------
    name : str
        One of ``SCHEMAS``.
    raw : bytes or None
        The Kafka value. None is a tombstone, which is no record: the caller handles it first.

    Raises
    ------
    WireError
        Names the schema and what is wrong: registry framing, bytes missing or left over, a value out of bounds.
    """
    parsed, check, first, older = _contract(name)
    if raw is None:
        raise WireError(f"The {name} record is null, a tombstone.")
    # The first field of every schema is a name that is never empty, so an honest record never begins with 0.
    if raw[:1] == b"\0":
        if len(raw) > _HEADERS[0]:
            raise WireError(f"The {name} record is not plain Avro: {_FRAMING}")
        raise WireError(f"{name}.{first} is empty; it must name something.")
    if older is not None and _reads(older[0], raw):
        parsed = older[0]
    record = _read(parsed, raw, f"The {name} record")
    whole = record if older is None else {**older[1], **record}
    check(whole, name)
    # fastavro also reads what nobody writes (a union branch of -1, a boolean of 7): one record, one encoding.
    if _write(parsed, record, name) != raw:
        raise WireError(f"The {name} record is not written as Avro writes it.")
    return whole


def sql_schema(columns: Sequence[Column]) -> dict[str, Any]:
    """Return the Avro schema that Flink's avro format derives from a table with these columns.

    Parameters
    ----------
    columns : sequence of (name, SQL type, nullable)
        In DDL order, which is the order on the wire.

    Raises
    ------
    ConfigError
        Lists every column that Avro, as Flink speaks it, cannot carry.

    Examples
    --------
    >>> sql_schema([("delay", "DOUBLE", True)])["fields"]
    [{'name': 'delay', 'type': ['null', 'double'], 'default': None}]
    """
    row = parse_columns(columns)
    problems: list[Problem] = []
    for name, child in zip(row.names, row.children, strict=True):
        try:
            row._replace(names=(name,), children=(child,)).avro(_RECORD_NAME, f"column '{name}'")
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    derived: dict[str, Any] = row.avro(_RECORD_NAME, "table")
    return derived


def decoder(columns: Sequence[Column], format: str = "avro") -> Callable[[bytes | None], dict[str, Any]]:
    """Return a function from the bytes of a customer's record to its row, a dict in column order.

    Parameters
    ----------
    columns : sequence of (name, SQL type, nullable)
        As in ``sql_schema``.
    format : str
        ``avro``, raw as Flink's avro format writes it, or ``json``.

    Returns
    -------
    callable
        Takes the Kafka value; raises WireError, with one sentence, for anything that is not a whole record, and for
        None (a tombstone is no row). Timestamps come as int epoch ms (wall clock read as UTC for TIMESTAMP), DATE as
        int days since 1970, TIME as int ms of the day, DECIMAL as Decimal, MAP and ROW as dict, ARRAY as list.

    Raises
    ------
    ConfigError
        A column or the format cannot be read.

    Examples
    --------
    >>> decoder([("id", "BIGINT", False), ("late", "BOOLEAN", True)], format="json")(b'{"id": 7, "gate": "B4"}')
    {'id': 7, 'late': None}
    """
    if format == "json":
        return _not_null(_unframed(json_decoder(parse_columns(columns))))
    if format != "avro":
        raise ConfigError([Problem(f"format '{format}'", "it is not known here.", "Use 'avro' or 'json'.")])
    derived = _without_times(sql_schema(columns))
    parsed = fastavro.parse_schema(derived)
    # Avro itself keeps types and lengths; only integers and decimals can be wider on the wire than their type.
    checks = [
        (field["name"], f"column '{field['name']}'", checker(field["type"], finite=False))
        for field in derived["fields"]
        if _may_overflow(field["type"])
    ]

    def decode_row(raw: bytes) -> dict[str, Any]:
        try:
            row = _read(parsed, raw, "The record")
        except WireError as error:
            if raw[:1] == b"\0" and any(_reads(parsed, raw[size:]) for size in _HEADERS):
                raise WireError(f"The record is not plain Avro: {_FRAMING}") from error
            raise
        # Columns of zeros may swallow a header. Registry ids are small, so zeros and a fitting rest tell.
        if any(raw[: size - 2] == bytes(size - 2) and _reads(parsed, raw[size:]) for size in _HEADERS):
            raise WireError(f"The record could be plain Avro, but {_FRAMING}")
        for name, where, check in checks:
            check(row[name], where)
        return row

    return _not_null(decode_row)


def encoder(columns: Sequence[Column]) -> Callable[[Mapping[str, Any]], bytes]:
    """Return a function from a row to raw Avro as Flink's avro format reads it; the inverse of ``decoder``.

    Parameters
    ----------
    columns : sequence of (name, SQL type, nullable)
        As in ``sql_schema``.

    Returns
    -------
    callable
        Takes a mapping with every column and no other, values as ``decoder`` gives them; raises WireError.
    """
    derived = _without_times(sql_schema(columns))
    parsed, check = fastavro.parse_schema(derived), checker(derived, finite=False)

    def encode_row(row: Mapping[str, Any]) -> bytes:
        check(row, "row")
        return _write(parsed, row, "row")

    return encode_row


@cache
def _contract(name: str) -> tuple[Any, Check, str, tuple[Any, dict[str, Any]] | None]:
    """Return a schema, its check, its first field, and the schema before it had its ``added`` fields, with those."""
    raw, older = schema(name), schema(name)
    older["fields"] = [field for field in raw["fields"] if "added" not in field]
    added = dict.fromkeys(field["name"] for field in raw["fields"] if "added" in field)
    before = (fastavro.parse_schema(older), dict(added)) if added else None
    return fastavro.parse_schema(schema(name)), checker(raw, finite=True), raw["fields"][0]["name"], before


def _read(parsed: Any, raw: bytes, what: str) -> dict[str, Any]:
    stream = io.BytesIO(raw)
    try:
        record: dict[str, Any] = fastavro.schemaless_reader(stream, parsed, None)
    except _READ_ERRORS as error:
        cause = "it ends too early" if isinstance(error, EOFError) else str(error)[:200]
        raise WireError(f"{what} is not Avro of its schema: {cause} ({len(raw)} bytes).") from error
    left = len(raw) - stream.tell()
    if left:
        raise WireError(f"{what} is not Avro of its schema: {left} of {len(raw)} bytes are left over.")
    return record


def _reads(parsed: Any, raw: bytes) -> bool:
    try:
        _read(parsed, raw, "")
    except WireError:
        return False
    return True


def _write(parsed: Any, record: Mapping[str, Any], what: str) -> bytes:
    stream = io.BytesIO()
    try:
        fastavro.schemaless_writer(stream, parsed, record, strict=True)
    except _READ_ERRORS as error:
        raise WireError(f"The {what} record does not fit its schema: {str(error)[:200]}.") from error
    return stream.getvalue()


def _unframed(decode: Callable[[bytes], dict[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    def decode_json(raw: bytes) -> dict[str, Any]:
        try:
            return decode(raw)
        except WireError as error:
            if raw[:1] == b"\0":
                raise WireError(_JSON_FRAMING) from error
            raise

    return decode_json


def _not_null(decode: Callable[[bytes], dict[str, Any]]) -> Callable[[bytes | None], dict[str, Any]]:
    def decode_value(raw: bytes | None) -> dict[str, Any]:
        if raw is None:
            raise WireError("The record is null, a tombstone, and has no columns.")
        return decode(raw)

    return decode_value


def _without_times(avro: Any) -> Any:
    """Drop the logical types of times: fastavro would read and write datetimes, and naive ones as local time."""
    if isinstance(avro, list):
        return [_without_times(branch) for branch in avro]
    if not isinstance(avro, dict):
        return avro
    if avro.get("logicalType") in ("timestamp-millis", "time-millis", "date"):
        return avro["type"]
    changed = {part: _without_times(avro[part]) for part in ("values", "items") if part in avro}
    if "fields" in avro:
        changed["fields"] = [{**field, "type": _without_times(field["type"])} for field in avro["fields"]]
    return {**avro, **changed}


def _may_overflow(avro: Any) -> bool:
    if isinstance(avro, list):
        return any(map(_may_overflow, avro))
    if isinstance(avro, dict):
        inner = [avro.get("values"), avro.get("items"), *(field["type"] for field in avro.get("fields", ()))]
        return avro.get("logicalType") == "decimal" or any(map(_may_overflow, inner))
    return bool(avro == "int")

"""Many rows as one block of bytes, column by column.

A Python function in Flink costs about 30 microseconds for every element that crosses into it, whatever the element
holds. So rows cross in blocks. A block is columnar: numbers are NumPy buffers, strings are a JSON list, which the
standard library reads and writes in C. Nothing in a block can run code when it is read.

Layout: ``b"T1"``, row count (u32), then per column one kind letter, the payload length (u32) and the payload.
A numeric payload begins with one byte: 0, or 1 when a null mask of one byte per row follows.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from thalweg.connector.errors import WireError

__all__ = ["column_minimum", "pack_columns", "unpack_columns"]

_MAGIC = b"T1"
_NUMERIC = {"number": ("d", "<f8"), "integer": ("q", "<i8"), "boolean": ("b", "<u1")}
_DTYPES = {ord(letter): dtype for letter, dtype in _NUMERIC.values()}
_STRINGS, _VECTORS = ord("s"), ord("v")


def pack_columns(columns: Iterable[tuple[str, Sequence[Any]]], rows: int) -> bytes:
    """Return ``rows`` rows as one block.

    Parameters
    ----------
    columns : iterable of (kind, values)
        ``kind`` as in ``Field.kind``; ``values`` a list or array of that length. None is null in every kind. In a
        ``number`` array NaN stays NaN.
    rows : int
        Number of rows.

    Examples
    --------
    >>> block = pack_columns([("string", ["a", None]), ("number", [1.5, None])], 2)
    >>> unpack_columns(block)
    (2, [['a', None], [1.5, None]])
    """
    parts = [_MAGIC, struct.pack("<I", rows)]
    for kind, values in columns:
        if kind in _NUMERIC:
            letter, dtype = _NUMERIC[kind]
            payload = _pack_numbers(values, dtype)
        else:
            letter = "v" if kind == "vector" else "s"
            items = values if isinstance(values, list) else list(values)
            payload = json.dumps(items, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        parts += (letter.encode(), struct.pack("<I", len(payload)), payload)
    return b"".join(parts)


def unpack_columns(block: bytes) -> tuple[int, list[list[Any]]]:
    """Return the row count and the columns of a block, as lists of plain Python values.

    Raises
    ------
    WireError
        The bytes are not a block.
    """
    if block[:2] != _MAGIC or len(block) < 6:
        raise WireError("not a block of rows: it does not begin with T1 and a number of rows.")
    try:
        rows, columns = _unpack(block)
    except (ValueError, RecursionError, struct.error) as error:
        raise WireError(f"not a block of rows: damaged or cut short ({error}).") from error
    if any(len(column) != rows for column in columns):
        raise WireError("not a block of rows: its columns differ in length.")
    return rows, columns


def _unpack(block: bytes) -> tuple[int, list[list[Any]]]:
    (rows,) = struct.unpack_from("<I", block, 2)
    columns: list[list[Any]] = []
    at, end = 6, len(block)
    while at < end:
        letter = block[at]
        (length,) = struct.unpack_from("<I", block, at + 1)
        start = at + 5
        at = start + length
        if at > end:
            raise WireError("not a block of rows: it is cut short.")
        if letter in _DTYPES:
            columns.append(_unpack_numbers(block, start, rows, _DTYPES[letter]))
        elif letter in (_STRINGS, _VECTORS):
            columns.append(json.loads(block[start:at].decode("utf-8", "surrogatepass")))
        else:
            raise WireError(f"not a block of rows: unknown column kind {letter}.")
    return rows, columns


def column_minimum(block: bytes, at: int) -> int:
    """Return the smallest value of an ``integer`` column without nulls, reading nothing else of the block.

    Examples
    --------
    >>> column_minimum(pack_columns([("string", ["a", "b"]), ("integer", [7, 5])], 2), 1)
    5
    """
    (rows,) = struct.unpack_from("<I", block, 2)
    offset = 6
    for _ in range(at):
        offset += 5 + struct.unpack_from("<I", block, offset + 1)[0]
    return int(np.frombuffer(block, dtype="<i8", count=rows, offset=offset + 6).min())


def _pack_numbers(values: Sequence[Any], dtype: str) -> bytes:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return b"\0" + values.astype(dtype, copy=False).tobytes()
    if None not in values:
        return b"\0" + np.array(values, dtype=dtype).tobytes()
    mask = bytes(value is None for value in values)
    return b"\1" + mask + np.array([0 if value is None else value for value in values], dtype=dtype).tobytes()


def _unpack_numbers(block: bytes, start: int, rows: int, dtype: str) -> list[Any]:
    masked = block[start] == 1
    offset = start + 1 + (rows if masked else 0)
    array = np.frombuffer(block, dtype=dtype, count=rows, offset=offset)
    values: list[Any] = (array != 0).tolist() if dtype == "<u1" else array.tolist()
    if masked:
        for index in np.flatnonzero(np.frombuffer(block, dtype="<u1", count=rows, offset=start + 1)).tolist():
            values[index] = None
    return values

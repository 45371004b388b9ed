"""Puts rows that wait in blocks into the order of their time, as far as the watermark has come."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.packing import pack_columns, unpack_columns

__all__ = ["Ordered", "in_order"]


class Ordered(NamedTuple):
    """Rows that may be taken, and those that must still wait.

    Attributes
    ----------
    columns : list of lists
        The rows whose time has come, in order; empty lists where there are none.
    waiting : bytes or None
        The others, as one block.
    next_ms : int or None
        Time of the first one that waits.
    """

    columns: list[list[Any]]
    waiting: bytes | None
    next_ms: int | None


def in_order(
    blocks: Sequence[bytes], kinds: Sequence[str], time_at: int, ties: Sequence[int], watermark_ms: int
) -> Ordered:
    """Return the rows of ``blocks`` that the watermark has passed, in the order of their time.

    Parameters
    ----------
    blocks : sequence of bytes
        As ``pack_columns`` made them, all of the same columns.
    kinds : sequence of str
        Kind of each column.
    time_at : int
        Which column holds the time of a row, epoch ms.
    ties : sequence of int
        Columns that decide between rows of the same time, the first one first; so the order depends on what is in the
        rows alone, not on the way they took.
    watermark_ms : int
        No further row has a time up to here.

    Examples
    --------
    >>> kinds = ("integer", "string")
    >>> block = pack_columns([("integer", [30, 10, 20, 10]), ("string", ["d", "c", "b", "a"])], 4)
    >>> done = in_order([block], kinds, 0, [1], 20)
    >>> done.columns, done.next_ms
    ([[10, 10, 20], ['a', 'c', 'b']], 30)
    """
    columns: list[list[Any]] = [[] for _ in kinds]
    for block in blocks:
        for column, values in zip(columns, unpack_columns(block)[1], strict=True):
            column += values
    times = np.array(columns[time_at], dtype=np.int64)
    if len(times) > 1 and not bool((times[1:] > times[:-1]).all()):
        order = _order(times, [columns[at] for at in ties])
        columns = [[column[at] for at in order] for column in columns]
        times = times[order]
    ready = int(np.searchsorted(times, watermark_ms, side="right"))
    if ready == len(times):
        return Ordered(columns, None, None)
    rest = [(kind, column[ready:]) for kind, column in zip(kinds, columns, strict=True)]
    waiting = pack_columns(rest, len(times) - ready)
    return Ordered([column[:ready] for column in columns], waiting, int(times[ready]))


def _order(times: Any, ties: Sequence[Sequence[Any]]) -> list[int]:
    """Return the positions of rows in their order."""
    order: list[int] = np.argsort(times, kind="stable").tolist()
    ranked = times[order]
    edges = np.flatnonzero(np.diff(ranked) != 0) + 1
    starts = [0, *edges.tolist(), len(order)]
    for start, stop in pairwise(starts):
        if stop - start > 1:
            order[start:stop] = sorted(order[start:stop], key=lambda at: [_comparable(column[at]) for column in ties])
    return order


def _comparable(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)

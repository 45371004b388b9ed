"""Whatever the blocks and the watermarks, one order comes out, and every row once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.ordering import in_order
from thalweg.udfs.logic.packing import pack_columns

KINDS = ("integer", "integer", "string", "number")
ROWS = st.lists(
    st.tuples(
        st.integers(0, 20), st.integers(0, 3), st.none() | st.text(max_size=2), st.none() | st.floats(allow_nan=False)
    ),
    max_size=60,
)


def block(rows: list[Any]) -> bytes:
    return pack_columns(
        [(kind, list(column)) for kind, column in zip(KINDS, zip(*rows, strict=True), strict=True)], len(rows)
    )


@given(ROWS, st.lists(st.integers(0, 20)), st.lists(st.integers(0, 60), max_size=5))
def test_any_blocks_and_watermarks_give_the_order_of_one_sort(
    rows: list[Any], watermarks: list[int], cuts: list[int]
) -> None:
    def rank(row: Any) -> Any:
        return row[0], row[1], (row[2] is not None, row[2] or "")

    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    blocks = [block(rows[a:b]) for a, b in pairwise(edges) if b > a]
    taken: list[Any] = []
    for watermark in [*sorted(watermarks), 1 << 62]:
        done = in_order(blocks, KINDS, 0, (1, 2), watermark)
        assert all(time <= watermark for time in done.columns[0])
        taken += zip(*done.columns, strict=True)
        blocks = [] if done.waiting is None else [done.waiting]
        assert (done.next_ms is None) == (done.waiting is None)
        assert done.next_ms is None or done.next_ms > watermark
    assert [rank(row) for row in taken] == sorted(map(rank, rows))
    assert sorted(map(repr, taken)) == sorted(map(repr, rows))

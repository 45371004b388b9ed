"""Blocks give back what was put in; bytes that are no block are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import WireError
from thalweg.udfs.logic.packing import column_minimum, pack_columns, unpack_columns

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.floats(allow_nan=False),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "string": st.text(),
    "vector": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=5))
    rows = draw(st.integers(0, 20))
    columns = [draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)) for kind in kinds]
    return kinds, columns


@given(tables())
def test_what_goes_in_comes_out(table: tuple[list[str], list[list[Any]]]) -> None:
    kinds, columns = table
    rows = len(columns[0])
    assert unpack_columns(pack_columns(list(zip(kinds, columns, strict=True)), rows)) == (rows, columns)


def test_nan_and_lone_surrogates_survive() -> None:
    _, (numbers, texts) = unpack_columns(pack_columns([("number", [math.nan]), ("string", ["\ud800"])], 1))
    assert math.isnan(numbers[0])
    assert texts == ["\ud800"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_minimum_of_a_column(values: list[int]) -> None:
    block = pack_columns([("string", ["x"] * len(values)), ("integer", values)], len(values))
    assert column_minimum(block, 1) == min(values)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack_columns(b"X" + data)


def test_a_block_that_is_cut_short_is_refused() -> None:
    block = pack_columns([("number", [1.0, 2.0]), ("string", ["a", "b"])], 2)
    for end in range(2, len(block) - 1):
        try:
            unpack_columns(block[:end])
        except WireError:
            continue
        # Cut between two columns it is a shorter block.
        assert end in (6, 6 + 5 + 17)

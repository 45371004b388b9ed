"""The books by which faults are judged see every kind of damage, and the stream under faults is the loop's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import pytest
from fault_stream import Books, compare
from faults import FAULTS
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.bench_faults import PHASES

RECORDS = st.lists(st.tuples(st.integers(0, 5), st.just("k"), st.integers(0, 1)), max_size=12)


@given(RECORDS)
def test_books_balance_if_and_only_if_the_records_are_the_same(records: list[tuple[Hashable, ...]]) -> None:
    expected = Counter(records)
    assert compare(expected, expected) == Books(len(records), 0, 0, 0)
    for found in (expected + Counter([(9, "k", 0)]), expected - Counter(records[:1])):
        assert compare(expected, found).balanced == (expected == found)


@pytest.mark.parametrize(
    ("found", "books"),
    [
        ([(1, "k", 0.5), (2, "k", 0.6)], (0, 0, 0)),
        ([(1, "k", 0.5)], (1, 0, 0)),
        ([(1, "k", 0.5), (2, "k", 0.6), (2, "k", 0.6)], (0, 1, 0)),
        ([(1, "k", 0.5), (2, "k", 0.7)], (0, 0, 1)),
        ([(2, "k", 0.6), (2, "k", 0.7)], (1, 1, 0)),
        ([(1, "other", 0.5), (2, "k", 0.6)], (1, 1, 0)),
    ],
)
def test_what_is_lost_doubled_and_changed_is_counted(
    found: list[tuple[Hashable, ...]], books: tuple[int, int, int]
) -> None:
    told = compare(Counter([(1, "k", 0.5), (2, "k", 0.6)]), Counter(found))
    assert told == Books(2, *books)
    assert told.balanced == (books == (0, 0, 0))


def test_every_fault_is_one_that_the_benchmark_sends() -> None:
    assert {name for _, names in PHASES for name in names} == set(FAULTS)

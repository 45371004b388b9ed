"""Examples that wait and that are kept: bounded, fairly chosen, the same after every restart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_store import spec
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.examples import Example, Examples


def example(n: int) -> Example:
    return Example(f"e{n}", n, n % 2 == 0, (float(n), None if n % 5 == 0 else 1.0))


def filled(count: int, keep: int, newest: bool, every: int = 10) -> Examples:
    examples = Examples(spec(), keep, newest)
    for n in range(count):
        examples.add(example(n))
        if n % every == every - 1:
            examples.settle()
    return examples


def test_the_newest_are_kept() -> None:
    examples = filled(95, 30, True)
    assert [e.event_ms for e in examples.old] == list(range(60, 90))
    assert [e.event_ms for e in examples.waiting] == list(range(90, 95))
    assert (examples.aged, examples.updates) == (90, 9)


def test_every_old_example_has_the_same_chance() -> None:
    # Reservoirs of 100 of the first 1,000, from streams that differ in what comes before them.
    hits = [0] * 10
    for shift in range(60):
        examples = Examples(spec(), 100, False)
        for n in range(1000):
            examples.add(example((n + shift * 17) % 1000))
        examples.settle()
        for kept in examples.old:
            hits[kept.event_ms // 100] += 1
    assert sum(hits) == 6000
    assert all(480 < hit < 720 for hit in hits)


def test_old_ones_are_spread_between_the_new_ones() -> None:
    examples = filled(105, 50, False)
    mixed = examples.replayed(2.0)
    assert len(mixed) == 15
    assert [e for e in mixed if e in examples.waiting] == examples.waiting
    assert sum(e in examples.old for e in mixed) == 10
    assert mixed[0] in examples.old
    assert examples.replayed(0) == examples.waiting
    assert examples.replayed(2.0) == mixed
    assert len(examples.replayed(100.0)) == 55


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(0, 120),
    keep=st.integers(0, 40),
    newest=st.booleans(),
    every=st.integers(1, 30),
    cut=st.integers(0, 120),
)
def test_a_restart_changes_nothing(count: int, keep: int, newest: bool, every: int, cut: int) -> None:
    calm = filled(count, keep, newest, every)
    examples = Examples(spec(), keep, newest)
    for n in range(count):
        if n == cut:
            again = Examples(spec(), keep, newest)
            again.load(examples.dump())
            examples = again
        examples.add(example(n))
        if n % every == every - 1:
            examples.settle()
    assert examples.dump() == calm.dump()
    assert examples.replayed(1.5) == calm.replayed(1.5)
    assert len(examples.old) <= keep


def test_damaged_bytes_are_refused() -> None:
    good = filled(25, 10, True).dump()
    for bad in (b"", b"\x07" + good[1:], good[:-1], good + b"x"):
        with pytest.raises(SnapshotError):
            Examples(spec(), 10, True).load(bad)
    with pytest.raises(SnapshotError, match="columns"):
        Examples(spec(names="abc"), 10, True).load(good)

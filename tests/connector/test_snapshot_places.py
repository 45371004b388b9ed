"""Places of records: as a dict of them, in a fraction of its memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector import snapshot_places
from thalweg.connector.snapshot_places import Place, Places


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=200), st.integers(1, 9))
def test_as_a_dict_of_places(steps: list[tuple[int, bool]], few: int) -> None:
    before = snapshot_places._FEW
    snapshot_places._FEW = few
    try:
        places, expected = Places(), {}
        for offset, (number, gone) in enumerate(steps):
            key = f"k{number}".encode()
            if gone:
                places.remove(key)
                expected.pop(key, None)
            else:
                places.put(key, number % 3, offset)
                expected[key] = Place(number % 3, offset)
            assert places.get(key) == expected.get(key)
        assert {key: places.get(key) for key in expected} == expected
        assert places.get(b"other") is None
        assert len(places) == len(expected)
    finally:
        snapshot_places._FEW = before


def test_two_hundred_thousand_keys_take_a_few_megabytes() -> None:
    tracemalloc.start()
    places = Places()
    for number in range(200_000):
        places.put(b"model/key%d" % number, number % 4, number)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(places) == 200_000
    assert places.get(b"model/key123456") == Place(0, 123456)
    # 1,000,000 keys are five times that: well under 100 MB.
    assert kept < 6e6
    assert peak < 14e6

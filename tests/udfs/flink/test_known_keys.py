"""A map that knows its keys gives what a plain map gives, and asks the state for nothing that is not there."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.flink.known_keys import KnownKeys


class Shards:
    """Flink's map state of several shards, of which one is the current one; it counts how often it is asked."""

    def __init__(self) -> None:
        self.tables: dict[int, dict[str, int]] = {}
        self.shard, self.asked, self.listed = 0, 0, 0

    @property
    def table(self) -> dict[str, int]:
        return self.tables.setdefault(self.shard, {})

    def get(self, key: str) -> int | None:
        self.asked += 1
        return self.table.get(key)

    def put(self, key: str, value: int) -> None:
        self.table[key] = value

    def remove(self, key: str) -> None:
        del self.table[key]

    def keys(self) -> list[str]:
        self.listed += 1
        return list(self.table)


STEPS = st.lists(
    st.tuples(st.sampled_from(["get", "put", "remove", "shrink", "restart"]), st.integers(0, 1), st.sampled_from("ab")),
    min_size=20,
    max_size=60,
)


@given(STEPS)
def test_it_is_a_map_per_shard_also_after_a_restart(steps: list[tuple[str, int, str]]) -> None:
    state = Shards()
    plain: dict[tuple[int, str], int] = {}
    known = KnownKeys(state)
    wanted = 0
    for number, (what, shard, key) in enumerate(steps):
        state.shard = shard
        here: Any = known.at(shard)
        if what == "get":
            wanted += (shard, key) in plain
            assert here.get(key) == plain.get((shard, key))
        elif what == "put":
            here.put(key, number)
            plain[(shard, key)] = number
        elif what == "remove":
            here.remove(key)
            plain.pop((shard, key), None)
        elif what == "shrink":
            here.shrink()
        else:
            known = KnownKeys(state)
    assert state.asked == wanted
    assert {(s, k): v for s, table in state.tables.items() for k, v in table.items()} == plain


def test_the_keys_of_a_shard_are_listed_once() -> None:
    state = Shards()
    state.put("old", 1)
    known = KnownKeys(state)
    for number in range(100):
        known.at(0).put(f"k{number}", number)
        assert known.at(0).get("new") is None
    assert known.at(0).get("old") == 1
    assert (state.listed, state.asked) == (1, 1)

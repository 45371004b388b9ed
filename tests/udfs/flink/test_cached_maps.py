"""Removed entries leave nothing behind in the classes of PyFlink that cache maps in state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from apache_beam.runners.worker.statecache import StateCache
from hypothesis import given
from hypothesis import strategies as st
from pyflink.fn_execution.coders import BigIntCoder
from pyflink.fn_execution.state_impl import CachingMapStateHandler, InternalSynchronousMapRuntimeState
from thalweg.udfs.flink.cached_maps import forget_removed, return_memory


class Behind:
    """What Java does: takes entries, and says of every entry it is asked for that there is none."""

    def append_raw(self, _key: Any, _data: bytes) -> None:
        return None

    def get_raw(self, _key: Any, _token: bytes) -> tuple[bytes, bytes]:
        return bytes([CachingMapStateHandler.NOT_EXIST_FLAG]), b""


def cached_map() -> tuple[Any, Any]:
    """Return a map in state as PyFlink makes it, and the way to its cache."""
    cache = StateCache(1 << 20)
    context = SimpleNamespace(user_state_cache_token=b"token", bundle_cache_token=None)
    handler = CachingMapStateHandler(
        SimpleNamespace(_state_cache=cache, _underlying=Behind(), _context=context), 20_000
    )
    handler._convert_to_cache_key = lambda key: key
    internal = InternalSynchronousMapRuntimeState(handler, b"shard 1", BigIntCoder(), BigIntCoder(), 20_000)
    return SimpleNamespace(get_internal_state=lambda: internal), lambda: cache.peek((b"shard 1", b"token"))


@given(st.sets(st.integers(0, 300), min_size=1), st.data())
def test_a_removed_entry_is_out_of_the_cache_and_the_others_are_as_they_were(keys: set[int], data: Any) -> None:
    state, cache = cached_map()
    internal = state.get_internal_state()
    for key in sorted(keys):
        internal.put(key, key * 2)
    internal.commit()
    gone = data.draw(st.sets(st.sampled_from(sorted(keys))))
    for key in gone:
        internal.remove(key)
    forget_removed(state)
    kept = sorted(keys - gone)
    assert list(cache()._cache) == kept
    assert cache().get_cached_keys() == set(kept)
    assert [internal.get(key) for key in kept] == [key * 2 for key in kept]
    assert all(internal.get(key) is None for key in gone)


def test_a_map_that_pyflink_would_keep_in_another_way_is_left_alone() -> None:
    for state in ({}, SimpleNamespace(get_internal_state=dict)):
        forget_removed(state)
    return_memory()

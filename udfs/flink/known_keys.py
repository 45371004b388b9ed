"""A map in Flink's state that knows which keys it has, so that nobody is asked for those it lacks."""

from __future__ import annotations

from typing import Any

from thalweg.udfs.flink.cached_maps import forget_removed

__all__ = ["KnownKeys"]


class KnownKeys:
    """The map of the current shard.

    Python asks Java for an entry that is not in its cache, and waits: about a millisecond, ten times what a new key's
    model takes to be made and taught. A shard's keys come in bulk once, when it is first touched after a start; from
    then on a key that is new is known to be new.

    Parameters
    ----------
    state : MapState
        With texts as keys; None is no value.
    """

    def __init__(self, state: Any) -> None:
        self._state = state
        self._shards: dict[Any, set[str]] = {}
        self._shard: Any = None
        self._known: set[str] = set()

    def at(self, shard: Any) -> KnownKeys:
        """Turn to a shard, the one that Flink has made the current one."""
        known = self._shards.get(shard)
        if known is None:
            known = self._shards[shard] = set(self._state.keys())
        self._shard, self._known = shard, known
        return self

    def get(self, key: str) -> Any:
        """Return the value of a key, None where there is none."""
        return self._state.get(key) if key in self._known else None

    def put(self, key: str, value: Any) -> None:
        """Set the value of a key."""
        self._known.add(key)
        self._state.put(key, value)

    def remove(self, key: str) -> None:
        """Remove a key."""
        if key in self._known:
            self._known.remove(key)
            self._state.remove(key)

    def shrink(self) -> None:
        """Give back what removed keys of the current shard still hold in memory: no set or map shrinks by itself."""
        self._known = self._shards[self._shard] = set(self._known)
        forget_removed(self._state)

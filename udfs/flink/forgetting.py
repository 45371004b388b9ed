"""Forgets the keys of a shard that have been idle for too long, and frees what they held."""

from __future__ import annotations

from typing import Any

from pyflink.common import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor
from thalweg.udfs.flink.cached_maps import forget_removed, return_memory

__all__ = ["Forgetting"]

_STEPS = 4  # looks per time to live
_RETURN_AFTER = 10_000  # models forgotten, until the worker looks for memory to give back: that takes it tens of ms


class Forgetting:
    """Remembers when each key of the current shard last learned, and removes the idle ones from its state.

    Flink's own time to live is not used: on the heap, the background clean-up looks at five whole maps on every access
    and copies each of their entries, so that a shard of thousands of models comes to a halt; and without it nothing is
    freed. Nor would it reach the models that Python caches. Here an idle key is out of Java and Python alike, between
    one time to live and one and a half after it last learned, by the clock of the machine; what a key costs is a number
    in state that is written once per quarter of that time.

    Parameters
    ----------
    runtime_context : RuntimeContext
        Of the operator.
    ttl_ms : int
        Time to live, ms.
    """

    def __init__(self, runtime_context: RuntimeContext, ttl_ms: int) -> None:
        self._ttl_ms, self._step_ms = ttl_ms, max(1, ttl_ms // _STEPS)
        self._seen = runtime_context.get_map_state(MapStateDescriptor("seen", Types.STRING(), Types.LONG()))
        self._asked: dict[Any, int] = {}
        # Which keys have been noted in the current step, so that state, which is slow to answer, need not be asked.
        self._noted: dict[Any, tuple[int, set[str]]] = {}
        self._removed = 0  # since memory was last given back

    def touch(self, key: str, ctx: Any) -> None:
        """Note that a key has learned."""
        timers = ctx.timer_service()
        now_ms = timers.current_processing_time()
        step_ms = now_ms // self._step_ms * self._step_ms
        shard = str(ctx.get_current_key())
        noted_ms, noted = self._noted.get(shard, (None, set[str]()))
        if noted_ms != step_ms:
            noted = set()
            self._noted[shard] = (step_ms, noted)
        if key not in noted:
            noted.add(key)
            self._seen.put(key, step_ms)
        if self._asked.get(shard, 0) <= now_ms:  # the timer survives a restart, and one that is set twice comes once
            self._asked[shard] = step_ms + self._step_ms
            timers.register_processing_time_timer(step_ms + self._step_ms)

    def sweep(self, models: Any, ctx: Any) -> int:
        """Remove the idle keys from the map of models, and return how many are left."""
        timers = ctx.timer_service()
        now_ms = timers.current_processing_time()
        last_ms = now_ms - self._ttl_ms - self._step_ms
        seen = list(self._seen.items())
        idle = [key for key, seen_ms in seen if seen_ms <= last_ms]
        left = len(seen) - len(idle)
        del seen
        for key in idle:
            self._seen.remove(key)
            models.remove(key)
        if idle:
            models.shrink()
            forget_removed(self._seen)
            self._removed += len(idle)
            if self._removed >= _RETURN_AFTER:
                self._removed = 0
                return_memory()
        if left:
            next_ms = (now_ms // self._step_ms + 1) * self._step_ms
            self._asked[str(ctx.get_current_key())] = next_ms
            timers.register_processing_time_timer(next_ms)
        return left

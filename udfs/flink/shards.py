"""Which Flink key each shard has, so that shards spread evenly over the subtasks of an operator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pyflink.java_gateway import get_gateway

__all__ = ["shard_keys"]


@cache
def shard_keys(shards: int, max_parallelism: int) -> Sequence[int]:
    """Return one Flink key per shard.

    Flink hashes a key into one of ``max_parallelism`` key groups and gives each subtask a range of them. Small integers
    would fall where the hash puts them, many into one subtask. So the key of shard i is the first integer that falls
    into the i-th of ``shards`` equal parts of the key groups; Flink itself is asked where an integer falls.

    Parameters
    ----------
    shards : int
        Number of shards.
    max_parallelism : int
        The job's maximum parallelism; -1 is Flink's default of 128.
    """
    groups = max_parallelism if max_parallelism > 0 else 128
    if shards == 1:
        return (0,)
    gateway = get_gateway()
    assign = gateway.jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    wanted = [shard * groups // shards for shard in range(shards)]
    keys: dict[int, int] = {}
    candidate = 0
    while len(keys) < len(set(wanted)):
        row = gateway.jvm.org.apache.flink.types.Row(1)
        row.setField(0, candidate)
        group = assign(row, groups)
        if group in wanted and group not in keys:
            keys[group] = candidate
        candidate += 1
    return tuple(keys[group] for group in wanted)

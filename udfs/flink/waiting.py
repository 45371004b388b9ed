"""Rows that wait in Flink's state until the watermark has passed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyflink.common import Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ListStateDescriptor
from thalweg.udfs.logic.ordering import Ordered, in_order
from thalweg.udfs.logic.packing import column_minimum

__all__ = ["WaitingRows"]


class WaitingRows:
    """Gives the blocks of the current shard back as rows in the order of their time.

    Parameters
    ----------
    runtime_context : RuntimeContext
        Of the operator.
    kinds : sequence of str
        Kinds of the columns.
    order : (int, sequence of int)
        Which column is the time, and which decide between rows of one time.
    """

    def __init__(self, runtime_context: RuntimeContext, kinds: Sequence[str], order: tuple[int, Sequence[int]]) -> None:
        self._kinds, (self._time_at, self._ties) = tuple(kinds), order
        self._blocks = runtime_context.get_list_state(ListStateDescriptor("waiting", Types.PICKLED_BYTE_ARRAY()))

    def put(self, block: bytes, ctx: Any) -> list[list[Any]]:
        """Let the rows of a block wait, and return those that are late already: nothing is in order for them."""
        first_ms = column_minimum(block, self._time_at)
        if first_ms > ctx.timer_service().current_watermark():
            self._wait(block, first_ms, ctx)
            return [[] for _ in self._kinds]
        return self._split([block], ctx)

    def take(self, ctx: Any) -> list[list[Any]]:
        """Return the rows that the watermark has passed, in order."""
        blocks = list(self._blocks.get() or ())
        if not blocks:
            return [[] for _ in self._kinds]
        self._blocks.clear()
        return self._split(blocks, ctx)

    def _split(self, blocks: Sequence[bytes], ctx: Any) -> list[list[Any]]:
        watermark_ms = ctx.timer_service().current_watermark()
        ordered: Ordered = in_order(blocks, self._kinds, self._time_at, self._ties, watermark_ms)
        if ordered.waiting is not None and ordered.next_ms is not None:
            self._wait(ordered.waiting, ordered.next_ms, ctx)
        return ordered.columns

    def _wait(self, block: bytes, first_ms: int, ctx: Any) -> None:
        self._blocks.add(block)
        ctx.timer_service().register_event_time_timer(first_ms)

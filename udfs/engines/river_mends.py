"""Mends the classes of River that no pickle can hold, for as long as the process runs.

The parts of ``time_series.HoltWinters`` are queues whose constructor takes something else than a queue's, so that their
pickle cannot be read; ``preprocessing.OrdinalEncoder`` counts with a generator, which cannot be written. What is
computed is the same.
"""

from __future__ import annotations

import copyreg
from collections import deque
from collections.abc import Collection
from typing import Any

from river.preprocessing import ordinal
from river.time_series import holt_winters

__all__ = ["Codes"]


class Codes:
    """The whole numbers from 0 on without some, one after the other.

    Examples
    --------
    >>> codes = Codes({1})
    >>> next(codes), next(codes)
    (0, 2)
    """

    def __init__(self, skipped: Collection[int | None]) -> None:
        self.skipped = skipped
        self.following = 0

    def __next__(self) -> int:
        while self.following in self.skipped:
            self.following += 1
        self.following += 1
        return self.following - 1


def _reduce(queue: Any, protocol: int) -> tuple[Any, ...]:
    state = {**vars(queue), "items": list(queue), "maxlen": queue.maxlen}
    return copyreg.__newobj__, (type(queue),), state  # type: ignore[attr-defined]


def _set_state(queue: Any, state: dict[str, Any]) -> None:
    items, longest = state.pop("items"), state.pop("maxlen")
    deque.__init__(queue, items, longest)
    items.clear()  # so that no bytes of a pickle are copied twice
    vars(queue).update(state)


holt_winters.Component.__reduce_ex__ = _reduce
holt_winters.Component.__setstate__ = _set_state
# Under the name of River's module: dumps refer to it.
Codes.__module__ = ordinal.__name__
ordinal.Codes = Codes
ordinal.make_counter = Codes

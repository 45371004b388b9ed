"""What runs a model that is compared: how long its blocks take, and that a shadow harms nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from thalweg.udfs.logic.assignment import SLOTS, keys_of, slots_of
from thalweg.udfs.logic.learning import LEARN
from thalweg.udfs.logic.learning_outcome import Outcome
from thalweg.udfs.logic.shadow_budget import ShadowBudget, rows_without

__all__ = ["ArmGuard", "ArmRole", "refused_block"]

_Result = TypeVar("_Result")
_LONGEST = 300


class ArmRole(NamedTuple):
    """What a model is in the comparisons of a job.

    Attributes
    ----------
    carried : tuple of str
        Columns of the input table that go with its answers.
    shadow : bool
        Whether it is a shadow in all of them: what goes wrong with it is then its own affair.
    budget_ms : float or None
        Time per event that it may take as a shadow.
    share : float
        Part of the events, 0 to 1, that it answers as a shadow: always the same ones, by a hash of the event id.
    """

    carried: tuple[str, ...] = ()
    shadow: bool = False
    budget_ms: float | None = None
    share: float = 1.0

    @property
    def skips(self) -> bool:
        """Whether there may be events that it does not answer."""
        return self.budget_ms is not None or self.share < 1


class ArmGuard:
    """Times the blocks of a model, and keeps a shadow within its budget and its failures to itself.

    What is measured is what the model adds in the worker: from when a block of events reaches it to when its last
    answer is there, learning in between included. Each event of a block waits for that long. Not in it: Kafka, the
    time until the watermark lets the block go, the way between processes. The first block after a start is not told,
    as it loads and compiles.

    Parameters
    ----------
    role : ArmRole
        Of the model.
    clock : callable
        Nanoseconds that never run back.

    Attributes
    ----------
    shadow : bool
        Whether it is one.
    failures : int
        Blocks of a shadow that failed, so far.

    Examples
    --------
    >>> ticks = iter([0, 5_000_000, 5_000_000, 8_000_000])
    >>> guard = ArmGuard(ArmRole(), lambda: next(ticks))
    >>> for _ in range(2):
    ...     answers = guard.run(10, lambda: list("abc"), list)
    ...     print(guard.block_time(len(answers)))
    (None, None)
    (3.0, 3)
    """

    def __init__(self, role: ArmRole, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.shadow, self._clock, self._share = role.shadow, clock, role.share
        self.budget = None if role.budget_ms is None else ShadowBudget(role.budget_ms)
        self.failures = 0
        self._taken_ns, self._warm = 0, False

    def kept(self, columns: list[list[Any]]) -> list[list[Any]]:
        """Return the rows of a block that are to be done, as ``LearningLogic.on_rows`` reads them."""
        if self._share < 1:
            asked = self._asked([event and event.partition("\x1f")[0] for event in columns[2]])
            columns = rows_without(columns, [not mine for mine in asked])
        return columns if self.budget is None else self.budget.kept(columns)

    def picked(self, count: int, events: Sequence[str | None] | None = None) -> Sequence[int]:
        """Return which of so many events are to be answered; where it has a share, their ids are needed."""
        chosen: Sequence[int] = range(count)
        if events is not None and self._share < 1:
            chosen = [at for at, mine in enumerate(self._asked(events)) if mine]
        return chosen if self.budget is None else [chosen[at] for at in self.budget.picked(len(chosen))]

    def _asked(self, events: Sequence[str | None]) -> list[bool]:
        found: list[bool] = (slots_of(keys_of(events, "mirror")) < round(self._share * SLOTS)).tolist()
        return found

    def run(self, rows: int, work: Callable[[], _Result], failed: Callable[[str], _Result]) -> _Result:
        """Return what ``work`` makes of a block; where it is a shadow's and fails, what ``failed`` makes of the reason.

        ``rows`` is how many rows are in the block.
        """
        since_ns = self._clock()
        try:
            found = work()
        except Exception as error:  # whatever a shadow does, the answers of the others must come
            if not self.shadow:
                raise
            self.failures += 1
            found = failed(f"the shadow failed: {type(error).__name__}: {error}"[:_LONGEST])
        self._taken_ns = self._clock() - since_ns
        if self.budget is not None and rows:
            self.budget.spent(rows, self._taken_ns)
        return found

    def block_time(self, answers: int) -> tuple[float | None, int | None]:
        """Return how long the last block took in ms, and how many answers waited for it; nothing of the first one."""
        if not answers:
            return None, None
        warm, self._warm = self._warm, True
        return (self._taken_ns / 1e6, answers) if warm else (None, None)


def refused_block(columns: list[list[object]], reason: str) -> Outcome:
    """Return the outcome of a block, as ``LearningLogic.on_rows`` reads it, of which nothing could be answered."""
    out = Outcome()
    for kind, key, event_id, event_ms in zip(*columns[:4], strict=True):
        if kind != LEARN:
            out.answers.add(event_id, key or "", event_ms, (None, None, None, "refused", reason), 0, None)  # type: ignore[arg-type]  # of the block's kinds
    return out

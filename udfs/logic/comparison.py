"""Live comparison of models: serves one arm's answer per event, measures all, decides; a pure machine.

Fed with rows in the order of time, it keeps no pending examples: an outcome comes with the answer that was served, and
the arm of a unit at an earlier time is computed again from the log of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.assignment import keys_of
from thalweg.udfs.logic.comparison_books import Books
from thalweg.udfs.logic.comparison_plan import Arm, ArmMetric, Decision, Outcome, Plan, Served
from thalweg.udfs.logic.comparison_state import dump_books, load_books
from thalweg.udfs.logic.event_rows import events_of
from thalweg.udfs.logic.never import NEVER

__all__ = [
    "ANSWER",
    "COMMAND",
    "OUTCOME",
    "ROW_KINDS",
    "ROW_ORDER",
    "Arm",
    "ArmMetric",
    "Comparison",
    "Decision",
    "Outcome",
    "Plan",
    "Served",
]

ANSWER, OUTCOME, COMMAND = range(3)
"""Row kinds: an arm answered an event; an event's outcome, with the answer of an arm; an order of people."""

ROW_KINDS = (
    *("integer", "integer", "string", "string", "integer", "integer", "number", "string", "string", "string"),
    *("string", "string", "number", "number", "number", "number"),
)
"""Kinds of a block's columns, see ``Comparison.on_rows``."""

ROW_ORDER = (5, (0, 4, 2, 1))
"""Where a row has its time, and what decides between rows of one time: kind, event time, event id, arm."""


class _Block(NamedTuple):
    """A block as events: arrays of one entry per event, ``rows`` with one column per arm."""

    kind: Any
    event_ms: Any
    row_ms: Any
    time_ms: Any  # of the clock, which never runs back
    head: Any
    rows: Any
    keys: Any


class Comparison:
    """The machine of one experiment.

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._every = plan.every
        self._books = Books(plan)
        self._now_ms = self._next = NEVER

    def on_rows(self, columns: Sequence[Sequence[Any]]) -> Outcome:
        """Take a block of rows, in order (``ROW_ORDER``), and return what came of it.

        All rows of one event and kind stand side by side in one block, as they do when the watermark releases them.

        Parameters
        ----------
        columns : sequence of sequences
            0 ``kind``; 1 ``arm``, its place in ``Plan.arms``; 2 ``event_id``; 3 ``unit``; 4 ``event_time_ms``, of the
            event; 5 ``row_time_ms``, when the row came to be: of an answer the event's, of an outcome the label's; 6
            ``score``, 7 ``label``, 8 ``detail`` (probabilities as JSON) of the arm's answer; 9 ``truth`` as text, as
            Flink's CAST to STRING gives it, NULL for an answer; 10 ``status`` of the answer; 11 ``slices``, a JSON
            array; 12 ``latency_ms`` of the answer or NULL; 13 ``reward`` of the outcome or NULL; 14 ``base``, what a
            reward is divided by in a ratio, NULL for 1; 15 ``waited``, how many events waited for that latency
            together, NULL for 1: of them one has it. Columns from 12 on may be left out; what stands behind them is
            ignored.

            Of a command: 7 has its name (``promote``, ``rollback``, ``freeze``, ``resume``, ``weights``), 8 a JSON
            object with ``argument``, ``issued_by`` and ``reason``, 4 and 5 its time; the rest is ignored.
        """
        out = Outcome(Served([], [], [], []), [], [], [])
        if not len(columns[0]):
            return out
        block = self._block(columns)
        ready = self._books.prepare(columns, block.rows, block.kind == ANSWER, block.kind == OUTCOME)
        at, count = 0, len(block.head)
        while at < count:
            now_ms = int(block.time_ms[at])
            _join(out, self.on_time(now_ms))
            out.decisions.extend(self._books.begin(now_ms))
            self._now_ms = now_ms
            if block.kind[at] == COMMAND:
                head = int(block.head[at])
                out.decisions.append(self._books.command(columns[7][head], columns[8][head], now_ms))
                at += 1
                continue
            stop = self._stretch(block, at)
            part = slice(at, stop)
            self._now_ms = int(block.time_ms[stop - 1])
            asked = at + np.flatnonzero(block.kind[part] == ANSWER)
            if len(asked):
                served = self._books.serve(ready, asked, block.rows, block.keys, block.event_ms)
                _serve(out.served, served)
            told = at + np.flatnonzero(block.kind[part] == OUTCOME)
            if len(told):
                self._books.measure(ready, told, block.keys, block.event_ms, block.row_ms)
            at = stop
            if self._every.events is not None and self._books.outcomes >= self._next:
                _join(out, self._look(self._now_ms, self._now_ms))
        return out

    def _block(self, columns: Sequence[Sequence[Any]]) -> _Block:
        kind, arm, event_ms, row_ms = (np.asarray(columns[at], dtype=np.int64) for at in (0, 1, 4, 5))
        events = events_of(kind, arm, columns[2], event_ms, len(self.plan.arms), COMMAND)
        self._books.repeated += events.repeated
        head = events.head
        units = columns[3]
        keys = keys_of([units[at] for at in head.tolist()], self.plan.salt or self.plan.name)
        time_ms = np.maximum(np.maximum.accumulate(row_ms[head]), self._now_ms)
        return _Block(kind[head], event_ms[head], row_ms[head], time_ms, head, events.rows, keys)

    def _stretch(self, block: _Block, at: int) -> int:
        """Return the end of the events from ``at`` on that come before the next look or order, at least one."""
        orders = np.flatnonzero(block.kind[at:] == COMMAND)
        stop = at + int(orders[0]) if len(orders) else len(block.kind)
        if self._every.time_ms is None:
            if self._next == NEVER:
                self._next = self._every.events or 1
            told = np.flatnonzero(block.kind[at:stop] == OUTCOME)
            room = self._next - self._books.outcomes
            return stop if len(told) < room else at + int(told[room - 1]) + 1
        self._next = (int(block.time_ms[at]) // self._every.time_ms + 1) * self._every.time_ms
        beyond = np.flatnonzero(block.time_ms[at:stop] >= self._next)
        return at + int(beyond[0]) if len(beyond) else stop

    def on_time(self, now_ms: int) -> Outcome:
        """Return what is due when stream time has reached ``now_ms``; nothing is served by it.

        Whether a row or the clock comes first makes no difference: a look stands on the first multiple of the interval
        after a row.
        """
        if self._every.time_ms is not None and NEVER < self._next <= now_ms:
            # Rows of just this time come after the look.
            return self._look(self._next, self._next - 1)
        return Outcome(Served([], [], [], []), [], [], [])

    def _look(self, now_ms: int, at_ms: int) -> Outcome:
        self._now_ms = max(self._now_ms, now_ms)
        self._next = NEVER if self._every.time_ms is not None else self._next + (self._every.events or 1)
        return Outcome(Served([], [], [], []), *self._books.look(now_ms, at_ms))

    def wake_at(self) -> int | None:
        """Return the stream time at which ``on_time`` is due next, epoch ms; None where nothing is."""
        return None if self._every.time_ms is None or self._next == NEVER else self._next

    def dump(self) -> bytes:
        """Return the state as bytes, first byte the protocol number."""
        return dump_books(self._books, {"now_ms": self._now_ms, "next": self._next})

    def load(self, blob: bytes) -> None:
        """Take over the state that ``dump`` wrote; arms are known by name.

        An arm that is new takes its share from the default; all others keep their units.

        Raises
        ------
        SnapshotError
            The bytes are of another protocol or damaged.
        """
        books = Books(self.plan)
        clock = load_books(books, blob)
        self._books, self._now_ms, self._next = books, clock["now_ms"], clock["next"]

    def __reduce__(self) -> tuple[Any, ...]:
        # Flink's Python state pickles what it stores; all there is in that pickle is plain arguments and our own bytes.
        return (_revive, (self.plan, self.dump()))


def _revive(plan: Plan, blob: bytes) -> Comparison:
    comparison = Comparison(plan)
    comparison.load(blob)
    return comparison


def _serve(out: Served, more: Served) -> None:
    out.row.extend(more.row)
    out.arm.extend(more.arm)
    out.assigned.extend(more.assigned)
    out.propensity.extend(more.propensity)


def _join(out: Outcome, more: Outcome) -> None:
    out.decisions.extend(more.decisions)
    out.metrics.extend(more.metrics)
    out.alerts.extend(more.alerts)

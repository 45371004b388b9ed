"""Old examples of a shard in Flink's state: kept, and answered again when that is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream.functions import RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from thalweg.udfs.engines.base import Score
from thalweg.udfs.logic.cell import Cell, spec_mark
from thalweg.udfs.logic.declaration import Declaration
from thalweg.udfs.logic.learning import LEARNS
from thalweg.udfs.logic.learning_outcome import Answers, Outcome
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.old_examples import REFERENCE, OldExamples
from thalweg.udfs.logic.signals import old_note

__all__ = ["Remembered"]


class Remembered:
    """The old examples of the current shard.

    Parameters
    ----------
    runtime_context : RuntimeContext
        Of the operator.
    declaration : Declaration
        How many, how often.
    event_time : bool
        Whether a watermark tells when it is time; else the rows do.
    more : tuple of None
        What else the operator's rows have.
    """

    def __init__(
        self, runtime_context: RuntimeContext, declaration: Declaration, event_time: bool, more: tuple[None, ...] = ()
    ) -> None:
        self._d, self._event_time, self._more = declaration, event_time, more
        self._state = runtime_context.get_state(ValueStateDescriptor("old", Types.PICKLED_BYTE_ARRAY()))
        self._mark = spec_mark(declaration.spec)
        self._shards = declaration.shards if declaration.key else 1
        self._heard: list[int] = []
        # What time alone brings about comes at whole multiples of these; to ask state for it each time would be dear.
        times = (declaration.snapshot_every.time_ms, declaration.cadence.time_ms)
        self._periods = [period_ms for period_ms in times if period_ms] if event_time else []

    def run(
        self,
        columns: list[list[Any]],
        ctx: Any,
        models: Any,
        learn: Callable[[Any], Iterator[Any]],
        pass_time: Callable[[int], Iterator[Any]],
        refuse: Callable[[Outcome], Iterator[Any]],
    ) -> Iterator[Any]:
        """Let rows be learned, and time pass between them; yield what that gives, and the notes that are due."""
        old = self._now()
        before = old.due_ms
        kept = REFERENCE in columns[0]
        if kept:
            columns, refused = old.add_reference(columns)
            outcome = Outcome()
            for reason, row, label in refused:
                outcome.refuse("", 0, reason, row, label)
            yield from refuse(outcome)
        for part, next_ms in old.parts(columns):
            yield from learn(part)
            kept |= old.add(part, LEARNS)
            if next_ms is not None and any(old.crosses(next_ms, period_ms) for period_ms in self._periods):
                # What time alone brings about, a snapshot, comes before the note, as it does where a timer is first.
                yield from pass_time(next_ms)
            self._tell(old)
            at_ms = None if next_ms is None else old.pass_time(next_ms)
            if at_ms is not None:
                yield self._row(at_ms, old, models, ctx)
                kept = True
        self._keep(old, kept or old.due_ms != before, ctx)

    def hear(self, versions: list[int]) -> None:
        """Take the times of new versions of the current shard's models, until ``run`` or ``on_time`` goes on."""
        self._heard += versions

    def _tell(self, old: OldExamples) -> None:
        for at_ms in self._heard:
            old.renew(at_ms)
        self._heard = []

    def on_time(self, now_ms: int, ctx: Any, models: Any) -> Iterator[Row]:
        """Yield the note that is due when time has reached ``now_ms``, if one is."""
        old = self._now()
        before = old.due_ms
        self._tell(old)
        at_ms = old.pass_time(now_ms) if self._event_time else None
        if at_ms is not None:
            yield self._row(at_ms, old, models, ctx)
        self._keep(old, at_ms is not None or old.due_ms != before, ctx)

    def _now(self) -> OldExamples:
        found: OldExamples | bytes | None = self._state.value()
        if isinstance(found, OldExamples):
            return found
        d = self._d
        size = -(-d.old_examples // self._shards)
        old = OldExamples(d.spec, size, d.evaluate_every, d.reference_label is not None)
        if found is not None:
            old.load(found)
        return old

    def _keep(self, old: OldExamples, changed: bool, ctx: Any) -> None:
        if changed:
            self._state.update(old)
            if self._event_time and old.due_ms != NEVER:
                ctx.timer_service().register_event_time_timer(old.due_ms)

    def _row(self, at_ms: int, old: OldExamples, models: Any, ctx: Any) -> Row:
        """Return the answers as what the learning operator emits: nothing else is in the row."""

        def score(key: str, row: dict[str, Any]) -> Score | None:
            cell: Cell | None = models.get(key)
            if cell is None or cell.empty() or (cell.sleeping() and cell.mark not in (b"", self._mark)):
                return None
            answer: Score = cell.engine(self._d.spec).score((row,))[0]
            return answer

        note = Row(at_ms, old_note(old.answered(score, f"{ctx.get_current_key()}/{self._shards}")))
        return Row(*([[]] * len(Answers.COLUMNS)), None, None, None, note, None, *self._more)

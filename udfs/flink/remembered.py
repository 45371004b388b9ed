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
from thalweg.udfs.logic.learning_outcome import Answers
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.old_examples import OldExamples
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
    """

    def __init__(self, runtime_context: RuntimeContext, declaration: Declaration, event_time: bool) -> None:
        self._d, self._event_time = declaration, event_time
        self._state = runtime_context.get_state(ValueStateDescriptor("old", Types.PICKLED_BYTE_ARRAY()))
        self._mark = spec_mark(declaration.spec)

    def run(
        self, columns: list[list[Any]], ctx: Any, models: Any, learn: Callable[[Any], Iterator[Any]]
    ) -> Iterator[Any]:
        """Let rows be learned, yield what that gives, and between them the notes that are due."""
        old = self._now()
        before = old.due_ms
        kept = False
        for part, at_ms in old.parts(columns):
            yield from learn(part)
            kept |= old.add(part, LEARNS)
            if at_ms is not None:
                yield self._row(at_ms, old, models)
                kept = True
        self._keep(old, kept or old.due_ms != before, ctx)

    def on_time(self, now_ms: int, ctx: Any, models: Any) -> Iterator[Row]:
        """Yield the note that is due when time has reached ``now_ms``, if one is."""
        old = self._now()
        at_ms = old.pass_time(now_ms)
        if at_ms is not None:
            yield self._row(at_ms, old, models)
            self._keep(old, True, ctx)

    def _now(self) -> OldExamples:
        found: OldExamples | bytes | None = self._state.value()
        if isinstance(found, OldExamples):
            return found
        d = self._d
        shards = d.shards if d.key else 1
        old = OldExamples(d.spec, -(-d.old_examples // shards), d.evaluate_every)
        if found is not None:
            old.load(found)
        return old

    def _keep(self, old: OldExamples, changed: bool, ctx: Any) -> None:
        if changed:
            self._state.update(old)
            if self._event_time and old.due_ms != NEVER:
                ctx.timer_service().register_event_time_timer(old.due_ms)

    def _row(self, at_ms: int, old: OldExamples, models: Any) -> Row:
        """Return the answers as what the learning operator emits: nothing else is in the row."""

        def score(key: str, row: dict[str, Any]) -> Score | None:
            cell: Cell | None = models.get(key)
            if cell is None or cell.empty() or (cell.sleeping() and cell.mark not in (b"", self._mark)):
                return None
            answer: Score = cell.engine(self._d.spec).score((row,))[0]
            return answer

        return Row(*([[]] * len(Answers.COLUMNS)), None, None, None, Row(at_ms, old_note(old.answered(score))))

"""Models that learn by updates: what the learning machine does with a labelled row, and when an update is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.examples import Example
from thalweg.udfs.logic.learning_outcome import Outcome
from thalweg.udfs.logic.loss import loss_of
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.retraining import Cadence, Retraining
from thalweg.udfs.logic.upkeep import Policy, Upkeep

__all__ = ["Updates"]


class Updates:
    """Answers rows and lets them wait, and updates models at the times at which that is due.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    policy : Policy
        Its cadence; without one nothing waits, and what still does from before is learned at once.
    upkeep : Upkeep
        What is seen to after an update.
    wake : callable
        Key and time: asks to be called then.
    outcome : Outcome
        Where everything goes.
    """

    def __init__(
        self, spec: EngineSpec, policy: Policy, upkeep: Upkeep, wake: Callable[[str, int], None], outcome: Outcome
    ) -> None:
        self._spec, self._upkeep, self._wake, self._outcome = spec, upkeep, wake, outcome
        self._cadence = policy.cadence or Cadence()
        self._watched = self._cadence.drift or policy.snapshot_every.drift
        self._retraining = Retraining(spec, self._cadence)

    def wait(self, key: str, cell: Cell, row: Mapping[str, Any], example: Example, time_ms: int) -> Score:
        """Answer a row and let it wait for the model's next update, which may be due at once; return the answer.

        Raises
        ------
        RecordError
            The row or its label cannot be learned.
        """
        score = cell.engine(self._spec).score((row,))[0]
        if score.status == "refused":
            raise RecordError(score.reason)
        loss = loss_of(self._spec, score, example.label)
        drifted = self._watched and cell.drifted(self._spec, loss)
        waited = cell.update_ms
        learned = cell.version(self._spec)
        updated = self._retraining.take(key, cell, example, time_ms, drifted, self._outcome)
        cell.note(example.event_ms, loss)
        if updated:
            if drifted and self._cadence.drift:
                self._tell(key, cell, learned, time_ms)
            self._upkeep.updated(key, cell, time_ms, drifted, self._wake, self._outcome)
        elif cell.update_ms != waited:
            self._wake(key, cell.wake_ms())
        return score

    def _tell(self, key: str, cell: Cell, learned: int, time_ms: int) -> None:
        """Note that a drift has led to an update."""
        newest, usual = cell.error_rates()
        reason = (
            f"the model has become worse for good after {learned} examples: its newest errors are {newest:.3g}, and"
            f" were {usual:.3g}. It was updated with what waited ('cadence' = 'on-drift')."
        )
        figures = {"newest_error": newest, "usual_error": usual, "learned": learned}
        self._outcome.decide(key, "retrain", reason, time_ms, **figures, learned_after=cell.version(self._spec))

    def due(self, key: str, cell: Cell, now_ms: int) -> bool:
        """Update a model whose time has come, as of that time, and return whether there was anything to do."""
        at_ms = cell.update_ms
        if at_ms == NEVER or at_ms > now_ms:
            return False
        if cell.due_ms != NEVER and cell.due_ms <= at_ms:
            self._upkeep.publish(key, cell, cell.due_ms, self._outcome)
        if self._retraining.update(key, cell, at_ms, self._outcome):
            self._upkeep.updated(key, cell, at_ms, False, self._wake, self._outcome)
        return True

    def finish(self, key: str, cell: Cell, at_ms: int) -> None:
        """Learn at once what still waits, for the model learns from every event from now on."""
        self._retraining.update(key, cell, at_ms, self._outcome, last=True)
        cell.examples = b""

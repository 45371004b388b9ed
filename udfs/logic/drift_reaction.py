"""What becomes of a model that has become worse for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.learning_outcome import Alert, Outcome

__all__ = ["REACTIONS", "DriftReaction"]

REACTIONS = ("none", "warn", "reset", "replace", "rollback")
"""Nothing; an alert; and the model begins anew; or the one that has learned since the warning takes its place; or it
goes back to its last good copy."""


class DriftReaction:
    """Watches the errors of models, and acts.

    ``replace``: when the newest errors are so many that it may be a drift, a second model begins to learn beside the
    first and is asked nothing. A drift puts it in the place of the first one; if the errors become usual again it is
    dropped. ``rollback``: the copy is one of every 512 examples, so it may have learned some of what came with a drift.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    reaction : str
        One of ``REACTIONS`` but ``none``.

    References
    ----------
    Gama et al., Learning with Drift Detection (2004): warning and drift. Gomes et al., Adaptive Random Forests (2017):
    the learner in the background.
    """

    def __init__(self, spec: EngineSpec, reaction: str) -> None:
        self._spec, self._reaction = spec, reaction

    def after(
        self,
        key: str,
        cell: Cell,
        row: Mapping[str, Any],
        label: Any,
        time_ms: int,
        loss: float | None,
        outcome: Outcome,
    ) -> bool:
        """Watch the loss of an example that was just learned, and return whether there was a drift."""
        drifted = cell.drifted(self._spec, loss)
        if drifted:
            self._react(key, cell, time_ms, outcome)
        elif self._reaction == "replace":
            self._beside(cell, row, label)
        return drifted

    def _beside(self, cell: Cell, row: Mapping[str, Any], label: Any) -> None:
        warned = cell.warned()
        if warned is None:  # neither usual nor strange: it goes on as it is
            warned = cell.has_second()
        if not warned:
            cell.drop_second()
            return
        try:
            cell.second(self._spec).learn(row, label)
        except RecordError:
            return  # the first one took it; a second one that cannot has nothing to learn from it

    def _react(self, key: str, cell: Cell, time_ms: int, outcome: Outcome) -> None:
        newest, usual = cell.error_rates()
        learned, fate = cell.engine(self._spec).learned, "It goes on."
        if self._reaction == "reset":
            cell.fill(self._spec)
            fate = "It begins anew ('on-drift' = 'reset')."
        elif self._reaction == "replace":
            second = cell.second(self._spec)
            cell.fill(self._spec, second)
            fate = f"The model that has learned {second.learned} examples since the warning takes its place."
        elif self._reaction == "rollback":
            kept = cell.roll_back(self._spec)
            cell.published = min(cell.published, kept)
            fate = f"It went back to the copy of {kept} examples ('on-drift' = 'rollback')."
        cell.drop_second()
        if self._reaction != "warn":
            cell.forget_errors()
        reason = (
            f"the model has become worse for good after {learned} examples: its newest errors are {newest:.3g}, and"
            f" were {usual:.3g}. {fate}"
        )
        outcome.alerts.append(Alert(key, "drift", "warning", newest, usual, time_ms, reason))
        now = cell.engine(self._spec).learned
        figures = {"newest_error": newest, "usual_error": usual, "learned": learned, "learned_after": now}
        outcome.decide(key, self._reaction, reason, time_ms, **figures)

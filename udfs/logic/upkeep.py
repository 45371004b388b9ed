"""What is seen to after an example was learned: health, size, drift, and the next snapshot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.learning_outcome import Alert, Outcome, Published
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.retraining import Cadence

__all__ = ["LOOK_EVERY", "Policy", "Upkeep"]

LOOK_EVERY = 64
"""Examples between two looks at a model's health."""


@dataclass(frozen=True)
class Policy:
    """How the models of a flow are kept.

    Attributes
    ----------
    snapshot_every : Every
        When a changed model is published. By time: on whole multiples of it, with all rows before that time and none
        after, whatever the size of blocks.
    max_model_size : int
        Bytes; a larger model is not published but reported.
    on_max_model_size : str
        What else becomes of it: ``freeze``, it answers and learns no more; ``reset``, it begins anew; ``keep``, it goes
        on learning.
    prior_strength : int or None
        Examples of its own after which a key needs the prior no more; None: there is no prior.
    on_spec_change : str
        As in ``revision.revise``.
    cadence : Cadence or None
        When models are updated; None: with every label.
    on_drift : str
        As in ``drift_reaction.REACTIONS``.
    replay_scores : bool
        Whether rows that a published model has learned before a key began with it are answered alone.
    """

    snapshot_every: Every
    max_model_size: int
    on_max_model_size: str = "freeze"
    prior_strength: int | None = None
    on_spec_change: str = "fail"
    cadence: Cadence | None = None
    on_drift: str = "none"
    replay_scores: bool = False


class Upkeep:
    """Keeps models well; ``wake`` of the calls asks for a time at which a snapshot is due."""

    def __init__(self, spec: EngineSpec, policy: Policy) -> None:
        self._spec, self._policy, self._every = spec, policy, policy.snapshot_every

    def after(
        self,
        key: str,
        cell: Cell,
        time_ms: int,
        loss: float | None,
        wake: Callable[[str, int], None],
        outcome: Outcome,
        drifted: bool | None = None,
    ) -> None:
        """See to everything after one example was learned; ``drifted`` is None where nobody has watched its loss."""
        if self.keep_healthy(key, cell, time_ms, outcome):
            if drifted is None:
                drifted = self._every.drift and cell.drifted(self._spec, loss)
            drifted = drifted and self._every.drift
            self._announce(key, cell, time_ms, drifted, wake, outcome)

    def updated(
        self, key: str, cell: Cell, time_ms: int, drifted: bool, wake: Callable[[str, int], None], outcome: Outcome
    ) -> None:
        """See to size and the next snapshot after the model has been updated with many examples."""
        outcome.replaced.append(time_ms)
        size = cell.keep_good(self._spec, cell.engine(self._spec).learned)
        if size > self._policy.max_model_size:
            self._too_large(key, cell, size, time_ms, outcome)
        else:
            self._announce(key, cell, time_ms, drifted and self._every.drift, wake, outcome)

    def _announce(
        self, key: str, cell: Cell, time_ms: int, drifted: bool, wake: Callable[[str, int], None], outcome: Outcome
    ) -> None:
        """Publish the model, or note when it is to be published."""
        every = self._every
        if drifted:
            self.publish(key, cell, time_ms, outcome)
        elif every.events is not None:
            if cell.version(self._spec) - cell.published >= every.events:
                self.publish(key, cell, time_ms, outcome)
        elif every.time_ms is not None and cell.due_ms == NEVER:
            cell.due_ms = (time_ms // every.time_ms + 1) * every.time_ms
            wake(key, cell.wake_ms())

    def keep_healthy(self, key: str, cell: Cell, time_ms: int, outcome: Outcome) -> bool:
        """Look every so many examples at health and size, and return whether the model is still the one it was."""
        learned = cell.engine(self._spec).learned
        if learned % LOOK_EVERY:
            return True
        if not self.heal(key, cell, time_ms, outcome):
            return False
        size = cell.keep_good(self._spec, learned)
        if size <= self._policy.max_model_size:
            return True
        self._too_large(key, cell, size, time_ms, outcome)
        return False

    def heal(self, key: str, cell: Cell, time_ms: int, outcome: Outcome) -> bool:
        """Return whether a model is healthy; one that is not goes back to its last good copy, and an alert tells."""
        engine = cell.engine(self._spec)
        if engine.healthy():
            return True
        learned, kept = engine.learned, cell.roll_back(self._spec)
        reason = (
            f"the model diverged after {learned} examples and went back to the copy of {kept}. The likely cause:"
            " features of very different sizes without a scaler, or too high a learning rate."
        )
        outcome.alerts.append(Alert(key, "divergence", "critical", float(learned), 0.0, time_ms, reason))
        outcome.decide(key, "rollback", reason, time_ms, learned=learned, learned_after=kept)
        return False

    def publish(self, key: str, cell: Cell, at_ms: int, outcome: Outcome) -> None:
        """Publish a model as of ``at_ms``; one that is too large is reported instead, and treated by the policy."""
        self.heal(key, cell, at_ms, outcome)
        cell.due_ms = NEVER
        cell.published = version = cell.version(self._spec)
        blob = cell.engine(self._spec).dump()
        if len(blob) > self._policy.max_model_size:
            self._too_large(key, cell, len(blob), at_ms, outcome)
            return
        loss = cell.progressive_loss()
        metrics = {} if loss is None or not math.isfinite(loss) else {"progressive_loss": loss}
        slot = cell.snapshots % 2
        cell.snapshots += 1
        outcome.published.append(Published(key, blob, version, cell.last_event_ms, at_ms, metrics, slot))

    def _too_large(self, key: str, cell: Cell, size: int, at_ms: int, outcome: Outcome) -> None:
        limit, then = self._policy.max_model_size, self._policy.on_max_model_size
        fate = {
            "freeze": "It goes on answering and learns no more.",
            "reset": "It begins anew.",
            "keep": "It goes on learning.",
        }[then]
        reason = (
            f"the model has {size} bytes, more than max-model-size allows, and is not published. {fate} Bound its"
            " growth (depth, window, vocabulary) or raise 'max-model-size'."
        )
        severity = "warning" if then == "keep" else "critical"
        outcome.alerts.append(Alert(key, "model-size", severity, float(size), float(limit), at_ms, reason))
        if then == "reset":
            outcome.replaced.append(at_ms)
            cell.fill(self._spec)
        cell.frozen = then == "freeze"

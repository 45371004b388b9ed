"""When a model learns what it has been told: at each label, or by updates, each of which is a version of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from thalweg.connector.errors import RecordError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Learner
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.examples import Example, Examples
from thalweg.udfs.logic.learning_outcome import Alert, Outcome
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.update_gate import UpdateGate

__all__ = ["Cadence", "Retraining"]

_BATCH = 32  # rows of one step of an engine that learns from many at once


class Cadence(NamedTuple):
    """How often a model is updated, and from what.

    Attributes
    ----------
    events : int or None
        After so many labels.
    time_ms : int or None
        On whole multiples of so much stream time.
    drift : bool
        When its loss drifts, by River's ADWIN.
    stateful : bool
        An update goes on from the last weights; else it begins anew, from the old examples and the new ones.
    replay_size : int
        Old examples that are kept; the newest ones where each update begins anew.
    replay_ratio : float
        Old examples that are learned again with each new one.
    most : int
        Waiting examples at which an update comes whatever the time.
    gate : float or None
        By what share an update's mean loss on held-out examples may be higher than that of the version before; None:
        any update serves.
    """

    events: int | None = None
    time_ms: int | None = None
    drift: bool = False
    stateful: bool = True
    replay_size: int = 0
    replay_ratio: float = 0.0
    most: int = 10_000
    gate: float | None = None


class Retraining:
    """Lets labelled examples wait in a model's cell, and updates it when the cadence says so.

    Parameters
    ----------
    spec : EngineSpec
        The model.
    cadence : Cadence
        When.
    """

    def __init__(self, spec: EngineSpec, cadence: Cadence) -> None:
        self._spec, self._cadence = spec, cadence

    def examples(self, cell: Cell) -> Examples:
        """Return the examples of a cell, reading them on first use."""
        found = cell.examples
        if isinstance(found, Examples):
            return found
        examples = Examples(self._spec, self._cadence.replay_size, not self._cadence.stateful)
        if found:
            examples.load(found)
        cell.examples = examples
        return examples

    def take(self, key: str, cell: Cell, example: Example, time_ms: int, drifted: bool, outcome: Outcome) -> bool:
        """Let an example wait, and return whether that led to an update.

        Raises
        ------
        RecordError
            The example has no label.
        """
        if example.label is None:
            raise RecordError(f"the label '{self._spec.output.name}' is missing")
        examples, cadence = self.examples(cell), self._cadence
        examples.add(example)
        if cadence.time_ms is not None and cell.update_ms == NEVER:
            cell.update_ms = (time_ms // cadence.time_ms + 1) * cadence.time_ms
        enough = cadence.events is not None and examples.fresh >= cadence.events
        if enough or len(examples.waiting) >= cadence.most or (drifted and cadence.drift):
            return self.update(key, cell, time_ms, outcome)
        return False

    def update(self, key: str, cell: Cell, at_ms: int, outcome: Outcome, last: bool = False) -> bool:
        """Learn what waits, as of ``at_ms``, and return whether the model was replaced.

        A model that this makes unwell, or worse on held-out examples than the gate allows, is put back, and an alert
        tells. With ``last`` nothing is held out: there will be no other update.
        """
        examples, spec = self.examples(cell), self._spec
        cell.update_ms = NEVER
        if not (examples.waiting if last else examples.fresh):
            return False
        engine = cell.engine(spec)
        before, learned = engine.dump(), engine.learned
        held = examples.held_out() if self._cadence.gate is not None and not last else []
        gate = UpdateGate(spec, held, self._cadence.gate or 0.0) if held else None
        if gate is not None:
            gate.look(engine)
        if self._cadence.stateful:
            rows = examples.replayed(self._cadence.replay_ratio, held)
        else:
            engine, rows = cast("Learner", build(spec)), [*examples.old, *examples.replayed(0.0, held)]
        self._learn(engine, rows, at_ms, outcome)
        examples.settle(held)
        alert = self._fault(key, engine, gate, len(rows), learned, at_ms)
        if alert is None:
            cell.exchange(engine)
            return True
        examples.refused += 1
        cell.exchange(cast("Learner", restore(spec, before)))
        outcome.alerts.append(alert)
        outcome.decide(key, "rollback", alert.reason, at_ms, learned=learned, learned_after=learned)
        return False

    def _fault(
        self, key: str, engine: Learner, gate: UpdateGate | None, rows: int, learned: int, at_ms: int
    ) -> Alert | None:
        """Return what is to be told of an update that must not serve; None where it may."""
        if not engine.healthy():
            reason = (
                f"an update with {rows} examples left the model with numbers that are of no use; it was put back as it"
                f" was after {learned}. The likely cause: too high a learning rate, or features of very different sizes"
                " without a scaler."
            )
            return Alert(key, "divergence", "critical", float(rows), 0.0, at_ms, reason)
        verdict = None if gate is None else gate.judge(engine)
        if verdict is None:
            return None
        reason = (
            f"an update with {rows} examples does not serve: {verdict.reason} The model was put back as it was after"
            f" {learned}. The likely cause: labels that are wrong, or too high a learning rate."
        )
        return Alert(key, "update-refused", "warning", verdict.loss, verdict.most, at_ms, reason)

    def _learn(self, engine: Learner, examples: Sequence[Example], at_ms: int, outcome: Outcome) -> None:
        names = [name for name, _ in self._spec.inputs]
        many: Any = getattr(engine, "learn_many", None)
        step = _BATCH if many is not None else 1
        for start in range(0, len(examples), step):
            part = examples[start : start + step]
            rows = [dict(zip(names, example.values, strict=True)) for example in part]
            faults: dict[int, str] = {}
            if many is not None:
                faults = many(rows, [example.label for example in part])
            else:
                try:
                    engine.learn(rows[0], part[0].label)
                except RecordError as error:
                    faults = {0: str(error)}
            for at, reason in faults.items():
                outcome.refuse(part[at].event_id, at_ms, reason, rows[at], part[at].label)

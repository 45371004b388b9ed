"""Score first, then learn: the pure machine behind the learning operator.

One machine serves one shard, that is many keys. Time is the time of the rows; state is behind ``ModelStore``. So the
same code runs in a plain loop, in a test with a dict, and in Flink's keyed state, and gives the same answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from thalweg.connector.errors import RecordError
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.durations import NEVER
from thalweg.udfs.logic.options import Every

__all__ = [
    "LEARN",
    "ORDER",
    "SCORE",
    "SCORE_LATE",
    "STEP",
    "Answers",
    "LearningLogic",
    "ModelStore",
    "Outcome",
    "learning_kinds",
]

SCORE, STEP, SCORE_LATE, LEARN = range(4)
"""Row kinds: score only; score, then learn; score an event too late to be learned in order; the label came: learn."""

ORDER = (4, (0, 2))
"""Where a row has its time, and what decides between rows of one time: events before labels, then the event id."""

_LOOK_EVERY = 64  # examples between two looks at a model's health
_NO_KEY = Score(None, None, None, "refused", "the model key is null")


def learning_kinds(spec: EngineSpec) -> tuple[str, ...]:
    """Return the kinds of the columns that ``LearningLogic.on_rows`` reads; without a label its column is all null."""
    return ("integer", "string", "string", "integer", "integer", spec.output.kind, *(kind for _, kind in spec.inputs))


class ModelStore(Protocol):
    """Where the machine keeps its models: Flink state, or a dict in a test."""

    def get(self, key: str) -> Cell | None:
        """Return the cell of a key; None where the key is new."""
        ...

    def put(self, key: str, cell: Cell) -> None:
        """Store a cell. Called after every change: a change without it would be lost."""
        ...

    def wake(self, key: str, at_ms: int) -> None:
        """Ask for ``on_time`` at ``at_ms``, when this key's snapshot is due."""
        ...

    def due(self, now_ms: int) -> Iterable[str]:
        """Remove and return the keys whose snapshot is due at ``now_ms``."""
        ...


class Answers:
    """Predictions, column by column, in the order of the rows.

    Named as in the wire contract, and one more: ``truth``, the label where it came with the event.
    """

    COLUMNS = (
        "event_id", "key", "event_time_ms", "score", "label", "probabilities", "status", "reason", "learned", "truth",
    )  # fmt: skip

    def __init__(self) -> None:
        self.columns: tuple[list[Any], ...] = tuple([] for _ in self.COLUMNS)

    def add(self, event_id: str, key: str, event_ms: int, score: Score, learned: int, truth: Any) -> None:
        """Append one prediction; ``truth`` is the label where it came with the event."""
        ids, keys, times, scores, labels, probabilities, statuses, reasons, counts, truths = self.columns
        ids.append(event_id)
        keys.append(key)
        times.append(event_ms)
        scores.append(score[0])
        labels.append(score[1])
        probabilities.append(score[2])
        statuses.append(score[3])
        reasons.append(score[4])
        counts.append(learned)
        truths.append(None if truth is None else truth if isinstance(truth, str) else json.dumps(truth))


class Published(NamedTuple):
    """A model as it is to be published."""

    key: str
    blob: bytes
    learned: int
    last_event_ms: int
    watermark_ms: int
    metrics: dict[str, float]
    slot: int


class Refusal(NamedTuple):
    """A labelled row that could not be learned."""

    event_id: str
    time_ms: int
    reason: str
    row: str


class Alert(NamedTuple):
    """Something a person must hear of."""

    key: str
    alert: str
    severity: str
    value: float
    threshold: float
    time_ms: int
    reason: str


@dataclass
class Outcome:
    """All that a block of rows, or the passing of time, gives rise to."""

    answers: Answers = field(default_factory=Answers)
    published: list[Published] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


class LearningLogic:
    """Score and learn blocks of rows.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    snapshot_every : Every
        When a changed model is published. By time: on whole multiples of it, with all rows before that time and none
        after, whatever the size of blocks.
    max_model_size : int
        Bytes; a larger model is not published but reported.
    """

    def __init__(self, spec: EngineSpec, snapshot_every: Every, max_model_size: int) -> None:
        self.spec = spec
        self._every = snapshot_every
        self._max_size = max_model_size
        self._names = tuple(name for name, _ in spec.inputs)
        self._cold: Any = None

    def on_rows(self, columns: Sequence[list[Any]], store: ModelStore) -> Outcome:
        """Take rows: columns kind, key, event id, event time ms, row time ms, label, then the features.

        The rows of a key must be in the order in which they are to be answered and learned.
        """
        kinds, keys, event_ids, events_ms, times_ms, labels, *features = columns
        outcome = Outcome()
        answers = outcome.answers
        names, spec = self._names, self.spec
        cells: dict[str, Cell] = {}
        changed: set[str] = set()
        at = -1
        for values in zip(*features, strict=True):
            at += 1
            kind, key, row = kinds[at], keys[at], dict(zip(names, values, strict=True))
            cell = cells.get(key)
            if cell is None:
                cell = cells[key] = (None if key is None else store.get(key)) or Cell()
            if key is None:
                score, learned = _NO_KEY, 0
                if kind == LEARN or kind == STEP:
                    reason = "the label is null" if labels[at] is None else _NO_KEY.reason
                    if kind == LEARN and event_ids[at] is None:
                        reason = "the label names no event: its event id is null"
                    outcome.refusals.append(
                        Refusal(event_ids[at] or "", times_ms[at], reason, _readable(row, labels[at]))
                    )
            elif kind == SCORE or kind == SCORE_LATE:
                engine = self._cold_engine() if cell.empty() else cell.engine(spec)
                score, learned = engine.score((row,))[0], engine.learned
            else:
                if cell.empty():
                    cell.fill(spec)
                if times_ms[at] >= cell.due_ms != NEVER:
                    self._publish(key, cell, cell.due_ms, outcome)
                engine = cell.engine(spec)
                learned = engine.learned
                try:
                    score = engine.step(row, labels[at])
                except RecordError as error:
                    score = engine.score((row,))[0]
                    outcome.refusals.append(
                        Refusal(event_ids[at] or "", times_ms[at], str(error), _readable(row, labels[at]))
                    )
                else:
                    changed.add(key)
                    cell.note(events_ms[at], self._loss(score, labels[at]))
                    self._after(key, cell, times_ms[at], store, outcome)
            if kind != LEARN:
                if kind == SCORE_LATE and score.status == "ok":
                    score = score._replace(reason="late: answered, but too late to be learned in order")
                answers.add(
                    event_ids[at], key or "", events_ms[at], score, learned, labels[at] if kind == STEP else None
                )
        for key in changed:
            store.put(key, cells[key])
        return outcome

    def on_time(self, now_ms: int, store: ModelStore) -> Outcome:
        """Publish the models that are due when time has reached ``now_ms`` and no row of theirs has come."""
        outcome = Outcome()
        for key in store.due(now_ms):
            cell = store.get(key)
            if cell is not None and cell.due_ms != NEVER and cell.due_ms <= now_ms:
                self._publish(key, cell, cell.due_ms, outcome)
                store.put(key, cell)
        return outcome

    def _cold_engine(self) -> Any:
        """Return the one model that answers for keys that have learned nothing; it never learns."""
        if self._cold is None:
            self._cold = build(self.spec)
        return self._cold

    def _after(self, key: str, cell: Cell, time_ms: int, store: ModelStore, outcome: Outcome) -> None:
        """See to health, the copy to roll back to and the next snapshot, after one example was learned."""
        engine = cell.engine(self.spec)
        learned = engine.learned
        if learned % _LOOK_EVERY == 0:
            if not self._heal(key, cell, time_ms, outcome):
                return
            cell.keep_good(self.spec, learned)
        if self._every.time_ms is None:
            if learned - cell.published >= (self._every.events or 1):
                self._publish(key, cell, time_ms, outcome)
        elif cell.due_ms == NEVER:
            cell.due_ms = (time_ms // self._every.time_ms + 1) * self._every.time_ms
            store.wake(key, cell.due_ms)

    def _heal(self, key: str, cell: Cell, time_ms: int, outcome: Outcome) -> bool:
        """Return whether a model is healthy; one that is not goes back to its last good copy, and an alert tells."""
        engine = cell.engine(self.spec)
        if engine.healthy():
            return True
        learned, kept = engine.learned, cell.roll_back(self.spec)
        reason = (
            f"the model diverged after {learned} examples and went back to the copy of {kept}. The likely cause:"
            " features of very different sizes without a scaler, or too high a learning rate."
        )
        outcome.alerts.append(Alert(key, "divergence", "critical", float(learned), 0.0, time_ms, reason))
        return False

    def _publish(self, key: str, cell: Cell, at_ms: int, outcome: Outcome) -> None:
        self._heal(key, cell, at_ms, outcome)
        engine = cell.engine(self.spec)
        cell.due_ms = NEVER
        cell.published = engine.learned
        blob = engine.dump()
        if len(blob) > self._max_size:
            reason = (
                f"the model has {len(blob)} bytes, more than max-model-size allows, and is not published. Bound"
                " its growth "
                "(depth, window, vocabulary) or raise 'max-model-size'."
            )
            outcome.alerts.append(
                Alert(key, "model-size", "warning", float(len(blob)), float(self._max_size), at_ms, reason)
            )
            return
        loss = cell.progressive_loss()
        metrics = {} if loss is None or not math.isfinite(loss) else {"progressive_loss": loss}
        slot = cell.snapshots % 2
        cell.snapshots += 1
        outcome.published.append(Published(key, blob, engine.learned, cell.last_event_ms, at_ms, metrics, slot))

    def _loss(self, score: Score, label: Any) -> float | None:
        """Return how wrong an answer was: log loss of two classes, 0 or 1 of more, squared error of a number."""
        if score.score is None or label is None:
            return None
        if self.spec.task == "classification":
            if isinstance(label, bool):
                return -math.log(max(score.score if label else 1.0 - score.score, 1e-15))
            return float(score.label != str(label))
        return float(score.score - label) ** 2 if isinstance(label, int | float) else None


def _readable(row: Mapping[str, Any], label: Any) -> str:
    """Return a refused row as JSON, for the dead-letter topic."""
    return json.dumps({**row, "label": label}, ensure_ascii=False, default=str)

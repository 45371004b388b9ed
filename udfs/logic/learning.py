"""Score first, then learn: the pure machine behind the learning operator.

One machine serves one shard, that is many keys. Time is the time of the rows; state is behind ``ModelStore``. So the
same code runs in a plain loop, in a test with a dict, and in Flink's keyed state, and gives the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from thalweg.connector.errors import RecordError
from thalweg.udfs.engines import engine_class
from thalweg.udfs.engines.base import EngineSpec, Score
from thalweg.udfs.logic.block_learning import LATE, BlockLearning
from thalweg.udfs.logic.cell import Cell, spec_mark
from thalweg.udfs.logic.drift_reaction import DriftReaction
from thalweg.udfs.logic.engine_blocks import EngineBlocks
from thalweg.udfs.logic.examples import Example
from thalweg.udfs.logic.learning_outcome import Alert, Answers, Outcome
from thalweg.udfs.logic.loss import loss_of
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.origins import Lookup, Origins
from thalweg.udfs.logic.revision import revise
from thalweg.udfs.logic.updates import Updates
from thalweg.udfs.logic.upkeep import Policy, Upkeep

__all__ = [
    "LEARN",
    "LEARNS",
    "ORDER",
    "SCORE",
    "SCORE_LATE",
    "STEP",
    "LearningLogic",
    "ModelStore",
    "learning_kinds",
]

SCORE, STEP, SCORE_LATE, LEARN = range(4)
"""Row kinds: score only; score, then learn; score an event too late to be learned in order; the label came: learn."""

ORDER = (4, (0, 2))
"""Where a row has its time, and what decides between rows of one time: events before labels, then the event id."""

_ASKS = ((False, True, False), (True, True, False), (False, True, True), (True, False, False))
"""Of each kind: whether it is learned, whether it is answered, whether it is late."""

LEARNS = tuple(learns for learns, _, _ in _ASKS)
"""Of each kind: whether its label is learned."""

_NO_KEY = Score(None, None, None, "refused", "the model key is null")
_KNOWN = "replayed: answered, and not learned again, for the model that was published has learned it"
_PRIOR = "(prior)"


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

    def prior(self) -> Cell | None:
        """Return the model that learns from all keys of the shard; None where there is none yet."""
        ...

    def put_prior(self, cell: Cell) -> None:
        """Store that model; as ``put``."""
        ...

    def spec(self, mark: bytes) -> EngineSpec | None:
        """Return the spec that ``remember`` was given; None where there is none of that mark."""
        ...

    def remember(self, mark: bytes, spec: EngineSpec) -> None:
        """Keep a spec from which models in this store have been built."""
        ...

    def wake(self, key: str, at_ms: int) -> None:
        """Ask for ``on_time`` at ``at_ms``, when this key's snapshot is due."""
        ...

    def due(self, now_ms: int) -> Iterable[str]:
        """Remove and return the keys whose snapshot is due at ``now_ms``."""
        ...


class LearningLogic:
    """Score and learn blocks of rows.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    policy : Policy
        How the models are kept.
    lookup : Lookup, optional
        Where a key without a model may find one that was published.
    """

    def __init__(self, spec: EngineSpec, policy: Policy, lookup: Lookup | None = None) -> None:
        self.spec = spec
        self._policy, self._mark = policy, spec_mark(spec)
        self._names = tuple(name for name, _ in spec.inputs)
        self._upkeep = Upkeep(spec, policy)
        self._origins = Origins(spec, policy.prior_strength, lookup, policy.on_spec_change)
        self._reaction = None if policy.on_drift == "none" else DriftReaction(spec, policy.on_drift)
        # A reaction needs the loss of every row.
        blocks = BlockLearning.of(spec, policy) or EngineBlocks.of(spec, policy)
        self._blocks = blocks if self._reaction is None else None
        # Such an engine learns every event when it comes; a label that comes later is a word about it.
        self._hears = hasattr(engine_class(spec.kind), "feedback")

    def on_rows(self, columns: Sequence[list[Any]], store: ModelStore) -> Outcome:
        """Take rows: columns kind, key, event id, event time ms, row time ms, label, then the features.

        The rows of a key must be in the order in which they are to be answered and learned.

        Raises
        ------
        SnapshotError
            A model in the store was built from another spec, and the policy does not let it go on.
        """
        keys, times_ms = columns[1], columns[4]
        outcome = Outcome()
        if not keys:
            return outcome
        if self._hears and SCORE in columns[0]:
            columns = [[STEP if kind == SCORE else kind for kind in columns[0]], *columns[1:]]
        cells = self._cells(keys, store, times_ms[0], outcome)
        changed: set[str] = set()

        def one(at: int, answers: Answers) -> None:
            self._rows([column[at : at + 1] for column in columns], cells, changed, store, answers, outcome)

        blocks = self._blocks
        if blocks is None or not blocks.run(columns, _ASKS, cells, changed, one, outcome.answers):
            self._rows(columns, cells, changed, store, outcome.answers, outcome)
        for key in changed:
            store.put(key, cells[key])
        if changed:
            if self._origins.prior is not None:
                store.put_prior(self._origins.prior)
            if store.spec(self._mark) is None:
                store.remember(self._mark, self.spec)
        return outcome

    def _rows(
        self,
        columns: Sequence[list[Any]],
        cells: Mapping[str, Cell],
        changed: set[str],
        store: ModelStore,
        answers: Answers,
        outcome: Outcome,
    ) -> None:
        """Take rows one by one; ``changed`` gets the keys whose models have learned."""
        kinds, keys, event_ids, events_ms, times_ms, labels, *features = columns
        origins, names, spec = self._origins, self._names, self.spec
        prior, waits, again = origins.prior, self._policy.cadence is not None, self._policy.replay_scores
        updates = Updates(spec, self._policy, self._upkeep, store.wake, outcome)
        at = -1
        for values in zip(*features, strict=True):
            at += 1
            kind, key, row = kinds[at], keys[at], dict(zip(names, values, strict=True))
            known = again and key is not None and cells[key].empty() and origins.has_learned(key, times_ms[at])
            if key is None:
                score, learned = _NO_KEY, 0
                if kind == LEARN or kind == STEP:
                    reason = "the label is null" if labels[at] is None else _NO_KEY.reason
                    if kind == LEARN and event_ids[at] is None:
                        reason = "the label names no event: its event id is null"
                    outcome.refuse(event_ids[at], times_ms[at], reason, row, labels[at])
            elif kind == SCORE or kind == SCORE_LATE or known or cells[key].frozen:
                cell = cells[key]
                if waits and updates.due(key, cell, times_ms[at]):
                    changed.add(key)
                engine = origins.answering(key) if cell.empty() else cell.engine(spec)
                score, learned = engine.score((row,))[0], engine.learned
                if prior is not None and not cell.empty():
                    score = origins.blended(cell, row, score, learned)
            else:
                cell = cells[key]
                if cell.empty():
                    origins.start(key, cell)
                if waits:
                    updates.due(key, cell, times_ms[at])
                if times_ms[at] >= cell.due_ms != NEVER:
                    self._upkeep.publish(key, cell, cell.due_ms, outcome)
                engine = cell.engine(spec)
                learned = engine.learned
                try:
                    if kind == LEARN and self._hears:
                        engine.feedback(row, labels[at])  # type: ignore[attr-defined]
                        changed.add(key)
                        continue
                    if waits:
                        example = Example(event_ids[at] or "", events_ms[at], labels[at], values)
                        score = updates.wait(key, cell, row, example, times_ms[at])
                        changed.add(key)
                        if kind == STEP:
                            answers.add(event_ids[at], key, events_ms[at], score, learned, labels[at])
                        continue
                    score = engine.step(row, labels[at])
                except RecordError as error:
                    score = engine.score((row,))[0]
                    outcome.refuse(event_ids[at], times_ms[at], str(error), row, labels[at])
                else:
                    changed.add(key)
                    if prior is not None:
                        score = origins.blended(cell, row, score, learned)
                        self._teach_prior(prior, row, labels[at], times_ms[at], outcome)
                    loss = loss_of(spec, score, labels[at])
                    cell.note(events_ms[at], loss)
                    drifted = None
                    if self._reaction is not None:
                        drifted = self._reaction.after(key, cell, row, labels[at], times_ms[at], loss, outcome)
                    self._upkeep.after(key, cell, times_ms[at], loss, store.wake, outcome, drifted)
            if kind != LEARN:
                if kind == SCORE_LATE and score.status == "ok":
                    score = score._replace(reason=LATE)
                elif known and kind == STEP and score.status == "ok":
                    score = score._replace(reason=_KNOWN)
                answers.add(
                    event_ids[at], key or "", events_ms[at], score, learned, labels[at] if kind == STEP else None
                )

    def on_time(self, now_ms: int, store: ModelStore) -> Outcome:
        """Publish the models that are due when time has reached ``now_ms`` and no row of theirs has come."""
        outcome = Outcome()
        for key in store.due(now_ms):
            cell = store.get(key)
            if cell is not None and NEVER != cell.wake_ms() <= now_ms:
                self._wake_up(key, cell, store, now_ms, outcome)
                Updates(self.spec, self._policy, self._upkeep, store.wake, outcome).due(key, cell, now_ms)
                if cell.due_ms != NEVER and cell.due_ms <= now_ms and not cell.frozen:
                    self._upkeep.publish(key, cell, cell.due_ms, outcome)
                if cell.wake_ms() != NEVER:
                    store.wake(key, cell.wake_ms())
                store.put(key, cell)
        return outcome

    def _cells(self, keys: Sequence[str | None], store: ModelStore, at_ms: int, outcome: Outcome) -> dict[str, Cell]:
        """Return the cells of a block's keys, empty ones for those without a model, and get the origins ready."""
        cells: dict[str, Cell] = {}
        cold: list[str] = []
        for key in dict.fromkeys(keys):
            if key is None:
                continue
            cell = store.get(key)
            if cell is None:
                cold.append(key)
                cell = Cell()
            else:
                self._wake_up(key, cell, store, at_ms, outcome)
            cells[key] = cell
        self._origins.begin(cold, store.prior)
        prior = self._origins.prior
        if prior is not None:
            self._wake_up(_PRIOR, prior, store, at_ms, outcome)
        return cells

    def _wake_up(self, key: str, cell: Cell, store: ModelStore, at_ms: int, outcome: Outcome) -> None:
        """Bring a model that was written under other options under those of now."""
        blob = cell.sleeping()
        if not blob:
            return
        if cell.frozen and len(blob) <= self._policy.max_model_size:
            cell.frozen = False
        if cell.mark in (b"", self._mark):
            if cell.examples and self._policy.cadence is None:
                Updates(self.spec, self._policy, self._upkeep, store.wake, outcome).finish(key, cell, at_ms)
            return
        engine = revise(store.spec(cell.mark), self.spec, blob, self._policy.on_spec_change)
        inherited = cell.inherited
        cell.fill(self.spec, engine)
        if engine is not None:
            cell.inherited = inherited
            return
        outcome.replaced.append(at_ms)
        reason = "the model was built from another declaration and begins anew ('on-spec-change' = 'reset')."
        outcome.alerts.append(Alert(key, "model-reset", "warning", float(len(blob)), 0.0, at_ms, reason))

    def _teach_prior(self, prior: Cell, row: dict[str, Any], label: Any, time_ms: int, outcome: Outcome) -> None:
        """Let the shard's prior learn what a key has just learned."""
        if prior.empty():
            prior.fill(self.spec)
        try:
            prior.engine(self.spec).learn(row, label)
        except RecordError:
            return  # the key's own model took the row; a prior that cannot has nothing to say about it
        self._upkeep.keep_healthy(_PRIOR, prior, time_ms, outcome)

"""The keyed operators: thin adapters that give the pure machines Flink's state, time and outputs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import TimeDomain
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from thalweg.connector.snapshot import Snapshot, split
from thalweg.udfs.flink.forgetting import Forgetting
from thalweg.udfs.flink.known_keys import KnownKeys
from thalweg.udfs.flink.meters import Meters, group_of
from thalweg.udfs.flink.model_count import ModelCount
from thalweg.udfs.flink.model_store import FlinkStore
from thalweg.udfs.flink.orphans import end_with_flink
from thalweg.udfs.flink.remembered import Remembered
from thalweg.udfs.flink.snapshot_keys import signing
from thalweg.udfs.flink.waiting import WaitingRows
from thalweg.udfs.flink.warm_start import WarmStart, open_warm_start
from thalweg.udfs.logic.arm_guard import ArmGuard, ArmRole, refused_block
from thalweg.udfs.logic.declaration import Declaration
from thalweg.udfs.logic.evaluation import Evaluator
from thalweg.udfs.logic.learning import LEARN, ORDER, SCORE_LATE, STEP, LearningLogic, learning_kinds
from thalweg.udfs.logic.learning_outcome import Outcome, Published
from thalweg.udfs.logic.outcomes import OUTCOME_ORDER, outcome_columns, outcome_kinds
from thalweg.udfs.logic.packing import unpack_columns

__all__ = [
    "ANSWER_TYPES",
    "BLOCK_TYPES",
    "EXTRA_TYPES",
    "EvaluationOperator",
    "LearningOperator",
    "learning_type",
    "metric_type",
]

_TEXT, _LONG, _DOUBLE, _INT, _BYTES = (
    Types.STRING(),
    Types.LONG(),
    Types.DOUBLE(),
    Types.INT(),
    Types.PRIMITIVE_ARRAY(Types.BYTE()),
)

# A row costs about 20 microseconds to cross into Java; and UNNEST copies its arrays once for each of their elements.
_ANSWERS_PER_ROW = 32

ANSWER_TYPES = {
    "event_id": _TEXT, "key": _TEXT, "event_time_ms": _LONG, "score": _DOUBLE, "label": _TEXT,
    "probabilities": Types.MAP(_TEXT, _DOUBLE),
    "status": _TEXT, "reason": _TEXT, "learned": _LONG, "truth": _TEXT,
}  # fmt: skip
EXTRA_TYPES = {
    "snapshot": {
        "snapshot_key": _TEXT, "model": _TEXT, "key": _TEXT, "kind": _TEXT, "spec": _TEXT, "protocol": _INT,
        "version": _LONG, "event_time_ms": _LONG, "watermark_ms": _LONG, "source_offsets": _TEXT,
        "metrics": Types.MAP(_TEXT, _DOUBLE), "chunk": _INT, "chunks": _INT, "sha256": _TEXT, "size": _LONG,
        "writer": _TEXT, "blob": _BYTES,
    },
    "refusal": {"event_id": _TEXT, "time_ms": _LONG, "reason": _TEXT, "row_text": _TEXT},
    "alert": {
        "key": _TEXT, "alert": _TEXT, "severity": _TEXT, "value": _DOUBLE, "threshold": _DOUBLE, "time_ms": _LONG,
        "reason": _TEXT,
    },
    "remembered": {"time_ms": _LONG, "note": _TEXT},
    "decision": {
        "decision": _TEXT, "reason": _TEXT, "evidence": _TEXT, "time_ms": _LONG, "shares": Types.MAP(_TEXT, _DOUBLE),
    },
}  # fmt: skip


BLOCK_TYPES = {"block_ms": _DOUBLE, "block_rows": _LONG}
"""Of a model that is compared: how long a block took, and how many answers waited for it; with its first answers."""


def learning_type(role: ArmRole | None = None) -> Any:
    """Return the type of what the learning operator emits: columns of answers, or one of the rare other records."""
    timed = {} if role is None else BLOCK_TYPES
    return Types.ROW_NAMED(
        [*ANSWER_TYPES, *EXTRA_TYPES, *timed],
        [
            *(Types.OBJECT_ARRAY(kind) for kind in ANSWER_TYPES.values()),
            *(Types.ROW_NAMED(list(fields), list(fields.values())) for fields in EXTRA_TYPES.values()),
            *timed.values(),
        ],
    )


def metric_type() -> Any:
    """Return the type of what the evaluation operator emits: metrics, and alerts, which alone have a severity."""
    return Types.ROW_NAMED(
        [
            "metric",
            "metric_window",
            "metric_value",
            "metric_count",
            "window_start_ms",
            "event_time_ms",
            "slice",
            "severity",
            "state",
            "threshold",
            "reason",
        ],
        [_TEXT, _TEXT, _DOUBLE, _LONG, _LONG, _LONG, _TEXT, _TEXT, _TEXT, _DOUBLE, _TEXT],
    )


class LearningOperator(KeyedProcessFunction):
    """Scores and learns the blocks of one shard: the Flink key. The state is a map from model key to model."""

    def __init__(
        self,
        declaration: Declaration,
        event_time: bool,
        role: ArmRole | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._declaration, self._event_time, self._role, self._clock = declaration, event_time, role, clock
        self._nothing = (None,) * len(EXTRA_TYPES)
        self._untimed: tuple[Any, ...] = () if role is None else (None,) * len(BLOCK_TYPES)
        self._warm: WarmStart | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        end_with_flink()
        d = self._declaration
        self._writer, self._signed = _writer(d.spec.kind), signing(d)
        self._guard = None if self._role is None else ArmGuard(self._role, self._clock)
        self._warm = open_warm_start(d)
        self._logic = LearningLogic(d.spec, d.policy(), self._warm)
        models = MapStateDescriptor("models", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        self._models = KnownKeys(runtime_context.get_map_state(models))
        self._forgetting = None if d.state_ttl is None else Forgetting(runtime_context, d.state_ttl)
        self._prior = runtime_context.get_state(ValueStateDescriptor("prior", Types.PICKLED_BYTE_ARRAY()))
        # By their marks, which models in state carry: what they were built from, if the declaration has changed since.
        self._specs = runtime_context.get_map_state(MapStateDescriptor("specs", Types.STRING(), Types.STRING()))
        self._due = runtime_context.get_map_state(MapStateDescriptor("due", Types.STRING(), Types.LONG()))
        self._waiting = WaitingRows(runtime_context, learning_kinds(d.spec), ORDER) if self._event_time else None
        self._old = Remembered(runtime_context, d, self._event_time, self._untimed) if d.old_examples else None
        self._meters = Meters(group_of(runtime_context), d.name)
        self._count = ModelCount(runtime_context, self._meters)

    def close(self) -> None:
        if self._warm is not None:
            self._warm.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        columns = unpack_columns(value[0])[1] if self._waiting is None else self._waiting.put(value[0], ctx)
        yield from self._learn(columns, self._store(ctx), ctx)

    def _learn(self, columns: list[list[Any]], store: FlinkStore, ctx: Any) -> Iterator[Row]:
        if self._old is None:
            return self._step(columns, store, ctx)
        step, wait = (lambda part: self._step(part, store, ctx)), (lambda now_ms: self._pass(now_ms, store))
        return self._old.run(columns, ctx, store, step, wait, self._rows)

    def _step(self, columns: list[list[Any]], store: FlinkStore, ctx: Any) -> Iterator[Row]:
        since_ns = time.perf_counter_ns()
        block = self._untimed
        if self._guard is None:
            outcome = self._logic.on_rows(columns, store)
        else:
            outcome, columns, block = self._guarded(self._guard, columns, store)
        self._count.grow(store.take_grown(), ctx)
        answers, kinds = outcome.answers.columns, columns[0]
        if kinds:
            self._meters.answered(answers[6], max(answers[8], default=0), since_ns)
            self._meters.count("thalweg_learned", kinds.count(LEARN) + kinds.count(STEP) - len(outcome.refusals))
            self._meters.count("thalweg_late", kinds.count(SCORE_LATE))
        return self._rows(outcome, block)

    def _guarded(self, guard: ArmGuard, columns: list[list[Any]], store: FlinkStore) -> tuple[Outcome, Any, Any]:
        """Return what came of a block of a model that is compared, the rows that were done, and how long it took."""
        kept = guard.kept(columns)
        outcome = guard.run(
            len(kept[0]), lambda: self._logic.on_rows(kept, store), lambda reason: refused_block(kept, reason)
        )
        self._meters.shadowed(guard)
        return outcome, kept, guard.block_time(len(outcome.answers.columns[0]))

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        store = self._store(ctx)
        if self._forgetting is not None and ctx.time_domain() == TimeDomain.PROCESSING_TIME:
            self._count.set(self._forgetting.sweep(self._models, ctx), ctx)
            if self._event_time:
                return  # its time is the clock's, and not that of the rows
        if self._waiting is not None:
            yield from self._learn(self._waiting.take(ctx), store, ctx)
        yield from self._pass(timestamp, store)
        if self._old is not None:
            yield from self._old.on_time(timestamp, ctx, store)

    def _pass(self, now_ms: int, store: FlinkStore) -> Iterator[Row]:
        due: Callable[[], Outcome] = lambda: self._logic.on_time(now_ms, store)  # noqa: E731
        return self._rows(due() if self._guard is None else self._guard.run(0, due, lambda reason: Outcome()))

    def _store(self, ctx: Any) -> FlinkStore:
        models = self._models.at(ctx.get_current_key())
        return FlinkStore(models, self._prior, self._specs, self._due, ctx, self._event_time, self._forgetting)

    def _rows(self, outcome: Outcome, block: tuple[Any, ...] | None = None) -> Iterator[Row]:
        self._count.tell(outcome)
        if self._warm is not None:
            self._warm.tell(outcome, self._meters)
        if self._old is not None:
            self._old.hear(outcome.versions())
        columns = outcome.answers.columns
        for start in range(0, len(columns[0]), _ANSWERS_PER_ROW):
            told = self._untimed if start or block is None else block
            yield Row(*(column[start : start + _ANSWERS_PER_ROW] for column in columns), *self._nothing, *told)
        no_answers: tuple[list[Any], ...] = ([],) * len(ANSWER_TYPES)
        snapshot = EXTRA_TYPES["snapshot"]
        extras = [
            Row(*(record[name] for name in snapshot))
            for published in outcome.published
            for record in self._records(published)
        ]
        refusals, alerts = [Row(*r) for r in outcome.refusals], [Row(*a) for a in outcome.alerts]
        decisions = [Row(*d, {}) for d in outcome.decisions]
        for at, rows in enumerate((extras, refusals, alerts, (), decisions)):
            for row in rows:
                yield Row(*no_answers, *(row if at == n else None for n in range(len(EXTRA_TYPES))), *self._untimed)

    def _records(self, published: Published) -> Iterable[dict[str, Any]]:
        d = self._declaration
        snapshot = Snapshot(
            model=d.name, key=published.key, kind=d.spec.kind, spec=d.spec.to_json(), version=published.learned,
            event_time_ms=published.last_event_ms, watermark_ms=published.watermark_ms, source_offsets="",
            metrics=published.metrics, writer=self._writer, blob=published.blob,
        )  # fmt: skip
        return split(self._signed(snapshot), slot=published.slot)


class EvaluationOperator(KeyedProcessFunction):
    """Evaluates one model: blocks of labelled answers in, metrics out."""

    def __init__(self, declaration: Declaration, event_time: bool) -> None:
        self._declaration, self._event_time = declaration, event_time

    def open(self, runtime_context: RuntimeContext) -> None:
        end_with_flink()
        self._state = runtime_context.get_state(ValueStateDescriptor("evaluation", Types.PICKLED_BYTE_ARRAY()))
        self._waiting = (
            WaitingRows(runtime_context, outcome_kinds(self._declaration.watch.slices), OUTCOME_ORDER)
            if self._event_time
            else None
        )
        self._meters = Meters(group_of(runtime_context), self._declaration.name)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        columns = unpack_columns(value[0])[1] if self._waiting is None else self._waiting.put(value[0], ctx)
        yield from self._take(columns, None, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        columns = [] if self._waiting is None else self._waiting.take(ctx)
        yield from self._take(columns, timestamp, ctx)

    def _take(self, columns: list[list[Any]], now_ms: int | None, ctx: Any) -> Iterator[Row]:
        rows = bool(columns and columns[0])
        if not rows and now_ms is None:
            return
        evaluator, d = self._evaluator(), self._declaration
        metrics = evaluator.on_rows(outcome_columns(d.spec, columns, d.label_default)) if rows else []
        if now_ms is not None:
            metrics += evaluator.on_time(now_ms)
        self._state.update(evaluator)
        wake_at = evaluator.wake_at()
        if wake_at is not None and self._event_time:
            ctx.timer_service().register_event_time_timer(wake_at)
        alerts = evaluator.take_alerts()
        self._meters.evaluated(evaluator.counts | {"labels_pending": evaluator.pending()}, metrics, alerts)
        yield from (Row(*metric, None, None, None, None) for metric in metrics)
        for a in alerts:
            yield Row(
                a.alert,
                "",
                a.value,
                a.count,
                a.event_time_ms,
                a.event_time_ms,
                "",
                a.severity,
                a.state,
                a.threshold,
                a.reason,
            )

    def _evaluator(self) -> Evaluator:
        found: Evaluator | None = self._state.value()
        d = self._declaration
        # The default comes a millisecond after the timeout, and the event waits for it.
        timeout = d.label_timeout + (d.label_default is not None)
        arguments = (d.spec.task, d.metrics, d.metrics_every, d.metrics_window, timeout, d.watch)
        if found is not None and found.arguments == arguments:
            return found
        evaluator = Evaluator(*arguments)
        if found is not None:
            evaluator.load(found.dump())  # the declaration has changed, or the state is of an older protocol
        return evaluator


def _writer(kind: str) -> str:
    """Return the versions that write a snapshot, by ``importlib.metadata``: the packages' own attributes lie."""
    names = ["thalweg", *({"river": ["river"], "onnx": ["onnxruntime"]}.get(kind, []))]
    parts = []
    for name in names:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} without metadata")
    return " / ".join([*parts, "python " + ".".join(map(str, sys.version_info[:3]))])

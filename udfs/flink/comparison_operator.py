"""The operator of a comparison: gives the pure machine Flink's state, time and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from thalweg.connector.signing import open_trust
from thalweg.udfs.flink.comparison_rows import KINDS, Carried, machine_columns
from thalweg.udfs.flink.orphans import end_with_flink
from thalweg.udfs.flink.vouched_orders import vouched
from thalweg.udfs.flink.waiting import WaitingRows
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, ROW_ORDER, Comparison, Decision, Outcome, Plan

__all__ = ["RECORDS", "SERVED_TYPES", "ComparisonOperator", "comparison_type"]

_TEXT, _LONG, _DOUBLE = Types.STRING(), Types.LONG(), Types.DOUBLE()

# As for the answers of a model: a row costs 20 microseconds, and UNNEST copies its arrays for each element.
_ANSWERS_PER_ROW = 32

SERVED_TYPES = {
    "event_id": _TEXT, "key": _TEXT, "event_time_ms": _LONG, "score": _DOUBLE, "label": _TEXT,
    "probabilities": Types.MAP(_TEXT, _DOUBLE), "status": _TEXT, "reason": _TEXT, "learned": _LONG,
    "model_version": _TEXT, "arm": _TEXT, "propensity": _DOUBLE,
}  # fmt: skip
RECORDS = {
    "decision": {
        "decision": _TEXT, "arm": _TEXT, "previous": _TEXT, "shares": Types.MAP(_TEXT, _DOUBLE), "decided_by": _TEXT,
        "reason": _TEXT, "evidence": _TEXT, "event_time_ms": _LONG,
    },
    "metric": {
        "arm": _TEXT, "metric": _TEXT, "value": _DOUBLE, "count": _LONG, "event_time_ms": _LONG, "slice": _TEXT,
    },
    "alert": {
        "alert": _TEXT, "severity": _TEXT, "state": _TEXT, "value": _DOUBLE, "threshold": _DOUBLE, "count": _LONG,
        "event_time_ms": _LONG, "reason": _TEXT,
    },
}  # fmt: skip


def comparison_type() -> Any:
    """Return the type of what the operator emits: columns of served answers, or one of the rare other records."""
    return Types.ROW_NAMED(
        [*SERVED_TYPES, *RECORDS],
        [
            *(Types.OBJECT_ARRAY(kind) for kind in SERVED_TYPES.values()),
            *(Types.ROW_NAMED(list(fields), list(fields.values())) for fields in RECORDS.values()),
        ],
    )


class ComparisonOperator(KeyedProcessFunction):
    """Compares the models of one plan: blocks of their answers, outcomes and orders in, served answers out.

    Parameters
    ----------
    plan : Plan
        What the machine is told.
    layout : sequence of Carried
        Where each model's answers carry the unit and the slices.
    control_keys : sequence of str
        Where the keys lie whose orders are obeyed; empty, everybody's are.
    """

    def __init__(self, plan: Plan, layout: Sequence[Carried], control_keys: Sequence[str] = ()) -> None:
        self._plan, self._layout, self._control_keys = plan, tuple(layout), tuple(control_keys)

    def open(self, runtime_context: RuntimeContext) -> None:
        end_with_flink()
        self._state = runtime_context.get_state(ValueStateDescriptor("comparison", Types.PICKLED_BYTE_ARRAY()))
        self._default = runtime_context.get_state(ValueStateDescriptor("default", Types.STRING()))
        self._waiting = WaitingRows(runtime_context, KINDS, ROW_ORDER)
        where = f"model {self._plan.name}, option 'control-keys'"
        self._trust = open_trust(self._control_keys, bool(self._control_keys), where)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        columns = self._waiting.put(value[0], ctx)
        if columns[0]:
            yield from self._take(self._late(columns, ctx.timer_service().current_watermark()), None, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        yield from self._take(self._waiting.take(ctx), timestamp, ctx)

    def _take(self, columns: list[list[Any]], now_ms: int | None, ctx: Any) -> Iterator[Row]:
        machine = self._machine()
        if columns[0]:
            seen = vouched(machine_columns(columns, self._layout), self._plan.name, self._trust)
            outcome = machine.on_rows(seen)
            yield from self._served(outcome, seen)
            yield from self._records(outcome)
        if now_ms is not None:
            yield from self._records(machine.on_time(now_ms))
        self._state.update(machine)
        wake_at = machine.wake_at()
        if wake_at is not None:
            ctx.timer_service().register_event_time_timer(wake_at)

    def _machine(self) -> Comparison:
        found: Comparison | None = self._state.value()
        if found is not None and found.plan == self._plan:
            return found
        machine = Comparison(self._plan)
        if found is not None:
            machine.load(found.dump())  # the declaration has changed: who had a model keeps it
        return machine

    def _late(self, columns: list[list[Any]], watermark_ms: int) -> list[list[Any]]:
        """Return what is taken of rows behind the watermark.

        The models' answers to a late event come one by one, so there is nothing to choose from: it is answered by the
        default, and the other answers are dropped. An order holds from now on.
        """
        default = self._default.value() or self._plan.default
        at_default = next((at for at, arm in enumerate(self._plan.arms) if arm.name == default), 0)
        kept = [
            at
            for at, (kind, arm) in enumerate(zip(columns[0], columns[1], strict=True))
            if kind != ANSWER or arm == at_default
        ]
        columns = [[column[at] for at in kept] for column in columns]
        for at, kind in enumerate(columns[0]):
            if kind == COMMAND:
                columns[4][at] = columns[5][at] = max(columns[5][at], watermark_ms)
        return columns

    def _served(self, outcome: Outcome, seen: list[list[Any]]) -> Iterator[Row]:
        served, arms = outcome.served, self._plan.arms
        key, reason, learned, version, event = seen[16:]
        columns = [
            [column[at] for at in served.row]
            for column in (event, key, seen[4], seen[6], seen[7], seen[8], seen[10], reason, learned, version)
        ]
        columns[5] = [None if text is None else json.loads(text) for text in columns[5]]
        columns += [[arms[at].name for at in served.arm], served.propensity]
        nothing = (None,) * len(RECORDS)
        for start in range(0, len(served.row), _ANSWERS_PER_ROW):
            yield Row(*(column[start : start + _ANSWERS_PER_ROW] for column in columns), *nothing)

    def _records(self, outcome: Outcome) -> Iterator[Row]:
        no_answers: tuple[list[Any], ...] = ([],) * len(SERVED_TYPES)
        metrics = []
        for m in outcome.metrics:
            figures = [("", m.value)]
            if (m.lower, m.upper) != (m.value, m.value):
                figures += [(".lower", m.lower), (".upper", m.upper)]
            metrics += [Row(m.arm, m.metric + end, value, m.count, m.event_time_ms, m.slice) for end, value in figures]
        for decision in outcome.decisions:
            if decision.action in ("promote", "rollback"):
                self._default.update(decision.arm)
        decisions = [_decision(decision) for decision in outcome.decisions]
        for place, rows in enumerate((decisions, metrics, [Row(*alert) for alert in outcome.alerts])):
            for row in rows:
                yield Row(*no_answers, *(row if at == place else None for at in range(len(RECORDS))))


def _decision(decision: Decision) -> Row:
    evidence = dict(decision.evidence)
    shares = {name: float(share) for name, share in evidence.pop("shares", {}).items()}
    return Row(
        decision.action, decision.arm, decision.previous, shares, decision.issued_by or "thalweg", decision.reason,
        json.dumps(evidence, sort_keys=True, separators=(",", ":")), decision.event_time_ms,
    )  # fmt: skip

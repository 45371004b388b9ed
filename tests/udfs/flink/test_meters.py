"""What the operators tell Flink's metrics, held against what they gave; and that it costs a block, not a row."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd
import pytest
from metric_group import MetricGroup
from pyflink.table.udf import FunctionContext
from scenario import MODEL, Loop, make_stream
from test_operators import Flink, declaration, run
from thalweg.udfs.flink import river_functions
from thalweg.udfs.flink.functions import decode_function
from thalweg.udfs.flink.meters import Meters, group_of
from thalweg.udfs.flink.operators import EvaluationOperator, LearningOperator
from thalweg.udfs.logic.learning import LEARN, SCORE_LATE, learning_kinds
from thalweg.udfs.logic.outcomes import outcome_kinds
from thalweg.udfs.logic.packing import pack_columns
from thalweg.udfs.logic.telemetry import METRICS

END = (1 << 63) - 1


class Measured(Flink):
    """With metrics."""

    def __init__(self, operator: Any, image: bytes | None = None) -> None:
        self.group = MetricGroup()
        super().__init__(operator, image=image)

    def get_metrics_group(self) -> MetricGroup:
        return self.group


def test_the_learning_operator_tells_what_it_did() -> None:
    d = declaration(MODEL, key="k", snapshot_every="50 events")
    flink = Measured(LearningOperator(d, True))
    loop = Loop(*make_stream(600), MODEL, True)
    answers, others = run(loop, d, 3, 100, flink)
    told = flink.group.read()
    counts = {name: number for (name, *_), number in told.items()}
    assert all(model == "delay" for _, model in told)
    assert counts["inference_requests"] == len(answers)
    ready = sum(answer["status"] == "ok" for answer in answers)
    unready = sum(answer["status"] == "not_ready" for answer in answers)
    assert unready
    assert counts["inference_requests_success"] == ready
    assert counts["thalweg_not_ready"] == unready
    assert counts["inference_requests_failure"] == len(answers) - ready - unready
    assert counts["thalweg_learned"] == sum(loop.learned.values())
    assert counts["thalweg_models"] == len(loop.learned) == len(flink.states["models"])
    published = [row[10] for row in others if row[10] is not None]
    assert counts["thalweg_snapshots"] == len(published) > 0
    assert counts["thalweg_snapshot_bytes"] == sum(len(record[-1]) for record in published)
    assert 0 < counts["inference_latency"] <= counts["inference_latency_p99"]
    assert 0 < counts["modelDataVersion"] <= max(loop.learned.values())
    mean = counts["thalweg_snapshot_bytes"] / len(published)
    assert counts["thalweg_state_bytes"] == pytest.approx(mean * counts["thalweg_models"], rel=0.2)

    again = Measured(LearningOperator(d, True), image=flink.image())
    again.advance(END)
    row: list[list[Any]] = [[LEARN], ["new"], ["e"], [1], [2], [True], [1.0], [2.0], [3.0]]
    again.element(pack_columns(list(zip(learning_kinds(d.spec), row, strict=True)), 1))
    told = again.group.read()
    assert told["thalweg_models", "delay"] == len(loop.learned) + 1
    assert told["thalweg_learned", "delay"] == 1


def test_a_label_that_cannot_be_learned_is_told() -> None:
    flink = Measured(LearningOperator(declaration(MODEL, key="k"), False))
    d = flink.operator._declaration
    row: list[list[Any]] = [[LEARN] * 2, ["a", None], ["e", "f"], [1, 1], [2, 2], [None, True], *[[1.0, 1.0]] * 3]
    flink.element(pack_columns(list(zip(learning_kinds(d.spec), row, strict=True)), 2))
    told = flink.group.read()
    assert told["thalweg_refused", "delay"] == 2
    assert told["thalweg_learned", "delay"] == 0
    assert told["thalweg_late", "delay"] == 0


def test_an_event_behind_the_watermark_is_counted_and_not_learned() -> None:
    flink = Measured(LearningOperator(declaration(MODEL, key="k"), True))
    flink.advance(10)
    row: list[list[Any]] = [[SCORE_LATE], ["a"], ["e"], [1], [1], [None], [1.0], [1.0], [1.0]]
    kinds = learning_kinds(flink.operator._declaration.spec)
    flink.element(pack_columns(list(zip(kinds, row, strict=True)), 1))
    told = flink.group.read()
    assert (told["thalweg_late", "delay"], told["thalweg_learned", "delay"]) == (1, 0)


def test_a_block_that_is_taken_in_parts_counts_its_new_models_once() -> None:
    flink = Measured(LearningOperator(declaration(MODEL, key="k", snapshot_every="100000 events"), False))
    store = flink.operator._store(flink)
    for key in "ab":
        row: list[list[Any]] = [[LEARN], [key], ["e"], [1], [2], [True], [1.0], [1.0], [1.0]]
        list(flink.operator._step(row, store, flink))
    assert flink.group.read()["thalweg_models", "delay"] == 2


def test_the_evaluation_tells_books_figures_and_alerts() -> None:
    d = declaration(MODEL, metrics_every="10 events", alerts="ROCAUC < 0.9 min-samples 5")
    flink = Measured(EvaluationOperator(d, False))
    rows = [
        (1, f"e{n}", n, n + 1, 0.7 if n % 3 else 0.2, "true", None, "true" if n % 2 else "false") for n in range(40)
    ]
    emitted = flink.element(
        pack_columns(list(zip(outcome_kinds(), map(list, zip(*rows, strict=True)), strict=True)), 40)
    )
    told = flink.group.read()
    assert told["thalweg_labels_matched", "delay"] == 40
    newest = [row for row in emitted if row[0] == "ROCAUC" and row[1] == "rolling"][-1]
    assert told["thalweg_rolling_millionths", "delay", "ROCAUC"] == round(newest[2] * 1e6)
    assert told["thalweg_alerts_raised", "delay"] == sum(row[8] == "raised" for row in emitted) == 1
    assert flink.group.labels() <= {(name, metric.labels) for name, metric in METRICS.items()}


def test_bad_records_are_counted_and_a_record_without_a_value_is_none() -> None:
    function = pickle.loads(pickle.dumps(decode_function([("id", "STRING", True)], "json", [])._func))
    group = MetricGroup()
    function.open(FunctionContext(group, {}))
    function.eval(pd.Series([b'{"id": "a"}', b"{", None, b"[]"], dtype=object))
    assert group.read() == {("thalweg_records_malformed",): 2}


def test_a_sql_function_tells_its_name_where_the_model_is_a_value() -> None:
    function = pickle.loads(pickle.dumps(river_functions.river_predict._func))
    group = MetricGroup()
    function.open(FunctionContext(group, {}))
    function.eval(pd.Series([b"", None], dtype=object), pd.Series([1.0, 2.0]))
    told = group.read()
    assert told["inference_requests", "river_predict"] == 2
    assert told["inference_requests_success", "river_predict"] == 0


def test_without_metrics_nothing_is_told_and_nothing_fails() -> None:
    assert group_of(FunctionContext(None, {})) is None
    meters = Meters(None, "delay")
    meters.answered(["ok"], "7", 0)
    meters.count("thalweg_learned")
    meters.show("thalweg_models", 3)


def test_names_that_are_not_in_the_list_are_refused() -> None:
    meters = Meters(MetricGroup(), "delay")
    with pytest.raises(KeyError):
        meters.count("thalweg_invented")
    with pytest.raises(ValueError, match="is a gauge, not a counter"):
        meters.count("thalweg_models")


def test_a_block_touches_a_metric_a_fixed_number_of_times() -> None:
    touched = []

    class Counting(MetricGroup):
        def add_group(self, name: str, value: str) -> MetricGroup:
            return self

        def counter(self, name: str) -> Any:
            counter = super().counter(name)
            plain = counter.inc
            counter.inc = lambda n=1: (touched.append(name), plain(n))  # type: ignore[method-assign, misc]
            return counter

    found = []
    for rows in (10, 1000):
        d = declaration(MODEL, snapshot_every="100000 events")
        flink = Measured(LearningOperator(d, False))
        flink.operator._meters._group = Counting()
        column: list[list[Any]] = [[LEARN] * rows, [""] * rows, ["e"] * rows, [1] * rows, [2] * rows, [True] * rows]
        column += [[1.0] * rows] * 3
        block = pack_columns(list(zip(learning_kinds(d.spec), column, strict=True)), rows)
        touched.clear()
        flink.element(block)
        found.append(len(touched))
    assert found[0] == found[1] < 12

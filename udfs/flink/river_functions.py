"""SQL functions over River models: score a model that is a value, learn one in GROUP BY, measure, watch for drift.

Each is registered by name, as in ``CREATE FUNCTION river_score AS 'thalweg.udfs.flink.river_functions.river_score'
LANGUAGE PYTHON``. The scalar ones never raise for a row: what cannot be scored is NULL, and ``river_predict`` says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pyflink.common import Row
from pyflink.table import DataTypes
from pyflink.table.udf import AggregateFunction, ScalarFunction, udaf, udf
from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.udfs.flink.meters import Meters, group_of
from thalweg.udfs.flink.orphans import end_with_flink
from thalweg.udfs.logic.drift_watch import DriftWatch
from thalweg.udfs.logic.online_metric import OnlineMetric
from thalweg.udfs.logic.portable import Answer, pack_parts, score_rows
from thalweg.udfs.logic.river_learning import RiverLearning

__all__ = [
    "drift",
    "online_metric",
    "river_label",
    "river_learn",
    "river_model",
    "river_predict",
    "river_score",
]


def _columns(arguments: Sequence[Any]) -> tuple[Any, list[list[Any]]]:
    """Return the index of a batch and its arguments as lists of plain values; NaN is how pandas spells NULL."""
    index = next(argument.index for argument in arguments if isinstance(argument, pd.Series))
    return index, [_plain(argument, len(index)) for argument in arguments]


def _plain(argument: Any, rows: int) -> list[Any]:
    if not isinstance(argument, pd.Series):
        return [argument] * rows
    values: list[Any] = argument.tolist()
    if argument.dtype.kind == "f" and np.isnan(argument.to_numpy()).any():
        return [None if value != value else value for value in values]
    return values


class _Scoring(ScalarFunction):
    """Shared by the functions whose first argument is a portable model; ``eval`` takes features by position."""

    def __init__(self, name: str, make: Callable[[list[Answer], Any], Any]) -> None:
        self._name, self._make = name, make
        self._meters = Meters(None)

    def open(self, function_context: Any) -> None:
        end_with_flink()
        # The model is a value of each row: the function's name stands for it.
        self._meters = Meters(group_of(function_context), self._name)

    # The planner may evaluate a deterministic function once per mention, and so split a row from its own filter.
    def is_deterministic(self) -> bool:
        return False

    def eval(self, *arguments: Any) -> Any:
        since_ns = time.perf_counter_ns()
        index, (models, *features) = _columns(arguments)
        rows = list(zip(*features, strict=True)) if features else [()] * len(index)
        answers = score_rows(models, rows)
        learned = max((answer.learned or 0 for answer in answers), default=0)
        self._meters.answered([answer.score.status for answer in answers], learned, since_ns)
        return self._make(answers, index)


def _objects(values: list[Any], index: Any) -> Any:
    return pd.Series(values, dtype=object, index=index)


def _scores(answers: list[Answer], index: Any) -> Any:
    return _objects([answer.score.score for answer in answers], index)


def _labels(answers: list[Answer], index: Any) -> Any:
    return _objects([answer.score.label for answer in answers], index)


def _predictions(answers: list[Answer], index: Any) -> Any:
    columns = {
        name: _objects([getattr(answer.score, name) for answer in answers], index)
        for name in ("score", "label", "probabilities", "status", "reason")
    }
    columns["learned"] = _objects([answer.learned for answer in answers], index)
    return pd.DataFrame(columns, index=index)


class _Model(ScalarFunction):
    """The portable form of a snapshot: its columns spec and blob; NULL where either is NULL or no spec."""

    def open(self, function_context: Any) -> None:
        end_with_flink()

    def is_deterministic(self) -> bool:
        return False

    def eval(self, *arguments: Any) -> Any:
        index, (specs, blobs) = _columns(arguments)
        return _objects([_packed(spec, blob) for spec, blob in zip(specs, blobs, strict=True)], index)


def _packed(spec: Any, blob: Any) -> bytes | None:
    try:
        return None if spec is None or blob is None else pack_parts(spec, bytes(blob))
    except SnapshotError:
        return None


class _Aggregate(AggregateFunction):
    """An aggregate over a live state: the accumulator is a list of one, the live object or the bytes it was written as.

    PyFlink pickles the accumulator when the bundle ends, and the live object becomes its bytes in that.
    """

    kind: ClassVar[Any]
    name: ClassVar[str]
    count: ClassVar[int]
    usage: ClassVar[str]

    def open(self, function_context: Any) -> None:
        end_with_flink()

    def create_accumulator(self) -> list[Any]:
        return [None]

    def _live(self, accumulator: list[Any]) -> Any:
        held = accumulator[0]
        if type(held) is not self.kind:
            held = accumulator[0] = self.kind() if held is None else self.kind.load(bytes(held))
        return held

    def accumulate(self, accumulator: list[Any], *args: Any) -> None:
        self._check(args)
        self._live(accumulator).add(*args)

    def _check(self, args: tuple[Any, ...]) -> None:
        if len(args) != self.count:
            what = f"takes {self.count} arguments and was given {len(args)}."
            raise ConfigError([Problem(self.name, what, f"Call it as {self.usage}.")])

    def get_value(self, accumulator: list[Any]) -> Any:
        return None if accumulator[0] is None else self._live(accumulator).value()

    def retract(self, accumulator: list[Any], *args: Any) -> None:
        what = "its input takes rows back, and what has been learned cannot be unlearned."
        raise ConfigError([Problem(self.name, what, "Aggregate a table that only grows.")])

    def merge(self, accumulator: list[Any], accumulators: Any) -> None:
        what = "two states cannot be merged into one, as session windows and sliding windows need it."
        raise ConfigError([Problem(self.name, what, "Use TUMBLE or a GROUP BY without a window.")])


class _Learn(_Aggregate):
    kind = RiverLearning
    name = "river_learn"

    def accumulate(self, accumulator: list[Any], *args: Any) -> None:
        if len(args) < 3:
            remedy = "Call it as river_learn('model text', label, feature, ...)."
            raise ConfigError([Problem(self.name, "needs a label and at least one feature.", remedy)])
        self._live(accumulator).add(args[0], args[1], args[2:])


class _Metric(_Aggregate):
    kind = OnlineMetric
    name = "online_metric"
    count = 3
    usage = "online_metric('ROCAUC', label, score)"


class _Drift(_Aggregate):
    kind = DriftWatch
    name = "drift"
    count = 2
    usage = "drift('ADWIN', value)"

    def get_value(self, accumulator: list[Any]) -> Any:
        found = super().get_value(accumulator)
        return None if found is None else Row(*found)


def _fields(**kinds: Any) -> Any:
    return DataTypes.ROW([DataTypes.FIELD(name, kind) for name, kind in kinds.items()])


def _aggregate(function: _Aggregate, result: Any) -> Any:
    state = _fields(state=DataTypes.BYTES())
    return udaf(function, result_type=result, accumulator_type=state, func_type="general", name=function.name)


_LONG, _DOUBLE, _TEXT, _BYTES = DataTypes.BIGINT(), DataTypes.DOUBLE(), DataTypes.STRING(), DataTypes.BYTES()

river_score = udf(_Scoring("river_score", _scores), result_type=_DOUBLE, func_type="pandas", name="river_score")
"""``river_score(model, feature, ...)``: the score as DOUBLE; NULL where there is none."""

river_label = udf(_Scoring("river_label", _labels), result_type=_TEXT, func_type="pandas", name="river_label")
"""``river_label(model, feature, ...)``: the predicted class as STRING; NULL for regressions and where there is none."""

river_predict = udf(
    _Scoring("river_predict", _predictions),
    result_type=_fields(
        score=_DOUBLE,
        label=_TEXT,
        probabilities=DataTypes.MAP(DataTypes.STRING(), DataTypes.DOUBLE()),
        status=_TEXT,
        reason=_TEXT,
        learned=_LONG,
    ),
    func_type="pandas",
    name="river_predict",
)
"""``river_predict(model, feature, ...)``: ROW(score, label, probabilities, status, reason, learned)."""

river_model = udf(_Model(), result_type=_BYTES, func_type="pandas", name="river_model")
"""``river_model(spec, blob)``: the model that the snapshot topic has in two columns, as the others take it."""

river_learn = _aggregate(_Learn(), _BYTES)
"""``river_learn('model text', label, feature, ...)``: the model that learned the group's rows, as BYTES."""

online_metric = _aggregate(_Metric(), _DOUBLE)
"""``online_metric('ROCAUC', label, score)``: a metric of the group's rows so far; NULL where it has no value."""

drift = _aggregate(_Drift(), _fields(drifts=_LONG, n=_LONG, last_at=_LONG, skipped=_LONG))
"""``drift('ADWIN', value)``: ROW(drifts, n, last_at, skipped) of the group's values so far."""

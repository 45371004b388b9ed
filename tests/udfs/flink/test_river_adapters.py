"""The adapters of the River functions as PyFlink calls them: series in, series out; accumulators through pickle."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.flink import river_functions as functions
from thalweg.udfs.logic.portable import unpack_model

MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"


def function_of(wrapper: Any) -> Any:
    return pickle.loads(pickle.dumps(wrapper._func))


def fold(wrapper: Any, rows: list[tuple[Any, ...]], bundle: int = 1) -> Any:
    """Accumulate as PyFlink does: one value per bundle, and between bundles the accumulator is only its pickle."""
    function = function_of(wrapper)
    accumulator = function.create_accumulator()
    before = function.get_value(accumulator)
    for at, row in enumerate(rows):
        function.accumulate(accumulator, *row)
        if (at + 1) % bundle == 0:
            function.get_value(accumulator)
            accumulator = pickle.loads(pickle.dumps(accumulator))
            assert [type(part) for part in accumulator] == [bytes]
    assert before is None
    return function.get_value(accumulator)


@pytest.fixture(scope="module")
def learned() -> bytes:
    found = fold(functions.river_learn, [(MODEL, n % 3 == 0, n / 5, n % 7) for n in range(60)], 7)
    assert isinstance(found, bytes)
    return found


def test_an_accumulator_is_plain_bytes_between_bundles(learned: bytes) -> None:
    rows: list[tuple[Any, ...]] = [(MODEL, n % 3 == 0, n / 5, n % 7) for n in range(60)]
    for bundle in (1, 13, 1000):
        assert fold(functions.river_learn, rows, bundle) == learned
    pairs = [("F1", n % 3 == 0, n % 2 == 0) for n in range(30)]
    assert fold(functions.online_metric, pairs) == fold(functions.online_metric, pairs, 1000)
    values = [("ADWIN", float(n > 200)) for n in range(400)]
    assert list(fold(functions.drift, values, 50)) == list(fold(functions.drift, values, 1000))


def test_a_model_is_dumped_once_per_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.udfs.logic.river_learning import RiverLearning

    dumps = []
    plain = RiverLearning.dump
    monkeypatch.setattr(RiverLearning, "dump", lambda state: dumps.append(1) or plain(state))
    function = function_of(functions.river_learn)
    accumulator = function.create_accumulator()
    for bundle in range(5):
        function.get_value(accumulator)
        for n in range(10):
            function.accumulate(accumulator, MODEL, n % 2 == 0, float(n))
        function.get_value(accumulator)
        pickle.dumps(accumulator)
        assert len(dumps) == bundle + 1


def test_columns_of_every_type_reach_the_model(learned: bytes) -> None:
    index = pd.RangeIndex(5, 9)
    models = pd.Series([learned] * 3 + [None], index=index, dtype=object)
    a = pd.Series([Decimal("1.5"), 1.5, None, Decimal("2")], index=index, dtype=object)
    scores = function_of(functions.river_score).eval(models, a, pd.Series([2.0, 2.0, 2.0, np.nan], index=index))
    assert list(scores.index) == list(index)
    expected = unpack_model(learned).score([{"f0": 1.5, "f1": 2.0}])[0]
    assert scores.tolist() == [expected.score, expected.score, None, None]
    # A literal comes as one value.
    labels = function_of(functions.river_label).eval(models, a, Decimal("2"))
    assert labels.tolist() == [expected.label, expected.label, None, None]
    whole = function_of(functions.river_score).eval(models, a, pd.Series([2, 2, 2, 2], index=index))
    assert whole.tolist() == scores.tolist()


def test_river_predict_says_why_there_is_no_score(learned: bytes) -> None:
    models = pd.Series([learned, None, b"TWM1", learned], dtype=object)
    found = function_of(functions.river_predict).eval(models, pd.Series([1.0, 1, 1, np.nan]), 3.0)
    assert list(found.columns) == ["score", "label", "probabilities", "status", "reason", "learned"]
    assert found["status"].tolist() == ["ok", "not_ready", "refused", "refused"]
    assert found["learned"].tolist() == [60, None, None, 60]
    assert [bool(reason) for reason in found["reason"]] == [False, True, True, True]
    assert function_of(functions.river_predict).eval(models[:0], pd.Series([], dtype=float), 3.0).empty


def test_river_model_is_null_where_its_parts_are_no_model(learned: bytes) -> None:
    engine = unpack_model(learned)
    specs = pd.Series([engine.spec.to_json(), None, "{}", "junk"], dtype=object)
    found = function_of(functions.river_model).eval(specs, pd.Series([engine.dump()] * 4, dtype=object))
    assert found.isna().tolist() == [False, True, True, True]
    assert unpack_model(found[0]).dump() == engine.dump()


@pytest.mark.parametrize(
    ("wrapper", "args", "says"),
    [
        (functions.river_learn, (MODEL, True), "at least one feature"),
        (functions.online_metric, ("MAE", 1.0), "online_metric: takes 3 arguments and was given 2"),
        (functions.drift, ("ADWIN",), "drift: takes 2 arguments and was given 1"),
        (functions.drift, ("ADVIN", 1.0), "no such detector"),
    ],
)
def test_an_aggregate_called_wrongly_says_how_to_call_it(wrapper: Any, args: tuple[Any, ...], says: str) -> None:
    function = function_of(wrapper)
    with pytest.raises(ConfigError, match=says):
        function.accumulate(function.create_accumulator(), *args)


@pytest.mark.parametrize("wrapper", [functions.river_learn, functions.online_metric, functions.drift])
def test_aggregates_say_that_they_cannot_unlearn_or_merge(wrapper: Any) -> None:
    function = function_of(wrapper)
    with pytest.raises(ConfigError, match=r"cannot be unlearned\. Aggregate a table that only grows"):
        function.retract([None], "x", 1.0)
    with pytest.raises(ConfigError, match="Use TUMBLE"):
        function.merge([None], [[None]])

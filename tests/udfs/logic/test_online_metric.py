"""Metrics over groups: River's numbers through any bundles, every name usable, bounded state, audited bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.logic.metrics import roc_auc
from thalweg.udfs.logic.online_metric import METRICS, OnlineMetric

PROBABILITIES = st.floats(0, 1, width=32)


def measure(name: str, pairs: list[Any], cuts: set[int] = frozenset()) -> OnlineMetric:  # type: ignore[assignment]
    state = OnlineMetric()
    for at, (truth, score) in enumerate(pairs):
        if at in cuts:
            state = OnlineMetric.load(state.state())
        state.add(name, truth, score)
    return state


@settings(deadline=None, max_examples=30)
@given(
    pairs=st.lists(st.tuples(st.booleans(), PROBABILITIES), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39)),
    name=st.sampled_from(["LogLoss", "Brier", "ROCAUC", "RollingROCAUC", "F1", "MCC", "Accuracy", "CohenKappa"]),
)
def test_metric_bytes_do_not_depend_on_bundles(pairs: list[Any], cuts: set[int], name: str) -> None:
    whole, parts = measure(name, pairs), measure(name, pairs, cuts)
    assert parts.state() == whole.state()
    assert parts.value() == whole.value()


@settings(deadline=None, max_examples=30)
@given(
    pairs=st.lists(st.tuples(*[st.floats(-1e6, 1e6, allow_nan=False)] * 2), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39)),
    name=st.sampled_from(["MAE", "MSE", "RMSE", "R2", "SMAPE", "MAPE"]),
)
def test_numeric_metrics_are_rivers(pairs: list[Any], cuts: set[int], name: str) -> None:
    loop = getattr(metrics, name)()
    for truth, score in pairs:
        loop.update(truth, score)
    found = measure(name, pairs, cuts).value()
    assert found == loop.get() or (found is None and not np.isfinite(loop.get()))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_in_the_list_works_and_survives_its_bytes(name: str) -> None:
    dice = np.random.default_rng(5)
    text = f"{name}(beta=0.5)" if "FBeta" in name else name
    labels = name not in ("MAE", "MAPE", "MSE", "R2", "RMSE", "RMSLE", "SMAPE", "LogLoss", "Brier", "ROCAUC")
    state = OnlineMetric()
    for n in range(60):
        numbers = (float(dice.integers(1, 9)), float(dice.integers(1, 9)))
        pair: tuple[Any, Any] = (bool(dice.integers(2)), float(dice.random()))
        state.add(text, *(pair if labels or name in ("LogLoss", "Brier", "ROCAUC") else numbers))
        if n % 13 == 0:
            state = OnlineMetric.load(state.state())
    assert (state.count, state.skipped) == (60, 0)
    assert isinstance(state.value(), float)


def test_roc_auc_is_that_of_the_flow_and_takes_scores_outside_of_probabilities() -> None:
    dice = np.random.default_rng(6)
    truth = dice.random(3000) < 0.2
    for score in (dice.beta(1, 30, 3000) * (1 + truth), dice.normal(size=3000) * 50 + truth * 30):
        state = measure("ROCAUC", list(zip(truth.tolist(), score.tolist(), strict=True)), {1000, 2047})
        assert state.value() == pytest.approx(roc_auc(score, truth), abs=2e-3)
        assert len(state.state()) < 70_000
    assert measure("ROCAUC", [(True, 0.4), (True, 0.5)]).value() is None


def test_labels_are_compared_as_sql_gives_them() -> None:
    pairs: list[tuple[Any, Any]] = [(True, "true"), (False, 0.2), ("true", True), (1, Decimal("0.7")), (0, 0.9)]
    assert measure("Accuracy", pairs).value() == 0.8
    assert measure("Accuracy", [("a", "a"), ("1", 1), (2, "3")]).value() == pytest.approx(2 / 3)
    assert measure("F1", [("true", "true"), (0, 0), (1, 0.9), (True, False)]).value() == pytest.approx(0.8)
    assert measure("Brier", [(True, 0.5), (0, 0.5)]).value() == 0.25


def test_pairs_that_do_not_count_are_skipped() -> None:
    pairs: list[Any] = [(None, 0.5), (True, None), (True, float("nan")), ("maybe", 0.5), (True, "x"), (True, 0.25)]
    state = measure("LogLoss", pairs)
    assert (state.count, state.skipped) == (1, 5)
    assert state.value() == -np.log(0.25)
    assert measure("MAE", [(None, 1.0)]).value() is None
    assert OnlineMetric().value() is None


def test_a_confusion_matrix_has_a_bound() -> None:
    state = measure("Accuracy", [(f"c{n}", f"c{n}") for n in range(5000)])
    assert (state.count, state.skipped) == (500, 4500)
    state.add("Accuracy", "c1", "c2")
    assert state.count == 501


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("AUC", r"online_metric\('AUC', ...\): there is no such metric. Known: Accuracy, .*Brier"),
        ("", "names no metric"),
        (None, "names no metric"),
        ("F1(beta=3)", "unexpected keyword"),
        ("F1() + metrics.F1()", "is more than one metric"),
        ("linear_model.F1()", "no such metric"),
        ("Accuracy(cm=open('x'))", "online_metric"),
        ("FBeta", "beta"),
        ("AdjustedMutualInfo", "no such metric"),
    ],
)
def test_a_metric_that_is_not_there_is_told_with_those_that_are(text: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        OnlineMetric().add(text, None, None)


def test_a_metric_that_changes_is_told() -> None:
    state = measure("MAE", [(1.0, 2.0)])
    with pytest.raises(ConfigError, match="changes within a group"):
        state.add("MSE", 1.0, 2.0)
    assert state.value() == 1.0


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 100_000), value=st.integers(0, 255), name=st.sampled_from(["ROCAUC", "Accuracy"]))
def test_damaged_metric_bytes_raise_nothing_but_snapshot_errors(at: int, value: int, name: str) -> None:
    data = bytearray(measure(name, [(True, 0.3), (False, 0.4)]).state())
    data[at % len(data)] = value
    for damaged in (bytes(data), bytes(data[: at % len(data)])):
        try:
            OnlineMetric.load(damaged)
        except SnapshotError:
            pass

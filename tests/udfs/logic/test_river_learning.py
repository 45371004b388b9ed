"""A model learned by an aggregate: River's loop bit for bit, however the rows are cut into bundles."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, preprocessing, tree
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.logic.portable import unpack_model
from thalweg.udfs.logic.river_learning import RiverLearning, infer_spec

LOGISTIC = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
TREE = "tree.HoeffdingTreeRegressor(grace_period=10)"
NUMBERS = st.one_of(st.none(), st.floats(width=32), st.integers(-1000, 1000))
ROWS = st.lists(st.tuples(st.one_of(st.none(), st.booleans()), NUMBERS, NUMBERS), max_size=60)


def through_pickle(state: RiverLearning) -> RiverLearning:
    written = pickle.dumps([state])
    assert b"thalweg" not in written.replace(state.state(), b"")
    (data,) = pickle.loads(written)
    assert type(data) is bytes
    return RiverLearning.load(data)


def learn_all(text: str, rows: list[Any], cuts: set[int]) -> RiverLearning:
    state = RiverLearning()
    for at, (label, *features) in enumerate(rows):
        if at in cuts:
            state = through_pickle(state)
        state.add(text, label, tuple(features))
    return state


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, cuts=st.sets(st.integers(0, 60)), text=st.sampled_from([LOGISTIC, "linear_model.ALMAClassifier()"]))
def test_learned_bytes_do_not_depend_on_bundles(rows: list[Any], cuts: set[int], text: str) -> None:
    whole, parts = learn_all(text, rows, set()), learn_all(text, rows, cuts)
    assert parts.state() == whole.state()
    assert parts.value() == whole.value()
    assert parts.learned + parts.skipped == len(rows)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=60), st.data())
def test_river_learning_is_a_plain_river_loop(rows: list[Any], data: Any) -> None:
    cuts = data.draw(st.sets(st.integers(0, len(rows))))
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for label, a, b in rows:
        model.learn_one({"f0": a, "f1": b}, label)
    value = learn_all(LOGISTIC, rows, cuts).value()
    engine: Any = unpack_model(value or b"")
    linear = engine.model["LogisticRegression"]
    assert dict(linear.weights) == dict(model["LogisticRegression"].weights)
    assert linear.intercept == model["LogisticRegression"].intercept
    assert engine.model["StandardScaler"].vars == model["StandardScaler"].vars


def test_a_tree_learned_through_bytes_is_rivers() -> None:
    model = tree.HoeffdingTreeRegressor(grace_period=10)
    rows = [((n * 37 % 11) / 3, float(n % 17), float(n * n % 13)) for n in range(300)]
    for label, a, b in rows:
        model.learn_one({"f0": a, "f1": b}, label)
    engine = unpack_model(learn_all(TREE, rows, set(range(0, 300, 7))).value() or b"")
    for _, a, b in rows:
        assert engine.score([{"f0": a, "f1": b}])[0].score == model.predict_one({"f0": a, "f1": b})


def test_rows_that_cannot_be_learned_are_skipped_and_counted() -> None:
    state = RiverLearning()
    for label, value in [(None, 1.0), (True, None), (True, float("nan"))]:
        state.add(LOGISTIC, label, (value,))
    assert (state.value(), state.skipped) == (None, 3)
    state = through_pickle(state)
    for label, value in [(True, Decimal("1.5")), (False, 2), (True, float("inf")), (True, "x"), ("no", 1.0)]:
        state.add(LOGISTIC, label, (value,))
    assert (state.learned, state.skipped) == (2, 6)


@pytest.mark.parametrize(
    ("label", "task", "kind"),
    [
        (True, "classification", "boolean"),
        ("a", "classification", "string"),
        (1, "regression", "number"),
        (1.5, "regression", "number"),
        (Decimal("1.5"), "regression", "number"),
    ],
)
def test_the_spec_follows_from_the_first_row(label: Any, task: str, kind: str) -> None:
    spec = infer_spec("naive_bayes.GaussianNB()", label, (True, 1, 1.5, Decimal(2), "x"))
    assert (spec.task, spec.output.kind, spec.kind) == (task, kind, "river")
    assert [field.kind for field in spec.inputs] == ["boolean", "number", "number", "number", "string"]
    assert [field.name for field in spec.inputs] == ["f0", "f1", "f2", "f3", "f4"]


def test_detectors_and_clusterers_learn_without_labels() -> None:
    for text, task in [("anomaly.HalfSpaceTrees(seed=1)", "anomaly"), ("cluster.KMeans(seed=1)", "clustering")]:
        state = RiverLearning()
        for n in range(10):
            state.add(text, None, (n / 10, 0.5))
            state = through_pickle(state)
        assert (state.learned, state.skipped) == (10, 0)
        assert unpack_model(state.value() or b"").spec.task == task


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ([(None, True, (1.0,))], "model text is missing"),
        ([("linear_model.Logistic()", None, (None,))], "river_learn, .*Did you mean"),
        ([("linear_model.LinearRegression()", True, (1.0,))], "not a classifier.*numbers a regression"),
        ([(LOGISTIC, 1.0, (1.0,))], "not a regressor.*BOOLEAN and STRING make a classification"),
        ([(LOGISTIC, True, (b"x",))], "feature 1: is a bytes. Cast it"),
        ([(LOGISTIC, True, ())], "no features"),
        ([(LOGISTIC, True, (1.0,)), (LOGISTIC, True, (1.0, 2.0))], "has 2 features, and 1"),
        ([(LOGISTIC, True, (1.0,)), ("naive_bayes.GaussianNB()", True, (1.0,))], "changes within a group"),
    ],
)
def test_a_call_that_cannot_work_says_what_to_do(calls: list[Any], says: str) -> None:
    state = RiverLearning()
    for call in calls[:-1]:
        state.add(*call)
    with pytest.raises(ConfigError, match=says):
        state.add(*calls[-1])


@pytest.mark.parametrize("data", [b"", b"TWL0", b"TWL0" + bytes(9), b"TWM1", b"\x80\x05."])
def test_the_state_of_river_learn_is_audited(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        RiverLearning.load(data)

"""The learning machine on its own: snapshots, refusals, roll-backs, and River's own loop on real data."""

from __future__ import annotations

import math
from typing import Any

import pytest
from learning_store import MODEL, Store, answers, rows, spec
from river import datasets, linear_model, preprocessing
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

BY_HOUR = Policy(Every(None, 3_600_000), 1 << 26)


@pytest.mark.parametrize("through_bytes", [False, True])
@pytest.mark.parametrize("size", [1, 7, 2000])
def test_equals_rivers_loop_on_phishing(size: int, through_bytes: bool) -> None:
    data = list(datasets.Phishing())
    names = sorted(data[0][0])
    the_spec = EngineSpec(
        "river", "classification", MODEL, tuple(Field(n, "number") for n in names), Field("y", "boolean")
    )
    logic, store, models, expected = LearningLogic(the_spec, BY_HOUR), Store(through_bytes), {}, []
    given = [
        (STEP, f"k{n % 3}", f"e{n}", n * 1000, n * 1000, bool(y), *(float(x[name]) for name in names))
        for n, (x, y) in enumerate(data)
    ]
    for row in given:
        features = dict(zip(names, row[6:], strict=True))
        model, seen = models.get(row[1]) or (preprocessing.StandardScaler() | linear_model.LogisticRegression(), 0)
        expected.append(model.predict_proba_one(features)[True] if seen else None)
        model.learn_one(features, row[5])
        models[row[1]] = (model, seen + 1)
    got: list[Any] = []
    for start in range(0, len(given), size):
        got += [answer[1] for answer in answers(logic.on_rows(rows(*given[start : start + size]), store))]
    assert got == expected


def test_a_score_never_knows_its_own_label() -> None:
    logic, store = LearningLogic(spec(), BY_HOUR), Store()
    outcome = logic.on_rows(
        rows((STEP, "k", "e1", 1, 1, True, 1.0, 2.0), (SCORE, "k", "e2", 2, 2, None, 1.0, 2.0)), store
    )
    assert [(a[0], a[2], a[3]) for a in answers(outcome)] == [("e1", "not_ready", 0), ("e2", "ok", 1)]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((LEARN, None, "e", 1, 1, True, 1.0, 2.0), "key is null"),
        ((LEARN, None, None, 1, 1, True, 1.0, 2.0), "names no event"),
        ((LEARN, None, "e", 1, 1, None, 1.0, 2.0), "label is null"),
        ((LEARN, "k", "e", 1, 1, None, 1.0, 2.0), "label"),
        ((LEARN, "k", "e", 1, 1, "late", 1.0, 2.0), "'y'"),
        ((LEARN, "k", "e", 1, 1, True, None, 2.0), "'a'"),
        ((LEARN, "k", "e", 1, 1, True, math.nan, 2.0), "'a'"),
        ((LEARN, "k", "e", 1, 1, True, 1.0, math.inf), "'b'"),
    ],
)
def test_what_cannot_be_learned_is_refused_and_changes_nothing(row: tuple[Any, ...], says: str) -> None:
    logic, store = LearningLogic(spec(), BY_HOUR), Store()
    logic.on_rows(rows((LEARN, "k", "e0", 0, 0, True, 1.0, 2.0)), store)
    before = store["k"].dump()
    outcome = logic.on_rows(rows(row), store)
    assert says in outcome.refusals[0].reason
    assert store["k"].dump() == before
    assert not outcome.answers.columns[0]


def test_a_late_event_is_answered_with_a_reason_and_not_learned() -> None:
    logic, store = LearningLogic(spec(), BY_HOUR), Store()
    logic.on_rows(rows((LEARN, "k", "e0", 0, 0, True, 1.0, 2.0)), store)
    outcome = logic.on_rows(rows((SCORE_LATE, "k", "e", 0, 0, None, 1.0, 2.0)), store)
    assert outcome.answers.columns[6] == ["ok"]
    assert outcome.answers.columns[7][0].startswith("late")


@pytest.mark.parametrize("cut", [1, 3, 50])
@pytest.mark.parametrize("clock", [False, True])
def test_snapshots_stand_on_whole_multiples_whatever_the_blocks(cut: int, clock: bool) -> None:
    every = 10_000
    logic, store, published = LearningLogic(spec(), Policy(Every(None, every), 1 << 26)), Store(), []
    given = [(LEARN, "k", f"e{n}", n * 3000, n * 3000, n % 2 == 0, float(n), 1.0) for n in range(20)]
    for start in range(0, len(given), cut):
        if clock:
            published += logic.on_time(given[start][4] - 1, store).published
        published += logic.on_rows(rows(*given[start : start + cut]), store).published
    published += logic.on_time(1 << 60, store).published
    assert [(p.watermark_ms, p.learned) for p in published] == [
        (at, sum(row[4] < at for row in given)) for at in range(every, 70_000, every)
    ]
    assert [p.slot for p in published] == [n % 2 for n in range(len(published))]


def test_snapshots_by_count_and_models_that_are_too_large() -> None:
    given = [(LEARN, "k", f"e{n}", n, n, n % 2 == 0, float(n), 1.0) for n in range(25)]
    outcome = LearningLogic(spec(), Policy(Every(10, None), 1 << 26)).on_rows(rows(*given), Store())
    assert [p.learned for p in outcome.published] == [10, 20]
    outcome = LearningLogic(spec(), Policy(Every(10, None), 5, "keep")).on_rows(rows(*given), Store())
    assert not outcome.published
    assert [a.alert for a in outcome.alerts] == ["model-size", "model-size"]


def test_a_model_that_diverges_is_rolled_back_and_an_alert_tells() -> None:
    text = "linear_model.LinearRegression(optimizer=optim.SGD(0.5))"
    the_spec = EngineSpec("river", "regression", text, (Field("a", "number"),), Field("y", "number"))
    logic, store = LearningLogic(the_spec, BY_HOUR), Store()
    given = [(LEARN, "k", f"e{n}", n, n, 1.0 if n % 2 else -1e6, 1e6 + n) for n in range(2000)]
    outcome = logic.on_rows(rows(*given), store)
    assert {a.alert for a in outcome.alerts} == {"divergence"}
    assert {decision.decision for decision in outcome.decisions} == {"rollback"}
    outcome = logic.on_time(1 << 60, store)
    assert len(outcome.published) == 1
    restored: Any = restore(the_spec, outcome.published[0].blob)
    assert restored.healthy()
    assert store["k"].engine(the_spec).healthy()

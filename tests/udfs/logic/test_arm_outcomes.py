"""The figures of arms, held against scikit-learn and NumPy over all rows at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, root_mean_squared_error
from thalweg.udfs.logic.arm_outcomes import LOSSES, ArmOutcomes, known_losses
from thalweg.udfs.logic.comparison_plan import Arm, Plan

COUNT = 300


def fed(plan: Plan, score: Any, label: Any, detail: Any, truth: list[str], default: int = 0) -> ArmOutcomes:
    """The book after all events, arms side by side; one event has no answer of the last arm."""
    arms = len(plan.arms)
    rows = np.arange(COUNT * arms).reshape(COUNT, arms)
    columns: list[list[Any]] = [[0] * rows.size for _ in range(12)]
    columns[6], columns[7], columns[8] = (list(np.array(part, dtype=object).ravel()) for part in (score, label, detail))
    columns[9] = [text for text in truth for _ in range(arms)]
    columns[11] = [f'["{"x" if n // arms % 2 else "y"}"]' for n in range(rows.size)]
    book = ArmOutcomes(plan)
    scores = np.array(columns[6], dtype=np.float64)[rows]
    gains, codes = book.values(columns, rows, scores, np.array(columns[7], dtype=object)[rows])
    for part in np.array_split(np.arange(COUNT), 7):
        book.add(gains[part], codes[part], default)
    return book


def test_losses_of_two_classes() -> None:
    pick = np.random.default_rng(1)
    chance, truth = pick.random((COUNT, 2)), pick.random(COUNT) < 0.4
    score = chance.astype(object)
    score[5, 1] = None
    plan = Plan("p", (Arm("a"), Arm("b", 10)), "a", slices=("part",))
    labels = np.where(chance > 0.5, "true", "false")
    book = fed(plan, score, labels, np.full((COUNT, 2), None), [str(t).upper() for t in truth])
    assert book.own(0, "LogLoss", 0.05, 100).value == pytest.approx(log_loss(truth, chance[:, 0]))
    kept = np.arange(COUNT) != 5
    assert book.own(1, "LogLoss", 0.05, 100).value == pytest.approx(log_loss(truth[kept], chance[kept, 1]))
    found = book.pair(1, "LogLoss", 0.05, 100)
    assert found.count == COUNT - 1
    assert found.value == pytest.approx(log_loss(truth[kept], chance[kept, 0]) - log_loss(truth[kept], chance[kept, 1]))
    parts = dict(book.slices(1, "LogLoss", "part", 0.05, 100))
    assert {name: part.count for name, part in parts.items()} == {"part=y": 150, "part=x": 149}
    weighed = sum(part.count * part.value for part in parts.values()) / (COUNT - 1)
    assert weighed == pytest.approx(found.value)


def test_losses_of_many_classes() -> None:
    pick = np.random.default_rng(2)
    names = np.array(["p", "q", "r"])
    chance = pick.dirichlet([1, 1, 1], (COUNT, 2))
    truth = names[pick.integers(0, 3, COUNT)]
    detail = [[json.dumps(dict(zip("pqr", map(float, each), strict=True))) for each in event] for event in chance]
    best = names[chance.argmax(axis=2)]
    book = fed(Plan("p", (Arm("a"), Arm("b", 10)), "a", output="string"), chance.max(axis=2), best, detail, list(truth))
    for arm in range(2):
        expected = log_loss(truth, chance[:, arm], labels=list("pqr"))
        assert book.own(arm, "LogLoss", 0.05, 100).value == pytest.approx(expected)


def test_a_root_is_compared_as_a_root() -> None:
    pick = np.random.default_rng(3)
    truth = pick.normal(50, 10, COUNT)
    score = truth[:, None] + pick.normal(0, (2.0, 1.0), (COUNT, 2))
    nothing = np.full((COUNT, 2), None)
    plan = Plan("p", (Arm("a"), Arm("b", 10)), "a", task="regression", output="number", metric="RMSE")
    book = fed(plan, score, nothing, nothing, [str(value) for value in truth])
    errors = [root_mean_squared_error(truth, score[:, arm]) for arm in range(2)]
    assert [book.own(arm, "RMSE", 0.05, 100).value for arm in range(2)] == pytest.approx(errors)
    found = book.pair(1, "RMSE", 0.05, 100)
    assert found.value == pytest.approx(errors[0] - errors[1])
    assert 0 < found.lower < found.value < found.upper


def test_losses_are_those_of_the_task() -> None:
    assert known_losses("regression", "number") == LOSSES[3:]
    assert known_losses("classification", "boolean") == ("LogLoss", "Accuracy", "Brier")
    assert known_losses("anomaly", "boolean") == ()


def test_regimes_make_a_difference_less_certain_and_nothing_else() -> None:
    pick, plan = np.random.default_rng(4), Plan("p", (Arm("a"), Arm("b", 10)), "a")
    regime = np.tile([0.5, -0.3], 8).repeat(125)  # 16 regimes: b is better by 0.5, then worse by 0.3
    codes = np.zeros((2000, 0), dtype=np.int64)
    lasting, mixed = ArmOutcomes(plan), ArmOutcomes(plan)
    noise = pick.normal(0, 0.1, 2000)
    for book, order in ((lasting, np.arange(2000)), (mixed, pick.permutation(2000))):
        gains = np.stack((np.zeros(2000), regime[order] + noise[order]), axis=-1)[:, :, None]
        for part in np.array_split(np.arange(2000), 9):
            book.add(gains[part], codes[part], 0)
    plain, steady = lasting.pair(1, "LogLoss", 0.05, 2000), lasting.steady(1, 0.05, 2000)
    assert steady.value == plain.value
    assert plain.lower > 0 > steady.lower
    assert steady.upper - steady.lower > 5 * (plain.upper - plain.lower)
    assert lasting.recent(1, 0.05, 2000) == steady
    assert mixed.steady(1, 0.05, 2000).lower > 0
    lasting.restart()
    assert lasting.steady(1, 0.05, 2000).count == 0
    assert not lasting.sums["batches"].any()

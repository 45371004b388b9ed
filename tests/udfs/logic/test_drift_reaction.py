"""What becomes of a model that has become worse: what it says afterwards, the alert, and the same after restarts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from learning_store import Store, answers, rows, spec
from thalweg.connector.errors import ConfigError
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.declaration import declare
from thalweg.udfs.logic.learning import STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

TREE = "tree.HoeffdingTreeClassifier(grace_period=50)"
FLIP, COUNT = 3000, 5000


def stream() -> list[tuple[Any, ...]]:
    dice = np.random.default_rng(5)
    a, b = dice.random(COUNT).tolist(), dice.random(COUNT).tolist()
    return [(STEP, "k", f"e{n}", n, n, (a[n] + b[n] > 1) == (n < FLIP), a[n], b[n]) for n in range(COUNT)]


def run(reaction: str, restarts: bool = False) -> tuple[list[Any], list[Any], Store]:
    logic = LearningLogic(spec(TREE), Policy(Every(None, 1 << 40), 1 << 26, on_drift=reaction))
    store, alerts, given = Store(through_bytes=restarts), [], []
    every, all_rows = 500, stream()
    for at in range(0, COUNT, every):
        outcome = logic.on_rows(rows(*all_rows[at : at + every]), store)
        alerts += outcome.alerts
        given += answers(outcome)
    return alerts, given, store


def wrong_after(given: list[Any]) -> float:
    """Share of wrong answers soon after the drift was found."""
    part = slice(FLIP + 150, FLIP + 450)
    truth = [row[5] for row in stream()[part]]
    return float(np.mean([((answer[1] or 0.0) > 0.5) != y for answer, y in zip(given[part], truth, strict=True)]))


@pytest.mark.parametrize("reaction", ["warn", "reset", "replace", "rollback"])
def test_one_alert_tells_soon_what_became_of_the_model(reaction: str) -> None:
    alerts, given, _ = run(reaction)
    drifts = [alert for alert in alerts if alert.alert == "drift" and FLIP <= alert.time_ms < FLIP + 1000]
    assert len(drifts) == 1
    assert drifts[0].time_ms < FLIP + 300
    assert drifts[0].value > drifts[0].threshold
    said = {
        "warn": "It goes on",
        "reset": "begins anew",
        "replace": "takes its place",
        "rollback": "went back to the copy",
    }
    assert said[reaction] in drifts[0].reason
    learned = given[drifts[0].time_ms + 1][3]
    assert {
        "warn": learned > FLIP,
        "reset": learned < 10,
        "replace": 10 < learned < 600,
        "rollback": learned % 512 < 10 < FLIP - 600 < learned,
    }[reaction]


@pytest.mark.parametrize("reaction", ["warn", "reset", "replace", "rollback"])
def test_each_reaction_is_a_decision_with_its_reason_and_figures(reaction: str) -> None:
    logic = LearningLogic(spec(TREE), Policy(Every(None, 1 << 40), 1 << 26, on_drift=reaction))
    outcome = logic.on_rows(rows(*stream()), Store())
    drifts = [alert for alert in outcome.alerts if alert.alert == "drift"]
    assert [(d.decision, d.time_ms, d.reason) for d in outcome.decisions] == [
        (reaction, alert.time_ms, alert.reason) for alert in drifts
    ]
    assert drifts
    for decision, alert in zip(outcome.decisions, drifts, strict=True):
        figures = json.loads(decision.evidence)
        assert figures["key"] == "k"
        assert (figures["newest_error"], figures["usual_error"]) == (alert.value, alert.threshold)
        assert (figures["learned_after"] == figures["learned"]) == (reaction == "warn")
    assert outcome.versions() == ([] if reaction == "warn" else [alert.time_ms for alert in drifts])


def test_a_model_that_is_replaced_or_begins_anew_knows_the_new_world_sooner() -> None:
    worst = wrong_after(run("none")[1])
    for reaction in ("reset", "replace"):
        assert wrong_after(run(reaction)[1]) < worst - 0.05


@pytest.mark.parametrize("reaction", ["replace", "rollback"])
def test_reactions_are_the_same_through_restarts(reaction: str) -> None:
    one, two = run(reaction), run(reaction, True)
    assert one[0] == two[0]
    assert one[1] == two[1]


def test_a_second_model_is_dropped_when_errors_become_usual_again() -> None:
    cell = Cell()
    cell.fill(spec(TREE))
    for n in range(64):
        cell.second(spec(TREE)).learn({"a": float(n), "b": 1.0}, n % 2 == 0)
    again = Cell.load(cell.dump())
    assert again.has_second()
    assert again.second(spec(TREE)).learned == 64
    assert again.dump() == cell.dump()
    again.drop_second()
    assert not again.has_second()


def test_with_a_cadence_the_reaction_is_refused() -> None:
    options = {"provider": "river", "model": "m", "input-table": "t", "event-id": "id", "label": "y", "cadence": "1 h"}
    with pytest.raises(ConfigError, match="'on-drift': is given with a 'cadence'"):
        declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], {**options, "on-drift": "reset"}, (), True)

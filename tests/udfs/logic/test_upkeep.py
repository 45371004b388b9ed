"""What becomes of models that grow too large, that drift, or whose declaration has changed."""

from __future__ import annotations

from typing import Any

import pytest
from learning_store import MODEL, Store, answers, rows, spec
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.learning import LEARN, SCORE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

TREE = "tree.HoeffdingTreeClassifier(grace_period=10)"


def learn(count: int, start: int = 0, flip: int = 1 << 40) -> list[list[Any]]:
    return rows(
        *(
            (STEP, "k", f"e{n}", n, n, (n % 7 > 3) == (n < flip), float(n % 7), float(n % 11))
            for n in range(start, start + count)
        )
    )


def test_a_model_that_grew_too_large_freezes_and_says_so_once() -> None:
    logic, store = LearningLogic(spec(TREE), Policy(Every(100, None), 3_000)), Store(through_bytes=True)
    outcome = logic.on_rows(learn(1500), store)
    assert [(alert.alert, alert.severity) for alert in outcome.alerts] == [("model-size", "critical")]
    stopped = answers(outcome)[-1][3]
    assert 0 < stopped < 1500
    more = logic.on_rows(learn(50, 1500), store)
    assert {answer[3] for answer in answers(more)} == {stopped}
    assert {answer[2] for answer in answers(more)} == {"ok"}
    assert not more.alerts
    assert not logic.on_time(1 << 60, store).published


def test_a_frozen_model_goes_on_when_the_limit_is_raised() -> None:
    store = Store(through_bytes=True)
    outcome = LearningLogic(spec(TREE), Policy(Every(100, None), 3_000)).on_rows(learn(1500), store)
    stopped = answers(outcome)[-1][3]
    more = LearningLogic(spec(TREE), Policy(Every(100, None), 1 << 26)).on_rows(learn(50, 1500), store)
    assert answers(more)[-1][3] == stopped + 49


def test_a_model_that_grew_too_large_begins_anew_if_asked() -> None:
    logic, store = LearningLogic(spec(TREE), Policy(Every(100, None), 3_000, "reset")), Store()
    outcome = logic.on_rows(learn(1500), store)
    assert {alert.alert for alert in outcome.alerts} == {"model-size"}
    assert len(outcome.alerts) > 1
    assert answers(outcome)[-1][3] < 1000


def test_size_is_looked_at_long_before_the_next_snapshot() -> None:
    logic = LearningLogic(spec(TREE), Policy(Every(None, 1 << 40), 3_000))
    assert [alert.alert for alert in logic.on_rows(learn(1500), Store()).alerts] == ["model-size"]


def test_a_snapshot_is_published_when_the_model_drifts() -> None:
    logic = LearningLogic(spec(TREE), Policy(Every(None, None, True), 1 << 26))
    assert not logic.on_rows(learn(1500), Store()).published
    published = logic.on_rows(learn(3000, flip=2000), Store()).published
    assert published
    assert all(2000 < p.learned < 3000 for p in published)


def changed(policy: str, text: str, store: Store) -> LearningLogic:
    LearningLogic(spec(), Policy(Every(None, 1 << 40), 1 << 26)).on_rows(learn(100), store)
    return LearningLogic(spec(text), Policy(Every(None, 1 << 40), 1 << 26, on_spec_change=policy))


def test_another_model_text_is_refused_with_the_choice_spelled_out() -> None:
    store = Store(through_bytes=True)
    with pytest.raises(SnapshotError, match=r"'on-spec-change' = 'keep'.*or 'reset'"):
        changed("fail", TREE, store).on_rows(learn(1, 100), store)


def test_another_model_text_begins_anew_if_asked_and_an_alert_tells() -> None:
    store = Store(through_bytes=True)
    outcome = changed("reset", TREE, store).on_rows(learn(1, 100), store)
    assert [alert.alert for alert in outcome.alerts] == ["model-reset"]
    assert answers(outcome)[0][3] == 0


def test_what_does_not_touch_the_model_may_change_freely() -> None:
    store = Store(through_bytes=True)
    LearningLogic(spec(), Policy(Every(None, 1 << 40), 1 << 26)).on_rows(learn(100), store)
    from dataclasses import replace

    other = replace(spec(), params=(("min-samples", "3"),))
    outcome = LearningLogic(other, Policy(Every(None, 1 << 40), 1 << 26)).on_rows(learn(1, 100), store)
    assert answers(outcome)[0][3] == 100


@pytest.mark.parametrize("kind", [SCORE, LEARN])
def test_a_frozen_model_refuses_nothing_and_learns_nothing(kind: int) -> None:
    logic, store = LearningLogic(spec(MODEL), Policy(Every(10, None), 5)), Store()
    logic.on_rows(learn(10), store)
    assert store["k"].frozen
    outcome = logic.on_rows(rows((kind, "k", "e", 99, 99, True if kind == LEARN else None, 1.0, 2.0)), store)
    assert not outcome.refusals
    assert store["k"].engine(spec()).learned == 10

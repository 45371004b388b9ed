"""Labels of an engine that hears feedback: every event is learned when it comes, a later label is a word about it."""

from __future__ import annotations

import random
from typing import Any

from learning_store import Store, rows
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

SPEC = EngineSpec(
    "metric-anomaly", "anomaly", "metric-anomaly", (Field("ts", "integer"), Field("value", "number")),
    Field("anomaly", "boolean"), (("min-training-size", "20"), ("window", "200")),
)  # fmt: skip


def test_labels_that_come_later_teach_nothing_twice_and_move_the_threshold() -> None:
    dice = random.Random(1)
    values = [dice.gauss(100, 3) for _ in range(300)]
    values[250] = 200.0
    logic, store, engine = LearningLogic(SPEC, Policy(Every(None, None), 1 << 26)), Store(), build(SPEC)
    wanted = [engine.step({"ts": at, "value": value}) for at, value in enumerate(values)]
    # Events come as rows to score, as in a model with a table of labels.
    given = [(SCORE, "cpu", f"e{at}", at, at, None, at, value) for at, value in enumerate(values)]
    found = logic.on_rows(rows(*given), store)
    assert found.answers.columns[3] == [answer.score for answer in wanted]
    assert found.answers.columns[8] == list(range(300)), "each event is learned, without a label"
    assert wanted[250].label == "true"
    before = store["cpu"].engine(SPEC).dump()
    told = [
        (LEARN, "cpu", "e250", 250, 400, False, 250, 200.0),
        (LEARN, "cpu", "e100", 100, 400, None, 100, values[100]),
        (SCORE_LATE, "cpu", "e7", 7, 400, None, 7, values[7]),
    ]
    outcome = logic.on_rows(rows(*told), store)
    assert outcome.answers.columns[0] == ["e7"]
    assert [refusal.event_id for refusal in outcome.refusals] == ["e100"]
    engine.feedback({"ts": 250, "value": 200.0}, False)  # type: ignore[attr-defined]
    after = store["cpu"].engine(SPEC).dump()
    assert after == engine.dump() != before
    assert store["cpu"].engine(SPEC).learned == 300


def test_a_label_that_overtook_its_event_is_taken_with_it() -> None:
    logic, store, engine = LearningLogic(SPEC, Policy(Every(None, None), 1 << 26)), Store(), build(SPEC)
    given: list[Any] = []
    for at in range(100):
        value, label = (500.0, False) if at == 90 else (float(at * 7 % 10), None)
        given.append((SCORE if label is None else STEP, "", f"e{at}", at, at, label, at, value))
        engine.step({"ts": at, "value": value}, label)
    logic.on_rows(rows(*given), store)
    assert store[""].engine(SPEC).dump() == engine.dump()

"""Old examples and decisions in the learning operator: answered after each new version, whatever the blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scenario import MODEL, Loop, make_stream
from test_operators import Flink, declaration, run
from thalweg.udfs.flink.operators import ANSWER_TYPES, EXTRA_TYPES, LearningOperator
from thalweg.udfs.logic.old_examples import REFERENCE

PLACE = {name: len(ANSWER_TYPES) + at for at, name in enumerate(EXTRA_TYPES)}


@pytest.fixture(scope="module")
def loop() -> Loop:
    return Loop(*make_stream(2000), MODEL, True)


def told(loop: Loop, seed: int, block: int, cached: bool = True, **options: str) -> dict[str, list[Any]]:
    d = declaration(MODEL, key="k", shards="1", **options)
    _, others = run(loop, d, seed, block, Flink(LearningOperator(d, True), cached))
    return {name: [list(row)[at] for row in others if list(row)[at] is not None] for name, at in PLACE.items()}


def test_old_examples_are_answered_after_each_snapshot(loop: Loop) -> None:
    span_ms = loop.rows[-1][4] - loop.rows[0][4]
    every_ms = span_ms // 100 * 10
    options = {"old_examples": "30", "evaluate_every": f"{10 * every_ms} ms", "snapshot_every": f"{every_ms} ms"}
    found = told(loop, 1, 97, **options)
    times = [row[0] for row in found["remembered"]]
    published = {row[8] for row in found["snapshot"]}
    assert len(published) > 5
    assert times == sorted(set(times))
    assert all(any(at_ms <= time_ms <= at_ms + every_ms for time_ms in times) for at_ms in published)
    assert len(times) > 5 * span_ms / (10 * every_ms)
    for seed, block, cached in ((2, 400, True), (3, 13, True), (4, 61, False)):
        again = told(loop, seed, block, cached, **options)
        assert [list(row) for row in again["remembered"]] == [list(row) for row in found["remembered"]]


def test_a_reaction_is_a_row_of_its_own(loop: Loop) -> None:
    """The labels turn round in the middle."""
    d = declaration(MODEL, shards="1", old_examples="30", on_drift="reset")
    middle = len(loop.rows) // 2
    turned = [(*row[:5], not row[5], *row[6:]) if row[5] is not None and at > middle else row
              for at, row in enumerate(loop.rows)]  # fmt: skip
    alone = type("Rows", (), {"rows": [(row[0], "", *row[2:]) for row in turned]})()
    _, others = run(alone, d, 1, 50, Flink(LearningOperator(d, True)))
    decisions = [list(row)[PLACE["decision"]] for row in others if list(row)[PLACE["decision"]] is not None]
    assert {row[0] for row in decisions} == {"reset"}
    assert all(("begins anew" in row[1], row[4]) == (True, {}) for row in decisions)
    assert all(json.loads(row[2])["newest_error"] > json.loads(row[2])["usual_error"] for row in decisions)
    assert any(row[3] > turned[middle][4] for row in decisions)


def test_without_new_versions_they_are_answered_at_regular_times(loop: Loop) -> None:
    every_ms = (loop.rows[-1][4] - loop.rows[0][4]) // 100 * 10
    found = told(loop, 1, 97, old_examples="30", evaluate_every=f"{every_ms} ms", snapshot_every="365 d")
    assert all(row[0] % every_ms == 0 for row in found["remembered"][:-1])
    assert len(found["remembered"]) >= 10
    assert json.loads(found["remembered"][0][1][1:])["shard"] == "0/1"


def test_a_labelled_reference_table_is_answered_and_not_learned(loop: Loop) -> None:
    options = {"reference_table": "r", "reference_label": "y", "old_examples": "40", "evaluate_every": "1 h"}
    d = declaration(MODEL, key="k", shards="1", **options)
    given = [(REFERENCE, row[1], None, 0, 0, at % 2 == 0, *row[6:]) for at, row in enumerate(loop.rows[:30])]
    given[3] = (*given[3][:5], None, *given[3][6:])
    plain, _ = run(loop, d, 1, 50, Flink(LearningOperator(d, True)))
    with_table = type("Rows", (), {"rows": [*given, *loop.rows]})()
    flink = Flink(LearningOperator(d, True))
    answers, others = run(with_table, d, 1, 50, flink)
    assert [answer["score"] for answer in answers] == [answer["score"] for answer in plain]
    notes = [json.loads(row[PLACE["remembered"]][1][1:]) for row in map(list, others) if row[PLACE["remembered"]]]
    assert notes
    assert {len(note["reference"]) for note in notes[1:]} == {len({row[1:] for row in given if row[5] is not None})}
    refusals = [row[PLACE["refusal"]] for row in map(list, others) if row[PLACE["refusal"]] is not None]
    assert [r[2] for r in refusals if "table" in r[2]] == ["a row of the reference table has no label."]

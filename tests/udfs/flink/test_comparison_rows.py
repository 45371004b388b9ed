"""What the machine of a comparison is to see of a block's rows: units, slices, rewards, and each event for itself."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.flink.comparison_rows import (
    KINDS,
    Carried,
    answer_rows,
    command_rows,
    machine_columns,
    outcome_rows,
)
from thalweg.udfs.flink.labelled_answers import labelled_answers
from thalweg.udfs.flink.statements import Column, Default
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, OUTCOME
from thalweg.udfs.logic.evaluation import CORRECTED, DEFAULTED, MATCHED, OVERTAKEN, TOGETHER

LAYOUT = (Carried(1, (0,), None), Carried(0, (2,), None))


def row(kind: int, arm: int, event: str | None, carried: str | None, ms: int = 5, **more: Any) -> list[Any]:
    values = {"score": 0.5, "label": "true", "detail": None, "truth": None, "status": "ok", "key": "k", "reason": ""}
    values |= {"learned": 3, "version": "3", "block_ms": None, "block_rows": None} | more
    return [kind, arm, event, carried, ms, ms, *values.values()]


def seen(*rows: list[Any], layout: Any = LAYOUT) -> list[list[Any]]:
    assert all(len(values) == len(KINDS) for values in rows)
    return machine_columns(list(map(list, zip(*rows, strict=True))), layout)


def test_each_model_carries_the_unit_and_the_slices_in_its_own_places() -> None:
    found = seen(row(ANSWER, 0, "e", '["UA","u7"]'), row(ANSWER, 1, "e", '["u7","x","UA"]'), row(ANSWER, 1, "f", None))
    assert found[3] == ["u7", "u7", None]
    assert found[11] == ['["UA"]', '["UA"]', None]
    assert found[12:16] == [[None] * 3] * 4
    timed = seen(row(ANSWER, 0, "e", None, block_ms=7.5, block_rows=3), row(ANSWER, 0, "f", None))
    assert (timed[12], timed[15]) == ([7.5, None], [3, None])


def test_without_a_unit_each_event_is_one() -> None:
    layout = (Carried(None, (), None),)
    found = seen(row(ANSWER, 0, "e", None), row(ANSWER, 0, None, None), row(COMMAND, 0, "", None), layout=layout)
    assert found[3] == ["e", None, None]
    assert found[11] == [None] * 3


def test_rewards_come_with_the_event_or_behind_the_truth() -> None:
    inside = (Carried(0, (), (1, 2)),)
    found = seen(
        row(OUTCOME, 0, "e", '["u","9.5","2"]'), row(OUTCOME, 0, "f", '["u",null,"x"]'), row(OUTCOME, 0, "g", None),
        layout=inside,
    )  # fmt: skip
    assert found[13] == [9.5, None, None]
    assert found[14] == [2.0, None, None]
    beside = (Carried(None, (), None, 0.0),)
    found = seen(
        row(OUTCOME, 0, "e", None, truth='true\x1f[null]'), row(OUTCOME, 0, "f", None, truth="false"),
        row(ANSWER, 0, "g", None), layout=beside,
    )  # fmt: skip
    assert found[13] == [None, 0.0, None], "a label that never came brought nothing; one without a reward is unknown"
    outside = (Carried(None, (), None),)
    found = seen(
        row(OUTCOME, 0, "e", None, truth='true\x1f["9.5"]'), row(OUTCOME, 0, "f", None, truth="false"), layout=outside
    )
    assert found[9] == ["true", "false"]
    assert found[13] == [9.5, None]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 2)), min_size=1, max_size=8), st.integers(1, 3)
)
def test_events_that_share_id_and_time_are_told_apart(events: list[tuple[str | None, int]], arms: int) -> None:
    """Each event has one row per model, side by side, under an id of its own at its time; no row is lost."""
    rows = [
        row(ANSWER, arm, event, None, ms, key=f"{n}") for n, (event, ms) in enumerate(events) for arm in range(arms)
    ]
    rows.sort(key=lambda r: (r[5], r[2] is not None, r[2] or "", r[1]))
    found = seen(*rows, layout=[Carried(None, (), None)] * arms)
    groups: list[tuple[Any, list[int]]] = []
    for arm, event, ms in zip(found[1], found[2], found[4], strict=True):
        if not groups or groups[-1][0] != (event, ms):
            groups.append(((event, ms), []))
        groups[-1][1].append(arm)
    assert [members for _, members in groups] == [list(range(arms))] * len(events)
    assert len({name for name, _ in groups}) == len(events)
    assert sorted(zip(found[16], found[1], strict=True)) == sorted((r[11], r[1]) for r in rows)
    assert sorted(map(str, found[20])) == sorted(str(r[2]) for r in rows)
    assert found[4] == sorted(found[4])


def test_what_becomes_of_an_event_is_taken_once_and_a_default_label_stays() -> None:
    """Of all fates those that are an outcome; where no label came in time the default label stands, as in training."""
    label = Column("y", "boolean", "BOOLEAN")
    default = Default("false", "unanswered")
    query = labelled_answers("answers", "labels", label, "id", 1000, "thalweg_time", default, True, ("revenue", "n"))
    rows = outcome_rows(2, query, True)
    wanted = {MATCHED, OVERTAKEN, TOGETHER, DEFAULTED}
    assert rows.endswith(f"WHERE kind IN ({', '.join(map(str, sorted(wanted)))})")
    assert f"is_label = 2 THEN {DEFAULTED}" in rows
    assert f"THEN {CORRECTED}" not in rows, "a label that comes after the default changes nothing"
    assert f"THEN {CORRECTED}" in labelled_answers("answers", "labels", label, "id", 1000, "thalweg_time", default)
    assert "U&'\\001F', JSON_ARRAY(CAST(`revenue` AS STRING), CAST(`n` AS STRING) NULL ON NULL)" in rows
    assert rows.startswith(f"SELECT {OUTCOME} AS kind, 2 AS arm, event_id AS event_id, slices AS carried,")


def test_all_queries_have_the_same_columns() -> None:
    """They become one by UNION ALL, which goes by places."""
    queries = [
        answer_rows(0, "a", True), answer_rows(1, "b", False), outcome_rows(1, "SELECT 1", False),
        command_rows("the 'one'", "orders"),
    ]  # fmt: skip
    names = [re.findall(r" AS (`?\w+`?)(?=,| FROM)", query.split(" FROM ")[0] + " FROM ") for query in queries]
    assert all(found == names[0] for found in names)
    assert len(names[0]) == len(KINDS)
    assert queries[3].endswith("WHERE model = 'the ''one'''")
    assert "slices AS carried" in queries[0]
    assert "slices" not in queries[1]

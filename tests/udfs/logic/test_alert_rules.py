"""Rules are read or refused by name; an alert is raised once, held, cleared once, and never storms."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.udfs.logic.alert_rules import AlertBook, parse_rules, unknown_in_rules

MINUTE = 60_000


def judged(rule: str, values: list[float], count: int = 100, step: int = MINUTE) -> list[tuple[str, int]]:
    book, told = AlertBook(parse_rules(rule)), []
    for at, value in enumerate(values):
        told += book.judge({"MAE": (value, count, "the window")}, at * step)
        state = json.loads(json.dumps(book.state()))
        book = AlertBook(parse_rules(rule))
        book.load(state)
    return [(alert.state, alert.event_time_ms // step) for alert in told]


def test_raised_once_held_and_cleared_when_it_is_over_for_as_long() -> None:
    values = [1, 3, 3, 1, 3, 3, 3, 3, 1, 3, 1, 1, 1, 1]
    assert judged("MAE > 2 for 3 min", [*values]) == [("raised", 7), ("cleared", 13)]
    assert judged("MAE > 2", [1, 3, 3, 1, 1]) == [("raised", 1), ("cleared", 3)]


def test_too_few_samples_change_nothing() -> None:
    assert judged("MAE > 2 min-samples 101", [3, 3, 3]) == []
    assert AlertBook(parse_rules("MAE > 2")).judge({}, 0) == []


@settings(deadline=None)
@given(st.lists(st.sampled_from([1.0, 3.0]), max_size=200))
def test_no_storm_and_always_in_turn(values: list[float]) -> None:
    told = judged("MAE > 2", values)
    assert [state for state, _ in told] == (["raised", "cleared"] * len(told))[: len(told)]
    raised = [at for state, at in told if state == "raised"]
    assert all(after - before >= 60 for before, after in pairwise(raised))


def test_evidence_is_in_the_reason() -> None:
    (alert,) = AlertBook(parse_rules("critical: MAE > 2")).judge({"MAE": (2.5, 120, "the last 120 events")}, 7)
    assert (alert.alert, alert.severity, alert.value, alert.threshold, alert.count) == (
        "MAE > 2",
        "critical",
        2.5,
        2.0,
        120,
    )
    assert alert.reason == "MAE is 2.5, over the last 120 events, and the rule is MAE > 2."


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("MAE", "the rule 'MAE' is not of the form"),
        ("MAE > 1; loud: MAE < 2", "the rule 'loud: MAE < 2' has the severity 'loud'"),
        ("MAE > 1 for 10 parsecs", "the rule 'MAE > 1 for 10 parsecs'"),
        (" ; ", "has no rule"),
        ("MAE > 1; MAE > 1", "the same condition twice"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=r"rule|condition") as error:
        parse_rules(text)
    assert named in str(error.value)


def test_none_is_no_rule_and_foreign_metrics_are_found() -> None:
    assert parse_rules("none") == ()
    rules = parse_rules("FBeta(beta=2) < 0.5; vs-baseline < 0; label-delay-ms.p95 >= 1e6")
    assert unknown_in_rules(rules, ["vs-baseline", "FBeta(beta=2)"]) == ["label-delay-ms.p95 >= 1e+06"]

"""One arm is served per event, all are measured, and neither blocks nor clocks nor restarts change anything."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.comparison import OUTCOME, Arm, Comparison, Plan
from thalweg.udfs.logic.guardrails import parse_guardrails
from thalweg.udfs.logic.options import Every

from tests.comparison_streams import Row, Run, command, stream

ARMS = (Arm("v1"), Arm("v2", 20.0), Arm("v3", 10.0), Arm("shadow", 100.0, True))
NOISE = (1.0, 0.1, 1.0, 0.5)
RULES = parse_guardrails("LogLoss not worse than 0.3; latency_p99 < 50 ms; failures < 20 %; slice(carrier)")
PLAN = Plan(
    "policy", ARMS, "v1", min_samples=300, every=Every(None, 2000), slices=("carrier",), guardrails=RULES,
    min_duration_ms=8000,
)  # fmt: skip
ROWS = stream(2000, NOISE, failing=(0.0, 0.01, 0.02, 0.3))
ORDERS = [
    command("freeze", 100),
    command("resume", 5000),
    command("weights", 6000, "v3:30"),
    command("nonsense", 6000),
    command("promote", 15_000, "v3"),
]


def result(run: Run) -> tuple[Any, ...]:
    return run.served, run.decisions, run.metrics, run.alerts, run.machine.dump()


@pytest.mark.parametrize("every", [Every(None, 2000), Every(173, None)])
@pytest.mark.parametrize("reward", [False, True])
def test_blocks_and_restarts_change_nothing_of_a_comparison(every: Every, reward: bool) -> None:
    plan = PLAN._replace(every=every, reward=reward, label_timeout_ms=4000)
    rows, window = ROWS + ORDERS, None
    if reward:
        plan = plan._replace(allocation="thompson")
        rows, window = stream(2000, NOISE, delay_ms=1500, lift=(0.4, 0.5, 0.6, 0.5)) + ORDERS, 1000
    whole = result(Run(Comparison(plan), window).feed(rows))
    assert len(whole[1]) >= 6

    @settings(deadline=None, max_examples=3)
    @given(st.lists(st.integers(0, 5000), max_size=8), st.booleans(), st.booleans())
    def same(cuts: list[int], restart: bool, clock: bool) -> None:
        assert result(Run(Comparison(plan), window).feed(rows, cuts, restart, clock)) == whole

    same()


def test_each_event_is_served_once_by_who_has_its_unit() -> None:
    run = Run(Comparison(PLAN._replace(promote="manual"))).feed(ROWS)
    assert [event for event, *_ in run.served] == [f"e{n}" for n in range(2000)]
    of_unit: dict[str, set[int]] = {}
    for _, unit, _, _, assigned, propensity in run.served:
        of_unit.setdefault(unit, set()).add(assigned)
        assert propensity == {0: 0.7, 1: 0.2, 2: 0.1}[assigned]
    assert all(len(arms) == 1 for arms in of_unit.values())


def test_a_failing_arm_never_hurts_what_is_served() -> None:
    rows = stream(400, NOISE, failing=(0.0, 1.0, 0.0, 1.0))
    run = Run(Comparison(PLAN)).feed(rows)
    assert len(run.served) == 400
    assert {arm for *_, arm, _, _ in run.served} == {0, 2}
    assert {assigned for *_, assigned, _ in run.served} == {0, 1, 2}
    assert run.last("v2", "failures").value == run.last("shadow", "failures").value == 1
    # Its rows may even be missing, or all that the default has is that it cannot answer.
    without = Run(Comparison(PLAN)).feed([row for row in rows if row[1] in (0, 2)])
    assert without.served == run.served
    nobody = Run(Comparison(PLAN)).feed(stream(50, NOISE, failing=(1.0,) * 4))
    assert [arm for *_, arm, _, _ in nobody.served] == [0] * 50


def test_a_shadow_that_people_promoted_and_that_skips_events_leaves_none_unanswered() -> None:
    rows = stream(400, NOISE)
    seldom = [row for row in rows if row[1] != 3 or int(row[2][1:]) % 4 == 0]
    run = Run(Comparison(PLAN)).feed([*seldom, command("promote", 1000, "shadow")])
    assert [event for event, *_ in run.served] == [f"e{n}" for n in range(400)]
    later = {event: (arm, assigned) for event, _, ms, arm, assigned, _ in run.served if ms > 1000}
    assert {arm for arm, assigned in later.values() if assigned == 3} == {0, 3}, "who can answers instead"
    assert all(int(event[1:]) % 4 == 0 for event, (arm, _) in later.items() if arm == 3)


def test_the_best_candidate_becomes_the_default_at_an_exact_event() -> None:
    run = Run(Comparison(PLAN)).feed(ROWS)
    (promoted,) = [decision for decision in run.decisions if decision.action == "promote"]
    assert (promoted.arm, promoted.previous) == ("v2", "v1")
    assert promoted.evidence["shares"] == {"v1": 0.0, "v2": 90.0, "v3": 10.0, "shadow": 0.0}
    assert promoted.evidence["samples"] >= 300
    assert promoted.event_time_ms >= 8000 - 1
    before = {assigned for _, _, ms, _, assigned, _ in run.served if ms <= promoted.event_time_ms}
    after = {assigned for _, _, ms, _, assigned, _ in run.served if ms > promoted.event_time_ms}
    assert (before, after) == ({0, 1, 2}, {1, 2})


def test_an_outcome_counts_once_and_in_time() -> None:
    """Duplicates, late labels and those that never come: C81, C82."""
    rows = stream(300, NOISE)
    outcomes = [row for row in rows if row[0] == OUTCOME]
    plain = Run(Comparison(PLAN)).feed(rows)
    twice = Run(Comparison(PLAN)).feed(rows + [row for row in outcomes if row[4] % 70 == 0])
    assert twice.last("v1", "LogLoss") == plain.last("v1", "LogLoss")
    assert twice.last("", "rows_repeated").value > 0
    short = Run(Comparison(PLAN._replace(label_timeout_ms=20))).feed(rows)
    assert short.last("", "outcomes_late").value == 300
    assert not [figure for figure in short.metrics if figure.metric == "LogLoss"]
    never = Run(Comparison(PLAN)).feed([row for row in rows if row[0] != OUTCOME])
    assert never.served == plain.served


def test_what_was_served_is_measured_not_what_would_be_served_now() -> None:
    """The arm of an old event is that of its time, whatever has been promoted since: C81, C83."""
    plan = PLAN._replace(reward=True, min_samples=10**6, guardrails=())
    rows = stream(400, NOISE, delay_ms=6000, lift=(1.0, 0.0, 0.0, 0.0))
    run = Run(Comparison(plan), 3000).feed([*rows, command("promote", 4500, "v2")])
    assert run.actions() == ["start", "promote"]
    # All rewards are those of events that v1 has served, and all of v1's events brought one.
    brought = run.machine._books.rewards.sums["brought"]  # type: ignore[union-attr]
    served = [sum(assigned == arm for *_, assigned, _ in run.served) for arm in range(4)]
    assert brought[:, 0].tolist() == served
    assert brought[:, 1].tolist() == [served[0], 0, 0, 0]


def test_a_new_candidate_takes_from_the_default_alone() -> None:
    fewer = PLAN._replace(arms=(*ARMS[:2], ARMS[3]))
    first = Run(Comparison(fewer._replace(promote="manual")))
    first.feed([(*row[:1], row[1] - (row[1] == 3), *row[2:]) for row in ROWS if row[1] != 2])
    machine = Comparison(PLAN._replace(promote="manual"))
    machine.load(first.machine.dump())
    second = Run(machine).feed(stream(2000, NOISE, first=3000))
    assert any(assigned == 2 for *_, assigned, _ in second.served[:150])  # from the first event on
    was = {unit: fewer.arms[assigned].name for _, unit, _, _, assigned, _ in first.served}
    now = {unit: ARMS[assigned].name for _, unit, _, _, assigned, _ in second.served}
    moves = {(was[unit], now[unit]) for unit in was.keys() & now.keys()}
    assert moves == {("v1", "v1"), ("v2", "v2"), ("v1", "v3")}
    # And away again: all of them go back.
    back = Comparison(fewer)
    back.load(second.machine.dump())
    third = Run(back).feed([(*row[:1], row[1] - (row[1] == 3), *row[2:]) for row in ROWS if row[1] != 2][:2000])
    assert all(was[unit] == fewer.arms[assigned].name for _, unit, _, _, assigned, _ in third.served)


def test_damaged_state_of_a_comparison_is_refused() -> None:
    run = Run(Comparison(PLAN)).feed(ROWS[:800])
    blob = run.machine.dump()
    assert pickle.loads(pickle.dumps(run.machine)).dump() == blob
    longer = blob[:1] + b"\xff\xff\xff\xff" + blob[5:]
    for wrong in (b"", b"\x07" + blob[1:], blob[:-3], blob + b"x", blob[:40], longer):
        with pytest.raises(SnapshotError):
            Comparison(PLAN).load(wrong)


def test_units_that_are_measured_in_other_shares_are_an_alert() -> None:
    """As where outcomes of one arm get lost."""

    def lost(row: Row) -> bool:
        return row[0] == OUTCOME and row[1] == 1 and int(row[3][1:]) % 2 == 0

    plan = PLAN._replace(promote="manual", arms=(Arm("v1"), Arm("v2", 50.0), ARMS[2], ARMS[3]))
    rows = stream(3000, (0.5, 0.5, 0.5, 0.5), units=100_000)
    assert "sample-ratio" not in [alert.alert for alert in Run(Comparison(plan)).feed(rows).alerts]
    hurt = Run(Comparison(plan)).feed([row for row in rows if not lost(row)])
    assert "sample-ratio" in [alert.alert for alert in hurt.alerts if alert.severity == "critical"]

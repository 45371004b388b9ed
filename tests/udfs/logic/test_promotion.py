"""Evidence promotes, regressions roll back, guardrails stop, and people overrule; all of it is told."""

from __future__ import annotations

import pytest
from thalweg.udfs.logic.arm_standing import Standing
from thalweg.udfs.logic.comparison import Arm, Comparison, Plan
from thalweg.udfs.logic.experiment_commands import read_weights
from thalweg.udfs.logic.guardrails import parse_guardrails
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.promotion import Promotion
from thalweg.udfs.logic.sequential_tests import Interval

from tests.comparison_streams import STEP_MS, Run, command, stream

PLAN = Plan(
    "policy", (Arm("v1"), Arm("v2", 20.0), Arm("v3", 10.0)), "v1", min_samples=300, every=Every(None, 1000),
    label_timeout_ms=100_000,
)  # fmt: skip
BETTER = stream(1500, (1.5, 0.2, 1.4))
AFTER_MS = 1500 * STEP_MS


def test_a_regression_after_a_promotion_rolls_back_and_new_evidence_promotes_again() -> None:
    plan = PLAN._replace(min_samples=100)
    run = Run(Comparison(plan)).feed(BETTER + stream(1500, (0.2, 1.5, 1.5), first=1500))
    assert [action for action in run.actions() if action != "stop"] == ["start", "promote", "rollback"]
    (back,) = (decision for decision in run.decisions if decision.action == "rollback")
    assert (back.arm, back.previous) == ("v1", "v2")
    assert back.event_time_ms >= AFTER_MS
    assert back.evidence["lower"] > 0
    assert back.evidence["shares"]["v2"] == 0
    assert [alert.severity for alert in run.alerts if alert.alert == "rollback"] == ["critical"]
    late = {assigned for _, _, ms, _, assigned, _ in run.served if ms > back.event_time_ms}
    assert 1 not in late
    again = Run(run.machine).feed(stream(2500, (1.5, 0.2, 1.4), first=3000))
    (promoted,) = (decision for decision in again.decisions if decision.action == "promote")
    assert promoted.arm == "v2"
    assert again.machine._books.promotion.level() == pytest.approx(plan.alpha * 0.8 / 2 / 2)  # halved


def test_a_storm_in_which_the_old_default_is_better_takes_nothing_back() -> None:
    plan = PLAN._replace(min_samples=100, min_duration_ms=8000)
    good, storm = stream(810, (1.5, 0.2, 1.4)), stream(200, (0.2, 3.0, 1.5), first=810)
    run = Run(Comparison(plan)).feed(good + storm + stream(500, (1.5, 0.2, 1.4), first=1010))
    assert [action for action in run.actions() if action != "stop"] == ["start", "promote"]


def test_a_candidate_that_is_worse_answers_nobody_and_may_still_win() -> None:
    run = Run(Comparison(PLAN)).feed(stream(600, (0.2, 1.5, 0.2)))
    (stop,) = (decision for decision in run.decisions if decision.action == "stop")
    assert stop.arm == "v2"
    assert "is worse than v1" in stop.reason
    assert stop.evidence["upper"] < 0
    assert stop.evidence["shares"] == {"v1": 90.0, "v2": 0.0, "v3": 10.0}
    later = Run(run.machine).feed(stream(3000, (1.5, 0.1, 1.5), first=600))
    assert later.actions() == ["promote", "stop"]  # of v3, which is no better than the old default
    assert later.decisions[0].arm == "v2"
    resumed = Run(later.machine).feed([command("resume", 40_000, "v3"), command("resume", 40_001, "v1")])
    assert resumed.actions() == ["resume", "refuse"]
    assert resumed.decisions[0].evidence["shares"] == {"v1": 0.0, "v2": 90.0, "v3": 10.0}


def test_a_beginner_serves_after_it_has_been_compared() -> None:
    run = Run(Comparison(PLAN._replace(serve_after=400, promote="manual"))).feed(stream(900, (0.2, 0.2, 2.0)))
    assert run.actions() == ["start", "stop", "admit"]
    admitted = run.decisions[-1]
    assert (admitted.arm, admitted.evidence["shares"]) == ("v2", {"v1": 80.0, "v2": 20.0, "v3": 0.0})
    assert admitted.evidence["samples"] >= 400
    for early, arms in ((True, {0}), (False, {0, 1})):
        served = {arm for _, _, ms, _, arm, _ in run.served if (ms <= admitted.event_time_ms) == early}
        assert served == arms


def test_manual_promotion_is_recommended_once() -> None:
    run = Run(Comparison(PLAN._replace(promote="manual"))).feed(BETTER)
    assert run.actions() == ["start", "recommend"]
    assert run.decisions[-1].evidence["shares"] == {"v1": 70.0, "v2": 20.0, "v3": 10.0}


@pytest.mark.parametrize(("change", "bound"), [({"min_samples": 1200}, 1200), ({"min_duration_ms": 12_000}, 1200)])
def test_least_samples_and_least_time_are_waited_for(change: dict[str, int], bound: int) -> None:
    run = Run(Comparison(PLAN._replace(**change))).feed(BETTER)
    assert run.actions()[:2] == ["start", "promote"]
    assert run.decisions[1].event_time_ms >= bound * STEP_MS - 1


def test_a_shadow_is_measured_and_never_promoted() -> None:
    plan = PLAN._replace(arms=(Arm("v1"), Arm("v2", 100.0, True), Arm("v3", 10.0)))
    run = Run(Comparison(plan)).feed(BETTER)
    assert run.actions() == ["start"]
    assert run.last("v2", "difference").lower > 0
    assert run.last("v2", "evidence").value > 0.99
    assert {assigned for *_, assigned, _ in run.served} == {0, 2}


@pytest.mark.parametrize(
    ("rule", "noise", "failing"),
    [
        ("LogLoss not worse than 0.01", (0.2, 1.5, 0.2), (0.0, 0.0, 0.0)),
        ("failures < 5 %", (0.2, 0.2, 0.2), (0.0, 0.5, 0.0)),
        ("slice(carrier)", (0.2, 1.5, 0.2), (0.0, 0.0, 0.0)),
        ("LogLoss < 0.7", (0.2, 2.5, 0.2), (0.0, 0.0, 0.0)),
        ("latency_p50 < 2 ms", (0.2, 0.2, 0.2), (0.0, 0.0, 0.0)),
    ],
)
def test_who_breaks_a_guardrail_is_stopped(rule: str, noise: tuple[float, ...], failing: tuple[float, ...]) -> None:
    plan = PLAN._replace(guardrails=parse_guardrails(rule), slices=("carrier",))
    run = Run(Comparison(plan)).feed(stream(1500, noise, failing=failing))
    stopped = [decision.arm for decision in run.decisions if decision.action == "stop"]
    assert stopped == (["v2", "v3"] if "latency" in rule else ["v2"])
    assert run.last("v2", "share").value == 0
    assert any(alert.alert.startswith("v2: ") and alert.state == "raised" for alert in run.alerts)


def test_a_guardrail_that_is_not_known_to_be_kept_holds_a_promotion_back() -> None:
    held = PLAN._replace(guardrails=parse_guardrails("Reward > 0.5; failures < 1 %"))
    assert Run(Comparison(held)).feed(BETTER).actions() == ["start"]  # it is just so much
    kept = PLAN._replace(guardrails=parse_guardrails("latency_p99 < 500 ms; failures < 1 %; LogLoss < 2"))
    assert Run(Comparison(kept)).feed(BETTER).actions()[:2] == ["start", "promote"]


def test_an_apprentice_serves_nobody_until_it_does_as_the_default() -> None:
    plan = PLAN._replace(apprentice_threshold=0.85, promote="manual")
    run = Run(Comparison(plan)).feed(stream(1500, (0.1, 0.1, 3.0)))
    assert [d for d in run.actions() if d != "recommend"] == ["start", "admit", "stop"]
    (admitted,) = [decision for decision in run.decisions if decision.action == "admit"]
    assert admitted.arm == "v2"
    assert admitted.evidence["shares"] == {"v1": 80.0, "v2": 20.0, "v3": 0.0}
    early = {assigned for _, _, ms, _, assigned, _ in run.served if ms <= admitted.event_time_ms}
    assert early == {0}
    assert run.last("v2", "agreement").lower > 0.85 > run.last("v3", "agreement").value


def test_orders_of_people_are_carried_out_and_told() -> None:
    orders = [
        command("freeze", 500),
        command("weights", 3000, "v2:40, v3:0"),
        command("promote", 6000, "v3"),
        command("rollback", 9000),
        command("rollback", 9500),
        command("promote", 9600, "v9"),
        command("weights", 9700, "v2:80, v3:30"),
        command("weights", 9800, "v2:80, v8:1"),
        command("dance", 9900),
        command("resume", 10_000),
    ]
    run = Run(Comparison(PLAN)).feed(BETTER + orders)
    assert run.actions() == [
        "start", "freeze", "weights", "promote", "rollback", *["refuse"] * 5, "resume", "promote",
    ]  # fmt: skip
    told = run.decisions[1:-1]
    assert {decision.issued_by for decision in told} == {"ann"}
    assert all(decision.reason == "because" for decision in told if decision.action != "refuse")
    assert "v9" in told[5].reason
    assert [decision.event_time_ms for decision in told[:4]] == [500, 3000, 6000, 9000]
    assert told[1].evidence["shares"] == {"v1": 60.0, "v2": 40.0, "v3": 0.0}
    assert (told[2].arm, told[2].previous) == ("v3", "v1")
    assert (told[3].arm, told[3].previous) == ("v1", "v3")
    served = {ms: set() for ms in (2000, 5000, 8000)}  # type: ignore[var-annotated]
    for _, _, ms, _, assigned, _ in run.served:
        for begin, arms in served.items():
            if begin < ms <= begin + 1000:
                arms.add(assigned)
    assert served == {2000: {0, 1, 2}, 5000: {0, 1}, 8000: {1, 2}}


def test_frozen_means_that_nothing_changes_by_itself() -> None:
    broken = PLAN._replace(guardrails=parse_guardrails("failures < 1 %"))
    run = Run(Comparison(broken)).feed([command("freeze", -5), *stream(1500, (1.5, 0.2, 1.4), failing=(0, 0, 0.5))])
    assert run.actions() == ["start", "freeze"]
    assert run.alerts  # but it is told


def test_a_reward_is_compared_by_units_and_shares() -> None:
    plan = PLAN._replace(reward=True, min_samples=200)
    rows = stream(4000, (0.5, 0.5, 0.5), delay_ms=4000, units=10**6, lift=(0.2, 0.6, 0.2))
    run = Run(Comparison(plan), 3000).feed(rows)
    assert run.actions()[:2] == ["start", "promote"]
    assert run.decisions[1].arm == "v2"
    # The old default keeps a share, so that a regression can be seen.
    assert run.decisions[1].evidence["shares"] == {"v1": 20.0, "v2": 70.0, "v3": 10.0}
    found = [m for m in run.metrics if (m.arm, m.metric) == ("v2", "Reward") and m.event_time_ms < 40_000][-1]
    assert found.lower < 0.6 < found.upper


def test_a_bandit_moves_the_traffic_to_what_brings_most() -> None:
    plan = PLAN._replace(
        reward=True, min_samples=10**6, allocation="thompson", exploration=0.15, label_timeout_ms=64_000
    )
    rows = stream(3000, (0.5, 0.5, 0.5), delay_ms=4000, units=10**6, lift=(0.3, 0.3, 0.6))
    run = Run(Comparison(plan), 3000).feed(rows)
    assert set(run.actions()) == {"start", "reallocate"}
    assert run.last("v3", "share").value > 85
    assert min(run.last(arm, "share").value for arm in ("v1", "v2")) >= 5
    assert all(propensity > 0 for *_, propensity in run.served)


def test_weights_that_cannot_be_read_are_refused() -> None:
    assert read_weights("v2:5, v3: 2.5", PLAN) == {1: 5.0, 2: 2.5}
    for text in ("", "v2", "v2:x", "v2:nan", "v2:-1", "v2:101", "v9:5", "v2:5, v2:6"):
        with pytest.raises(ValueError, match="'"):
            read_weights(text, PLAN)


def test_who_failed_once_has_to_win_in_spite_of_regimes() -> None:
    ahead, unsure = Interval(0.1, 0.05, 0.15, 9.0, 500), Interval(0.1, -0.05, 0.25, 1.0, 500)
    nothing = Interval(0.0, -1.0, 1.0, 0.0, 0)

    def standing(better: Interval, steady: Interval) -> Standing:
        return Standing(500, better, steady, nothing, 0.0, 0.0, nothing, ())

    promotion = Promotion(PLAN)
    promotion.failed.add(1)
    look = [standing(nothing, nothing), standing(ahead, unsure), standing(nothing, nothing)]
    assert promotion.look(look, 1000, 1000) == []
    look[2] = standing(ahead, unsure)
    (promoted,) = promotion.look(look, 1000, 1000)
    assert (promoted.action, promoted.arm) == ("promote", "v3")
    assert promotion.credit == pytest.approx(0.1 * 500)
    again = Promotion(PLAN)
    again.failed.add(1)
    look = [standing(nothing, nothing), standing(ahead, ahead), standing(nothing, nothing)]
    assert [decision.arm for decision in again.look(look, 1000, 1000)] == ["v2"]


def test_what_was_won_counts_for_one_period() -> None:
    promotion = Promotion(PLAN)
    promotion.replace(1, 0)
    promotion.credit = 7.0
    lost = Interval(-0.1, -0.2, 0.0, 1.0, 2000)
    nothing = Interval(0.0, -1.0, 1.0, 0.0, 0)
    standings = [Standing(2000, lost, lost, nothing, 0.0, 0.0, nothing, ())] * 3
    promotion.next_period(standings)
    assert (promotion.period, promotion.credit) == (1, pytest.approx(200.0))
    gained = lost._replace(value=0.1)
    promotion.next_period([standing._replace(better=gained) for standing in standings])
    assert (promotion.period, promotion.credit) == (2, 0.0)
    revived = Promotion(PLAN)
    revived.load(promotion.state())
    assert revived.state() == promotion.state()

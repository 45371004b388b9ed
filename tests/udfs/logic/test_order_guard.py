"""Orders that must be vouched for: each is obeyed once, in time, and by the name of the key."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, Comparison
from thalweg.udfs.logic.comparison_plan import Arm, Plan
from thalweg.udfs.logic.experiment_commands import obey
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.order_guard import OrderGuard
from thalweg.udfs.logic.promotion import Promotion

PLAN = Plan("delay", (Arm("v1"), Arm("v2", 20)), "v1", every=Every(None, 60_000), order_max_age_ms=3_600_000)
MS = 1_700_000_000_000


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000), st.integers(0, 3000)), max_size=40))
def test_no_order_is_obeyed_twice_and_none_that_is_old(steps: list[tuple[int, int, int]]) -> None:
    guard, now, obeyed = OrderGuard(1000), 0, []
    for name, issued, wait in steps:
        now += wait
        again = OrderGuard(1000)
        again.load(json.loads(json.dumps(guard.state())))  # a restart at any moment
        guard = again
        order = f"{name}-{issued}"  # an order's time is a part of it, so that of a copy is the same
        against = guard.objection(order, issued, now)
        assert bool(against) == (now - issued > 1000 or order in obeyed)
        obeyed += [] if against else [order]
    assert len(guard.state()["given"]) <= len(obeyed)


def test_what_is_too_old_to_come_again_is_forgotten() -> None:
    guard = OrderGuard(1000)
    for n in range(5000):
        assert guard.objection(f"o{n}", n * 100, n * 100) == ""
    assert len(guard.state()["given"]) <= 11


def order(**told: Any) -> str:
    base = {
        "argument": "v2",
        "issued_by": "me",
        "reason": "better",
        "issued_ms": MS,
        "key_id": "maria",
        "order_id": "1f",
    }
    return json.dumps({**base, **told})


def given_to(promotion: Promotion, guard: OrderGuard | None, detail: str, now_ms: int = MS) -> tuple[str, str, str]:
    decision = obey(promotion, PLAN, "promote", detail, now_ms, now_ms, guard)
    return decision.action, decision.issued_by, decision.reason


def test_who_gave_an_order_is_who_signed_it() -> None:
    promotion, guard = Promotion(PLAN), OrderGuard(1000)
    decision = obey(promotion, PLAN, "promote", order(), MS, MS, guard)
    assert (decision.action, decision.arm, decision.issued_by) == ("promote", "v2", "maria")
    assert decision.evidence["issued_by"] == "me"
    assert guard.refused == 0


def test_an_order_that_is_refused_changes_nothing_and_is_kept_with_the_reason() -> None:
    promotion, guard = Promotion(PLAN), OrderGuard(1000)
    before = promotion.state()
    for detail, now_ms, says in (
        (order(refused="it is not signed", key_id=None, order_id=None), MS, "it is not signed"),
        (order(key_id=""), MS, "nobody vouches"),
        (order(order_id=None), MS, "nobody vouches"),
        (order(issued_ms="x"), MS, "nobody vouches"),
        (order(), MS + 1001, "1001 ms old"),
        ("not json", MS, "nobody vouches"),
        (json.dumps(["v2"]), MS, "nobody vouches"),
    ):
        action, by, reason = given_to(promotion, guard, detail, now_ms)
        assert (action, says in reason) == ("refuse", True), reason
        assert by == ("maria" if "maria" in detail else by)
        assert by.startswith(("maria", "(unproven)"))
    assert promotion.state() == before
    assert guard.refused == 7


def test_a_copy_is_refused_also_after_the_first_was_not_possible() -> None:
    promotion, guard = Promotion(PLAN), OrderGuard(1000)
    assert given_to(promotion, guard, order(argument="v9"))[2].startswith("'promote' was not carried out: there is no")
    assert "given before" in given_to(promotion, guard, order(argument="v9"))[2]
    assert guard.refused == 1


def test_without_a_guard_everybody_is_obeyed() -> None:
    assert given_to(Promotion(PLAN), None, order(key_id=None, refused="it is not signed"))[:2] == ("promote", "me")


def rows(*made: tuple[Any, ...]) -> list[list[Any]]:
    width = 15
    return [list(column) for column in zip(*(row + (None,) * (width - len(row)) for row in made), strict=True)]


def command(detail: str, at_ms: int) -> tuple[Any, ...]:
    return (COMMAND, 0, "", None, at_ms, at_ms, None, "freeze", detail)


def answer(event: str, ms: int, arm: int) -> tuple[Any, ...]:
    return (ANSWER, arm, event, event, ms, ms, 0.5, "true", None, None, "ok")


def test_a_machine_counts_what_it_refused_and_remembers_it_through_a_restart() -> None:
    machine = Comparison(PLAN)
    out = machine.on_rows(rows(answer("e", MS - 1, 0), answer("e", MS - 1, 1), command(order(), MS)))
    assert [decision.action for decision in out.decisions] == ["start", "freeze"]
    again = Comparison(PLAN)
    again.load(machine.dump())
    out = again.on_rows(rows(command(order(), MS + 5)))
    assert [(found.action, found.issued_by) for found in out.decisions] == [("refuse", "maria")]
    told = again.on_time(MS + 120_000).metrics
    assert [figure.value for figure in told if figure.metric == "orders_refused"] == [1.0]


def test_a_state_from_before_there_was_a_guard_is_taken_over() -> None:
    old = Comparison(PLAN._replace(order_max_age_ms=None))
    old.on_rows(rows(answer("e", MS - 1, 0), answer("e", MS - 1, 1)))
    machine = Comparison(PLAN)
    machine.load(old.dump())
    assert machine.on_rows(rows(command(order(), MS))).decisions[0].action == "freeze"

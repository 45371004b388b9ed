"""A model that is compared is timed; a shadow that fails says so in its answers, and nobody else hears of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.arm_guard import ArmGuard, ArmRole, refused_block
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP

MS = 1_000_000


def clock(*block_ms: int) -> Callable[[], int]:
    """A clock by which the blocks take so long, one after the other."""
    times, now = [], 0
    for taken in block_ms:
        times += [now, now + taken * MS]
        now += (taken + 7) * MS
    return iter(times).__next__


def broken() -> list[str]:
    raise ZeroDivisionError("1/0")


def test_blocks_are_timed_and_the_first_one_is_not_told() -> None:
    guard = ArmGuard(ArmRole(), clock(900, 0, 12, 3))
    told = []
    for answers in (2, 0, 4, 1):
        guard.run(answers, lambda: None, lambda reason: None)
        told.append(guard.block_time(answers))
    assert told == [(None, None), (None, None), (12.0, 4), (3.0, 1)]


def test_a_shadow_that_fails_is_refused_and_counted_and_any_other_model_raises() -> None:
    shadow = ArmGuard(ArmRole(shadow=True))
    assert shadow.run(1, broken, lambda reason: [reason]) == ["the shadow failed: ZeroDivisionError: 1/0"]
    assert shadow.run(1, lambda: ["well"], lambda reason: [reason]) == ["well"]
    assert shadow.failures == 1
    with pytest.raises(ZeroDivisionError):
        ArmGuard(ArmRole()).run(1, broken, lambda reason: [reason])


def test_failing_takes_of_the_budget_too() -> None:
    guard = ArmGuard(ArmRole((), True, 2.0), clock(800))
    guard.run(100, broken, lambda reason: [reason])
    assert guard.budget is not None
    assert len(guard.budget.picked(100)) == 25


def test_of_a_block_that_failed_each_event_is_refused_and_labels_are_dropped() -> None:
    columns = [[SCORE, LEARN, STEP, SCORE_LATE], ["k", "k", None, "k"], list("abcd"), [1, 2, 3, 4], [1, 2, 3, 4]]
    found = refused_block(columns, "it fell")
    names = ("event_id", "key", "event_time_ms", "score", "label", "probabilities", "status", "reason", "learned")
    rows = [dict(zip(names, row, strict=False)) for row in zip(*found.answers.columns, strict=True)]
    assert [(row["event_id"], row["key"], row["event_time_ms"]) for row in rows] == [
        ("a", "k", 1),
        ("c", "", 3),
        ("d", "k", 4),
    ]
    assert {(row["score"], row["status"], row["reason"]) for row in rows} == {(None, "refused", "it fell")}
    assert not found.refusals


@given(st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_a_share_of_the_events_is_always_the_same(events: list[str | None], share: float, more: float) -> None:
    """By the id alone: in whatever block, with whatever columns behind it, and within every larger share."""
    share, more = sorted((share, more))
    few, many = (ArmGuard(ArmRole((), True, None, part)) for part in (share, more))
    picked = list(few.picked(len(events), events))
    assert picked == [at for at, event in enumerate(events) if list(few.picked(1, [event]))]
    assert set(picked) <= set(many.picked(len(events), events))
    plain = [event for event in events if event is None or "\x1f" not in event]
    columns = [[SCORE] * len(plain), [""] * len(plain), [e if e is None else f"{e}\x1f[1]" for e in plain]]
    chosen = [plain[at] for at in few.picked(len(plain), plain)]
    assert [e and e.partition("\x1f")[0] for e in few.kept(columns)[2]] == chosen


def test_shares_are_what_they_say_and_labels_are_learned() -> None:
    guard = ArmGuard(ArmRole((), True, None, 0.3))
    names = [f"e{n}" for n in range(10_000)]
    assert abs(len(guard.picked(10_000, names)) - 3000) < 4 * (10_000 * 0.3 * 0.7) ** 0.5
    kinds, _, kept = guard.kept([[STEP, LEARN] * 5000, [""] * 10_000, names])
    assert (len(kept), kinds.count(STEP)) == (10_000, sum(n % 2 == 0 for n in guard.picked(10_000, names)))
    assert set(kinds) == {STEP, LEARN}
    tight = ArmGuard(ArmRole((), True, 1.0, 0.3))
    assert tight.budget is not None
    tight.budget.spent(100, 200 * MS)
    tight.budget.spent(0, 0)
    assert len(tight.picked(10_000, names)) == len(guard.picked(10_000, names)) // 2, "the budget is within the share"

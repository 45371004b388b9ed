"""Times of blocks: quantiles of the events that wait, evidence of the blocks, and books that can be added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.logic.arm_latency import ArmLatency
from thalweg.udfs.logic.comparison_plan import Arm, Plan
from thalweg.udfs.logic.guardrails import parse_guardrails

RULES = parse_guardrails("latency_p99 < 50 ms; cost_p50 < 2 ms; failures < 5 %")
PLAN = Plan("delay", (Arm("v1"), Arm("v2", 20.0)), "v1", guardrails=RULES)
WAIT, COST = RULES[:2]
BLOCKS = st.lists(st.tuples(st.floats(1e-4, 1e6), st.integers(1, 5000)), min_size=1, max_size=50)


def taken(blocks: list[tuple[float, int]], arm: int = 1) -> ArmLatency:
    book = ArmLatency(PLAN)
    times, waited = np.full((2, len(blocks), 2), np.nan)
    for at, (ms, events) in enumerate(blocks):
        times[at, arm], waited[at, arm] = ms, events
    book.add(times, waited)
    return book


@given(BLOCKS, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_that_of_the_events_to_five_percent(blocks: list[tuple[float, int]], share: float) -> None:
    book = taken(blocks)
    for name, values in (("latency", [ms for ms, _ in blocks]), ("cost", [ms / n for ms, n in blocks])):
        order = np.argsort(values)
        reached = np.cumsum(np.array([n for _, n in blocks])[order])
        exact = values[order[int(np.searchsorted(reached, share * reached[-1]))]]
        assert book.quantile(1, name, share) == pytest.approx(exact, rel=0.05)
    assert book.events(1) == sum(n for _, n in blocks)
    assert book.quantile(0, "latency", share) is None


@given(BLOCKS, BLOCKS)
def test_the_books_of_two_machines_can_be_added(some: list[tuple[float, int]], more: list[tuple[float, int]]) -> None:
    apart, whole = [taken(some), taken(more)], taken([*some, *more])
    for name, array in whole.sums.items():
        assert np.array_equal(array, apart[0].sums[name] + apart[1].sums[name])


@pytest.mark.parametrize(
    ("blocks", "state"),
    [
        ([(5.0, 10)] * 99, "open"),  # too few blocks to tell one in a hundred
        ([(5.0, 10)] * 200, "kept"),
        ([(5.0, 1)] * 200 + [(80.0, 1000)], "open"),  # one stall of many events is one measurement
        ([(5.0, 10)] * 150 + [(80.0, 10)] * 50, "broken"),
        ([(5.0, 1)] * 200, "open"),  # fewer events than min-samples
    ],
)
def test_evidence_is_counted_in_blocks(blocks: list[tuple[float, int]], state: str) -> None:
    assert taken(blocks).judge(1, WAIT, 0.05, 1000).state == state


def test_waiting_and_cost_are_judged_apart() -> None:
    book = taken([(90.0, 100)] * 300)
    assert book.judge(1, WAIT, 0.05, 1000).state == "broken"
    verdict = book.judge(1, COST, 0.05, 1000)
    assert verdict.state == "kept"
    assert verdict.value == pytest.approx(0.9, rel=0.03)
    assert verdict.told == "cost_p50 < 2 ms"
    book.restart()
    assert book.judge(1, COST, 0.05, 1000).state == "open"


def test_rules_in_force_are_rarely_broken_by_chance() -> None:
    """A model that is just within the bound: of 200 of them, looked at 20 times each, about 5 % may be stopped."""
    dice, stopped = np.random.default_rng(3), 0
    for _ in range(200):
        book = ArmLatency(PLAN)
        for _ in range(20):
            ms = np.where(dice.random(100) < 0.01, 80.0, 5.0)
            nothing = np.full(100, np.nan)
            book.add(np.stack((nothing, ms), axis=1), np.stack((nothing, np.full(100, 8.0)), axis=1))
            if book.judge(1, WAIT, 0.05, 1000).state == "broken":
                stopped += 1
                break
    assert stopped <= 10

"""What a candidate would have brought, held against what it truly brings in a simulated world."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from thalweg.udfs.logic.arm_rewards import ArmRewards
from thalweg.udfs.logic.off_policy import off_policy
from thalweg.udfs.logic.weight_log import Assigned

EVENTS = 40_000


def world(seed: int) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Actions of two logging arms, and of a candidate; and the true mean reward of actions."""
    pick = np.random.default_rng(seed)
    context = pick.normal(size=EVENTS)
    logging = np.stack((context > 0, pick.random(EVENTS) < 0.5), axis=1)
    candidate = context > 0.7
    return logging, candidate, lambda action: 0.2 + 0.5 * ((context > 0.7) == action)


@pytest.mark.parametrize("seed", range(3))
def test_all_estimates_find_the_true_value_of_a_candidate_that_never_served(seed: int) -> None:
    logging, candidate, true = world(seed)
    pick = np.random.default_rng(100 + seed)
    shares = np.array([0.8, 0.2])
    arm = (pick.random(EVENTS) < shares[1]).astype(int)
    served = logging[np.arange(EVENTS), arm]
    propensity = (shares * (logging == served[:, None])).sum(axis=1)
    reward = (pick.random(EVENTS) < true(served)).astype(float)
    # Where neither arm does as the candidate, nothing is known: look only where one does.
    covered = (logging == candidate[:, None]).any(axis=1)
    truth = float(true(candidate)[covered].mean())
    args = [part[covered] for part in (reward, served == candidate, propensity)]
    found = off_policy(*args, true(served)[covered], true(candidate)[covered])
    plain = off_policy(*args)
    assert found.dr == pytest.approx(truth, abs=5 * found.dr_error)
    assert plain.ips == pytest.approx(truth, abs=5 * plain.dr_error)
    assert plain.snips == pytest.approx(truth, abs=5 * plain.dr_error)
    assert found.dr_error < plain.dr_error
    assert abs(truth - reward.mean()) > 10 * found.dr_error  # what was served brought much less
    # Doubly robust: right propensities make up for a wrong model.
    guesses = (np.where(action, 0.9, 0.1)[covered] for action in (served, candidate))
    wrong = off_policy(*args, *guesses)
    assert wrong.dr == pytest.approx(truth, abs=5 * wrong.dr_error)


def test_off_policy_needs_events_and_propensities() -> None:
    with pytest.raises(ValueError, match="no event"):
        off_policy([], [], [])
    with pytest.raises(ValueError, match="above 0"):
        off_policy([1.0], [True], [0.0])


def test_a_shadow_is_judged_by_what_others_brought_who_did_as_it_would() -> None:
    logging, candidate, true = world(5)
    pick = np.random.default_rng(6)
    arm = (pick.random(EVENTS) < 0.2).astype(np.int64)
    served = logging[np.arange(EVENTS), arm]
    reward = (pick.random(EVENTS) < true(served)).astype(float)
    labels = np.column_stack((logging, candidate)).astype(str).astype(object)
    book = ArmRewards(3, None)
    given = Assigned(arm, np.tile([0.8, 0.2, 0.0], (EVENTS, 1)))
    keys = pick.integers(0, 2**63, EVENTS, dtype=np.int64).astype(np.uint64)
    book.add(keys, given, reward, np.ones(EVENTS), labels, 0)
    found, covered = book.by_action(2, 0.05, 1000.0)
    known = (logging == candidate[:, None]).any(axis=1)
    assert covered == pytest.approx(known.mean())
    assert found.lower < true(candidate)[known].mean() < found.upper
    assert found.upper - found.lower < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_how_events_are_cut_into_blocks_changes_nothing(seed: int) -> None:
    """Outcomes of events from before an arm was stopped, and from after, come in any mixture."""
    pick = np.random.default_rng(seed)
    count = 200
    stopped = pick.random(count) < 0.5
    shares = np.where(stopped[:, None], [0.7, 0.0, 0.3], [0.5, 0.3, 0.2])
    arm = np.array([pick.choice(3, p=share) for share in shares])
    labels = pick.choice(["a", "b"], (count, 3)).astype(object)
    reward, keys = pick.exponential(1.0, count), pick.integers(0, 2**63, count, dtype=np.int64).astype(np.uint64)
    books = []
    for cuts in ([0, count], sorted({0, count, *pick.integers(1, count, 9).tolist()})):
        books.append(book := ArmRewards(3, None))
        for begin, end in pairwise(cuts):
            part = slice(begin, end)
            book.add(keys[part], Assigned(arm[part], shares[part]), reward[part], np.ones(end - begin), labels[part], 0)
    for name in books[0].sums:
        np.testing.assert_array_equal(books[0].sums[name], books[1].sums[name])
    events, *_, lost = books[0].sums["by_action"][1]
    assert events + lost == stopped.sum()


def loyal(seed: int, effect: float, trend: bool) -> ArmRewards:
    """Units with many events each and their own level; shares that move against a trend of the rewards."""
    pick = np.random.default_rng(seed)
    book = ArmRewards(2, 5.0)
    level = pick.exponential(1.0, 3000)
    place = pick.random(3000)
    keys = pick.integers(0, 2**63, 3000, dtype=np.int64).astype(np.uint64)
    for period in range(10):
        share = 0.5 if not trend else 0.2 + 0.06 * period
        unit = pick.integers(0, 3000, 2000)
        arm = (place[unit] < share).astype(np.int64)
        reward = level[unit] + effect * arm + (0.3 * period if trend else 0.0) + pick.normal(0, 0.1, 2000)
        given = Assigned(arm, np.tile([1 - share, share], (2000, 1)))
        book.add(keys[unit], given, reward, np.ones(2000), None, 0)
        book.look()
    return book


@pytest.mark.parametrize("trend", [False, True])
def test_an_effect_is_found_and_none_is_not_though_units_repeat_and_shares_move(trend: bool) -> None:
    runs = 60
    found = [loyal(seed, 0.0, trend).pair(1, 0.05, 5000.0) for seed in range(runs)]
    assert sum(interval.lower > 0 or interval.upper < 0 for interval in found) <= 4
    values = np.array([interval.value for interval in found])
    # The error that is told is the error that there is.
    assert 0.6 < np.mean([interval.error for interval in found]) / values.std() < 1.7
    assert abs(values.mean()) < 4 * values.std() / runs**0.5
    assert loyal(1, 1.0, trend).pair(1, 0.05, 5000.0).lower > 0


def test_a_ratio_and_a_cap_are_what_they_say() -> None:
    pick = np.random.default_rng(1)
    views = pick.integers(1, 9, 20_000).astype(float)
    arm = (pick.random(20_000) < 0.3).astype(np.int64)
    clicks = pick.binomial(views.astype(int), np.where(arm == 1, 0.3, 0.2)).astype(float)
    clicks[0] = 1e9
    book = ArmRewards(2, 8.0)
    keys = pick.integers(0, 2**63, 20_000, dtype=np.int64).astype(np.uint64)
    for block in np.array_split(np.arange(20_000), 10):
        given = Assigned(arm[block], np.tile([0.7, 0.3], (len(block), 1)))
        book.add(keys[block], given, clicks[block], views[block], None, 0)
        book.look()
    own, better = book.own(1, 0.05, 2000.0), book.pair(1, 0.05, 2000.0)
    assert own.lower < 0.3 < own.upper
    assert 0 < better.lower < 0.1 < better.upper < 0.15

"""Units keep their arm, shares are what they are to be, and a change moves as few units as there can be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from thalweg.udfs.logic.assignment import SLOTS, counts_of, keys_of, moved, slots_of
from thalweg.udfs.logic.weight_log import WeightLog

UNITS = [f"user-{n}" for n in range(40_000)]
SHARES = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(lambda shares: [0.0, *map(float, shares)])


def dealt(counts: list[int]) -> WeightLog:
    return WeightLog(counts, [*range(1, len(counts)), 0])


@pytest.mark.parametrize("salt", ["policy", "another", "straße"])
def test_shares_hold_for_the_units_and_are_independent_between_salts(salt: str) -> None:
    log = dealt(counts_of([0, 20, 10]))
    arms = log.at(slots_of(keys_of(UNITS, salt)), np.zeros(len(UNITS))).arm
    assert chisquare(np.bincount(arms), np.array([0.7, 0.2, 0.1]) * len(UNITS)).pvalue > 1e-4
    others = log.at(slots_of(keys_of(UNITS, salt + "2")), np.zeros(len(UNITS))).arm
    both = np.bincount(3 * arms + others, minlength=9)
    expected = np.outer([0.7, 0.2, 0.1], [0.7, 0.2, 0.1]).ravel() * len(UNITS)
    assert chisquare(both, expected).pvalue > 1e-4


def test_a_unit_has_its_slot_in_every_process() -> None:
    code = (
        "from thalweg.udfs.logic.assignment import keys_of, slots_of;"
        "print(slots_of(keys_of(['ann', 'bob', None, ''], 'policy')).tolist())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    ).stdout
    assert told == f"{slots_of(keys_of(['ann', 'bob', None, ''], 'policy')).tolist()}\n"


@settings(deadline=None, max_examples=40)
@given(SHARES, st.integers(0, 10))
def test_a_candidate_that_is_added_takes_from_the_default_alone(shares: list[float], more: int) -> None:
    before = dealt(counts_of(shares))
    slots, now = np.arange(SLOTS), np.zeros(SLOTS)
    was = before.at(slots, now).arm
    wider = counts_of([*shares, float(more)])
    # Whether the experiment goes on or is begun anew with one more candidate.
    for is_now in (moved(np.array(was), wider), dealt(wider).at(slots, now).arm):
        changed = was != is_now
        assert set(was[changed]) <= {0}
        assert set(is_now[changed]) <= {len(shares)}
        assert int(changed.sum()) == more * SLOTS // 100
        assert np.bincount(is_now, minlength=len(wider)).tolist() == wider


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 33), min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_log_knows_the_arms_of_earlier_times(changes: list[list[int]]) -> None:
    log = dealt([SLOTS, 0, 0, 0])
    slots = np.arange(SLOTS)
    tables = [log.at(slots, np.zeros(SLOTS)).arm]
    for at, shares in enumerate(changes, 1):
        counts = counts_of([0.0, *map(float, shares)])
        log.change(at * 10, counts)
        found = log.at(slots, np.full(SLOTS, at * 10))
        was = np.bincount(tables[-1], minlength=4)
        # As few moves as there can be.
        assert int((found.arm != tables[-1]).sum()) == int(np.maximum(np.array(counts) - was, 0).sum())
        assert found.shares[0].tolist() == [count / SLOTS for count in counts]
        tables.append(found.arm)
    loaded = dealt([SLOTS, 0, 0, 0])
    loaded.load(log.state(), [0, 1, 2, 3])
    for which in (log, loaded):
        for at, table in enumerate(tables):
            assert (which.at(slots, np.full(SLOTS, at * 10 + 9)).arm == table).all()
    log.prune(20)
    assert len(log) == max(1, len(changes) - 1)
    assert (log.at(slots, np.full(SLOTS, 10**6)).arm == tables[-1]).all()
    with pytest.raises(ValueError, match="complete"):
        loaded.load([[0, [[5, 1]]]], [0, 1, 2, 3])


def test_shares_that_cannot_be_are_refused() -> None:
    for shares in ([0, 60, 50], [0, -1]):
        with pytest.raises(ValueError, match="between 0 and 100"):
            counts_of(shares)

"""Distances between columns are those of SciPy and of the formula; workers, blocks and restarts change nothing."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from thalweg.udfs.logic.input_drift import SCORE, InputDrift, input_measures, summary_text
from thalweg.udfs.logic.value_sketch import ValueSketch, kolmogorov_smirnov, outside, stability, unseen

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=60)


def sketch(values: Any, kind: str = "number") -> ValueSketch:
    return ValueSketch.of(kind, np.array(values, dtype=object if kind == "string" else float))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of its p-value, which nobody asks for
@settings(deadline=None)
@given(first=NUMBERS, second=NUMBERS)
def test_the_distance_is_scipys_within_its_bound(first: list[float], second: list[float]) -> None:
    one, two = sketch(first), sketch(second)
    exact = ks_2samp(first, second, method="asymp").statistic  # the method is that of the p-value
    mine = kolmogorov_smirnov(one, two)
    most = max(max(one.counts.values()) / len(first), max(two.counts.values()) / len(second))
    assert mine is not None
    assert mine - 1e-9 <= exact <= mine + most + 1e-9


def test_stability_is_the_formula_over_the_deciles() -> None:
    dice = np.random.default_rng(1)
    first, second = dice.normal(size=20_000), dice.normal(0.5, 1, size=20_000)
    edges = np.quantile(first, np.arange(0.1, 1, 0.1))
    shares = [np.bincount(np.searchsorted(edges, part), minlength=10) / len(part) for part in (first, second)]
    exact = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    assert stability(sketch(first), sketch(second), True) == pytest.approx(exact, rel=0.03)
    again = dice.normal(size=5000)
    still = stability(sketch(first), sketch(again), True)
    assert still is not None
    assert still < 0.01


def test_texts_are_compared_by_their_shares_and_new_ones_are_told() -> None:
    reference, window = (
        sketch(["UA"] * 60 + ["AA"] * 40, "string"),
        sketch(["UA"] * 40 + ["AA"] * 40 + ["XX"] * 20, "string"),
    )
    assert unseen(reference, window) == pytest.approx(0.2)
    shares = np.array([[60.5, 40.5, 0.5], [40.5, 40.5, 20.5]]) / 101.5
    exact = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    assert stability(reference, window, False) == pytest.approx(exact)


def test_what_lies_beyond_the_reference_is_counted() -> None:
    assert outside(sketch([-2.0, 5.0]), sketch([-3.0, -2.0, 0.0, 5.0, 6.0])) == pytest.approx(0.4)
    found = sketch([1.0, np.nan, np.inf, 1e-40, 1e300])
    assert (found.nulls, found.values()) == (2, 3)
    assert stability(ValueSketch(), found, True) is None


@settings(deadline=None, max_examples=50)
@given(values=NUMBERS, cuts=st.sets(st.integers(0, 60), max_size=5))
def test_parts_add_up_exactly_and_can_be_taken_away(values: list[float], cuts: set[int]) -> None:
    total, places = ValueSketch(), sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    parts = [sketch(values[a:b]) for a, b in pairwise(places)]
    for part in parts:
        total.add(ValueSketch.load(json.loads(json.dumps(part.state()))))
    assert total.state() == sketch(values).state()
    for part in parts:
        total.add(part, -1)
    assert total.state() == [0, [], []]


KINDS = {"amount": "number", "carrier": "string", SCORE: "number"}


def block(seed: int, rows: int, shift: float = 0.0, new: bool = False) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    names = np.array(["UA", "AA", "DL", "XX" if new else "DL"], dtype=object)
    return {
        "amount": dice.normal(shift, 1, rows),
        "carrier": names[dice.integers(0, 4, rows)],
        SCORE: dice.random(rows),
    }


def feed(drift: InputDrift, data: dict[str, Any], cuts: list[int]) -> None:
    kinds = {name: kind for name, kind in KINDS.items() if name != SCORE}
    places = [0, *cuts, len(data[SCORE])]
    for a, b in pairwise(places):
        part = {name: values[a:b] for name, values in data.items()}
        drift.add(summary_text(kinds, part, b - a))
        drift.add_scores(part[SCORE])


def test_nothing_is_said_before_the_reference_and_a_shift_after_it() -> None:
    drift = InputDrift(KINDS, 1000, 500)
    told = []
    for period in range(8):
        feed(drift, block(period, 400, *((3.0, True) if period >= 5 else ())), [])
        drift.close()
        told.append({name: (value, count) for name, value, count in drift.measures()})
    assert told[0] == told[1] == {}
    assert set(told[3]) == {name for column, kind in KINDS.items() for name in input_measures(column, kind)}
    assert told[4]["psi(amount)"][0] < 0.1 < 1 < told[7]["psi(amount)"][0]
    assert told[4]["new-values(carrier)"][0] == 0.0 < 0.2 < told[7]["new-values(carrier)"][0]
    assert told[7]["ks(amount)"][0] > 0.8
    assert told[7]["psi(score)"][0] < 0.1
    assert told[7]["psi(amount)"][1] == 800  # whole periods, at least the window


def test_a_given_reference_is_compared_with_at_once() -> None:
    drift = InputDrift(KINDS, 1000, 500, given=True)
    drift.add_reference(summary_text({"amount": "number", "carrier": "string"}, block(1, 5000), 5000))
    feed(drift, block(2, 400, 3.0), [])
    drift.close()
    found = dict((name, value) for name, value, _ in drift.measures())
    assert found["psi(amount)"] > 1
    assert "psi(score)" not in found  # answers have no reference but the first ones


@settings(deadline=None, max_examples=25)
@given(cuts=st.sets(st.integers(1, 299), max_size=6), stop=st.integers(0, 5), given_=st.booleans())
def test_neither_blocks_nor_restarts_change_what_is_said_of_inputs(cuts: set[int], stop: int, given_: bool) -> None:
    whole, parts = InputDrift(KINDS, 500, 400, given_), InputDrift(KINDS, 500, 400, given_)
    for period in range(6):
        data = block(period, 300, 0.2 * period)
        feed(whole, data, [])
        if period == stop:
            again = InputDrift(KINDS, 500, 400, given_)
            again.load(json.loads(json.dumps(parts.state())))
            parts = again
        feed(parts, data, sorted(cuts))
        whole.close(), parts.close()
        assert list(parts.measures()) == list(whole.measures())
    assert parts.state() == whole.state()


def test_memory_does_not_grow_with_the_events() -> None:
    drift = InputDrift(KINDS, 500, 1000)
    sizes = []
    for period in range(60):
        feed(drift, block(period, 200), [])
        drift.close()
        sizes.append(len(json.dumps(drift.state())))
    assert max(sizes[20:]) < 1.2 * sizes[20]

"""Coverage and delay, against counts in a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.udfs.logic.label_arrivals import LabelArrivals

GRAIN, TIMEOUT = 10, 640


def test_coverage_falls_where_labels_stay_away_and_delays_are_right_to_five_per_cent() -> None:
    dice = np.random.default_rng(2)
    event = np.arange(0, 5000, 5)
    has = np.where(event < 3000, dice.random(1000) < 0.9, dice.random(1000) < 0.2)
    delay = dice.integers(1, TIMEOUT, 1000)[has]
    arrivals = LabelArrivals(GRAIN, TIMEOUT)
    for part in np.array_split(np.arange(1000), 17):
        arrivals.add(event[part], np.ones(len(part), dtype=bool), has[part], np.zeros(0), int(event[part][-1]))
    arrivals.add(event[:0], has[:0], has[:0], delay, 5000)
    found = {(name, window): (value, count) for name, window, value, count in arrivals.measures(5000)}
    over = (event // GRAIN + 1) * GRAIN + TIMEOUT <= 5000
    assert found["label-coverage", "cumulative"] == (pytest.approx(has[over].mean()), over.sum())
    newest = over & (event // GRAIN > (event[over] // GRAIN).max() - 64)
    assert found["label-coverage", "rolling"] == (pytest.approx(has[newest].mean()), newest.sum())
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        value, count = found[f"label-delay-ms.{name}", "cumulative"]
        assert (value, count) == (pytest.approx(np.quantile(delay, share), rel=0.07), len(delay))


def test_state_is_what_it_was() -> None:
    arrivals, again = LabelArrivals(GRAIN, TIMEOUT), LabelArrivals(GRAIN, TIMEOUT)
    yes = np.ones(3, dtype=bool)
    arrivals.add(np.array([1, 2, 900]), yes, yes, np.array([0, 5, 77]), 900)
    again.load(arrivals.state())
    assert again.measures(9999) == arrivals.measures(9999)
    assert LabelArrivals(GRAIN, TIMEOUT).measures(9999) == []

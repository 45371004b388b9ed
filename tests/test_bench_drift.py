"""The drift benchmark judges detectors by their false alarms too: one that looks at nothing finds every drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.bench import bench_drift, drift_detectors
from tests.bench.drift_streams import Stream

EVERY, COUNT = 10_000, 40_000


def made(name: str, kind: str, rates: tuple[float, ...], seed: int) -> Stream:
    dice = np.random.default_rng(seed)
    wrong = dice.random(COUNT) < np.repeat(rates, COUNT // len(rates))
    drifts = tuple(range(EVERY, COUNT, EVERY)) if kind == "abrupt" else ()
    return Stream(name, kind, 0.5 + 0.4 * (wrong - 0.5), wrong, drifts)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    known = [
        made("rising.0", "abrupt", (0.05, 0.2, 0.4, 0.6), 1),
        made("still.0", "none", (0.3,), 2),
    ]
    chosen = {name: drift_detectors.DETECTORS[name] for name in ("default", "every_2000")}
    monkeypatch.setattr(bench_drift, "streams", lambda share: iter(known))
    monkeypatch.setattr(bench_drift, "DETECTORS", chosen)
    return bench_drift.run(None, None)


def test_the_dummy_finds_all_drifts_and_is_seen_through(table: dict[str, Any]) -> None:
    dummy, default = table["detectors"]["every_2000"], table["detectors"]["default"]
    assert dummy["abrupt_found"] == default["abrupt_found"] == 1.0
    # Every 2,000 events one in the 10,000 before the first drift and the 40,000 without one.
    assert dummy["false_alarms_per_100k"] == 1e5 * 25 / 50_000
    assert default["false_alarms_per_100k"] == 0.0
    assert 0 < table["abrupt_max_delay"] == default["abrupt_max_delay"] < 1000
    assert (table["abrupt_drifts"], table["still_events"]) == (3, 50_000)

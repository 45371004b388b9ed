"""Drift detectors over groups: River's drifts through any bundles, and no NaN ever reaches one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.logic.drift_watch import DETECTORS, DriftCount, DriftWatch


def watch(name: str, values: list[Any], cuts: set[int] = frozenset()) -> DriftWatch:  # type: ignore[assignment]
    state = DriftWatch()
    for at, value in enumerate(values):
        if at in cuts:
            state = DriftWatch.load(state.state())
        state.add(name, value)
    return state


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(DETECTORS)),
    seed=st.integers(0, 99),
    cuts=st.sets(st.integers(1, 399), max_size=8),
)
def test_drifts_do_not_depend_on_bundles(name: str, seed: int, cuts: set[int]) -> None:
    dice = np.random.default_rng(seed)
    values: list[Any] = (dice.random(400) < np.repeat([0.1, 0.8], 200)).tolist()
    whole, parts = watch(name, values), watch(name, values, cuts)
    assert parts.state() == whole.state()
    assert parts.value() == whole.value()


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_drifts_are_rivers(name: str) -> None:
    dice = np.random.default_rng(4)
    values = (dice.random(1200) < np.repeat([0.1, 0.9, 0.2], 400)).tolist()
    if name in ("ADWIN", "KSWIN", "PageHinkley"):
        values = (np.array(values) * 3.0 + dice.normal(size=1200)).tolist()
    options = {"seed": 3} if name == "KSWIN" else {}
    detector = getattr(drift if hasattr(drift, name) else drift.binary, name)(**options)
    found: list[int] = []
    for n, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(n + 1)
    text = f"{name}(seed=3)" if options else name
    assert watch(text, values, {100, 500}).value() == DriftCount(len(found), 1200, found[-1], 0)
    assert found


def test_what_a_detector_must_not_see_is_skipped_and_counted() -> None:
    bad: list[Any] = [None, float("nan"), float("inf"), 1e200, "x", Decimal("NaN")]
    found = watch("ADWIN", [1.0, *bad, 2, Decimal("1.5"), True]).value()
    assert found == DriftCount(0, 4, None, 6)
    assert watch("DDM", [True, 0, 1.0, 0.5, None]).value() == DriftCount(0, 3, None, 2)
    assert watch("ADWIN", [None]).value() == DriftCount(0, 0, None, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adwin", r"drift\('adwin', ...\): there is no such detector. Known: ADWIN, DDM"),
        (None, "names no detector"),
        ("ADWIN(delta=nan)", "drift"),
        ("ADWIN(gamma=1)", "gamma"),
        ("ADWIN(delta=0.1) | drift.ADWIN()", "more than one detector"),
        ("drift.binary.ADWIN()", "no such detector"),
        ("NoDrift", "no such detector"),
        ("ADWIN(", "cannot be read"),
    ],
)
def test_a_detector_that_is_not_there_is_told_with_those_that_are(text: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DriftWatch().add(text, None)


def test_a_detector_may_be_named_as_in_river() -> None:
    for text in ("ADWIN", " ADWIN() ", "drift.ADWIN(delta=0.002)", "river.drift.ADWIN"):
        assert watch(text, [1.0]).value().n == 1
    assert watch("drift.binary.DDM(warm_start=10)", [1]).value().n == 1


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 100_000), value=st.integers(0, 255), name=st.sampled_from(["ADWIN", "DDM", "KSWIN"]))
def test_damaged_detector_bytes_raise_nothing_but_snapshot_errors(at: int, value: int, name: str) -> None:
    data = bytearray(watch(name, [1, 0, 1]).state())
    data[at % len(data)] = value
    for damaged in (bytes(data), bytes(data[: at % len(data)])):
        try:
            DriftWatch.load(damaged)
        except SnapshotError:
            pass

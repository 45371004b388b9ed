"""The default watch for drift: what it is shown, which way it looks, and that restarts change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.error_watch import COOL_DOWN, GROUP, ErrorWatch, error_of_loss


def errors(*rates: float, each: int = 4000, seed: int = 1) -> list[float]:
    dice = np.random.default_rng(seed)
    return (dice.random(each * len(rates)) < np.repeat(rates, each)).astype(float).tolist()


def test_a_rise_is_found_soon_and_once_and_a_fall_is_none() -> None:
    found = ErrorWatch().add_all(errors(0.1, 0.3, 0.05))
    assert len(found) == 1
    assert 4000 < found[0] < 4500
    assert ErrorWatch().add_all(errors(0.4, 0.1)) == []
    assert ErrorWatch().add_all(errors(0.2, 0.2, 0.2)) == []


class Restless:
    """A detector that always fires."""

    estimation, width, drift_detected = 0.0, 100.0, True

    def update(self, value: float) -> None:
        pass


def test_two_drifts_are_never_nearer_than_the_cool_down() -> None:
    watch = ErrorWatch()
    watch._adwin = Restless()
    found = watch.add_all([1.0] * 5000)
    assert [at + 1 for at in found] == [32, 1056, 2080, 3104, 4128]
    assert min(np.diff(found)) >= COOL_DOWN


def test_sums_of_a_group_are_found_as_soon_as_single_errors() -> None:
    """River's ADWIN with each error, which costs thirty times as much."""
    values = errors(0.1, 0.25)
    detector, alone = drift.ADWIN(), []
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            alone.append(at)
    assert abs(ErrorWatch().add_all(values)[0] - alone[0]) <= 8 * GROUP


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 1.5])
def test_what_is_no_error_is_skipped_and_harms_nothing(bad: float) -> None:
    values = errors(0.1, 0.4)
    watch = ErrorWatch()
    found = watch.add_all([bad, *values[:100], bad, *values[100:]])
    assert (watch.skipped, watch.watched) == (2, len(values))
    assert [at - 2 for at in found] == ErrorWatch().add_all(values)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_the_unit_of_a_numbers_loss_does_not_matter(unit: float) -> None:
    dice = np.random.default_rng(2)
    losses = np.square(dice.normal(size=8000) * np.repeat([1.0, 2.0], 4000)) * unit
    watch = ErrorWatch()
    found = [at for at, loss in enumerate(losses.tolist()) if watch.add_loss(loss, "regression", "number")]
    assert len(found) == 1
    assert 4000 < found[0] < 5000
    assert not watch.add_loss(float("nan"), "regression", "number")
    assert watch.skipped == 1


def test_a_log_loss_says_whether_another_class_was_predicted() -> None:
    assert error_of_loss(float(-np.log(0.51)), "classification", "boolean") == 0.0
    assert error_of_loss(float(-np.log(0.49)), "classification", "boolean") == 1.0
    assert error_of_loss(4.0, "regression", "number") is None


@settings(deadline=None, max_examples=30)
@given(cuts=st.sets(st.integers(1, 2999), max_size=6), seed=st.integers(0, 50))
def test_the_watch_does_not_depend_on_restarts(cuts: set[int], seed: int) -> None:
    dice = np.random.default_rng(seed)
    losses = np.square(dice.normal(size=3000) * np.repeat([1.0, 3.0], 1500)).tolist()
    watch, parts = ErrorWatch(), ErrorWatch()
    for at, loss in enumerate(losses):
        if at in cuts:
            parts = ErrorWatch.load(parts.state())
        assert parts.add_loss(loss, "regression", "number") == watch.add_loss(loss, "regression", "number")
    assert parts.state() == watch.state()


@settings(deadline=None, max_examples=80)
@given(at=st.integers(0, 100_000), value=st.integers(0, 255))
def test_a_damaged_watch_raises_nothing_but_snapshot_errors(at: int, value: int) -> None:
    watch = ErrorWatch()
    watch.add_all(errors(0.5, each=100))
    data: Any = bytearray(watch.state())
    data[at % len(data)] = value
    for damaged in (bytes(data), bytes(data[: at % len(data)])):
        try:
            ErrorWatch.load(damaged)
        except SnapshotError:
            pass

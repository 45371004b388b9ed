"""What keys, rates and settings make of the cost of one key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_sample_rows import declared
from thalweg.jobs.job_cost import Load, ModelLoad, duration_ms, model_load, python_bytes, waits_ms
from thalweg.jobs.model_cost import ModelCost, Size

COST = ModelCost((Size(100, 1000, 700, 3000),), 50)
SETTINGS = {"execution.checkpointing.interval": "10 s", "python.map-state.read-cache-size": "20000"}
LATE = {"label": "y", "label-table": "truth", "label-timeout": "1 h"}


def of(load: Load, settings: dict[str, str] | None = None, **options: str) -> ModelLoad:
    given: dict[str, Any] = {"label": "y", **options}
    return model_load(declared([("a", "DOUBLE")], **given), COST, load, SETTINGS if settings is None else settings)


def test_keys_are_multiplied_and_the_active_ones_change() -> None:
    load = of(Load(1_000_000, 0.01, None, 1))
    assert (load.keys, load.active_keys) == (1_000_000, 10_000)
    assert load.checkpoint_bytes == 100 * load.changed_bytes == 1_000_000 * load.state_bytes
    assert 1000 < load.state_bytes < 1200
    assert of(Load(10, 0.01, None, 1)).active_keys == 1


def test_a_model_without_a_key_is_one() -> None:
    shared = replace(declared([("a", "DOUBLE")], label="y"), key=())
    load = model_load(shared, COST, Load(1000, 1.0, None, 4), SETTINGS)
    assert (load.keys, load.cached_keys) == (1, 1)


def test_no_more_keys_change_than_events_come() -> None:
    assert of(Load(1_000_000, 1.0, 50.0, 1)).active_keys == 500
    assert of(Load(1_000_000, 1.0, 0.01, 1)).active_keys == 1


def test_a_worker_keeps_what_its_caches_and_its_shards_let_it() -> None:
    assert of(Load(10_000, 1.0, None, 1)).cached_keys == 10_000
    assert of(Load(10_000, 1.0, None, 4)).cached_keys == 2_500
    small = {"python.map-state.read-cache-size": "100", "python.map-state.write-cache-size": "50"}
    assert of(Load(10_000, 1.0, None, 1), small).cached_keys == 32 * 100
    assert of(Load(10_000, 1.0, None, 4), small).cached_keys == 8 * 100


def test_labels_are_waited_for_as_long_as_the_flow_keeps_them() -> None:
    assert of(Load(10, 1.0, 100.0, 1)).label_bytes == 0
    assert of(Load(10, 1.0, None, 1), **LATE).label_bytes is None
    held = of(Load(10, 1.0, 100.0, 1), **LATE).label_bytes
    assert held == 2 * 100 * 3 * 3600 * 50
    corrected = of(Load(10, 1.0, 100.0, 1), **LATE, **{"label-default": "false"}).label_bytes
    assert corrected == 2 * 100 * 4 * 3600 * 50


def test_snapshots_by_time_and_by_events() -> None:
    assert of(Load(6000, 1.0, None, 1)).snapshot_bytes_per_s == pytest.approx(6000 * 700 / 600)
    by_events = {"snapshot-every": "1000 events"}
    assert of(Load(6000, 1.0, None, 1), **by_events).snapshot_bytes_per_s is None
    assert of(Load(6000, 1.0, 500.0, 1), **by_events).snapshot_bytes_per_s == pytest.approx(350)


def test_workers_are_one_per_slot() -> None:
    one = of(Load(1000, 1.0, None, 2))
    workers, held = python_bytes(7, 2, {"m": one})
    assert workers == 2
    assert held == 2 * (420 * 2**20 + one.cached_bytes)
    assert python_bytes(0, 2, {}) == (0, 0)


def test_a_wait_is_all_bundles_and_buffers_on_the_way() -> None:
    settings = {"python.fn-execution.bundle.time": "10", "execution.buffer-timeout.interval": "5 ms"}
    assert waits_ms(3, settings) == 45
    assert waits_ms(1, {}) == 1100  # Flink's own defaults


@pytest.mark.parametrize(("text", "ms"), [("10", 10), ("2 s", 2000), ("0", 0), ("0 ms", 0), ("soon", 0)])
def test_durations_among_settings(text: str, ms: int) -> None:
    assert duration_ms({"a": text}, "a", 7) == ms
    assert duration_ms({}, "a", 7) == 7

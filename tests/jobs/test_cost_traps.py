"""Traps that figures tell (cases C23, C24, C26, C57, C58, C65)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_sample_rows import declared
from thalweg.jobs.cost_traps import latency_traps, memory_traps, model_traps
from thalweg.jobs.environment import PROFILES
from thalweg.jobs.job_cost import Load, model_load
from thalweg.jobs.model_cost import ModelCost, Size
from thalweg.jobs.plan_traps import Trap
from thalweg.jobs.script import parse_script
from thalweg.udfs.logic.declaration import Declaration

LATENCY = PROFILES["latency"]
USUAL = Load(1000, 1.0, None, 1)
SMALL = (Size(10, 300, 100, 1500), Size(50, 300, 100, 1500), Size(100, 300, 100, 1500))


def keyed(**options: str) -> Declaration:
    return declared([("a", "DOUBLE")], **{"label": "y", **options})  # type: ignore[arg-type]


def told(
    d: Declaration,
    load: Load = USUAL,
    sizes: tuple[Size, ...] = SMALL,
    settings: dict[str, str] | None = None,
    refused: int = 0,
) -> list[tuple[str, bool]]:
    settings = {**LATENCY, **(settings or {})}
    cost = ModelCost(sizes, 50, refused)
    traps = model_traps(d, cost, model_load(d, cost, load, settings), load, settings)
    check(traps)
    return [(trap.where, trap.severe) for trap in traps]


def check(traps: list[Trap]) -> None:
    for trap in traps:
        assert trap.remedy.endswith("."), trap
        assert trap.what.endswith("."), trap


def grown(*models: int) -> tuple[Size, ...]:
    return tuple(Size(10 * at + 10, model + 200, model, 3 * model) for at, model in enumerate(models))


def test_a_small_model_with_room_in_the_caches_is_told_nothing_of() -> None:
    assert told(keyed()) == []


def test_caches_smaller_than_the_active_keys_of_a_shard() -> None:
    read, write = "python.map-state.read-cache-size", "python.map-state.write-cache-size"
    where = [(f"setting '{option}', model m", True) for option in (read, write)]
    assert told(keyed(), Load(32 * 20_000, 1.0, None, 1)) == []
    assert told(keyed(), Load(32 * 20_001, 1.0, None, 1)) == where
    assert told(keyed(), Load(64 * 20_000, 0.5, None, 1)) == []  # idle keys need no room
    assert told(keyed(), Load(32 * 20_001, 1.0, None, 1), settings={read: "30000"}) == where[1:]
    assert told(keyed(shards="2000"), settings={}) == [("setting 'python.state.cache-size', model m", True)]


def test_models_that_grow_or_have_outgrown_their_bound() -> None:
    assert told(keyed(), sizes=grown(1000, 5000, 9000)) == [("model m", False)]
    assert told(keyed(), sizes=grown(1000, 5000, 5200)) == []
    assert told(keyed(**{"max-model-size": "8 kb"}), sizes=grown(1000, 5000, 9000)) == [("model m", True)]
    large = Load(10, 1.0, None, 1)
    assert told(keyed(), large, grown(2 << 20, 2 << 20, 2 << 20)) == [("model m", False)]


def test_more_snapshots_than_a_topic_is_glad_of() -> None:
    often = keyed(**{"snapshot-every": "10 s"})
    assert told(often, Load(100_000, 1.0, None, 1), grown(2000, 2000)) == [("model m, option 'snapshot-every'", False)]
    assert told(keyed(), Load(100_000, 1.0, None, 1), grown(2000, 2000)) == []


def test_events_that_wait_for_labels_for_too_long() -> None:
    late = keyed(**{"label-table": "truth"})
    assert told(late, Load(1000, 1.0, 1000.0, 1)) == [("model m, option 'label-timeout'", False)]
    assert told(late, Load(1000, 1.0, 1.0, 1)) == []
    assert told(late) == []  # without a rate nothing is known


def test_refused_rows_are_told() -> None:
    assert told(keyed(), refused=3) == [("model m", False)]


def test_parallelism_without_a_key_or_beyond_the_shards() -> None:
    assert told(replace(keyed(), key=()), Load(1000, 1.0, None, 4)) == [("model m, option 'key'", False)]
    assert told(keyed(shards="4"), Load(1000, 1.0, None, 8)) == [("model m, option 'shards'", True)]
    assert told(keyed(shards="4"), Load(1000, 1.0, None, 4)) == []


def of_memory(keys: int, settings: dict[str, str], size: int = 2000, python: int = 0) -> list[tuple[str, bool]]:
    d, job = keyed(), Load(keys, 0.1, None, 1)
    load = model_load(d, ModelCost((Size(10, size, size, size),), 50), job, settings)
    traps = memory_traps([load], python, job, settings)
    check(traps)
    return [(trap.where, trap.severe) for trap in traps]


def test_the_heap_and_the_jobmanager_hold_small_state_alone() -> None:
    heap, directory = "setting 'state.backend.type'", "setting 'execution.checkpointing.dir'"
    kept = {"execution.checkpointing.dir": "file:///c"}
    assert of_memory(1000, {}) == []
    assert of_memory(10_000, {}) == [(directory, False)]
    assert of_memory(10_000, kept) == []
    assert of_memory(1_000_000, kept) == [(heap, False)]
    assert of_memory(2_000_000, kept) == [(heap, True)]
    assert of_memory(2_000_000, {**kept, "state.backend.type": "rocksdb"}) == []
    assert of_memory(1000, {}, python=1 << 50) == [("memory of Python", False)]


BEHIND = "CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'x')"
EXACT = "CREATE TABLE o (a INT) WITH ('sink.delivery-guarantee' = 'exactly-once')"


@pytest.mark.parametrize(
    ("sql", "options", "goal_ms", "settings", "wanted"),
    [
        ("", {}, 60, {}, []),
        ("", {}, 40, {}, [("setting 'python.fn-execution.bundle.time'", False)]),
        ("", {}, 900, {"python.fn-execution.bundle.time": "1000"},
         [("setting 'python.fn-execution.bundle.time'", True)]),
        (BEHIND, {}, 1000, {}, [("model m, option 'order'", True)]),
        (BEHIND, {"order": "arrival"}, 1000, {}, []),
        (BEHIND, {}, 3000, {}, []),
        (EXACT, {}, 1000, {}, [("setting 'execution.checkpointing.interval'", True)]),
        (EXACT, {}, 20_000, {}, []),
    ],
)  # fmt: skip
def test_what_keeps_answers_from_being_out_in_time(
    sql: str, options: dict[str, Any], goal_ms: int, settings: dict[str, str], wanted: list[tuple[str, bool]]
) -> None:
    traps = latency_traps(parse_script(sql, "j", {}), [keyed(**options)], goal_ms, 3, {**LATENCY, **settings})
    check(traps)
    assert [(trap.where, trap.severe) for trap in traps] == wanted
    # The remedy for bundles and buffers is one.
    for trap in traps:
        if "bundle" in trap.where:
            changed = {name: value for name, value in _sets(trap.remedy)}
            assert latency_traps([], [], goal_ms, 3, {**LATENCY, **settings, **changed}) == []


def _sets(remedy: str) -> list[tuple[str, str]]:
    parts = [part.strip(" .").removeprefix("SET ").split(" = ") for part in remedy.split(";")]
    return [(name.strip("'"), value.strip("'")) for name, value in parts]

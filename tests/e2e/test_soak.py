"""Ten times more models than the cache of Python's state holds: the memory of the workers stays where it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cluster import python_workers
from streams import start

pytestmark = pytest.mark.cluster
ROWS, KEYS, CACHED = 40_000, 2000, 200


def test_memory_of_the_workers_does_not_grow_with_the_rows() -> None:
    script = f"""
        CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}',
          'rows-per-second' = '3000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{ROWS}');
        CREATE VIEW events AS SELECT CAST(n AS STRING) AS id, CAST(MOD(n, {KEYS}) AS STRING) AS k,
          MOD(n * 31, 997) / 997.0E0 AS a, MOD(n * 37, 991) > 500 AS y FROM numbers;
        CREATE MODEL many INPUT (a DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river', 'input-table' = 'events',
          'event-id' = 'id', 'key' = 'k', 'label' = 'y', 'order' = 'arrival', 'shards' = '1',
          'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()');
        CREATE TABLE nowhere (id STRING, learned BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO nowhere SELECT event_id, learned FROM many_predictions;
    """
    settings = {
        "python.state.cache-size": str(CACHED),
        "python.map-state.read-cache-size": str(CACHED),
        "python.map-state.write-cache-size": str(CACHED),
        "python.fn-execution.arrow.batch.size": "2000",
        "python.fn-execution.bundle.size": "4000",
    }
    ended = start(script, settings).get_job_execution_result()
    sizes: list[int] = []
    while not ended.done():
        sizes.append(sum(map(resident_bytes, python_workers())))
        time.sleep(0.25)
    ended.result()
    working = [size for size in sizes if size > 0.8 * max(sizes)]
    assert len(working) > 20
    early, late = max(working[: len(working) // 2]), max(working[len(working) // 2 :])
    assert late < early * 1.1, (early, late)


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0

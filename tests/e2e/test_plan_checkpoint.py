"""What ``thalweg plan`` estimates, against what Flink writes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streams import start
from thalweg.jobs.environment import PROFILES
from thalweg.jobs.job_cost import Load, model_load
from thalweg.jobs.model_cost import measure
from thalweg.jobs.sample_rows import sample_rows
from thalweg.udfs.engines import engine_class
from thalweg.udfs.logic.declaration import declare

KEYS = 2000
MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
OPTIONS = {
    "provider": "river", "model": MODEL, "input-table": "events", "event-id": "id", "key": "k", "label": "y",
    "order": "arrival",
}  # fmt: skip
WITH = ", ".join(f"'{option}' = '{value}'" for option, value in OPTIONS.items())
SQL = f"""
CREATE TABLE events (id STRING, k INT, a DOUBLE, b DOUBLE, y BOOLEAN) WITH ('connector' = 'datagen',
  'rows-per-second' = '8000', 'fields.id.length' = '8', 'fields.k.min' = '1', 'fields.k.max' = '{KEYS}',
  'fields.a.min' = '0', 'fields.a.max' = '1', 'fields.b.min' = '0', 'fields.b.max' = '1');
CREATE MODEL fraud INPUT (a DOUBLE, b DOUBLE) OUTPUT (y BOOLEAN) WITH ({WITH});
CREATE TABLE answers (event_id STRING, score DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO answers SELECT event_id, score FROM fraud_predictions;
"""


def finished(folder: Path) -> dict[int, int]:
    """Number and bytes of each checkpoint that is complete."""
    return {
        int(done.parent.name.removeprefix("chk-")): sum(f.stat().st_size for f in done.parent.iterdir())
        for done in folder.glob("*/chk-*/_metadata")
    }


def levelled(seen: dict[int, int]) -> bool:
    *_, before, last = [0, 0, *(seen[number] for number in sorted(seen))]
    return 0 < last < 1.05 * before


@pytest.mark.cluster
def test_the_estimate_is_within_a_factor_of_two_of_a_checkpoint(tmp_path: Path) -> None:
    types = [("a", "DOUBLE"), ("b", "DOUBLE")]
    declaration = declare("fraud", types, [("y", "BOOLEAN")], OPTIONS, engine_class("river").OPTIONS, True)
    cost = measure(declaration, sample_rows(declaration, 20))
    estimate = model_load(declaration, cost, Load(KEYS, 1.0, None, 1), PROFILES["latency"]).checkpoint_bytes
    settings = {
        "execution.checkpointing.dir": tmp_path.as_uri(), "execution.checkpointing.interval": "1 s",
        "execution.checkpointing.min-pause": "1 s",
    }  # fmt: skip
    job = start(SQL, settings, profile="latency")
    seen: dict[int, int] = {}
    try:
        deadline = time.monotonic() + 90
        # Until all keys have come, a checkpoint is larger than the one before.
        while time.monotonic() < deadline and not levelled(seen):
            time.sleep(0.5)
            seen |= finished(tmp_path)
    finally:
        job.cancel().result()
    largest = max(seen.values(), default=0)
    print(f"estimated {estimate}, written {seen}")
    assert estimate / 2 < largest < estimate * 2, (estimate, seen)

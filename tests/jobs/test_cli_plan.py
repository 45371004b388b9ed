"""``thalweg plan`` as a user calls it: through Flink's own planner, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from thalweg.jobs.cli import main
from thalweg.jobs.cli_plan import _tell

SQL = """
SET 'table.exec.source.idle-timeout' = '0 ms';
SET 'python.execution-mode' = 'thread';
CREATE TABLE pays (id STRING, user_id STRING, amount DOUBLE, bad BOOLEAN, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'pays',
  'properties.bootstrap.servers' = '${brokers}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE MODEL fraud INPUT (amount DOUBLE) OUTPUT (bad BOOLEAN) WITH ('provider' = 'river', 'input-table' = 'pays',
  'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()', 'label' = 'bad', 'event-id' = 'id',
  'key' = 'user_id');
CREATE MODEL fixed INPUT (amount DOUBLE) OUTPUT (bad BOOLEAN) WITH ('provider' = 'river', 'input-table' = 'pays',
  'model' = 'tree.HoeffdingTreeClassifier()', 'label' = 'bad', 'event-id' = 'id');
CREATE TABLE scores (id STRING, score DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'scores',
  'properties.bootstrap.servers' = '${brokers}', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'scores');
INSERT INTO scores SELECT event_id, score FROM fraud_predictions
  UNION ALL SELECT event_id, score FROM fixed_predictions;
"""


def plan(file: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["plan", str(file), "-D", "brokers=127.0.0.1:1", *words])


@pytest.mark.cluster
def test_a_plan_tells_costs_and_traps_of_a_job_that_never_runs(tmp_path: Path) -> None:
    file, example = tmp_path / "fraud.sql", tmp_path / "events.jsonl"
    file.write_text(SQL)
    example.write_text('{"amount": 12.5, "bad": false}\n{"amount": 900, "bad": true}\n')
    load = ("--keys", "1000000", "--active", "0.5", "--rate", "100", "--latency-goal", "1000")
    done = plan(file, *load, "--examples", "60", "--example", str(example), "--strict", "--json")
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    fraud, fixed = told["models"]
    assert (fraud["model"], fraud["keys"], fraud["active_keys"]) == ("fraud", 1_000_000, 1000)  # 100 events in 10 s
    assert (fixed["model"], fixed["keys"]) == ("fixed", 1)
    assert fraud["checkpoint_bytes"] == 1_000_000 * fraud["state_bytes"] < 1_000_000_000
    assert [size["examples"] for size in fraud["sizes"]] == [6, 30, 60]
    assert told["job"]["checkpoint_bytes"] == fraud["checkpoint_bytes"] + fixed["checkpoint_bytes"]
    stages = told["job"]["python_stages"]
    # The two learning operators, and no evaluation, for nothing reads it; before them decoding and packing.
    assert stages["blocks"] == 2
    assert stages["single"] == 0
    assert stages["longest"] == 3
    assert stages["batched"] >= 3
    assert told["job"]["wait_ms"] == 3 * (10 + 5)
    severe = {trap["where"] for trap in told["traps"] if trap["severe"]}
    assert severe == {
        "setting 'python.execution-mode'",
        "setting 'table.exec.source.idle-timeout'",
        "table scores, option 'properties.transaction.timeout.ms'",
        "model fraud, option 'order'",
        "model fixed, option 'order'",
        "setting 'execution.checkpointing.interval'",
    }
    looked = {trap["where"] for trap in told["traps"]} - severe
    assert {"model fraud, option 'state-ttl'", "setting 'state.backend.type'"} <= looked


def test_a_plan_is_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    size = {"examples": 10, "state": 300, "model": 100, "live": 2_100}
    model = {
        "model": "fraud", "keys": 1_000_000, "state_bytes": 435, "live_bytes": 2_100, "checkpoint_bytes": 435_000_000,
        "changed_bytes": 4_350_000, "cached_bytes": 29_000_000, "label_bytes": None, "grows": True,
        "sizes": [size, {**size, "model": 900}],
    }  # fmt: skip
    stages = {"batched": 4, "blocks": 1, "single": 0, "longest": 3, "total": 5}
    job = {"checkpoint_bytes": 435_000_000, "changed_bytes": 4_350_000, "label_bytes": None, "python_workers": 2,
           "python_bytes": 1_200_000_000, "python_stages": stages, "wait_ms": 45}  # fmt: skip
    trap = {"where": "setting 'a'", "what": "is wrong.", "remedy": "Mend it.", "severe": True}
    _tell({"models": [model], "job": job, "traps": [trap]})
    shown = capsys.readouterr().out
    for part in ("1,000,000", "435 bytes", "435.0 MB", "4.3 MB", "give --rate", "100 bytes -> 900 bytes",
                 "2, up to 1.2 GB together", "3 on the longest way", "45 ms", "severe", "Mend it."):  # fmt: skip
        assert part in shown, shown
    _tell({"models": [{**model, "grows": False, "label_bytes": 0}], "job": job, "traps": []})
    assert "No known trap." in capsys.readouterr().out


def test_what_is_wrong_is_told_before_flink_starts(tmp_path: Path) -> None:
    done = plan(tmp_path / "none.sql")
    assert done.exit_code == 2
    assert "cannot be read" in done.stderr
    assert plan(tmp_path / "none.sql", "--active", "0").exit_code == 2
    assert plan(tmp_path / "none.sql", "--active", "1.5").exit_code == 2

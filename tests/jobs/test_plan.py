"""What a file would do, read from its text: models, tables, what goes where."""

from __future__ import annotations

from thalweg.jobs.plan import plan_of
from thalweg.jobs.script import parse_script

SQL = """
SET 'parallelism.default' = '2';
CREATE TABLE pays (id STRING) WITH ('connector' = 'kafka', 'topic' = 'in', 'properties.bootstrap.servers' = 'b:1');
CREATE TABLE frauds (id STRING, bad BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'truth');
CREATE TABLE `out` (id STRING) WITH ('connector' = 'print');
CREATE TABLE lost (id STRING) WITH ('connector' = 'blackhole');
CREATE TEMPORARY VIEW rich AS SELECT * FROM pays WHERE id <> 'frauds'; -- from lost
CREATE VIEW richer AS SELECT * FROM rich;
CREATE MODEL fraud INPUT (id STRING) OUTPUT (bad BOOLEAN)
  WITH ('provider' = 'river', 'model' = 'x', 'input-table' = 'richer', 'label-table' = 'frauds', 'label' = 'bad',
        'event-id' = 'id', 'key' = 'id');
CREATE VIEW sure AS SELECT event_id FROM fraud_predictions;
INSERT INTO `out` SELECT * FROM sure UNION ALL SELECT id FROM richer;
INSERT INTO lost SELECT reason FROM pays_dead_letters;
"""


def test_a_plan_tells_what_goes_where_through_all_views() -> None:
    plan = plan_of(parse_script(SQL, "job.sql", {}))
    assert plan.settings == ["'parallelism.default' = '2'"]
    assert plan.models == [
        {"model": "fraud", "provider": "river", "reads": "richer", "labels": "frauds.bad", "key": "id",
         "gives": ["predictions"]}
    ]  # fmt: skip
    assert plan.inserts == [
        {"into": "out", "where": "print", "from": ["fraud_predictions", "pays"]},
        {"into": "lost", "where": "blackhole", "from": ["pays_dead_letters"]},
    ]
    found = {table["table"]: (table["where"], table["read_by"], table["written_from"]) for table in plan.tables}
    assert found == {
        "pays": ("topic in", ["out", "fraud"], []),
        "frauds": ("topic truth", ["fraud"], []),
        "out": ("print", [], ["fraud_predictions", "pays"]),
        "lost": ("blackhole", [], ["pays_dead_letters"]),
    }
    assert plan.tables[0]["brokers"] == "b:1"

"""Changelog tables as input: refused by name before anything runs, and Flink's own words with them."""

from __future__ import annotations

import pytest
from thalweg.connector.errors import ConfigError

pytestmark = pytest.mark.cluster
COLUMNS = "id STRING, a DOUBLE, y BOOLEAN, ts TIMESTAMP(3)"
KAFKA = "'topic' = 't', 'properties.bootstrap.servers' = '127.0.0.1:1', 'scan.startup.mode' = 'earliest-offset'"
UPSERT = KAFKA.rpartition(",")[0] + ", 'connector' = 'upsert-kafka', 'key.format' = 'raw', 'value.format' = 'json'"
TABLES = {
    "upserts": f"CREATE TABLE t ({COLUMNS}, PRIMARY KEY (id) NOT ENFORCED) WITH ({UPSERT});",
    "cdc": f"CREATE TABLE t ({COLUMNS}) WITH ('connector' = 'kafka', 'format' = 'debezium-json', {KAFKA});",
    "aggregate": f"CREATE TABLE s ({COLUMNS}) WITH ('connector' = 'datagen');"
    " CREATE TEMPORARY VIEW t AS SELECT id, MAX(a) AS a, TRUE AS y FROM s GROUP BY id;",
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("side", ["input-table", "label-table"])
def test_a_table_that_changes_rows_is_refused_by_name(kind: str, side: str) -> None:
    from thalweg.jobs.environment import make_environment
    from thalweg.jobs.script import parse_script
    from thalweg.jobs.session import initial_settings, submit

    sql = (
        TABLES[kind]
        + f"""
        CREATE TABLE plain ({COLUMNS}) WITH ('connector' = 'datagen');
        CREATE MODEL m INPUT (a DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river', 'order' = 'arrival',
          'model' = 'linear_model.LogisticRegression()', 'event-id' = 'id', 'label' = 'y',
          'input-table' = '{"t" if side == "input-table" else "plain"}',
          'label-table' = '{"t" if side == "label-table" else "plain"}');
        CREATE TABLE o (event_id STRING) WITH ('connector' = 'blackhole');
        INSERT INTO o SELECT event_id FROM m_predictions;"""
    )
    statements = parse_script(sql, "changes.sql", {})
    t_env = make_environment("latency", initial_settings(statements), None, 1)
    with pytest.raises(ConfigError) as caught:
        submit(t_env, statements)
    (problem,) = caught.value.problems
    assert problem.where.endswith(f"model m, option '{side}'")
    assert problem.what.startswith("table 't' changes and deletes rows")
    assert "'connector' = 'kafka'" in problem.remedy

"""The view of predictions answers in the words of the task, in the types that SQL goes on with."""

from __future__ import annotations

import pytest
from pyflink.table import EnvironmentSettings, TableEnvironment
from thalweg.connector.ddl import quote_name
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.flink.task_columns import task_columns

WANTED = {
    "anomaly": ["is_anomaly BOOLEAN"],
    "clustering": ["cluster BIGINT"],
    "forecasting": ["forecast ARRAY<DOUBLE>"],
    "bandit": ["arm STRING"],
    "next-item": ["recommendations ARRAY<ROW<item STRING, score DOUBLE> NOT NULL>"],
    "classification": [],
    "regression": [],
    "recommendation": [],
}


def spec_of(task: str, **params: str) -> EngineSpec:
    return EngineSpec("river", task, "m", (Field("x", "number"),), Field("y", "number"), tuple(params.items()))


def test_a_forecast_has_one_number_per_step() -> None:
    ((_, sql),) = task_columns(spec_of("forecasting", horizon="3"))
    assert sql == "CASE WHEN status = 'ok' THEN ARRAY[probabilities['1'], probabilities['2'], probabilities['3']] END"


METRIC = EngineSpec("metric-anomaly", "anomaly", "", (Field("x", "number"),), Field("y", "number"))


def test_a_metric_has_its_forecast_and_bounds() -> None:
    columns = dict(task_columns(METRIC))
    assert list(columns) == ["is_anomaly", "actual_value", "forecast_value", "lower_bound", "upper_bound"]
    assert columns["lower_bound"] == "probabilities['lower_bound']"


@pytest.mark.cluster
def test_flink_gives_the_columns_these_types() -> None:
    t_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    t_env.execute_sql(
        "CREATE TABLE answers (score DOUBLE, label STRING, probabilities MAP<STRING, DOUBLE>, status STRING)"
        " WITH ('connector' = 'datagen')"
    )
    cases = [
        (spec_of(task, horizon="366") if task == "forecasting" else spec_of(task), wanted)
        for task, wanted in WANTED.items()
    ]
    parts = ("actual_value", "forecast_value", "lower_bound", "upper_bound")
    cases.append((METRIC, ["is_anomaly BOOLEAN", *(f"{name} DOUBLE" for name in parts)]))
    for spec, wanted in cases:
        columns = task_columns(spec)
        chosen = ", ".join(["status", *(f"{sql} AS {quote_name(name)}" for name, sql in columns)])
        table = t_env.sql_query(f"SELECT {chosen} FROM answers")
        found = table._j_table.getResolvedSchema().toString().replace("`", "").strip("()\n ").split(",\n  ")
        assert found == ["status STRING", *wanted], spec.task

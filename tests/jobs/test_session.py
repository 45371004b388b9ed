"""Configuration that is wrong: one clear error when the job is built, with everything that is wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.jobs.root_cause import root_cause
from thalweg.jobs.script import parse_script
from thalweg.jobs.session import initial_settings, submit

pytestmark = pytest.mark.cluster
TABLES = """
CREATE TABLE events (id STRING, k STRING, a DOUBLE, born DATE, ts BIGINT, rowtime AS TO_TIMESTAMP_LTZ(ts, 3),
  WATERMARK FOR rowtime AS rowtime) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
CREATE TABLE untimed (id STRING, a DOUBLE, y BOOLEAN) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
CREATE TABLE labels (id STRING, y BOOLEAN, n DOUBLE, ts BIGINT, rowtime AS TO_TIMESTAMP_LTZ(ts, 3),
  WATERMARK FOR rowtime AS rowtime) WITH ('connector' = 'datagen', 'number-of-rows' = '3');
CREATE TABLE sink (id STRING, score DOUBLE) WITH ('connector' = 'blackhole');
"""
OPTIONS = {
    "provider": "river",
    "model": "linear_model.LogisticRegression()",
    "input-table": "events",
    "event-id": "id",
    "label-table": "labels",
    "label": "y",
}


def script(options: dict[str, str | None], inputs: str = "a DOUBLE", output: str = "y BOOLEAN") -> str:
    chosen = {name: text for name, text in {**OPTIONS, **options}.items() if text is not None}
    settings = ", ".join(f"'{name}' = '{text}'" for name, text in chosen.items())
    return (
        f"{TABLES}CREATE MODEL m INPUT ({inputs}) OUTPUT ({output}) WITH ({settings});\n"
        "INSERT INTO sink SELECT event_id, score FROM m_predictions;\n"
    )


def error_of(sql: str) -> str:
    from thalweg.jobs.environment import make_environment

    statements = parse_script(sql, "job.sql", {})
    with pytest.raises(ConfigError) as caught:
        submit(make_environment("latency", initial_settings(statements), None), statements)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labl-timeout": "3 h"}, ["job.sql:", "model m", "'labl-timeout'", "unknown option", "'label-timeout'"]),
        ({"input-table": "evnts"}, ["option 'input-table'", "table 'evnts' does not exist"]),
        ({"label-table": "nothing"}, ["option 'label-table'", "table 'nothing' does not exist"]),
        ({"label": "n"}, ["option 'label'", "'n'", "DOUBLE", "boolean"]),
        ({"label": "z"}, ["option 'label'", "no column 'z'", "It has id, y, n"]),
        ({"event-id": "x"}, ["option 'event-id'", "no column 'x'"]),
        ({"key": "k, nope"}, ["option 'key'", "no column 'nope'"]),
        ({"provider": "tensorflow"}, ["provider", "no such engine", "onnx", "river"]),
        ({"provider": None}, ["provider", "missing"]),
        ({"model": "os.system(1)"}, ["os"]),
        ({"model": "linear_model.LogisticRegression(l2=open(1))"}, ["open"]),
        ({"label-timeout": "soon"}, ["option 'label-timeout'", "'soon' is not a duration"]),
        ({"input-table": "untimed"}, ["order", "watermark", "untimed", "arrival"]),
        ({"metrics": "F2"}, ["option 'metrics'", "'F2'"]),
    ],
)
def test_a_wrong_option_is_one_clear_error(options: dict[str, str | None], says: list[str]) -> None:
    options = {**({"order": "event-time"} if "untimed" in options.values() else {}), **options}
    text = error_of(script(options))
    for part in says:
        assert part in text
    assert "Traceback" not in text
    assert "\tat " not in text


def test_a_reference_that_cannot_serve_is_told_with_what_it_lacks() -> None:
    labelled = {"reference-table": "untimed", "reference-label": "y"}
    text = error_of(script({**labelled, "key": "k", "reference-label": "truth"}))
    assert "option 'reference-table': table 'untimed' lacks k, truth, or has another type there." in text
    endless = (
        "CREATE TABLE endless (a DOUBLE, y BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json',"
    )
    endless += " 'properties.bootstrap.servers' = '127.0.0.1:1', 'scan.startup.mode' = 'earliest-offset');\n"
    text = error_of(endless + script({**labelled, "reference-table": "endless"}))
    assert "table 'endless' is a topic that never ends. Add 'scan.bounded.mode' = 'latest-offset' to it." in text
    text = error_of(endless + script({"reference-table": "endless", "watch-inputs": "a"}))
    assert "is a topic that never ends" in text


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = error_of(script({"labl": "y", "shards": "none", "key": ""}))
    assert all(f"'{option}'" in text for option in ("labl", "shards", "key"))


def test_a_misspelt_option_does_not_hide_what_is_wrong_with_the_tables() -> None:
    text = error_of(script({"labl-timeout": "3 h", "key": "carier"}))
    assert "'labl-timeout'" in text
    assert "no column 'carier'" in text


def test_a_feature_that_is_missing_or_of_no_use() -> None:
    text = error_of(script({}, inputs="a DOUBLE, b DOUBLE, k BOOLEAN"))
    assert "no column 'b'" in text
    assert "'k'" in text
    assert "DATE" in error_of(script({}, inputs="born DATE"))


def test_a_statement_that_flink_refuses_names_file_and_line() -> None:
    text = error_of("SELECT 1;\nCREATE TABLE x (a NOTATYPE) WITH ('connector' = 'datagen');\n")
    assert "job.sql:2" in text
    assert "\tat " not in text


def test_a_file_without_an_insert() -> None:
    assert "no INSERT" in error_of(TABLES)


def test_a_setting_that_is_none() -> None:
    statements = parse_script("SET parallelism 2;", "job.sql", {})
    with pytest.raises(ConfigError, match="SET 'key' = 'value'"):
        initial_settings(statements)


def test_the_root_of_a_stack_trace_is_one_sentence() -> None:
    text = (
        "An error occurred while calling o1.execute.\n: org.apache.flink.table.api.ValidationException: SQL failed.\n"
        "\tat org.x.Y\nCaused by: java.lang.IllegalStateException: the topic is gone\n\tat z\n"
    )
    assert root_cause(ValueError(text)) == "the topic is gone"
    worker = (
        "java.lang.RuntimeException: x\nTraceback (most recent call last):\n  File 'a'\nValueError: bad thing\n\tat b"
    )
    assert root_cause(ValueError(worker)) == "ValueError: bad thing"
    columns = (
        "An error occurred while calling o1.execute.\n: org.apache.flink.table.api.ValidationException: Column types of"
        " query result and sink for 'a.b.c' do not match.\nCause: Different number of columns.\n\n"
        "Query schema: [x: INT, y: INT]\nSink schema:  [x: INT]\n\tat z\n"
    )
    assert root_cause(ValueError(columns)) == (
        "Column types of query result and sink for 'a.b.c' do not match. Cause: Different number of columns."
        " Query schema: [x: INT, y: INT] Sink schema: [x: INT]"
    )


def test_attach_refuses_thread_mode() -> None:
    from thalweg.jobs.environment import make_environment
    from thalweg.udfs import attach

    t_env: Any = make_environment("latency", {"python.execution-mode": "thread"}, None)
    with pytest.raises(ConfigError, match=r"python\.execution-mode"):
        attach(t_env)


def test_names_of_views_do_not_hide_the_files_own(tmp_path: Path) -> None:
    text = error_of(
        script({}).replace(
            "CREATE MODEL", "CREATE TEMPORARY VIEW m_predictions AS SELECT id FROM events;\nCREATE MODEL", 1
        )
    )
    assert "m_predictions" in text


def test_attach_refuses_state_without_a_cache() -> None:
    from thalweg.jobs.environment import make_environment
    from thalweg.udfs import attach

    t_env: Any = make_environment("latency", {"python.state.cache-size": "0"}, None)
    with pytest.raises(ConfigError, match=r"python\.state\.cache-size.*at least 1"):
        attach(t_env)

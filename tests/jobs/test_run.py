"""``thalweg run`` before Flink: what is missing outside the file is told in one sentence, with an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from thalweg.connector.kafka import create_topics
from thalweg.jobs.cli import main

TABLE = (
    "CREATE TABLE t (a STRING) WITH ('connector' = 'kafka', 'topic' = '{topic}',"
    " 'properties.bootstrap.servers' = '{brokers}', 'format' = 'json');\nINSERT INTO t SELECT a FROM t;\n"
)


def run(tmp_path: Path, text: str, *options: str) -> Result:
    path = tmp_path / "job.sql"
    path.write_text(text)
    return CliRunner().invoke(main, ["run", str(path), *options])


def test_a_broker_that_is_down(tmp_path: Path) -> None:
    result = run(tmp_path, TABLE.format(topic="x", brokers="127.0.0.1:1"))
    assert result.exit_code == 3
    assert "127.0.0.1:1" in result.output
    assert "Traceback" not in result.output


@pytest.mark.cluster
def test_a_topic_that_is_missing(tmp_path: Path, broker: str) -> None:
    result = run(tmp_path, TABLE.format(topic="nobody-made-it", brokers=broker))
    assert result.exit_code == 2
    assert "nobody-made-it" in result.output
    assert "job.sql:1" in result.output


@pytest.mark.cluster
def test_more_readers_than_partitions_are_told(tmp_path: Path, broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"partitions": 2}})
    timed = TABLE.replace(
        "(a STRING)", "(a STRING, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR ts AS ts)"
    )
    sql = timed.format(topic=topic_name, brokers=broker).partition("INSERT")[0]
    told = run(tmp_path, sql, "--parallelism", "3")
    assert "has 2 partitions for 3 readers" in " ".join(told.output.split())
    assert "no INSERT" in told.output
    assert "for 2 readers" not in run(tmp_path, sql, "--parallelism", "2").output


def test_a_variable_without_a_value(tmp_path: Path) -> None:
    result = run(tmp_path, TABLE.format(topic="${topic}", brokers="${brokers}"))
    assert result.exit_code == 2
    assert "topic" in result.output
    assert "brokers" in result.output


@pytest.mark.parametrize(
    ("options", "says"),
    [(("-D", "brokers"), "name=value"), (("--local", "--target", "h:1"), "--local")],
)
def test_options_that_contradict(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    result = run(tmp_path, "SELECT 1;", *options)
    assert result.exit_code == 2
    assert says in result.output


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", str(tmp_path / "none.sql")])
    assert result.exit_code == 2
    assert "none.sql" in result.output


def test_a_target_that_is_none(tmp_path: Path) -> None:
    from thalweg.connector.errors import ConfigError
    from thalweg.jobs.environment import make_environment

    with pytest.raises(ConfigError, match="host:port"):
        make_environment("latency", {}, "somewhere")

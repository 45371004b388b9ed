"""Records into topics, SQL files through Flink in this process, results out of topics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, read_topic

RESULTS = {"predictions": "prediction", "metrics": "metric", "snapshots": "snapshot", "dead_letters": "dead_letter"}


def publish(
    brokers: str, topic: str, records: Iterable[tuple[bytes | None, int]], partitions: int = 1, seed: int = 0
) -> None:
    """Create a topic and send (value, time in ms) in order, spread over the partitions, each partition in order."""
    create_topics(brokers, {topic: {"partitions": partitions}})
    send(brokers, topic, records, partitions, seed)


def send(brokers: str, topic: str, records: Iterable[tuple[bytes | None, int]], partitions: int, seed: int = 0) -> None:
    """Send (value, time in ms) as ``publish`` does."""
    producer = KafkaProducer(bootstrap_servers=brokers, linger_ms=50)
    for n, (value, ms) in enumerate(records):
        producer.send(
            topic,
            value,
            key=None if value is not None else b"deleted",
            timestamp_ms=ms,
            partition=(n * 31 + seed) % partitions,
        )
    producer.flush()
    producer.close()


def as_json(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row).encode()


def result_tables(brokers: str, prefix: str, guarantee: str = "at-least-once") -> str:
    """Create the result topics and return the DDL of their tables."""
    statements = []
    for table, schema in RESULTS.items():
        create_topics(brokers, {f"{prefix}.{table}": {"compact": schema == "snapshot"}})
        transactions = {"transactional_id_prefix": f"{prefix}-{table}"} if guarantee == "exactly-once" else {}
        ddl = create_table(table, schema, f"{prefix}.{table}", brokers, guarantee=guarantee, **transactions)
        statements.append(ddl + ";\n")
    return "".join(statements)


def kafka_table(
    name: str,
    columns: str,
    topic: str,
    brokers: str,
    format: str = "json",
    bounded: bool = True,
    ends: Sequence[int] | None = None,
) -> str:
    """Return the DDL of a customer's topic; its time is the time of the Kafka records.

    ``ends`` has the offset at which each partition ends, which it need not have reached yet.
    """
    end = ", 'scan.bounded.mode' = 'latest-offset'" if bounded else ""
    if ends is not None:
        offsets = ";".join(f"partition:{partition},offset:{offset}" for partition, offset in enumerate(ends))
        end = f", 'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = '{offsets}'"
    return (
        f"CREATE TABLE {name} ({columns}, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',"
        f" WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'kafka', 'topic' = '{topic}',"
        f" 'properties.bootstrap.servers' = '{brokers}', 'scan.startup.mode' = 'earliest-offset',"
        f" 'format' = '{format}'{end});\n"
    )


def start(
    sql: str, settings: Mapping[str, str] | None = None, parallelism: int = 1, profile: str = "throughput"
) -> Any:
    """Submit a script to a mini cluster in this process, and return the job's client."""
    from thalweg.jobs.environment import make_environment
    from thalweg.jobs.script import parse_script
    from thalweg.jobs.session import initial_settings, submit

    statements = parse_script(sql, Path("test.sql"), {})
    chosen = {**initial_settings(statements), **(settings or {})}
    t_env = make_environment(profile, chosen, None, parallelism)
    return submit(t_env, statements).get_job_client()


def run(sql: str, settings: Mapping[str, str] | None = None, parallelism: int = 1, profile: str = "throughput") -> None:
    """Run a bounded script to its end."""
    start(sql, settings, parallelism, profile).get_job_execution_result().result()


def results(brokers: str, prefix: str, tables: Sequence[str] = tuple(RESULTS)) -> dict[str, list[dict[str, Any]]]:
    """Return all records of the result topics."""
    return {
        table: [record for record, _ in read_topic(brokers, f"{prefix}.{table}", RESULTS[table])] for table in tables
    }

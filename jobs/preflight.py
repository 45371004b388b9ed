"""Before a job starts: are its brokers there, and its topics."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from thalweg.connector.client import open_client
from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.kafka import wait_for_broker
from thalweg.connector.kafka_security import JavaOnlyError, client_settings, table_security
from thalweg.jobs.script import Statement

__all__ = ["check_topics"]

_WATERMARK = re.compile(r"\bWATERMARK\s+FOR\b", re.IGNORECASE)


def check_topics(statements: Sequence[Statement]) -> dict[str, int]:
    """Check that every Kafka table of a script has its broker and its topic.

    Tables whose security settings Java alone understands, such as a store in Java's own format, are left to Flink.

    Returns
    -------
    dict of str to int
        Number of partitions of each topic whose table has a watermark.

    Raises
    ------
    SetupError
        A broker does not answer.
    ConfigError
        Topics are missing, or security settings are wrong; lists all, with file and line.
    """
    wanted: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[str, Statement]]] = defaultdict(list)
    problems: list[Problem] = []
    for statement in statements:
        options = statement.options if statement.kind == "CREATE TABLE" else {}
        if options.get("connector") not in ("kafka", "upsert-kafka"):
            continue
        security = table_security(options)
        try:
            client_settings(security, f"{statement.where}: option 'properties.*',")
        except JavaOnlyError:
            continue
        except ConfigError as error:
            problems += error.problems
        topics = [topic for topic in options.get("topic", "").split(";") if topic]
        access = (options.get("properties.bootstrap.servers", ""), tuple(sorted(security.items())))
        wanted[access] += [(topic, statement) for topic in topics]
    if problems:
        raise ConfigError(problems)
    timed = {}
    for (brokers, settings), needs in wanted.items():
        if not brokers:
            continue
        wait_for_broker(brokers, timeout_s=10.0, **dict(settings))
        known = _topics(brokers, dict(settings))
        for topic, statement in needs:
            if topic in known and _WATERMARK.search(statement.text):
                timed[topic] = known[topic]
            if topic not in known:
                remedy = "Create it, or correct 'topic'."
                problems.append(Problem(statement.where, f"topic '{topic}' does not exist at {brokers}.", remedy))
    if problems:
        raise ConfigError(problems)
    return timed


def _topics(brokers: str, security: dict[str, str]) -> dict[str, int]:
    """Return the number of partitions of each topic."""
    from kafka import KafkaConsumer

    with open_client(KafkaConsumer, brokers, security, group_id=None, allow_auto_create_topics=False) as client:
        return {topic: len(client.partitions_for_topic(topic) or ()) for topic in client.topics()}

"""Before a job starts: are its brokers there, and its topics."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from thalweg.connector.client import open_client
from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.kafka import wait_for_broker
from thalweg.jobs.script import Statement

__all__ = ["check_topics"]

_OPTION = re.compile(r"'([\w.\-]+)'\s*=\s*'((?:[^']|'')*)'")


def check_topics(statements: Sequence[Statement]) -> None:
    """Check that every Kafka table of a script has its broker and its topic.

    Tables with security settings are left to Flink: their credentials are not ours to read.

    Raises
    ------
    SetupError
        A broker does not answer.
    ConfigError
        Topics are missing; lists all, with file and line.
    """
    wanted: dict[str, list[tuple[str, Statement]]] = defaultdict(list)
    for statement in statements:
        options = dict(_OPTION.findall(statement.text)) if statement.kind == "CREATE TABLE" else {}
        if options.get("connector") not in ("kafka", "upsert-kafka"):
            continue
        if any(option.startswith(("properties.security", "properties.sasl", "properties.ssl")) for option in options):
            continue
        topics = [topic for topic in options.get("topic", "").split(";") if topic]
        wanted[options.get("properties.bootstrap.servers", "")] += [(topic, statement) for topic in topics]
    problems = []
    for brokers, needs in wanted.items():
        if not brokers:
            continue
        wait_for_broker(brokers, timeout_s=10.0)
        known = _topics(brokers)
        for topic, statement in needs:
            if topic not in known:
                remedy = "Create it, or correct 'topic'."
                problems.append(Problem(statement.where, f"topic '{topic}' does not exist at {brokers}.", remedy))
    if problems:
        raise ConfigError(problems)


def _topics(brokers: str) -> set[str]:
    from kafka import KafkaAdminClient

    with open_client(KafkaAdminClient, brokers, {}) as client:
        return set(client.list_topics())

"""Flink DDL derived from the wire contract, so that a table and its topic cannot disagree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.wire import schema

__all__ = ["create_table", "quote_name", "quote_text", "topic"]

_SQL = {"string": "STRING", "bytes": "BYTES", "int": "INT", "long": "BIGINT", "double": "DOUBLE"}
_GUARANTEES = ("none", "at-least-once", "exactly-once")
_STARTS = ("earliest-offset", "latest-offset", "group-offsets")
_MAX_TOPIC = 249
_TRANSACTION_TIMEOUT_MS = 900_000
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")


def topic(app: str, name: str) -> str:
    """Return the topic of a schema: ``<app>.<name>.v1``; an incompatible schema would be a new topic.

    Raises
    ------
    ConfigError
        Kafka would refuse the topic's name.

    Examples
    --------
    >>> topic("flights", "prediction")
    'flights.prediction.v1'
    """
    full = f"{app}.{name}.v1"
    if (
        not app
        or len(full) > _MAX_TOPIC
        or not all(sign.isascii() and (sign.isalnum() or sign in "._-") for sign in full)
    ):
        what = "it is empty, too long, or has characters that a Kafka topic cannot have."
        raise ConfigError([Problem(f"application '{app}'", what, "Use letters, digits, '.', '_' and '-'.")])
    return full


def create_table(
    name: str,
    schema_name: str,
    topic: str,
    brokers: str,
    *,
    guarantee: str = "at-least-once",
    transactional_id_prefix: str = "",
    start: str = "earliest-offset",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Return a ``CREATE TABLE`` for a topic of the wire contract, columns and nullability as in its schema.

    Snapshots carry their first field as the key of their record, for compaction. The table is a plain one all the same:
    Flink's ``upsert-kafka`` asks every insert what to do on conflict, and holds the whole history to answer.

    Parameters
    ----------
    name : str
        Name of the table; quoted.
    schema_name : str
        One of ``wire.SCHEMAS``.
    topic : str
        The Kafka topic.
    brokers : str
        ``host:port``, comma separated.
    guarantee : str
        Of the sink: ``none``, ``at-least-once`` or ``exactly-once``. The last makes readers on ``read_committed``
        wait for each checkpoint, and the broker must allow its transaction timeout.
    transactional_id_prefix : str
        Needed for ``exactly-once``, and different for each sink of a cluster.
    start : str
        Where a new reader starts: ``earliest-offset``, ``latest-offset`` or ``group-offsets``.
    extra : mapping of str to str, optional
        More table options, for instance ``properties.security.protocol``; they win over the derived ones.

    Raises
    ------
    ConfigError
        Lists everything that contradicts.

    Examples
    --------
    >>> print(create_table("labels", "label", "flights.label.v1", "127.0.0.1:9092"))
    CREATE TABLE `labels` (
      `event_id` STRING NOT NULL,
      `label_time_ms` BIGINT NOT NULL,
      `label` STRING NOT NULL
    ) WITH (
      'connector' = 'kafka',
      'topic' = 'flights.label.v1',
      'properties.bootstrap.servers' = '127.0.0.1:9092',
      'scan.startup.mode' = 'earliest-offset',
      'format' = 'avro',
      'sink.delivery-guarantee' = 'at-least-once'
    )
    """
    _check(name, guarantee, transactional_id_prefix, start)
    fields = schema(schema_name)["fields"]
    columns = [f"{quote_name(field['name'])} {_sql_type(field['type'])}" for field in fields]
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": brokers,
        "scan.startup.mode": start,
    }
    if schema_name == "snapshot":
        options |= {"key.format": "raw", "key.fields": fields[0]["name"], "value.format": "avro"}
    else:
        options["format"] = "avro"
    options["sink.delivery-guarantee"] = guarantee
    if guarantee == "exactly-once":
        # Flink asks for an hour by default, and a broker with default settings refuses more than 15 minutes.
        options |= {
            "sink.transactional-id-prefix": transactional_id_prefix,
            "properties.transaction.timeout.ms": str(_TRANSACTION_TIMEOUT_MS),
        }
    options |= extra or {}
    body = ",\n  ".join(columns)
    settings = ",\n  ".join(f"{quote_text(key)} = {quote_text(value)}" for key, value in options.items())
    return f"CREATE TABLE {quote_name(name)} (\n  {body}\n) WITH (\n  {settings}\n)"


def quote_name(name: str) -> str:
    """Return a SQL identifier in backticks.

    Examples
    --------
    >>> quote_name("odd`name")
    '`odd``name`'
    """
    return "`" + name.replace("`", "``") + "`"


def quote_text(text: str) -> str:
    """Return a SQL string literal: a quote inside cannot end it, and Flink knows no other escapes in it.

    Examples
    --------
    >>> print(quote_text("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"


def _check(name: str, guarantee: str, prefix: str, start: str) -> None:
    where, problems = f"table '{name}'", []
    for option, value, allowed in (("guarantee", guarantee, _GUARANTEES), ("start", start, _STARTS)):
        if value not in allowed:
            problems.append(Problem(f"{where}, '{option}'", f"'{value}' is unknown.", f"Use {', '.join(allowed)}."))
    if guarantee == "exactly-once" and not prefix:
        what = "exactly-once writes in transactions, which need a name."
        problems.append(Problem(where, what, "Give 'transactional_id_prefix', another one for each sink."))
    if problems:
        raise ConfigError(problems)


def _sql_type(avro: Any) -> str:
    if isinstance(avro, list):
        return _sql_type(avro[1]).removesuffix(" NOT NULL")
    if isinstance(avro, dict):
        return f"MAP<STRING NOT NULL, {_sql_type(avro['values'])}> NOT NULL"
    return f"{_SQL[avro]} NOT NULL"

"""The DDL's text; that Flink understands it is in test_ddl_flink.py."""

from __future__ import annotations

import re

import pytest
from thalweg.connector.ddl import create_table, quote_text, topic
from thalweg.connector.errors import ConfigError
from thalweg.connector.wire import SCHEMAS, schema


@pytest.mark.parametrize("name", SCHEMAS)
def test_columns_are_the_fields_in_order_and_null_where_the_schema_is(name: str) -> None:
    lines = create_table("t", name, "topic", "b:1").split("\n")[1:]
    for line, field in zip(lines, schema(name)["fields"], strict=False):
        assert line.strip().startswith(f"`{field['name']}` ")
        assert ("NOT NULL" in re.sub("<.*>", "", line.split("`")[2])) != isinstance(field["type"], list)


def test_prediction_has_a_map_without_nulls_that_may_itself_be_null() -> None:
    text = create_table("p", "prediction", "app.prediction.v1", "b:1")
    assert "`probabilities` MAP<STRING NOT NULL, DOUBLE NOT NULL>,\n" in text


def test_snapshot_is_always_keyed() -> None:
    text = create_table("s", "snapshot", "app.snapshot.v1", "b:1")
    assert "'connector' = 'kafka'" in text
    assert "'key.fields' = 'snapshot_key'" in text
    assert "'key.format' = 'raw'" in text
    assert "'value.format' = 'avro'" in text


def test_options_are_quoted_and_extra_wins() -> None:
    extra = {"properties.sasl.jaas.config": "x required password='a''b\\';", "topic": "other"}
    text = create_table("t`; DROP TABLE x", "label", "t", "b:1", extra=extra)
    assert text.startswith("CREATE TABLE `t``; DROP TABLE x` (")
    assert "'properties.sasl.jaas.config' = 'x required password=''a''''b\\'';'" in text
    assert text.count("'topic' =") == 1
    assert "'topic' = 'other'" in text
    assert quote_text("'") == "''''"


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        create_table("t", "label", "t", "b:1", guarantee="twice", start="yesterday")
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="transactions, which need a name"):
        create_table("t", "label", "t", "b:1", guarantee="exactly-once")
    text = create_table("t", "label", "t", "b:1", guarantee="exactly-once", transactional_id_prefix="app")
    assert "'sink.transactional-id-prefix' = 'app'" in text


def test_a_transaction_lives_as_long_as_a_broker_allows_and_outlives_a_restart() -> None:
    text = create_table("t", "label", "t", "b:1", guarantee="exactly-once", transactional_id_prefix="app")
    (timeout_ms,) = map(int, re.findall(r"'properties.transaction.timeout.ms' = '(\d+)'", text))
    assert 300_000 <= timeout_ms <= 900_000  # Kafka's transaction.max.timeout.ms; Flink asks for an hour by itself
    assert "transaction" not in create_table("t", "label", "t", "b:1")


@pytest.mark.parametrize("app", ["", "a b", "é", "a" * 250, "a/b"])
def test_a_topic_that_kafka_would_refuse_is_refused(app: str) -> None:
    with pytest.raises(ConfigError, match="application"):
        topic(app, "label")

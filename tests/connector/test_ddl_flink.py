"""Flink itself reads our bytes through the derived DDL, writes bytes that we read, and derives the same schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from test_wire import golden
from test_wire_rows import EMPTY, FLIGHT, FULL
from thalweg.connector.client import raw_records
from thalweg.connector.ddl import create_table
from thalweg.connector.errors import SetupError
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import SCHEMAS, decode, decoder, encoder, sql_schema
from wire_records import RECORDS

pytestmark = pytest.mark.cluster
JARS = sorted((Path(__file__).parents[2] / ".thalweg" / "jars" / "job").glob("*.jar"))
TYPES = [
    ("a", "ROW<x INT, y STRING NOT NULL, z ROW<q BIGINT NOT NULL>>", True),
    ("b", "ARRAY<ARRAY<ROW<x INT NOT NULL> NOT NULL>>", True),
    ("c", "MAP<STRING, ROW<`y` INT>>", False),
    ("d", "DECIMAL(10, 2)", False),
    ("e", "TIMESTAMP(3)", True),
    ("f", "DATE", False),
    ("g", "TIME(3)", True),
    ("h", "TINYINT", True),
    ("i", "BINARY(3)", True),
    ("j", "CHAR(2)", False),
    ("k", "DECIMAL", True),
    ("l", "TIMESTAMP(0)", True),
    ("m", "MAP<STRING NOT NULL, DOUBLE NOT NULL>", True),
]


@pytest.fixture(scope="module")
def flink() -> Any:
    if not JARS:
        from conftest import lacking

        lacking(str(SetupError("The Flink jars are not there: run 'make jars'.")))
    from pyflink.java_gateway import get_gateway
    from pyflink.table import EnvironmentSettings, TableEnvironment
    from pyflink.util.java_utils import add_jars_to_context_class_loader

    get_gateway()
    urls = [jar.as_uri() for jar in JARS]
    add_jars_to_context_class_loader(urls)
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    environment.get_config().set("pipeline.jars", ";".join(urls))
    environment.get_config().set("parallelism.default", "1")
    return environment


def columns_sql(columns: list[tuple[str, str, bool]]) -> str:
    return ", ".join(f"`{name}` {kind}{'' if nullable else ' NOT NULL'}" for name, kind, nullable in columns)


@pytest.mark.parametrize("columns", [FLIGHT, TYPES])
def test_flink_derives_the_same_schema(flink: Any, columns: list[tuple[str, str, bool]]) -> None:
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    flink.execute_sql("DROP TEMPORARY TABLE IF EXISTS derived")
    flink.execute_sql(f"CREATE TEMPORARY TABLE derived ({columns_sql(columns)}) WITH ('connector' = 'datagen')")
    resolved = flink.from_path("derived")._j_table.getResolvedSchema()
    kind = resolved.toPhysicalRowDataType().getLogicalType()
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    converter = jvm.java.lang.Class.forName("org.apache.flink.formats.avro.typeutils.AvroSchemaConverter", True, loader)
    (method,) = (
        method
        for method in converter.getMethods()
        if method.getName() == "convertToSchema" and method.toString().endswith(".LogicalType)")
    )
    arguments = get_gateway().new_array(jvm.java.lang.Object, 1)
    arguments[0] = kind
    assert json.loads(method.invoke(None, arguments).toString()) == short_names(sql_schema(columns))


def short_names(avro: Any) -> Any:
    """Write names as Java prints them: the namespace once, at the outermost record."""
    if isinstance(avro, list):
        return [short_names(part) for part in avro]
    if not isinstance(avro, dict):
        return avro
    changed = {name: short_names(part) for name, part in avro.items()}
    if avro.get("type") == "record":
        space, changed["name"] = avro["name"].rsplit(".", 1)
        if changed["name"] == "record":
            changed["namespace"] = space
    return changed


def test_flink_copies_golden_bytes_and_customers_rows_byte_by_byte(flink: Any, broker: str, topic_name: str) -> None:
    """Golden bytes (nulls everywhere in the second) go in; Flink reads and writes them; the same bytes come out."""
    expected = {name: golden(name) for name in SCHEMAS}
    expected["customer"] = [encoder(FLIGHT)(row) for row in (FULL, EMPTY)]
    topics = {name: f"{topic_name}.{name}" for name in expected}
    create_topics(broker, {f"{topic}.{end}": {} for topic in topics.values() for end in ("in", "out")})
    producer = KafkaProducer(bootstrap_servers=[broker])
    for name, raws in expected.items():
        for raw, record in zip(raws, RECORDS.get(name, [{}, {}]), strict=True):
            key = record.get("snapshot_key", "").encode() or None
            producer.send(f"{topics[name]}.in", raw, key=key).get(timeout=30)
    producer.close()
    bounded = {"scan.bounded.mode": "latest-offset"}
    statements = flink.create_statement_set()
    for name, topic in topics.items():
        for end, extra in (("in", bounded), ("out", {})):
            if name == "customer":
                label = create_table(f"{name}_{end}", "label", f"{topic}.{end}", broker, extra=extra)
                flink.execute_sql(f"CREATE TABLE {name}_{end} ({columns_sql(FLIGHT)}) {label[label.index('WITH (') :]}")
            else:
                flink.execute_sql(create_table(f"{name}_{end}", name, f"{topic}.{end}", broker, extra=extra))
        statements.add_insert_sql(f"INSERT INTO {name}_out SELECT * FROM {name}_in")
    statements.execute().wait(120_000)
    for name, topic in topics.items():
        records = list(raw_records(broker, f"{topic}.out", {}))
        assert [record.value for record in records] == expected[name], name
        if name == "snapshot":
            assert [record.key for record in records] == [b"delay/UA", b"delay/"]
    assert [decoder(FLIGHT)(raw) for raw in expected["customer"]] == [FULL, EMPTY]


def test_flink_writes_what_sql_says_and_we_read_it(flink: Any, broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {}})
    flink.execute_sql(create_table("written", "prediction", topic_name, broker))
    flink.execute_sql(
        "INSERT INTO written VALUES ('delay', '3', 'UA-1545', 'carrier=UA', 1357034400000, 0.75, 'true',"
        " MAP['Straße', CAST(0.25 AS DOUBLE)], 'ok', '', 12345),"
        " ('delay', '', CAST(NULL AS STRING), '', -1, CAST(NULL AS DOUBLE), CAST(NULL AS STRING),"
        " CAST(NULL AS MAP<STRING, DOUBLE>), 'not_ready', 'the model has not learned enough to answer', 0)"
    ).wait(120_000)
    read = [decode("prediction", record.value) for record in raw_records(broker, topic_name, {})]
    assert sorted(read, key=lambda record: record["learned"], reverse=True) == RECORDS["prediction"]

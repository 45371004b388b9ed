"""What trips others up between Avro, Kafka and its clients, held over the whole code base."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kafka
import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from thalweg.connector.wire import SCHEMAS, encoder, schema

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parents[2]
FOLDERS = ("connector", "udfs", "jobs")
COLUMNS = [("at", "TIMESTAMP(3)", False), ("day", "DATE", False)]
TO_PLAIN_TOPICS = {"demo_publish.py"}
"""Files that send events of customers, which need no key."""


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    yield path, node


def named(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def test_whatever_goes_into_a_topic_that_may_be_compacted_has_a_key() -> None:
    """C76: a snapshot without a key is refused by a compacted topic, again and again."""
    sends = [
        (path, call)
        for path, call in calls()
        if named(call.func) == "send" and "producer" in ast.unparse(call.func).lower()
    ]
    assert len(sends) > 5
    without = {path.name for path, call in sends if "key" not in {keyword.arg for keyword in call.keywords}}
    assert without <= TO_PLAIN_TOPICS


def test_no_reader_shares_a_group() -> None:
    """C80: workers with one group id would hear of a new model one at a time."""
    opened = [(path.name, call) for path, call in calls() if "KafkaConsumer" in map(named, (call.func, *call.args))]
    assert {name for name, _ in opened} <= {"client.py", "preflight.py"}
    groups = [keyword for _, call in calls() for keyword in call.keywords if keyword.arg == "group_id"]
    assert all(isinstance(keyword.value, ast.Constant) and keyword.value.value is None for keyword in groups)
    text = (ROOT / "connector" / "client.py").read_text("utf-8")
    assert '"group_id": None' in text
    assert '"auto_offset_reset": "earliest"' in text


def test_clients_are_opened_in_one_place_that_tells_their_errors() -> None:
    """C78: kafka-python 3 has other exceptions than 2, and its texts may hold settings."""
    kinds = {"KafkaConsumer", "KafkaProducer", "KafkaAdminClient"}
    direct = {path.name for path, call in calls() if named(call.func) in kinds}
    assert not direct, "open_client of connector/client.py opens clients"
    weakened = [keyword.arg for _, call in calls() for keyword in call.keywords if keyword.arg in ("acks",)]
    assert not weakened, "the client's own default is acks=all with idempotence"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is there from Python 3.11 on")
def test_the_client_is_new_enough_and_of_the_known_major_version() -> None:
    """C78: versions of 3.0 before 3.0.7 leaked timers and spun."""
    wanted = [
        Requirement(text)
        for text in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
        if text.startswith("kafka-python")
    ]
    (only,) = wanted
    for refused in ("2.0.2", "2.3.0", "3.0.0", "3.0.6", "4.0.0"):
        assert refused not in only.specifier
    assert Version(kafka.__version__) in only.specifier


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_times_do_not_depend_on_the_zone_of_the_machine(zone: str) -> None:
    """C70, C71: fastavro takes a naive datetime for local time; here times are integers on both sides."""
    code = """
import json, sys, time
from thalweg.connector.wire import decoder, encoder
time.tzset()
columns = json.loads(sys.argv[1])
row = {"at": 1_700_000_000_123, "day": 19_675}
raw = encoder(columns)(row)
text = b'{"at": "2023-11-14 22:13:20.123", "day": "2023-11-14"}'
print(json.dumps([raw.hex(), decoder(columns)(raw), decoder(columns, "json")(text)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(COLUMNS)],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    raw, avro, text = json.loads(done.stdout)
    assert raw == encoder(COLUMNS)({"at": 1_700_000_000_123, "day": 19_675}).hex()
    assert avro == text == {"at": 1_700_000_000_123, "day": 19_675}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_contract_has_no_logical_types_and_no_nulls_that_are_not_said(name: str) -> None:
    """C70, C74: times are plain longs, and the record has a name of its own."""
    parsed = schema(name)
    assert "logicalType" not in json.dumps(parsed)
    assert f"{parsed['namespace']}.{parsed['name']}" == f"io.thalweg.v1.{name}"
    times = {field["name"]: field["type"] for field in parsed["fields"] if field["name"].endswith("_ms")}
    assert set(map(str, times.values())) <= {"long"}

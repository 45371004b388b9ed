"""Everything bad that a stream can hold, in one job in the order of arrival; and the job goes on.

Then the table is declared as its records are, and what was refused comes back.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaProducer
from streams import kafka_table, result_tables, results, run
from thalweg.connector.client import raw_records
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encoder
from thalweg.jobs.cli import main

pytestmark = pytest.mark.cluster
COLUMNS = (("id", "STRING", True), ("a", "DOUBLE", True), ("kind", "STRING", True), ("y", "BOOLEAN", True))
WIDER = (*COLUMNS, ("extra", "STRING", True))  # what some producers write already
MODEL = (
    "compose.Select(''a'') | preprocessing.StandardScaler() | linear_model.LogisticRegression()"  # doubled: in SQL text
)
START_MS = 1_700_000_000_000


def run_model(broker: str, columns: str, prefix: str, begin: int = 0) -> dict[str, list[dict[str, Any]]]:
    table = kafka_table("events", columns, "bad.events", broker, "avro").replace(
        "'earliest-offset'", f"'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:{begin}'"
    )
    run(
        table + "CREATE MODEL m INPUT (a DOUBLE, kind STRING) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
        f" 'model' = '{MODEL}', 'input-table' = 'events', 'event-id' = 'id', 'label' = 'y', 'order' = 'arrival',"
        " 'metrics-every' = '10 events');\n"
        + result_tables(broker, prefix)
        + "".join(
            f"INSERT INTO {table} SELECT * FROM m_{table};\n" for table in ("predictions", "metrics", "snapshots")
        )
        + "INSERT INTO dead_letters SELECT * FROM m_dead_letters UNION ALL SELECT * FROM events_dead_letters;\n",
        profile="latency",
    )
    return results(broker, prefix)


@pytest.fixture(scope="module")
def found(broker: str) -> dict[str, list[dict[str, Any]]]:
    encode, wider = encoder(COLUMNS), encoder(WIDER)
    good = [encode({"id": f"g{n}", "a": float(n % 7), "kind": "x", "y": n % 7 > 3}) for n in range(200)]
    bad: list[bytes | None] = [
        good[0][:-3],  # cut short
        b"\x00\x00\x00\x00\x2a" + good[1],  # framed for a registry
        good[2] + b"\x00\x07",  # bytes left over
        b"",
        *(wider({"id": f"w{n}", "a": 1.5, "kind": "x", "y": True, "extra": None if n else "e"}) for n in range(4)),
        None,  # a tombstone
        encode({"id": "nan", "a": math.nan, "kind": "x", "y": True}),
        encode({"id": "inf", "a": math.inf, "kind": "x", "y": True}),
        encode({"id": "null", "a": None, "kind": "x", "y": True}),
        encode({"id": "unseen", "a": 2.0, "kind": "a kind never seen", "y": False}),
        encode({"id": "unlabelled", "a": 2.0, "kind": "x", "y": None}),
        encode({"id": None, "a": 2.0, "kind": "x", "y": True}),
    ]
    create_topics(broker, {"bad.events": {}})
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=50)
    for n, value in enumerate([*good[:100], *bad, *good[100:]]):
        headers = [("trace", b"\xff%d" % n), ("none", b"")] if n % 2 else []
        key = None if n % 3 and value is not None else b"\0\xff%d" % n
        producer.send("bad.events", value, key=key, headers=headers, timestamp_ms=START_MS + n * 1000)
    producer.close()
    return run_model(broker, "id STRING, a DOUBLE, kind STRING, y BOOLEAN", "bad")


def test_every_record_that_can_be_read_is_answered_once(found: dict[str, list[dict[str, Any]]]) -> None:
    ids = [p["event_id"] for p in found["predictions"]]
    assert sorted(map(str, ids)) == sorted(
        [*(f"g{n}" for n in range(200)), "nan", "inf", "null", "unseen", "unlabelled", "None"]
    )


def test_no_answer_is_made_up(found: dict[str, list[dict[str, Any]]]) -> None:
    by_id = {p["event_id"]: p for p in found["predictions"]}
    for name in ("nan", "inf", "null"):
        assert by_id[name]["status"] == "refused", name
        assert by_id[name]["score"] is None
        assert "'a'" in by_id[name]["reason"]
    for p in found["predictions"]:
        assert (p["score"] is not None) == (p["status"] == "ok")
        assert p["score"] is None or 0 <= p["score"] <= 1
    assert by_id["g0"]["status"] == "not_ready"
    assert by_id["unseen"]["status"] == by_id["unlabelled"]["status"] == "ok"


def test_what_cannot_be_decoded_or_learned_is_a_dead_letter(found: dict[str, list[dict[str, Any]]]) -> None:
    decode = [d for d in found["dead_letters"] if d["stage"] == "decode"]
    assert sorted(d["offset"] for d in decode) == list(range(100, 108))
    assert all(d["reason"] and d["payload"] is not None for d in decode)
    for d in decode:
        n = d["offset"]
        assert d["key"] == (None if n % 3 else b"\0\xff%d" % n)
        assert d["headers"] == ({"trace": b"\xff%d" % n, "none": b""} if n % 2 else {})
    learn = {d["key"]: d["reason"] for d in found["dead_letters"] if d["stage"] == "learn"}
    assert set(learn) == {b"nan", b"inf", b"null"}


def test_the_job_went_on_and_learned_the_rest(found: dict[str, list[dict[str, Any]]]) -> None:
    assert max(p["learned"] for p in found["predictions"]) >= 200
    newest = {m["metric"]: m["value"] for m in found["metrics"] if m["window"] == "cumulative"}
    assert newest["labels_matched"] >= 195
    assert newest["ROCAUC"] > 0.9


def test_what_was_refused_is_replayed_and_learned_once(broker: str, found: dict[str, list[dict[str, Any]]]) -> None:
    def call(*words: str) -> Any:
        command = ["dead-letters", words[0], "--topic", "bad.dead_letters", "--brokers", broker, "--json", *words[1:]]
        return json.loads(CliRunner().invoke(main, command, catch_exceptions=False).stdout)

    before = list(raw_records(broker, "bad.events", {}))
    listed = call("list", "--reason", "The record")
    assert {(row["offset"], row["state"]) for row in listed["letters"]} == {(n, "new") for n in range(100, 108)}
    assert call("replay", "--yes")["sent"] == 8
    assert call("replay", "--yes")["sent"] == 0  # a model's examples are no records, and never go
    copies = list(raw_records(broker, "bad.events", {}))[len(before) :]
    told = ("value", "key", "timestamp", "partition")
    assert [[getattr(c, part) for part in told] for c in copies] == [
        [getattr(r, part) for part in told] for r in before[100:108]
    ]
    assert [[h for h in c.headers if h[0] != "thalweg-replayed-from"] for c in copies] == [
        r.headers for r in before[100:108]
    ]

    repaired = "id STRING, a DOUBLE, kind STRING, y BOOLEAN, extra STRING"
    after = run_model(broker, repaired, "mended", begin=copies[0].offset)
    assert [p["event_id"] for p in after["predictions"]] == ["w0", "w1", "w2", "w3"]
    assert [p["learned"] for p in after["predictions"]] == [0, 1, 2, 3]
    # The others are refused as before: their letters name the records that they were replayed from.
    again = after["dead_letters"]
    assert [d["headers"]["thalweg-replayed-from"].split(b"/")[2] for d in again] == [b"100", b"101", b"102", b"103"]

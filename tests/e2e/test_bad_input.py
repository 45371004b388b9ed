"""Everything bad that a stream can hold, in one job in the order of arrival; and the job goes on."""

from __future__ import annotations

import math
from typing import Any

import pytest
from streams import kafka_table, publish, result_tables, results, run
from thalweg.connector.wire import encoder

pytestmark = pytest.mark.cluster
COLUMNS = (("id", "STRING", True), ("a", "DOUBLE", True), ("kind", "STRING", True), ("y", "BOOLEAN", True))
MODEL = (
    "compose.Select(''a'') | preprocessing.StandardScaler() | linear_model.LogisticRegression()"  # doubled: in SQL text
)
START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def found(broker: str) -> dict[str, list[dict[str, Any]]]:
    encode = encoder(COLUMNS)
    good = [encode({"id": f"g{n}", "a": float(n % 7), "kind": "x", "y": n % 7 > 3}) for n in range(200)]
    bad: list[bytes | None] = [
        good[0][:-3],  # cut short
        b"\x00\x00\x00\x00\x2a" + good[1],  # framed for a registry
        good[2] + b"\x00",  # bytes left over
        b"",
        None,  # a tombstone
        encode({"id": "nan", "a": math.nan, "kind": "x", "y": True}),
        encode({"id": "inf", "a": math.inf, "kind": "x", "y": True}),
        encode({"id": "null", "a": None, "kind": "x", "y": True}),
        encode({"id": "unseen", "a": 2.0, "kind": "a kind never seen", "y": False}),
        encode({"id": "unlabelled", "a": 2.0, "kind": "x", "y": None}),
        encode({"id": None, "a": 2.0, "kind": "x", "y": True}),
    ]
    records = [(value, START_MS + n * 1000) for n, value in enumerate([*good[:100], *bad, *good[100:]])]
    publish(broker, "bad.events", records)
    run(
        kafka_table("events", "id STRING, a DOUBLE, kind STRING, y BOOLEAN", "bad.events", broker, "avro")
        + "CREATE MODEL m INPUT (a DOUBLE, kind STRING) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
        f" 'model' = '{MODEL}', 'input-table' = 'events', 'event-id' = 'id', 'label' = 'y', 'order' = 'arrival',"
        " 'metrics-every' = '10 events');\n"
        + result_tables(broker, "bad")
        + "".join(
            f"INSERT INTO {table} SELECT * FROM m_{table};\n" for table in ("predictions", "metrics", "snapshots")
        )
        + "INSERT INTO dead_letters SELECT * FROM m_dead_letters UNION ALL SELECT * FROM events_dead_letters;\n",
        profile="latency",
    )
    return results(broker, "bad")


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
    assert sorted(d["offset"] for d in decode) == [100, 101, 102, 103]
    assert all(d["reason"] and d["payload"] is not None for d in decode)
    learn = {d["key"]: d["reason"] for d in found["dead_letters"] if d["stage"] == "learn"}
    assert set(learn) == {b"nan", b"inf", b"null"}


def test_the_job_went_on_and_learned_the_rest(found: dict[str, list[dict[str, Any]]]) -> None:
    assert max(p["learned"] for p in found["predictions"]) >= 200
    newest = {m["metric"]: m["value"] for m in found["metrics"] if m["window"] == "cumulative"}
    assert newest["labels_matched"] >= 195
    assert newest["ROCAUC"] > 0.9

"""The whole flow on a real broker and a real Flink, held to a plain River loop; at any parallelism, across a crash."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster import python_workers
from scenario import MODEL, TIMEOUT_MS, WITH_COLOUR, Loop, make_stream
from streams import RESULTS, as_json, kafka_table, publish, result_tables, results, run, send, start
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.wire import encoder
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import EngineSpec

pytestmark = pytest.mark.cluster
ROWS = 4000
MALFORMED = 5
EVENT_COLUMNS = "id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE, colour STRING"
LABEL_COLUMNS = (("id", "STRING", True), ("y", "BOOLEAN", True))


Records = list[tuple[bytes | None, int]]


def make_records() -> dict[str, Records]:
    """Events in JSON and labels in Avro, with malformed records and tombstones among them."""
    events, labels = make_stream(ROWS)
    columns = ("id", "k", "a", "b", "c", "colour")
    records: Records = [(as_json({name: getattr(event, name) for name in columns}), event.ms) for event in events]
    for n in range(MALFORMED):
        records.insert(300 * (n + 1), (b'{"id": "broken', records[300 * (n + 1)][1]))
        records.insert(310 * (n + 1), (None, records[310 * (n + 1)][1]))
    encode = encoder(LABEL_COLUMNS)
    return {"events": records, "labels": [(encode({"id": x.id, "y": x.y}), x.ms) for x in labels]}


@pytest.fixture(scope="module")
def topics(broker: str) -> dict[str, str]:
    """The records in two partitions each."""
    for seed, (name, records) in enumerate(make_records().items()):
        publish(broker, f"flow.{name}", records, partitions=2, seed=seed)
    return {"events": "flow.events", "labels": "flow.labels"}


def script(
    broker: str,
    topics: dict[str, str],
    prefix: str,
    guarantee: str = "at-least-once",
    ends: dict[str, list[int]] | None = None,
) -> str:
    ends = ends or {}
    options = (
        f"'provider' = 'river', 'input-table' = 'events', 'event-id' = 'id', 'label-table' = 'labels', 'label' = 'y',"
        f" 'label-timeout' = '{TIMEOUT_MS} ms', 'snapshot-every' = '10 min', 'metrics-every' = '10 min'"
    )
    # One insert per table: two sinks with one transactional id would end each other's transactions.
    views = {table: [f"SELECT * FROM {model}_{table}" for model in ("keyed", "shared")] for table in RESULTS}
    views["dead_letters"].append("SELECT * FROM events_dead_letters")
    inserts = [f"INSERT INTO {table} {' UNION ALL '.join(selects)};\n" for table, selects in views.items()]
    return (
        kafka_table("events", EVENT_COLUMNS, topics["events"], broker, ends=ends.get("events"))
        + kafka_table("labels", "id STRING, y BOOLEAN", topics["labels"], broker, "avro", ends=ends.get("labels"))
        + "CREATE MODEL keyed INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH"
        f" ({options}, 'model' = '{MODEL}', 'key' = 'k');\n"
        "CREATE MODEL shared INPUT (a DOUBLE, b DOUBLE, c DOUBLE, colour STRING) OUTPUT (y BOOLEAN) WITH"
        f" ({options}, 'model' = '{WITH_COLOUR.replace(chr(39), chr(39) * 2)}');\n"
        + result_tables(broker, prefix, guarantee)
        + "".join(inserts)
    )


@pytest.fixture(scope="module")
def once(broker: str, topics: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """What comes out at parallelism 1, undisturbed."""
    run(script(broker, topics, "once"))
    return results(broker, "once")


def answers(found: dict[str, list[dict[str, Any]]], model: str) -> Counter[tuple[Any, ...]]:
    return Counter(
        (p["event_id"], p["key"], p["score"], p["learned"], p["status"])
        for p in found["predictions"]
        if p["model"] == model
    )


def newest_models(broker: str, prefix: str) -> dict[tuple[str, str], tuple[int, bytes]]:
    latest = SnapshotTopic(broker, f"{prefix}.snapshots").latest()
    return {name: (snapshot.version, snapshot.blob) for name, snapshot in latest.items()}


@pytest.mark.parametrize(("model", "text", "keyed"), [("keyed", MODEL, True), ("shared", WITH_COLOUR, False)])
def test_predictions_equal_a_plain_river_loop(
    once: dict[str, list[dict[str, Any]]], model: str, text: str, keyed: bool
) -> None:
    loop = Loop(*make_stream(ROWS), text, keyed)
    assert answers(once, model) == Counter((event, *answer) for event, answer in loop.answers)


@pytest.mark.parametrize(("model", "text", "keyed"), [("keyed", MODEL, True), ("shared", WITH_COLOUR, False)])
def test_the_books_balance(once: dict[str, list[dict[str, Any]]], model: str, text: str, keyed: bool) -> None:
    events, labels = make_stream(ROWS)
    loop = Loop(events, labels, text, keyed)
    rows = [m for m in once["metrics"] if m["model"] == model and m["window"] == "cumulative"]
    newest = {m["metric"]: m["value"] for m in sorted(rows, key=lambda m: m["event_time_ms"])}
    assert newest["labels_matched"] == loop.matched
    assert newest["labels_duplicate"] == loop.duplicate
    assert newest["labels_unknown"] == loop.unknown
    assert newest["labels_late"] == loop.late
    assert newest["events"] == len({event.id for event in events})
    assert newest["events"] == newest["labels_matched"] + newest["labels_expired"] + newest["labels_pending"]
    refused = [d for d in once["dead_letters"] if d["model"] == model and d["stage"] == "learn"]
    assert len(refused) == loop.refused


def test_malformed_records_are_kept_and_tombstones_pass(once: dict[str, list[dict[str, Any]]]) -> None:
    broken = [d for d in once["dead_letters"] if d["stage"] == "decode"]
    assert len(broken) == MALFORMED
    assert {d["payload"] for d in broken} == {b'{"id": "broken'}
    assert {d["topic"] for d in broken} == {"flow.events"}
    assert len({(d["partition"], d["offset"]) for d in broken}) == MALFORMED
    assert all(d["reason"] and d["record_time_ms"] > 1_700_000_000_000 for d in broken)


def test_a_snapshot_is_the_model_of_the_plain_loop(broker: str, once: dict[str, list[dict[str, Any]]]) -> None:
    loop = Loop(*make_stream(ROWS), MODEL, True)
    for (model, key), snapshot in SnapshotTopic(broker, "once.snapshots").latest().items():
        if model == "keyed":
            engine: Any = restore(EngineSpec.from_json(snapshot.spec), snapshot.blob)
            assert engine.learned == snapshot.version == loop.learned[key]
            assert dict(engine.model["LogisticRegression"].weights) == dict(
                loop.models[key]["LogisticRegression"].weights
            )


def test_parallelism_2_and_a_cache_of_one_model_change_nothing(
    broker: str, topics: dict[str, str], once: dict[str, list[dict[str, Any]]]
) -> None:
    settings = {
        "python.state.cache-size": "1",
        "python.map-state.read-cache-size": "1",
        "python.map-state.write-cache-size": "1",
    }
    prefix = "twice"
    run(script(broker, topics, prefix), settings, parallelism=2, profile="latency")
    found = results(broker, prefix)
    for model in ("keyed", "shared"):
        assert answers(found, model) == answers(once, model)
    assert newest_models(broker, prefix) == newest_models(broker, "once")
    metrics = [sorted(map(str, side["metrics"])) for side in (found, once)]
    assert metrics[0] == metrics[1]


def test_a_killed_python_worker_changes_nothing(
    broker: str, once: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Both topics end where they have not come to yet, so the job cannot end before its workers are killed."""
    settings = {
        "execution.checkpointing.interval": "300 ms",
        "execution.checkpointing.min-pause": "100 ms",
        "execution.checkpointing.dir": tmp_path.as_uri(),
        "table.exec.source.idle-timeout": "0 ms",
        "python.fn-execution.bundle.time": "20",
        "python.fn-execution.bundle.size": "50",
        "python.fn-execution.arrow.batch.size": "50",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "3",
        "restart-strategy.fixed-delay.delay": "100 ms",
    }
    records = make_records()
    names = {name: f"flow.crash.{name}" for name in records}
    create_topics(broker, {topic: {"partitions": 2} for topic in names.values()})
    ends = {name: [-(-len(rows) // 2), len(rows) // 2] for name, rows in records.items()}

    def send_until(start: float, stop: float) -> None:
        for name, rows in records.items():
            # An even number of records keeps the turns of the partitions.
            first, last = (int(len(rows) * part) // 2 * 2 if part < 1 else len(rows) for part in (start, stop))
            send(broker, names[name], rows[first:last], partitions=2)

    send_until(0, 0.5)
    client = start(script(broker, names, "crash", "exactly-once", ends), settings, profile="latency")
    ended = client.get_job_execution_result()
    deadline = time.monotonic() + 120
    wanted = 0
    # Both models are evaluated while the stream goes on, and a checkpoint that was begun after that is complete.
    while not wanted or newest_checkpoint(tmp_path) < wanted:
        assert not ended.done(), ended.result()
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.05)
        if not wanted and {m["model"] for m in results(broker, "crash", ["metrics"])["metrics"]} == {"keyed", "shared"}:
            wanted = newest_checkpoint(tmp_path) + 2
    killed = python_workers()
    assert killed
    send_until(0.5, 0.75)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    send_until(0.75, 1)
    ended.result()
    found = results(broker, "crash")
    for model in ("keyed", "shared"):
        assert answers(found, model) == answers(once, model)
    assert newest_models(broker, "crash") == newest_models(broker, "once")


def newest_checkpoint(folder: Path) -> int:
    return max((int(path.parent.name[4:]) for path in folder.glob("*/chk-*/_metadata")), default=0)

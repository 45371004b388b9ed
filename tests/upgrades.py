"""Savepoints of released versions, in ``golden/savepoint-VERSION``, and the stream in whose middle they were made.

    python tests/upgrades.py

makes the one of this version: it stops a running job in the middle of the stream. ``_metadata.xz`` is Flink's
savepoint, canonical and in one file; ``job.sql`` is the job as it was submitted, ``${brokers}`` aside.
``tests/e2e/test_upgrade.py`` lets each of them go on to the end of the stream.
"""

from __future__ import annotations

import lzma
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyflink.java_gateway import get_gateway
from scenario import MODEL, TIMEOUT_MS, make_stream
from streams import as_json, kafka_table, result_tables, results, send, start
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encoder
from thalweg.jobs.broker import Broker

GOLDEN = Path(__file__).resolve().parent / "golden"

EVENTS, HALF = 400, 200
VIEWS = ("predictions", "metrics", "snapshots")
_EVENTS = "id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE, colour STRING"
_COLUMNS = ("id", "k", "a", "b", "c", "colour")
_LATER_MS = 7_200_000
Records = list[tuple[bytes | None, int]]


def prefix(number: str) -> str:
    """Return what the topics of a version's job begin with: their names are in its savepoint."""
    return f"upgraded-{number}"


def stream() -> dict[str, Records]:
    """Return the records of both topics, in the order of their time; the last one lets all time pass."""
    events, labels = make_stream(EVENTS)
    encode = encoder((("id", "STRING", True), ("y", "BOOLEAN", True)))
    end: Records = [(None, max(events[-1].ms, labels[-1].ms) + _LATER_MS)]
    return {
        "events": [(as_json({name: getattr(event, name) for name in _COLUMNS}), event.ms) for event in events] + end,
        "labels": [(encode({"id": x.id, "y": x.y}), x.ms) for x in labels] + end,
    }


def halves() -> tuple[dict[str, Records], dict[str, Records]]:
    """Return what is sent before the savepoint, and what after it."""
    whole = stream()
    middle = whole["events"][HALF][1]
    first = {name: [row for row in rows if row[1] < middle] for name, rows in whole.items()}
    return first, {name: rows[len(first[name]) :] for name, rows in whole.items()}


def script(brokers: str, number: str) -> str:
    """Return the job; its topics have to be there."""
    options = (
        f"'provider' = 'river', 'model' = '{MODEL}', 'key' = 'k', 'input-table' = 'events', 'event-id' = 'id',"
        f" 'label-table' = 'labels', 'label' = 'y', 'label-timeout' = '{TIMEOUT_MS} ms', 'snapshot-every' = '1 events',"
        " 'metrics-every' = '10 min'"
    )
    events = kafka_table("events", _EVENTS, f"{prefix(number)}.events", brokers, bounded=False)
    labels = kafka_table("labels", "id STRING, y BOOLEAN", f"{prefix(number)}.labels", brokers, "avro", bounded=False)
    return (
        "SET 'parallelism.default' = '1';\nSET 'state.backend.type' = 'hashmap';\n"
        + events
        + labels
        + f"CREATE MODEL keyed INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ({options});\n"
        + result_tables(brokers, prefix(number))
        + "".join(f"INSERT INTO {view} SELECT * FROM keyed_{view};\n" for view in VIEWS)
    )


def topics(brokers: str, number: str) -> None:
    """Create all topics of the job."""
    create_topics(brokers, {f"{prefix(number)}.{name}": {} for name in ("events", "labels")})
    result_tables(brokers, prefix(number))


def stopped(job: Any, folder: str) -> Path:
    """Stop a job, and return the folder of its savepoint."""
    # The wrapper of PyFlink 2.3 calls a method that Flink does not have any more.
    canonical = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
    return Path(job._j_job_client.stopWithSavepoint(False, folder, canonical).get().removeprefix("file:"))


def main() -> None:
    """Make the savepoint of the installed version."""
    number = version("thalweg")
    target = GOLDEN / f"savepoint-{number}"
    with tempfile.TemporaryDirectory() as scratch, Broker.start(Path(scratch) / "broker") as broker:
        brokers = broker.bootstrap
        topics(brokers, number)
        for name, rows in halves()[0].items():
            send(brokers, f"{prefix(number)}.{name}", rows, 1)
        text = script(brokers, number)
        # Everything in the one file, whatever its size.
        job = start(text, {"execution.checkpointing.data-inline-threshold": "1 mb"})
        until = time.monotonic() + 300
        # The watermark is a second behind: the last ones wait, and are in the savepoint.
        while len(results(brokers, prefix(number), ["predictions"])["predictions"]) < HALF - 5:
            if time.monotonic() > until:
                raise SystemExit("the job does not answer")
            time.sleep(1)
        found = stopped(job, f"file://{scratch}/savepoints")
        assert [file.name for file in found.iterdir()] == ["_metadata"], "the state is in several files"
        target.mkdir(exist_ok=True)
        (target / "_metadata.xz").write_bytes(lzma.compress((found / "_metadata").read_bytes()))
        (target / "job.sql").write_text(text.replace(brokers, "${brokers}"))
    print(target)


if __name__ == "__main__":
    main()

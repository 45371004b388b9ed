"""A job on a cluster of several processes: it brings Thalweg along, moves by savepoint, outlives its TaskManager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import StandaloneCluster, descendants
from scenario import MODEL, TIMEOUT_MS, Loop, make_stream
from streams import as_json, kafka_table, result_tables, results, send
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.wire import encoder
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import EngineSpec

pytestmark = pytest.mark.cluster
ROWS = 2000
PARTITIONS = 4
COLUMNS = ("id", "k", "a", "b", "c", "colour")
EVENTS = "id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE, colour STRING"
LABELS = (("id", "STRING", True), ("y", "BOOLEAN", True))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    running = StandaloneCluster(tmp_path_factory.mktemp("cluster"), {"taskmanager.numberOfTaskSlots": "4"})
    try:
        yield running
    finally:
        running.close()


class Stream:
    """The scenario's stream, sent part by part, and a record without a value that carries the time on."""

    def __init__(self, broker: str) -> None:
        events, labels = make_stream(ROWS)
        encode = encoder(LABELS)
        self._broker, self._at = broker, 0.0
        self.topics: dict[str, list[tuple[bytes | None, int]]] = {
            "cluster.events": [(as_json({name: getattr(e, name) for name in COLUMNS}), e.ms) for e in events],
            "cluster.labels": [(encode({"id": x.id, "y": x.y}), x.ms) for x in labels],
        }
        for rows in self.topics.values():
            rows += [(None, labels[-1].ms + 3_600_000)] * PARTITIONS
        create_topics(broker, {topic: {"partitions": PARTITIONS} for topic in self.topics})

    def send_until(self, part: float) -> None:
        for topic, rows in self.topics.items():
            # A whole number of rounds keeps the turns of the partitions.
            first, last = (round(len(rows) * at) // PARTITIONS * PARTITIONS for at in (self._at, part))
            send(self._broker, topic, rows[first : last if part < 1 else len(rows)], PARTITIONS)
        self._at = part

    def script(self, folder: Path, parallelism: int, recover: str | None) -> str:
        settings = {
            "table.exec.source.idle-timeout": "0 ms",
            "execution.checkpointing.interval": "500 ms",
            "execution.checkpointing.min-pause": "200 ms",
            "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "30",
            "restart-strategy.fixed-delay.delay": "1 s",
            "parallelism.default": str(parallelism),
        }
        if recover:
            settings["execution.state-recovery.path"] = recover
        return (
            "".join(f"SET '{key}' = '{value}';\n" for key, value in settings.items())
            + kafka_table("events", EVENTS, "cluster.events", self._broker, bounded=False)
            + kafka_table("labels", "id STRING, y BOOLEAN", "cluster.labels", self._broker, "avro", bounded=False)
            + "CREATE MODEL keyed INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
            " 'input-table' = 'events', 'event-id' = 'id', 'label-table' = 'labels', 'label' = 'y', 'key' = 'k',"
            f" 'label-timeout' = '{TIMEOUT_MS} ms', 'model' = '{MODEL}', 'snapshot-every' = '10 min');\n"
            + result_tables(self._broker, "cluster", "exactly-once")
            + "INSERT INTO predictions SELECT * FROM keyed_predictions;\n"
            "INSERT INTO snapshots SELECT * FROM keyed_snapshots;\n"
        )  # fmt: skip


def submit(cluster: StandaloneCluster, script: str, folder: Path) -> str:
    """Run the command line as a user does, and return the id of the job."""
    (folder / "job.sql").write_text(script)
    command = [sys.executable, "-m", "thalweg.jobs", "run", str(folder / "job.sql"), "--json"]
    command += ["--target", f"127.0.0.1:{cluster.rest_port}"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert told.returncode == 0, told.stderr
    found: str = json.loads(told.stdout.strip().splitlines()[-1])["job"]
    return found


def test_a_job_moves_by_savepoint_from_2_to_4_and_outlives_its_task_manager(
    broker: str, cluster: StandaloneCluster, tmp_path: Path
) -> None:
    stream = Stream(broker)
    cluster.add_task_manager()

    def answered() -> int:
        return len(results(broker, "cluster", ["predictions"])["predictions"])

    def state(job: str) -> str:
        return str(cluster.get(f"jobs/{job}")["state"])

    stream.send_until(0.5)
    first = submit(cluster, stream.script(tmp_path, 2, None), tmp_path)
    cluster.wait(lambda: answered() > ROWS // 3, "a third of the answers", 120)
    asked = cluster.get(f"jobs/{first}/stop", {"targetDirectory": (tmp_path / "savepoints").as_uri(), "drain": False})
    cluster.wait(lambda: state(first) == "FINISHED", "the job has stopped with a savepoint", 120)
    status = cluster.get(f"jobs/{first}/savepoints/{asked['request-id']}")
    savepoint = status["operation"]["location"]

    before = answered()
    stream.send_until(0.75)
    submit(cluster, stream.script(tmp_path, 4, savepoint), tmp_path)
    cluster.wait(lambda: answered() > before + ROWS // 8, "answers after the savepoint", 120)
    task_managers = cluster.task_managers()
    workers = [pid for process in task_managers for pid in descendants(process.pid)]
    os.killpg(task_managers[-1].pid, 9)
    stream.send_until(1)
    # No Python worker outlives the TaskManager that it worked for.
    deadline = time.monotonic() + 30
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists() and not _zombie(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.2)
    cluster.add_task_manager()
    loop = Loop(*make_stream(ROWS), MODEL, True)
    cluster.wait(lambda: answered() >= len(loop.answers), "all answers", 180)
    found = results(broker, "cluster", ["predictions"])["predictions"]
    assert Counter((p["event_id"], p["key"], p["score"], p["learned"], p["status"]) for p in found) == Counter(
        (event, *answer) for event, answer in loop.answers
    )

    def published() -> dict[str, int]:
        newest = SnapshotTopic(broker, "cluster.snapshots").latest()
        return {key: snapshot.version for (_, key), snapshot in newest.items()}

    cluster.wait(lambda: published() == loop.learned, "the last snapshot of every key", 60)
    for (_, key), snapshot in SnapshotTopic(broker, "cluster.snapshots").latest().items():
        engine: Any = restore(EngineSpec.from_json(snapshot.spec), snapshot.blob)
        weights = loop.models[key]["LogisticRegression"].weights
        assert dict(engine.model["LogisticRegression"].weights) == dict(weights)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

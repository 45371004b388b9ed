"""A job at 80 % of its highest rate for a long time: is its memory flat, are its checkpoints and its lag steady.

A standalone Flink with one TaskManager, RocksDB and a checkpoint every ten seconds; a broker; a model per key, 10,000
keys, which learns from every event, and an exactly-once table with the answers. First the highest rate is taken, from
how fast the job works off what waits in its topic. Then events come at 80 % of it, from a Flink of its own. Half-way as
many events as ten times the rate brings in ten seconds come at once, as fast as they can be written. At the end the
job is stopped, and each event must have one committed answer.

Memory of the TaskManager (Java) and of its Python workers, the time of checkpoints and the lag are looked at every five
seconds; ``growth`` is the median of the last third over that of the first, burst included.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

SHARE, BURST, BURST_S = 0.8, 10, 10.0
KEYS = 10_000
_BACKLOG = 200_000
_LOOK_S = 5.0
_PATIENCE_S = 900.0
_processes = multiprocessing.get_context("spawn")
_EVENTS = (
    "CREATE TABLE events (id BIGINT, k STRING, a DOUBLE, b DOUBLE, y BOOLEAN) WITH ('connector' = 'kafka', 'topic' ="
    " 'soak.events', 'properties.bootstrap.servers' = '{brokers}', 'scan.startup.mode' = 'earliest-offset',"
    " 'format' = 'json');\n"
)
_FILL = (
    "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'number-of-rows' ="
    " '{rows}', 'fields.n.kind' = 'sequence', 'fields.n.start' = '{first}', 'fields.n.end' = '{last}');\n"
    f"INSERT INTO events SELECT n, CAST(MOD(n * 7919, {KEYS}) AS STRING), MOD(n * 31, 997) / 997.0E0,"
    " MOD(n * 37, 991) / 991.0E0, MOD(n * 31, 997) / 997.0E0 + MOD(n * 43, 977) / 977.0E0 > 1 FROM numbers;\n"
)
_JOB = (
    "CREATE VIEW named AS SELECT CAST(id AS STRING) AS name, k, a, b, y FROM events;\n"
    "CREATE MODEL m INPUT (a DOUBLE, b DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river', 'input-table' = 'named',"
    " 'event-id' = 'name', 'key' = 'k', 'label' = 'y', 'order' = 'arrival',"
    " 'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()');\n"
    "CREATE TABLE answers (id STRING) WITH ('connector' = 'kafka', 'topic' = 'soak.answers', 'format' = 'raw',"
    " 'properties.bootstrap.servers' = '{brokers}', 'sink.delivery-guarantee' = 'exactly-once',"
    " 'properties.transaction.timeout.ms' = '600000', 'sink.transactional-id-prefix' = 'soak');\n"
    "INSERT INTO answers SELECT event_id FROM m_predictions;\n"
)
_SETTINGS = {
    "parallelism.default": "1",
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
    "execution.checkpointing.interval": "10 s",
    "execution.checkpointing.min-pause": "5 s",
}


class Look(NamedTuple):
    """What is seen at one moment: MB, ms and records."""

    java_mb: float
    python_mb: float
    checkpoint_ms: float
    lag: float


def run(data: Path | None, rows: int | None, minutes: float = 30.0) -> dict[str, Any]:
    """Return the figures of a run of so many minutes."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from cluster import StandaloneCluster
    from thalweg.connector.kafka import create_topics
    from thalweg.jobs.broker import Broker

    folder = Path(tempfile.mkdtemp(prefix="thalweg-soak-"))
    (folder / "cluster").mkdir()
    try:
        with Broker.start(folder / "broker") as broker:
            create_topics(broker.bootstrap, {f"soak.{name}": {"partitions": 2} for name in ("events", "answers")})
            cluster = StandaloneCluster(folder / "cluster", {"metrics.fetcher.update-interval": "1000"})
            try:
                cluster.add_task_manager()
                return {"benchmark": "soak", "minutes": minutes, **_soak(cluster, broker.bootstrap, folder, minutes)}
            finally:
                cluster.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _soak(cluster: Any, brokers: str, folder: Path, minutes: float) -> dict[str, Any]:
    from faults import Rig
    from thalweg.jobs.flink_rest import FlinkRest, Job
    from thalweg.jobs.job_status import job_status

    flink = FlinkRest(f"127.0.0.1:{cluster.rest_port}", 60)
    rig = Rig(cluster, None, folder)  # type: ignore[arg-type]
    fill = _Filler(brokers)
    fill(1e9, _BACKLOG, True)
    settings = {**_SETTINGS, "execution.checkpointing.dir": (folder / "checkpoints").as_uri()}
    script = "".join(f"SET '{key}' = '{value}';\n" for key, value in settings.items())
    rig.start(script + (_EVENTS + _JOB).format(brokers=brokers))

    def look() -> Look:
        status = job_status(flink, Job(rig.job, "", ""))
        if status.restarts or status.state != "RUNNING":
            raise RuntimeError(f"the job is {status.state} after {status.restarts} restarts: {status.failure}")
        return Look(*_memory(cluster), status.checkpoint_ms or 0, status.lag or 0)

    highest = _highest_rate(look, fill)
    rate = SHARE * highest
    _wait(lambda: look().lag < rate, "the backlog is worked off")
    _say(f"highest rate {highest:,.0f} events/s; now {rate:,.0f} for {minutes:g} minutes")
    seconds, burst = 60 * minutes, round(BURST * BURST_S * rate)
    fill(rate, round(rate * seconds), False)
    looks: list[Look] = []
    began, burst_at, absorbed = time.monotonic(), 0.0, 0.0
    while time.monotonic() - began < seconds:
        time.sleep(_LOOK_S)
        looks.append(look())
        now = time.monotonic() - began
        _say(f"  {now:4.0f} s: " + ", ".join(f"{name} {value:,.0f}" for name, value in looks[-1]._asdict().items()))
        if not burst_at and now > seconds / 3:
            _say(f"  burst of {burst:,} events")
            fill(1e9, burst, False)
            burst_at = now
        highest_lag = max(seen.lag for seen in looks)
        if burst_at and not absorbed and highest_lag > burst / 3 and looks[-1].lag < rate:
            absorbed = now - burst_at
    fill.wait()
    _wait(lambda: look().lag == 0, "all is answered")
    absorbed = absorbed or time.monotonic() - began - burst_at
    looks.append(look())
    rig.stop()
    lost, doubled = _count(brokers, fill.sent)
    thirds = looks[: len(looks) // 3], looks[-max(1, len(looks) // 3) :]
    calm = [seen.lag for seen in looks[: len(looks) // 3]]
    return {
        "max_events_per_s": round(highest),
        "events_per_s": round(rate),
        "events": fill.sent,
        "lost": lost,
        "duplicated": doubled,
        "burst_events": burst,
        "burst_absorbed_s": round(absorbed, 1),
        "lag_before_burst_s": round(median(calm) / rate, 2),
        "lag_at_most": round(max(seen.lag for seen in looks)),
        **{f"{name}.{at}": _third(part, name) for name in ("java_mb", "python_mb", "checkpoint_ms")
           for at, part in zip(("first_third", "last_third"), thirds, strict=True)},
        "python_growth": round(_third(thirds[1], "python_mb") / _third(thirds[0], "python_mb"), 3),
        "java_growth": round(_third(thirds[1], "java_mb") / _third(thirds[0], "java_mb"), 3),
    }  # fmt: skip


def _highest_rate(look: Callable[[], Look], fill: _Filler) -> float:
    """Return how many of the waiting events the job takes per second, in its second half of them."""
    _wait(lambda: 0 < look().lag < _BACKLOG * 0.6, "the job works off what waits")
    before, since = look().lag, time.monotonic()
    _wait(lambda: look().lag < _BACKLOG * 0.1, "the job works off most of what waits")
    return (before - look().lag) / (time.monotonic() - since)


class _Filler:
    """Writes events into the topic, in processes with a Flink of their own; ``sent`` is how many in all."""

    def __init__(self, brokers: str) -> None:
        self._brokers, self._running, self.sent = brokers, [], 0  # type: tuple[str, list[Any], int]

    def __call__(self, rate: float, rows: int, wait: bool) -> None:
        sql = (_EVENTS + _FILL).format(
            brokers=self._brokers, rate=round(rate), rows=rows, first=self.sent, last=self.sent + rows - 1
        )
        self.sent += rows
        process = _processes.Process(target=_fill, args=(sql,))
        process.start()
        self._running.append(process)
        if wait:
            self.wait()

    def wait(self) -> None:
        for process in self._running:
            process.join(_PATIENCE_S)
            if process.exitcode:
                raise RuntimeError("the events could not be written")
        self._running.clear()


def _fill(sql: str) -> None:
    os.environ["JVM_ARGS"] = "-Xmx400m -XX:+UseSerialGC"
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from streams import run as run_job

    run_job(sql)


def _memory(cluster: Any) -> tuple[float, float]:
    """Return what the TaskManagers and their Python workers hold, in MB."""
    from cluster import descendants

    sizes = [0.0, 0.0]
    for manager in cluster.task_managers():
        for pid in [manager.pid, *descendants(manager.pid)]:
            try:
                is_python = not os.readlink(f"/proc/{pid}/exe").endswith("java")
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue  # it has ended
            sizes[is_python] += pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return sizes[0], sizes[1]


def _count(brokers: str, events: int) -> tuple[int, int]:
    """Return how many events have no committed answer, and how many answers are one too many."""
    import numpy as np
    from thalweg.connector.client import raw_records

    counts = np.zeros(events, np.int64)
    for record in raw_records(brokers, "soak.answers", {}):
        counts[int(record.value)] += 1
    return int((counts == 0).sum()), int((counts - 1).clip(0).sum())


def _third(looks: Sequence[Look], name: str) -> float:
    return round(median(getattr(seen, name) for seen in looks), 1)


def _wait(done: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > until:
            raise RuntimeError(f"in vain: {what}")
        time.sleep(0.5)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

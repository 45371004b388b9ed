"""Kills and hurts real processes under a job that learns, and counts what is lost, doubled or changed by it.

A standalone Flink (a JobManager, two TaskManagers with 4 slots, RocksDB with incremental checkpoints every half
second), a broker, and one job: a model that learns per key from labels that come late, published after every example,
and a model by name that a SQL function asks, all into exactly-once tables. It begins at parallelism 1, goes on from a
savepoint at 2, and then at 4. The stream is sent in parts, with a fault in each; after each part all that readers of
committed records have ever seen is compared, record by record and byte by byte, with what a loop without Flink says.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PART_S = 180.0
"""Length of a part in the stream's own time; that many events and about as many labels."""
PHASES = (
    (1, ("none", "python-worker-killed", "killed-while-snapshots-are-written")),
    (2, ("taskmanager-killed", "two-failures-in-a-row", "killed-while-a-model-is-swapped")),
    (
        4,
        (
            "python-worker-killed",
            "python-worker-out-of-memory",
            "taskmanager-killed",
            "two-failures-in-a-row",
            "killed-while-a-model-is-swapped",
            "killed-while-snapshots-are-written",
            "checkpoint-storage-read-only",
            "broker-slow",
            "broker-restarted",
            "broker-killed",
            "jobmanager-killed-and-job-resumed",
        ),
    ),
)
"""Parallelism, and the faults under it."""


def run(data: Path | None, rows: int | None, cases: str | None = None) -> dict[str, Any]:
    """Return what was tried and what became of it; ``cases`` names faults, ``rows`` the events of a part."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    # What counts here is that everything starts again soon.
    os.environ.setdefault("JVM_ARGS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
    only = cases.split(",") if cases else None
    phases = [(n, [name for name in names if only is None or name in only]) for n, names in PHASES]
    part_s = float(rows or PART_S)
    table: list[dict[str, Any]] = []
    with _rig(part_s * sum(len(names) for _, names in phases)) as rig:
        savepoint = None
        for parallelism, names in phases:
            if not names:
                continue
            began = time.monotonic()
            rig.start(rig.stream.script(_settings(rig.folder, parallelism)), savepoint)
            _say(f"parallelism {parallelism}: the job runs after {time.monotonic() - began:.0f} s")
            table += [_one(rig, name, parallelism, part_s) for name in names]
            savepoint = rig.stop() if parallelism != phases[-1][0] else None
    _print(table)
    tried = [row for row in table if row["fault"] != "none"]
    return {
        "benchmark": "faults",
        "tried": len(tried),
        "survived": sum(row["survived"] for row in tried),
        **{figure: sum(row[figure] for row in tried) for figure in ("lost", "duplicated", "changed")},
        "records": max((row["records"] for row in table), default=0),
        "taskmanagers_crashed": rig.crashed,
        "slowest_recovery_s": max((row["recovered_s"] for row in tried), default=0.0),
    }


def _one(rig: Any, name: str, parallelism: int, part_s: float) -> dict[str, Any]:
    """Send one part with one fault."""
    from fault_stream import Books
    from faults import FAULTS

    row: dict[str, Any] = {"fault": name, "parallelism": parallelism}
    began = time.monotonic()
    try:
        books, recovered_s = rig.part(part_s, FAULTS[name])
        told = sum(books.values(), Books(0, 0, 0, 0))
        # All that was ever committed is compared each time: a fault answers for what it has added.
        new = Books(told.records, *(now - then for now, then in zip(told[1:], rig.damage[1:], strict=True)))
        rig.damage = told
        row |= new._asdict() | {"survived": new.balanced, "recovered_s": round(recovered_s, 1), "why": ""}
    except Exception as error:
        row |= dict.fromkeys(("records", "lost", "duplicated", "changed"), 0)
        row |= {"survived": False, "recovered_s": round(time.monotonic() - began, 1), "why": repr(error)[:200]}
    _say(f"{name}, parallelism {parallelism}: {row}")
    return row


@contextmanager
def _rig(seconds: float) -> Iterator[Any]:
    from cluster import StandaloneCluster
    from fault_stream import FaultStream
    from faults import Rig
    from thalweg.jobs.broker import Broker

    folder = Path(tempfile.mkdtemp(prefix="thalweg-faults-"))
    (folder / "cluster").mkdir()
    (folder / "checkpoints").mkdir()
    rig = None
    try:
        with Broker.start(folder / "broker") as broker:
            stream = FaultStream(broker.bootstrap, "faults", round(seconds) + 60, functions=True)
            cluster = StandaloneCluster(folder / "cluster", {"taskmanager.numberOfTaskSlots": "4"})
            try:
                for _ in range(2):
                    cluster.add_task_manager()
                rig = Rig(cluster, stream, folder, broker)
                yield rig
            finally:
                cluster.close()
                if rig is not None and rig.broker is not None:
                    rig.broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(folder: Path, parallelism: int) -> dict[str, str]:
    from fault_stream import checkpoints

    return {
        **checkpoints(folder),
        "parallelism.default": str(parallelism),
        "state.backend.type": "rocksdb",
        "execution.checkpointing.incremental": "true",
    }


def _print(table: list[dict[str, Any]]) -> None:
    _say(f"{'fault':36} {'parallelism':>11} {'records':>8} {'lost':>5} {'doubled':>7} {'changed':>7} {'recovered':>9}")
    for row in table:
        _say(
            f"{row['fault']:36} {row['parallelism']:>11} {row['records']:>8,} {row['lost']:>5} {row['duplicated']:>7}"
            f" {row['changed']:>7} {row['recovered_s']:>7} s {row['why']}"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

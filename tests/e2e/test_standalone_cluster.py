"""A job on a cluster of several processes: it brings Thalweg along, moves by savepoint, outlives what works for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyflink
import pytest
from cluster import StandaloneCluster, free_port, scrape
from fault_stream import FaultStream, checkpoints
from faults import NOTHING, Rig, killed_in_a_checkpoint, task_manager_killed
from sqlclient import Distribution
from thalweg.udfs.logic.telemetry import prometheus_name

pytestmark = pytest.mark.cluster
PART_S = 500
SCRAPED = range(first := free_port(), first + 10)  # each process takes the next one that is free
PROMETHEUS = {
    "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
    "metrics.reporter.prom.port": f"{SCRAPED[0]}-{SCRAPED[-1]}",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    settings = {"taskmanager.numberOfTaskSlots": "4", **PROMETHEUS}
    # Python's jar is in its lib, as the README advises: where it travels with the job, Beam's threads can meet classes
    # that went with a job's end, and then they end the TaskManager.
    folder = tmp_path_factory.mktemp("cluster")
    home, shipped = Distribution(folder / "flink").home, Path(pyflink.__file__).parent
    (home / "plugins").symlink_to(shipped / "plugins")
    running = StandaloneCluster(folder, settings, home)
    try:
        yield running
    finally:
        running.close()


def orphaned(rig: Rig) -> Callable[[], None]:
    """The TaskManager dies, and no Python worker outlives it."""
    workers = rig.cluster.python_workers()
    assert workers
    task_manager_killed(rig)
    deadline = time.monotonic() + 30
    while alive := [pid for pid in workers if _runs(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.2)
    return NOTHING


@pytest.mark.timeout(900)
def test_a_job_moves_by_savepoint_and_outlives_its_processes(
    broker: str, cluster: StandaloneCluster, tmp_path: Path
) -> None:
    # From the heap at parallelism 2 to RocksDB at 4. Between the two jobs all keys are idle for longer than state-ttl,
    # so they are forgotten and come back from the topic of their snapshots.
    cluster.add_task_manager()
    stream = FaultStream(broker, "cluster", 2 * PART_S + 60)
    rig = Rig(cluster, stream, tmp_path)
    kept = {"state-ttl": "10 s", "revive": "snapshot", "warm-start": f"cluster.snapshots?brokers={broker}"}
    heap = {"state.backend.type": "hashmap", "parallelism.default": "2"}
    rocks = {"state.backend.type": "rocksdb", "execution.checkpointing.incremental": "true"}

    rig.start(stream.script({**checkpoints(tmp_path), **heap}, kept))
    books, _ = rig.part(PART_S, killed_in_a_checkpoint)
    assert all(found.balanced for found in books.values()), books
    # A JobManager asks for metrics every ten seconds.
    rig.wait(lambda: rig.figures()["restarts"] >= 1, "the restart is told")

    savepoint = rig.stop()
    rig.start(stream.script({**checkpoints(tmp_path), **rocks, "parallelism.default": "4"}, kept), savepoint)
    books, _ = rig.part(PART_S, orphaned)
    assert all(found.balanced for found in books.values()), books
    rig.wait(lambda: rig.figures()["restarts"] >= 1, "the restart is told")
    assert rig.figures()["state"] == "RUNNING"
    assert "RocksDB" in cluster.get(f"jobs/{rig.job}/checkpoints/config")["state_backend"]

    def told(name: str) -> float:
        return scrape(SCRAPED, prometheus_name(name), 'model="keyed"')

    cluster.wait(lambda: told("inference_requests") > 0, "Prometheus has answers since the restart", 60)
    for name in ("thalweg_learned", "thalweg_models", "inference_latency", "inference_latency_p99", "modelDataVersion"):
        assert told(name) > 0, name
    assert told("inference_requests_failure") < told("inference_requests_success") <= told("inference_requests")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""Faults of real processes: what ``python -m tests.bench faults`` and the tests on a cluster do to a running job.

A fault begins in the middle of a part of the stream and ends, where it has an end of its own, before the last third of
that part is sent. After that the job must be what it was, and everything of the part must be committed once.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster import StandaloneCluster, clean_environment, end_group
from fault_stream import Books, FaultStream
from thalweg.jobs.broker import Broker

NOTHING: Callable[[], None] = lambda: None  # noqa: E731
_PATIENCE_S = 400.0


class Rig:
    """A cluster, a job on it and the stream that it answers.

    ``broker`` is None where it is not ours to stop. A TaskManager that crashes is started anew, and counted in
    ``crashed``: with RocksDB, Flink's handler of state requests can ask a database that the end of its task has closed,
    which takes the process with it (Flink 2.3: ``createColumnFamily`` from ``BeamStateRequestHandler``).
    """

    def __init__(
        self, cluster: StandaloneCluster, stream: FaultStream, folder: Path, broker: Broker | None = None, seed: int = 0
    ) -> None:
        self.cluster, self.stream, self.folder, self.broker = cluster, stream, folder, broker
        self.dice = random.Random(seed)
        self.job, self.damage, self.crashed = "", Books(0, 0, 0, 0), 0

    def start(self, script: str, savepoint: str | None = None) -> None:
        """Submit the job as its user does, or let it go on from a savepoint or from a folder of checkpoints."""
        (self.folder / "job.sql").write_text(script)
        words = ["run" if savepoint is None else "resume", str(self.folder / "job.sql"), "--json"]
        words += [] if savepoint is None else ["--savepoint", savepoint]
        self.job = str(self.thalweg(*words)["job"])

    def stop(self) -> str:
        """Stop the job with a savepoint, and return where that is."""
        return str(
            self.thalweg("stop", self.job, "--savepoint", str(self.folder / "savepoints"), "--json")["savepoint"]
        )

    def figures(self) -> dict[str, Any]:
        """Return what ``thalweg status`` tells of the job."""
        (found,) = self.thalweg("status", self.job, "--json")
        return dict(found)

    def thalweg(self, *words: str) -> Any:
        """Run a command against the cluster, and return the JSON that it prints."""
        command = [sys.executable, "-m", "thalweg.jobs", *words, "--target", f"127.0.0.1:{self.cluster.rest_port}"]
        environment = clean_environment() | {"FLINK_HOME": str(self.cluster.home)}
        told = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, env=environment)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def part(self, seconds: float, fault: Callable[[Rig], Callable[[], None]]) -> tuple[dict[str, Books], float]:
        """Send a part of the stream with a fault in it; return the books after it, and how long it took to recover."""
        before = self.stream.answered()
        self.stream.send(seconds / 3)
        # The fault meets a job that is at work: some of what was sent is answered, the rest is on its way.
        self.wait(lambda: self.stream.answered() > before, "the first answers of the part")
        mend = fault(self)
        if mend is not NOTHING and self.broker_answers():
            self.stream.send(seconds / 3)
            mend()
        else:
            mend()
            self.stream.send(seconds / 3)
        mended = time.monotonic()
        self.stream.send(seconds / 3, whole=True)
        return self.settled(), time.monotonic() - mended

    def settled(self) -> dict[str, Books]:
        """Return the books once all is there, or nothing more has come for a long time."""
        self.wait(lambda: self.stream.answered() >= self.stream.due(), "all answers")
        until = time.monotonic() + 20
        found = self.stream.books()
        while not all(books.balanced for books in found.values()) and time.monotonic() < until:
            time.sleep(0.5)
            found = self.stream.books()
        return found

    def wait(self, done: Callable[[], Any], what: str) -> Any:
        """Return what ``done`` returns once it is true, and see to the TaskManagers until then."""

        def seen_to() -> Any:
            self.crashed += self.cluster.replace_crashed()
            return done()

        return self.cluster.wait(seen_to, what, _PATIENCE_S)

    def broker_answers(self) -> bool:
        """Return whether records can be sent at the moment."""
        return self.broker is None or _state(self.broker.pid) not in "TX"

    def a_worker(self) -> int:
        """Return a Python process of the job, any of them."""
        workers: list[int] = self.wait(self.cluster.python_workers, "there is a Python worker")
        return self.dice.choice(workers)


def nothing(rig: Rig) -> Callable[[], None]:
    return NOTHING


def worker_killed(rig: Rig) -> Callable[[], None]:
    os.kill(rig.a_worker(), signal.SIGKILL)
    return NOTHING


def worker_out_of_memory(rig: Rig) -> Callable[[], None]:
    """No Python worker gets another byte: each fails at its next block of memory."""
    for pid in rig.cluster.python_workers():
        held = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (held, held))
    return NOTHING


def task_manager_killed(rig: Rig) -> Callable[[], None]:
    rig.cluster.kill_task_manager(rig.dice.randrange(len(rig.cluster.task_managers())))
    rig.cluster.add_task_manager()
    return NOTHING


def job_manager_killed(rig: Rig) -> Callable[[], None]:
    """Without ZooKeeper or Kubernetes a JobManager that returns knows no job: it is resumed from its checkpoints."""
    rig.cluster.kill_job_manager()
    rig.cluster.start_job_manager()
    managers = len(rig.cluster.task_managers())
    rig.cluster.wait(lambda: len(rig.cluster.registered()) >= managers, "the TaskManagers are back")
    rig.start((rig.folder / "job.sql").read_text(), str(rig.folder / "checkpoints" / rig.job))
    return NOTHING


def broker_restarted(rig: Rig) -> Callable[[], None]:
    assert rig.broker is not None
    folder, port = rig.broker.log.parent, int(rig.broker.bootstrap.rpartition(":")[2])
    rig.broker.stop()
    time.sleep(3)
    rig.broker = Broker.start(folder, port)
    return NOTHING


def broker_killed(rig: Rig) -> Callable[[], None]:
    assert rig.broker is not None
    folder, port = rig.broker.log.parent, int(rig.broker.bootstrap.rpartition(":")[2])
    end_group(rig.broker.pid)
    rig.broker.stop()
    rig.cluster.wait(lambda: _refused(port), "the killed broker has let go of its port")
    rig.broker = Broker.start(folder, port)
    return NOTHING


def broker_slow(rig: Rig, seconds: float = 8.0) -> Callable[[], None]:
    """The broker stands still for a while, then for a moment, and again."""
    assert rig.broker is not None
    for pause in (seconds, seconds / 4, seconds / 2):
        os.killpg(rig.broker.pid, signal.SIGSTOP)
        time.sleep(pause)
        os.killpg(rig.broker.pid, signal.SIGCONT)
        time.sleep(0.3)
    return NOTHING


def storage_read_only(rig: Rig) -> Callable[[], None]:
    """Checkpoints fail and the job with them, again and again, until their folder can be written to."""
    folder = str(rig.folder / "checkpoints")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)

    def mend() -> None:
        time.sleep(5)
        subprocess.run(["umount", folder], check=True)

    return mend


def two_in_a_row(rig: Rig) -> Callable[[], None]:
    """A TaskManager dies while the job recovers from the death of a worker."""
    worker_killed(rig)
    time.sleep(rig.dice.uniform(0.5, 3))
    return task_manager_killed(rig)


def killed_in_a_swap(rig: Rig) -> Callable[[], None]:
    """A version is published, and workers die while they take it over; then another one."""
    for _ in range(2):
        rig.stream.swap()
        time.sleep(rig.dice.uniform(0, 1))
        worker_killed(rig)
    return NOTHING


def killed_in_a_checkpoint(rig: Rig) -> Callable[[], None]:
    """The workers die while a checkpoint is in progress, and with them the snapshots that wait for its end.

    All of them: one that has nothing to do at the moment, as of a part without data, may not be missed.
    """

    def writing() -> bool:
        told = rig.cluster.get(f"jobs/{rig.job}/checkpoints") or {}
        return bool(told.get("counts", {}).get("in_progress"))

    rig.stream.send(5)
    until = time.monotonic() + 30
    while not writing() and time.monotonic() < until:
        time.sleep(0.01)
    for pid in rig.cluster.python_workers():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return NOTHING


FAULTS: dict[str, Callable[[Rig], Callable[[], None]]] = {
    "none": nothing,
    "python-worker-killed": worker_killed,
    "python-worker-out-of-memory": worker_out_of_memory,
    "taskmanager-killed": task_manager_killed,
    "two-failures-in-a-row": two_in_a_row,
    "killed-while-a-model-is-swapped": killed_in_a_swap,
    "killed-while-snapshots-are-written": killed_in_a_checkpoint,
    "checkpoint-storage-read-only": storage_read_only,
    "broker-slow": broker_slow,
    "broker-restarted": broker_restarted,
    "broker-killed": broker_killed,
    "jobmanager-killed-and-job-resumed": job_manager_killed,
}
"""Each fault begins when it is called, and ends when what it returns is called."""


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"

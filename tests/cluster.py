"""A standalone Flink of several processes: a JobManager, TaskManagers, and Python workers that lack Thalweg."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyflink
from ruamel.yaml import YAML

_HOME = Path(pyflink.__file__).parent
_START_S = 240.0


class StandaloneCluster:
    """Starts with one JobManager; ``add_task_manager`` gives it slots.

    The Python of its workers (``python``) has what this one has, but not Thalweg: a job must bring it along.
    ``settings`` go over those of its configuration; ``home`` is the distribution that it runs, by default the wheel's.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None, home: Path = _HOME) -> None:
        self._folder, self.home = folder, home
        self._started: list[subprocess.Popen[bytes]] = []
        self._task_managers: list[subprocess.Popen[bytes]] = []
        self._job_manager: subprocess.Popen[bytes] | None = None
        self.rest_port = free_port()
        self.python = folder / "python" / "bin" / "python"
        python_without_thalweg(folder / "python")
        (folder / "conf").mkdir()
        for name in ("log4j-console.properties", "log4j.properties"):
            (folder / "conf" / name).write_text((_HOME / "conf" / name).read_text())
        merged = {
            "rest.port": str(self.rest_port),
            "rest.bind-address": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.port": str(free_port()),
            "jobmanager.memory.process.size": "1g",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.memory.process.size": "2g",
            "taskmanager.numberOfTaskSlots": "1",
            "python.executable": str(self.python),
            "pekko.startup-timeout": "120 s",  # a busy machine takes its time
            "heartbeat.timeout": "15000",
            "heartbeat.interval": "1000",
            "env.java.opts.all": f"{java_options()} {os.environ.get('JVM_ARGS', '')}",
        } | (settings or {})
        (folder / "conf" / "config.yaml").write_text("".join(f"{key}: '{value}'\n" for key, value in merged.items()))
        try:
            self.start_job_manager()
        except BaseException:
            self.close()
            raise

    def add_task_manager(self) -> subprocess.Popen[bytes]:
        """Start a TaskManager and wait until its slot is there."""
        # By id: one that was killed may be counted still, here or there.
        known = self.registered()
        started = self._start("taskmanager")
        self._task_managers.append(started)
        self.wait(lambda: self.registered() - known, "a TaskManager has registered")
        return started

    def start_job_manager(self) -> None:
        """Start the JobManager, again if it was killed, and wait until it answers."""
        self._job_manager = self._start("jobmanager")
        self.wait(lambda: self.get("overview") is not None, "the JobManager answers")

    def kill_job_manager(self) -> None:
        """Kill it, with all that it knows of its jobs; their checkpoints stay."""
        if self._job_manager is not None:
            end_group(self._job_manager.pid)
            self._job_manager.wait()

    def kill_task_manager(self, which: int = -1) -> None:
        """Kill one that runs: Java alone, as the kernel does; its Python workers have to see to themselves."""
        victim = self.task_managers()[which]
        self._task_managers.remove(victim)
        victim.kill()
        victim.wait()

    def replace_crashed(self) -> int:
        """Start anew the TaskManagers that ended by themselves, as Kubernetes or systemd does; return how many."""
        crashed = [process for process in self._task_managers if process.poll() is not None]
        for process in crashed:
            self._task_managers.remove(process)
            self.add_task_manager()
        return len(crashed)

    def python_workers(self) -> list[int]:
        """Return the Python processes that work for the TaskManagers."""
        return [pid for process in self.task_managers() for pid in descendants(process.pid) if _is_worker(pid)]

    def task_managers(self) -> list[subprocess.Popen[bytes]]:
        """Return those that run."""
        return [process for process in self._task_managers if process.poll() is None]

    def get(self, path: str, body: Any = None) -> Any:
        """Ask the REST endpoint; None where nobody answers yet."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rest_port}/{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except OSError:  # nobody is there, or too busy to answer
            return None

    def wait(self, done: Callable[[], Any], what: str, seconds: float = _START_S) -> Any:
        """Return what ``done`` returns once it is true."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            assert time.monotonic() < deadline, f"in vain: {what}; see {self._folder}/log"
            time.sleep(0.2)
        return found

    def close(self) -> None:
        """End all processes."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                pass
            end_group(process.pid)

    def registered(self) -> set[str]:
        """Return the ids of the TaskManagers that the JobManager knows."""
        return {found["id"] for found in (self.get("taskmanagers") or {"taskmanagers": []})["taskmanagers"]}

    def _start(self, what: str) -> subprocess.Popen[bytes]:
        (self._folder / "log").mkdir(exist_ok=True)
        environment = clean_environment() | {
            "FLINK_CONF_DIR": str(self._folder / "conf"),
            "FLINK_LOG_DIR": str(self._folder / "log"),
            "PYTHONPATH": "",
        }
        with open(self._folder / "log" / f"{what}-{len(self._started)}.out", "wb") as log:
            process = subprocess.Popen(
                [str(self.home / "bin" / f"{what}.sh"), "start-foreground"],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self._folder,  # where Java leaves what it has to say of a crash
                start_new_session=True,
            )
        self._started.append(process)
        return process


def python_without_thalweg(folder: Path) -> Path:
    """Make a virtual environment with this one's packages, but not Thalweg; return where its own packages go."""
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    own = folder / "lib" / version / "site-packages"
    # A path in a .pth file is searched, but .pth files there, such as that of an editable install, are not read.
    (own / "all.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return own


def clean_environment() -> dict[str, str]:
    """The environment without what PyFlink writes into it once a job has run here: where *its* Flink lies."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLINK_")}


def java_options() -> str:
    """Return what the shipped configuration opens to Flink in Java's own modules."""
    with open(_HOME / "conf" / "config.yaml") as shipped:
        return str(YAML(typ="safe").load(shipped)["env"]["java"]["opts"]["all"])


def end_group(group: int) -> None:
    """Kill what still runs of a process group."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines()[1:]:
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, ask = [], [pid]
    while ask:
        below = children.get(ask.pop(), [])
        found += below
        ask += below
    return found


def python_workers() -> list[int]:
    """Return the Python workers that the JVM of this process has started."""
    return [pid for pid in descendants(os.getpid()) if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"beam_boot" in command and "python" in os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False  # it has ended


def scrape(ports: Iterable[int], name: str, label: str) -> float:
    """Return the sum of a metric over all processes whose Prometheus reporter answers on one of the ports."""
    total = 0.0
    for port in ports:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            continue
        # A value follows the labels; one without a value yet is NaN.
        found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{") and label in line]
        total += sum(value for value in found if value == value)
    return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

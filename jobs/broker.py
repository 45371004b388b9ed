"""A real Kafka broker on this machine: one node, KRaft, 127.0.0.1 only. For the demo, for tests, for trying things."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from thalweg.connector.errors import SetupError
from thalweg.jobs.jars import broker_jars
from thalweg.jobs.java import JAVA_FLOOR, java_command, java_major

__all__ = ["Broker", "answers"]

_HOST = "127.0.0.1"
_FOREVER = str(2**63 - 1)

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # A topic comes from DDL or from an admin client, never from a misspelt name.
    "auto.create.topics.enable": "false",
    # One node: everything internal has one copy and few partitions, so that it starts quickly.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Events carry the time at which they happened, which may be years ago or ahead: nothing is refused, rolled or
    # deleted because of it.
    "log.retention.ms": "-1",
    "log.roll.ms": _FOREVER,
    "log.message.timestamp.before.max.ms": _FOREVER,
    "log.message.timestamp.after.max.ms": _FOREVER,
    # The cleaner's default buffer of 128 MiB would be a quarter of the heap.
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}

# Java never outlives the one who started it: the pipe that is standard input here closes when that process ends,
# however it ends. The shell's exit status is Java's.
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & java=$!
{ read -r _ <&3; kill "$java"; } & guard=$!
exec 3<&-
trap 'kill "$java"' TERM
wait "$java"; status=$?
while kill -0 "$java" 2>/dev/null; do wait "$java"; status=$?; done
kill "$guard" 2>/dev/null
exit "$status"
"""


class Broker:
    """A running broker. ``Broker.start`` makes one; as a context manager it stops at the end of the block.

    Attributes
    ----------
    bootstrap : str
        ``host:port``, the value of ``bootstrap.servers``.
    pid : int
        The process.
    log : pathlib.Path
        Where the broker writes its log.

    Examples
    --------
    >>> with Broker.start("/tmp/broker") as broker:  # doctest: +SKIP
    ...     print(broker.bootstrap)
    127.0.0.1:40123
    """

    def __init__(self, directory: Path, bootstrap: str, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self.bootstrap = bootstrap
        self.pid = pid
        self.log = directory / "broker.log"
        self._state = directory / "broker.json"
        self._directory = directory
        self._process = process

    @classmethod
    def start(
        cls,
        directory: str | Path,
        port: int = 0,
        *,
        detached: bool = False,
        heap: str = "512m",
        seconds: float = 60,
        settings: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> Broker:
        """Start a broker and return it once it answers.

        Parameters
        ----------
        directory : str or Path
            Keeps the data, the log and, for a detached broker, who it is. The data of an earlier start is used again.
        port : int
            0 takes a free one.
        detached : bool
            False: the broker ends with this process, however it ends. True: it stays, until ``stop`` of ``find``.
        heap : str
            Java's ``-Xmx``.
        seconds : float
            How long to wait for the first answer.
        settings : mapping of str to str, optional
            More settings of the broker; its ``listeners`` are added to the plain one.
        format_options : sequence of str
            More options of kafka-storage.sh, which writes the first records of a new broker, such as SCRAM users.

        Raises
        ------
        SetupError
            Java or the jars are missing, the port is taken, a broker already runs on the directory, or it died; then
            the text has the last lines of its log.
        """
        folder = Path(directory).absolute()
        running = cls.find(folder)
        if running is not None:
            raise SetupError(f"A broker already runs on {folder}, at {running.bootstrap}: stop it or use that one.")
        if port:
            _require_free(port)
        java = java_command()
        major = java_major(java)
        if major < JAVA_FLOOR:
            raise SetupError(f"{java} is Java {major}: a Kafka broker needs {JAVA_FLOOR} or newer.")
        command = [
            java,
            f"-Xmx{heap}",
            # The broker lives for minutes: start quickly rather than compile well.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            os.pathsep.join(map(str, broker_jars())),
        ]
        folder.mkdir(parents=True, exist_ok=True)
        port = port or _free_port()
        _configure(folder, port, dict(settings or {}))
        _format(folder, command, format_options)
        command += ["kafka.Kafka", str(folder / "server.properties")]
        with open(folder / "broker.log", "wb") as log:
            if not detached:
                command = ["/bin/sh", "-c", _GUARD, "broker", *command]
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
            )
        broker = cls(folder, f"{_HOST}:{port}", process.pid, process)
        if detached:
            broker._state.write_text(json.dumps({"bootstrap": broker.bootstrap, "pid": broker.pid}), "utf-8")
        else:
            atexit.register(broker.stop)
        try:
            broker._wait(seconds)
        except BaseException:
            broker.stop()
            raise
        return broker

    @classmethod
    def find(cls, directory: str | Path) -> Broker | None:
        """Return the detached broker that runs on ``directory``, or None."""
        folder = Path(directory).absolute()
        try:
            known = json.loads((folder / "broker.json").read_text("utf-8"))
            broker = cls(folder, str(known["bootstrap"]), int(known["pid"]), None)
        except (OSError, ValueError, KeyError):
            return None
        return broker if broker._runs() else None

    def stop(self) -> None:
        """End the broker and wait until it is gone; a second call does nothing."""
        if self._runs():
            self._signal(signal.SIGTERM)
            if not self._gone(15):
                self._signal(signal.SIGKILL)
                self._gone(15)
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait()
            atexit.unregister(self.stop)
        self._state.unlink(missing_ok=True)

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not answers(self.bootstrap):
            if not self._runs():
                raise SetupError(f"The broker died while starting. The end of {self.log}:\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise SetupError(
                    f"The broker did not answer within {seconds:g} s. The end of {self.log}:\n{self._last_lines()}"
                )
            time.sleep(0.05)

    def _last_lines(self) -> str:
        return _end(self.log.read_text("utf-8", "replace"))

    def _runs(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        # A number from a file may by now be another's process: the command line says whose it is.
        return str(self._directory / "server.properties") in _command_line(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        # An embedded broker leads a session of its own: the shell, the guard and Java.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def answers(bootstrap: str, seconds: float = 2.0) -> bool:
    """Return whether a Kafka broker at ``host:port`` answers an ApiVersions request within ``seconds``.

    A broker opens its port before it works; only the answer says that it does.
    """
    host, _, port = bootstrap.rpartition(":")
    correlation = 7
    try:
        with socket.create_connection((host, int(port)), seconds) as connection:
            # Size, ApiVersions (18) version 0, correlation id, no client id.
            connection.sendall(struct.pack(">ihhih", 10, 18, 0, correlation, -1))
            head = connection.recv(8, socket.MSG_WAITALL)
    except (OSError, ValueError):
        return False
    return len(head) == 8 and struct.unpack(">ii", head)[1] == correlation


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        # As the broker will: a port whose last connections are only just closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise SetupError(f"Port {port} of {_HOST} is taken: stop what listens there or choose another.") from error


def _configure(folder: Path, port: int, more: dict[str, str]) -> None:
    controller = _free_port()
    listeners = [f"PLAINTEXT://{_HOST}:{port}", f"CONTROLLER://{_HOST}:{controller}", more.pop("listeners", "")]
    settings = _SETTINGS | {
        "listeners": ",".join(filter(None, listeners)),
        "controller.quorum.voters": f"1@{_HOST}:{controller}",
        "log.dir": str(folder / "data"),
    }
    text = "".join(f"{name}={value}\n" for name, value in (settings | more).items())
    (folder / "server.properties").touch(0o600)  # it may hold passwords
    (folder / "server.properties").write_text(text, "utf-8")


def _format(folder: Path, java: list[str], options: Sequence[str]) -> None:
    if (folder / "data" / "meta.properties").exists():
        return
    # Writing meta.properties by hand would save a second, but leaves transactions at their oldest protocol.
    command = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", "thalweg000000000000001"]
    command += ["--config", str(folder / "server.properties"), *options]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode != 0:
        raise SetupError(f"Kafka could not prepare {folder / 'data'}:\n{_end(run.stdout + run.stderr)}")


def _end(text: str) -> str:
    # A Java stack buries the sentence that matters.
    return "\n".join([line for line in text.splitlines() if not line.startswith("\tat ")][-12:])


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
    told = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return told.stdout

"""The real ``sql-client.sh`` and ``sql-gateway.sh``: PyFlink's distribution, completed as its user has to do it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyflink
from cluster import StandaloneCluster, clean_environment, end_group, free_port, java_options
from thalweg.jobs.jars import gateway_jars, job_jars

_SHIPPED = Path(pyflink.__file__).parent
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Distribution:
    """A copy of the distribution, for a cluster and for its clients; ``point_at`` says which cluster.

    The gateway's jars are in its ``lib``, and the Python jar as well. That one is in ``opt`` otherwise and travels with
    each job, and then a TaskManager keeps 30 MB of Metaspace for every job that it ever ran: it dies of the eighth.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder
        # The scripts find the rest beside them, through links as well, so they are copied; jars may be links.
        for name in ("bin", "conf"):
            shutil.copytree(_SHIPPED / name, folder / name)
        for name in ("lib", "opt", "log"):
            (folder / name).mkdir()
        for jar in [*(_SHIPPED / "lib").iterdir(), *(_SHIPPED / "opt").glob("flink-python-*.jar"), *gateway_jars()]:
            (folder / "lib" / jar.name).symlink_to(jar)
        # There `flink run` looks for the Python jar, wherever else it is.
        for jar in (_SHIPPED / "opt").iterdir():
            (folder / "opt" / jar.name).symlink_to(jar)
        self._environment = clean_environment() | {"FLINK_LOG_DIR": str(folder / "log"), "PYTHONPATH": ""}

    def point_at(self, cluster: StandaloneCluster) -> None:
        """Let client and gateway speak to a cluster."""
        # Nothing of Python here, as on the machine of an analyst: what a job needs its flags and settings say.
        settings = {
            "rest.address": "127.0.0.1",
            "rest.port": str(cluster.rest_port),
            "env.java.opts.all": java_options(),
        }
        text = "".join(f"{key}: '{value}'\n" for key, value in settings.items())
        (self.home / "conf" / "config.yaml").write_text(text)

    def client(self, script: str, *flags: str, typed: bool = False, seconds: float = 150) -> str:
        """Return what ``sql-client.sh`` says to a script: a file that ends at the first error, or typed in."""
        file = self.home / "script.sql"
        file.write_text(script)
        command = [str(self.home / "bin/sql-client.sh"), "--history", str(self.home / "history"), *flags]
        command += [] if typed else ["-f", str(file)]
        with open(file) as lines:
            process = subprocess.Popen(
                command,
                stdin=lines if typed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                text=True,
            )
        try:
            said, _ = process.communicate(timeout=seconds)
        finally:
            end_group(process.pid)
            process.wait()
        return _COLOURS.sub("", said)

    def flink_run(self, *words: str, seconds: float = 150) -> str:
        """Return what ``flink run`` says."""
        command = [str(self.home / "bin/flink"), "run", *words]
        environment = self._environment | {"THALWEG_JARS": str(job_jars()[0].parent.parent)}
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
        return done.stdout

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """Run ``sql-gateway.sh`` on a free port; it ends with the block."""
        port = free_port()
        address = "sql-gateway.endpoint.rest"
        command = [str(self.home / "bin/sql-gateway.sh"), "start-foreground"]
        command += [f"-D{address}.address=127.0.0.1", f"-D{address}.bind-address=127.0.0.1", f"-D{address}.port={port}"]
        with open(self.home / "log" / "gateway.out", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, start_new_session=True)
        try:
            gateway = Gateway(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + 90
            while not gateway.answers():
                assert process.poll() is None, Path(log.name).read_text()[-2000:]
                assert time.monotonic() < deadline, f"the gateway does not answer; see {log.name}"
                time.sleep(0.3)
            yield gateway
            process.terminate()
            process.wait(30)
            assert not gateway.answers()
        finally:
            end_group(process.pid)
            process.wait()


class Gateway:
    """The REST interface of a SQL gateway."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session = ""

    def answers(self) -> bool:
        """Return whether it is up."""
        try:
            return bool(self.call("GET", "/v3/info")["productName"] == "Apache Flink")
        except (ConnectionError, urllib.error.URLError):
            return False

    def open(self, properties: dict[str, str]) -> None:
        """Open the session in which ``run`` runs."""
        self._session = "/v3/sessions/" + self.call("POST", "/v3/sessions", {"properties": properties})["sessionHandle"]

    def run(self, statement: str, seconds: float = 120) -> list[list[Any]]:
        """Return the rows of a statement, fetched until there are no more."""
        operation = self.call("POST", f"{self._session}/statements", {"statement": statement})["operationHandle"]
        at: str | None = f"{self._session}/operations/{operation}/result/0?rowFormat=JSON"
        rows: list[list[Any]] = []
        deadline = time.monotonic() + seconds
        while at:
            assert time.monotonic() < deadline, statement
            found = self.call("GET", at)
            new = [] if found["resultType"] == "NOT_READY" else [row["fields"] for row in found["results"]["data"]]
            rows += new
            if found["resultType"] != "NOT_READY":
                at = None if found["resultType"] == "EOS" else found["nextResultUri"]
            if not new:
                time.sleep(0.2)
        return rows

    def close(self) -> None:
        """Close the session."""
        assert self.call("DELETE", self._session) == {"status": "CLOSED"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request; return the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()[-3000:]}") from None


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose environment names ``folder``: what was started for it, and what that started."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(folder).encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # it has ended
    return found

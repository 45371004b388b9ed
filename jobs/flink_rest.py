"""Asks a Flink cluster over its REST endpoint: the jobs that it runs, and how to end one with a savepoint."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from thalweg.connector.errors import ConfigError, Problem, SetupError, ThalwegError
from thalweg.jobs.root_cause import root_cause

__all__ = ["ENDED", "FlinkRest", "Job", "rest_endpoint"]

ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})
"""States that a job does not leave."""
_TIMEOUT_S = 20.0
_POLL_S = 0.3


class Job(NamedTuple):
    """A job of a cluster: its id, name and state, in Flink's words."""

    id: str
    name: str
    state: str


def rest_endpoint(target: str) -> tuple[str, str]:
    """Return host and port of ``host:port``.

    Raises
    ------
    ConfigError
        It is not of that form.

    Examples
    --------
    >>> rest_endpoint("jobmanager:8081")
    ('jobmanager', '8081')
    """
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        remedy = "Name the REST endpoint, such as 127.0.0.1:8081."
        raise ConfigError([Problem("--target", f"'{target}' is not host:port.", remedy)])
    return host, port


class FlinkRest:
    """The REST endpoint of a JobManager.

    Parameters
    ----------
    target : str
        ``host:port``.
    timeout_s : float
        How long one answer may take.

    Raises
    ------
    ConfigError
        The target is not ``host:port``.
    """

    def __init__(self, target: str, timeout_s: float = _TIMEOUT_S) -> None:
        host, port = rest_endpoint(target)
        self.target, self._base, self._timeout_s = target, f"http://{host}:{port}", timeout_s

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        """Return the answer to one request; with a ``body`` it is a POST.

        Raises
        ------
        SetupError
            Nobody answers there, or not a Flink.
        ThalwegError
            Flink refuses the request; the text is its reason.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self._base}/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        remedy = "Start the cluster, or name its REST endpoint with --target host:port."
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise ThalwegError(f"{self.target}: {_refusal(error)}") from error
        except ValueError as error:
            raise SetupError(f"What answers at {self.target} is not Flink. {remedy}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise SetupError(f"No Flink answers at {self.target} ({reason}). {remedy}") from error

    def jobs(self) -> list[Job]:
        """Return all jobs that the cluster remembers, the newest first."""
        found = self.ask("jobs/overview")
        if "jobs" not in found:
            raise SetupError(f"What answers at {self.target} is not Flink. Name the REST endpoint of a JobManager.")
        newest = sorted(found["jobs"], key=lambda job: (-job["start-time"], job["jid"]))
        return [Job(job["jid"], job["name"], job["state"]) for job in newest]

    def find(self, wanted: str) -> Job:
        """Return the one job whose id begins with ``wanted``, or whose name it is.

        Of several with one name it is the one that has not ended.

        Raises
        ------
        ConfigError
            There is none, or more than one.
        """
        jobs = self.jobs()
        found = [job for job in jobs if job.id.startswith(wanted.lower())]
        found = found or [job for job in jobs if job.name == wanted]
        if len(found) > 1:
            found = [job for job in found if job.state not in ENDED] or found
        if len(found) == 1:
            return found[0]
        where = f"job '{wanted}'"
        if found:
            ids = ", ".join(job.id for job in found)
            raise ConfigError([Problem(where, f"{len(found)} jobs at {self.target} are meant: {ids}.", "Give an id.")])
        there = ", ".join(f"{job.id} ({job.name})" for job in jobs if job.state not in ENDED) or "none"
        what = f"there is no such job at {self.target}; jobs that run: {there}."
        raise ConfigError([Problem(where, what, "Give the id of one, the beginning of it, or its name.")])

    def state(self, job: str) -> str:
        """Return the state of a job."""
        return str(self.ask(f"jobs/{job}")["state"])

    def why_failed(self, job: str) -> str:
        """Return why a job failed last, in one sentence; empty if it has not."""
        entries = self.ask(f"jobs/{job}/exceptions?maxExceptions=1").get("exceptionHistory", {}).get("entries", [])
        return root_cause(entries[0]["stacktrace"]) if entries else ""

    def metrics(self, job: str, vertex: str, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return minimum, maximum, average and sum of metrics over a vertex' subtasks, as far as Flink has them."""
        if not names:
            return {}
        told = self.ask(f"jobs/{job}/vertices/{vertex}/subtasks/metrics?get={quote(','.join(names), safe=',')}")
        return {metric["id"]: {key: value for key, value in metric.items() if key != "id"} for metric in told}

    def stop(self, job: str, directory: str | None, tell: Callable[[str], None], timeout_s: float) -> str:
        """Stop a job with a savepoint, and return where that is once the job has ended.

        Parameters
        ----------
        job : str
            Its id.
        directory : str or None
            Where the savepoint goes, as the cluster's machines see it; None: where the cluster's configuration says.
        tell : callable
            Takes a line about how far it is.
        timeout_s : float
            How long to wait. What was asked for goes on in the cluster after that.

        Raises
        ------
        ThalwegError
            Flink could not: the job runs on, and the text says why.
        """
        asked = self.ask(f"jobs/{job}/stop", {"targetDirectory": directory, "drain": False})["request-id"]
        until = time.monotonic() + timeout_s
        while (told := self.ask(f"jobs/{job}/savepoints/{asked}"))["status"]["id"] != "COMPLETED":
            tell(f"savepoint: {self._acknowledged(job)}")
            self._wait(until, f"the savepoint of job {job} is not complete")
        cause = told["operation"].get("failure-cause")
        if cause is not None:
            raise ThalwegError(
                f"job {job}: no savepoint in {directory or 'the configured folder'}:"
                f" {root_cause(cause['stack-trace']).rstrip('.')}. The job goes on. Name a folder that every machine of"
                f" the cluster can write to, and look at 'thalweg status {job} --target {self.target}'."
            )
        while (state := self.state(job)) not in ENDED:
            tell(f"savepoint is complete, the job is {state}")
            self._wait(until, f"job {job} has not ended")
        return str(told["operation"]["location"])

    def cancel(self, job: str, timeout_s: float) -> None:
        """End a job at once, without a savepoint, and wait until it has ended."""
        self.ask(f"jobs/{job}", method="PATCH")
        until = time.monotonic() + timeout_s
        while self.state(job) not in ENDED:
            self._wait(until, f"job {job} has not ended")

    def until_it_runs(self, job: str, timeout_s: float = 300.0) -> str:
        """Return the state of a new job once all its tasks run, or it has ended."""
        until = time.monotonic() + timeout_s
        while True:
            told = self.ask(f"jobs/{job}")
            starting = any(task["status"] != "RUNNING" for task in told.get("vertices", []))
            if told["state"] in ENDED or (told["state"] == "RUNNING" and told.get("vertices") and not starting):
                return str(told["state"])
            self._wait(until, f"job {job} is {told['state']} and does not run")

    def _acknowledged(self, job: str) -> str:
        history = self.ask(f"jobs/{job}/checkpoints").get("history", [])
        running = [entry for entry in history if entry["is_savepoint"] and entry["status"] == "IN_PROGRESS"]
        if not running:
            return "asked for"
        return f"{running[0]['num_acknowledged_subtasks']} of {running[0]['num_subtasks']} tasks"

    def _wait(self, until: float, what: str) -> None:
        if time.monotonic() > until:
            see = f"See 'thalweg status --target {self.target}'."
            raise ThalwegError(f"{what} within the time given; it goes on. {see}")
        time.sleep(_POLL_S)


def _refusal(error: urllib.error.HTTPError) -> str:
    """Return what Flink says in an error: the last line of a list of texts and stack traces."""
    try:
        told = json.loads(error.read())["errors"]
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code} {error.reason}."
    return root_cause("\n".join(text for text in told if text))

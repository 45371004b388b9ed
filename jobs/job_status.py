"""How a job on a cluster fares, in figures: what ``thalweg status`` shows."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from thalweg.jobs.flink_rest import FlinkRest, Job

__all__ = ["JobStatus", "job_status"]

# An operator's metric is "Source__name.metric"; one with a number before it is that of a single subtask.
_SOURCE = re.compile(r"^Source__.*\.(numRecordsOutPerSecond|pendingRecords)$")
_PRESSURE = "backPressuredTimeMsPerSecond"


class JobStatus(NamedTuple):
    """A job's figures.

    Attributes
    ----------
    id, name, state : str
        In Flink's words.
    up_s : float
        Seconds since it began to run, or ran again after a failure; 0 where it does not run.
    restarts : int
        How often it was started again after failures.
    checkpoints, failed_checkpoints : int
        How many were completed, how many failed.
    checkpoint_bytes, checkpoint_ms, checkpoint_age_s : int, int, float; or None
        Of the newest checkpoint: its state, how long it took, how long ago it was begun. None where there is none.
    checkpoint_path : str
        Where the newest checkpoint is; empty where there is none.
    backpressure : float
        Share of the time in which the task that is held back most could not pass its results on, 0 to 1.
    pressed_task : str
        That task's name; empty where none is held back.
    records_per_s : float
        Records that the sources read.
    lag : int or None
        Records that wait in Kafka; None where no source tells.
    failure : str
        Why the job failed last; empty if it has not.
    """

    id: str
    name: str
    state: str
    up_s: float
    restarts: int
    checkpoints: int
    failed_checkpoints: int
    checkpoint_bytes: int | None
    checkpoint_ms: int | None
    checkpoint_age_s: float | None
    checkpoint_path: str
    backpressure: float
    pressed_task: str
    records_per_s: float
    lag: int | None
    failure: str


def job_status(flink: FlinkRest, job: Job) -> JobStatus:
    """Return the figures of a job.

    Raises
    ------
    SetupError
        The cluster does not answer.
    ThalwegError
        It no longer knows the job.
    """
    told = flink.ask(f"jobs/{job.id}")
    restarts = {metric["id"]: metric["value"] for metric in flink.ask(f"jobs/{job.id}/metrics?get=numRestarts")}
    checkpoints = flink.ask(f"jobs/{job.id}/checkpoints")
    counts, newest = checkpoints.get("counts") or {}, (checkpoints.get("latest") or {}).get("completed")
    pressures, rate, lag = [], 0.0, None
    for vertex in told.get("vertices", []) if told["state"] == "RUNNING" else []:
        figures = flink.metrics(job.id, vertex["id"], _names(flink, job.id, vertex["id"]))
        for name, figure in figures.items():
            if name == _PRESSURE:
                pressures.append((figure["max"] / 1000, str(vertex["name"])))
            elif name.endswith("PerSecond"):
                rate += figure["sum"]
            else:
                lag = (lag or 0) + int(figure["sum"])
    pressure, task = max(pressures, default=(0.0, ""))
    now_ms = told["now"]
    return JobStatus(
        id=job.id,
        name=job.name,
        state=told["state"],
        up_s=max(0, now_ms - told["timestamps"]["RUNNING"]) / 1000 if told["state"] == "RUNNING" else 0.0,
        restarts=int(restarts.get("numRestarts", 0)),
        checkpoints=counts.get("completed", 0),
        failed_checkpoints=counts.get("failed", 0),
        checkpoint_bytes=newest and newest["state_size"],
        checkpoint_ms=newest and newest["end_to_end_duration"],
        checkpoint_age_s=newest and max(0, now_ms - newest["trigger_timestamp"]) / 1000,
        checkpoint_path=str(newest["external_path"]) if newest else "",
        backpressure=min(1.0, pressure),
        pressed_task=task if pressure else "",
        records_per_s=round(rate, 1),
        lag=lag,
        failure=flink.why_failed(job.id),
    )


def _names(flink: FlinkRest, job: str, vertex: str) -> list[str]:
    """Return which metrics of a vertex are to be asked for: names of sources are the job's own."""
    known: list[dict[str, Any]] = flink.ask(f"jobs/{job}/vertices/{vertex}/subtasks/metrics")
    return [metric["id"] for metric in known if metric["id"] == _PRESSURE or _SOURCE.match(metric["id"])]

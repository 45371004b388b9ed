"""``thalweg status``, ``stop`` and ``resume``: jobs on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
from rich.console import Console
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.flink_rest import ENDED, FlinkRest
from thalweg.jobs.job_status import JobStatus, job_status
from thalweg.jobs.output import json_option, print_json, print_table
from thalweg.jobs.run import job_options, run_file

__all__ = ["newest_checkpoint", "resume_command", "status_command", "stop_command"]

_METADATA = "_metadata"
_target = click.option(
    "--target", metavar="HOST:PORT", default="127.0.0.1:8081", show_default=True, help="REST endpoint of the cluster."
)


@click.command(name="status")
@click.argument("job", required=False)
@_target
@click.option("--all", "ended", is_flag=True, help="Also jobs that have ended.")
@json_option
@click.pass_context
def status_command(context: click.Context, job: str | None, target: str, ended: bool, as_json: bool) -> None:
    """Show how the jobs of a cluster fare.

    JOB is an id, the beginning of one, or a name; without it all jobs are shown that have not ended. With a JOB the
    exit code is 1 unless it runs or is finished. Back-pressure is the share of time in which a task could not pass its
    results on; lag is how many records wait in Kafka.

    \b
    Example:
      thalweg status --target jobmanager:8081
      thalweg status fraud --target jobmanager:8081 --json
    """
    flink = FlinkRest(target)
    wanted = [flink.find(job)] if job else [found for found in flink.jobs() if ended or found.state not in ENDED]
    told = [job_status(flink, found) for found in wanted]
    if as_json:
        print_json([status._asdict() for status in told])
    elif not told:
        click.echo(f"No job runs at {target}.")
    else:
        _print(told)
    if job and told[0].state not in ("RUNNING", "FINISHED"):
        context.exit(1)


@click.command(name="stop")
@click.argument("job")
@_target
@click.option("--savepoint", metavar="DIR", help="Folder or URI for the savepoint, as the cluster's machines see it.")
@click.option("--cancel", is_flag=True, help="End the job at once, without a savepoint.")
@click.option("--timeout", type=click.IntRange(1), default=600, show_default=True, help="Seconds to wait.")
@json_option
def stop_command(job: str, target: str, savepoint: str | None, cancel: bool, timeout: int, as_json: bool) -> None:
    """Stop a job with a savepoint, from which it can be resumed.

    JOB is an id, the beginning of one, or a name. What exactly-once tables were given is committed before the job ends.
    Without --savepoint the folder is the one in the cluster's configuration.

    \b
    Example:
      thalweg stop fraud --savepoint s3://flink/savepoints --target jobmanager:8081
      thalweg stop 0dec377f --cancel
    """
    if cancel and savepoint:
        raise ConfigError([Problem("--cancel", "is given together with --savepoint.", "Choose one.")])
    flink = FlinkRest(target)
    found = flink.find(job)
    if found.state in ENDED:
        what = f"has ended already: {found.state}."
        raise ConfigError([Problem(f"job {found.id}", what, f"'thalweg status --all --target {target}' shows it.")])
    began, place = time.monotonic(), ""
    with _progress("stopping") as tell:
        if cancel:
            flink.cancel(found.id, timeout)
        else:
            place = flink.stop(found.id, savepoint and _uri(savepoint), tell, timeout)
    state = flink.state(found.id)
    if as_json:
        seconds = round(time.monotonic() - began, 1)
        print_json({"job": found.id, "state": state, "savepoint": place or None, "seconds": seconds})
    elif cancel:
        click.echo(f"job {found.id} is {state}")
    else:
        click.echo(f"job {found.id} is {state}; its savepoint is {place}")


@click.command(name="resume")
@job_options
@click.option("--savepoint", required=True, metavar="PATH", help="Savepoint, checkpoint, or a job's checkpoints.")
def resume_command(savepoint: str, **chosen: Any) -> None:
    """Run a SQL file, going on from a savepoint or a checkpoint.

    PATH is what 'thalweg stop' printed; a checkpoint (chk-12); or the folder with a job's checkpoints, of which the
    newest complete one is taken: so a job goes on whose JobManager was lost. The parallelism may be another one.

    \b
    Example:
      thalweg resume fraud.sql --savepoint s3://flink/savepoints/savepoint-0dec37-4f1 --target jobmanager:8081
      thalweg resume fraud.sql --savepoint /checkpoints/0dec377f7eadbdcca175898507f3dce2 --target jobmanager:8081
    """
    run_file(**chosen, recover=newest_checkpoint(savepoint))


def newest_checkpoint(path: str) -> str:
    """Return the URI of a savepoint or checkpoint, or of the newest complete checkpoint in a folder of them.

    A folder that this machine cannot see is taken as it is: the cluster may see it.

    Raises
    ------
    ConfigError
        The folder is here and has neither.
    """
    uri = _uri(path)
    parts = urlsplit(uri)
    folder = Path(unquote(parts.path))
    if parts.scheme != "file" or not folder.is_dir() or (folder / _METADATA).is_file():
        return uri
    complete = [child for child in folder.glob("chk-*") if (child / _METADATA).is_file()]
    if not complete:
        remedy = "Name what 'thalweg stop' printed, a checkpoint (chk-12), or the folder with a job's checkpoints."
        raise ConfigError([Problem("--savepoint", f"{path} holds no complete savepoint or checkpoint.", remedy)])
    return max(complete, key=lambda child: int(child.name.removeprefix("chk-"))).as_uri()


def _uri(path: str) -> str:
    """Return a path of this machine as an absolute URI; what has a scheme stays."""
    try:
        if urlsplit(path).scheme:
            return path
    except ValueError as error:
        raise ConfigError([Problem("--savepoint", f"{path} is no address ({error}).", "Name a folder.")]) from None
    return Path(path).absolute().as_uri()


def _print(told: list[JobStatus]) -> None:
    columns = ("job", "name", "state", "up", "restarts", "checkpoints", "last one", "records/s", "lag", "back-pressure")
    print_table(
        columns,
        [
            (
                s.id,
                s.name,
                s.state,
                _span(s.up_s) if s.up_s else "-",
                s.restarts,
                f"{s.checkpoints}" + f", {s.failed_checkpoints} failed" * bool(s.failed_checkpoints),
                _checkpoint(s),
                f"{s.records_per_s:,.0f}",
                "-" if s.lag is None else f"{s.lag:,}",
                f"{s.backpressure:.0%}",
            )
            for s in told
        ],
    )
    for s in told:
        if s.pressed_task and s.backpressure >= 0.1:
            click.echo(f"{s.id} is held back by what follows: {s.pressed_task}")
        if s.failure:
            click.echo(f"{s.id} failed last: {s.failure}")


def _checkpoint(s: JobStatus) -> str:
    if s.checkpoint_bytes is None or s.checkpoint_ms is None or s.checkpoint_age_s is None:
        return "-"
    return f"{s.checkpoint_bytes / 1e6:,.2f} MB, {s.checkpoint_ms:,} ms, {_span(s.checkpoint_age_s)} ago"


def _span(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> _span(3.7), _span(125), _span(90_061)
    ('3 s', '2 min 5 s', '1 d 1 h')
    """
    left, parts = int(seconds), []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((at for at, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str], None]]:
    """Show what is told with the seconds that have passed; where nobody watches, each new line once."""
    console, began, said = Console(stderr=True, highlight=False), time.monotonic(), [""]
    with console.status(what) as shown:

        def tell(line: str) -> None:
            shown.update(f"{line}, {time.monotonic() - began:.0f} s")
            if not console.is_terminal and line != said[0]:
                console.print(line)
            said[0] = line

        yield tell

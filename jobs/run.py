"""``thalweg run FILE.sql``: the SQL file is the job."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from thalweg.connector.errors import ConfigError, Problem, ThalwegError
from thalweg.jobs.client_config import client_config_option, security, share_with_workers
from thalweg.jobs.flink_rest import FlinkRest
from thalweg.jobs.preflight import check_topics
from thalweg.jobs.root_cause import root_cause
from thalweg.jobs.script import read_script
from thalweg.jobs.table_security import with_security

__all__ = ["job_options", "run_command", "run_file", "variables"]

_RECOVER = "execution.state-recovery.path"


def variables(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return the ``-D name=value`` options as a mapping; raises ConfigError listing those that are not of that form."""
    problems = [
        Problem("-D", f"'{pair}' is not name=value.", "Write -D name=value.") for pair in pairs if "=" not in pair
    ]
    if problems:
        raise ConfigError(problems)
    return dict(pair.split("=", 1) for pair in pairs)


_OPTIONS = (
    click.argument("file", type=click.Path(path_type=Path)),
    click.option("-D", "pairs", multiple=True, metavar="NAME=VALUE", help="Value of ${NAME} in the file."),
    click.option(
        "--profile",
        type=click.Choice(["latency", "throughput"]),
        default="latency",
        show_default=True,
        help="What to tune Flink for.",
    ),
    click.option("--parallelism", type=click.IntRange(1), help="Default parallelism of the job."),
    click.option("--local", is_flag=True, help="Run in a mini cluster in this process; the default."),
    click.option("--target", metavar="HOST:PORT", help="Submit to the cluster with this REST endpoint, and return."),
    client_config_option,
    click.option("--json", "as_json", is_flag=True, help="Print one JSON line at the end."),
)


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the file of a job and the options of how and where it runs, as ``run_file`` takes them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(name="run")
@job_options
@click.option("--dry-run", "only_check", is_flag=True, help="Check the file and tell what it would do; run nothing.")
def run_command(only_check: bool, **chosen: Any) -> None:
    """Run a SQL file as one job.

    Tables, models and inserts all stand in the file. Ctrl-C cancels a local job.

    \b
    Example:
      thalweg run fraud.sql -D brokers=127.0.0.1:9092 --profile throughput
      thalweg run fraud.sql -D brokers=kafka:9092 --target jobmanager:8081
      thalweg run fraud.sql -D brokers=kafka:9092 --dry-run
    """
    if only_check:
        from thalweg.jobs.dry_run import dry_run

        given = variables(chosen["pairs"])
        dry_run(chosen["file"], given, chosen["profile"], chosen["parallelism"], chosen["as_json"])
        return
    run_file(**chosen)


def run_file(
    file: Path,
    pairs: tuple[str, ...],
    profile: str,
    parallelism: int | None,
    local: bool,
    target: str | None,
    as_json: bool,
    recover: str | None = None,
) -> None:
    """Run a SQL file as one job; ``recover`` is the savepoint or checkpoint that it goes on from.

    Raises
    ------
    ConfigError
        The file or the options are wrong.
    SetupError
        A jar, a broker or the cluster is missing.
    ThalwegError
        The job has failed.
    """
    if local and target:
        raise ConfigError([Problem("--target", "is given together with --local.", "Choose one.")])
    statements = with_security(read_script(file, variables(pairs)), security())
    share_with_workers()
    partitions = check_topics(statements)
    # Flink is imported only now: a mistake in the file is told at once.
    from thalweg.jobs.environment import make_environment, started_by_flink
    from thalweg.jobs.session import initial_settings, submit

    console = Console(stderr=True, highlight=False)
    settings = initial_settings(statements)
    if recover is not None:
        if _RECOVER in settings:
            what = f"the file itself sets '{_RECOVER}'."
            raise ConfigError([Problem("--savepoint", what, "Remove it there, or leave the option out.")])
        settings[_RECOVER] = recover
    where = target or ("the cluster of 'flink run'" if started_by_flink() else "")
    readers = parallelism or int(settings.get("parallelism.default", 0)) or (1 if where else os.cpu_count() or 1)
    for topic, count in partitions.items():
        if count < readers:
            console.print(
                f"topic '{topic}' has {count} partition{'s' * (count > 1)} for {readers} readers: those without hold"
                " the time of the stream back until they count as idle (table.exec.source.idle-timeout). Run with"
                f" --parallelism {count}, or give the topic more partitions."
            )
    t_env = make_environment(profile, settings, target, parallelism)
    started = time.monotonic()
    client = submit(t_env, statements).get_job_client()
    job_id = str(client.get_job_id())
    console.print(f"job {job_id} is {'submitted to ' + where if where else 'running in this process'}")
    if not where:
        state, reason = _follow(client, console)
    elif recover is None or target is None:
        state, reason = "SUBMITTED", ""
    else:
        state, reason = _restored(target, job_id, console)
    if as_json:
        click.echo(json.dumps({"job": job_id, "state": state, "seconds": round(time.monotonic() - started, 1)}))
    if state == "FAILED":
        raise ThalwegError(f"job {job_id} failed: {reason}")


def _restored(target: str, job_id: str, console: Console) -> tuple[str, str]:
    """Wait until a job on a cluster has taken its state back, and return what it is then, and why it failed."""
    flink = FlinkRest(target)
    with console.status("taking the state back"):
        state = flink.until_it_runs(job_id)
    if state == "FAILED":
        return state, flink.why_failed(job_id)
    taken = (flink.ask(f"jobs/{job_id}/checkpoints").get("latest") or {}).get("restored")
    if taken:
        kind = "savepoint" if taken["is_savepoint"] else "checkpoint"
        console.print(f"goes on from {kind} {taken['id']}, {taken['external_path']}")
    return state, ""


def _follow(client: Any, console: Console) -> tuple[str, str]:
    """Wait for a local job to end, and return its state and why it failed; Ctrl-C and SIGTERM cancel it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    begun = time.monotonic()
    ended = client.get_job_execution_result()
    try:
        with console.status("running") as status:
            while not ended.done():
                status.update(f"running, {time.monotonic() - begun:.0f} s")
                time.sleep(0.5)
        ended.result()
    except KeyboardInterrupt:
        console.print("cancelling the job")
        # Where the whole process group was signalled, the JVM is gone with its job, and every call to it an error.
        logging.disable(logging.CRITICAL)
        with suppress(Exception):
            client.cancel().result()
        return "CANCELED", ""
    except Exception as error:
        return "FAILED", root_cause(error)
    return "FINISHED", ""

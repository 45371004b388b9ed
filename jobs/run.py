"""``thalweg run FILE.sql``: the SQL file is the job."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from thalweg.connector.errors import ConfigError, Problem, ThalwegError
from thalweg.jobs.preflight import check_topics
from thalweg.jobs.script import read_script

__all__ = ["run_command", "variables"]


def variables(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return the ``-D name=value`` options as a mapping; raises ConfigError listing those that are not of that form."""
    problems = [
        Problem("-D", f"'{pair}' is not name=value.", "Write -D name=value.") for pair in pairs if "=" not in pair
    ]
    if problems:
        raise ConfigError(problems)
    return dict(pair.split("=", 1) for pair in pairs)


@click.command(name="run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-D", "pairs", multiple=True, metavar="NAME=VALUE", help="Value of ${NAME} in the file.")
@click.option(
    "--profile",
    type=click.Choice(["latency", "throughput"]),
    default="latency",
    show_default=True,
    help="What to tune Flink for.",
)
@click.option("--parallelism", type=click.IntRange(1), help="Default parallelism of the job.")
@click.option("--local", is_flag=True, help="Run in a mini cluster in this process; the default.")
@click.option("--target", metavar="HOST:PORT", help="Submit to the cluster with this REST endpoint, and return.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line at the end.")
def run_command(
    file: Path,
    pairs: tuple[str, ...],
    profile: str,
    parallelism: int | None,
    local: bool,
    target: str | None,
    as_json: bool,
) -> None:
    """Run a SQL file as one job.

    Tables, models and inserts all stand in the file. Ctrl-C cancels a local job.

    \b
    Example:
      thalweg run fraud.sql -D brokers=127.0.0.1:9092 --profile throughput
      thalweg run fraud.sql -D brokers=kafka:9092 --target jobmanager:8081
    """
    if local and target:
        raise ConfigError([Problem("--target", "is given together with --local.", "Choose one.")])
    statements = read_script(file, variables(pairs))
    partitions = check_topics(statements)
    # Flink is imported only now: a mistake in the file is told at once.
    from thalweg.jobs.environment import make_environment
    from thalweg.jobs.session import initial_settings, submit

    console = Console(stderr=True, highlight=False)
    settings = initial_settings(statements)
    readers = parallelism or int(settings.get("parallelism.default", 0)) or (1 if target else os.cpu_count() or 1)
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
    console.print(f"job {job_id} is {'submitted to ' + target if target else 'running in this process'}")
    state, reason = ("SUBMITTED", "") if target else _follow(client, console)
    if as_json:
        click.echo(json.dumps({"job": job_id, "state": state, "seconds": round(time.monotonic() - started, 1)}))
    if state == "FAILED":
        raise ThalwegError(f"job {job_id} failed: {reason}")


def _follow(client: Any, console: Console) -> tuple[str, str]:
    """Wait for a local job to end, and return its state and why it failed; Ctrl-C and SIGTERM cancel it."""
    from thalweg.jobs.session import root_cause

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

"""``thalweg demo``: a live stream of real flights, a frozen model and one that learns, on an embedded broker."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from thalweg.connector.errors import SetupError, ThalwegError
from thalweg.connector.kafka import count_records
from thalweg.jobs.broker import Broker
from thalweg.jobs.client_config import without_client_config
from thalweg.jobs.output import print_table

__all__ = ["demo_command"]

_FOLDER = Path(".thalweg/demo")
_DAY_MS = 86_400_000
_POLL_S = 5.0  # a look reads the metrics again, and the job wants the cores
_HEADINGS = ("month", "departures", "AUC frozen", "AUC continual", "log loss frozen", "log loss continual")


@click.command(name="demo")
@click.option("--rows", type=click.IntRange(1), help="So many departures, from February 1 on; default: all.")
@click.option(
    "--speedup", type=click.FloatRange(1), help="Replay so many times faster than 2013; default: as fast as it goes."
)
@click.option("--keep", is_flag=True, help="Leave the broker and its topics up, and say how to look at them.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON line at the end.")
def demo_command(rows: int | None, speedup: float | None, keep: bool, as_json: bool) -> None:
    """Learn on a live stream of real flights.

    Will this one be late? Two models answer for every departure from New York in 2013, from February on: one trained on
    January and frozen, one that starts empty and learns from each label when the aircraft is at its gate. The job is
    recipes/flights.sql.

    \b
    Example:
      thalweg demo --rows 50000
      thalweg demo --keep --json
    """
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(stderr=True, highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="thalweg-demo-") as scratch, _broker(keep) as broker:
            _run(broker.bootstrap, Path(scratch), rows, speedup, console, as_json)
            if keep:
                _say_how(broker.bootstrap)
    except KeyboardInterrupt:
        console.print("stopped: the job and the broker have ended")
        raise click.exceptions.Exit(130) from None


def _run(brokers: str, scratch: Path, rows: int | None, speedup: float | None, console: Console, as_json: bool) -> None:
    import numpy as np
    from thalweg.jobs.demo_flights import load_flights
    from thalweg.jobs.demo_frozen import export, train
    from thalweg.jobs.demo_publish import Publishing, make_topics
    from thalweg.jobs.demo_report import report

    whole = load_flights()
    console.print("training the frozen model on January")
    export(train(whole.where(whole.month == 1)), scratch / "frozen.onnx")
    later = whole.where(whole.month >= 2)
    flights = later if rows is None else later.where(np.arange(min(rows, len(later))))
    make_topics(brokers)
    records = len(flights) + int(flights.labelled.sum())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[say]}"),
    )
    publishing = Publishing(brokers, flights, speedup)
    try:
        with Progress(*columns, console=console) as progress:
            sending = progress.add_task("publishing", total=records, say="")
            scoring = progress.add_task("scoring and learning", total=2 * len(flights), say="", start=False)

            def sent_all() -> bool:
                running = publishing.running()
                progress.update(sending, completed=publishing.sent())
                return not running

            while speedup is None and not sent_all():
                time.sleep(0.2)
            progress.start_task(scoring)
            begun = time.monotonic()

            def look() -> bool:
                return _look(brokers, flights, progress, scoring, begun, not sent_all(), speedup is None)

            _job(brokers, scratch, speedup is None, look)
            seconds = time.monotonic() - begun
    finally:
        publishing.stop()
    console.print("joining the predictions with the truth")
    found = report(brokers, flights, seconds)
    _tell(found, seconds, as_json)


def _job(brokers: str, scratch: Path, bounded: bool, look: Any) -> None:
    """Run the recipe exactly as a user would, look now and then, and stop it where it does not end by itself."""
    with as_file(files("thalweg.jobs").joinpath("recipes/flights.sql")) as recipe:
        variables = [f"brokers={brokers}", f"frozen={scratch / 'frozen.onnx'}"]
        variables += ["bounded=latest-offset"] if bounded else []
        command = [sys.executable, "-m", "thalweg.jobs", "run", str(recipe), "--profile", "throughput"]
        command += ["--parallelism", "1"]  # the topics have one partition: a second reader would never hear the time
        for variable in variables:
            command += ["-D", variable]
        with open(scratch / "job.log", "wb") as log:
            env = without_client_config()
            job = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=env)  # noqa: S603
            try:
                while job.poll() is None:
                    if look():
                        return
                    try:
                        job.wait(_POLL_S)
                    except subprocess.TimeoutExpired:
                        continue
            finally:
                if job.poll() is None:
                    job.send_signal(signal.SIGTERM)
                    try:
                        job.wait(20)
                    except subprocess.TimeoutExpired:
                        job.kill()
    if job.returncode:
        raise ThalwegError("The job failed: " + (scratch / "job.log").read_text("utf-8", "replace").strip()[-2000:])
    look()


def _look(
    brokers: str, flights: Any, progress: Progress, task: Any, begun: float, publishing: bool, bounded: bool
) -> bool:
    """Show how far the job is; return whether all is answered and every label's fate is known."""
    from thalweg.jobs.demo_publish import RESULTS, heartbeat
    from thalweg.jobs.demo_report import MODELS, newest_metrics

    try:
        answered = count_records(brokers, RESULTS["prediction"])
        newest = newest_metrics(brokers)
    except SetupError:
        return False
    rate = answered / 2 / (time.monotonic() - begun)
    areas = "  ".join(
        f"{m} AUC {newest['rolling'][m]['ROCAUC']:.3f}" for m in MODELS if "ROCAUC" in newest["rolling"][m]
    )
    progress.update(task, completed=answered, say=f"{rate:,.0f} departures/s  {areas}")
    if bounded or publishing:
        return False
    # Nothing more comes, and a stream without an end does not say so: the time of this record does.
    heartbeat(brokers, int(max(flights.departure_ms[-1], flights.arrival_ms.max())) + 30 * _DAY_MS)
    books = newest["cumulative"]
    return answered >= 2 * len(flights) and all(
        books[m].get("events") == len(flights) and books[m].get("labels_pending") == 0 for m in MODELS
    )


def _tell(found: Any, seconds: float, as_json: bool) -> None:
    figures = found.figures
    labels = figures["labels"]
    print_table(_HEADINGS, found.table)
    never = figures["rows"] - labels["published"]
    click.echo(
        f"\n{figures['rows']:,} departures, {figures['predictions']:,} predictions; {labels['matched']:,} labels"
        f" matched, {never:,} never seen; {figures['snapshots']:,} snapshots;"
        f" {figures['dead_letters']:,} dead letters.\n"
        f"{figures['events_per_s']:,} departures/s, both models, {seconds:.0f} s with the start of Flink.\n"
        "The books balance: one prediction per departure and model, and every label is accounted for.\n"
        "January trained the frozen model; the continual one started empty on February 1. The score that counts is the"
        " one given before the label was known."
    )
    if as_json:
        click.echo(json.dumps(figures))


@contextmanager
def _broker(keep: bool) -> Iterator[Broker]:
    """Start a broker for the demo; one that an earlier ``--keep`` left is ended, for its topics are full."""
    left = Broker.find(_FOLDER)
    if left is not None:
        left.stop()
    if not keep:
        with tempfile.TemporaryDirectory(prefix="thalweg-broker-") as folder, Broker.start(folder) as broker:
            yield broker
        return
    shutil.rmtree(_FOLDER, ignore_errors=True)
    broker = Broker.start(_FOLDER, detached=True)
    try:
        yield broker
    except BaseException:
        broker.stop()
        raise


def _say_how(brokers: str) -> None:
    click.echo(
        f"\nThe broker is up at {brokers}. Look at the models, then stop it:\n"
        f"  thalweg snapshots list --topic flights.snapshot.v1 --brokers {brokers}\n"
        f"  thalweg broker stop --state {_FOLDER}"
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

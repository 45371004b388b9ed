"""``thalweg watch``: the models of an application, live in the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from thalweg.connector.errors import ConfigError, Problem, WireError
from thalweg.jobs.output import json_option, print_json
from thalweg.jobs.topic_names import open_logs, topic_options
from thalweg.jobs.watch_state import WatchState
from thalweg.jobs.watch_view import facts, view

if TYPE_CHECKING:
    from thalweg.connector.topic_log import TopicLog

__all__ = ["watch_command"]

_SNAPSHOTS = 100  # records with whole models in them: fewer of them are read
_WIDE = 160


@click.command("watch")
@topic_options("metric", "prediction", "alert", "snapshot")
@click.option("--once", is_flag=True, help="Print how things are and end.")
@click.option("--every", default="1 s", show_default=True, help="How often the screen is drawn anew.")
@click.option(
    "--newest",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="The most records of a partition that are read at a time; what is older is passed over.",
)
@json_option
def watch_command(
    app: str | None,
    brokers: str,
    metric_topics: tuple[str, ...],
    prediction_topics: tuple[str, ...],
    alert_topics: tuple[str, ...],
    snapshot_topics: tuple[str, ...],
    once: bool,
    every: str,
    newest: int,
    as_json: bool,
) -> None:
    """Watch models: versions, rates, rolling metrics with their course, alerts, and how far the answers are behind.

    'behind' is how long after its event the newest answer came, 'silent' how long ago that was. Ctrl-C ends it.

    \b
    Example:
      thalweg watch --app flights
      thalweg watch --metrics delay.metrics --alerts delay.alerts --once
    """
    from thalweg.udfs.engines.durations import parse_duration_ms

    try:
        pause_s = parse_duration_ms(every) / 1000
    except ValueError as error:
        raise ConfigError([Problem("option '--every'", str(error), "Write it as in '1 s'.")]) from None
    if as_json and not once:
        raise ConfigError([Problem("option '--json'", "is for one look.", "Give --once as well.")])
    named = {
        "metric": metric_topics,
        "prediction": prediction_topics,
        "alert": alert_topics,
        "snapshot": snapshot_topics,
    }
    state = WatchState()
    with ExitStack() as opened:
        logs = open_logs(opened, brokers, app, named)
        for kind, log in logs:
            log.skip(_most(kind, newest))
        if once:
            _read(logs, state, newest)
            if as_json:
                print_json(facts(state, _now_ms()))
                return
            _console().print(view(state, _now_ms()))
            return
        try:
            _follow(logs, state, newest, pause_s)
        except KeyboardInterrupt:
            return


def _follow(logs: Sequence[tuple[str, TopicLog]], state: WatchState, newest: int, pause_s: float) -> None:
    """Draw the screen again and again; where there is none, print one view after the other."""
    console = _console()
    with Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else nullcontext() as live:
        while True:
            _read(logs, state, newest)
            shown = view(state, _now_ms())
            if live is None:
                console.print(shown)
            else:
                live.update(shown, refresh=True)
            time.sleep(pause_s)


def _console() -> Console:
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=_WIDE)


def _read(logs: Sequence[tuple[str, TopicLog]], state: WatchState, newest: int) -> None:
    from thalweg.connector.wire import decode

    for kind, log in logs:
        passed = log.skip(_most(kind, newest))
        state.passed_over += passed
        records = [record for record in log.new() if record.value is not None]
        weight = 1.0 + passed / max(1, len(records))
        for record in records:
            try:
                state.add(kind, decode(kind, record.value), record.timestamp, weight)
            except WireError:
                state.unreadable += 1


def _most(kind: str, newest: int) -> int:
    return min(newest, _SNAPSHOTS) if kind == "snapshot" else newest


def _now_ms() -> int:
    return int(time.time() * 1000)

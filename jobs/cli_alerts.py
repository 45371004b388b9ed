"""``thalweg alerts``: what a person must hear of, on the screen or brought elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from typing import Any

import click
from thalweg.connector.errors import ConfigError, Problem, WireError
from thalweg.jobs.alert_delivery import DeliveryError, Sender, command_sender, webhook_sender
from thalweg.jobs.alert_gate import SEVERITIES, AlertGate
from thalweg.jobs.client_config import brokers_option, security
from thalweg.jobs.output import printable

__all__ = ["alerts"]

_POLL_S = 0.3


@click.group()
def alerts() -> None:
    """Hear of models that are not well.

    \b
    Example:
      thalweg alerts watch --topic flights.alert.v1
    """


@alerts.command()
@click.option("--topic", "topics", multiple=True, help="A topic with alerts; may be given again.  [thalweg.alert.v1]")
@brokers_option
@click.option(
    "--from-beginning", is_flag=True, help="Begin with the oldest alert that is there, not with the next one."
)
@click.option("--once", is_flag=True, help="End when all that is there has been told.")
@click.option("--model", "models", multiple=True, help="Only alerts of this model; may be given again.")
@click.option("--severity", type=click.Choice(SEVERITIES), default="info", show_default=True, help="The least to tell.")
@click.option(
    "--min-interval", default="10 min", show_default=True, help="Between two times that one alert of a model is told."
)
@click.option(
    "--max-per-minute",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="The most alerts to tell in a minute.",
)
@click.option("--exec", "line", help="A command to run for each; it has the alert as JSON on its standard input.")
@click.option(
    "--exec-timeout", default="30 s", show_default=True, help="How long the command may take before it is ended."
)
@click.option("--webhook", help="An address to which each is sent as JSON, by POST.")
@click.option("--allow-host", multiple=True, help="A host besides this machine to which --webhook may send.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line instead of text.")
@click.pass_context
def watch(
    ctx: click.Context,
    topics: tuple[str, ...],
    brokers: str,
    from_beginning: bool,
    once: bool,
    models: tuple[str, ...],
    severity: str,
    min_interval: str,
    max_per_minute: int,
    line: str | None,
    exec_timeout: str,
    webhook: str | None,
    allow_host: tuple[str, ...],
    as_json: bool,
) -> None:
    """Follow the alerts until Ctrl-C, and bring each of them to a command or to a web address.

    An alert that comes again is told once per --min-interval, and then says how many were withheld. The end of one that
    was told is told too. Exit code 1: some could not be delivered; they are named on standard error.

    \b
    Example:
      thalweg alerts watch --topic flights.alert.v1 --severity warning
      thalweg alerts watch --from-beginning --once --json
      thalweg alerts watch --exec "mail -s 'a model needs you' team" --min-interval "1 h"
      thalweg alerts watch --webhook http://127.0.0.1:8080/hooks/models
    """
    from thalweg.connector.topic_log import TopicLog

    gate = AlertGate(_duration("--min-interval", min_interval), max_per_minute, severity, frozenset(models))
    timeout_s = _duration("--exec-timeout", exec_timeout) / 1000
    senders = [] if line is None else [command_sender(line, timeout_s)]
    if webhook is not None:
        senders.append(webhook_sender(webhook, allow_host))
    failed = 0
    with ExitStack() as opened:
        try:
            names = topics or ("thalweg.alert.v1",)
            logs = [opened.enter_context(closing(TopicLog(brokers, name, **security()))) for name in names]
            if not from_beginning:
                for log in logs:
                    log.skip()
            if not once:
                click.echo("Waiting for alerts; Ctrl-C ends it.", err=True)
            while True:
                told = [(alert, gate.judge(alert, came_ms)) for alert, came_ms in _new(logs)]
                told += [] if once else gate.due(int(time.time() * 1000))
                for alert, verdict in told:
                    if verdict is not None and verdict.told:
                        failed += _tell({**alert, "withheld": verdict.withheld}, senders, as_json)
                if once:
                    break
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            click.echo("", err=True)
    if gate.withheld:
        click.echo(f"{gate.withheld} alerts were withheld: they came again, or too many at once.", err=True)
    if failed:
        click.echo(f"{failed} deliveries failed.", err=True)
        ctx.exit(1)


def _new(logs: Sequence[Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield the alerts that have come since the last call, in the order in which the broker got them, and when."""
    from thalweg.connector.wire import decode

    for record in sorted((record for log in logs for record in log.new()), key=lambda record: record.timestamp):
        if record.value is None:
            continue
        try:
            yield decode("alert", record.value), record.timestamp
        except WireError as error:
            place = f"{record.topic}-{record.partition} at offset {record.offset}"
            click.echo(printable(f"{place} is passed over: {error}"), err=True)


def _tell(alert: Mapping[str, Any], senders: Sequence[Sender], as_json: bool) -> int:
    """Print an alert, send it everywhere, and return how often that failed."""
    click.echo(json.dumps(alert, sort_keys=True) if as_json else _sentence(alert))
    failed = 0
    for send in senders:
        try:
            send(alert)
        except DeliveryError as error:
            failed += 1
            click.echo(
                printable(f"'{alert['alert']}' of model '{alert['model']}' was not delivered: {error}"), err=True
            )
    return failed


def _sentence(alert: Mapping[str, Any]) -> str:
    moment = datetime.fromtimestamp(alert["event_time_ms"] / 1000, timezone.utc).isoformat(timespec="seconds")
    again = f" ({alert['withheld']} withheld since)" if alert["withheld"] else ""
    head = f"{moment}  {alert['severity']:8}  {alert['state']:7}  {alert['model']}: {alert['alert']}"
    return printable(f"{head}{again}\n    {alert['reason']}")


def _duration(option: str, text: str) -> int:
    from thalweg.udfs.engines.durations import parse_duration_ms

    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise ConfigError([Problem(f"option '{option}'", str(error), "Write it as in '10 min'.")]) from None

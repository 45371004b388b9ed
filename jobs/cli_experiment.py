"""``thalweg experiment``: how a live comparison stands, and orders to it, audited."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.cli_follow import follow
from thalweg.jobs.client_config import brokers_option, security
from thalweg.jobs.output import json_option, print_json, print_table
from thalweg.jobs.signing_options import signer, signing_option

__all__ = ["experiment"]

_ACK_S = 30.0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may have users without names
        return "unknown"


def _order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all orders have."""
    topic = click.option(
        "--topic", default="thalweg.control.v1", show_default=True, help="The topic of the option 'control-table'."
    )
    reason = click.option("--reason", required=True, help="Why, one sentence; it is kept with the decision.")
    by = click.option("--by", default=_user, show_default="your user name", help="Who gives the order.")
    at = click.option(
        "--at", help="From when on it holds, in the time of the stream: ISO 8601 or epoch ms. Default: now."
    )
    return reason(by(at(topic(brokers_option(signing_option(json_option(command)))))))


@click.group()
def experiment() -> None:
    """Say how a live comparison of models stands, and give it orders.

    \b
    Example:
      thalweg experiment status delay
      thalweg experiment promote delay delay_v2 --reason "agreed in the review"
      thalweg experiment follow delay --arm delay_v1=1 --arm delay_v2=2
    """


@experiment.command()
@click.argument("name")
@click.option("--decisions", default="thalweg.decision.v1", show_default=True, help="Topic of <name>_decisions.")
@click.option("--metrics", default="thalweg.metric.v1", show_default=True, help="Topic of <name>_metrics.")
@brokers_option
@json_option
def status(name: str, decisions: str, metrics: str, brokers: str, as_json: bool) -> None:
    """Show the models of the comparison NAME: traffic, metric with its interval, evidence, verdict, what comes next.

    \b
    Example:
      thalweg experiment status delay
      thalweg experiment status delay --decisions flights.decision.v1 --metrics flights.metric.v1 --json
    """
    from thalweg.connector.kafka import read_topic
    from thalweg.jobs.experiment_report import COLUMNS, experiment_names, experiment_status

    told = [record for record, _ in read_topic(brokers, decisions, "decision", **security())]
    measured = (record for record, _ in read_topic(brokers, metrics, "metric", **security()))
    found = experiment_status(name, told, measured)
    if found["last"] is None and not found["models"]:
        known = ", ".join(experiment_names(told)) or "none yet"
        remedy = (
            f"Those with decisions: {known}. Insert its views {name}_decisions and {name}_metrics into these topics."
        )
        raise ConfigError([Problem(f"comparison '{name}'", f"is neither in '{decisions}' nor in '{metrics}'.", remedy)])
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, ([model[column] for column in COLUMNS] for model in found["models"]))
    click.echo("")
    if found["last"] is not None:
        last = found["last"]
        about = f" {last['arm']}" if last["arm"] else ""
        click.echo(f"Last decision: {last['decision']}{about}, {last['at']}, by {last['decided_by']}. {last['reason']}")
    click.echo(f"Next: {found['next']}")


@experiment.command()
@click.argument("name")
@click.argument("model")
@_order_options
def promote(name: str, model: str, **options: Any) -> None:
    """Make MODEL the default of the comparison NAME.

    \b
    Example:
      thalweg experiment promote delay delay_v2 --reason "agreed in the review"
    """
    _give(name, "promote", model, **options)


@experiment.command()
@click.argument("name")
@_order_options
def rollback(name: str, **options: Any) -> None:
    """Make the default of the comparison NAME the one that it was before.

    \b
    Example:
      thalweg experiment rollback delay --reason "complaints from the gate"
    """
    _give(name, "rollback", "", **options)


@experiment.command()
@click.argument("name")
@_order_options
def freeze(name: str, **options: Any) -> None:
    """Let nothing change in the comparison NAME but by people; it goes on measuring.

    \b
    Example:
      thalweg experiment freeze delay --reason "a storm is coming"
    """
    _give(name, "freeze", "", **options)


@experiment.command()
@click.argument("name")
@_order_options
def resume(name: str, **options: Any) -> None:
    """End a freeze of the comparison NAME.

    \b
    Example:
      thalweg experiment resume delay --reason "the storm is over"
    """
    _give(name, "resume", "", **options)


@experiment.command()
@click.argument("name")
@click.argument("shares")
@_order_options
def weights(name: str, shares: str, **options: Any) -> None:
    """Give the candidates of the comparison NAME other SHARES, in percent; the default has the rest.

    \b
    Example:
      thalweg experiment weights delay "delay_v2:50, delay_v3:10" --reason "a closer look"
    """
    from thalweg.udfs.logic.compare_options import read_shares

    try:
        total = sum(share for _, share in read_shares(shares))
    except ValueError as error:
        raise ConfigError([Problem("SHARES", str(error), "Write them as in 'candidates'.")]) from error
    if total > 100:
        raise ConfigError([Problem("SHARES", f"they are {total:g} percent together.", "Give at most 100.")])
    _give(name, "weights", shares, **options)


def _give(
    name: str,
    command: str,
    argument: str,
    topic: str,
    brokers: str,
    reason: str,
    by: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Send an order, and say so once the broker has it."""
    from kafka import KafkaProducer
    from thalweg.connector.client import open_client, open_topic
    from thalweg.connector.wire import encode

    record = {
        "model": name,
        "command": command,
        "argument": argument,
        "issued_by": by,
        "reason": reason,
        "issued_ms": time.time_ns() // 1_000_000 if at is None else _moment(at),
    }
    key = signer()
    if key is not None:
        from thalweg.connector.orders import sign_order

        record = sign_order(record, key)
    value = encode("control", record)
    with open_topic(brokers, topic, security()):
        pass  # an order to a topic that nobody reads would be lost without a word
    with open_client(KafkaProducer, brokers, security(), linger_ms=0) as producer:
        producer.send(topic, value, key=name.encode()).get(timeout=_ACK_S)
    if as_json:
        print_json(record)
    else:
        about = f" {argument}" if argument else ""
        click.echo(
            f"{command}{about} is ordered for {name} by {by}; `thalweg experiment status {name}` shows when it is done."
        )


def _moment(text: str) -> int:
    """Return a time as epoch ms."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        what = f"'{text}' is no time."
        raise ConfigError([Problem("--at", what, "Write 2025-06-01T12:00:00Z, or epoch ms.")]) from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000)


experiment.add_command(follow)

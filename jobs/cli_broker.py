"""``thalweg broker``: a Kafka broker on this machine."""

from __future__ import annotations

from pathlib import Path

import click
from thalweg.jobs.broker import Broker
from thalweg.jobs.output import json_option, print_json

__all__ = ["broker"]

_state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".thalweg/broker"),
    show_default=True,
    help="Folder with the data, the log, and who runs.",
)


@click.group()
def broker() -> None:
    """Run a Kafka broker on this machine, for trying things.

    \b
    Example:
      thalweg broker start
      thalweg broker stop
    """


@broker.command()
@_state_option
@click.option("--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="0 takes a free one.")
@click.option("--heap", default="512m", show_default=True, help="Java's -Xmx.")
@json_option
def start(state: Path, port: int, heap: str, as_json: bool) -> None:
    """Start a broker on 127.0.0.1 that stays until it is stopped.

    \b
    Example:
      thalweg broker start --port 9092
    """
    _tell(Broker.start(state, port, detached=True, heap=heap), as_json)


@broker.command()
@_state_option
@json_option
def stop(state: Path, as_json: bool) -> None:
    """Stop the broker that was started on this folder; its data stays.

    \b
    Example:
      thalweg broker stop
    """
    found = Broker.find(state)
    if found is not None:
        found.stop()
    if as_json:
        print_json({"stopped": found is not None})
    else:
        click.echo("Stopped." if found is not None else f"No broker runs on {state}.")


@broker.command()
@_state_option
@json_option
@click.pass_context
def status(context: click.Context, state: Path, as_json: bool) -> None:
    """Say whether a broker runs on this folder; exit code 1 if none does.

    \b
    Example:
      thalweg broker status --json
    """
    found = Broker.find(state)
    if found is not None:
        _tell(found, as_json)
        return
    if as_json:
        print_json({"running": False})
    else:
        click.echo(f"No broker runs on {state}.")
    context.exit(1)


def _tell(found: Broker, as_json: bool) -> None:
    if as_json:
        print_json({"running": True, "bootstrap": found.bootstrap, "pid": found.pid, "log": str(found.log)})
    else:
        click.echo(f"A broker runs at {found.bootstrap} (process {found.pid}, log {found.log}).")

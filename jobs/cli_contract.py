"""``thalweg ddl`` and ``thalweg snapshots``: the wire contract and what lies in its snapshot topic."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from thalweg.connector.snapshot import Snapshot

__all__ = ["ddl", "snapshots"]

_brokers_option = click.option("--brokers", default="127.0.0.1:9092", show_default=True, help="host:port, ...")


@click.command()
@click.argument("schemas", nargs=-1)
@click.option("--app", default="thalweg", show_default=True, help="First part of the topics: <app>.<schema>.v1.")
@_brokers_option
@json_option
def ddl(schemas: tuple[str, ...], app: str, brokers: str, as_json: bool) -> None:
    """Print the CREATE TABLE of each topic of the wire contract, or of the SCHEMAS named.

    \b
    Example:
      thalweg ddl prediction metric --app flights > tables.sql
    """
    from thalweg.connector.ddl import create_table, topic
    from thalweg.connector.wire import SCHEMAS

    unknown = [name for name in schemas if name not in SCHEMAS]
    if unknown:
        known = f"Known: {', '.join(SCHEMAS)}."
        raise ConfigError([Problem(f"schema '{name}'", "no such schema.", known) for name in unknown])
    tables = {name: create_table(name, name, topic(app, name), brokers) for name in schemas or SCHEMAS}
    if as_json:
        print_json(tables)
    else:
        click.echo("\n\n".join(f"{table};" for table in tables.values()))


@click.group()
def snapshots() -> None:
    """Look at the models that jobs have published to a snapshot topic.

    \b
    Example:
      thalweg snapshots list --topic flights.snapshot.v1
    """


_topic_option = click.option("--topic", required=True, help="The snapshot topic, <app>.snapshot.v1.")


@snapshots.command("list")
@_topic_option
@_brokers_option
@json_option
def list_(topic: str, brokers: str, as_json: bool) -> None:
    """List the newest snapshot of each model and key.

    \b
    Example:
      thalweg snapshots list --topic flights.snapshot.v1
    """
    found = [_facts(snapshot) for _, snapshot in sorted(_latest(brokers, topic).items())]
    if as_json:
        print_json(found)
        return
    columns = ("model", "key", "kind", "version", "event_time", "bytes", "sha256")
    print_table(columns, ([str(facts[column])[:25] for column in columns] for facts in found))


@snapshots.command()
@click.argument("model")
@click.option("--key", default="", help="Key of the model; that of the shared model is empty.")
@click.option("--blob", type=click.Path(dir_okay=False, path_type=Path), help="Also write the model's bytes here.")
@_topic_option
@_brokers_option
@json_option
def show(model: str, key: str, blob: Path | None, topic: str, brokers: str, as_json: bool) -> None:
    """Show the newest snapshot of MODEL.

    \b
    Example:
      thalweg snapshots show delay --key UA --topic flights.snapshot.v1 --blob delay.bin
    """
    found = _latest(brokers, topic)
    if (model, key) not in found:
        known = ", ".join(sorted({name for name, _ in found})) or "none"
        what = f"no snapshot with key '{key}' in topic {topic}."
        raise ConfigError([Problem(f"model '{model}'", what, f"Models there: {known}; see 'thalweg snapshots list'.")])
    snapshot = found[model, key]
    facts = _facts(snapshot) | {"spec": snapshot.spec, "writer": snapshot.writer, "metrics": dict(snapshot.metrics)}
    if blob is not None:
        blob.write_bytes(snapshot.blob)
    if as_json:
        print_json(facts)
    else:
        print_table(("field", "value"), facts.items())


def _latest(brokers: str, topic: str) -> dict[tuple[str, str], Snapshot]:
    from thalweg.connector.kafka import SnapshotTopic

    return SnapshotTopic(brokers, topic).latest()


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    moment = datetime.fromtimestamp(snapshot.event_time_ms / 1000, timezone.utc)
    return {
        "model": snapshot.model,
        "key": snapshot.key,
        "kind": snapshot.kind,
        "version": snapshot.version,
        "event_time": moment.isoformat(timespec="milliseconds"),
        "event_time_ms": snapshot.event_time_ms,
        "bytes": snapshot.size,
        "sha256": snapshot.sha256,
    }

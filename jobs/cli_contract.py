"""``thalweg ddl``: the wire contract as tables of Flink."""

from __future__ import annotations

import click
from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.output import json_option, print_json

__all__ = ["ddl"]


@click.command()
@click.argument("schemas", nargs=-1)
@click.option("--app", default="thalweg", show_default=True, help="First part of the topics: <app>.<schema>.v1.")
@click.option("--brokers", default="127.0.0.1:9092", show_default=True, help="host:port, ...")
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

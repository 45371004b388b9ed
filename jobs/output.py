"""How commands speak: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from thalweg.connector.redaction import redacted

__all__ = ["json_option", "print_json", "print_table", "printable"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def printable(text: str) -> str:
    r"""Return what came from a topic as a terminal may show it: no control character but the end of a line.

    Examples
    --------
    >>> printable("a model\x1b[2Jnamed oddly")
    'a model?[2Jnamed oddly'
    """
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


def print_json(value: Any) -> None:
    """Print ``value`` as one indented JSON document with its keys in order."""
    click.echo(redacted(json.dumps(value, indent=2, sort_keys=True), by_name=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; one that is piped is never cut to a screen nobody sees."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(redacted(str(cell), by_name=False) for cell in row))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=1000)
    console.print(table)

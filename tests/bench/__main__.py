"""Runs a benchmark by name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import click

NAMES = (
    "learning",
    "demo",
    "inference",
    "latency",
    "neural",
    "export",
    "midas",
    "nab",
    "cadence",
    "cold_start",
    "active_keys",
    "evaluation",
)


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with reference data, for benchmarks that need it."
)
@click.option("--rows", type=click.IntRange(1000), help="Rows, where the benchmark's own number is too many.")
@click.option("--cases", help="Only these cases, between commas, of a benchmark that can run some of its cases.")
def main(name: str, data: Path | None, rows: int | None, cases: str | None) -> None:
    """Run the benchmark NAME.

    \b
    Example:
      python -m tests.bench learning --rows 200000
    """
    only = {} if cases is None else {"cases": cases}
    figures = importlib.import_module(f"tests.bench.bench_{name}").run(data, rows, **only)
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()

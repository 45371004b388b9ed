"""Runs a benchmark by name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import click

NAMES = ("learning", "demo", "inference", "latency", "neural", "export", "midas")


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with reference data, for benchmarks that need it."
)
@click.option("--rows", type=click.IntRange(1000), help="Rows, where the benchmark's own number is too many.")
def main(name: str, data: Path | None, rows: int | None) -> None:
    """Run the benchmark NAME.

    \b
    Example:
      python -m tests.bench learning --rows 200000
    """
    figures = importlib.import_module(f"tests.bench.bench_{name}").run(data, rows)
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()

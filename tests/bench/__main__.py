"""Runs a benchmark by name."""

from __future__ import annotations

import importlib
import json
import signal
import sys
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
    "recommend",
    "cadence",
    "cold_start",
    "active_keys",
    "evaluation",
    "sequential",
    "report",
    "hybrid",
    "funnel",
    "sale",
    "faults",
    "soak",
    "drift",
    "comparison",
    "fuzz",
)


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with reference data, for benchmarks that need it."
)
@click.option("--rows", type=click.IntRange(1000), help="Rows, where the benchmark's own number is too many.")
@click.option("--cases", help="Only these cases, between commas, of a benchmark that can run some of its cases.")
@click.option("--minutes", type=click.FloatRange(0.5), help="How long, of a benchmark that goes on for some time.")
def main(name: str, data: Path | None, rows: int | None, cases: str | None, minutes: float | None) -> None:
    """Run the benchmark NAME.

    \b
    Example:
      python -m tests.bench learning --rows 200000
    """
    # What a benchmark has started ends with it, also when it is told to stop.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = {"cases": cases, "minutes": minutes}
    only = {option: value for option, value in chosen.items() if value is not None}
    figures = importlib.import_module(f"tests.bench.bench_{name}").run(data, rows, **only)
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()

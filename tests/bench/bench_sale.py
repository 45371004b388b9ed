"""Demand in a sale without a history, and in series with one: forecasts of the next row that learn, with intervals.

Three River models per product and a prior of all, as the recipe ``sale`` has them: the 5 % and the 95 % quantile and
the middle of the logarithm of growth. ``made``: twelve products, minute by minute; after a day an event begins with 50
times the demand, in which four of them are new. Judged is its first hour. ``frozen`` is the same as it was when the
event began, ``naive`` the same minute a day before (a new product: its last minute), ``last`` the last row. The other
series are volumes of the Numenta Anomaly Benchmark, each a product of its own; judged is the second half, ``frozen``
has learned the first, and ``naive`` is a week before for taxis, a day before for the others. ``coverage90`` is the
share of rows within the interval, ``width90`` how wide it is. The figures without a name before them are those of
``made``, those with ``new`` of its new products.

The pure machine of the learning operator in one loop, without Flink: the same code, and the same answers.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from thalweg.jobs.samples_sale import rows as made_sale

from tests.sale_steps import Step, forecasts, steps

FILE = "nab.zip"
STRENGTH = 20000
SERIES = {  # rows of a season, minutes of a row
    "realKnownCause/nyc_taxi.csv": (336, 30),
    "realAWSCloudwatch/elb_request_count_8c0756.csv": (288, 5),
    "realAWSCloudwatch/ec2_network_in_257a54.csv": (288, 5),
    "realAWSCloudwatch/ec2_network_in_5abac7.csv": (288, 5),
}
MADE_ROWS, MADE_SEED = 8 * 1600, 7  # a day of minutes, and more than the first hour of the event
_HOUR_MS = 3_600_000


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return errors and coverage; ``rows`` is how many rows of a series are taken."""
    if data is None or not (data / FILE).exists():
        raise click.UsageError(f"--data names no folder with {FILE}")
    figures: dict[str, Any] = {"benchmark": "sale", **made(MADE_SEED)}
    _say(f"made: {figures}")
    for name, (season, minutes) in SERIES.items():
        series = read(data / FILE, name)[:rows]
        begin = series[len(series) // 2][0]
        found = judged(list(steps(series, season - 1, minutes)), season, begin, series[-1][0])
        figures[Path(name).stem] = found
        _say(f"{Path(name).stem}: {found}")
    return figures


def made(seed: int) -> dict[str, Any]:
    """Return the figures of the first hour of a made event, those of its new products apart."""
    sales = [(ms, row["product"], row["category"], row["sold"]) for _, _, row, ms in made_sale(MADE_ROWS, seed)]
    begin = next(ms for ms, product, _, _ in sales if product == "toys-2")
    taken = list(steps((row for row in sales if row[0] <= begin + _HOUR_MS), 1439, 1))
    return judged(taken, 1440, begin, begin + _HOUR_MS)


def judged(taken: Sequence[Step], season: int, begin: int, end: int) -> dict[str, Any]:
    """Return the figures over the rows after ``begin`` until ``end``."""
    ways = {"": forecasts(taken, STRENGTH), "frozen_": forecasts(taken, STRENGTH, begin)}
    histories: dict[str, list[float]] = defaultdict(list)
    errors: dict[str, list[float]] = defaultdict(list)
    inside: dict[str, list[bool]] = defaultdict(list)
    width = []
    known = {step.product for step in taken if step.ms < begin}
    for step in taken:
        past = histories[step.product]
        if begin < step.ms <= end and step.answers is not None:
            found = {way: told[step.answers] for way, told in ways.items()}
            middles = {way: found[way][1] for way in ways}
            middles |= {"naive_": past[-season] if len(past) >= season else past[-1], "last_": past[-1]}
            for way, middle in middles.items():
                errors[f"{way}mae"].append(abs(middle - step.sold))
                if step.product not in known:
                    errors[f"new_{way}mae"].append(abs(middle - step.sold))
            for way, (low, _, high) in found.items():
                inside[f"{way}coverage90"].append(low <= step.sold <= high)
            width.append(found[""][2] - found[""][0])
        past.append(step.sold)
    figures: dict[str, Any] = {name: _mean(values) for name, values in errors.items()}
    figures |= {name: round(sum(values) / len(values), 4) for name, values in inside.items()}
    return {**figures, "width90": _mean(width), "judged": len(width)}


def read(path: Path, name: str) -> list[tuple[int, str, str, float]]:
    """Return a series as rows of one product."""
    with zipfile.ZipFile(path) as archive:
        lines = csv.DictReader(io.StringIO(archive.read(name).decode()))
        rows = []
        for line in lines:
            time = datetime.fromisoformat(line["timestamp"]).replace(tzinfo=timezone.utc)
            rows.append((int(time.timestamp() * 1000), Path(name).stem, "series", float(line["value"])))
    return sorted(rows)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

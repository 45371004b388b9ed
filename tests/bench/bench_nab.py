"""Anomalies in 42 labelled metrics: the score of the Numenta Anomaly Benchmark in its three profiles, and events per s.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015. A detection within a window earns up
to 1, the earlier the more, once; an alarm outside costs up to 0.11 (twice that in ``low_fp``); a missed window costs 1
(2 in ``low_fn``). 100 is perfect, 0 is silence. One threshold for all series, the best one, as for the published
figures. Of each series the first 15 %, at most 750 events, do not count.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
import zipfile
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import click
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

FILE = "nab.zip"
# Worth of a detection, cost of an alarm outside, cost of a missed window.
PROFILES = {"standard": (1.0, 0.11, 1.0), "low_fp": (1.0, 0.22, 1.0), "low_fn": (1.0, 0.11, 2.0)}
SPEC = EngineSpec(
    "metric-anomaly",
    "anomaly",
    "metric-anomaly",
    (Field("ts", "integer"), Field("value", "number")),
    Field("score", "number"),
)


class Series(NamedTuple):
    """One metric: epoch ms, values, and windows of anomalies as inclusive pairs of rows."""

    name: str
    times: list[int]
    values: list[float]
    windows: list[tuple[int, int]]


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return the scores of the engine as it comes, without an option; of the first ``rows`` of each series if given."""
    if data is None or not (data / FILE).exists():
        raise click.UsageError(f"--data names no folder with {FILE}")
    judged, events, seconds = [], 0, 0.0
    for series in read(data / FILE):
        engine: Any = build(SPEC)
        rows_of = [{"ts": at, "value": value} for at, value in zip(series.times, series.values, strict=True)][:rows]
        started = time.perf_counter()
        answers = [engine.step(row) for row in rows_of]
        seconds += time.perf_counter() - started
        events += len(answers)
        windows = [(left, right) for left, right in series.windows if right < len(answers)]
        judged.append(([answer.score or 0.0 for answer in answers], windows))
        flagged = sum(answer.label == "true" for answer in answers)
        print(f"{series.name}: {flagged} alarms in {len(answers)} events", file=sys.stderr, flush=True)
    figures: dict[str, Any] = {"benchmark": "nab", "series": len(judged), "events": events}
    for profile in PROFILES:
        figures[profile], figures[f"{profile}_threshold"] = nab_score(judged, profile)
    # What the labels of the engine reach: its own threshold, chosen by no look at the data.
    figures["standard_own_threshold"] = nab_score([([float(s >= 0.99) for s in scores], w) for scores, w in judged])[0]
    return figures | {"events_per_s": round(events / seconds)}


def read(path: Path) -> list[Series]:
    """Return the series of the archive, by name."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name, pairs in sorted(json.loads(archive.read("windows.json")).items()):
            lines = csv.DictReader(io.StringIO(archive.read(name).decode()))
            table = [(_ms(line["timestamp"]), float(line["value"])) for line in lines]
            times = [at for at, _ in table]
            windows = []
            for left, right in pairs:
                inside = [row for row, at in enumerate(times) if _ms(left) <= at <= _ms(right)]
                windows.append((inside[0], inside[-1]))
            found.append(Series(name, times, [value for _, value in table], windows))
    return found


def nab_score(
    judged: list[tuple[list[float], list[tuple[int, int]]]], profile: str = "standard"
) -> tuple[float, float | None]:
    """Return the score at the best threshold over all series, and that threshold (None: no alarm at all is best).

    Parameters
    ----------
    judged : list of (scores, windows)
        Windows are inclusive pairs of rows, in order.
    profile : str
        One of PROFILES.
    """
    worth, cost, miss = PROFILES[profile]
    points: list[tuple[float, float, tuple[int, int] | None]] = []
    earned: dict[tuple[int, int], float] = {}
    number_of_windows = sum(len(windows) for _, windows in judged)
    for number, (scores, windows) in enumerate(judged):
        start = min(math.floor(0.15 * len(scores)), 750)
        for row in range(start, len(scores)):
            value, window = _weight(row, windows)
            key = None if window is None else (number, window)
            if key is not None:
                earned.setdefault(key, -miss)
            points.append((scores[row], value * (cost if key is None else worth), key))
    points.sort(key=lambda point: -point[0])
    current = best = sum(earned.values())
    threshold = None
    for score, tied in groupby(points, key=lambda point: point[0]):
        for _, value, key in tied:
            if key is None:
                current += value
            elif value > earned[key]:
                current += value - earned[key]
                earned[key] = value
        if current > best:
            best, threshold = current, score
    silent = -miss * number_of_windows
    return round(100 * (best - silent) / (number_of_windows * worth - silent), 2), threshold


def _weight(row: int, windows: list[tuple[int, int]]) -> tuple[float, int | None]:
    """Return what a detection at a row earns and in which window, or costs and None, before the profile."""
    last = None
    for number, (left, right) in enumerate(windows):
        if left <= row <= right:
            return _sigmoid(-(right - row + 1) / (right - left + 1)) / _sigmoid(-1.0), number
        if right < row:
            last = (row - right) / (right - left)
    return (-1.0 if last is None else _sigmoid(last)), None


def _sigmoid(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1 if place <= 3 else -1.0


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc).timestamp() * 1000)

"""Retraining everyone every night against learning for those who are active: processor seconds, at equal quality.

Flights, one model per aircraft: of the aircraft that fly so seldom from New York that about one in ten of them is there
on a day. ``nightly`` begins each model anew every midnight from all that its aircraft has shown so far, scores every
aircraft once, and answers the next day's departures as they are then. ``active`` learns each flight when it has landed
and touches no other model. Both have the same engine, and what counts are all labelled departures from March on.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

DAY = 86_400_000
AIRCRAFT = 300
SHARE = 0.1  # of the aircraft, active on a day
MODEL = (
    "(compose.Select('distance', 'hour') | preprocessing.StandardScaler()) + (compose.Select('carrier', 'origin',"
    " 'weekday') | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression(optim.SGD(0.05))"
)
FEATURES = {"carrier": "string", "origin": "string", "weekday": "string", "distance": "number", "hour": "number"}
Stream = list[tuple[int, bool, str, int, dict[str, Any], bool]]


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return processor seconds and ROC AUC of both ways; ``rows`` is how many flights are taken, at most."""
    stream, share = _stream(rows)
    aircraft = len({row[2] for row in stream})
    _say(f"{len(stream):,} departures and arrivals of {aircraft:,} aircraft, {share:.1%} of them active on a day")
    figures: dict[str, Any] = {"benchmark": "hybrid", "aircraft": aircraft, "active_share": round(share, 4)}
    counted = stream[0][0] + 59 * DAY
    for name, way in (("nightly", _nightly), ("active", _active)):
        began = time.process_time()
        scores, learned = way(stream)
        spent = time.process_time() - began
        figures |= {f"{name}_cpu_s": round(spent, 2), f"{name}_examples": learned}
        figures[f"{name}_roc_auc"] = _area(stream, scores, counted)
        _say(f"{name}: {spent:.1f} s, {learned:,} examples learned, ROC AUC {figures[f'{name}_roc_auc']}")
    figures["ratio"] = round(figures["nightly_cpu_s"] / figures["active_cpu_s"], 1)
    return figures


def _stream(rows: int | None) -> tuple[Stream, float]:
    """Return time, whether it is an arrival, aircraft, flight, features, whether late; and the share that is active."""
    from thalweg.jobs.demo_flights import _read, load_flights

    flights = load_flights()
    raw = _read("flights.csv.zip")
    names = raw.carrier + raw.flight.astype(str) + "-" + raw.origin + "-2013-"
    names += raw.month.map("{:02d}".format) + "-" + raw.day.map("{:02d}".format)
    tails = dict(zip(names, raw.tailnum.fillna(""), strict=True))
    table = flights.table
    tail = [tails[name] for name in table["flight_id"]]
    days: dict[str, set[int]] = defaultdict(set)
    for name, ms in zip(tail, flights.departure_ms.tolist(), strict=True):
        if name:
            days[name].add(ms // DAY)
    # The rarest first, as many as keep the share of a day; of those evenly so many.
    ordered = sorted((name for name in days if len(days[name]) > 1), key=lambda name: (len(days[name]), name))
    active = np.cumsum([len(days[name]) for name in ordered]) / np.arange(1, len(ordered) + 1) / 365
    seldom = ordered[: int(np.searchsorted(active, SHARE))]
    chosen = set(seldom[:: max(1, len(seldom) // AIRCRAFT)])
    columns = {name: table[name].tolist() for name in ("carrier", "origin", "weekday", "distance", "sched_hour")}
    stream: Stream = []
    for n in [n for n, name in enumerate(tail) if name in chosen][:rows]:
        features = {name: columns["sched_hour" if name == "hour" else name][n] for name in FEATURES}
        features["hour"] = float(features["hour"])
        late = bool(flights.late[n])
        stream.append((int(flights.departure_ms[n]), False, tail[n], n, features, late))
        if flights.arrival_ms[n] >= 0:
            stream.append((int(flights.arrival_ms[n]), True, tail[n], n, features, late))
    return sorted(stream, key=lambda row: row[:4]), float(np.mean([len(days[name]) for name in chosen]) / 365)


def _new() -> Any:
    from thalweg.udfs.engines import build
    from thalweg.udfs.engines.base import EngineSpec, Field

    inputs = tuple(Field(name, kind) for name, kind in FEATURES.items())
    return build(EngineSpec("river", "classification", MODEL, inputs, Field("late", "boolean")))


def _nightly(stream: Stream) -> tuple[dict[int, float], int]:
    history: dict[str, list[tuple[dict[str, Any], bool]]] = defaultdict(list)
    last: dict[str, dict[str, Any]] = {}
    models: dict[str, Any] = {}
    scores: dict[int, float] = {}
    learned, today = 0, stream[0][0] // DAY
    for ms, arrival, tail, n, features, late in stream:
        while today < ms // DAY:
            today += 1
            models = {}
            for name, seen in history.items():
                models[name] = _new()
                for row, label in seen:
                    models[name].learn(row, label)
                learned += len(seen)
                models[name].score([last[name]])
        if arrival:
            history[tail].append((features, late))
            last[tail] = features
        elif tail in models:
            scores[n] = models[tail].score([features])[0].score
    return scores, learned


def _active(stream: Stream) -> tuple[dict[int, float], int]:
    models: dict[str, Any] = {}
    scores: dict[int, float] = {}
    learned = 0
    for _, arrival, tail, n, features, late in stream:
        if arrival:
            if tail not in models:
                models[tail] = _new()
            models[tail].learn(features, late)
            learned += 1
        elif tail in models:
            scores[n] = models[tail].score([features])[0].score
    return scores, learned


def _area(stream: Stream, scores: dict[int, float], counted: int) -> float:
    """Return ROC AUC over the labelled departures from ``counted`` on; without a model the answer is a half."""
    from sklearn.metrics import roc_auc_score

    departed = {n for ms, arrival, _, n, _, _ in stream if not arrival and ms >= counted}
    pairs = [(late, scores.get(n, 0.5)) for _, arrival, _, n, _, late in stream if arrival and n in departed]
    truth, given = zip(*pairs, strict=True)
    return round(float(roc_auc_score(truth, given)), 4)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

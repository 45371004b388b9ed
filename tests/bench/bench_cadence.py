"""How often a network is to be retrained: six cadences over the year of flights, and over a stream that drifts at once.

The learning machine runs as a plain loop, without Flink: the same code as in the operator, fed departures and arrivals
in the order of their time. All policies have the same network, learn January, and count from February on: the score
that was given at departure against the label of the arrival. ``frozen`` learns no more then. ``stateless_daily`` begins
anew every day from the 30,000 newest flights; the others go on from the last weights and see each flight once.

The second stream (``drift.*``) is the first flights of the year with the truth turned round half way: what was late is
in time. ``cpu_s`` is the processor time of learning and answering together; answering alone is that of ``frozen``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TEXT = (
    "mlp(32, 16, embedding(carrier, 4), embedding(origin, 2), embedding(dest, 8), embedding(weekday, 3),"
    " embedding(hour, 4))"
)
RATE = "0.003"
HOUR, DAY = 3_600_000, 86_400_000
BLOCK = 2_000
WINDOW = 30_000
DRIFT_ROWS = 60_000
GATE = 0.1
POLICIES = ("frozen", "stateless_daily", "stateful_daily", "stateful_hourly", "every_event", "on_drift")


class Row(NamedTuple):
    """One row of the machine: a departure to be answered, or an arrival to be learned."""

    ms: int
    learn: bool
    name: str
    label: bool
    values: tuple[Any, ...]


def run(data: Path | None, rows: int | None, cases: str | None = None) -> dict[str, Any]:
    """Return the figures of policies, by default of all; ``rows`` is how many flights are taken."""
    names = [*POLICIES, *(f"drift.{policy}" for policy in POLICIES)]
    wanted = names if not cases else [name.strip() for name in cases.split(",")]
    if unknown := set(wanted) - set(names):
        raise KeyError(f"{', '.join(sorted(unknown))}: known are {', '.join(names)}")
    flights = list(stream(rows))
    departures = sum(not row.learn for row in flights)
    found: dict[str, Any] = {"benchmark": "cadence", "flights": departures}
    starts = flights[0].ms + 31 * DAY
    for policy in (name for name in POLICIES if name in wanted):
        found |= _told(policy, figures(policy, flights, starts))
    short = [row for row in flights if int(row.name) < DRIFT_ROWS]
    turn = sorted(row.ms for row in short)[len(short) // 2]
    turned = [row._replace(label=row.label != (row.ms > turn)) for row in short]
    for policy in (name for name in POLICIES if f"drift.{name}" in wanted):
        found |= _told(f"drift.{policy}", figures(policy, turned, short[0].ms + 15 * DAY))
    return found


def stream(rows: int | None) -> Iterator[Row]:
    """Yield departures and arrivals in the order of their time."""
    from thalweg.jobs.demo_flights import load_flights

    flights = load_flights()
    table, count = flights.table, len(flights.table) if rows is None else min(rows, len(flights.table))
    columns = [table[name].tolist()[:count] for name in ("carrier", "origin", "dest", "distance", "weekday")]
    hours = [str(hour) for hour in table["sched_hour"].tolist()[:count]]
    late = flights.late.tolist()
    arrived = flights.arrival_ms.tolist()
    found: list[Row] = []
    for n, values in enumerate(zip(*columns, hours, strict=True)):
        found.append(Row(int(flights.departure_ms[n]), False, str(n), False, values))
        if arrived[n] >= 0:
            found.append(Row(int(arrived[n]), True, str(n), bool(late[n]), values))
    yield from sorted(found)


def figures(name: str, stream_rows: list[Row], starts_ms: int) -> dict[str, float]:
    """Return ROC AUC, log loss, examples learned and processor seconds of one policy."""
    from sklearn.metrics import log_loss, roc_auc_score
    from thalweg.udfs.engines.base import EngineSpec, Field
    from thalweg.udfs.logic.learning import LEARN, SCORE, LearningLogic
    from thalweg.udfs.logic.options import Every
    from thalweg.udfs.logic.upkeep import Policy

    inputs = [("carrier", "string"), ("origin", "string"), ("dest", "string"), ("distance", "number")]
    fields = tuple(Field(*pair) for pair in [*inputs, ("weekday", "string"), ("hour", "string")])
    options = (("learning-rate", RATE), ("optimiser", "adam"), ("seed", "7"))
    spec = EngineSpec("neural", "classification", TEXT, fields, Field("late", "boolean"), options)
    logic = LearningLogic(spec, Policy(Every(1 << 60, None), 1 << 30, cadence=cadence(name)))
    store = _Store()
    scores: dict[str, float] = {}
    began = time.process_time()
    for start in range(0, len(stream_rows), BLOCK):
        part = stream_rows[start : start + BLOCK]
        if name == "frozen":
            part = [row for row in part if not row.learn or row.ms < starts_ms]
        if not part:
            continue
        columns = [
            [LEARN if row.learn else SCORE for row in part], [""] * len(part), [row.name for row in part],
            [row.ms for row in part], [row.ms for row in part], [row.label if row.learn else None for row in part],
            *map(list, zip(*(row.values for row in part), strict=True)),
        ]  # fmt: skip
        answers = logic.on_rows(columns, store).answers.columns
        scores |= {
            event: score for event, score, ms in zip(answers[0], answers[3], answers[2], strict=True) if ms >= starts_ms
        }
    took = time.process_time() - began
    pairs = [(row.label, scores[row.name]) for row in stream_rows if row.learn and scores.get(row.name) is not None]
    truth, given = map(np.array, zip(*pairs, strict=True))
    return {
        "roc_auc": round(float(roc_auc_score(truth, given)), 4),
        "log_loss": round(float(log_loss(truth, given)), 4),
        "examples": learned(name, store.cell, spec),
        "cpu_s": round(took, 1),
        "refused": 0 if isinstance(store.cell.examples, bytes) else store.cell.examples.refused,
    }


def cadence(name: str) -> Any:
    """Return the cadence of a policy; None for every event."""
    from thalweg.udfs.logic.retraining import Cadence

    return {
        "frozen": Cadence(time_ms=HOUR, gate=GATE),
        "stateless_daily": Cadence(time_ms=DAY, stateful=False, replay_size=WINDOW, gate=GATE),
        "stateful_daily": Cadence(time_ms=DAY, gate=GATE),
        "stateful_hourly": Cadence(time_ms=HOUR, gate=GATE),
        "every_event": None,
        "on_drift": Cadence(drift=True, most=20_000, gate=GATE),
    }[name]


def learned(name: str, cell: Any, spec: Any) -> int:
    """Return how many examples all updates together have learned."""
    if name != "stateless_daily":
        return int(cell.engine(spec).learned)
    # Each update learns its window: the days that are in it once more.
    kept = cell.examples
    daily = kept.aged / max(kept.updates, 1)
    return round(sum(min(day * daily, WINDOW + daily) for day in range(1, kept.updates + 1)))


class _Store:
    """The one cell of the one model."""

    def __init__(self) -> None:
        self.cell: Any = None

    def get(self, key: str) -> Any:
        return self.cell

    def put(self, key: str, cell: Any) -> None:
        self.cell = cell

    def prior(self) -> Any:
        return None

    def put_prior(self, cell: Any) -> None: ...

    def spec(self, mark: bytes) -> Any:
        return mark

    def remember(self, mark: bytes, spec: Any) -> None: ...

    def wake(self, key: str, at_ms: int) -> None: ...

    def due(self, now_ms: int) -> list[str]:
        return []


def _told(name: str, measured: dict[str, float]) -> dict[str, float]:
    text = ", ".join(f"{key} {value:,}" for key, value in measured.items())
    print(f"{name}: {text}", file=sys.stderr, flush=True)
    return {f"{name}.{key}": value for key, value in measured.items()}

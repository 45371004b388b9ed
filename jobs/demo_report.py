"""What came of the demo: the answers joined with the truth by the demo itself, and the job's own books."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from thalweg.connector.errors import ThalwegError
from thalweg.connector.kafka import count_records, read_topic
from thalweg.jobs.demo_flights import Flights
from thalweg.jobs.demo_publish import RESULTS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MODELS", "Report", "newest_metrics", "read_scores", "report"]

MODELS = ("frozen", "continual")
_READERS = 2
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@dataclass(frozen=True)
class Report:
    """The figures of a run.

    Attributes
    ----------
    figures : dict
        What ``--json`` prints.
    table : list of tuple of str
        A row per month and one for the year.
    """

    figures: dict[str, Any]
    table: list[tuple[str, ...]]


def newest_metrics(brokers: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return the newest value of each metric: per window (``cumulative``, ``rolling``) and model."""
    newest: dict[str, dict[str, dict[str, float]]] = {
        window: {model: {} for model in MODELS} for window in ("cumulative", "rolling")
    }
    for row, _ in read_topic(brokers, RESULTS["metric"], "metric"):
        if row["window"] in newest and not row["slice"]:
            newest[row["window"]][row["model"]][row["metric"]] = row["value"]
    return newest


def read_scores(brokers: str, flights: Flights) -> dict[str, np.ndarray]:
    """Return each model's score per flight, NaN where it was not ready.

    Raises
    ------
    ThalwegError
        A flight has no prediction, or two, or is unknown.
    """
    import numpy as np

    identities = flights.table["flight_id"].tolist()
    shares = [(brokers, identities, (at, _READERS)) for at in range(_READERS)]
    with ProcessPoolExecutor(_READERS, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        read = list(pool.map(_read_share, shares))
    scores = {}
    for model in MODELS:
        counts = np.sum([seen[model] for seen, _ in read], axis=0)
        wrong = np.flatnonzero(counts != 1)
        if len(wrong):
            raise ThalwegError(
                f"The books do not balance: {len(wrong)} departures do not have exactly one prediction of '{model}'; "
                f"the first is {identities[int(wrong[0])]}, with {counts[wrong[0]]}."
            )
        # Each flight is in one share, and 0 in the others.
        scores[model] = np.sum([given[model] for _, given in read], axis=0)
    return scores


_Share = tuple[dict[str, "np.ndarray"], dict[str, "np.ndarray"]]


def _read_share(asked: tuple[str, list[str], tuple[int, int]]) -> _Share:
    """Return per model how often each flight was predicted, and with which score, in one share of the topic."""
    import numpy as np

    brokers, identities, share = asked
    places = {name: at for at, name in enumerate(identities)}
    seen = {model: np.zeros(len(places), np.int64) for model in MODELS}
    scores = {model: np.zeros(len(places)) for model in MODELS}
    for row, _ in read_topic(brokers, RESULTS["prediction"], "prediction", share):
        at = places.get(row["event_id"])
        if at is None:
            raise ThalwegError(f"The books do not balance: a prediction for '{row['event_id']}', which never departed.")
        seen[row["model"]][at] += 1
        scores[row["model"]][at] = np.nan if row["score"] is None else row["score"]
    return seen, scores


def report(brokers: str, flights: Flights, seconds: float) -> Report:
    """Return the figures of a run.

    Parameters
    ----------
    brokers : str
        ``host:port``.
    flights : Flights
        What was published.
    seconds : float
        How long the job ran.

    Raises
    ------
    ThalwegError
        The books do not balance; names the first thing that is wrong.
    """
    import numpy as np

    scores = read_scores(brokers, flights)
    books = newest_metrics(brokers)["cumulative"]
    published = int(flights.labelled.sum())
    for model in MODELS:
        _check_books(model, books[model], len(flights), published)
    ready = flights.labelled & np.isfinite([scores[model] for model in MODELS]).all(axis=0)
    months = [
        {"month": month, "events": int((flights.month == month).sum())}
        | {model: _figures(flights, scores[model], ready & (flights.month == month)) for model in MODELS}
        for month in sorted(set(flights.month.tolist()))
    ]
    counts = {name: int(books["continual"][f"labels_{name}"]) for name in ("matched", "expired", "pending")}
    year = {model: _figures(flights, scores[model], ready) for model in MODELS}
    figures = {
        "rows": len(flights),
        "predictions": len(flights) * len(MODELS),
        "labels": {"published": published, **counts},
        **year,
        "compared": int(ready.sum()),
        "snapshots": sum(1 for _ in read_topic(brokers, RESULTS["snapshot"], "snapshot")),
        "dead_letters": count_records(brokers, RESULTS["dead_letter"]),
        "events_per_s": round(len(flights) / seconds),
        "months": months,
    }
    rows = [_row(_MONTHS[month["month"] - 1], month["events"], month) for month in months]
    return Report(figures, [*rows, _row("all", len(flights), year)])


def _check_books(model: str, books: dict[str, float], events: int, published: int) -> None:
    """Hold the job's own counts against what was published."""
    labels = sum(books.get(f"labels_{fate}", 0) for fate in ("matched", "duplicate", "unknown", "late"))
    fates = sum(books.get(f"labels_{fate}", 0) for fate in ("matched", "expired", "pending"))
    for what, found, wanted in (
        ("events seen", books.get("events", 0), events),
        ("labels matched, duplicate, unknown or late", labels, published),
        ("events matched, expired or pending", fates, events),
    ):
        if found != wanted:
            raise ThalwegError(f"The books of '{model}' do not balance: {what}: {found:.0f}, published: {wanted}.")


def _figures(flights: Flights, score: np.ndarray, chosen: np.ndarray) -> dict[str, float | None]:
    import numpy as np
    from thalweg.udfs.logic.metrics import losses, roc_auc

    truth, given = flights.late[chosen], score[chosen]
    if not len(given):
        return {"roc_auc": None, "log_loss": None}
    area = roc_auc(given, truth)
    loss = losses("LogLoss", given, truth.astype(float), truth, np.where(truth, given, 1 - given)).mean()
    return {"roc_auc": None if area is None else round(float(area), 4), "log_loss": round(float(loss), 4)}


def _row(name: str, events: int, figures: dict[str, Any]) -> tuple[str, ...]:
    cells = [figures[model][metric] for metric in ("roc_auc", "log_loss") for model in MODELS]
    return name, f"{events:,}", *("-" if cell is None else f"{cell:.4f}" for cell in cells)

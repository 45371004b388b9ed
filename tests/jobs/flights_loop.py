"""The reference of the demo: the same River model in a plain loop, without Flink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from river import compose, linear_model, optim, preprocessing
from thalweg.jobs.demo_flights import Flights

CATEGORIES = ("carrier", "origin", "dest", "weekday")
NUMBERS = ("distance", "sched_hour")


def pipeline() -> Any:
    """The model of ``recipes/flights.sql``, in Python."""
    return (
        (compose.Select(*NUMBERS) | preprocessing.StandardScaler())
        + (compose.Select(*CATEGORIES) | preprocessing.OneHotEncoder(drop_zeros=True))
    ) | linear_model.LogisticRegression(optim.SGD(0.05))


def plain_loop(flights: Flights, model: Any = None, skip: Sequence[str] = ()) -> np.ndarray:
    """Return the score of each flight, in order: given at its departure event, labels learned when they came."""
    model = pipeline() if model is None else model
    rows = flights.table.to_dict("records")
    late = flights.late.tolist()
    landed = np.flatnonzero(flights.labelled)
    times = np.concatenate((flights.departure_ms, flights.arrival_ms[landed]))
    scores = np.empty(len(flights))
    for at in np.argsort(times).tolist():
        if at < len(flights):
            row = {name: value for name, value in rows[at].items() if name != "flight_id" and name not in skip}
            scores[at] = model.predict_proba_one(row).get(True, 0.0)
        else:
            flight = int(landed[at - len(flights)])
            row = {name: value for name, value in rows[flight].items() if name != "flight_id" and name not in skip}
            model.learn_one(row, late[flight])
    return scores

"""The demo's continual model as a plain loop over River: what the job must equal, answer by answer."""

from __future__ import annotations

from river import compose, linear_model, optim, preprocessing
from thalweg.jobs.demo_flights import Flights


def plain_loop(flights: Flights) -> dict[str, float | None]:
    """Return each flight's score; None before the first label has come."""
    distance = compose.Select("distance") | preprocessing.StandardScaler()
    categories = compose.Select("carrier", "origin", "dest", "weekday", "hour_of_day")
    model = distance + (categories | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression(
        optim.SGD(0.05)
    )
    scores: dict[str, float | None] = {}
    waiting: dict[str, dict[str, object]] = {}
    learned = 0
    records = [(ms, topic, row) for topic in ("departures", "arrivals") for ms, row in flights.records(topic)]
    for _, topic, row in sorted(records, key=lambda record: record[0]):
        name = row["flight_id"]
        if topic == "departures":
            # In the order of the INPUT clause: River sums in the order of its features.
            x = {n: row[n] for n in ("carrier", "origin", "dest", "distance", "weekday")}
            waiting[name] = {**x, "hour_of_day": str(row["sched_hour"])}
            scores[name] = model.predict_proba_one(waiting[name])[True] if learned else None
        else:
            model.learn_one(waiting.pop(name), row["late"])
            learned += 1
    return scores

"""The flights as a stream, the frozen model, the recipe: the parts of the demo that need no Flink."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from thalweg.connector.ddl import create_table, topic
from thalweg.jobs.demo_flights import FEATURES, Flights, load_flights
from thalweg.jobs.demo_frozen import export, train
from thalweg.jobs.demo_publish import RESULTS
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

RECIPE = Path(__file__).parents[2] / "jobs" / "recipes" / "flights.sql"


@pytest.fixture(scope="module")
def flights() -> Flights:
    return load_flights()


def test_every_flight_of_the_year_is_there_once(flights: Flights) -> None:
    assert len(flights) == 336_776
    assert flights.table["flight_id"].is_unique
    assert int(flights.labelled.sum()) == 327_346


def test_no_two_records_have_one_time(flights: Flights) -> None:
    times = np.concatenate((flights.departure_ms, flights.arrival_ms[flights.labelled]))
    assert len(np.unique(times)) == len(times)
    assert (np.diff(flights.departure_ms) > 0).all()


def test_the_label_comes_after_the_scheduled_departure(flights: Flights) -> None:
    known = flights.labelled
    hours = (flights.arrival_ms[known] - flights.departure_ms[known]) / 3_600_000
    assert np.quantile(hours, 0.001) > 0
    assert np.median(hours) < 4
    assert hours.max() < 48


def test_records_are_in_the_order_of_their_time_and_tell_no_label_early(flights: Flights) -> None:
    part = flights.where(np.arange(2000))
    departed = list(part.records("departures"))
    assert [ms for ms, _ in departed] == part.departure_ms.tolist()
    assert [row["flight_id"] for _, row in departed] == part.table["flight_id"].tolist()
    assert not any("late" in row for _, row in departed)
    landed = list(part.records("arrivals"))
    assert [ms for ms, _ in landed] == sorted(part.arrival_ms[part.labelled].tolist())
    late = dict(zip(part.table["flight_id"], part.late.tolist(), strict=True))
    assert all(row == {"flight_id": row["flight_id"], "late": late[row["flight_id"]]} for _, row in landed)


def test_the_frozen_model_is_the_same_in_onnx_and_predicts(flights: Flights, tmp_path: Path) -> None:
    january = flights.where(np.flatnonzero(flights.month == 1))
    pipeline = train(january)
    export(pipeline, tmp_path / "frozen.onnx")
    kinds = {"distance": "number"}
    spec = EngineSpec(
        "onnx",
        "classification",
        str(tmp_path / "frozen.onnx"),
        tuple(Field(name, kinds.get(name, "string")) for name in FEATURES),
        Field("late", "boolean"),
    )
    february = flights.where(np.flatnonzero((flights.month == 2) & flights.labelled))
    table = february.table.assign(hour_of_day=february.table["sched_hour"].astype(str))[list(FEATURES)]
    scores = [answer.score for answer in build(spec).score(table.to_dict("records"))]
    expected = pipeline.predict_proba(table.astype({"distance": "float32"}))[:, 1]
    assert np.abs(np.array(scores, float) - expected).max() < 1e-4
    assert roc_auc_score(february.late, scores) > 0.55
    assert log_loss(february.late, scores) < 0.6


TABLES = ("predictions", "metrics", "snapshots", "alerts", "dead_letters")


@pytest.mark.parametrize(("table", "schema"), [(name, name[:-1]) for name in TABLES])
def test_the_recipe_has_the_tables_of_the_contract(table: str, schema: str) -> None:
    assert RESULTS[schema] == topic("flights", schema)
    assert create_table(table, schema, RESULTS[schema], "${brokers}") in RECIPE.read_text("utf-8")

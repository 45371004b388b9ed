"""Recipes as they are, on a real broker: their sample events in, and out of Flink what the engines say without it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from streams import as_json, send
from thalweg.connector.client import raw_records
from thalweg.connector.kafka import create_topics
from thalweg.jobs.recipe_catalog import Recipe, find_recipe
from thalweg.jobs.recipe_trial import publish_sample
from thalweg.jobs.script import parse_script
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

pytestmark = pytest.mark.cluster
EDGES = EngineSpec(
    "midas", "anomaly", "midas", (Field("source", "string"), Field("destination", "string"), Field("ms", "integer")),
    Field("score", "number"),
    (("num-columns", "1024"), ("quantile", "0.99"), ("tick", "60 s"), ("variant", "relational")),
)  # fmt: skip
METRIC = EngineSpec(
    "metric-anomaly", "anomaly", "metric-anomaly", (Field("ms", "integer"), Field("value", "number")),
    Field("anomaly", "boolean"), (("confidence", "0.6"), ("min-training-size", "50")),
)  # fmt: skip


@contextmanager
def _in_this_process() -> Iterator[None]:
    # Elsewhere each Python operator would be a process of its own.
    before = dict(os.environ)
    os.environ["_python_worker_execution_mode"] = "loopback"
    try:
        yield
    finally:
        # A worker in this process forbids it, and all processes that it starts, to start a JVM.
        os.environ.clear()
        os.environ.update(before)


def _run(text: str, given: dict[str, str]) -> None:
    from thalweg.jobs.environment import make_environment
    from thalweg.jobs.session import initial_settings, submit

    statements = parse_script(text, "recipe.sql", {"bounded": "latest-offset", **given})
    with _in_this_process():
        t_env = make_environment("throughput", initial_settings(statements), None, 1)
        submit(t_env, statements).get_job_client().get_job_execution_result().result()


def _moved(recipe: Recipe) -> dict[str, str]:
    prefix = uuid.uuid4().hex[:8]
    return {table: f"{prefix}.{recipe.name}.{table}" for table in recipe.topics}


def _read(broker: str, topic: str) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in raw_records(broker, topic, {}) if record.value is not None]


@pytest.fixture(scope="module")
def found(broker: str) -> dict[str, Any]:
    """Both recipes as one job."""
    edges, anomaly = find_recipe("edges"), find_recipe("anomaly")
    to_edges, to_metrics = _moved(edges), _moved(anomaly)
    sent: dict[str, Any] = {"edges": [], "metrics": []}
    publish_sample(broker, edges, 1500, 1, to_edges)
    create_topics(broker, {topic: {} for topic in to_metrics.values()})
    for topic, _, value, ms in edges.sample()(1500, 1):
        assert topic == "edges"
        sent["edges"].append((ms, value["source"], value["destination"]))
    # Composite nodes, one that is NULL, and one that comes out of order.
    last = sent["edges"][-1][0]
    more = [(last + 100, "köln:443", "['a', 1]"), (last + 200, None, "till-13"), (last - 900, "user-1", "shop-1")]
    send(broker, to_edges["edges"], [(as_json({"source": a, "destination": b}), ms) for ms, a, b in more], 1)
    sent["edges"] += more
    for topic, _, value, ms in anomaly.sample()(900, 1):
        if topic == "metrics":
            sent["metrics"].append((ms, False, value))
    # Somebody says of each alarm of one metric that it was none.
    engine: Any = build(METRIC)
    told = []
    for ms, _, value in [row for row in sent["metrics"] if row[2]["metric"] == "cpu"]:
        row = {"ms": ms, "value": value["value"]}
        if engine.step(row).label == "true":
            engine.feedback(row, False)
            told.append((ms + 1, True, {"event_id": f"cpu@{ms}", "anomaly": False}))
    send(broker, to_metrics["metrics"], [(as_json(value), ms) for ms, _, value in sent["metrics"]], 1)
    send(broker, to_metrics["feedback"], [(as_json(value), ms) for ms, _, value in told], 1)
    sent["metrics"] += told
    text = edges.with_topics(to_edges) + anomaly.with_topics(to_metrics)
    _run(text, {"brokers": broker, "order": "event-time", "quantile": "0.99", "confidence": "0.6", "training": "50"})
    return {
        "sent": sent,
        **{table: _read(broker, to_edges[table]) for table in ("edge_scores", "edge_alerts")},
        **{table: _read(broker, to_metrics[table]) for table in ("results", "alerts")},
    }


def test_edges_of_the_recipe_are_those_of_the_engine(found: Any) -> None:
    engine: Any = build(EDGES)
    expected = []
    named = [(ms, f"{a} -> {b}" if a else None, a, b) for ms, a, b in found["sent"]["edges"]]
    for ms, edge, source, destination in sorted(named, key=lambda row: (row[0], row[1] is not None, row[1] or "")):
        if source is None:
            expected.append((ms, None, None, None, "refused"))
            continue
        answer = engine.step({"source": source, "destination": destination, "ms": ms})
        flag = None if answer.label is None else answer.label == "true"
        expected.append((ms, edge, answer.score, flag, answer.status))
    got = [(r["event_time_ms"], r["edge"], r["score"], r["is_anomaly"], r["status"]) for r in found["edge_scores"]]
    assert sorted(got, key=repr) == sorted(expected, key=repr)


def test_edges_that_are_strange_raise_alerts_and_the_strangest_is_the_burst(found: Any) -> None:
    strangest = max(found["edge_alerts"], key=lambda row: row["score"])
    assert strangest["edge"] == "mallory -> till-13"
    assert len(found["edge_alerts"]) == sum(row["is_anomaly"] is True for row in found["edge_scores"])


def test_results_of_metrics_are_those_of_the_engine_with_its_feedback(found: Any) -> None:
    expected, without = {}, {}
    engines: dict[str, Any] = {}
    for ms, told, value in sorted(found["sent"]["metrics"], key=lambda row: row[:2]):
        if told:
            name, _, at = value["event_id"].partition("@")
            truth = next(
                v["value"] for m, t, v in found["sent"]["metrics"] if not t and m == int(at) and v["metric"] == name
            )
            engines[name].feedback({"ms": int(at), "value": truth}, value["anomaly"])
            continue
        name, row = value["metric"], {"ms": ms, "value": value["value"]}
        answer = engines.setdefault(name, build(METRIC)).step(row)
        plain = engines.setdefault(f"{name} alone", build(METRIC)).step(row)
        if answer.status == "ok":
            parts = answer.probabilities
            del parts["metric"]
            expected[f"{name}@{ms}"] = {**parts, "score": answer.score, "is_anomaly": answer.label == "true"}
            without[f"{name}@{ms}"] = plain.label == "true"
    got = {row.pop("event_id"): row for row in found["results"]}
    for row in got.values():
        assert row.pop("metric") in ("cpu", "orders")
        assert row.pop("timestamp").endswith("Z")
    assert got == expected
    alarms = [name for name, row in expected.items() if row["is_anomaly"]]
    assert sorted(row["event_id"] for row in found["alerts"]) == sorted(alarms)
    assert any(name.startswith("orders") for name in alarms)
    assert 0 < len(alarms) < sum(without.values()), "feedback has silenced what it called no anomaly"


@pytest.fixture(scope="module")
def hybrid(broker: str) -> dict[str, Any]:
    """The nightly run over everyone, and then the same rows as a stream."""
    recipe = find_recipe("hybrid")
    prefix = uuid.uuid4().hex[:8]
    # The names of the recipe's topics are parts of variables, so they get a prefix in the text.
    text = recipe.text
    for topic in ("${input:-activity}", "outcomes", "scores.${mode:-streaming}", "scores.batch", "serving"):
        text = text.replace(f"'topic' = '{topic}'", f"'topic' = '{prefix}.{topic}'")
    compacted = {f"{prefix}.serving": {"compact": True}}
    names = ("everyone", "activity", "outcomes", "scores.batch", "scores.streaming")
    create_topics(broker, {**{f"{prefix}.{name}": {} for name in names}, **compacted})
    rows = list(recipe.sample()(600, 1))
    for name in ("everyone", "outcomes"):
        send(broker, f"{prefix}.{name}", [(as_json(value), ms) for topic, _, value, ms in rows if topic == name], 1)
    _run(text, {"brokers": broker, "mode": "batch", "input": "everyone"})
    batch = _read(broker, f"{prefix}.scores.batch")
    # A later night has a fresher score of one customer, and the only one of another.
    last = max(row["event_time_ms"] for row in batch)
    late = [
        {"row_id": f"{name}/e9", "score": 0.25, "status": "ok", "learned": 9, "event_time_ms": last + 1}
        for name in ("c0", "new")
    ]
    send(broker, f"{prefix}.scores.batch", [(as_json(row), last + 1) for row in late], 1)
    _run(text, {"brokers": broker, "input": "everyone"})
    return {
        "rows": rows,
        "batch": batch,
        "streaming": _read(broker, f"{prefix}.scores.streaming"),
        "serving": list(
            {r.key: json.loads(r.value) for r in raw_records(broker, f"{prefix}.serving", {}) if r.value}.values()
        ),
    }


def test_the_same_row_has_the_same_answer_in_batch_and_in_streaming(hybrid: Any) -> None:
    batch, streaming = ({row["row_id"]: row for row in hybrid[mode]} for mode in ("batch", "streaming"))
    assert len(batch) == sum(topic == "everyone" for topic, *_ in hybrid["rows"]) == 600
    assert batch == streaming
    assert max(row["learned"] for row in batch.values()) > 500


def test_whoever_asks_is_served_the_fresher_score(hybrid: Any) -> None:
    served = {row["customer"]: row for row in hybrid["serving"]}
    newest: dict[str, Any] = {}
    for row in sorted(hybrid["streaming"], key=lambda row: row["event_time_ms"]):
        if row["status"] == "ok":
            newest[row["row_id"].partition("/")[0]] = row
    assert set(served) == {*newest, "new"}
    for customer, row in served.items():
        if customer in ("c0", "new"):
            assert (row["made_by"], row["score"]) == ("nightly", 0.25)
        else:
            assert (row["made_by"], row["score"]) == ("real time", newest[customer]["score"])

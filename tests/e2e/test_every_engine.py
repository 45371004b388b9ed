"""Every task and engine through one real job: River's own answers to the bit, in the columns of the task."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from typing import Any

import pytest
from river_loop import COLD, bits, rivers_loop
from river_streams import STREAMS, Stream
from streams import as_json, publish, run
from thalweg.connector.client import raw_records
from thalweg.connector.ddl import quote_name, quote_text
from thalweg.connector.kafka import create_topics
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

pytestmark = pytest.mark.cluster
START_MS = 1_700_000_000_000
ROWS = 150
_TYPES = {"number": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN", "string": "STRING"}
_OWN_COLUMNS = {"anomaly": "is_anomaly", "clustering": "cluster", "forecasting": "forecast", "bandit": "arm"}

# At least one of each task, and of the ways in which classifiers answer; the rest is compared without Flink.
CHOSEN = [
    "phishing: preprocessing.StandardScaler() | linear_model.LogisticRegression()",
    "phishing: tree.HoeffdingTreeClassifier",
    "phishing: forest.ARFClassifier",
    "phishing_words: (compose.Select('age')",
    "bananas: forest.AMFClassifier",
    "segments_arriving: preprocessing.StandardScaler() | multiclass",
    "segments_arriving: preprocessing.StandardScaler() | linear_model.SoftmaxRegression",
    "approval: preprocessing.StandardScaler()",
    "approval: tree.HoeffdingAdaptiveTreeRegressor",
    "chicks: (compose",
    "banana_points: preprocessing.StandardScaler() | anomaly.QuantileFilter",
    "banana_points: cluster.KMeans",
    "passengers: time_series.HoltWinters",
    "chicks: reco.BiasedMF",
    "phishing_arms: bandit.ThompsonSampling",
]


# Engines of our own, held against themselves without Flink: what they compute is compared elsewhere.
NETWORK = EngineSpec(
    "neural", "classification", "mlp(8, embedding(hint, 3))",
    (Field("age", "number"), Field("hint", "string")), Field("y", "boolean"), (("learning-rate", "0.05"),),
)  # fmt: skip
EDGES = EngineSpec(
    "midas", "anomaly", "midas", (Field("src", "string"), Field("dst", "string"), Field("ms", "integer")),
    Field("risk", "number"), (("quantile", "0.9"), ("tick", "1 s"), ("variant", "relational")),
)  # fmt: skip


METRIC = EngineSpec(
    "metric-anomaly", "anomaly", "metric-anomaly", (Field("passengers", "number"),), Field("risk", "number"),
    (("min-training-size", "50"),),
)  # fmt: skip


def edges() -> list[dict[str, Any]]:
    burst = range(90, 110)
    return [
        {"src": f"h{1 if n in burst else n * 7 % 11}", "dst": f"h{2 if n in burst else n * 5 % 13}", "ms": n * 400}
        for n in range(ROWS)
    ]


def plain(spec: EngineSpec, given: list[tuple[dict[str, Any], Any]]) -> list[tuple[Any, Any, Any]]:
    engine: Any = build(spec)
    return [(answer.score, answer.label, answer.status) for answer in (engine.step(row, label) for row, label in given)]


def chosen() -> list[Stream]:
    return [next(stream for stream in STREAMS if stream.name.startswith(name)) for name in CHOSEN]


def examples(stream: Stream) -> list[tuple[dict[str, Any], Any]]:
    return [(dict(row), label) for row, label in list(stream.examples())[:ROWS]]


def declaration(n: int, stream: Stream) -> str:
    output = stream.output.name
    columns = ", ".join(f"{quote_name(name)} {_TYPES[kind]}" for name, kind in stream.inputs)
    options = {"provider": "river", "model": stream.text, "task": stream.task, "event-id": "id", **stream.params}
    options["input-table"] = f"data_{stream.name.partition(':')[0]}"
    if stream.task not in ("anomaly", "clustering"):
        options["label"] = output
    settings = ", ".join(f"{quote_text(name)} = {quote_text(text)}" for name, text in options.items())
    return (
        f"CREATE MODEL m{n} INPUT ({columns}) OUTPUT ({quote_name(output)} {_TYPES[stream.output.kind]})"
        f" WITH ({settings});\n"
    )


def table(broker: str, stream: Stream) -> str:
    name = stream.name.partition(":")[0]
    fields = {field.name: field.kind for field in (*stream.inputs, stream.output)}
    columns = ", ".join(f"{quote_name(column)} {_TYPES[kind]}" for column, kind in fields.items())
    return (
        f"CREATE TABLE data_{name} (id STRING, {columns}, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',"
        f" WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'tasks.{name}', 'format' = 'json',"
        f" 'properties.bootstrap.servers' = '{broker}', 'scan.startup.mode' = 'earliest-offset',"
        " 'scan.bounded.mode' = 'latest-offset');\n"
    )


@pytest.fixture(scope="module")
def found(broker: str) -> dict[str, list[dict[str, Any]]]:
    script, inserts, tables = "", "", {}
    for n, stream in enumerate(chosen()):
        name = stream.name.partition(":")[0]
        if name not in tables:
            tables[name] = table(broker, stream)
            records = [
                (as_json({**row, stream.output.name: label, "id": f"e{at:04}"}), START_MS + at * 1000)
                for at, (row, label) in enumerate(examples(stream))
            ]
            publish(broker, f"tasks.{name}", records)
        script += declaration(n, stream)
        own = _OWN_COLUMNS.get(stream.task)
        text = "NULL" if own is None else f"CAST({own} AS STRING)"
        inserts += (" UNION ALL " if inserts else "INSERT INTO answers ") + (
            f"SELECT model, event_id, score, label, probabilities, status, CAST({text} AS STRING) FROM m{n}_predictions"
        )
    script += (
        "CREATE MODEL network INPUT (age DOUBLE, hint STRING) OUTPUT (y BOOLEAN) WITH ('provider' = 'neural',"
        " 'model' = 'mlp(8, embedding(hint, 3))', 'learning-rate' = '0.05', 'event-id' = 'id', 'label' = 'y',"
        " 'input-table' = 'data_phishing_words');\n"
        "CREATE TABLE edges (id STRING, src STRING, dst STRING, ms BIGINT, ts TIMESTAMP_LTZ(3) METADATA FROM"
        " 'timestamp', WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'tasks.edges', 'format' = 'json',"
        f" 'properties.bootstrap.servers' = '{broker}', 'scan.startup.mode' = 'earliest-offset',"
        " 'scan.bounded.mode' = 'latest-offset');\n"
        "CREATE MODEL edge INPUT (src STRING, dst STRING, ms BIGINT) OUTPUT (risk DOUBLE) WITH ('provider' = 'midas',"
        " 'model' = 'midas', 'task' = 'anomaly', 'variant' = 'relational', 'tick' = '1 s', 'quantile' = '0.9',"
        " 'event-id' = 'id', 'input-table' = 'edges');\n"
    )
    script += (
        "CREATE MODEL metric INPUT (passengers DOUBLE) OUTPUT (risk DOUBLE) WITH ('provider' = 'metric-anomaly',"
        " 'model' = 'metric-anomaly', 'task' = 'anomaly', 'min-training-size' = '50', 'event-id' = 'id',"
        " 'input-table' = 'data_passengers');\n"
    )
    publish(
        broker,
        "tasks.edges",
        [(as_json({**row, "id": f"e{at:04}"}), START_MS + at * 1000) for at, row in enumerate(edges())],
    )
    for model, own in (
        ("network", "CAST(NULL AS STRING)"),
        ("edge", "CAST(is_anomaly AS STRING)"),
        ("metric", "CAST(forecast_value AS STRING)"),
    ):
        inserts += (
            f" UNION ALL SELECT model, event_id, score, label, probabilities, status, {own} FROM {model}_predictions"
        )
    create_topics(broker, {"tasks.answers": {}})
    script += (
        "CREATE TABLE answers (model STRING, event_id STRING, score DOUBLE, label STRING,"
        " probabilities MAP<STRING, DOUBLE>, status STRING, own STRING) WITH ('connector' = 'kafka',"
        f" 'topic' = 'tasks.answers', 'properties.bootstrap.servers' = '{broker}', 'format' = 'json');\n"
    )
    # Dozens of Python operators: in this process they are threads, elsewhere each would be a process of its own.
    before = dict(os.environ)
    os.environ["_python_worker_execution_mode"] = "loopback"
    try:
        run("".join(tables.values()) + script + inserts + ";\n")
    finally:
        # A worker in this process forbids it, and all processes that it starts, to start a JVM.
        os.environ.clear()
        os.environ.update(before)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in raw_records(broker, "tasks.answers", {}):
        row = json.loads(record.value)
        rows[row["model"]].append(row)
    return {model: sorted(answers, key=lambda row: row["event_id"]) for model, answers in rows.items()}


@pytest.mark.parametrize("n", range(len(CHOSEN)), ids=[name[:50] for name in CHOSEN])
def test_answers_through_flink_are_those_of_rivers_loop(found: Any, n: int) -> None:
    stream = chosen()[n]
    answers = found[f"m{n}"]
    assert len(answers) == len(examples(stream))
    for at, (expected, answer) in enumerate(zip(rivers_loop(stream, stream.model()), answers, strict=False)):
        if at < stream.cold or expected == COLD:
            assert (answer["status"], answer["score"]) == ("not_ready", None), at
            continue
        assert answer["status"] == "ok", (at, answer)
        score, label, steps = expected
        # A MAP of Flink has no order.
        expected = (score, label, steps if steps is None else {name: steps[name] for name in sorted(steps)})
        shares = answer["probabilities"]
        shares = shares if shares is None else {name: shares[name] for name in sorted(shares)}
        assert bits((answer["score"], answer["label"], shares)) == bits(expected), at
        own = {
            "anomaly": None if label is None else label.upper(),
            "clustering": None if score is None else str(int(score)),
            "bandit": label,
        }.get(stream.task)
        if stream.task == "forecasting":
            assert [float(part) for part in answer["own"].strip("[]").split(", ")] == list(steps.values())
        else:
            assert answer["own"] == own


def test_a_network_that_learns_through_flink_is_the_one_without(found: Any) -> None:
    stream = next(stream for stream in STREAMS if stream.name.startswith("phishing_words"))
    given = [({"age": row["age"], "hint": row["hint"]}, label) for row, label in examples(stream)]
    assert [(a["score"], a["label"], a["status"]) for a in found["network"]] == plain(NETWORK, given)


def test_edges_through_flink_are_those_without(found: Any) -> None:
    expected = plain(EDGES, [(row, None) for row in edges()])
    assert [(a["score"], a["label"], a["status"]) for a in found["edge"]] == expected
    assert [None if a["own"] is None else a["own"].lower() for a in found["edge"]] == [
        label for _, label, _ in expected
    ]
    strange = max(range(ROWS), key=lambda at: expected[at][0] or 0.0)
    assert 90 <= strange < 110


def test_a_metric_through_flink_is_the_one_without(found: Any) -> None:
    stream = next(stream for stream in STREAMS if stream.name.startswith("passengers"))
    engine: Any = build(METRIC)
    expected = [engine.step({"passengers": label}, None) for _, label in examples(stream)]
    got = [(a["score"], a["label"], a["status"]) for a in found["metric"]]
    assert got == [(answer.score, answer.label, answer.status) for answer in expected]
    forecasts = [None if a["own"] is None else float(a["own"]) for a in found["metric"]]
    assert forecasts == [(answer.probabilities or {}).get("forecast_value") for answer in expected]
    assert any(forecast is not None for forecast in forecasts)

"""The ONNX functions in Flink SQL: every type, batch and stream alike, and a model that is exchanged under load."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from streams import create_topics, run, start
from thalweg.connector.keys import generate_key
from thalweg.connector.models import ModelTopic
from thalweg.connector.signing import Trust

pytestmark = pytest.mark.cluster
ROWS = 6_000


def multiply(factor: float) -> bytes:
    weight = numpy_helper.from_array(np.array([factor], dtype=np.float32), "w")
    info = helper.make_tensor_value_info
    shape = ["n", 1]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [info("x", TensorProto.FLOAT, shape)],
        [info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def test_a_model_is_exchanged_under_load_and_no_row_is_lost(broker: str, topic_name: str, tmp_path: Path) -> None:
    events, scores, models = (f"{topic_name}-{part}" for part in ("in", "out", "models"))
    create_topics(broker, {events: {}, scores: {}})
    key = generate_key("ed25519", "release")
    (tmp_path / "trusted.keys").write_text(key.public().text())
    topic = ModelTopic(broker, models, signer=key, trust=Trust([key.public()], required=True))
    topic.create()
    topic.publish("m", multiply(1), file="m.onnx")
    kafka = f"'connector' = 'kafka', 'properties.bootstrap.servers' = '{broker}', 'format' = 'json', 'topic'"
    bounds = f"'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = 'partition:0,offset:{ROWS}'"
    job = start(
        f"CREATE TABLE events (id INT, x DOUBLE) WITH ({kafka} = '{events}', 'scan.startup.mode' = 'earliest-offset',"
        f" {bounds});\n"
        "CREATE TABLE scores (id INT, x DOUBLE, score DOUBLE, model STRING, version STRING)"
        f" WITH ({kafka} = '{scores}');\n"
        "INSERT INTO scores SELECT id, x, p.score, p.model_id, p.model_version FROM (SELECT id, x,"
        f" onnx_predict('m?topic={models}', x) AS p FROM events);\n",
        {
            "pipeline.global-job-parameters": f"thalweg.models.brokers:'{broker}',"
            f"thalweg.models.require-signature:true,thalweg.models.trusted-keys:'file:{tmp_path}/trusted.keys'"
        },
        profile="latency",
    )
    rows = (json.dumps({"id": at, "x": float(at % 97)}).encode() for at in range(ROWS))
    producer, consumer = KafkaProducer(bootstrap_servers=broker), KafkaConsumer(bootstrap_servers=broker)
    consumer.assign([TopicPartition(scores, 0)])
    consumer.seek_to_beginning(*consumer.assignment())
    found: list[dict[str, Any]] = []

    def feed_until(enough: Callable[[], bool], rate: int) -> None:
        """Send some rows after each look at the answers."""
        end = time.monotonic() + 200
        while not enough():
            assert time.monotonic() < end, f"{len(found)} answers, the last: {found[-1:]}"
            for row in islice(rows, rate):
                producer.send(events, row)
            found.extend(json.loads(one.value) for part in consumer.poll(200).values() for one in part)

    for row in islice(rows, 100):
        producer.send(events, row)
    feed_until(lambda: bool(found), 0)
    topic.publish("m", multiply(2), file="m.onnx")
    feed_until(lambda: found[-1]["version"] == "2", 10)
    ModelTopic(broker, models).publish("m", multiply(3), file="m.onnx")  # by somebody who has no key
    topic.publish("m", b"garbage", file="m.onnx")
    topic.publish("m", multiply(5), file="m.onnx")
    feed_until(lambda: found[-1]["version"] == "5", 10)
    feed_until(lambda: len(found) >= ROWS, 1000)
    producer.close()
    consumer.close()
    job.get_job_execution_result().result()
    assert sorted(row["id"] for row in found) == list(range(ROWS))
    assert {row["version"] for row in found} == {"1", "2", "5"}
    assert all(row["score"] == row["x"] * int(row["version"]) and row["model"] == "m" for row in found)
    versions = [row["version"] for row in sorted(found, key=lambda row: row["id"])]
    assert versions == sorted(versions)


COLUMNS = (
    "id INT, t TINYINT, s SMALLINT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 3), o BOOLEAN, born TIMESTAMP(3),"
    " v ARRAY<DOUBLE>, w ARRAY<FLOAT>, name STRING"
)
FEATURES = np.random.default_rng(5).normal(size=(300, 3)).astype(np.float32)
EVENT = np.where(FEATURES.sum(axis=1) > 0, "yes", "no")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, dict[str, Any]]]:
    """What the same statement answers in a stream and in a batch, by row."""
    folder = tmp_path_factory.mktemp("functions")
    fitted = LogisticRegression().fit(FEATURES, EVENT)
    model = folder / "m.onnx"
    model.write_bytes(to_onnx(fitted, FEATURES[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    source = folder / "in.json"
    source.write_text("".join(json.dumps(row) + "\n" for row in _source(model)))
    selected = {
        "numbers": "onnx_score(name, t, f, m)",
        "wide": "onnx_score(name, s, b, d)",
        "truth": "onnx_score(name, o, 0.5, d)",
        "moment": "onnx_label(name, born, f, d)",
        "arrays": "onnx_score(name, v)",
        "floats": "onnx_label(name, w)",
        "packed": f"onnx_score('{model}', ROW(t, f, m))",
        "defaulted": f"onnx_score('{model}?on-null=default&default-number=0.25', b, f, d)",
        "shares": f"onnx_proba('{model}', t, f, m)",
        "numbers_of": f"onnx_vector('{model}', t, f, m)",
        "told": f"onnx_predict('{model}', s, b, d)",
    }
    found = {}
    for mode in ("streaming", "batch"):
        target = folder / mode
        run(
            f"CREATE TABLE source ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{source}',"
            " 'format' = 'json');\n"
            "CREATE TABLE target (id INT, numbers DOUBLE, wide DOUBLE, truth DOUBLE, moment STRING, arrays DOUBLE,"
            " floats STRING, packed DOUBLE, defaulted DOUBLE, shares MAP<STRING, DOUBLE>, numbers_of ARRAY<DOUBLE>,"
            " told ROW<label STRING, score DOUBLE, probabilities MAP<STRING, DOUBLE>, status STRING, reason STRING,"
            f" model_id STRING, model_version STRING>) WITH ('connector' = 'filesystem', 'path' = '{target}',"
            " 'format' = 'json');\n"
            f"INSERT INTO target SELECT id, {', '.join(selected.values())} FROM source;\n",
            {"execution.runtime-mode": mode},
        )
        lines = [line for file in target.rglob("*") if file.is_file() for line in file.read_text().splitlines()]
        found[mode] = {row["id"]: row for row in map(json.loads, lines)}
    return found


def _source(model: Path) -> list[dict[str, Any]]:
    row: dict[str, Any] = {
        "t": 2, "s": -1, "b": 1, "f": 0.5, "d": -0.75, "m": 1.125, "o": True, "born": "2024-01-01 12:00:00",
        "v": [0.5, -1.0, 0.25], "w": [0.5, -1.0, 0.25], "name": str(model),
    }  # fmt: skip
    return [
        {"id": 0, **row},
        {"id": 1, **row, "t": None, "b": None, "o": None, "born": None, "v": None, "w": [1.0, 2.0]},
        {"id": 2, **row, "name": None, "v": [0.5, None, 0.25]},
    ]


def _share(*features: float) -> float:
    fitted = LogisticRegression().fit(FEATURES, EVENT)
    return float(fitted.predict_proba(np.array([features], dtype=np.float32))[0, 1])


def test_every_type_is_a_feature(answers: Any) -> None:
    row = answers["streaming"][0]
    for column, features in (
        ("numbers", (2, 0.5, 1.125)),
        ("wide", (-1, 1, -0.75)),
        ("truth", (1, 0.5, -0.75)),
        ("arrays", (0.5, -1.0, 0.25)),
        ("packed", (2, 0.5, 1.125)),
    ):
        assert row[column] == pytest.approx(_share(*features), abs=1e-5), column
    assert row["floats"] == ("yes" if _share(0.5, -1.0, 0.25) > 0.5 else "no")
    assert row["moment"] in ("yes", "no")
    assert row["shares"]["yes"] == pytest.approx(_share(2, 0.5, 1.125), abs=1e-5)
    assert row["numbers_of"] == [row["shares"]["no"], row["shares"]["yes"]]
    assert row["told"]["score"] == pytest.approx(_share(-1, 1, -0.75), abs=1e-5)
    assert (row["told"]["status"], row["told"]["reason"]) == ("ok", "")


def test_null_is_an_answer_with_a_reason_or_a_default(answers: Any) -> None:
    row, nameless = answers["streaming"][1], answers["streaming"][2]
    for column in ("numbers", "wide", "truth", "moment", "arrays", "floats", "packed", "shares", "numbers_of"):
        assert row[column] is None, column
    assert row["defaulted"] == pytest.approx(_share(0.25, 0.5, -0.75), abs=1e-5)
    assert (row["told"]["status"], row["told"]["reason"]) == ("refused", "'X[1]' is NULL")
    assert row["told"]["score"] is row["told"]["label"] is None
    assert nameless["numbers"] is nameless["arrays"] is None
    assert nameless["packed"] is not None


def test_a_batch_job_gives_the_answers_of_the_stream(answers: Any) -> None:
    assert answers["batch"] == answers["streaming"]
    assert sorted(answers["batch"]) == [0, 1, 2]

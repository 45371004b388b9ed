"""Models by name: which version answers, which one is refused, and that nothing is lost when the broker is."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer
from onnx import TensorProto, helper, numpy_helper
from thalweg.connector.errors import ConfigError, SetupError
from thalweg.connector.kafka import read_topic
from thalweg.connector.models import ModelTopic
from thalweg.connector.snapshot import Snapshot, split
from thalweg.connector.wire import encode
from thalweg.udfs.engines import onnx_call
from thalweg.udfs.engines.golden_rows import record_golden
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.flink.served_models import Place, ServedModel, place_of

pytestmark = pytest.mark.cluster
VALUES = np.array([1.0, 2.0, 3.0])


def times(factor: float, name: str = "x", op: str = "Mul") -> bytes:
    """A model that multiplies its input, or divides it by itself minus one and so fails on 1."""
    weight = numpy_helper.from_array(np.array([factor], dtype=np.float32), "w")
    info = helper.make_tensor_value_info
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, [name, "w"], ["y"])],
            "g",
            [info(name, TensorProto.FLOAT, ["n", 1])],
            [info("y", TensorProto.FLOAT, ["n", 1])],
            [weight],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return bytes(made.SerializeToString())


@pytest.fixture
def models(broker: str, topic_name: str) -> ModelTopic:
    topic = ModelTopic(broker, topic_name)
    topic.create()
    return topic


@pytest.fixture
def served(broker: str, topic_name: str, models: ModelTopic) -> Iterator[Callable[..., ServedModel]]:
    made: list[ServedModel] = []

    def serve(text: str = "m", refused: list[int] | None = None, **place: str) -> ServedModel:
        where = {"brokers": broker, "topic": topic_name, "alerts": f"{topic_name}-alerts", "kafka_config": "", **place}
        count = (lambda: refused.append(1)) if refused is not None else (lambda: None)
        made.append(ServedModel(parse_reference(text), (False,), Place(**where), count))
        return made[-1]

    yield serve
    for one in made:
        one.close()


def answers(model: ServedModel) -> tuple[list[float], str]:
    batch, version = model.run([VALUES], 3)
    return batch.scores().tolist(), version.version


def told(broker: str, topic: str) -> list[dict[str, Any]]:
    try:
        return [record for record, _ in read_topic(broker, topic, "alert")]
    except SetupError:  # the first alert makes the topic
        return []


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def test_a_new_version_takes_over_and_a_rollback_takes_it_back(
    models: ModelTopic, served: Callable[..., ServedModel]
) -> None:
    models.publish("m", times(2), file="m.onnx")
    moving, pinned = served("m"), served("m$1")
    assert answers(moving) == ([2, 4, 6], "1")
    models.publish("m", times(3), file="m.onnx")
    wait_for(lambda: answers(moving) == ([3, 6, 9], "2"))
    models.publish("m", times(4), file="m.onnx", serve=False)
    models.rollback("m")
    wait_for(lambda: answers(moving) == ([2, 4, 6], "1"))
    models.promote("m", 3)
    wait_for(lambda: answers(moving)[1] == "3")
    models.retire("m", 2)
    assert answers(pinned)[1] == "1"
    assert answers(served("m"))[1] == "3"


def test_a_candidate_that_fails_the_gate_leaves_the_old_one_serving(
    broker: str, topic_name: str, models: ModelTopic, served: Callable[..., ServedModel]
) -> None:
    models.publish("m", times(2), file="m.onnx")
    refused: list[int] = []
    model = served("m", refused)
    answers(model)
    bad: list[tuple[bytes, dict[str, Any], str]] = [
        (b"no model at all", {}, "is not a model that ONNX Runtime"),
        (times(2, "other"), {}, "its inputs are ('other'"),
        (times(0, op="Div"), {}, "cannot answer 3 (the model's answer is not a finite number)"),
        (times(5), {"auc-threshold": 0.9}, "its auc was not measured, and at least 0.9 is asked for"),
    ]
    for number, (data, gate, reason) in enumerate(bad, 1):
        models.publish("m", data, file="m.onnx", gate=gate)
        wait_for(lambda number=number: len(refused) == number)  # type: ignore[misc]
        assert answers(model) == ([2, 4, 6], "1")
        wait_for(lambda number=number: len(told(broker, f"{topic_name}-alerts")) == number)  # type: ignore[misc]
        alert = told(broker, f"{topic_name}-alerts")[-1]
        assert reason in alert["reason"]
        assert (alert["alert"], alert["value"], alert["count"]) == ("model-refused", number + 1.0, number)
    models.publish("m", times(6, "other"), file="m.onnx", gate={"allow-new-inputs": True})
    wait_for(lambda: answers(model) == ([6, 12, 18], "6"))
    metrics = {"auc": 0.95, "samples": 500.0}
    models.publish("m", times(7), file="m.onnx", gate={"auc-threshold": 0.9, "allow-new-inputs": True}, metrics=metrics)
    wait_for(lambda: answers(model)[1] == "7")


def test_a_worker_whose_runtime_answers_golden_rows_otherwise_keeps_the_old_version(
    broker: str, topic_name: str, models: ModelTopic, served: Callable[..., ServedModel]
) -> None:
    def golden(factor: float) -> dict[str, Any]:
        return record_golden(times(factor), parse_reference("m"), [VALUES], 3)

    models.publish("m", times(2), file="m.onnx", golden=golden(2))
    refused: list[int] = []
    model = served("m", refused)
    assert answers(model) == ([2, 4, 6], "1")
    models.publish("m", times(3), file="m.onnx", golden=golden(4))  # what a runtime that multiplies wrongly looks like
    wait_for(lambda: len(refused) == 1)
    assert answers(model) == ([2, 4, 6], "1")
    wait_for(lambda: len(told(broker, f"{topic_name}-alerts")) == 1)
    reason = told(broker, f"{topic_name}-alerts")[0]["reason"]
    assert reason.startswith("Version 2 of model 'm' does not serve: model 'm': onnxruntime ")
    assert "answers 3 of 3 golden rows otherwise than onnxruntime" in reason
    assert "(row 1: 3 instead of 4)" in reason
    # A worker that starts now goes back to the version before; one that stays at version 2 does not start.
    assert answers(served("m", refused)) == ([2, 4, 6], "1")
    with pytest.raises(ConfigError, match="golden rows otherwise"):
        served("m$2")
    models.publish("m", times(5), file="m.onnx", golden=golden(5))
    wait_for(lambda: answers(model)[1] == "3")


def test_every_worker_hears_of_a_new_version(
    topic_name: str, models: ModelTopic, served: Callable[..., ServedModel]
) -> None:
    """Each feed reads the topic from its beginning and belongs to no group, so none takes a version from another."""
    models.publish("m", times(2), file="m.onnx")
    workers = [served("m", alerts=f"{topic_name}-{number}") for number in range(3)]  # a feed of its own for each
    assert len({worker._feed for worker in workers}) == 3
    models.publish("m", times(3), file="m.onnx")
    wait_for(lambda: all(answers(worker) == ([3, 6, 9], "2") for worker in workers))


def test_a_job_that_starts_with_a_bad_version_goes_back_to_the_last_good_one(
    models: ModelTopic, served: Callable[..., ServedModel]
) -> None:
    models.publish("m", times(2), file="m.onnx")
    models.publish("m", b"garbage", file="m.onnx")
    assert answers(served("m"))[1] == "1"
    with pytest.raises(ConfigError, match="is not a model"):
        served("m$2")


def test_a_model_larger_than_a_message_and_one_by_reference(
    models: ModelTopic, served: Callable[..., ServedModel], tmp_path: Path
) -> None:
    big = times(2) + b"\x3a\x00" + b"".join(b"\x32\xff\xff\x03" + bytes(65535) for _ in range(40))
    models.publish("m", big, file="m.onnx")
    assert answers(served("m"))[0] == [2, 4, 6]
    file = tmp_path / "m.onnx"
    file.write_bytes(times(9))
    models.publish("n", times(9), file="m.onnx", uri=f"file://{file}")
    assert answers(served("n"))[0] == [9, 18, 27]
    file.write_bytes(times(8))
    with pytest.raises(ConfigError, match="hash to"):
        served("n")


def test_two_hundred_swaps_leave_no_session_behind(
    broker: str, topic_name: str, models: ModelTopic, served: Callable[..., ServedModel]
) -> None:
    models.publish("m", times(1), file="m.onnx")
    model = served("m")
    gc.collect()
    before = len(onnx_call._sessions)
    producer = KafkaProducer(bootstrap_servers=[broker])
    for number in range(2, 202):
        data = times(number)
        about = json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)})
        pointer = json.dumps({"serving": number, "previous": [number - 1], "last": number})
        for one in (
            Snapshot("m", str(number), "onnx", about, number, 0, data),
            Snapshot("m", "", "serving", pointer, number, 0, b""),
        ):
            for record in split(one):
                producer.send(topic_name, encode("snapshot", record), key=record["snapshot_key"].encode())
        if number % 10 == 0 or number > 195:
            producer.flush()
            wait_for(lambda number=number: answers(model)[1] == str(number))  # type: ignore[misc]
    producer.close()
    gc.collect()
    assert len(onnx_call._sessions) <= before + 2


def test_names_that_lead_nowhere(
    broker: str,
    topic_name: str,
    models: ModelTopic,
    served: Callable[..., ServedModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models.publish("m", times(2), file="m.onnx")
    with pytest.raises(ConfigError, match=r"'nobody': is not in topic .* There are: m"):
        served("nobody")
    with pytest.raises(ConfigError, match=r"has no version 7\. There are: 1"):
        served("m$7")
    monkeypatch.setattr("thalweg.udfs.flink.served_models._START_S", 0.5)
    with pytest.raises(SetupError, match="check that the broker runs and that the topic exists"):
        served("m", topic=f"{topic_name}-none")


def test_where_the_models_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(name: str, default: str) -> str:
        return default

    monkeypatch.delenv("THALWEG_MODELS_BROKERS", raising=False)
    with pytest.raises(ConfigError, match=r"Write 'fraud\?brokers=host:9092'"):
        place_of(parse_reference("fraud"), nothing)
    monkeypatch.setenv("THALWEG_MODELS_BROKERS", "env:1")
    assert place_of(parse_reference("fraud"), nothing).brokers == "env:1"
    assert place_of(parse_reference("fraud"), lambda name, _: f"job-{name}").topic == "job-thalweg.models.topic"
    config = tmp_path / "kafka.properties"
    config.write_text("# ours\nsecurity_protocol = SASL_SSL\nsasl_plain_password=geheim=1\n")
    place = place_of(parse_reference(f"fraud?brokers=here:1&kafka-config={config}"), nothing)
    assert (place.brokers, place.topic) == ("here:1", "thalweg.models.v1")
    assert place.security() == {"security_protocol": "SASL_SSL", "sasl_plain_password": "geheim=1"}
    assert "geheim" not in repr(place)


def test_a_broker_that_goes_away_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from thalweg.jobs.broker import Broker

    with Broker.start(tmp_path) as running:
        address = running.bootstrap
        topic = ModelTopic(address, "models")
        topic.create()
        topic.publish("m", times(2), file="m.onnx")
        model = ServedModel(parse_reference("m"), (False,), Place(address, "models", "alerts", ""), lambda: None)
        assert answers(model)[1] == "1"
    wait_for(lambda: "what serves goes on serving" in caplog.text, 120)
    assert answers(model) == ([2, 4, 6], "1")
    with Broker.start(tmp_path, port=int(address.rpartition(":")[2])):
        topic.publish("m", times(3), file="m.onnx")
        wait_for(lambda: answers(model)[1] == "2", 120)
        assert "are followed again" in caplog.text
        model.close()

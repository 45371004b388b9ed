"""What a worker starts from: a file, or a topic; and a forgotten key that returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from test_operators import Flink
from thalweg.connector import topic_log
from thalweg.connector.errors import ConfigError, SetupError
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.snapshot import Snapshot
from thalweg.connector.snapshot_file import snapshot_to_file
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import Learner
from thalweg.udfs.flink import warm_start
from thalweg.udfs.flink.operators import LearningOperator
from thalweg.udfs.flink.warm_start import open_warm_start
from thalweg.udfs.logic.declaration import Declaration, declare
from thalweg.udfs.logic.learning import SCORE, STEP, learning_kinds
from thalweg.udfs.logic.packing import pack_columns


class Arriving(Flink):
    """In the order of arrival, with timers that never come."""

    def current_processing_time(self) -> int:
        return 1

    def register_processing_time_timer(self, ms: int) -> None:
        pass

    def get_current_key(self) -> int:
        return 0


def declared(provider: str = "river", model: str = "linear_model.LogisticRegression()", **options: str) -> Declaration:
    head = {"provider": provider, "model": model, "input-table": "events", "event-id": "id", "label": "y", "key": "k"}
    chosen = {**head, **{name.replace("_", "-"): text for name, text in options.items()}}
    return declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], chosen, (), True)


def snapshot(d: Declaration, key: str, examples: int, kind: str = "river") -> Snapshot:
    engine: Any = build(d.spec)
    learner: Learner = engine
    for n in range(examples):
        learner.learn({"a": float(n % 7)}, n % 2 == 0)
    return Snapshot("m", key, kind, d.spec.to_json(), examples, examples, learner.dump())


def block(d: Declaration, *rows: tuple[Any, ...]) -> bytes:
    return pack_columns(list(zip(learning_kinds(d.spec), map(list, zip(*rows, strict=True)), strict=True)), len(rows))


def learned(out: list[Any]) -> list[int]:
    return [number for row in out for number in row[8]]


@pytest.mark.parametrize(("key", "expected"), [("", [30, 30]), ("k1", [30, 0])])
def test_a_file_gives_the_shared_model_or_that_of_its_key(tmp_path: Path, key: str, expected: list[int]) -> None:
    path = tmp_path / "m.avro"
    path.write_bytes(snapshot_to_file(snapshot(declared(), key, 30)))
    d = declared(warm_start=path.as_uri())
    flink = Flink(LearningOperator(d, False))
    out = flink.element(block(d, *((SCORE, name, name, 1, 1, None, 1.0) for name in ("k1", "k2"))))
    assert learned(out) == expected
    flink.operator.close()


def test_a_file_of_no_use_is_told_with_what_the_engine_starts_from(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"onnx")
    with pytest.raises(ConfigError, match=r"model m, option 'warm-start': .*no snapshot.*\n?.*'river' starts from"):
        open_warm_start(declared(warm_start=str(path)))
    with pytest.raises(ConfigError, match="name its file in 'model'"):
        open_warm_start(declared("neural", "mlp(4)", warm_start=str(path)))
    with pytest.raises(ConfigError, match=r"model m, option 'warm-start': cannot be read"):
        open_warm_start(declared(warm_start=str(tmp_path / "none.avro")))
    path.write_bytes(snapshot_to_file(snapshot(declared(), "", 3, "midas")))
    with pytest.raises(ConfigError, match="engine 'midas', and this one is of 'river'"):
        open_warm_start(declared(warm_start=str(path)))


def test_an_engine_that_reads_its_own_kind_of_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"seven")

    class Engine:
        @staticmethod
        def warm(spec: Any, data: bytes) -> Engine:
            assert data == b"seven"
            return Engine()

        def dump(self) -> bytes:
            return b"blob"

    monkeypatch.setattr(warm_start, "engine_class", lambda kind: Engine)
    found = open_warm_start(declared(warm_start=str(path)))
    assert found is not None
    assert found(["", "k"])[""].blob == b"blob"


def test_without_a_broker_model_and_option_are_named() -> None:
    with pytest.raises(SetupError, match=r"model m, option 'warm-start': .*127\.0\.0\.1:1 cannot be used"):
        open_warm_start(declared(warm_start="t?brokers=127.0.0.1:1"))


@pytest.mark.cluster
def test_a_forgotten_key_that_returns_goes_on_from_its_last_snapshot(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"compact": True}})
    topic = SnapshotTopic(broker, topic_name)
    topic.publish(snapshot(declared(), "k1", 10))
    place = f"{topic_name}?brokers={broker}"
    d = declared(warm_start=place, revive="snapshot", state_ttl="1 h", snapshot_every="1 min")
    flink = Arriving(LearningOperator(d, False))
    step = block(d, (STEP, "k1", "e", 1, 1, True, 1.0))
    assert learned(flink.element(step)) == [10]
    assert learned(flink.element(step)) == [11]
    topic.publish(snapshot(declared(), "k1", 12))
    flink.states["models"].clear()  # as after 'state-ttl'
    assert learned(flink.element(step)) == [12]
    flink.states["models"].clear()
    never = Arriving(LearningOperator(declared(warm_start=place), False))
    topic.publish(snapshot(declared(), "k1", 15))
    assert learned(never.element(step)) == [12]
    never.operator.close()
    flink.operator.close()


@pytest.mark.cluster
def test_a_broker_that_falls_silent_fails_the_job(
    broker: str, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topics(broker, {topic_name: {"compact": True}})
    SnapshotTopic(broker, topic_name).publish(snapshot(declared(), "k1", 10))
    opened = open_warm_start(declared(warm_start=f"{topic_name}?brokers={broker}"))
    assert opened is not None
    monkeypatch.setattr(topic_log, "_POLL_MS", 10)
    monkeypatch.setattr(topic_log, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(KafkaConsumer, "poll", lambda *arguments, **named: {})
    with pytest.raises(SetupError, match=r"model m, option 'warm-start': .*fell silent"):
        opened(["k1"])
    opened.close()

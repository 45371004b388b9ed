"""What a worker starts from: a file, or a topic; and a forgotten key that returns."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer
from test_operators import Flink
from thalweg.connector import topic_log
from thalweg.connector.errors import ConfigError, SetupError
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.keys import generate_key
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import Snapshot, assemble, split
from thalweg.connector.snapshot_file import snapshot_to_file
from thalweg.connector.snapshot_signature import sign_snapshot
from thalweg.connector.wire import encode
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import Learner
from thalweg.udfs.flink import warm_start
from thalweg.udfs.flink.operators import ANSWER_TYPES, EXTRA_TYPES, LearningOperator
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


def test_a_file_that_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, path = generate_key("ed25519", "ci"), tmp_path / "m.avro"
    monkeypatch.setenv("THALWEG_TEST_TRUSTED", key.public().text())
    options = {"trusted_keys": "env:THALWEG_TEST_TRUSTED", "require_signature": "true"}
    d = declared(warm_start=str(path), **options)
    made = snapshot(declared(), "", 3)
    path.write_bytes(snapshot_to_file(sign_snapshot(made, key)))
    assert open_warm_start(d) is not None
    for wrong in (made, sign_snapshot(made, generate_key("ed25519", "ci"))):
        path.write_bytes(snapshot_to_file(wrong))
        with pytest.raises(ConfigError, match=r"model m, option 'warm-start': .*signed"):
            open_warm_start(d)
    network = tmp_path / "m.onnx"
    network.write_bytes(b"onnx")
    with pytest.raises(ConfigError, match="an ONNX file is not signed"):
        open_warm_start(declared("neural", "mlp(4)", warm_start=str(network), **options))
    monkeypatch.delenv("THALWEG_TEST_TRUSTED")
    with pytest.raises(ConfigError, match=r"model m, option 'trusted-keys': .*THALWEG_TEST_TRUSTED is not set"):
        open_warm_start(d)


def test_a_key_whose_snapshot_nobody_vouches_for_begins_anew_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the keys here ``old`` has a signed one before the forged one, ``new`` has a forged one alone."""
    key, eve = generate_key("ed25519", "ci"), generate_key("ed25519", "eve")
    monkeypatch.setenv("THALWEG_TEST_TRUSTED", key.public().text())
    d = declared(
        warm_start="t?brokers=h:1", trusted_keys="env:THALWEG_TEST_TRUSTED", require_signature="true", shards="1"
    )
    sent = [
        sign_snapshot(snapshot(declared(), "good", 5), key),
        sign_snapshot(snapshot(declared(), "old", 7), key),
        snapshot(declared(), "old", 9),
        sign_snapshot(snapshot(declared(), "new", 11), eve),
    ]
    monkeypatch.setattr(warm_start, "TopicLog", lambda *_, **__: Log(sent))
    flink = Arriving(LearningOperator(d, False))
    out = flink.element(block(d, *((SCORE, name, name, 1, 1, None, 1.0) for name in ("good", "old", "new"))))
    assert learned(out) == [5, 7, 0]
    at = len(ANSWER_TYPES) + list(EXTRA_TYPES).index("alert")
    (alert,) = [list(row)[at] for row in out if list(row)[at] is not None]
    assert list(alert)[1:4] == ["snapshot-refused", "warning", 2.0]
    assert "more keys" in list(alert)[6]
    assert flink.element(block(d, (SCORE, "new", "e", 1, 1, None, 1.0)))
    flink.operator.close()


class Log:
    """A topic in memory, one partition."""

    def __init__(self, snapshots: list[Snapshot]) -> None:
        self._records = [
            SimpleNamespace(
                key=record["snapshot_key"].encode(), value=encode("snapshot", record), partition=0, offset=at
            )
            for at, made in enumerate(snapshots)
            for record in split(made)
        ]
        self._read = False

    def new(self) -> list[Any]:
        self._read, read = True, self._read
        return [] if read else self._records

    def at(self, places: Any) -> list[Any]:
        return [self._records[offset] for offset in places.get(0, ())]

    def all(self) -> list[Any]:
        return self._records

    def close(self) -> None:
        pass


def test_an_operator_signs_what_it_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate_key("hmac-sha256", "job")
    monkeypatch.setenv("THALWEG_TEST_SIGNING", key.text())
    d = declared(signing_key="env:THALWEG_TEST_SIGNING", snapshot_every="1 events")
    assert key.text() not in repr(d) + pickle.dumps(LearningOperator(d, False)).decode("latin-1")
    flink = Arriving(LearningOperator(d, False))
    out = flink.element(block(d, (STEP, "k", "e", 1, 1, True, 1.0)))
    at = len(ANSWER_TYPES) + list(EXTRA_TYPES).index("snapshot")
    (row,) = [list(row)[at] for row in out if list(row)[at] is not None]
    record = dict(zip(EXTRA_TYPES["snapshot"], row, strict=True))
    found = assemble([record], trust=Trust([key], required=True))
    assert (found.key, found.version) == ("k", 1)

"""Models by name where only what is signed serves: a broker with publishers that may, and one that may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from test_served_models import answers, times, told, wait_for
from thalweg.connector.errors import ConfigError
from thalweg.connector.kafka import SnapshotTopic
from thalweg.connector.keys import Key, generate_key
from thalweg.connector.models import ModelTopic
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import split
from thalweg.connector.wire import encode
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.flink.served_models import Place, ServedModel, place_of

KEYS = {name: generate_key(name, name) for name in ("ed25519", "hmac-sha256")}
TRUST = Trust([key.public() for key in KEYS.values()], required=True)


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    path = tmp_path / "trusted.keys"
    path.write_text("".join(f"{key.public().text()}\n" for key in KEYS.values()))
    return path


@pytest.fixture
def topic(broker: str, topic_name: str) -> str:
    ModelTopic(broker, topic_name).create()
    return topic_name


def publish(broker: str, topic: str, factor: float, key: Key | None, **options: Any) -> int:
    target = ModelTopic(broker, topic, signer=key, trust=None if key is None else TRUST)
    return target.publish("m", times(factor), file="m.onnx", **options).version


def serve(broker: str, topic: str, trusted: Path, refused: list[int], text: str = "m") -> ServedModel:
    reference = parse_reference(
        f"{text}?brokers={broker}&topic={topic}&alerts={topic}-alerts&trusted-keys=file:{trusted}"
    )
    place = place_of(reference, lambda name, default: "true" if name == "thalweg.models.require-signature" else default)
    return ServedModel(reference, (False,), place, lambda: refused.append(1))


@pytest.mark.cluster
def test_only_what_a_trusted_key_has_signed_serves(
    broker: str, topic: str, trusted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[int] = []
    assert publish(broker, topic, 2.0, KEYS["ed25519"]) == 1
    model = serve(broker, topic, trusted, refused)
    try:
        assert answers(model) == ([2.0, 4.0, 6.0], "1")
        # Somebody who may write to the topic, and has no key: neither the version nor the pointer to it is taken.
        assert publish(broker, topic, 3.0, None) == 2
        wait_for(lambda: len(refused) >= 2)
        assert publish(broker, topic, 4.0, generate_key("ed25519", "ed25519")) == 3
        wait_for(lambda: len(refused) >= 4)
        assert answers(model) == ([2.0, 4.0, 6.0], "1")
        wait_for(lambda: len(told(broker, f"{topic}-alerts")) == 4)
        alerts = told(broker, f"{topic}-alerts")
        assert {alert["alert"] for alert in alerts} == {"model-refused"}
        assert any("it is not signed" in alert["reason"] for alert in alerts)
        assert any("not what 'ed25519' has signed" in alert["reason"] for alert in alerts)
        # The other key takes over, under a number that nobody has.
        (old,) = [s for s in SnapshotTopic(broker, topic, trust=TRUST).history("m") if s.kind == "serving"]
        assert publish(broker, topic, 5.0, KEYS["hmac-sha256"]) == 4
        wait_for(lambda: answers(model) == ([5.0, 10.0, 15.0], "4"))
        # What was signed once and is sent again does not bring the old version back.
        with KafkaProducer(bootstrap_servers=broker) as producer:
            for record in split(old):
                producer.send(topic, encode("snapshot", record), key=record["snapshot_key"].encode()).get(30)
        wait_for(lambda: len(refused) == 5)
        assert answers(model)[1] == "4"
        assert ModelTopic(broker, topic, trust=TRUST).models()["m"].serving == 4
        again = serve(broker, topic, trusted, [])  # a worker that starts now
        assert answers(again)[1] == "4"
        again.close()
        assert KEYS["hmac-sha256"].text() not in caplog.text
    finally:
        model.close()


@pytest.mark.cluster
def test_a_worker_that_finds_nothing_signed_does_not_start(broker: str, topic: str, trusted: Path) -> None:
    publish(broker, topic, 2.0, None)
    with pytest.raises(ConfigError, match="Only those count that a trusted key has signed"):
        serve(broker, topic, trusted, [])


def test_who_runs_the_workers_is_not_overruled_by_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    lenient = parse_reference("m?brokers=h:1&require-signature=false&trusted-keys=env:MINE")
    assert place_of(lenient, lambda name, default: default).require_signature == "false"
    monkeypatch.setenv("THALWEG_MODELS_REQUIRE_SIGNATURE", "true")
    assert place_of(lenient, lambda name, default: default).require_signature == "true"
    monkeypatch.setenv("THALWEG_MODELS_TRUSTED_KEYS", "env:THEIRS")
    plain = parse_reference("m?brokers=h:1")
    assert place_of(plain, lambda name, default: default).trusted_keys == "env:THEIRS"


def test_keys_of_published_models_are_held_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_TEST_TRUSTED", KEYS["ed25519"].public().text())
    place = Place("h:1", "t", "a", "", "env:THALWEG_TEST_TRUSTED", "true")
    assert repr(place.trust()) == "Trust(['ed25519'], required=True)"
    assert Place("h:1", "t", "a", "").trust() is None
    for wrong, says in (
        (Place("h:1", "t", "a", "", "", "true"), "no key is trusted"),
        (Place("h:1", "t", "a", "", KEYS["ed25519"].public().text(), ""), "no reference"),
    ):
        with pytest.raises(ConfigError, match=says):
            wrong.trust()

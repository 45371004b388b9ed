"""Topics of a real broker."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from thalweg.connector import client
from thalweg.connector.errors import ConfigError, SetupError, WireError
from thalweg.connector.kafka import SnapshotTopic, create_topics, read_topic, wait_for_broker
from thalweg.connector.snapshot import Snapshot, split
from thalweg.connector.wire import encode

NOBODY = "127.0.0.1:1"


def snapshot(version: int, size: int = 10, key: str = "UA") -> Snapshot:
    return Snapshot("delay", key, "river", "{}", version, version, bytes([version % 256]) * size)


def label(number: int) -> bytes:
    return encode("label", {"event_id": str(number), "label_time_ms": number, "label": "true"})


def send(broker: str, topic: str, *pairs: tuple[bytes | None, bytes | None]) -> None:
    producer = KafkaProducer(bootstrap_servers=[broker])
    for key, value in pairs:
        producer.send(topic, value, key=key).get(timeout=30)
    producer.close()


def test_without_a_broker_the_error_has_address_and_remedy() -> None:
    started = time.monotonic()
    with pytest.raises(SetupError, match=r"127.0.0.1:1 cannot be used .* Check that it runs") as caught:
        wait_for_broker(
            NOBODY,
            0.5,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_plain_username="u",
            sasl_plain_password="geheim",
        )
    assert time.monotonic() - started < 5
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_settings_are_checked_and_secrets_stay_secret() -> None:
    with pytest.raises(ConfigError, match=r"Kafka setting 'password'.*\n.*'user'") as caught:
        wait_for_broker(NOBODY, 0.5, password="geheim", user="u")
    assert "geheim" not in str(caught.value)
    with pytest.raises(ConfigError, match="'SASL' is unknown"):
        wait_for_broker(NOBODY, 0.5, security_protocol="SASL")
    assert "geheim" not in repr(SnapshotTopic(NOBODY, "t", sasl_plain_password="geheim"))


def test_unknown_topic_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        create_topics(NOBODY, {"a": {"partition": 1}, "b": {"compacted": True, "partitions": 2}})
    assert len(caught.value.problems) == 2


@pytest.mark.cluster
def test_topics_are_made_once_and_then_left_alone(broker: str, topic_name: str) -> None:
    wait_for_broker(broker, 10)
    create_topics(broker, {topic_name: {"partitions": 3, "compact": True, "max_message_bytes": 2_000_000}})
    create_topics(broker, {topic_name: {"partitions": 5}, f"{topic_name}-2": {"retention_ms": 1000}})
    admin = KafkaAdminClient(bootstrap_servers=[broker])
    described = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics([topic_name])}
    admin.close()
    assert described == {topic_name: 3}
    with pytest.raises(SetupError, match="InvalidTopic"):
        create_topics(broker, {"a b": {}})


@pytest.mark.cluster
def test_a_topic_is_read_to_its_end_at_the_start(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"partitions": 2}})
    assert list(read_topic(broker, topic_name, "label")) == []
    send(broker, topic_name, *((None, label(number)) for number in range(20)), (b"k", None))
    reading = read_topic(broker, topic_name, "label")
    first, record = next(reading)
    send(broker, topic_name, (None, label(99)))
    rest = [decoded["label_time_ms"] for decoded, _ in reading]
    assert sorted([first["label_time_ms"], *rest]) == list(range(20))
    assert (record.topic, record.offset) == (topic_name, 0)
    with pytest.raises(SetupError, match="has no topic"):
        list(read_topic(broker, f"{topic_name}-none", "label"))


@pytest.mark.cluster
def test_records_behind_the_end_are_left_out_even_when_fetched(
    broker: str, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(KafkaConsumer):
        """Sees the topic as it was two records ago."""

        def end_offsets(self, partitions: Any, timeout_ms: int | None = None) -> dict:
            return {at: end - 2 for at, end in super().end_offsets(partitions, timeout_ms).items()}

    create_topics(broker, {topic_name: {}})
    send(broker, topic_name, *((None, label(number)) for number in range(5)))
    monkeypatch.setattr(client, "KafkaConsumer", Earlier)
    assert [decoded["event_id"] for decoded, _ in read_topic(broker, topic_name, "label")] == ["0", "1", "2"]


@pytest.mark.cluster
def test_a_foreign_record_is_told_by_its_place(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {}})
    send(broker, topic_name, (None, label(1)), (None, b"\0\0\0\0\x01" + label(2)))
    reading = read_topic(broker, topic_name, "label")
    next(reading)
    with pytest.raises(WireError, match=f"{topic_name}-0 at offset 1: The label record .* registry"):
        next(reading)


@pytest.mark.cluster
def test_aborted_and_trailing_transactions_do_not_stop_a_reader(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {}})
    producer = KafkaProducer(bootstrap_servers=[broker], transactional_id=topic_name)
    producer.init_transactions()
    for number in range(3):
        producer.begin_transaction()
        producer.send(topic_name, label(number)).get(timeout=30)  # or an abort would drop it unsent
        if number == 0:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    producer.close()
    assert [decoded["event_id"] for decoded, _ in read_topic(broker, topic_name, "label")] == ["0"]


@pytest.mark.cluster
def test_the_newest_whole_snapshot_is_found(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"partitions": 3, "compact": True}})
    reports: list[str] = []
    topic = SnapshotTopic(broker, topic_name, report=reports.append)
    assert topic.latest() == {}
    topic.publish(snapshot(1))
    topic.publish(snapshot(2, 2_000_000))
    topic.publish(snapshot(3, 2_000_000))
    topic.publish(snapshot(7, key="B/%"))
    assert topic.latest() == {("delay", "UA"): snapshot(3, 2_000_000), ("delay", "B/%"): snapshot(7, key="B/%")}
    assert [found.version for found in topic.history("delay", "UA")] == [1, 2, 3]
    assert topic.history("delay", "none") == []
    assert reports == []


@pytest.mark.cluster
def test_half_snapshots_and_foreign_records_are_passed_over_and_reported(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"partitions": 1, "compact": True}})
    reports: list[str] = []
    topic = SnapshotTopic(broker, topic_name, report=reports.append)
    topic.publish(snapshot(1, 2_000_000))
    half = split(snapshot(2, 2_000_000), slot=1)[:-1]
    damaged = {**split(snapshot(3))[0], "blob": b"0123456789"}
    pairs: list[Any] = [(record["snapshot_key"].encode(), encode("snapshot", record)) for record in [*half, damaged]]
    send(broker, topic_name, *pairs, (b"x", b"garbage"), (b"delay/old", None))
    assert {name: found.version for name, found in topic.latest().items()} == {("delay", "UA"): 1}
    assert len(reports) == 3
    assert sum("version 2 is passed over: 2 of 3 parts are there" in report for report in reports) == 1
    assert sum("does not have the checksum" in report for report in reports) == 1
    assert sum("snapshot record is not Avro" in report for report in reports) == 1


@pytest.mark.cluster
def test_a_new_publisher_does_not_overwrite_the_parts_in_use(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"partitions": 2, "compact": True}})
    slots = []
    for version in range(4):
        SnapshotTopic(broker, topic_name).publish(snapshot(version, 1_000_000))
    for record, _ in read_topic(broker, topic_name, "snapshot"):
        if record["chunk"] == 0:
            slots.append((record["version"], record["snapshot_key"]))
    assert [key for _, key in sorted(slots)] == [f"delay/UA/{slot}-0" for slot in (0, 1, 0, 1)]


@pytest.mark.cluster
def test_the_newest_manifest_wins_and_not_the_highest_version(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"compact": True}})
    topic = SnapshotTopic(broker, topic_name)
    topic.publish(snapshot(5))
    topic.publish(snapshot(0))
    assert topic.latest()["delay", "UA"].version == 0  # a model that was reset counts anew

"""The newest snapshot of each key: of a fake topic in every order, and of a real broker."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer
from thalweg.connector import snapshot_places
from thalweg.connector.errors import SetupError
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.snapshot import Snapshot, record_key, split
from thalweg.connector.snapshot_index import SnapshotIndex
from thalweg.connector.topic_log import TopicLog
from thalweg.connector.wire import encode


class Raw(NamedTuple):
    key: bytes | None
    value: bytes | None
    partition: int
    offset: int


def made(key: str, version: int, size: int = 10, model: str = "delay") -> Snapshot:
    return Snapshot(model, key, "river", "{}", version, version, bytes([version % 256]) * size)


class FakeTopic:
    """A topic of two partitions, which can be compacted."""

    def __init__(self) -> None:
        self.records: list[Raw] = []
        self.seen, self.fetched, self.end = 0, 0, 0

    def send(self, key: bytes, value: bytes | None, keyless: bool = False) -> None:
        self.records.append(Raw(None if keyless else key, value, sum(key) % 2, self.end))
        self.end += 1

    def publish(self, snapshot: Snapshot, slot: int = 0, parts: int | None = None, keyless: bool = False) -> None:
        for record in split(snapshot, 1200, slot=slot)[:parts]:
            self.send(record["snapshot_key"].encode(), encode("snapshot", record), keyless)

    def compact(self) -> None:
        newest = {raw.key: raw.offset for raw in self.records if raw.key is not None}
        self.records = [raw for raw in self.records if raw.key is None or newest[raw.key] == raw.offset]

    def new(self) -> Iterator[Any]:
        found = [raw for raw in self.records if raw.offset >= self.seen]
        self.seen = self.end
        yield from found

    def all(self) -> Iterator[Any]:
        yield from self.records

    def at(self, places: Mapping[int, Sequence[int]]) -> Iterator[Any]:
        for raw in self.records:
            if raw.offset in places.get(raw.partition, ()):
                self.fetched += 1
                yield raw


def test_only_the_records_asked_for_are_read() -> None:
    topic = FakeTopic()
    for number in range(50):
        topic.publish(made(f"k{number}", number))
        topic.publish(made(f"k{number}", 99, model="delay2"))
    index = SnapshotIndex(topic, "delay")
    assert len(index) == 50
    assert index.find(["k7", "k9", "none", "k7"]) == {"k7": made("k7", 7), "k9": made("k9", 9)}
    assert topic.fetched == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.booleans())
def test_the_newest_of_each_key_whatever_came_before(seed: int, keyless: bool) -> None:
    dice, topic = random.Random(seed), FakeTopic()
    expected: dict[str, Snapshot] = {}
    index = SnapshotIndex(topic, "delay")
    slots: dict[str, int] = {}
    for version in range(1, 60):
        key = dice.choice(("", "a", "b/c", "d%"))
        if dice.random() < 0.1:
            topic.send(record_key("delay", key).encode(), None)
            expected.pop(key, None)
        else:
            snapshot = made(key, version, dice.choice((10, 10, 3000)))
            slots[key] = 1 - slots.get(key, 1)
            whole = keyless or dice.random() < 0.9
            topic.publish(snapshot, slots[key], None if whole or snapshot.size == 10 else -1, keyless)
            if whole or snapshot.size == 10:
                expected[key] = snapshot
            else:
                slots[key] = 1 - slots[key]  # the next one uses the slot of the one that was never whole
        if dice.random() < 0.2:
            topic.compact()
        if dice.random() < 0.3:
            index.update()
    index.update()
    assert index.find(["", "a", "b/c", "d%", "e"]) == expected


def test_what_compaction_has_removed_is_followed_by_a_newer_one() -> None:
    topic = FakeTopic()
    topic.publish(made("a", 1))
    index = SnapshotIndex(topic, "delay")
    topic.publish(made("a", 2))
    assert index.find(["a"]) == {"a": made("a", 1)}
    topic.compact()
    assert index.find(["a"]) == {"a": made("a", 2)}


def test_a_damaged_one_is_passed_over_for_an_older_one_and_told() -> None:
    topic, told = FakeTopic(), []  # type: ignore[var-annotated]
    topic.publish(made("a", 1))
    topic.send(b"delay/a", b"rubbish")
    topic.send(b"delay/b", b"rubbish")
    index = SnapshotIndex(topic, "delay", report=told.append)
    assert index.find(["a", "b"]) == {"a": made("a", 1)}
    assert len(told) == 1
    assert "key 'b'" in told[0]


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_places, "_hash", lambda key: 7)
    topic = FakeTopic()
    topic.publish(made("a", 1))
    topic.publish(made("b", 2))
    index = SnapshotIndex(topic, "delay", report=lambda text: None)
    assert index.find(["a", "b", "c"]) == {"a": made("a", 1), "b": made("b", 2)}


@pytest.mark.cluster
def test_the_index_of_a_real_topic(broker: str, topic_name: str) -> None:
    create_topics(broker, {topic_name: {"partitions": 3, "compact": True}})
    log = TopicLog(broker, topic_name)
    index = SnapshotIndex(log, "delay")
    assert index.find(["k1"]) == {}
    producer = KafkaProducer(bootstrap_servers=[broker])
    for version in (1, 2):
        for number in range(1500):
            (record,) = split(made(f"k{number}", version))
            producer.send(topic_name, encode("snapshot", record), key=record["snapshot_key"].encode())
    producer.send(topic_name, None, key=b"delay/k3")
    producer.close()
    SnapshotTopic(broker, topic_name).publish(made("large", 5, 2_000_000))
    index.update()
    keys = [f"k{number}" for number in range(0, 1500, 3)]
    expected = {key: made(key, 2) for key in keys if key != "k3"}
    assert index.find([*keys, "large", "none"]) == {**expected, "large": made("large", 5, 2_000_000)}
    SnapshotTopic(broker, topic_name).publish(made("k3", 9))
    assert index.find(["k3"]) == {}
    index.update()
    assert index.find(["k3"]) == {"k3": made("k3", 9)}
    assert [record.key for record in log.new()] == []
    log.close()


def test_without_a_broker_the_log_says_so() -> None:
    with pytest.raises(SetupError, match=r"127\.0\.0\.1:1 cannot be used"):
        TopicLog("127.0.0.1:1", "t")

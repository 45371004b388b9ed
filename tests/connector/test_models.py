"""Models in a topic: what its snapshots make up, and what each command leaves there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer
from kafka.errors import TransactionalIdAuthorizationFailedError
from thalweg.connector import client, sole_writer
from thalweg.connector.client import raw_records
from thalweg.connector.errors import ConfigError, SetupError, SnapshotError
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.models import ModelState, ModelTopic, check_name, state_of
from thalweg.connector.snapshot import Snapshot, split
from thalweg.connector.sole_writer import Change
from thalweg.connector.wire import decode, encode

NOBODY = "127.0.0.1:1"
Found = dict[tuple[str, str], Snapshot]


def quiet(text: str) -> None:
    """Takes what a test does not look at."""


def version(number: int, blob: bytes = b"onnx", name: str = "delay", **about: Any) -> Snapshot:
    told = {"sha256": hashlib.sha256(blob).hexdigest(), "size": len(blob), "file": "m.onnx", "note": "", **about}
    return Snapshot(name, str(number), "onnx", json.dumps(told), number, 1000 + number, blob)


def pointer(serving: int | None, previous: Any = (), name: str = "delay", **about: Any) -> Snapshot:
    told = {"serving": serving, "previous": list(previous), **about}
    return Snapshot(name, "", "serving", json.dumps(told), 1, 0, b"")


def topic_of(*snapshots: Snapshot) -> Found:
    return {(one.model, one.key): one for one in snapshots}


def told(*snapshots: Snapshot) -> tuple[dict[str, ModelState], list[str]]:
    reports: list[str] = []
    return state_of(topic_of(*snapshots), reports.append), reports


def test_versions_and_a_pointer_make_up_a_model() -> None:
    gate = {"auc-threshold": 0.8, "num-eval-samples": 500, "allow-new-inputs": True}
    states, reports = told(version(10), version(2, note="June", **gate), version(1), pointer(2, [10, 7, 1]))
    state = states["delay"]
    assert (state.serving, state.previous, list(state.versions)) == (2, (10, 1), [1, 2, 10])
    found = state.versions[2]
    assert (found.note, found.file, found.gate, found.blob, found.uri) == ("June", "m.onnx", gate, b"onnx", None)
    assert (found.published_ms, found.size, found.kind) == (1002, 4, "onnx")
    assert "onnx'" not in repr(found).replace("kind='onnx'", "").replace("file='m.onnx'", "")
    assert hash(found) == hash(replace(found, gate={}))
    assert reports == []


def test_a_model_without_a_pointer_serves_nothing() -> None:
    states, reports = told(version(1))
    assert states["delay"].serving is None
    assert list(states["delay"].versions) == [1]
    assert reports == []


def test_a_pointer_to_nothing_serves_nothing_and_is_told() -> None:
    states, reports = told(version(1), pointer(3, [2]), pointer(1, name="lonely"))
    assert (states["delay"].serving, states["delay"].previous) == (None, ())
    assert states["lonely"] == ModelState("lonely", None, (), {})
    assert reports == [
        "Model 'delay': version 3 should serve, and is not there.",
        "Model 'lonely': version 1 should serve, and is not there.",
    ]


def test_what_the_pointer_does_not_keep_is_retired_even_if_it_is_still_in_the_topic() -> None:
    states, _ = told(*map(version, range(1, 7)), pointer(4, [2, 1], last=5, kept=[1, 4]))
    assert (list(states["delay"].versions), states["delay"].previous) == ([1, 4, 6], (1,))


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (replace(version(1), kind="serving"), "number as key"),
        (replace(version(1), version=2), "number as key, and this is number 2"),
        (replace(version(1), key="01"), "number as key"),
        (replace(version(1), key="UA", kind="river"), "number as key"),
        (version(1, sha256="ab"), "SHA-256 and the size"),
        (version(1, sha256=7), "SHA-256 and the size"),
        (version(1, size=True), "SHA-256 and the size"),
        (replace(version(1), spec="{}"), "SHA-256 and the size"),
        (version(1, size=5), "not the one that its spec"),
        (version(1, sha256="0" * 64), "not the one that its spec"),
        (replace(version(1), blob=b""), "neither a file nor a URI"),
        (replace(version(1, uri=7), blob=b""), "neither a file nor a URI"),
        (version(1, **{"auc-threshold": 2}), r"'auc-threshold': cannot be 2. It is a number from 0 to 1"),
        (replace(version(1), spec="[]"), "its spec is not that"),
        (replace(version(1), spec="{"), "Expecting"),
        (replace(version(1), spec="[" * 100_000), "passed over"),
        (replace(version(1), model="a/b"), "its name or its spec"),
        (replace(pointer(1), kind="river"), "a pointer is of kind 'serving'"),
        (pointer(0), "not a whole number above 0"),
        (pointer(True), "not a whole number above 0"),
        (pointer(1, ["x"]), "not a whole number above 0"),
        (pointer(1, kept={"1": 2}), "lists versions"),
        (pointer(1, last=""), "not a whole number above 0"),
    ],
)
def test_what_is_no_version_and_no_pointer_is_passed_over(snapshot: Snapshot, reason: str) -> None:
    states, reports = told(snapshot, version(1, name="other"))
    assert list(states) == ["other"]
    (report,) = reports
    assert report.startswith(f"Model '{snapshot.model}', key '{snapshot.key}' is passed over: ")
    assert reason in report


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["serving", "previous", "last", "kept", "sha256", "size", "uri", "auc-threshold"]), json_values
    ),
    st.sampled_from(["", "1", "2", "x"]),
    st.sampled_from(["serving", "onnx"]),
)
def test_no_spec_breaks_the_folding(about: Mapping[str, Any], key: str, kind: str) -> None:
    snapshot = Snapshot("delay", key, kind, json.dumps(about), 1, 0, b"")
    for state in state_of(topic_of(version(2), snapshot), quiet).values():
        assert state.serving is None or state.serving in state.versions
        assert set(state.previous) <= set(state.versions)


class Memory:
    """A snapshot topic in memory, which like a real one is not compacted yet."""

    def __init__(self, *_: object, **__: object) -> None:
        self.refused: set[tuple[str, str]] = set()
        self.found: Found = {}
        self.sent: list[Snapshot] = []

    def latest(self) -> Found:
        return dict(self.found)

    def publish(self, snapshot: Snapshot) -> None:
        self.sent.append(snapshot)
        self.found[snapshot.model, snapshot.key] = snapshot

    def bury(self, snapshot: Snapshot) -> None:
        """Keep it: not compacted yet."""


def in_memory(limit: int = 1000) -> tuple[ModelTopic, Memory]:
    topic = ModelTopic(NOBODY, "models", report=quiet, max_model_bytes=limit)
    store = Memory()
    topic._store = store
    topic._alone = lambda work: work(store)
    return topic, store


class Expected:
    """What the topic should hold, said as simply as it can be."""

    def __init__(self) -> None:
        self.alive: list[int] = []
        self.serving: int | None = None
        self.previous: list[int] = []
        self.last = 0

    def move(self, number: int) -> None:
        if number != self.serving:
            self.previous = [old for old in (self.serving, *self.previous) if old not in (None, number)]
            self.serving = number


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["publish", "only", "promote", "rollback", "retire", "compact"]), st.integers(1, 8)),
        max_size=25,
    )
)
def test_any_course_of_commands_leaves_what_it_should(course: list[tuple[str, int]]) -> None:
    topic, store = in_memory()
    want = Expected()
    for what, number in course:
        if what in ("publish", "only"):
            made = topic.publish("delay", b"%d" % number, file="m.onnx", serve=what == "publish")
            want.last += 1
            assert made.version == want.last
            want.alive.append(want.last)
            if what == "publish" or want.serving is None:
                want.move(want.last)
        elif what == "compact":
            for old in set(range(1, want.last + 1)) - set(want.alive):
                store.found.pop(("delay", str(old)), None)
        elif what == "promote" and number in want.alive:
            topic.promote("delay", number)
            want.move(number)
        elif what == "rollback" and want.previous:
            topic.rollback("delay")
            want.serving, *want.previous = want.previous
        elif what == "retire" and number in want.alive and number != want.serving:
            topic.retire("delay", number)
            want.alive.remove(number)
            want.previous = [old for old in want.previous if old != number]
        elif what == "retire" and number not in want.alive and ("delay", str(number)) in store.found:
            topic.retire("delay", number)  # once more does no harm
        else:
            sent = len(store.sent)
            with pytest.raises(ConfigError):
                topic.rollback("delay") if what == "rollback" else getattr(topic, what)("delay", number)
            assert len(store.sent) == sent
        if want.last:
            state = topic.models()["delay"]
            assert (state.serving, list(state.previous), list(state.versions)) == (
                want.serving,
                want.previous,
                want.alive,
            )
    counters = [snapshot.version for snapshot in store.sent if not snapshot.key]
    assert counters == list(range(1, len(counters) + 1))


def test_what_a_version_says_of_itself() -> None:
    topic, store = in_memory()
    gate = {"auc-threshold": 0.8, "log-loss-threshold": 0.4}
    made = topic.publish("delay", b"abc", file="C:\\models/june.onnx", note="June", gate=gate)
    sent, moved = store.sent
    assert (sent.key, sent.kind, sent.version, sent.blob) == ("1", "onnx", 1, b"abc")
    assert json.loads(sent.spec) == {
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "size": 3,
        "file": "june.onnx",
        "note": "June",
        **gate,
    }
    assert sent.writer.startswith("thalweg ")
    assert (moved.key, moved.kind, moved.blob) == ("", "serving", b"")
    assert json.loads(moved.spec) == {"serving": 1, "previous": [], "last": 1, "kept": [1]}
    assert topic.models()["delay"].versions == {1: made}
    assert topic.find("delay") == (made, topic.models()["delay"])


def test_by_reference_the_bytes_stay_where_they_are() -> None:
    topic, store = in_memory(limit=10)
    with pytest.raises(SnapshotError, match=r"has 11 bytes, the limit of the topic is 10\. Publish it by reference"):
        topic.publish("delay", bytes(11), file="m")
    assert store.sent == []
    made = topic.publish("delay", bytes(11), file="m", uri="file:///models/m.onnx")
    assert (made.uri, made.size, made.blob) == ("file:///models/m.onnx", 11, b"")
    assert made.sha256 == hashlib.sha256(bytes(11)).hexdigest()
    assert topic.models()["delay"].versions == {1: made}


def test_a_reader_with_a_lower_limit_takes_nothing_from_the_pointer() -> None:
    topic, store = in_memory()
    for number in range(1, 4):
        topic.publish("delay", b"%d" % number, file="m")
    hidden = store.found.pop(("delay", "3"))  # too large for the one who writes now
    assert topic.publish("delay", b"4", file="m", serve=False).version == 4
    store.found["delay", "3"] = hidden
    state = topic.models()["delay"]
    assert (state.serving, list(state.versions)) == (3, [1, 2, 3, 4])


def test_all_wrong_requests_are_told_at_once() -> None:
    topic, store = in_memory()
    gate = {"auc-threshold": float("nan"), "log-loss-threshold": 0, "num-eval-samples": 1.5, "auc": 1}
    with pytest.raises(ConfigError) as caught:
        topic.publish("a/b", b"", file="m", gate=gate, uri="")
    where = [problem.where for problem in caught.value.problems]
    assert where[0] == "model 'a/b'"
    assert sorted(where[1:5]) == sorted(f"gate '{option}'" for option in gate)
    assert len(where) == 7
    assert store.sent == []


@pytest.mark.parametrize("name", ["", "a/b", "a$1", "a?b", "a&b", "a b", "é", "a\n", "a" * 129])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a model"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "A_b-3.c", "a" * 128])
def test_names_that_can_be(name: str) -> None:
    check_name(name)


def test_unknown_names_and_versions_are_told_with_what_there_is() -> None:
    topic, _ = in_memory()
    with pytest.raises(ConfigError, match=r"there is none in topic models. Models there: none\."):
        topic.promote("delay", 1)
    topic.publish("delay", b"1", file="m")
    topic.publish("delay", b"2", file="m")
    with pytest.raises(ConfigError, match=r"model 'delya': there is none in topic models. Did you mean 'delay'?"):
        topic.rollback("delya")
    with pytest.raises(ConfigError, match=r"Models there: delay\."):
        topic.find("quite-another")
    for refused in (topic.promote, topic.retire, topic.find):
        with pytest.raises(ConfigError, match=r"version 3: there is no such version. There are 1, 2\."):
            refused("delay", 3)
    with pytest.raises(ConfigError, match=r"version 2: it serves, and cannot be retired\. Promote"):
        topic.retire("delay", 2)
    topic.rollback("delay")
    with pytest.raises(ConfigError, match=r"no version that served before is left. Promote one of its versions: 1, 2"):
        topic.rollback("delay")


def test_to_promote_what_serves_sends_nothing() -> None:
    topic, store = in_memory()
    topic.publish("delay", b"1", file="m")
    assert topic.promote("delay", 1).serving == 1
    assert len(store.sent) == 2


def test_a_pointer_never_replaces_the_snapshot_of_a_job() -> None:
    topic, store = in_memory()
    store.found["delay", ""] = Snapshot("delay", "", "river", "{}", 7, 0, b"river")
    with pytest.raises(ConfigError, match=r"holds its snapshot, of kind 'river', from a job. Publish to a topic"):
        topic.publish("delay", b"1", file="m")
    assert store.sent == []


def test_a_broken_pointer_is_replaced_by_one_that_counts_on() -> None:
    topic, store = in_memory()
    store.found["delay", ""] = replace(pointer(0), version=41)
    topic.publish("delay", b"1", file="m")
    assert (store.sent[-1].version, topic.models()["delay"].serving) == (42, 1)


def test_nobody_answers_a_model_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CONNECT_MS", 300)
    topic = ModelTopic(NOBODY, "models")
    assert "geheim" not in repr(ModelTopic(NOBODY, "models", sasl_plain_password="geheim"))
    for call in (topic.create, topic.models, lambda: topic.publish("a", b"1", file="m")):
        with pytest.raises(SetupError, match=r"127.0.0.1:1 cannot be used"):
            call()


@pytest.mark.cluster
def test_models_on_a_broker(broker: str, topic_name: str) -> None:
    reports: list[str] = []
    topic = ModelTopic(broker, topic_name, report=reports.append)
    with pytest.raises(SetupError, match="has no topic"):
        topic.models()
    topic.create()
    topic.create()
    assert topic.models() == {}
    large = bytes(range(256)) * 8000
    first = topic.publish("delay", b"1", file="m.onnx", serve=False)
    second = topic.publish("delay", large, file="m.onnx", gate={"num-eval-samples": 500})
    other = topic.publish("other", b"x", file="m.onnx")
    found = ModelTopic(broker, topic_name, report=reports.append).models()
    assert found == {
        "delay": ModelState("delay", 2, (1,), {1: first, 2: second}),
        "other": ModelState("other", 1, (), {1: other}),
    }
    assert found["delay"].versions[2].blob == large
    assert topic.rollback("delay") == topic.models()["delay"] == replace(found["delay"], serving=1, previous=())
    assert topic.promote("delay", 2) == topic.models()["delay"] == found["delay"]
    topic.promote("delay", 1)
    assert topic.retire("delay", 2) == topic.models()["delay"] == ModelState("delay", 1, (), {1: first})
    third = ModelTopic(broker, topic_name).publish("delay", b"3", file="m.onnx", serve=False)
    assert (third.version, topic.models()["delay"].serving) == (3, 1)
    assert reports == []


def test_a_broker_that_begins_no_transaction_is_told_with_what_it_needs() -> None:
    class Refuses:
        def init_transactions(self) -> None:
            raise TransactionalIdAuthorizationFailedError

    with pytest.raises(
        SetupError, match=r"AuthorizationFailedError\): .* write with the transactional id 'thalweg\.m'"
    ):
        sole_writer._begin(Refuses(), "here:1", "thalweg.m")


@pytest.mark.cluster
def test_a_publisher_that_is_overtaken_begins_anew(
    broker: str, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = ModelTopic(broker, topic_name), ModelTopic(broker, topic_name)
    slow.create()
    read, reads = slow._store.latest, []

    def overtaken() -> Found:
        found = read()
        reads.append(len(found))
        if len(reads) == 1:  # the other one comes and goes after this one has read what there is
            assert fast.publish("delay", b"fast", file="m").version == 1
        return found

    monkeypatch.setattr(slow._store, "latest", overtaken)
    assert slow.publish("delay", b"slow", file="m").version == 2
    assert reads == [0, 2]
    state = fast.models()["delay"]
    assert [(number, one.blob) for number, one in state.versions.items()] == [(1, b"fast"), (2, b"slow")]
    assert (state.serving, state.previous) == (2, (1,))


@pytest.mark.cluster
def test_of_many_publishers_at_once_no_model_is_lost(broker: str, topic_name: str) -> None:
    ModelTopic(broker, topic_name).create()

    def publish(worker: int) -> list[int]:
        topic = ModelTopic(broker, topic_name)
        return [topic.publish("delay", b"%d-%d" % (worker, at), file="m").version for at in range(3)]

    with ThreadPoolExecutor(3) as pool:
        numbers = [list(found) for found in pool.map(publish, range(3))]
    assert sorted(number for found in numbers for number in found) == list(range(1, 10))
    state = ModelTopic(broker, topic_name).models()["delay"]
    assert {one.blob for one in state.versions.values()} == {b"%d-%d" % (w, at) for w in range(3) for at in range(3)}
    for worker, found in enumerate(numbers):
        assert [state.versions[number].blob for number in found] == [b"%d-%d" % (worker, at) for at in range(3)]
    assert state.serving == 9
    assert state.previous == tuple(range(8, 0, -1))


@pytest.mark.cluster
def test_nothing_of_a_change_that_fails_is_seen(broker: str, topic_name: str) -> None:
    topic = ModelTopic(broker, topic_name)
    topic.create()
    kept = topic.publish("delay", b"1", file="m")

    def fails(change: Change) -> None:
        change.publish(version(2, b"half"))
        raise RuntimeError("in the midst")

    with pytest.raises(RuntimeError, match="in the midst"):
        topic._alone(fails)
    assert topic.models()["delay"].versions == {1: kept}
    assert topic.publish("delay", b"2", file="m").version == 2


@pytest.mark.cluster
def test_nothing_of_a_retired_version_outlives_compaction(broker: str, topic_name: str) -> None:
    topic = ModelTopic(broker, topic_name, report=quiet)
    topic.create()
    topic.publish("delay", b"1", file="m")
    topic.publish("delay", bytes(2_000_000), file="m", serve=False)
    # A version sent again by hand, so that its parts lie in the other slot too.
    snapshot = SnapshotTopic(broker, topic_name).latest()["delay", "2"]
    SnapshotTopic(broker, topic_name).publish(snapshot)
    topic.retire("delay", 2)
    last: dict[bytes, bytes | None] = {}
    order = []
    for record in raw_records(broker, topic_name, {}):
        last[record.key] = record.value
        if record.value is None:
            order.append(record.key)
    assert order[0] == b"delay/2"
    assert set(order) == {b"delay/2", *(b"delay/2/%d-%d" % (slot, part) for slot in (0, 1) for part in (0, 1))}
    alive = {key: decode("snapshot", value) for key, value in last.items() if value is not None}
    assert set(alive) == {b"delay/1", b"delay/"}
    # What compaction leaves, in a topic of its own: the same models.
    compacted = f"{topic_name}-compacted"
    create_topics(broker, {compacted: {"compact": True}})
    producer = KafkaProducer(bootstrap_servers=[broker])
    for key, value in last.items():
        producer.send(compacted, value, key=key).get(timeout=30)
    producer.close()
    after = ModelTopic(broker, compacted)
    assert after.models() == topic.models()
    assert after.publish("delay", b"3", file="m").version == 3


@pytest.mark.cluster
def test_a_half_sent_version_is_told_and_its_number_taken_up(broker: str, topic_name: str) -> None:
    reports: list[str] = []
    topic = ModelTopic(broker, topic_name, report=reports.append)
    topic.create()
    first = topic.publish("delay", b"1", file="m")
    half = split(version(2, bytes(2_000_000)))[:-1]
    producer = KafkaProducer(bootstrap_servers=[broker])
    for record in half:
        producer.send(topic_name, encode("snapshot", record), key=record["snapshot_key"].encode()).get(timeout=30)
    producer.close()
    assert topic.models()["delay"].versions == {1: first}
    assert "2 of 3 parts are there" in reports[0]
    assert topic.publish("delay", b"2", file="m").version == 2
    reports.clear()
    assert topic.models()["delay"].serving == 2
    assert reports == []

"""Feedback about alarms of a metric: it moves the threshold where it contradicts, and leaves no trace elsewhere."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import RecordError, SnapshotError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner
from thalweg.udfs.engines.metric_anomaly_feedback import MOST, Feedback

SPEC = EngineSpec(
    "metric-anomaly", "anomaly", "metric-anomaly", (Field("ts", "integer"), Field("value", "number")),
    Field("anomaly", "boolean"), (("min-training-size", "20"), ("rest", "0"), ("window", "200")),
)  # fmt: skip


def events(count: int, seed: int = 1) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [{"ts": 60_000 * at, "value": dice.gauss(100, 3)} for at in range(count)]


def alarms(engine: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if engine.step(row).label == "true"]


def test_feedback_keeps_the_protocol() -> None:
    check_learner(SPEC, [(row, (None, True, 0)[at % 3]) for at, row in enumerate(events(80))])


def test_false_alarms_make_alarms_rarer_and_misses_more_frequent() -> None:
    rows, often = events(1500), replace(SPEC, params=(("confidence", "0.9"), *SPEC.params))
    plain, calm, keen = [cast("Any", build(often)) for _ in range(3)]
    wanted = alarms(plain, rows)
    fewer, more = [], []
    for row in rows:
        if calm.step(row).label == "true":
            fewer.append(row)
            calm.feedback(row, False)
        answer = keen.step(row)
        more += [row] if answer.label == "true" else []
        if answer.label == "false" and (answer.score or 0) > 0.8:
            keen.feedback(row, True)
    assert len(fewer) < len(wanted) / 2
    assert len(more) > 2 * len(wanted)
    # Only the decision has moved.
    assert [e.score(rows[:3])[0].score for e in (calm, keen)] == [plain.score(rows[:3])[0].score] * 2


def test_what_agrees_or_is_not_remembered_changes_nothing() -> None:
    rows = events(600)
    engine: Any = build(SPEC)
    found = alarms(engine, rows)
    before = engine.dump()
    for row in rows:
        engine.feedback(row, row in found)
    engine.feedback({"ts": 5, "value": 1e6}, True)
    engine.feedback({"ts": 5, "value": 1e6}, False)
    # What was far from an alarm is not remembered: a threshold that low would be one alarm after the other.
    assert [engine.feedback(row, True) for row in rows[:15]] == [None] * 15
    assert engine.dump() == before
    engine.feedback(found[-1], False)
    assert engine.dump() != before


def test_one_word_is_not_the_end_of_alarms_but_a_few_silence_one_kind() -> None:
    engine: Any = build(SPEC)
    for row in events(600):
        engine.learn(row)
    said = 0
    for at in range(12):
        spike = {"ts": 60_000 * (600 + at), "value": 300.0 + 40 * at}
        if engine.step(spike).label != "true":
            break
        engine.feedback(spike, False)
        said += 1
    assert 1 <= said <= 8


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 3.5), st.sampled_from([None, True, False])), max_size=60))
def test_a_threshold_stays_where_an_alarm_is_possible_and_survives_its_bytes(said: list[Any]) -> None:
    feedback = Feedback(1000)
    for event, evidence, anomaly in said:
        feedback.note(event, evidence, 2.0)
        if anomaly is not None:
            feedback.judge(event, anomaly, 2.0)
        assert 1.0 <= 2.0 + feedback.shift <= 3.0
    data, again = feedback.dump(), Feedback(1000)
    assert Feedback.fits(len(data))
    again.load(data)
    assert again.dump() == data
    assert again.shift == feedback.shift


def test_memory_of_events_is_bounded_and_the_newest_are_kept() -> None:
    feedback = Feedback(1000)
    for event in range(MOST + 10):
        feedback.note(event, 2.5, 2.0)
    assert len(feedback.dump()) == 8 + 16 * MOST
    feedback.judge(0, False, 2.0)
    assert feedback.shift == 0.0
    feedback.judge(MOST + 9, False, 2.0)
    assert feedback.shift > 0.0


@pytest.mark.parametrize("label", ["true", 2, 0.5, -1, float("nan"), [1.0], None])
def test_a_word_that_says_nothing_is_refused(label: Any) -> None:
    engine: Any = build(SPEC)
    rows = events(60)
    for row in rows:
        engine.learn(row)
    before = engine.dump()
    with pytest.raises(RecordError, match="whether an event was an anomaly"):
        engine.feedback(rows[-1], label)
    if label is not None:
        with pytest.raises(RecordError, match="whether an event was an anomaly"):
            engine.step(rows[-1], label)
    with pytest.raises(RecordError, match="NULL"):
        engine.feedback({"ts": None, "value": 1.0}, True)
    assert engine.dump() == before


def _forged(blob: bytes, change: Any) -> bytes:
    head = struct.Struct(">BI8sQQQ")
    protocol, _, digest, learned, alarm, _ = head.unpack_from(blob)
    body = change(zlib.decompress(blob[head.size :]))
    rest = head.pack(protocol, 0, digest, learned, alarm, len(body))[5:] + zlib.compress(body)
    return struct.pack(">BI", protocol, zlib.crc32(rest)) + rest


def test_a_snapshot_without_feedback_is_read_and_one_with_odd_feedback_is_not() -> None:
    engine: Any = build(SPEC)
    for row in events(300):
        engine.step(row)
    blob = engine.dump()
    kept = len(engine._state.feedback.dump())
    assert kept > 8 + 16
    older: Any = restore(SPEC, _forged(blob, lambda body: body[:-kept]))
    assert older.score(events(3)) == engine.score(events(3))
    odd = {
        "threshold": lambda body: body[:-8] + struct.pack("<d", float("inf")),
        "twice": lambda body: body[:-16] + body[-32:-16],
        "as long": lambda body: body + b"\0" * 8,
    }
    for says, change in odd.items():
        with pytest.raises(SnapshotError, match=says):
            restore(SPEC, _forged(blob, change))

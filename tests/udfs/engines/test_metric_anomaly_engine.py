"""Anomalies in metrics behind the engine protocol: what is found, what is not, options, snapshots, what is refused."""

from __future__ import annotations

import math
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, RecordError, SnapshotError
from thalweg.udfs.engines import build, engine_class, restore
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.metric_anomaly_engine import MetricAnomalyEngine
from thalweg.udfs.logic.options import OPTIONS

T0 = 1_700_000_000_000
STEP = 300_000
DAY = 86_400_000


def metric(names: tuple[str, ...] = ("value",), timed: bool = True, **options: str) -> EngineSpec:
    inputs = ((Field("ts", "integer"),) if timed else ()) + tuple(Field(name, "number") for name in names)
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in options.items()))
    return EngineSpec("metric-anomaly", "anomaly", "metric-anomaly", inputs, Field("score", "number"), named)


def events(*columns: list[float], names: tuple[str, ...] = ("value",)) -> list[dict[str, Any]]:
    rows = zip(*columns, strict=True)
    return [{"ts": T0 + STEP * at, **dict(zip(names, row, strict=True))} for at, row in enumerate(rows)]


def noise(count: int, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(100, 3) for _ in range(count)]


def labels(spec: EngineSpec, rows: list[dict[str, Any]]) -> list[str | None]:
    engine: Any = build(spec)
    return [engine.step(row).label for row in rows]


SMALL = {"min_training_size": "10", "window": "100", "rest": "5"}
CASES = [
    (metric(**SMALL), events(noise(80))),
    (metric(("cpu", "load"), **SMALL), events(noise(80), noise(80, 2), names=("cpu", "load"))),
    (metric(timed=False, seasonality="7", **SMALL), events(noise(40))),
    (metric(timed=False, rest="0", min_training_size="10"), events(noise(40))),
    (metric(seasonality="none", confidence="0.9", **SMALL), events([5.0] * 60)),
    (metric(seasonality="7 d", **SMALL), events([1e149, -1e149, 0.0, 5e-324] * 20)),
]


@pytest.mark.parametrize(("spec", "rows"), CASES)
def test_metric_anomaly_keeps_the_protocol(spec: EngineSpec, rows: list[dict[str, Any]]) -> None:
    check_learner(spec, [(row, None) for row in rows])


def test_metric_anomaly_is_the_same_in_every_process() -> None:
    check_processes([(spec, [(row, None) for row in rows]) for spec, rows in CASES])


def test_options_of_metric_anomaly_are_not_options_of_jobs() -> None:
    assert engine_class("metric-anomaly") is MetricAnomalyEngine
    assert not set(MetricAnomalyEngine.OPTIONS) & set(OPTIONS)


finite = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1e149, -1e149, 5e-324]), st.floats(-1e149, 1e149))


@given(st.sampled_from([0, 1, 2, 4]), st.lists(finite, min_size=1, max_size=180), st.data())
@settings(deadline=None, max_examples=80)
def test_a_metric_restored_goes_on_as_if_never_stopped(case: int, values: list[float], data: st.DataObject) -> None:
    spec = CASES[case][0]
    stop = data.draw(st.integers(0, len(values)))
    rows = [{**dict.fromkeys(("value", "cpu", "load"), value), **{"ts": T0 + at}} for at, value in enumerate(values)]
    whole: Any = build(spec)
    for row in rows[:stop]:
        whole.learn(row)
    again: Any = restore(spec, whole.dump())
    for row in rows[stop:]:
        asked = whole.score([row])
        answer = whole.step(row)
        assert asked == [answer]
        assert again.step(row) == answer
        if answer.status == "ok":
            parts = answer.probabilities
            assert 0 <= answer.score <= 1
            assert parts["lower_bound"] <= parts["forecast_value"] <= parts["upper_bound"]
    assert whole.dump() == again.dump()


def test_windows_are_what_was_seen_last() -> None:
    spec, rows = metric(**SMALL), events(noise(273))
    engine: Any = build(spec)
    for row in rows:
        engine.learn(row)
    state = engine._state
    assert sorted(state.values[0, 0]) == sorted(row["value"] for row in rows[-100:])
    for part in (state.values, state.codes):
        assert (part[1, :, 1:] >= part[1, :, :-1]).all()
        assert (part[0].copy() == part[0]).all()
        for ring, ordered in zip(part[0], part[1], strict=True):
            assert sorted(ring) == ordered.tolist()


def test_zeros_of_either_sign_can_be_restored() -> None:
    for values in ([-0.0, 0.0], [0.0, -0.0, 0.0, 0.0, -0.0], [-5e-324, 0.0, -0.0]):
        engine: Any = build(metric(**SMALL))
        for row in events(values):
            engine.learn(row)
        assert restore(engine.spec, engine.dump()).dump() == engine.dump()


def test_it_answers_after_the_training() -> None:
    engine: Any = build(metric(min_training_size="20"))
    rows = events(noise(21))
    assert [engine.step(row) for row in rows[:20]] == [NOT_READY] * 20
    assert engine.step(rows[20]).status == "ok"


def test_a_spike_is_one_alarm_even_if_one_was_in_the_training() -> None:
    values = noise(1500)
    values[60] = 500.0
    values[1200:1210] = [300.0] * 10
    found = labels(metric(), events(values))
    assert "true" in found[1200:1203]
    assert found[1150:1350].count("true") <= 3
    assert found.count("true") <= 15


def test_a_level_shift_is_told_and_then_known() -> None:
    values = noise(1000) + [value + 60 for value in noise(1000, 2)]
    found = labels(metric(), events(values))
    assert "true" in found[1000:1005]
    assert found[1200:].count("true") <= 10


@pytest.mark.parametrize("value", [0.0, 7.5, -1e149])
def test_a_flat_line_is_no_anomaly_and_its_end_is_one(value: float) -> None:
    engine: Any = build(metric())
    answers = [engine.step(row) for row in events([value] * 700)]
    assert {answer.label for answer in answers[150:]} == {"false"}
    assert answers[-1].probabilities == {
        "actual_value": value, "forecast_value": value, "metric": 1.0,
        "lower_bound": pytest.approx(value), "upper_bound": pytest.approx(value),
    }  # fmt: skip
    assert engine.step({"ts": T0 + 700 * STEP, "value": value + abs(value) + 1}).label == "true"


def test_what_is_usual_at_noon_is_not_at_night() -> None:
    dice = random.Random(3)
    rows = [
        {"ts": DAY * 20_000 + at * STEP * 6, "value": 100 + 50 * math.sin(at * math.tau / 48) + dice.gauss(0, 1)}
        for at in range(48 * 30 + 12)
    ]
    engine: Any = build(metric(rest="0"))
    for row in rows:
        engine.learn(row)
    noon = {"ts": DAY * 20_030 + DAY // 4, "value": 150.0}
    usual, odd = engine.score([noon, {**noon, "value": 50.0}])
    assert usual.label == "false"
    assert odd.label == "true"
    assert usual.probabilities["actual_value"] == 150.0
    assert 130 < odd.probabilities["forecast_value"] < 170
    assert odd.probabilities["lower_bound"] > 50.0


def test_bounds_hold_about_as_much_as_they_say() -> None:
    engine: Any = build(metric(confidence="0.9"))
    answers = [engine.step(row) for row in events(noise(3000))][150:]
    parts = [answer.probabilities for answer in answers]
    held = sum(part["lower_bound"] <= part["actual_value"] <= part["upper_bound"] for part in parts) / len(parts)
    # The width is rounded up, by at most 6 %.
    assert 0.87 <= held <= 0.94


def test_of_several_metrics_the_strangest_is_named() -> None:
    names = ("cpu", "load")
    engine: Any = build(metric(names))
    for row in events(noise(800), noise(800, 2), names=names):
        engine.learn(row)
    answer = engine.score([{"ts": T0 + 800 * STEP, "cpu": 100.0, "load": 400.0}])[0]
    assert answer.label == "true"
    assert (answer.probabilities["metric"], answer.probabilities["actual_value"]) == (2.0, 400.0)


def test_metrics_that_part_are_strange_together() -> None:
    names = ("cpu", "load")
    base, small = noise(1500), noise(1500, 2)
    rows = events(base, [value + (other - 100) / 30 for value, other in zip(base, small, strict=True)], names=names)
    engine: Any = build(metric(names))
    for row in rows:
        engine.learn(row)
    at = {"ts": T0 + 1500 * STEP}
    together, apart = engine.score([{**at, "cpu": 104.0, "load": 104.0}, {**at, "cpu": 104.0, "load": 96.0}])
    assert apart.score > together.score


def test_rest_counts_the_second_half() -> None:
    values = noise(1000)
    engine: Any = build(metric())
    free: Any = build(metric(rest="0"))
    for row in events([*values, 300.0]):
        first, second = engine.step(row), free.step(row)
    assert first == second
    row = {"ts": T0 + 1001 * STEP, "value": 250.0}
    resting, awake = engine.score([row])[0].score, free.score([row])[0].score
    assert resting < awake
    assert 1 - resting == pytest.approx(math.sqrt(1 - awake), rel=1e-6)


def test_every_fault_of_a_metric_spec_is_named() -> None:
    inputs = (Field("ts", "integer"), Field("name", "string"))
    options = (("confidence", "2"), ("rest", "-1"), ("seasonality", "daily"), ("window", "x"), ("widow", "9"))
    spec = EngineSpec("metric-anomaly", "regression", "other", inputs, Field("score", "string"), options)
    with pytest.raises(ConfigError) as caught:
        build(spec)
    for culprit in ("confidence", "rest", "seasonality", "window", "widow", "name", "regression", "other", "score"):
        assert f"'{culprit}'" in str(caught.value)
    with pytest.raises(ConfigError, match="0 metrics"):
        build(metric(()))
    with pytest.raises(ConfigError, match="neither auto, none, nor a number"):
        build(metric(timed=False, seasonality="1 d"))


def test_a_metric_row_that_does_not_fit_leaves_no_trace() -> None:
    engine: Any = build(metric())
    for row in events(noise(200)):
        engine.learn(row)
    before = engine.dump()
    for value in (math.nan, math.inf, None, "1", 1e151):
        with pytest.raises(RecordError):
            engine.learn({"ts": T0, "value": value})
    assert engine.dump() == before


def test_confidence_may_change_and_windows_may_not() -> None:
    engine: Any = build(metric(**SMALL))
    for row in events(noise(80)):
        engine.learn(row)
    blob = engine.dump()
    assert (
        restore(metric(**{**SMALL, "confidence": "0.9", "min_training_size": "30", "rest": "6"}), blob).dump() == blob
    )
    for change in ({"window": "120"}, {"seasonality": "2 d"}):
        with pytest.raises(SnapshotError, match="another window or seasonality"):
            restore(metric(**{**SMALL, **change}), blob)


def test_numbers_that_cannot_be_are_refused_in_a_snapshot() -> None:
    engine: Any = build(metric(**SMALL))
    for row in events(noise(80)):
        engine.learn(row)
    blob = engine.dump()
    head = struct.Struct(">BI8sQQQ")
    body = zlib.decompress(blob[head.size :])
    for at, evil in ((0, struct.pack("<d", math.nan)), (len(body) - 2, b"\xff\xff")):
        packed = blob[5 : head.size] + zlib.compress(body[:at] + evil + body[at + len(evil) :])
        with pytest.raises(SnapshotError, match="cannot be"):
            restore(engine.spec, blob[:1] + struct.pack(">I", zlib.crc32(packed)) + packed)


def test_a_pattern_that_breaks_is_told_though_its_values_are_usual() -> None:
    engine: Any = build(metric(seasonality="none", rest="0"))
    dice = random.Random(4)
    wave = [100 + 20 * math.sin(at * math.tau / 40) + dice.gauss(0, 1) for at in range(1640)]
    # One wave of half the length: neither a value nor a slope of its own matters as much as the order of both.
    odd = [100 + 20 * math.sin(at * math.tau / 20) + dice.gauss(0, 1) for at in range(40)]
    scores = [engine.step(row).score for row in events(wave + odd)]
    assert max(scores[1640:]) > 0.99
    assert max(scores[1640:]) > max(scores[1600:1640])


def test_a_season_foretells_a_jump_and_is_taken_off() -> None:
    dice = random.Random(5)
    day = [0.0] * 24 + [100.0] * 24
    rows = [
        {"ts": DAY * 20_000 + at * DAY // 48, "value": day[at % 48] + dice.gauss(0, 1)} for at in range(48 * 30 + 24)
    ]
    engine: Any = build(metric())
    for row in rows:
        engine.learn(row)
    answer = engine.score([{"ts": DAY * 20_030 + DAY // 2, "value": 100.0}])[0]
    assert 90 < answer.probabilities["forecast_value"] < 110
    without_season = engine._state.values[0, 3, 48 * 5 : len(rows)]
    assert abs(without_season).max() < 10


def test_rest_outlives_a_restart() -> None:
    engine: Any = build(metric())
    rows = events([*noise(500), 300.0, 350.0])
    assert [engine.step(row) for row in rows[:501]][-1].label == "true"
    again: Any = restore(engine.spec, engine.dump())
    assert engine._state.alarm == 501
    assert again.step(rows[501]) == engine.step(rows[501])
    assert again.dump() == engine.dump()

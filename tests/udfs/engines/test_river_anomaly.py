"""Detectors: the score is River's, and what counts as an anomaly is said by the filter or by the option."""

from __future__ import annotations

import random
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError, RecordError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field, Score

AB = (Field("a", "number"), Field("b", "number"))
GAUSSIAN = "anomaly.GaussianScorer(grace_period=5)"


def detector(text: str, inputs: tuple[Field, ...] = AB, output: str = "number", **params: str) -> Any:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return build(EngineSpec("river", "anomaly", text, inputs, Field("y", output), named))


def watched(engine: Any, rows: int = 60) -> list[Score]:
    dice = random.Random(4)
    return [engine.step({"a": dice.gauss(0, 1), "b": dice.gauss(0, 1)}, None) for _ in range(rows)]


def test_the_threshold_decides_and_is_not_learned() -> None:
    plain, strict = detector(GAUSSIAN), detector(GAUSSIAN, threshold="0.9")
    without, decided = watched(plain), watched(strict)
    assert [s.score for s in without] == [s.score for s in decided]
    assert {s.label for s in without} == {None}
    ready = [s for s in decided if s.status == "ok"]
    assert [s.label for s in ready] == ["true" if (s.score or 0) >= 0.9 else "false" for s in ready]
    assert {s.label for s in ready} == {"true", "false"}
    assert plain.dump() == strict.dump()
    assert {s.label for s in decided if s.status != "ok"} == {None}


def test_a_filter_decides_itself_inside_a_pipeline_too() -> None:
    for lead in ("", "preprocessing.StandardScaler() | ", "(compose.Select('a') + compose.Select('b')) | "):
        answers = watched(detector(lead + "anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.8)"))
        assert {s.label for s in answers if s.status == "ok"} == {"true", "false"}


def test_a_truth_for_the_metrics_may_be_boolean_and_is_never_learned() -> None:
    one, other = (detector("anomaly.OneClassSVM()", output="boolean") for _ in range(2))
    for n in range(20):
        one.learn({"a": n, "b": 1.0}, n == 3)
        other.learn({"a": n, "b": 1.0}, None)
    assert one.dump() == other.dump()


def test_what_is_watched_must_be_there_and_its_context_need_not() -> None:
    engine = detector(GAUSSIAN, on_null="skip")
    watched(engine)
    blob = engine.dump()
    assert engine.score([{"a": None, "b": 9.0}])[0].reason == "'a' is NULL"
    with pytest.raises(RecordError, match="'a' is missing"):
        engine.learn({"b": 9.0})
    assert engine.dump() == blob
    assert engine.score([{"a": 9.0}])[0].status == "ok"


def test_a_detector_that_learns_when_asked_is_asked_at_no_cost() -> None:
    text = "anomaly.PredictiveAnomalyDetection(time_series.HoltWinters(0.3), warmup_period=4)"
    engine = detector(text)
    watched(engine)
    blob = engine.dump()
    row = {"a": 99.0, "b": 0.0}
    assert len({engine.score([row])[0] for _ in range(20)}) == 1
    assert engine.score([row])[0].score == 1.0
    assert engine.dump() == blob == restore(engine.spec, blob).dump()


@pytest.mark.parametrize(
    ("text", "params", "parts"),
    [
        (GAUSSIAN, {"threshold": "high"}, ["'threshold'", "'high' is not a number"]),
        (GAUSSIAN, {"threshold": "nan"}, ["'nan' is not a number"]),
        ("anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.9)", {"threshold": "1"}, ["decides itself"]),
        ("anomaly.HalfSpaceTrees()", {"on_null": "skip"}, ["'on-null'", "never looked at again"]),
        ("cluster.KMeans()", {}, ["KMeans is not an anomaly detector"]),
        (GAUSSIAN, {"horizon": "2", "arms": "a"}, ["'horizon'", "'arms'", "nothing to the task anomaly"]),
    ],
)
def test_what_is_wrong_with_a_detector_is_said(text: str, params: dict[str, str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        detector(text, **params)
    for part in parts:
        assert part in str(caught.value)

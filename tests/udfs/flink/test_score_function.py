"""The function that scores with a model that does not learn: alone, compared, and as a shadow that is slow or fails."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from metric_group import MetricGroup
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.flink.functions import score_function
from thalweg.udfs.logic.arm_guard import ArmRole

COLUMNS = ["score", "label", "probabilities", "status", "reason", "version"]


class Context:
    """What a function is opened with."""

    def __init__(self) -> None:
        self.group = MetricGroup()

    def get_metric_group(self) -> MetricGroup:
        return self.group


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    path: Path = tmp_path_factory.mktemp("scored") / "m.onnx"
    a = np.linspace(-2, 2, 200, dtype=np.float32)[:, None]
    fitted = LogisticRegression().fit(a, a[:, 0] > 0.5)
    path.write_bytes(to_onnx(fitted, a[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    return EngineSpec("onnx", "classification", str(path), (Field("a", "number"),), Field("y", "boolean"), ())


def opened(spec: EngineSpec, role: ArmRole | None, block_ms: float = 0.0) -> tuple[Any, Context]:
    function, context = score_function(spec, "m", role)._func, Context()
    function._clock = itertools.count(0, round(block_ms * 1e6)).__next__
    function.open(context)
    return function, context


def batch(rows: int, first: int = 0) -> Any:
    return pd.Series(np.linspace(-2, 2, rows), index=range(first, first + rows))


def test_being_compared_changes_no_answer_and_tells_the_time_of_a_batch_once(spec: EngineSpec) -> None:
    alone, _ = opened(spec, None)
    compared, _ = opened(spec, ArmRole(), 4.0)
    plain, warm, found = alone.eval(batch(10, 5)), compared.eval(batch(3)), compared.eval(batch(10, 5))
    assert list(plain) == COLUMNS
    assert list(found) == [*COLUMNS, "block_ms", "block_rows"]
    pd.testing.assert_frame_equal(found[COLUMNS], plain)
    assert found["block_ms"].tolist() == [4.0, *[None] * 9]
    assert found["block_rows"].tolist() == [10, *[None] * 9]
    assert warm["block_ms"].tolist() == [None] * 3, "the first batch loads the model"


def test_a_slow_shadow_skips_events_and_says_so(spec: EngineSpec) -> None:
    function, context = opened(spec, ArmRole((), True, 1.0), 40.0)
    frames = [function.eval(batch(10, 7)) for _ in range(20)]
    assert all(list(frame.index) == list(range(7, 17)) for frame in frames)
    answered = [int((frame["status"] == "ok").sum()) for frame in frames]
    assert answered[0] == 10
    assert sum(answered[1:]) < 60
    for frame in frames:
        skipped = frame[frame["status"].isna()]
        assert skipped.map(lambda value: value is None).all(axis=None)
        assert all(isinstance(value, float) for value in frame["score"] if value is not None)
    told = {name: number for (name, *_), number in context.group.read().items()}
    assert told["thalweg_shadow_skipped"] == 200 - sum(answered)
    assert told["inference_requests"] == sum(answered)


def test_a_shadow_with_a_share_answers_the_same_events_in_every_batch(spec: EngineSpec) -> None:
    names = pd.Series([f"e{n}" for n in range(400)], dtype=object)
    whole, parts = opened(spec, ArmRole((), True, None, 0.4))[0], opened(spec, ArmRole((), True, None, 0.4))[0]
    found = whole.eval(batch(400), names)
    pieces = [parts.eval(batch(400)[at : at + 30], names[at : at + 30]) for at in range(0, 400, 30)]
    columns = ["score", "label", "status"]
    pd.testing.assert_frame_equal(pd.concat(pieces)[columns], found[columns], check_dtype=False)
    assert 100 < found["status"].notna().sum() < 220
    alone = opened(spec, None)[0].eval(batch(400))
    asked = found["status"].notna()
    assert found["score"][asked].tolist() == alone["score"][asked].tolist()


def test_a_shadow_that_cannot_be_loaded_or_fails_is_refused(spec: EngineSpec) -> None:
    gone = replace(spec, model="/nowhere/gone.onnx")
    function, context = opened(gone, ArmRole((), True))
    found = function.eval(batch(4))
    assert set(found["status"]) == {"refused"}
    assert all("the shadow failed" in reason and "gone.onnx" in reason for reason in found["reason"])
    assert found["score"].tolist() == [None] * 4
    told = {name: number for (name, *_), number in context.group.read().items()}
    assert told["thalweg_shadow_failures"] == 1
    with pytest.raises(Exception, match=r"gone\.onnx"):
        opened(gone, ArmRole())[0].eval(batch(4))

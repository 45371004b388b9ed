"""The ONNX functions as PyFlink calls them: series in, series out, and what they count."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from metric_group import MetricGroup
from onnx import TensorProto, helper
from thalweg.connector.errors import ConfigError
from thalweg.udfs.flink import onnx_functions as functions

NAMES = ["onnx_label", "onnx_predict", "onnx_proba", "onnx_score", "onnx_vector"]


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def inc(self, n: int = 1) -> None:
        self.count += n


class Context:
    """What PyFlink gives ``open``, as far as the functions use it."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.models = MetricGroup()

    def get_metric_group(self) -> Context:
        return self

    def counter(self, name: str) -> Counter:
        return self.counters.setdefault(name, Counter())

    def add_group(self, name: str, value: str) -> MetricGroup:
        return self.models.add_group(name, value)

    def get_job_parameter(self, name: str, default: str) -> str:
        return default


def opened(name: str) -> tuple[Any, Context]:
    function, context = pickle.loads(pickle.dumps(getattr(functions, name)._func)), Context()
    function.open(context)
    return function, context


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Texts to numbers: a is 1, b is 2, anything else 0."""
    info = helper.make_tensor_value_info
    encoder = helper.make_node(
        "LabelEncoder", ["t"], ["y"], domain="ai.onnx.ml",
        keys_strings=["a", "b"], values_floats=[1.0, 2.0], default_float=0.0,
    )  # fmt: skip
    graph = helper.make_graph(
        [encoder], "g", [info("t", TensorProto.STRING, ["n"])], [info("y", TensorProto.FLOAT, ["n"])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    file = tmp_path / "m.onnx"
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return f"{file}?task=regression"


def test_rows_without_answer_and_unseen_categories_are_counted(model: str) -> None:
    function, context = opened("onnx_score")
    texts = pd.Series(["a", "new", None, "b", "new", "newer"], dtype=object)
    assert function.eval(model, texts).fillna(-1).tolist() == [1, 0, -1, 2, 0, 0]
    function.eval(model, texts[:2])
    assert {name: counter.count for name, counter in context.counters.items()} == {
        "thalweg_rows_without_answer": 1,
        "thalweg_models_refused": 0,
        "thalweg_unseen_categories": 4,
    }
    told = context.models.read()
    name = model.partition("?")[0]
    assert told["inference_requests", name] == 8
    assert told["inference_requests_failure", name] == 1
    assert told["inference_latency", name] > 0
    assert told["modelDataVersion", name] > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_moment_in_a_time_zone_is_refused_by_its_place(name: str, model: str) -> None:
    function, _ = opened(name)
    zoned = pd.Series(pd.to_datetime(["2024-01-01"]).tz_localize("Asia/Tokyo"))
    with pytest.raises(ConfigError, match=rf"^feature 2 of {name}: TIMESTAMP_LTZ arrives .* epoch milliseconds\.$"):
        function.eval(model, pd.Series([1.0]), zoned)
    with pytest.raises(ConfigError, match=rf"^field 'born' of feature 1 of {name}: TIMESTAMP_LTZ"):
        function.eval(model, pd.DataFrame({"a": [1.0], "born": zoned}))


@pytest.mark.parametrize("name", NAMES)
def test_inside_a_jvm_the_functions_say_which_option_to_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_pemja", ModuleType("_pemja"))
    with pytest.raises(ConfigError, match=rf"^{name}: .* Set python\.execution-mode to 'process'\.$"):
        opened(name)


def test_whatever_there_is_to_answer_is_a_series_of_the_right_length(model: str) -> None:
    for name in ("onnx_score", "onnx_vector"):
        function, _ = opened(name)
        for rows in (1, 2, 5):
            assert len(function.eval(model, pd.Series(["a", None, "b", "", "c"][:rows], dtype=object))) == rows
    function, _ = opened("onnx_predict")
    found = function.eval(model, pd.Series(["a", None], dtype=object))
    assert found["status"].tolist() == ["ok", "refused"]
    assert np.isnan(found["score"][1])
    assert found["reason"].tolist() == ["", "'t' is NULL"]

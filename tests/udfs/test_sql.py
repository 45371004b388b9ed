"""What holds for all SQL functions: what they return, and that Flink may call one as often as it likes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from metric_group import MetricGroup
from pyflink.table.types import ArrayType, LocalZonedTimestampType, MapType, RowType, TimestampType, VarCharType
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from thalweg.udfs import sql
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.river_engine import RiverEngine

SCALARS = [name for name in sql.__all__ if name.startswith(("onnx_", "river_")) and name != "river_learn"]


def parts(kind: Any) -> list[Any]:
    inner = kind.field_types() if isinstance(kind, RowType) else []
    inner += [kind.element_type] if isinstance(kind, ArrayType) else []
    inner += [kind.key_type, kind.value_type] if isinstance(kind, MapType) else []
    return [kind, *(part for one in inner for part in parts(one))]


@pytest.mark.parametrize("name", sql.__all__)
def test_nothing_is_returned_that_pyflink_gets_wrong(name: str) -> None:
    """Rows in an array are mixed up, a moment in a row is refused, and a map wants texts for keys."""
    for part in parts(getattr(sql, name)._result_type):
        assert not isinstance(part, (TimestampType, LocalZonedTimestampType))
        assert not (isinstance(part, ArrayType) and isinstance(part.element_type, RowType))
        assert not isinstance(part, MapType) or isinstance(part.key_type, VarCharType)


class Context:
    def get_metric_group(self) -> MetricGroup:
        return MetricGroup()

    def get_job_parameter(self, name: str, default: str) -> str:
        return default


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model's first argument for each family of functions."""
    rows = np.array([[n, n % 9] for n in range(90)], dtype=np.float32)
    fitted = LogisticRegression().fit(rows, rows[:, 1] > 4)
    file: Path = tmp_path_factory.mktemp("model") / "m.onnx"
    file.write_bytes(to_onnx(fitted, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    text = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
    fields = (Field("a", "number"), Field("b", "number"))
    spec = EngineSpec("river", "classification", text, fields, Field("y", "boolean"))
    engine = RiverEngine.build(spec)
    for a, b in rows.tolist():
        engine.learn({"a": a, "b": b}, b > 4)
    model = opened("river_model").eval(pd.Series([spec.to_json()] * 3), pd.Series([engine.dump()] * 3))
    return {"onnx": str(file), "river": model, "spec": spec.to_json(), "blob": engine.dump()}


def opened(name: str) -> Any:
    function = pickle.loads(pickle.dumps(getattr(sql, name)._func))
    function.open(Context())
    return function


@pytest.mark.parametrize("name", SCALARS)
def test_a_second_call_answers_the_same_and_changes_nothing(name: str, arguments: dict[str, Any]) -> None:
    """Flink may call a function twice for one row, so none of them learns."""
    function = opened(name)
    features = [pd.Series([1.0, 2.0, 3.0]), pd.Series([0.0, 5.0, 8.0])]
    given = [arguments[name.partition("_")[0]], *features]
    if name == "river_model":
        given = [pd.Series([arguments["spec"]] * 3), pd.Series([arguments["blob"]] * 3)]
    before = pickle.dumps(given)
    first, second = function.eval(*given), function.eval(*given)
    assert str(list(map(str, np.asarray(first)))) == str(list(map(str, np.asarray(second))))
    assert pickle.dumps(given) == before
    assert len(first) == 3

"""Real exports of PyTorch and Keras: trained here as their own frameworks have trained them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_export import export_onnx
from thalweg.udfs.engines.onnx_call import load_model

FOLDER = Path(__file__).parents[2] / "golden" / "neural"
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))
OPERATORS = {
    "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softmax",
    "LogSoftmax", "Gather", "Concat", "Reshape", "Flatten", "BatchNormalization", "LayerNormalization", "Conv",
    "MaxPool", "AveragePool", "ReduceMean",
}  # fmt: skip


def read(name: str) -> tuple[dict[str, Any], bytes]:
    return json.loads((FOLDER / f"{name}.json").read_text()), (FOLDER / f"{name}.onnx").read_bytes()


def spec_and_rows(case: dict[str, Any], data: bytes) -> tuple[EngineSpec, list[dict[str, Any]]]:
    fields, columns = [], {}
    model_inputs = [value.name for value in onnx.load_from_string(data).graph.input]
    for name, given in zip(model_inputs, case["inputs"].values(), strict=True):
        whole = type(given[0][0]) is int
        if len(given[0]) > 4:
            fields.append(Field(name, "vector"))
            columns[name] = given
            continue
        for at in range(len(given[0])):
            column = name if len(given[0]) == 1 else f"{name}{at}"
            fields.append(Field(column, "integer" if whole else "number"))
            columns[column] = [row[at] for row in given]
    params = tuple(sorted(case["params"].items()))
    uri = "data:;base64," + base64.b64encode(data).decode()
    spec = EngineSpec("neural", case["task"], uri, tuple(fields), Field("y", case["output"]), params)
    return spec, [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def labels_of(case: dict[str, Any]) -> list[Any]:
    read_as = {"boolean": bool, "integer": int, "number": float}[case["output"]]
    return [read_as(label) for label in case["labels"]]


def answered(engine: NeuralEngine, rows: list[dict[str, Any]], case: dict[str, Any]) -> Any:
    scores = engine.score(rows)
    if case["output"] == "integer":
        return np.array([list((score.probabilities or {}).values()) for score in scores])
    return np.array([[score.score] for score in scores])


@pytest.mark.parametrize("name", CASES)
def test_exports_are_trained_as_their_own_framework_trains_them(name: str) -> None:
    case, data = read(name)
    spec, rows = spec_and_rows(case, data)
    labels, engine = labels_of(case), build(spec)
    assert isinstance(engine, NeuralEngine)
    shares = np.exp if name == "torch_embedding" else np.array  # the one that gives logarithms
    np.testing.assert_allclose(answered(engine, rows, case), shares(case["before"]), atol=1e-5)
    for step in range(case["steps"]):
        start = step * case["batch"] % len(rows)
        part = slice(start, start + case["batch"])
        assert engine.learn_many(rows[part], labels[part]) == {}
    np.testing.assert_allclose(answered(engine, rows, case), shares(case["after"]), atol=1e-5)
    assert np.abs(np.array(case["after"]) - case["before"]).max() > 0.01
    exported = export_onnx(engine)
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(exported).graph.initializer}
    named = {key: weights for key, weights in case["weights"].items() if key in engine.weights.feeds}
    if case["exporter"] != "model.export":
        assert len(named) >= 2
    for key, weights in named.items():
        np.testing.assert_allclose(found[key], weights, atol=1e-5, err_msg=key)
    assert restore(spec, engine.dump()).score(rows) == engine.score(rows)


@pytest.mark.parametrize("name", CASES)
def test_exports_trained_row_by_row_are_served_by_a_fresh_runtime(name: str) -> None:
    case, data = read(name)
    spec, rows = spec_and_rows(case, data)
    engine: Any = build(spec)
    for row, label in zip(rows, labels_of(case), strict=True):
        engine.step(row, label)
    exported = export_onnx(engine)
    onnx.checker.check_model(onnx.load_from_string(exported), full_check=True)
    uri = "data:;base64," + base64.b64encode(exported).decode()
    served = load_model(uri, [field.kind == "vector" for field in spec.inputs])
    columns = [np.array([row[field.name] for row in rows]) for field in spec.inputs]
    wanted = answered(engine, rows, case)
    np.testing.assert_allclose(served.run(columns, len(rows)).vectors(), wanted, atol=1e-6)


def test_the_exports_have_every_operator_that_is_promised() -> None:
    found = {node.op_type for name in CASES for node in onnx.load(FOLDER / f"{name}.onnx").graph.node}
    assert found >= OPERATORS

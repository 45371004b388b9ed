"""A network begins with the weights of a file that is built alike, and only of such a one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from test_neural_file import AMOUNT, EMBEDDED, ROWS, dense, embedding, made, node, spec_of
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_export import export_onnx


def renamed(data: bytes, factor: float = 1.0) -> bytes:
    """Return the same network with other names, and other weights."""
    model = onnx.load_from_string(data)
    graph = model.graph
    for each in graph.node:
        each.name = f"other {each.name}"
        each.input[:] = [f"other_{name}" if name else "" for name in each.input]
        each.output[:] = [f"other_{name}" for name in each.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = f"other_{value.name}"
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array((array * factor).astype(np.float32), tensor.name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("optimiser", ["sgd", "ftrl", "adam"])
def test_a_network_begins_with_the_weights_of_another_file(optimiser: str) -> None:
    spec = spec_of(dense(), "regression", "number", optimiser=optimiser)
    other = made(spec_of(dense(), "regression", "number", learning_rate="0.2"))
    for row, label in zip(ROWS, AMOUNT.tolist(), strict=True):
        other.learn(row, label)
    engine = NeuralEngine.warm(spec, export_onnx(other))
    assert engine.score(ROWS) == other.score(ROWS) != made(spec).score(ROWS)
    assert (engine.learned, engine.weights.steps) == (0, 0)
    again: Any = restore(spec, engine.dump())
    for each in (engine, again):
        for row, label in zip(ROWS, AMOUNT.tolist(), strict=True):
            each.learn(row, label)
    assert engine.dump() == again.dump()


def test_names_do_not_matter_and_tables_come_along() -> None:
    spec = spec_of(embedding(), "classification", "boolean", EMBEDDED)
    engine = NeuralEngine.warm(spec, renamed(embedding(), 2.0))
    first = made(spec)
    for name, array in engine.weights.feeds.items():
        np.testing.assert_array_equal(array, first.weights.feeds[name] * 2)


def test_raw_numbers_of_a_classifier_begin_with_and_without_their_sigmoid() -> None:
    spec = spec_of(dense(), "classification", "boolean")
    plain = NeuralEngine.warm(spec, renamed(dense(), 2.0))
    assert NeuralEngine.warm(spec, export_onnx(plain)).score(ROWS) == plain.score(ROWS)


WRONG = {
    "another operator": (lambda: dense([node("Sigmoid", "z", "p")]), "1 inputs and 4 nodes; 1 and 3 are wanted"),
    "another size": (lambda: dense((), 3), "'the Gemm of z' takes 'w1'"),
    "another setting": (lambda: turned(), "'the Gemm of h' is Gemm"),
    "another order": (lambda: swapped(), "'the Gemm of z' takes"),
    "another network": (lambda: embedding(), "is not that of 'model'"),
}


def turned() -> bytes:
    model = onnx.load_from_string(dense())
    model.graph.node[0].attribute.append(helper.make_attribute("alpha", 2.0))
    return bytes(model.SerializeToString())


def swapped() -> bytes:
    model = onnx.load_from_string(dense())
    model.graph.node[2].input[0] = "h"
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", list(WRONG))
def test_a_file_that_is_built_otherwise_is_refused(name: str) -> None:
    make, says = WRONG[name]
    with pytest.raises(SnapshotError, match=says):
        NeuralEngine.warm(spec_of(dense(), "regression", "number"), make())


def test_what_is_not_trained_must_be_the_same() -> None:
    spec = spec_of(dense(), "regression", "number", trainable="last-layer")
    with pytest.raises(SnapshotError, match="differs in 'w0', which is not trained here"):
        NeuralEngine.warm(spec, renamed(dense(), 2.0))
    other = made(spec)
    other.learn(ROWS[0], 1.0)
    assert NeuralEngine.warm(spec, export_onnx(other)).score(ROWS) == other.score(ROWS)


def test_what_is_no_network_is_told() -> None:
    with pytest.raises(ConfigError):
        NeuralEngine.warm(spec_of(dense(), "regression", "number"), b"onnx")
    text = EngineSpec("neural", "regression", "mlp(4)", (Field("a", "number"),), Field("y", "number"))
    with pytest.raises(SnapshotError, match="scaling and vocabulary"):
        NeuralEngine.warm(text, dense())

"""Every gradient rule against finite differences, in double precision and another runtime, and in ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv_transpose import ConvTranspose as PlainConvTranspose
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.neural_builder import GraphBuilder
from thalweg.udfs.engines.neural_graph import _RULES, derive
from thalweg.udfs.engines.neural_network import normalised, read_network

ROWS = 3


class Case(NamedTuple):
    """Nodes from ``x`` and weights ``w0``, ``w1``, ... to ``y``."""

    id: str
    nodes: Sequence[Any]
    x: Sequence[int]
    weights: Sequence[Sequence[int]] = ()
    fixed: dict[str, Any] = {}  # noqa: RUF012
    opset: int = 17
    positive: bool = False


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def unary(kind: str, positive: bool = False, **attributes: Any) -> Case:
    return Case(kind, [node(kind, "x", **attributes)], (ROWS, 4), positive=positive)


def case(id: str, kind: str, inputs: str, x: Sequence[int], *weights: Sequence[int], **attributes: Any) -> Case:
    return Case(id, [node(kind, inputs, **attributes)], x, weights)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def fixed(id: str, kind: str, x: Sequence[int], value: Any, opset: int = 17, **attributes: Any) -> Case:
    return Case(id, [node(kind, "x k", **attributes)], x, fixed={"k": value}, opset=opset)


CASES = [
    *[unary(k) for k in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Neg", "Identity", "Softplus", "LeakyRelu", "Elu")],
    *[unary(k, positive=True) for k in ("Log", "Sqrt")],
    unary("LeakyRelu", alpha=0.3)._replace(id="LeakyRelu-alpha"),
    unary("Elu", alpha=0.7)._replace(id="Elu-alpha"),
    unary("Dropout"),
    unary("Softmax", axis=-1),
    unary("LogSoftmax", axis=-1),
    unary("Softmax", axis=0)._replace(id="Softmax-first-axis"),
    unary("Softmax")._replace(id="Softmax-old", opset=11),
    unary("Cast", to=TensorProto.FLOAT),
    Case("Clip", [node("Clip", "x a b")], (ROWS, 4), fixed={"a": np.float32(-0.5), "b": np.float32(0.5)}),
    Case("Clip-old", [node("Clip", "x a b")], (ROWS, 4), fixed={"a": np.float32(-0.5), "b": np.float32(0.5)}, opset=11),
    Case("Pow", [node("Pow", "x k")], (ROWS, 4), fixed={"k": np.float32(3)}),
    *[case(f"{k}-same", k, "x w0", (ROWS, 4), (ROWS, 4)) for k in ("Add", "Sub", "Mul", "Div")],
    *[case(f"{k}-bias", k, "x w0", (ROWS, 4), (4,)) for k in ("Add", "Sub", "Mul", "Div")],
    *[case(f"{k}-column", k, "w0 x", (ROWS, 4), (ROWS, 1)) for k in ("Add", "Sub", "Mul", "Div")],
    case("Mul-self", "Mul", "x x", (ROWS, 4)),
    case("Gemm", "Gemm", "x w0 w1", (ROWS, 4), (4, 5), (5,)),
    case("Gemm-no-bias", "Gemm", "x w0", (ROWS, 4), (4, 5)),
    case("Gemm-B", "Gemm", "x w0 w1", (ROWS, 4), (5, 4), (5,), transB=1, alpha=0.5, beta=2.0),
    case("Gemm-A", "Gemm", "x w0 w1", (4, ROWS), (4, 5), (1, 5), transA=1, alpha=0.5),
    case("Gemm-AB", "Gemm", "x w0 w1", (4, ROWS), (5, 4), (ROWS, 1), transA=1, transB=1, beta=0.5),
    case("MatMul", "MatMul", "x w0", (ROWS, 4), (4, 5)),
    case("MatMul-3", "MatMul", "x w0", (ROWS, 2, 4), (4, 5)),
    case("MatMul-33", "MatMul", "x w0", (ROWS, 2, 4), (ROWS, 4, 5)),
    case("MatMul-broadcast", "MatMul", "x w0", (ROWS, 2, 4), (1, 4, 5)),
    case("MatMul-left", "MatMul", "w0 x", (ROWS, 4, 2), (5, 4)),
    case("Concat", "Concat", "x w0", (ROWS, 4), (ROWS, 2), axis=1),
    case("Concat-last", "Concat", "x w0 x", (ROWS, 4, 2), (ROWS, 4, 3), axis=-1),
    case("Transpose", "Transpose", "x", (ROWS, 4, 2), perm=[1, 2, 0]),
    case("Transpose-plain", "Transpose", "x", (ROWS, 4)),
    case("Flatten", "Flatten", "x", (ROWS, 4, 2)),
    fixed("Reshape", "Reshape", (ROWS, 4, 2), ints(-1, 8)),
    fixed("Squeeze", "Squeeze", (ROWS, 1, 4), ints(1)),
    fixed("Unsqueeze", "Unsqueeze", (ROWS, 4), ints(1)),
    fixed("Gather-one", "Gather", (ROWS, 4), np.array(2, np.int64), axis=1),
    fixed("Gather-many", "Gather", (ROWS, 4, 2), ints(3, 0, 3, -2), axis=1),
    case("ReduceMean", "ReduceMean", "x", (ROWS, 4, 2), axes=[2], keepdims=0),
    case("ReduceMean-kept", "ReduceMean", "x", (ROWS, 4, 2), axes=[-1, 1], keepdims=1),
    fixed("ReduceMean-18", "ReduceMean", (ROWS, 4, 2), ints(1), opset=18),
    fixed("ReduceSum", "ReduceSum", (ROWS, 4, 2), ints(1), keepdims=0),
    Case("ReduceSum-old", [node("ReduceSum", "x", axes=[1], keepdims=1)], (ROWS, 4), opset=11),
    Case(
        "BatchNormalization", [node("BatchNormalization", "x w0 w1 mean var", epsilon=1e-3)], (ROWS, 4), [(4,), (4,)],
        {"mean": np.float32([0.1, 0.2, -0.3, 0]), "var": np.float32([1, 2, 0.5, 0.7])},
    ),
    Case(
        "BatchNormalization-2d", [node("BatchNormalization", "x w0 w1 mean var")], (ROWS, 2, 3, 2), [(2,), (2,)],
        {"mean": np.float32([0.1, 0.2]), "var": np.float32([1, 2])},
    ),
    case("LayerNormalization", "LayerNormalization", "x w0 w1", (ROWS, 5), (5,), (5,)),
    case("LayerNormalization-2", "LayerNormalization", "x w0", (ROWS, 3, 4), (3, 4), axis=1, epsilon=1e-2),
    case("Conv-1d", "Conv", "x w0 w1", (ROWS, 2, 7), (3, 2, 3), (3,)),
    case("Conv-1d-strides", "Conv", "x w0", (ROWS, 2, 8), (3, 2, 3), strides=[2], pads=[1, 0]),
    case("Conv-2d", "Conv", "x w0 w1", (ROWS, 2, 5, 4), (3, 2, 3, 2), (3,), pads=[1, 0, 1, 1]),
    case("Conv-2d-all", "Conv", "x w0", (ROWS, 2, 8, 7), (3, 2, 2, 3), strides=[2, 3], dilations=[2, 1],
         pads=[1, 2, 0, 1]),
    case("Conv-group", "Conv", "x w0 w1", (ROWS, 4, 5, 5), (6, 2, 3, 3), (6,), group=2, strides=[2, 2]),
    case("Conv-depthwise", "Conv", "x w0", (ROWS, 4, 6), (4, 1, 3), group=4, pads=[1, 1]),
    case("Conv-same", "Conv", "x w0", (ROWS, 2, 5, 6), (3, 2, 2, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv-same-lower", "Conv", "x w0", (ROWS, 2, 5), (3, 2, 2), auto_pad="SAME_LOWER"),
    case("MaxPool-1d", "MaxPool", "x", (ROWS, 2, 8), kernel_shape=[2], strides=[2]),
    case("MaxPool-overlap", "MaxPool", "x", (ROWS, 2, 6, 5), kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 0]),
    case("AveragePool-1d", "AveragePool", "x", (ROWS, 2, 9), kernel_shape=[2], strides=[2]),
    case("AveragePool-pads", "AveragePool", "x", (ROWS, 2, 6, 5), kernel_shape=[3, 2], strides=[2, 1],
         pads=[1, 0, 1, 1]),
    case("AveragePool-count", "AveragePool", "x", (ROWS, 2, 6), kernel_shape=[3], pads=[1, 1], count_include_pad=1),
    case("GlobalAveragePool", "GlobalAveragePool", "x", (ROWS, 2, 3, 4)),
    Case("shared", [node("MatMul", "x w0", "h"), node("Tanh", "h", "t"), node("MatMul", "t w0")], (ROWS, 4), [(4, 4)]),
]  # fmt: skip


class Erf(OpRun):
    """The reference's own rounds to single precision."""

    def _run(self, x: Any) -> Any:
        return (np.vectorize(math.erf)(x),)


class ConvTranspose(PlainConvTranspose):
    """The reference's own fails where a group gives more than one channel: here it is asked group by group."""

    def _run(self, X: Any, W: Any, *rest: Any, group: Any = None, **options: Any) -> Any:
        parts = zip(np.split(X, group, axis=1), np.split(W, group, axis=0), strict=True)
        run = super()._run
        return (np.concatenate([run(x, w, *rest, group=1, **options)[0] for x, w in parts], axis=1),)


def evaluator(model: Any) -> ReferenceEvaluator:
    return ReferenceEvaluator(model, new_ops=[Erf, ConvTranspose])


def made(case: Case, dice: Any) -> tuple[bytes, dict[str, Any]]:
    """A model of which x is a weight too, so that its gradient is asked for as well."""
    values = {"x": dice.normal(size=case.x)}
    values.update({f"w{at}": dice.normal(size=shape) for at, shape in enumerate(case.weights)})
    if case.positive or case.id.startswith("Div"):
        values = {name: np.abs(value) + 0.5 for name, value in values.items()}
    values = {name: value.astype(np.float32) for name, value in values.items()}
    initializers = [numpy_helper.from_array(v, k) for k, v in {**values, **case.fixed}.items()]
    # A row goes in besides, so that there is something to feed.
    unused = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 1])
    nodes = [*case.nodes, helper.make_node("Identity", ["rows"], ["same"])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "same")]
    graph = helper.make_graph(nodes, "g", [unused], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)
    return model.SerializeToString(), values


def as_double(model: Any) -> Any:
    """The same model in double precision."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for at, tensor in enumerate(model.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            copy.graph.initializer[at].CopyFrom(numpy_helper.from_array(array, tensor.name))
    for each in copy.graph.node:
        for entry in each.attribute:
            if each.op_type == "Cast" and entry.i == TensorProto.FLOAT:
                entry.i = TensorProto.DOUBLE
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return copy


def with_gradients(case: Case, seed: Any) -> tuple[Any, dict[str, Any], dict[str, str]]:
    data, values = made(case, np.random.default_rng(7))
    network = read_network(normalised(data, case.id), lambda n: {"rows": np.zeros((n, 1), np.float32)}, None, case.id)
    b = GraphBuilder(network.opset, network.shapes, network.dtypes)
    factor = seed.normal(size=network.shapes["y"]).astype(np.float32)
    found, _ = derive(b, network, "y", b.constant(factor, np.float32), list(values), case.id)
    model = onnx.ModelProto.FromString(network.model.SerializeToString())
    model.graph.node.extend(b.nodes)
    model.graph.initializer.extend(b.initializers)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in found.values())
    return model, {"factor": factor, **values}, found


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    model, values, found = with_gradients(case, np.random.default_rng(3))
    factor = values.pop("factor").astype(np.float64)
    assert set(found) == set(values)
    double, names = as_double(model), list(found.values())
    feeds = {"rows": np.zeros((1, 1))}
    in_double = dict(zip(found, evaluator(double).run(names, feeds), strict=True))

    forward = as_double(onnx.load_from_string(made(case, np.random.default_rng(7))[0]))
    kept = [tensor for tensor in forward.graph.initializer if tensor.name not in values]
    del forward.graph.initializer[:]
    forward.graph.initializer.extend(kept)
    for name, value in values.items():
        forward.graph.input.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, list(value.shape)))
    run = evaluator(forward)
    wide = {name: value.astype(np.float64) for name, value in values.items()}

    def total(name: str, at: int, step: float) -> float:
        moved = wide[name].copy()
        moved.flat[at] += step
        return float((run.run(["y"], {**feeds, **wide, name: moved})[0] * factor).sum())

    dice = np.random.default_rng(1)
    for name, value in values.items():
        assert in_double[name].shape == value.shape
        for at in dice.permutation(value.size)[:12]:
            slope = (total(name, at, 1e-6) - total(name, at, -1e-6)) / 2e-6
            assert in_double[name].flat[at] == pytest.approx(slope, rel=1e-6, abs=1e-7), (name, at)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, gradient in zip(found, session.run(names, {"rows": np.zeros((1, 1), np.float32)}), strict=True):
        np.testing.assert_allclose(gradient, in_double[name], rtol=2e-5, atol=2e-5)


REFUSED = [
    (Case("Sin", [node("Sin", "x")], (ROWS, 4)), "node 'Sin_0': the operator Sin lies between"),
    (fixed("Pow", "Pow", (ROWS, 4), np.float32([1, 2, 3, 4])), "its exponent is not one constant number"),
    (Case("Softmax", [node("Softmax", "x", axis=1)], (ROWS, 4, 2), opset=12), "export the network for opset 13"),
    (Case("MaxPool", [node("MaxPool", "x", kernel_shape=[2])], (ROWS, 2, 4), opset=12), "opset 16"),
    (
        Case("ceil", [node("AveragePool", "x", kernel_shape=[2], strides=[2], ceil_mode=1)], (ROWS, 2, 5)),
        "it rounds the size of its result up",
    ),
    (Case("rows", [node("MatMul", "x w0")], (ROWS, 4), [(4,)]), "a vector of rank 1"),
]


@pytest.mark.parametrize(("case", "text"), REFUSED, ids=[case.id for case, _ in REFUSED])
def test_what_cannot_be_derived_is_named(case: Case, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_gradients(case, np.random.default_rng(3))
    assert text in str(caught.value)
    assert case.nodes[0].op_type in str(caught.value)


def test_every_operator_without_a_gradient_is_named_at_once() -> None:
    nodes = [node("Sin", "x", "a"), node("Tanh", "a", "b"), node("Cos", "b")]
    with pytest.raises(ConfigError) as caught:
        with_gradients(Case("two", nodes, (ROWS, 4)), np.random.default_rng(3))
    assert ["Sin" in str(p) or "Cos" in str(p) for p in caught.value.problems] == [True, True]
    assert "Supported: Add, AveragePool, BatchNormalization" in caught.value.problems[0].remedy


def test_every_rule_is_tested() -> None:
    assert {n.op_type for case in CASES for n in case.nodes} == set(_RULES)

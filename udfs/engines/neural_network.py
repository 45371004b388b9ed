"""Reads the forward graph of an ONNX network: its operators, constants, shapes, and what can be trained in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.neural_builder import Shape
from thalweg.udfs.engines.neural_gradients import Operator
from thalweg.udfs.engines.neural_session import WeightSession
from thalweg.udfs.engines.onnx_session import OnnxSession

__all__ = ["Network", "normalised", "read_network"]

VIEWS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that give the numbers they take in another order, shape or type."""
PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_SLOTS = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "Gemm": (0, 1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
}
_SUMS = frozenset({"Add", "Div", "Mul", "Sub"})
_OLDEST = 11
_MODERN, _ADDS = 13, 16  # the opset that has the operators as they are now; the one whose ScatterElements adds
_OLDEST_FORMAT = 8  # before 4, every initializer had to be an input as well


@dataclass(frozen=True)
class Network:
    """A network as it is, before anything is added for training.

    Attributes
    ----------
    model : onnx.ModelProto
        With every constant as an initializer, and images as rows of numbers.
    opset : int
        Version of the standard operators.
    operators : tuple of Operator
        In the order in which they run.
    constants : dict of str to ndarray
        Initializers.
    shapes : dict of str to Shape
        Of all values.
    dtypes : dict of str to numpy type
        Of all values.
    producers : dict of str to Operator
        The operator behind each computed value.
    """

    model: Any
    opset: int
    operators: tuple[Operator, ...]
    constants: dict[str, Any]
    shapes: dict[str, Shape]
    dtypes: dict[str, Any]
    producers: dict[str, Operator]

    def upstream(self, value: str) -> list[Operator]:
        """Return the operators that ``value`` depends on, in the order in which they run."""
        wanted, found = {value}, []
        for operator in reversed(self.operators):
            if wanted.intersection(operator.outputs):
                found.append(operator)
                wanted.update(operator.inputs)
        return found[::-1]

    def trainable(self, value: str) -> dict[str, tuple[Operator, int]]:
        """Return the weights that ``value`` depends on, each with the operator and the input it is used at first.

        Weights are what an operator of a layer takes as weights: matrices, kernels, biases, scales, embedding tables.
        Other constants, such as the means of a scaler or a number that is added, are left as they are.
        """
        found: dict[str, tuple[Operator, int]] = {}
        live: set[str] = set()
        for operator in self.upstream(value):
            for at, name in enumerate(operator.inputs):
                root = self.root(name)
                if self._weighs(operator, at, root, live):
                    found.setdefault(root, (operator, at))
                    live.add(name)
                    live.add(root)
            if live.intersection(operator.inputs):
                live.update(operator.outputs)
        return found

    def root(self, name: str) -> str:
        """Return what ``name`` is a view of."""
        while (behind := self.producers.get(name)) is not None and behind.kind in VIEWS:
            name = behind.inputs[0]
        return name

    def _weighs(self, operator: Operator, at: int, root: str, live: set[str]) -> bool:
        constant = self.constants.get(root)
        if constant is None or constant.dtype != np.float32 or constant.ndim == 0:
            return False
        if operator.kind == "Gather":
            return at == 0 and constant.ndim == 2 and operator.attributes.get("axis", 0) == 0
        if operator.kind in _SUMS:
            other = operator.inputs[1 - at]
            behind = self.producers.get(self.root(other))
            bias = operator.kind == "Add" and behind is not None and behind.kind in PRODUCTS
            return other in live and (bias or constant.size > 1)
        return at in _SLOTS.get(operator.kind, ())


def normalised(data: bytes, where: str) -> Any:
    """Return a model of which every constant is an initializer, and every input of numbers has rank 1 or 2.

    An input of images, such as ``[n, 3, 32, 32]``, becomes an input of as many numbers, ``[n, 3072]``, which the graph
    reshapes.

    Raises
    ------
    ConfigError
        Not a model, or one of an opset that is too old.
    """
    OnnxSession(data, where)  # names what is wrong with the bytes
    model = onnx.load_from_string(data)
    graph = model.graph
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < _OLDEST:
        what = f"is of opset {opset}."
        raise ConfigError([Problem(where, what, f"Export it for opset {_OLDEST} or later.")])
    if _MODERN <= opset < _ADDS and any(node.op_type == "MaxPool" for node in graph.node):
        # Where it came from, each number of the gradient is added; Keras exports for an older opset than has that.
        with suppress(Exception):  # a network that cannot be converted is told of where its gradient is asked for
            model = version_converter.convert_version(model, _ADDS)
            graph = model.graph
    nodes = []
    for number, node in enumerate(graph.node):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        else:
            node.name = node.name or f"{node.op_type}_{number}"
            nodes.append(node)
    constant = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constant]
    flat = list(filter(None, (_flatten(graph, value) for value in inputs)))
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in (*flat, *nodes)]
    inputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in inputs]
    del graph.node[:], graph.input[:], graph.value_info[:]
    model.ir_version = max(model.ir_version, _OLDEST_FORMAT)
    graph.node.extend(kept)
    graph.input.extend(inputs)
    return model


def _flatten(graph: Any, value: Any) -> Any:
    """Make an input of higher rank one of rank 2, and return the node that gives it its shape; None where it has."""
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    if len(sizes) < 3 or not all(sizes[1:]):
        return None
    inner = f"{value.name}:shaped"
    for node in graph.node:
        node.input[:] = [inner if name == value.name else name for name in node.input]
    shape = f"{inner}:sizes"
    graph.initializer.append(numpy_helper.from_array(np.array([-1, *sizes[1:]], np.int64), shape))
    rows = value.type.tensor_type.shape.dim[0]
    first = rows.dim_value or rows.dim_param or "n"
    kind = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind, [first, int(np.prod(sizes[1:]))]))
    return helper.make_node("Reshape", [value.name, shape], [inner], name=inner)


def read_network(model: Any, made_up: Callable[[int], Mapping[str, Any]], batch: int | None, where: str) -> Network:
    """Return what there is to know about a normalised model.

    Shapes are not inferred but seen: the network answers two and three made-up rows, and a size that differs follows
    the rows.

    Parameters
    ----------
    model : onnx.ModelProto
        From ``normalised``.
    made_up : callable
        Gives inputs for a number of rows.
    batch : int or None
        How many rows the network takes at a time, where it does not take any number.
    where : str
        Names the model in errors.

    Raises
    ------
    ConfigError
        The network cannot answer.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    operators = tuple(_operators(model.graph.node, constants))
    names = [name for operator in operators for name in operator.outputs if name]
    all_out = onnx.ModelProto.FromString(model.SerializeToString())
    del all_out.graph.output[:]
    all_out.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = WeightSession(all_out.SerializeToString(), where)
    probes = []
    for rows in (2, 3) if batch is None else (batch, batch):
        feeds = made_up(rows)
        try:
            probes.append({**feeds, **dict(zip(names, session.call(names, feeds), strict=True))})
        except Exception as error:
            what = f"cannot answer made-up rows ({error})."
            raise ConfigError([Problem(where, what, "Check that it runs in ONNX Runtime.")]) from error
    shapes: dict[str, Shape] = {name: array.shape for name, array in constants.items()}
    dtypes: dict[str, Any] = {name: array.dtype for name, array in constants.items()}
    for name, one in probes[0].items():
        other = probes[1][name]
        if isinstance(one, np.ndarray) and one.ndim == other.ndim:
            shapes[name] = tuple(a if a == b else None for a, b in zip(one.shape, other.shape, strict=True))
            dtypes[name] = one.dtype
    producers = {name: operator for operator in operators for name in operator.outputs}
    return Network(model, opset, operators, constants, shapes, dtypes, producers)


def _operators(nodes: Any, constants: Mapping[str, Any]) -> Iterator[Operator]:
    for node in nodes:
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        yield Operator(kind, node.name, tuple(node.input), tuple(node.output), attributes, constants)

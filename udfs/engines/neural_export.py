"""A network that has learned, as an ONNX model that any runtime serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from thalweg.connector.errors import ModelError
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_mlp import MASK, NUMBERS, MlpCodec
from thalweg.udfs.engines.neural_scaling import LIMIT
from thalweg.udfs.engines.neural_text import MlpText

__all__ = ["export_onnx"]

_ML_OPSET = 3
_TYPES = {
    "number": TensorProto.DOUBLE,
    "integer": TensorProto.INT64,
    "boolean": TensorProto.BOOL,
    "string": TensorProto.STRING,
    "vector": TensorProto.DOUBLE,
}


def export_onnx(engine: NeuralEngine) -> bytes:
    """Return the model as ONNX, with all that it has learned.

    A customer's network is the whole file with other weights (an input of images is one of as many numbers, and raw
    numbers of a classifier are followed by their sigmoid or softmax). A network from text has one input per feature, in
    the order and by the names of the declaration, and holds its scaling, vocabulary and classes.

    Raises
    ------
    ModelError
        A network of several classes that has not seen two yet.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import EngineSpec, Field
    >>> spec = EngineSpec("neural", "regression", "mlp(4)", (Field("x", "number"),), Field("y", "number"))
    >>> model = onnx.load_from_string(export_onnx(NeuralEngine.build(spec)))
    >>> [value.name for value in (*model.graph.input, *model.graph.output)]
    ['x', 'y']
    """
    model = onnx.ModelProto.FromString(engine.plan.network.model.SerializeToString())
    for tensor in model.graph.initializer:
        if tensor.name in engine.weights.feeds:
            tensor.CopyFrom(numpy_helper.from_array(engine.weights.feeds[tensor.name], tensor.name))
    if isinstance(engine.codec, MlpCodec) and engine.plan.text is not None:
        _Wrapper(model, engine, engine.codec).wrap(engine.plan.text)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Wrapper:
    """Puts what a codec does around the graph of a network from text."""

    def __init__(self, model: Any, engine: NeuralEngine, codec: MlpCodec) -> None:
        self._graph, self._opsets = model.graph, model.opset_import
        self._spec, self._codec = engine.spec, codec
        self._inner = list(model.graph.node)
        self._taken = {name for node in self._inner for name in (*node.input, *node.output)}
        self._nodes: list[Any] = []

    def wrap(self, text: MlpText) -> None:
        graph = self._graph
        # A feature may be called as something inside is: what is inside gets out of its way.
        for node in self._inner:
            for names in (node.input, node.output):
                names[:] = [f"thalweg:{name}" for name in names]
        for tensor in graph.initializer:
            tensor.name = f"thalweg:{tensor.name}"
        del graph.input[:], graph.output[:], graph.node[:]
        self._read(text)
        ends: list[Any] = []
        self._nodes, before = ends, self._nodes
        if self._spec.task != "classification":
            self._number()
        elif self._spec.output.kind == "boolean":
            self._add("Identity", ["thalweg:score"], self._output(TensorProto.FLOAT, [1]))
        else:
            self._classes()
        graph.node.extend([*before, *self._inner, *ends])

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        node = helper.make_node(kind, inputs, [output], name=f"thalweg:make:{output}", **attributes)
        self._nodes.append(node)
        return output

    def _constant(self, name: str, value: Any) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), f"thalweg:{name}"))
        return f"thalweg:{name}"

    def _output(self, kind: int, sizes: list[int], name: str = "") -> str:
        name = name or self._spec.output.name
        name = f"{name}_predicted" if name in dict(self._spec.inputs) else name
        self._graph.output.append(helper.make_tensor_value_info(name, kind, ["n", *sizes]))
        return name

    def _read(self, text: MlpText) -> None:
        embedded = {each.column for each in text.embeddings}
        numbers = []
        for name, kind in self._spec.inputs:
            width = text.vectors.get(name, 1)
            self._graph.input.append(helper.make_tensor_value_info(name, _TYPES[kind], ["n", width]))
            if name in embedded:
                self._look_up(name, kind)
            else:
                numbers.append(self._add("Cast", [name], f"thalweg:wide:{name}", to=TensorProto.DOUBLE))
        if numbers:
            scaling = self._codec.scaling
            joined = self._add("Concat", numbers, "thalweg:joined", axis=1)
            apart = self._add("Sub", [joined, self._constant("mean", scaling.mean)], "thalweg:apart")
            scaled = self._add("Div", [apart, self._constant("deviation", scaling.deviation)], "thalweg:scaled")
            low, high = (self._constant(name, np.float64(limit)) for name, limit in (("low", -LIMIT), ("high", LIMIT)))
            within = self._add("Clip", [scaled, low, high], "thalweg:within")
            self._add("Cast", [within], f"thalweg:{NUMBERS}", to=TensorProto.FLOAT)

    def _look_up(self, name: str, kind: str) -> None:
        """Give each known value its row of the table, and all others the first."""
        words = self._codec.words[name]
        # A table of keys must have one; where nothing is known yet, this one leads to the first row as all others do.
        rows = list(words.values()) or [0]
        keys: dict[str, Any] = {"keys_strings": list(words) or [""]}
        if kind == "integer":
            keys = {"keys_int64s": [int(word) for word in words] or [0]}
        if not any(entry.domain == "ai.onnx.ml" for entry in self._opsets):
            self._opsets.append(helper.make_opsetid("ai.onnx.ml", _ML_OPSET))
        found = self._add(
            "LabelEncoder",
            [name],
            f"thalweg:found:{name}",
            domain="ai.onnx.ml",
            values_int64s=rows,
            default_int64=0,
            **keys,
        )
        self._add("Reshape", [found, self._constant(f"line:{name}", np.array([-1]))], f"thalweg:{name}")

    def _number(self) -> None:
        target = self._codec.target
        spread = np.where(np.isfinite(target.deviation), target.deviation, 0)
        wide = self._add("Cast", ["thalweg:score"], "thalweg:answer", to=TensorProto.DOUBLE)
        far = self._add("Mul", [wide, self._constant("spread", spread)], "thalweg:far")
        self._add("Add", [far, self._constant("centre", target.mean)], self._output(TensorProto.DOUBLE, [1]))

    def _classes(self) -> None:
        classes = self._codec.classes
        if len(classes) < 2:
            raise ModelError("the network has not seen two classes yet: it has nothing to tell apart.")
        self._constant(MASK, self._codec.constants()[MASK])
        names = self._constant("classes", np.array(classes, dtype=object))
        ends = [self._constant(name, np.array([end])) for name, end in (("from", 0), ("to", len(classes)), ("axis", 1))]
        label = self._output(TensorProto.STRING, [])
        shares = self._output(TensorProto.FLOAT, [len(classes)], "probabilities")
        self._add("Slice", ["thalweg:probabilities", *ends], shares)
        best = self._add("ArgMax", [shares], "thalweg:best", axis=1, keepdims=0)
        self._add("Gather", [names, best], label)

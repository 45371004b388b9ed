"""A graph of ONNX operators, written node by node: its names, its constants, and the idioms that all parts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphWriter"]

# What ONNX Runtime 1.20 to 1.32 all read, with every operator that is used here in double precision.
_OPSET, _ML_OPSET, _IR = 17, 3, 8
_ROWS = "rows"


class GraphWriter:
    """Collects the nodes and constants of one model.

    A value is the name of a tensor. Numbers are doubles, for that is what River computes with.

    Parameters
    ----------
    taken : sequence of str
        Names of the model's inputs, which nothing else may have.

    Attributes
    ----------
    refused : list of str
        Values [rows, 1], booleans: the rows that River cannot score. Their answer is made NaN.
    """

    def __init__(self, taken: Sequence[str]) -> None:
        self._taken = set(taken)
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._tensors: list[Any] = []
        self._zeros = ""
        self._widths: dict[str, int] = {}
        self._codes: dict[str, tuple[str, dict[str, int]]] = {}
        self._tables: list[tuple[str, str, Sequence[str]]] = []
        self._limits: dict[str, tuple[frozenset[str], str]] = {}
        self.refused: list[str] = []

    def name(self, wanted: str) -> str:
        """Return a name that nothing has yet, ``wanted`` if it is free."""
        found, number = wanted, 1
        while found in self._taken:
            found, number = f"{wanted}_{number}", number + 1
        self._taken.add(found)
        return found

    def input(self, name: str, text: bool) -> str:
        """Declare an input [rows, 1] of texts or of doubles."""
        kind = TensorProto.STRING if text else TensorProto.DOUBLE
        self._inputs.append(helper.make_tensor_value_info(name, kind, [_ROWS, 1]))
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; return its first output."""
        names = [self.name(op.lower()) for _ in range(outputs)]
        domain = "ai.onnx.ml" if op == "LabelEncoder" else ""
        self._nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0]

    def named(self, value: str, wanted: str) -> str:
        """Return ``value`` under a name of its own, for an output of the model."""
        name = self.name(wanted)
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    def const(self, values: Any, dtype: Any = np.float64) -> str:
        """Return a constant; equal ones are there once."""
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        key = (array.dtype.str, np.asarray(values).shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.name("const")
            self._tensors.append(numpy_helper.from_array(array.reshape(key[1]), self._constants[key]))
        return self._constants[key]

    def texts(self, values: Sequence[str]) -> str:
        """Return a constant list of texts."""
        name = self.name("texts")
        data = [value.encode("utf-8", "surrogatepass") for value in values]
        self._tensors.append(helper.make_tensor(name, TensorProto.STRING, [len(data)], data))
        return name

    def number(self, value: float) -> str:
        """Return a constant that is one number."""
        return self.const([[value]])

    def limit(self, text: str, values: Sequence[str], other: str) -> None:
        """Take every text of an input that is not one of ``values``, nor empty, for ``other``."""
        self._limits[text] = frozenset(values), other
        _, vocabulary = self._codes.setdefault(text, (self.name("code"), {}))
        for value in values:
            vocabulary.setdefault(value, 1 + len(vocabulary))

    def text_numbers(self, text: str, known: Sequence[str]) -> str:
        """Return the number of each row's text, [rows, 1] doubles: from 1 in the order of ``known``, 0 for others.

        Each input is looked up once, by one encoder with all texts that any part of the model knows, so that readers of
        the model find its vocabulary in one place.
        """
        code, vocabulary = self._codes.setdefault(text, (self.name("code"), {}))
        for value in known:
            vocabulary.setdefault(value, 1 + len(vocabulary))
        table = self.name("numbers")
        self._tables.append((text, table, known))
        return self.node("Gather", table, code)

    def _encoders(self) -> list[Any]:
        """Return the encoder of each text, and keep the tables that lead from its numbers to those of its uses."""
        used = {text for text, _, _ in self._tables}
        for text, table, known in self._tables:
            vocabulary, own = self._codes[text][1], {value: 1 + at for at, value in enumerate(known)}
            numbers = [0, *(own.get(value, 0) for value in vocabulary)]
            if text in self._limits:
                values, other = self._limits[text]
                later = {0, *(at for value, at in vocabulary.items() if value and value not in values)}
                numbers = [own.get(other, 0) if at in later else number for at, number in enumerate(numbers)]
            self._tensors.append(numpy_helper.from_array(np.array(numbers, dtype=np.float64), table))
        self._tables = []
        return [
            helper.make_node(
                "LabelEncoder",
                [text],
                [code],
                domain="ai.onnx.ml",
                keys_strings=list(vocabulary),
                values_int64s=list(vocabulary.values()),
                default_int64=0,
            )
            for text, (code, vocabulary) in self._codes.items()
            if text in used
        ]

    def zeros(self) -> str:
        """Return a zero for each row, [rows, 1]."""
        if not self._zeros:
            zero = numpy_helper.from_array(np.zeros(1), self.name("zero"))
            shape = self.node("Shape", self._inputs[0].name)
            self._zeros = self.node("ConstantOfShape", shape, value=zero)
        return self._zeros

    def rows(self, vector: Sequence[float]) -> str:
        """Return ``vector`` for each row, [rows, width]."""
        return self.node("Add", self.zeros(), self.const([list(vector)]))

    def total(self, values: Sequence[str]) -> str:
        """Return the sum of some values, added from left to right as River adds."""
        found = values[0]
        for value in values[1:]:
            found = self.node("Add", found, value)
        return found

    def row_sum(self, value: str, axis: int = 1, keep: bool = True) -> str:
        """Return the sum along an axis."""
        return self.node("ReduceSum", value, self.const([axis], np.int64), keepdims=int(keep))

    def block(self, value: str, width: int) -> str:
        """Note how wide a value is, so that all of its columns are the value itself."""
        self._widths[value] = width
        return value

    def columns(self, value: str, places: Sequence[int]) -> str:
        """Return some columns of [rows, width]."""
        if list(places) == list(range(self._widths.get(value, 0))):
            return value
        # Tables of the traversal and choices of columns are int32: an int64 list reads as the names of classes.
        return self.node("Gather", value, self.const(list(places), np.int32), axis=1)

    def joined(self, values: Sequence[str]) -> str:
        """Return values beside one another, [rows, sum of widths]."""
        return values[0] if len(values) == 1 else self.node("Concat", *values, axis=1)

    def any_of(self, values: Sequence[str]) -> str:
        """Return where one of some booleans holds."""
        found = values[0]
        for value in values[1:]:
            found = self.node("Or", found, value)
        return found

    def sigmoid(self, value: str) -> str:
        """Return the logistic function as River has it: exactly 0 below -30 and 1 above 30."""
        inner = self.node("Sigmoid", value)
        upper = self.node("Where", self.node("Greater", value, self.number(30)), self.number(1), inner)
        return self.node("Where", self.node("Less", value, self.number(-30)), self.number(0), upper)

    def answered(self, value: str) -> str:
        """Return ``value`` with NaN in the rows that River cannot score."""
        if not self.refused:
            return value
        refused = self.any_of(list(dict.fromkeys(self.refused)))
        return self.node("Where", refused, self.number(float("nan")), value)

    def model(self, outputs: Sequence[tuple[str, str, Sequence[int]]], about: Mapping[str, str], version: str) -> bytes:
        """Return the model as bytes, the same for the same graph.

        Parameters
        ----------
        outputs : sequence of (str, str, sequence of int)
            Value, ``text`` or ``number``, and the shape behind the rows.
        about : mapping of str to str
            The model's metadata.
        version : str
            Version of the producer.
        """
        kinds = {"text": TensorProto.STRING, "number": TensorProto.DOUBLE}
        declared = [helper.make_tensor_value_info(name, kinds[kind], [_ROWS, *shape]) for name, kind, shape in outputs]
        nodes = [*self._encoders(), *self._nodes]
        used = {name for node in nodes for name in node.input}
        tensors = [tensor for tensor in self._tensors if tensor.name in used]
        graph = helper.make_graph(nodes, "river", self._inputs, declared, tensors)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR, producer_name="thalweg", producer_version=version
        )
        helper.set_model_props(model, dict(about))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

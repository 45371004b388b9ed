"""Adds nodes to an ONNX graph by short calls, and remembers the shape and type of what the network computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import helper, numpy_helper

__all__ = ["GraphBuilder", "Shape"]

Shape: TypeAlias = "tuple[int | None, ...]"
"""Sizes of a value; None where a size follows the number of rows."""

_AXES_ARE_INPUTS = 13  # the opset from which ReduceSum takes its axes as an input


class GraphBuilder:
    """Nodes and constants of the backward pass.

    Parameters
    ----------
    opset : int
        Version of the standard operators in the model to which the nodes are added.
    shapes : mapping of str to Shape
        Of the values of the forward pass.
    dtypes : mapping of str to numpy type
        Of the same values.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
        In the order in which they can run.
    initializers : list of onnx.TensorProto
        Constants of these nodes.
    """

    def __init__(self, opset: int, shapes: Mapping[str, Shape], dtypes: Mapping[str, Any]) -> None:
        self.opset, self.nodes, self.initializers = opset, [], []  # type: int, list[Any], list[Any]
        self._shapes, self._dtypes = dict(shapes), dict(dtypes)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def shape(self, name: str) -> Shape:
        """Return the shape of a value of the forward pass."""
        return self._shapes[name]

    def dtype(self, name: str) -> Any:
        """Return the type of a value of the forward pass."""
        return self._dtypes[name]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        output = f"thalweg:{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, dtype: Any) -> str:
        """Return the name of a constant, which is kept once."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"thalweg:constant{len(self._constants)}"
            self._constants[key] = name
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return self._constants[key]

    def like(self, value: Any, name: str) -> str:
        """Return a constant of the type of another value."""
        return self.constant(value, self.dtype(name))

    def total(self, value: str, axes: Sequence[int], keepdims: bool = True) -> str:
        """Return the sum of ``value`` along ``axes``."""
        if self.opset >= _AXES_ARE_INPUTS:
            return self.op("ReduceSum", value, self.constant(list(axes), np.int64), keepdims=int(keepdims))
        return self.op("ReduceSum", value, axes=list(axes), keepdims=int(keepdims))

    def reshaped(self, value: str, shape: Shape, like: str | None = None) -> str:
        """Return ``value`` with another shape; ``like`` has that shape, where several sizes follow the rows."""
        if sum(size is None for size in shape) > 1:
            if like is None:
                raise ValueError("a shape in which several sizes follow the rows is known by a value that has it")
            return self.op("Reshape", value, self.op("Shape", like))
        sizes = [-1 if size is None else size for size in shape]
        return self.op("Reshape", value, self.constant(sizes, np.int64))

    def fitted(self, gradient: str, given: Shape, name: str) -> str:
        """Return the gradient of a value that was broadcast to the shape ``given``: summed over what was repeated."""
        shape = self.shape(name)
        if shape == given:
            return gradient
        lead = len(given) - len(shape)
        axes = [*range(lead), *(lead + at for at, size in enumerate(shape) if size == 1 and given[lead + at] != 1)]
        if axes == list(range(lead)):
            return self.total(gradient, axes, keepdims=False)
        if axes:
            gradient = self.total(gradient, axes)
        return self.reshaped(gradient, shape, name) if lead else gradient

"""One rule per ONNX operator: from the gradient of what a node gives to the gradients of what it takes.

The rules are those of reverse-mode differentiation (Griewank and Walther, Evaluating Derivatives, 2008) and are written
in ONNX operators themselves, so that the runtime that answers also learns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from thalweg.udfs.engines.neural_builder import GraphBuilder

__all__ = ["RULES", "NoRule", "Operator", "Rule"]


class NoRule(Exception):
    """A node that has no gradient here, though its operator has a rule; the text says why and ends a sentence."""


class Operator(NamedTuple):
    """A node of the forward pass.

    Attributes
    ----------
    kind, name : str
        Operator and name of the node.
    inputs : tuple of str
        Without the empty names at the end.
    outputs : tuple of str
        The same.
    attributes : dict of str to Any
        Those that are given.
    constants : mapping of str to ndarray
        Values that are known before a row comes.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    constants: Mapping[str, Any]

    def known(self, at: int) -> Any:
        """Return the value of a constant input, or None."""
        return self.constants.get(self.inputs[at]) if len(self.inputs) > at else None


Rule: TypeAlias = Callable[[GraphBuilder, Operator, str, Sequence[bool]], "list[str | None]"]
"""From builder, node, the gradient of its first output and which inputs need theirs, to a gradient per input."""


def _add(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    given = b.shape(node.outputs[0])
    other = b.op("Neg", g) if node.kind == "Sub" and need[1] else g
    return [b.fitted(part, given, name) if on else None
            for part, name, on in zip((g, other), node.inputs, need, strict=True)]  # fmt: skip


def _mul(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    left, right = node.inputs
    given = b.shape(node.outputs[0])
    return [
        b.fitted(b.op("Mul", g, right), given, left) if need[0] else None,
        b.fitted(b.op("Mul", g, left), given, right) if need[1] else None,
    ]


def _div(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    left, right = node.inputs
    given = b.shape(node.outputs[0])
    share = b.op("Div", g, right)
    second = b.op("Neg", b.op("Mul", share, node.outputs[0])) if need[1] else ""
    return [
        b.fitted(share, given, left) if need[0] else None,
        b.fitted(second, given, right) if need[1] else None,
    ]


def _pow(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x, exponent = node.inputs[0], node.known(1)
    if exponent is None or exponent.size != 1 or need[1]:
        raise NoRule("its exponent is not one constant number")
    power = float(exponent.reshape(()))
    slope = b.op("Mul", b.like(power, x), b.op("Pow", x, b.like(power - 1, x)))
    return [b.op("Mul", g, slope), None]


def _unary(slope: Callable[[GraphBuilder, str, str], str]) -> Rule:
    """Return the rule of an operator on single numbers, from its slope by input and output."""

    def rule(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
        return [b.op("Mul", g, slope(b, node.inputs[0], node.outputs[0])), *[None] * (len(node.inputs) - 1)]

    return rule


def _sigmoid(b: GraphBuilder, x: str, y: str) -> str:
    return b.op("Mul", y, b.op("Sub", b.like(1, y), y))


def _tanh(b: GraphBuilder, x: str, y: str) -> str:
    return b.op("Sub", b.like(1, y), b.op("Mul", y, y))


def _erf(b: GraphBuilder, x: str, y: str) -> str:
    return b.op("Mul", b.like(2 / math.sqrt(math.pi), x), b.op("Exp", b.op("Neg", b.op("Mul", x, x))))


def _unchanged(b: GraphBuilder, x: str, y: str) -> str:
    """Return the slope of Clip: one where a number passes as it is."""
    return b.op("CastLike", b.op("Equal", x, y), y) if b.opset >= 15 else b.op("Sub", b.like(1, y), b.op(
        "Abs", b.op("Sign", b.op("Sub", x, y))))  # fmt: skip


def _leaky(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x = node.inputs[0]
    low = b.op("Mul", g, b.like(node.attributes.get("alpha", 0.01), x))
    return [b.op("Where", b.op("Less", x, b.like(0, x)), low, g)]


def _elu(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x, y = node.inputs[0], node.outputs[0]
    low = b.op("Mul", g, b.op("Add", y, b.like(node.attributes.get("alpha", 1.0), x)))
    return [b.op("Where", b.op("Less", x, b.like(0, x)), low, g)]


def _softmax(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    y = node.outputs[0]
    rank = len(b.shape(y))
    axis = node.attributes.get("axis", -1 if b.opset >= 13 else 1) % rank
    if b.opset < 13 and axis != rank - 1:
        raise NoRule("its axis is not the last one; export the network for opset 13 or later")
    if node.kind == "LogSoftmax":
        return [b.op("Sub", g, b.op("Mul", b.op("Exp", y), b.total(g, [axis])))]
    inner = b.total(b.op("Mul", g, y), [axis])
    return [b.op("Mul", y, b.op("Sub", g, inner))]


def _same(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    return [g, *[None] * (len(node.inputs) - 1)]


def _cast(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    kinds = {np.dtype(np.float32): 1, np.dtype(np.float64): 11, np.dtype(np.float16): 10}
    return [b.op("Cast", g, to=kinds[np.dtype(b.dtype(node.inputs[0]))])]


def _reshape(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x = node.inputs[0]
    return [b.reshaped(g, b.shape(x), x), *[None] * (len(node.inputs) - 1)]


def _transpose(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    rank = len(b.shape(node.inputs[0]))
    order = list(node.attributes.get("perm", range(rank - 1, -1, -1)))
    return [b.op("Transpose", g, perm=[order.index(at) for at in range(rank)])]


def _concat(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    axis = node.attributes["axis"] % len(b.shape(node.outputs[0]))
    sizes = [b.shape(name)[axis] for name in node.inputs]
    found: list[str | None] = []
    start = 0
    for size, on in zip(sizes, need, strict=True):
        if size is None:
            raise NoRule("it joins rows of the batch")
        ends = [b.constant([number], np.int64) for number in (start, start + size, axis)]
        found.append(b.op("Slice", g, *ends) if on else None)
        start += size
    return found


def _gather(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    """Return the gradient of a pick by constant places: a product with a table that has a one at each place."""
    x, places = node.inputs[0], node.known(1)
    shape = b.shape(x)
    axis = node.attributes.get("axis", 0) % len(shape)
    size = shape[axis]
    if places is None or places.ndim > 1 or size is None:
        raise NoRule("it picks from computed values at places that are not constant")
    table = np.zeros((places.size, size))
    table[np.arange(places.size), places.reshape(-1) % size] = 1
    if places.ndim == 0:
        g = b.reshaped(g, (*shape[:axis], 1, *shape[axis + 1 :]))
    order = [at for at in range(len(shape)) if at != axis] + [axis]
    moved = b.op("MatMul", b.op("Transpose", g, perm=order), b.like(table, x))
    return [b.op("Transpose", moved, perm=[order.index(at) for at in range(len(shape))]), None]


def _reduce(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x = node.inputs[0]
    shape = b.shape(x)
    axes = node.attributes.get("axes")
    if axes is None:
        axes = node.known(1) if len(node.inputs) > 1 else range(len(shape))
    if axes is None:
        raise NoRule("its axes are not constant")
    places = sorted({int(axis) % len(shape) for axis in axes})
    sizes = [shape[at] for at in places]
    if any(size is None for size in sizes):
        raise NoRule("it runs over the rows of the batch, so that the answer to a row depends on others")
    kept: tuple[int | None, ...] = tuple(1 if at in places else size for at, size in enumerate(shape))
    g = b.op("Expand", b.reshaped(g, kept), b.op("Shape", x))
    if node.kind == "ReduceMean":
        g = b.op("Mul", g, b.like(1 / math.prod(size or 1 for size in sizes), x))
    return [g, *[None] * (len(node.inputs) - 1)]


def _gemm(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    left, right = node.inputs[:2]
    turned, flipped = (bool(node.attributes.get(name, 0)) for name in ("transA", "transB"))
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    first = second = third = None
    if need[0]:
        parts, flags = ((right, g), (flipped, True)) if turned else ((g, right), (False, not flipped))
        first = b.op("Gemm", *parts, alpha=alpha, transA=int(flags[0]), transB=int(flags[1]))
    if need[1]:
        parts, flags = ((g, left), (True, turned)) if flipped else ((left, g), (not turned, False))
        second = b.op("Gemm", *parts, alpha=alpha, transA=int(flags[0]), transB=int(flags[1]))
    if len(need) > 2 and need[2]:
        third = b.fitted(g, b.shape(node.outputs[0]), node.inputs[2])
        third = third if beta == 1.0 else b.op("Mul", third, b.like(beta, node.inputs[2]))
    return [first, second, third][: len(node.inputs)]


def _matmul(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    left, right = node.inputs
    shapes = b.shape(left), b.shape(right)
    if min(map(len, shapes)) < 2:
        raise NoRule("it multiplies with a vector of rank 1")
    given = b.shape(node.outputs[0])
    first = second = None
    if need[0]:
        whole = b.op("MatMul", g, _turned(b, right, len(shapes[1])))
        first = b.fitted(whole, (*given[:-2], *shapes[0][-2:]), left)
    if need[1] and len(shapes[1]) == 2:
        rows, grads = left, g
        if len(shapes[0]) > 2:
            rows, grads = (b.op("Reshape", part, b.constant([-1, size], np.int64))
                           for part, size in ((left, shapes[0][-1]), (g, given[-1])))  # fmt: skip
        second = b.op("Gemm", rows, grads, transA=1)
    elif need[1]:
        whole = b.op("MatMul", _turned(b, left, len(shapes[0])), g)
        second = b.fitted(whole, (*given[:-2], *shapes[1][-2:]), right)
    return [first, second]


def _turned(b: GraphBuilder, name: str, rank: int) -> str:
    return b.op("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


RULES: dict[str, Rule] = {
    "Add": _add,
    "Cast": _cast,
    "Clip": _unary(_unchanged),
    "Concat": _concat,
    "Div": _div,
    "Dropout": _same,
    "Elu": _elu,
    "Erf": _unary(_erf),
    "Exp": _unary(lambda b, x, y: y),
    "Flatten": _reshape,
    "Gather": _gather,
    "Gemm": _gemm,
    "Identity": _same,
    "LeakyRelu": _leaky,
    "Log": _unary(lambda b, x, y: b.op("Reciprocal", x)),
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": lambda b, node, g, need: [b.op("Neg", g)],
    "Pow": _pow,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Relu": _unary(lambda b, x, y: b.op("Sign", y)),
    "Reshape": _reshape,
    "Sigmoid": _unary(_sigmoid),
    "Softmax": _softmax,
    "Softplus": _unary(lambda b, x, y: b.op("Sigmoid", x)),
    "Sqrt": _unary(lambda b, x, y: b.op("Div", b.like(0.5, y), y)),
    "Squeeze": _reshape,
    "Sub": _add,
    "Tanh": _unary(_tanh),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""Operators on rows of numbers; those on images and sequences are in ``neural_spatial``."""

"""Gradient rules of the operators on images and sequences, and of normalisation.

The gradient of a convolution by its weights is a convolution of its input with the gradient, rows and channels
exchanged; by its input it is a transposed convolution (Dumoulin and Visin, A guide to convolution arithmetic, 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.engines.neural_builder import GraphBuilder
from thalweg.udfs.engines.neural_gradients import NoRule, Operator, Rule

__all__ = ["SPATIAL_RULES"]

_SCATTER_ADDS = 16  # the opset from which ScatterElements can add


class _Window(NamedTuple):
    """How a kernel moves over an image; all sizes one per spatial axis, ``begins`` and ``ends`` are padding."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]
    sizes: list[int]
    given: list[int]

    @property
    def pads(self) -> list[int]:
        return [*self.begins, *self.ends]

    @property
    def left_over(self) -> list[int]:
        """What a transposed convolution has to add behind, where the strides do not divide the image."""
        parts = zip(*self[:6], self.given, strict=True)
        return [size - ((out - 1) * s + (k - 1) * d + 1 - b - e) for k, s, d, b, e, size, out in parts]


def _window(b: GraphBuilder, node: Operator, kernel: Sequence[int]) -> _Window:
    """Return the window of a node, with its padding written out."""
    get = node.attributes.get
    shapes = [b.shape(name)[2:] for name in (node.inputs[0], node.outputs[0])]
    if any(size is None for shape in shapes for size in shape):
        raise NoRule("the size of its image follows the number of rows")
    sizes, given = ([size or 0 for size in shape] for shape in shapes)
    count = len(kernel)
    strides, dilations = (list(get(name, [1] * count)) for name in ("strides", "dilations"))
    pads = list(get("pads", [0] * (2 * count)))
    auto = get("auto_pad", b"NOTSET")
    begins, ends = pads[:count], pads[count:]
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        spans = zip(given, strides, kernel, dilations, sizes, strict=True)
        totals = [max((out - 1) * s + (k - 1) * d + 1 - size, 0) for out, s, k, d, size in spans]
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        begins, ends = (small, large) if auto == b"SAME_UPPER" else (large, small)
    window = _Window(list(kernel), strides, dilations, begins, ends, sizes, given)
    if any(rest < 0 for rest in window.left_over):
        raise NoRule("it rounds the size of its result up (ceil_mode)")
    return window


def _back(b: GraphBuilder, g: str, weights: str, w: _Window, group: int) -> str:
    """Return what a convolution gave, spread over its input; computed unpadded and cut, as a runtime may pad less."""
    rest = w.left_over
    whole = b.op("ConvTranspose", g, weights, strides=w.strides, dilations=w.dilations, group=group,
                 kernel_shape=w.kernel, pads=[0] * (2 * len(rest)))  # fmt: skip
    full = [
        (out - 1) * s + (k - 1) * d + 1 for out, s, k, d in zip(w.given, w.strides, w.kernel, w.dilations, strict=True)
    ]
    if any(rest):
        whole = b.op("Pad", whole, b.constant([0] * (4 + len(rest)) + rest, np.int64))
    if any((*w.begins, *w.ends)):
        ends = [size + more - end for size, more, end in zip(full, rest, w.ends, strict=True)]
        places = [b.constant(part, np.int64) for part in (w.begins, ends, range(2, 2 + len(rest)))]
        whole = b.op("Slice", whole, *places)
    return whole


def _conv(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x, weights = node.inputs[:2]
    shape = b.shape(weights)
    w = _window(b, node, [size or 0 for size in shape[2:]])
    group = int(node.attributes.get("group", 1))
    first = _back(b, g, weights, w, group) if need[0] else None
    second = _conv_weights(b, x, g, w, shape, group) if need[1] else None
    third = None
    if len(need) > 2 and need[2]:
        third = b.total(g, [0, *range(2, len(shape))], keepdims=False)
    return [first, second, third][: len(node.inputs)]


def _conv_weights(b: GraphBuilder, x: str, g: str, w: _Window, shape: tuple[int | None, ...], group: int) -> str:
    outs, channels = (shape[0] or 0) // group, shape[1] or 0
    spatial = list(range(3, 3 + len(w.kernel)))
    places = list(range(2, 2 + len(w.kernel)))
    if group == 1:
        images = b.op("Transpose", x, perm=[1, 0, *places])
        kernels = b.op("Transpose", g, perm=[1, 0, *places])
    else:
        # Rows take the place of channels, group by group: [rows, group, c, ...] becomes [c, group * rows, ...].
        split = b.op("Reshape", x, b.constant([-1, group, channels, *w.sizes], np.int64))
        turned = b.op("Transpose", split, perm=[2, 1, 0, *spatial])
        images = b.op("Reshape", turned, b.constant([channels, -1, *w.sizes], np.int64))
        split = b.op("Reshape", g, b.constant([-1, group, outs, *w.given], np.int64))
        turned = b.op("Transpose", split, perm=[1, 2, 0, *spatial])
        kernels = b.op("Reshape", turned, b.constant([group * outs, -1, *w.given], np.int64))
    found = b.op("Conv", images, kernels, group=group, kernel_shape=w.given, strides=w.dilations,
                 dilations=w.strides, pads=w.pads)  # fmt: skip
    found = b.op("Transpose", found, perm=[1, 0, *places])
    if any(rest > 0 for rest in w.left_over):
        cut = [b.constant(part, np.int64) for part in ([0] * len(w.kernel), w.kernel, places)]
        found = b.op("Slice", found, *cut)
    return found


def _average_pool(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x = node.inputs[0]
    w = _window(b, node, node.attributes["kernel_shape"])
    channels = b.shape(x)[1] or 0
    if any(w.pads) and not node.attributes.get("count_include_pad", 0):
        g = b.op("Div", g, b.like(_counts(w), x))
    else:
        g = b.op("Mul", g, b.like(1 / math.prod(w.kernel), x))
    return [_back(b, g, b.like(np.ones([channels, 1, *w.kernel]), x), w, channels)]


def _counts(w: _Window) -> Any:
    """Return over how many numbers each window averages, the padding left out."""
    counts: Any = np.ones([1, 1])
    for k, s, d, begin, size, out in zip(w.kernel, w.strides, w.dilations, w.begins, w.sizes, w.given, strict=True):
        places = np.arange(out)[:, None] * s - begin + np.arange(k)[None, :] * d
        counts = counts[..., None] * ((places >= 0) & (places < size)).sum(axis=1)
    return counts


def _max_pool(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    if b.opset < _SCATTER_ADDS:
        raise NoRule(f"its gradient needs opset {_SCATTER_ADDS}; export the network for that or later")
    if node.attributes.get("storage_order", 0):
        raise NoRule("its storage order is by columns")
    x = node.inputs[0]
    again = f"{node.outputs[0]}:places"
    # The places of the largest numbers, counted over the whole batch.
    keep = {name: value for name, value in node.attributes.items() if name != "storage_order"}
    b.op("MaxPool", x, **keep)
    b.nodes[-1].output.append(again)
    line = b.constant([-1], np.int64)
    zeros = b.op("Reshape", b.op("Mul", x, b.like(0, x)), line)
    spread = b.op("ScatterElements", zeros, b.op("Reshape", again, line), b.op("Reshape", g, line), axis=0,
                  reduction="add")  # fmt: skip
    return [b.op("Reshape", spread, b.op("Shape", x))]


def _global_average(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    x = node.inputs[0]
    sizes = b.shape(x)[2:]
    if any(size is None for size in sizes):
        raise NoRule("the size of its image follows the number of rows")
    share = b.op("Mul", g, b.like(1 / math.prod(size or 1 for size in sizes), x))
    return [b.op("Expand", share, b.op("Shape", x))]


def _batch_norm(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    """Return the gradients of the inference form, whose mean and variance are constants."""
    x, scale, _, mean, variance = node.inputs
    if need[3] or need[4] or node.attributes.get("training_mode", 0):
        raise NoRule("it is in training form; export the network for inference")
    rank = len(b.shape(x))
    column: tuple[int | None, ...] = (-1, *[1] * (rank - 2))

    def spread(name: str) -> str:
        return b.op("Reshape", name, b.constant(column, np.int64))

    epsilon = b.like(node.attributes.get("epsilon", 1e-5), variance)
    inverse = b.op("Reciprocal", b.op("Sqrt", b.op("Add", variance, epsilon)))
    first = second = third = None
    if need[0]:
        first = b.op("Mul", g, spread(b.op("Mul", scale, inverse)))
    axes = [0, *range(2, rank)]
    if need[1]:
        normal = b.op("Mul", b.op("Sub", x, spread(mean)), spread(inverse))
        second = b.total(b.op("Mul", g, normal), axes, keepdims=False)
    if need[2]:
        third = b.total(g, axes, keepdims=False)
    return [first, second, third, None, None]


def _layer_norm(b: GraphBuilder, node: Operator, g: str, need: Sequence[bool]) -> list[str | None]:
    """As in Ba, Kiros and Hinton, Layer Normalization, 2016."""
    x, scale = node.inputs[:2]
    shape = b.shape(x)
    start = node.attributes.get("axis", -1) % len(shape)
    axes = list(range(start, len(shape)))
    sizes = [shape[at] for at in axes]
    if any(size is None for size in sizes):
        raise NoRule("it runs over the rows of the batch")
    share = b.like(1 / math.prod(size or 1 for size in sizes), x)

    def mean(value: str) -> str:
        return b.op("Mul", b.total(value, axes), share)

    centred = b.op("Sub", x, mean(x))
    spread = b.op("Add", mean(b.op("Mul", centred, centred)), b.like(node.attributes.get("epsilon", 1e-5), x))
    inverse = b.op("Reciprocal", b.op("Sqrt", spread))
    normal = b.op("Mul", centred, inverse)
    found: list[str | None] = [None] * len(node.inputs)
    if need[0]:
        scaled = b.op("Mul", g, scale)
        inner = b.op("Sub", b.op("Sub", scaled, mean(scaled)), b.op("Mul", normal, mean(b.op("Mul", scaled, normal))))
        found[0] = b.op("Mul", inverse, inner)
    if need[1]:
        found[1] = b.fitted(b.op("Mul", g, normal), shape, scale)
    if len(need) > 2 and need[2]:
        found[2] = b.fitted(g, shape, node.inputs[2])
    return found


SPATIAL_RULES: dict[str, Rule] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "GlobalAveragePool": _global_average,
    "LayerNormalization": _layer_norm,
    "MaxPool": _max_pool,
}
"""Rules by operator."""

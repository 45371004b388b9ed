"""What an ONNX file says about itself that the runtime does not tell: class names, known texts, weights elsewhere.

ONNX is a protobuf message; the few fields that are needed are read here from the wire format, so that serving a model
needs no package but the runtime. Field numbers are those of ``onnx.proto`` (https://github.com/onnx/onnx).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Graph", "read_graph"]

_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _FUNCTION_NODE = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS = 1, 3, 8, 9
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSES = (5, 10), (6, 11), (22, 23)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_STRINGS, _TENSOR_INT64S, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 6, 7, 8, 9
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_INT64, _STRING = 7, 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CLASS_ATTRIBUTES = frozenset({b"classlabels_strings", b"classlabels_int64s", b"classlabels_ints"})
_KEY_ATTRIBUTES = frozenset({b"cats_strings", b"keys_strings", b"keys_tensor"})
_PICKS = frozenset({b"ArrayFeatureExtractor", b"Gather"})
_MAX_DEPTH = 50
_MAX_CLASSES = 100_000


class _Node(NamedTuple):
    op: bytes
    inputs: tuple[bytes, ...]
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    axis: int | None


class Graph(NamedTuple):
    """What was read of a model's graph.

    Attributes
    ----------
    external : tuple of str
        Names of tensors whose values lie in another file.
    locations : tuple of str
        Those files, as the model names them.
    producers : dict of bytes to node
        The node behind each value of the main graph.
    lists : dict of bytes to tuple of str
        Constant lists of whole numbers or texts in the main graph; a single one is a list of one.
    """

    external: tuple[str, ...]
    locations: tuple[str, ...]
    producers: dict[bytes, _Node]
    lists: dict[bytes, tuple[str, ...]]

    def classes(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the classes behind ``outputs``, or nothing where the graph does not tell.

        The nearest node upstream decides: a classifier with its class labels, or a pick from a constant list.
        """
        waiting = deque(name.encode() for name in outputs)
        seen = set(waiting)
        while waiting:
            node = self.producers.get(waiting.popleft())
            if node is None:
                continue
            if node.classes:
                return node.classes
            if node.op in _PICKS and node.inputs and node.inputs[0] in self.lists:
                return self.lists[node.inputs[0]]
            waiting.extend(name for name in node.inputs if name not in seen)
            seen.update(node.inputs)
        return ()


def read_graph(data: bytes) -> Graph:
    """Return what the bytes of an ONNX model say about class names and external data.

    Raises
    ------
    ValueError
        The bytes are not a protobuf message with a graph.
    """
    external: list[tuple[str, str]] = []
    producers: dict[bytes, _Node] = {}
    lists: dict[bytes, tuple[str, ...]] = {}
    found = False
    for number, value in _fields(memoryview(data)):
        if number == _MODEL_GRAPH:
            found = True
            _graph(_message(value), external, producers, lists, 0)
        elif number == _MODEL_FUNCTION:
            for inner, part in _fields(_message(value)):
                if inner == _FUNCTION_NODE:
                    _node(_message(part), external, None, 0)
    if not found:
        raise ValueError("there is no graph in it")
    names, locations = ([pair[at] for pair in external] for at in (0, 1))
    return Graph(tuple(names), tuple(locations), producers, lists)


def _graph(
    view: memoryview,
    external: list[tuple[str, str]],
    producers: dict[bytes, _Node] | None,
    lists: dict[bytes, tuple[str, ...]] | None,
    depth: int,
) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    for number, value in _fields(view):
        if number == _GRAPH_NODE:
            _node(_message(value), external, producers, depth)
        elif number == _GRAPH_INITIALIZER:
            _tensor(_message(value), external, lists)
        elif number == _GRAPH_SPARSE:
            _sparse(_message(value), external)


def _node(view: memoryview, external: list[tuple[str, str]], producers: dict[bytes, _Node] | None, depth: int) -> None:
    op = b""
    classes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    axis: int | None = None
    inputs: list[bytes] = []
    outputs: list[bytes] = []
    for number, value in _fields(view):
        if number == _NODE_INPUT:
            inputs.append(bytes(_message(value)))
        elif number == _NODE_OUTPUT:
            outputs.append(bytes(_message(value)))
        elif number == _NODE_OP:
            op = bytes(_message(value))
        elif number == _NODE_ATTRIBUTE:
            name, texts, whole = _attribute(_message(value), external, depth)
            classes = texts if name in _CLASS_ATTRIBUTES and texts else classes
            keys = texts if name in _KEY_ATTRIBUTES and texts else keys
            axis = whole if name == b"axis" else axis
    if producers is not None:
        producers.update(dict.fromkeys(outputs, _Node(op, tuple(inputs), classes, keys, axis)))


def _attribute(
    view: memoryview, external: list[tuple[str, str]], depth: int
) -> tuple[bytes, tuple[str, ...], int | None]:
    """Return name, list of texts or whole numbers, and whole number of an attribute."""
    name = b""
    whole: int | None = None
    values: list[str] = []
    for number, value in _fields(view):
        if number == _ATTRIBUTE_NAME:
            name = bytes(_message(value))
        elif number == _ATTRIBUTE_INT and isinstance(value, int):
            whole = _signed(value)
        elif number == _ATTRIBUTE_STRINGS and len(values) < _MAX_CLASSES:
            values.append(bytes(_message(value)).decode("utf-8", "replace"))
        elif number == _ATTRIBUTE_INTS and len(values) < _MAX_CLASSES:
            values.extend(map(str, _integers(value)))
        elif number in _ATTRIBUTE_TENSORS:
            lists: dict[bytes, tuple[str, ...]] | None = {} if name in _KEY_ATTRIBUTES else None
            _tensor(_message(value), external, lists)
            values.extend(text for found in (lists or {}).values() for text in found)
        elif number in _ATTRIBUTE_GRAPHS:
            _graph(_message(value), external, None, None, depth + 1)
        elif number in _ATTRIBUTE_SPARSES:
            _sparse(_message(value), external)
    if name in _KEY_ATTRIBUTES and len(values) >= _MAX_CLASSES:  # half of what an encoder knows is of no use
        values.clear()
    return name, tuple(values), whole


def _sparse(view: memoryview, external: list[tuple[str, str]]) -> None:
    for number, value in _fields(view):
        if number in (1, 2):  # its values, its indices
            _tensor(_message(value), external, None)


def _tensor(view: memoryview, external: list[tuple[str, str]], lists: dict[bytes, tuple[str, ...]] | None) -> None:
    name, raw, location = b"", b"", ""
    kind = dimensions = 0
    outside = False
    values: list[str] = []
    for number, value in _fields(view):
        if number == _TENSOR_NAME:
            name = bytes(_message(value))
        elif number == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif number == _TENSOR_DIMS:
            dimensions += len(_integers(value))
        elif number == _TENSOR_EXTERNAL:
            entry = {at: bytes(_message(part)) for at, part in _fields(_message(value))}
            if entry.get(1) == b"location":
                location = entry.get(2, b"").decode("utf-8", "replace")
        elif number == _TENSOR_LOCATION and value == 1:
            outside = True
        elif lists is not None and len(values) < _MAX_CLASSES:
            if number == _TENSOR_STRINGS:
                values.append(bytes(_message(value)).decode("utf-8", "replace"))
            elif number == _TENSOR_INT64S:
                values.extend(map(str, _integers(value)))
            elif number == _TENSOR_RAW and kind == _INT64 and len(_message(value)) <= 8 * _MAX_CLASSES:
                raw = bytes(_message(value))
    if outside:
        external.append((name.decode("utf-8", "replace"), location))
    if lists is not None and dimensions <= 1 and kind in (_INT64, _STRING):
        values = values or [str(number) for (number,) in struct.iter_unpack("<q", raw[: len(raw) // 8 * 8])]
        if values:
            lists[name] = tuple(values)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a field in it has another type than ONNX gives it")
    return value


def _integers(value: int | memoryview) -> list[int]:
    """Return a repeated whole number, which may come one by one or packed."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message; fixed-width numbers, which are not needed, are left out."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield number, value
        elif wire == _BYTES:
            length, at = _varint(view, at)
            if length > end - at:
                raise ValueError("it ends too early")
            yield number, view[at : at + length]
            at += length
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("it is not a protobuf message")
    if at > end:
        raise ValueError("it ends too early")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise ValueError("it ends too early")
        byte = view[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7

"""Which texts the encoders of a model know, so that those they have never seen can be counted.

A text that its encoder does not know is scored all the same, as "none of them": nothing but a count tells that the data
have moved away from what the model was trained on. The encoders are those of the ``ai.onnx.ml`` operators
(https://onnx.ai/onnx/operators): OneHotEncoder, LabelEncoder and CategoryMapper, fed from an input as it is, or
through a choice of columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.udfs.engines.onnx_graph import Graph

__all__ = ["Vocabulary"]

_ENCODERS = frozenset({b"OneHotEncoder", b"LabelEncoder", b"CategoryMapper"})
_SAME = frozenset({b"Identity", b"Reshape", b"Flatten", b"Squeeze", b"Unsqueeze"})
_TEXT = "tensor(string)"
_MAX_DEPTH = 50
_MOST = 10_000  # columns; beyond that a graph only says that it has them
_PLACE = re.compile(r"-?[0-9]{1,9}")


class Vocabulary:
    """The texts that a model knows, by input and column.

    Parameters
    ----------
    graph : Graph
        The model's graph.
    inputs : sequence of onnxruntime.NodeArg
        The model's inputs.

    Attributes
    ----------
    known : dict of (str, int) to frozenset of str
        Per input and column of it; a column is not there if no encoder of it can be read. What one of several encoders
        of a column does not know is not known.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Any]) -> None:
        widths = {node.name.encode(): _width(node) for node in inputs if node.type == _TEXT}
        columns = _Columns(graph, widths)
        self.known: dict[tuple[str, int], frozenset[str]] = {}
        for node in graph.producers.values():
            if node.op in _ENCODERS and node.keys and node.inputs:
                keys = frozenset(node.keys)
                for column in columns.of(node.inputs[0]):
                    self.known[column] = self.known.get(column, keys) & keys

    def unseen(self, arrays: Mapping[str, Any]) -> int:
        """Return how many texts among what a model is fed its encoders do not know.

        Parameters
        ----------
        arrays : mapping of str to ndarray of object
            The rows by input, [rows] or [rows, width].
        """
        count = 0
        for (name, at), keys in self.known.items():
            array = arrays[name]
            texts = (array if array.ndim == 1 else array[:, at]).tolist()
            # Few different texts, many rows: the set first.
            if strange := set(texts) - keys:
                count += sum(text in strange for text in texts)
        return count


class _Columns:
    """Which columns of the inputs a value of a graph is made of; each value is looked at once, however often used.

    Parameters
    ----------
    graph : Graph
        The model's graph.
    widths : mapping of bytes to int
        Columns of the inputs of texts, by name.
    """

    def __init__(self, graph: Graph, widths: Mapping[bytes, int]) -> None:
        self._graph, self._widths = graph, widths
        self._known: dict[bytes, list[tuple[str, int]]] = {}

    def of(self, value: bytes, depth: int = 0) -> list[tuple[str, int]]:
        """Return the columns in order; nothing where it cannot be told, or there are more than a table has."""
        if value not in self._known:
            found = self._found(value, depth)
            self._known[value] = found if len(found) <= _MOST else []
        return self._known[value]

    def _found(self, value: bytes, depth: int) -> list[tuple[str, int]]:
        if value in self._widths:
            return [(value.decode("utf-8", "replace"), at) for at in range(min(self._widths[value], _MOST + 1))]
        node = self._graph.producers.get(value)
        if node is None or not node.inputs or depth > _MAX_DEPTH:
            return []
        found = self.of(node.inputs[0], depth + 1)
        if node.op in _SAME:  # with one column nothing can change places
            return found if len(found) == 1 else []
        if node.op == b"Concat" and node.axis in (1, -1):
            columns: list[tuple[str, int]] = []
            for part in node.inputs:
                columns += (more := self.of(part, depth + 1))
                if not more or len(columns) > _MOST:
                    return []
            return columns
        picks_columns = node.op == b"ArrayFeatureExtractor" or (node.op == b"Gather" and node.axis in (1, -1))
        if picks_columns and len(node.inputs) == 2:
            texts = self._graph.lists.get(node.inputs[1], ())
            places = [int(text) for text in texts if _PLACE.fullmatch(text)]
            if places and all(-len(found) <= at < len(found) for at in places):
                return [found[at] for at in places]
        return []


def _width(node: Any) -> int:
    """Return how many columns an input has; 0 where it does not say."""
    if len(node.shape) == 1:
        return 1
    return node.shape[1] if len(node.shape) == 2 and isinstance(node.shape[1], int) else 0

"""Which texts the encoders of a model know, so that those they have never seen can be counted.

A text that its encoder does not know is scored all the same, as "none of them": nothing but a count tells that the data
have moved away from what the model was trained on. The encoders are those of the ``ai.onnx.ml`` operators
(https://onnx.ai/onnx/operators): OneHotEncoder, LabelEncoder and CategoryMapper, fed from an input as it is, or
through a choice of columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.udfs.engines.onnx_graph import Graph

__all__ = ["Vocabulary"]

_ENCODERS = frozenset({b"OneHotEncoder", b"LabelEncoder", b"CategoryMapper"})
_SAME = frozenset({b"Identity", b"Reshape", b"Flatten", b"Squeeze", b"Unsqueeze"})
_TEXT = "tensor(string)"
_MAX_DEPTH = 50

_Columns = list[tuple[str, int]]


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
        self.known: dict[tuple[str, int], frozenset[str]] = {}
        for node in graph.producers.values():
            if node.op in _ENCODERS and node.keys and node.inputs:
                keys = frozenset(node.keys)
                for column in _columns(node.inputs[0], graph, widths, 0):
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


def _columns(value: bytes, graph: Graph, widths: Mapping[bytes, int], depth: int) -> _Columns:
    """Return which columns of the inputs a value is made of, in order; nothing where it cannot be told."""
    if value in widths:
        return [(value.decode("utf-8", "replace"), at) for at in range(widths[value])]
    node = graph.producers.get(value)
    if node is None or not node.inputs or depth > _MAX_DEPTH:
        return []
    found = _columns(node.inputs[0], graph, widths, depth + 1)
    if node.op in _SAME:  # with one column nothing can change places
        return found if len(found) == 1 else []
    if node.op == b"Concat" and node.axis in (1, -1):
        parts = [_columns(part, graph, widths, depth + 1) for part in node.inputs]
        return [column for part in parts for column in part] if all(parts) else []
    picks_columns = node.op == b"ArrayFeatureExtractor" or (node.op == b"Gather" and node.axis in (1, -1))
    if picks_columns and len(node.inputs) == 2:
        places = [int(text) for text in graph.lists.get(node.inputs[1], ()) if text.lstrip("-").isdecimal()]
        return [found[at] for at in places] if places and all(-len(found) <= at < len(found) for at in places) else []
    return []


def _width(node: Any) -> int:
    """Return how many columns an input has; 0 where it does not say."""
    if len(node.shape) == 1:
        return 1
    return node.shape[1] if len(node.shape) == 2 and isinstance(node.shape[1], int) else 0

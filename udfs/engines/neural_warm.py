"""Takes the weights of one network out of the file of another one that is built alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import numpy_helper
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.neural_network import normalised
from thalweg.udfs.engines.neural_plan import NeuralPlan
from thalweg.udfs.engines.neural_weights import Layout

__all__ = ["layout_of_file"]

_PROBABILITIES = "_probability"  # how the node is called that gives them where a file gives the numbers before them


def layout_of_file(plan: NeuralPlan, data: bytes) -> Layout:
    """Return the weights that are trained, with first values from an ONNX file.

    Parameters
    ----------
    plan : NeuralPlan
        Of a network from a file.
    data : bytes
        Another file with the same graph: the same operators, settings and sizes in the same order, whatever the names.

    Raises
    ------
    SnapshotError
        It is another graph, or differs in a weight that is not trained.
    ConfigError
        It is no ONNX model.
    """
    if plan.text is not None:
        raise SnapshotError("a network from text needs its scaling and vocabulary too, which a snapshot has.")
    old, new = plan.network.model.graph, normalised(data, "the file").graph
    nodes = list(old.node)
    if len(nodes) == len(new.node) + 1 and nodes[-1].name.endswith(_PROBABILITIES):
        nodes.pop()
    kept, found = _constants(old), _constants(new)
    alike = {one.name: other.name for one, other in zip(old.input, new.input, strict=False)}
    if len(old.input) != len(new.input) or len(nodes) != len(new.node):
        raise _differs(f"it has {len(new.input)} inputs and {len(new.node)} nodes", len(old.input), len(nodes))
    for one, other in zip(nodes, new.node, strict=True):
        same = (one.op_type, one.domain, _settings(one)) == (other.op_type, other.domain, _settings(other))
        if not same or len(one.input) != len(other.input) or len(one.output) != len(other.output):
            raise _differs(f"its node '{other.name}' is {_told(other)}", _told(one))
        for name, theirs in zip(one.input, other.input, strict=True):
            constant = name in kept and theirs in found and _kind(kept[name]) == _kind(found[theirs])
            if (name in kept or name == theirs == "") and alike.setdefault(name, theirs) == theirs:
                if constant or not name:
                    continue
            elif name not in kept and alike.get(name) == theirs:
                continue
            raise _differs(f"its node '{other.name}' takes '{theirs}'", f"'{name}' there")
        alike.update(zip(one.output, other.output, strict=True))
    trained = {name for name, _ in (*plan.layout.dense, *plan.layout.tables)}
    for name, value in kept.items():
        if name in alike and name not in trained and not np.array_equal(value, found[alike[name]], equal_nan=True):
            raise SnapshotError(f"it differs in '{name}', which is not trained here ('trainable').")
    dense, tables = (
        tuple((name, found[alike[name]]) for name, _ in part) for part in (plan.layout.dense, plan.layout.tables)
    )
    return plan.layout._replace(dense=dense, tables=tables)


def _constants(graph: Any) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _kind(array: Any) -> tuple[Any, ...]:
    return array.dtype, array.shape


def _settings(node: Any) -> Mapping[str, bytes]:
    return {entry.name: entry.SerializeToString(deterministic=True) for entry in node.attribute}


def _told(node: Any) -> str:
    return f"{node.op_type} ({', '.join(entry.name for entry in node.attribute) or 'no settings'})"


def _differs(what: str, *wanted: Any) -> SnapshotError:
    return SnapshotError(f"its graph is not that of 'model': {what}; {' and '.join(map(str, wanted))} are wanted.")

"""From the forward graph of a network to the graph that also learns: one call gives answers and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.neural_builder import GraphBuilder
from thalweg.udfs.engines.neural_gradients import RULES, NoRule, Operator
from thalweg.udfs.engines.neural_losses import Head, Loss
from thalweg.udfs.engines.neural_network import Network
from thalweg.udfs.engines.neural_spatial import SPATIAL_RULES

__all__ = ["SHARE", "SUPPORTED", "TARGET", "LearningGraph", "derive", "learning_graph", "with_weights_as_inputs"]

TARGET, SHARE = "thalweg:target", "thalweg:share"
"""Inputs of the graph that learns: the truth, [rows, width], and each row's part in the mean, [rows, 1]."""

_RULES = {**RULES, **SPATIAL_RULES}
SUPPORTED = tuple(sorted(_RULES))
"""Operators that can be learned through."""
_FLOATS = (np.float32, np.float64)


class LearningGraph(NamedTuple):
    """A graph that answers and gives gradients.

    Attributes
    ----------
    data : bytes
        The model; its inputs are those of the network, the weights, ``TARGET`` and ``SHARE``.
    dense : tuple of str
        Weights whose gradients are the pieces of the output ``gradient``, in its order.
    gradient : str or None
        All of these in one row; None where there are none.
    tables : tuple of str
        Embedding tables.
    touched : tuple of (str, str)
        Per use of a table, in the order of ``uses``: outputs with the places of its rows, and their gradients.
    uses : tuple of int
        Which table.
    """

    data: bytes
    dense: tuple[str, ...]
    gradient: str | None
    tables: tuple[str, ...]
    touched: tuple[tuple[str, str], ...]
    uses: tuple[int, ...]

    @property
    def outputs(self) -> list[str]:
        """The outputs of the backward pass, in the order in which they are to be asked for."""
        return [*([self.gradient] if self.gradient else []), *(name for pair in self.touched for name in pair)]


def learning_graph(network: Network, head: Head, loss: Loss, weights: Sequence[str], where: str) -> LearningGraph:
    """Add loss, backward pass and outputs to a network.

    Parameters
    ----------
    network : Network
        The forward pass.
    head : Head
        Where it answers.
    loss : Loss
        What is to fall.
    weights : sequence of str
        What is trained.
    where : str
        Names the model in errors.

    Raises
    ------
    ConfigError
        Operators between the weights and the answer that have no gradient here; names each of them.
    """
    b = GraphBuilder(network.opset, network.shapes, network.dtypes)
    rank = len(network.shapes[head.raw])
    target, share = (
        b.op("Reshape", name, b.constant([-1], np.int64)) if rank == 1 else name for name in (TARGET, SHARE)
    )
    seed = loss.gradient(b, head, target, share)
    dense, picked = derive(b, network, head.raw, seed, weights, where)
    line = b.constant([-1], np.int64)
    lines = [
        dense[name] if network.constants[name].ndim == 1 else b.op("Reshape", dense[name], line)
        for name in weights
        if name in dense
    ]
    gradient = b.op("Concat", *lines, axis=0) if lines else None
    touched, uses = [], []
    tables = tuple(name for name in weights if name in picked)
    for number, table in enumerate(tables):
        width = network.constants[table].shape[1]
        for places, part in picked[table]:
            rows = b.op("Reshape", b.op("Cast", places, to=TensorProto.INT64), b.constant([-1], np.int64))
            touched.append((rows, b.op("Reshape", part, b.constant([-1, width], np.int64))))
            uses.append(number)
    model = with_weights_as_inputs(network.model, weights)
    kind = TensorProto.DOUBLE if network.dtypes[head.raw] == np.float64 else TensorProto.FLOAT
    for name, width in ((TARGET, head.width), (SHARE, 1)):
        model.graph.input.append(helper.make_tensor_value_info(name, kind, ["n", width]))
    model.graph.node.extend(b.nodes)
    model.graph.initializer.extend(b.initializers)
    made = LearningGraph(
        b"", tuple(name for name in weights if name in dense), gradient, tables, tuple(touched), tuple(uses)
    )
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made.outputs)
    return made._replace(data=model.SerializeToString())


def with_weights_as_inputs(model: Any, weights: Sequence[str]) -> Any:
    """Return a copy of a model whose weights are inputs."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    return copy


def derive(
    b: GraphBuilder, network: Network, value: str, seed: str, weights: Sequence[str], where: str
) -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    """Add the backward pass from ``value`` to the weights.

    Parameters
    ----------
    b : GraphBuilder
        Is added to.
    network : Network
        The forward pass.
    value, seed : str
        Where to begin, and the gradient there.
    weights : sequence of str
        Where to end.
    where : str
        Names the model in errors.

    Returns
    -------
    dict of str to str
        Names of the gradients, by weight.
    dict of str to list of (str, str)
        Of embedding tables, per use, the places of the rows and their gradients.

    Raises
    ------
    ConfigError
        Names every operator without a gradient.
    """
    path = network.upstream(value)
    live = set(weights)
    for operator in path:
        if live.intersection(operator.inputs):
            live.update(name for name in operator.outputs if network.dtypes.get(name) in _FLOATS)
    tables = _tables(network, path, weights)
    found: dict[str, list[str]] = {value: [seed]}
    picked: dict[str, list[tuple[str, str]]] = {}
    problems = []
    for operator in reversed(path):
        if operator.outputs[0] not in found or not live.intersection(operator.inputs):
            continue
        gradient = _sum(b, found[operator.outputs[0]])
        if operator.inputs[0] in tables:
            picked.setdefault(operator.inputs[0], []).append((operator.inputs[1], gradient))
            continue
        need = [name in live for name in operator.inputs]
        try:
            parts = _differentiate(b, operator, gradient, need)
        except NoRule as problem:
            problems.append(_no_gradient(where, operator, str(problem)))
            parts = [gradient if on else None for on in need]  # goes on, to name all of them at once
        for name, part in zip(operator.inputs, parts, strict=True):
            if part is not None and name in live:
                found.setdefault(name, []).append(part)
    if problems:
        raise ConfigError(problems)
    return {name: _sum(b, found[name]) for name in weights if name in found}, picked


def _differentiate(b: GraphBuilder, operator: Operator, gradient: str, need: Sequence[bool]) -> Sequence[str | None]:
    rule = _RULES.get(operator.kind)
    if rule is None:
        raise NoRule("")
    return rule(b, operator, gradient, need)


def _no_gradient(where: str, operator: Operator, why: str) -> Problem:
    name = f"{where}, node '{operator.name}'"
    if why:
        return Problem(name, f"the operator {operator.kind} cannot be learned through: {why}.", "Export it otherwise.")
    what = f"the operator {operator.kind} lies between weights and answer and cannot be learned through."
    return Problem(name, what, f"Supported: {', '.join(SUPPORTED)}; or train less of it with 'trainable'.")


def _tables(network: Network, path: Sequence[Operator], weights: Sequence[str]) -> set[str]:
    """Return the weights that nothing does but pick rows: their gradients stay rows."""
    uses: Mapping[str, list[Operator]] = {name: [] for name in weights}
    for operator in path:
        for name in operator.inputs:
            if name in uses:
                uses[name].append(operator)
    return {
        name
        for name, users in uses.items()
        if users
        and network.constants[name].ndim == 2
        and all(
            user.kind == "Gather" and user.inputs[0] == name and user.attributes.get("axis", 0) == 0 for user in users
        )
    }


def _sum(b: GraphBuilder, parts: list[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = b.op("Add", total, part)
    parts[:] = [total]
    return total

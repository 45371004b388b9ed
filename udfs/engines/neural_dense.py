"""Finds out whether a network is a chain of dense layers, and runs such a one in machine code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.engines.neural_dense_kernel import run
from thalweg.udfs.engines.neural_gradients import Operator
from thalweg.udfs.engines.neural_losses import Head, Loss
from thalweg.udfs.engines.neural_network import Network
from thalweg.udfs.engines.neural_weights import Layout, Training, Weights

__all__ = ["DenseLoop", "DensePlan", "dense_plan"]

_ACTIVATIONS = {"Relu": 1, "LeakyRelu": 2, "Elu": 3, "Sigmoid": 4, "Tanh": 5}
_SLOPES = {"LeakyRelu": 0.01, "Elu": 1.0}
_SAME = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze"})
_LINKS = {"none": 0, "sigmoid": 1, "softmax": 2}
_LOSSES = {"huber": 1, "quantile": 2}
_OPTIMISERS = ("sgd", "momentum", "adam", "adagrad", "ftrl")
_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


class DensePlan(NamedTuple):
    """A chain of dense layers, as the loop reads it.

    Attributes
    ----------
    value : str
        Where it answers.
    numbers : str or None
        The input with numbers.
    columns : tuple of str
        The inputs with places of rows of tables, in the order in which these lie in the first layer's input.
    mask : str or None
        The input that is added before the softmax.
    width : int
        Numbers per answer.
    layers, tables, codes, settings : ndarray
        As ``neural_dense_kernel.run`` takes them; the last of ``settings`` is filled in by ``DenseLoop``.
    """

    value: str
    numbers: str | None
    columns: tuple[str, ...]
    mask: str | None
    width: int
    layers: Any
    tables: Any
    codes: Any
    settings: Any


def dense_plan(network: Network, head: Head, loss: Loss, layout: Layout, training: Training) -> DensePlan | None:
    """Return the plan of a network all of whose layers are dense and trained; None for any other."""
    if head.link not in _LINKS or network.shapes[head.raw][0] is not None:
        return None
    chain = _Chain(network, layout)
    value, mask = head.raw, None
    behind = network.producers.get(value)
    if head.link == "softmax" and behind is not None and behind.kind == "Add" and chain.fed(behind.inputs[1]):
        value, mask = behind.inputs
    if not chain.read(value):
        return None
    optimiser = training.optimiser
    own = {"momentum": optimiser.momentum, "ftrl": optimiser.l2}.get(optimiser.name, 0.0)
    settings = [*chain.slopes[::-1], loss.number, own, training.clip, training.l2, 0.0]
    codes = [_LINKS[head.link], _LOSSES.get(loss.name, 0), _OPTIMISERS.index(optimiser.name)]
    first = chain.layers[-1][0] - sum(width for _, width in chain.tables)
    widths = [first, *(width for _, width in chain.tables)]
    tables = [[*table, sum(widths[: at + 1])] for at, table in enumerate(chain.tables)]
    return DensePlan(
        head.value, chain.numbers, tuple(chain.columns), mask, head.width,
        np.array(chain.layers[::-1], np.int64), np.array(tables, np.int64).reshape(-1, 3),
        np.array(codes, np.int64), np.array(settings, np.float32),
    )  # fmt: skip


class _Chain:
    """Walks from the answer to the inputs; what it meets is noted, the last layer first."""

    def __init__(self, network: Network, layout: Layout) -> None:
        self._network = network
        self._places = _offsets(layout.dense)
        self._pool = _offsets(layout.tables)
        self._unused = {*self._places, *self._pool}
        self.layers: list[list[int]] = []
        self.slopes: list[float] = []
        self.numbers: str | None = None
        self.columns: list[str] = []
        self.tables: list[list[int]] = []

    def fed(self, value: str) -> bool:
        """Return whether a value is an input of the network."""
        return value not in self._network.producers and value not in self._network.constants

    def read(self, value: str) -> bool:
        """Return whether everything up to the inputs is dense, and every trained weight is met once."""
        while (found := self._layer(value)) is not None:
            value = found
        return bool(self.layers) and self._inputs(value) and not self._unused

    def _behind(self, value: str) -> Operator | None:
        """Return what gives a value, past operators that leave each row's numbers as they are."""
        shapes = self._network.shapes
        while (node := self._network.producers.get(value)) is not None and node.kind in _SAME:
            inner = shapes.get(node.inputs[0], ())
            if len(inner) not in (1, 2) or inner[0] is not None or inner[1:] not in ((), shapes[value][1:], (1,)):
                return None
            if inner[1:] != shapes[value][1:] and self._width(inner) != self._width(shapes[value]):
                return None
            value = node.inputs[0]
        return node

    @staticmethod
    def _width(shape: Sequence[int | None]) -> int | None:
        return 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else None

    def _layer(self, value: str) -> str | None:
        node, kind, slope = self._behind(value), 0, 0.0
        if node is not None and node.kind in _ACTIVATIONS:
            kind = _ACTIVATIONS[node.kind]
            slope = float(node.attributes.get("alpha", _SLOPES.get(node.kind, 0.0)))
            node = self._behind(node.inputs[0])
        bias = None
        if node is not None and node.kind == "Add":
            bias = next((name for name in node.inputs if name in self._places), None)
            other = next((name for name in node.inputs if name not in self._places), "")
            node = self._behind(other) if bias is not None else None
            if node is not None and node.kind != "MatMul":
                return None
        if node is None or node.kind not in ("Gemm", "MatMul") or slope < 0:
            return None
        if any(node.attributes.get(name, value) != value for name, value in _PLAIN.items()):
            return None
        if len(node.inputs) == 3 and node.inputs[2]:
            bias = node.inputs[2]
        weight, constants = node.inputs[1], self._network.constants
        if weight not in self._places or constants[weight].ndim != 2 or bias not in {None, *self._places}:
            return None
        turned = bool(node.attributes.get("transB", 0))
        inputs, outputs = constants[weight].shape[:: -1 if turned else 1]
        if bias is not None and constants[bias].size != outputs:
            return None
        at = -1 if bias is None else self._places[bias]
        self.layers.append([inputs, outputs, self._places[weight], at, int(turned), kind])
        self.slopes.append(slope)
        self._unused -= {weight, bias or weight}
        return node.inputs[0]

    def _inputs(self, value: str) -> bool:
        node = self._network.producers.get(value)
        parts = node.inputs if node is not None and node.kind == "Concat" else (value,)
        if node is not None and node.kind == "Concat" and node.attributes.get("axis") not in (1, -1):
            return False
        for part in parts:
            pick = self._network.producers.get(part)
            if pick is None and self.fed(part) and self.numbers is None and not self.columns:
                if self._network.dtypes[part] != np.float32 or len(self._network.shapes[part]) != 2:
                    return False
                self.numbers = part
            elif pick is not None and pick.kind == "Gather" and pick.inputs[0] in self._pool:
                if not self.fed(pick.inputs[1]) or len(self._network.shapes[pick.inputs[1]]) != 1:
                    return False
                table = pick.inputs[0]
                self.columns.append(pick.inputs[1])
                self.tables.append([self._pool[table], self._network.constants[table].shape[1]])
                self._unused.discard(table)
            else:
                return False
        return len(self.columns) == len(self._pool)


class DenseLoop:
    """Answers and steps of one network by machine code.

    Parameters
    ----------
    plan : DensePlan
        The network.
    weights : Weights
        Its weights, which are moved in place.
    """

    def __init__(self, plan: DensePlan, weights: Weights) -> None:
        self._plan, self._weights = plan, weights
        self._arrays = weights.arrays
        self._settings = plan.settings.copy()
        self._settings[-1] = weights.limit
        self._none = np.zeros((1, plan.width), np.float32)
        self._no_mask = np.zeros(plan.width, np.float32)
        self._no_rates = np.zeros(1)
        self._alone = self._empty(1)

    def _empty(self, count: int) -> tuple[Any, Any, Any]:
        """Return room for answers, no numbers, and room for places; that of one row is used again by the next call."""
        width, columns = self._plan.width, len(self._plan.columns)
        return (
            np.empty((count, width), np.float32),
            np.empty((count, 0), np.float32),
            np.empty((count, columns), np.int64),
        )

    def answers(self, feeds: Mapping[str, Any], count: int, constants: Mapping[str, Any]) -> Any:
        """Return the network's answers, [rows, width]; those to one row hold until the next call."""
        return self._run(0, feeds, count, self._none, constants, self._no_rates)[0]

    def learn(self, feeds: Mapping[str, Any], targets: Any, batch: int, constants: Mapping[str, Any]) -> Any:
        """Make one step on each ``batch`` rows, and return the answers that were given before it.

        Parameters
        ----------
        feeds : mapping of str to ndarray
            What the network is fed.
        targets : ndarray of float32, [rows, width]
            The truth.
        batch : int
            Rows of a step.
        constants : mapping of str to ndarray
            What it is fed whatever the rows.
        """
        steps = -(-len(targets) // batch)
        rates = self._weights.rates(steps)
        out, sound = self._run(batch, feeds, len(targets), targets, constants, rates)
        self._weights.moved(steps, sound)
        return out

    def _run(
        self, batch: int, feeds: Mapping[str, Any], count: int, targets: Any, constants: Mapping[str, Any], rates: Any
    ) -> tuple[Any, bool]:
        plan = self._plan
        out, none, places = self._alone if count == 1 else self._empty(count)
        numbers = feeds[plan.numbers] if plan.numbers is not None else none
        for at, name in enumerate(plan.columns):
            places[:, at] = feeds[name]
        mask = self._no_mask if plan.mask is None else constants[plan.mask]
        sound = run(
            batch, plan.layers, plan.tables, plan.codes, self._settings, numbers, places, targets, out, mask,
            *self._arrays, rates, self._weights.steps,
        )  # fmt: skip
        return out, sound


def _offsets(arrays: Sequence[tuple[str, Any]]) -> dict[str, int]:
    found, at = {}, 0
    for name, array in arrays:
        found[name] = at
        at += array.size
    return found

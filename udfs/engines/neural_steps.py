"""Runs the graphs of a plan: answers for some rows, and one step of learning on a mini-batch.

Why it is done so, measured on a network 30-64-32-1 with SGD, one row a step, on one of two cores: the textbook's step
in plain NumPy takes 37 µs, and is one network's; forward and backward pass in one call of the runtime take 22 µs, and
15 where inputs and outputs stay in their places. Weights are moved by NumPy, outside the graph: all dense ones lie in
one row (3 µs), and a table of embeddings is fed as it lies, so that a step costs the rows it touches. As outputs of
the graph they would be copied whole at every step. A chain of dense layers needs no graph: machine code answers, learns
and moves its weights in 5 µs; with five tables of embeddings it is fifteen times as fast as the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from thalweg.udfs.engines.base import Score
from thalweg.udfs.engines.neural_codec import Codec
from thalweg.udfs.engines.neural_dense import DenseLoop
from thalweg.udfs.engines.neural_graph import SHARE, TARGET
from thalweg.udfs.engines.neural_plan import NeuralPlan
from thalweg.udfs.engines.neural_weights import Weights
from thalweg.udfs.engines.onnx_outputs import refused

__all__ = ["Steps", "joined"]

_BLOCK = 4  # rows: what is left over, the runtime multiplies by another routine, with other last bits
_RUNTIME_FROM = 16  # rows from which the runtime's products of matrices are faster than the loop of dense networks
_ALONE = {size: np.eye(size, 1, dtype=np.float32) for size in (1, _BLOCK)}


class Steps:
    """The two things that are done with a network.

    Parameters
    ----------
    plan : NeuralPlan
        Graphs and sessions.
    codec : Codec
        Reads the outputs.
    weights : Weights
        Are fed to the graphs, and moved.
    """

    def __init__(self, plan: NeuralPlan, codec: Codec, weights: Weights) -> None:
        self._plan, self._codec, self._weights = plan, codec, weights
        self._gradients = plan.graph.outputs
        self._all = [*codec.names, *self._gradients]
        self._asked = len(codec.names)
        self._copies = _BLOCK if plan.batch is None else 1
        self._wide = plan.network.dtypes[plan.head.raw] == np.float64
        self.whole = plan.batch in (None, 1)
        plain = all(part.dtype != object for part in plan.row.values())
        self._may_bind = self.whole and plain and not plan.graph.tables
        self._bound: tuple[dict[str, Any], Any, Callable[[], None]] | None = None
        dense = plan.dense
        plain = dense is not None and [plan.network.root(name) for name in codec.names] == [dense.value]
        self._loop = DenseLoop(dense, weights) if dense is not None and plain else None

    def answers(self, feeds: dict[str, Any], count: int) -> list[Score]:
        """Return one answer per row; a row that fails inside the model is refused and leaves the others theirs."""
        try:
            return self._answers(feeds, count)
        except Exception as error:
            if count == 1:
                return [refused(f"the model cannot score this row ({error})"[:500])]
        return [self.answers(_cut(feeds, at, at + 1), 1)[0] for at in range(count)]

    def _answers(self, feeds: dict[str, Any], count: int) -> list[Score]:
        if self._loop is not None:
            return self._codec.scores([self._loop.answers(feeds, count, self._codec.constants())], count)
        found: list[Score] = []
        size = self._plan.batch or -(-count // _BLOCK) * _BLOCK
        for start in range(0, count, size):
            some = min(size, count - start)
            given = _padded(_cut(feeds, start, start + some), some, size)
            raw = self._plan.scoring.call(self._codec.names, self._fed(given))
            found += self._codec.scores(_first(raw, some, size), some)
        return found

    def one(self, taken: Any, target: Any, ask: bool) -> Score | None:
        """Make a step on one row, and return what the model answered before it where ``ask`` says so.

        Raises
        ------
        Exception
            What the runtime raises on a row that the network cannot take; no weight has moved.
        """
        if self._loop is not None:
            raw = self._loop.learn(self._codec.feeds([taken]), target, 1, self._codec.constants())
            return self._codec.scores([raw], 1)[0] if ask else None
        copies = self._copies
        if not ask and self._may_bind:
            self._one_in_place(taken, target)
            return None
        given = {name: part.repeat(copies, axis=0) for name, part in self._codec.feeds([taken]).items()}
        given = self._fed(given)
        given[TARGET], given[SHARE] = self._typed(target.repeat(copies, axis=0)), self._typed(_ALONE[copies])
        if not ask:
            self._move([self._plan.learning.call(self._gradients, given)])
            return None
        raw = self._plan.learning.call(self._all, given)
        score = self._codec.scores(_first(raw[: self._asked], 1, copies), 1)[0]
        self._move([raw[self._asked :]])
        return score

    def _one_in_place(self, taken: Any, target: Any) -> None:
        """Make a step on one row in arrays that stay where they are: a third of the time of a step is saved."""
        if self._bound is None:
            row = {name: part.repeat(self._copies, axis=0) for name, part in self._plan.row.items()}
            truth = self._typed(np.zeros((self._copies, self._plan.head.width), np.float32))
            share = self._typed(_ALONE[self._copies])
            constants = {name: array.copy() for name, array in self._codec.constants().items()}
            given = {**row, **constants, TARGET: truth}
            gradient = np.zeros(self._weights.size, np.float32)
            fed = {**given, SHARE: share, **self._weights.feeds}
            self._bound = (given, gradient, self._plan.learning.bound(fed, {self._gradients[0]: gradient}))
        given, gradient, call = self._bound
        for name, part in (*self._codec.feeds([taken]).items(), *self._codec.constants().items()):
            given[name][...] = part
        given[TARGET][...] = target
        call()
        self._move([[gradient]])

    def many(self, feeds: dict[str, Any], targets: Any) -> None:
        """Make one step on the mean loss of some rows; raises as ``one`` does."""
        count = len(targets)
        if self._loop is not None and (count < _RUNTIME_FROM or self._plan.graph.tables):
            self._loop.learn(feeds, targets, count, self._codec.constants())
            return
        size = self._plan.batch or -(-count // _BLOCK) * _BLOCK
        found = []
        for start in range(0, count, size):
            some = min(size, count - start)
            given = self._fed(_padded(_cut(feeds, start, start + some), some, size))
            share = np.zeros((size, 1), np.float32)
            share[:some] = 1 / count
            truth = _padded({TARGET: targets[start : start + some]}, some, size)[TARGET]
            given[TARGET], given[SHARE] = self._typed(truth), self._typed(share)
            found.append(self._plan.learning.call(self._gradients, given))
        self._move(found)

    def _typed(self, array: Any) -> Any:
        return array.astype(np.float64) if self._wide else array

    def _fed(self, feeds: dict[str, Any]) -> dict[str, Any]:
        return {**feeds, **self._codec.constants(), **self._weights.feeds}

    def _move(self, found: Sequence[Sequence[Any]]) -> None:
        graph = self._plan.graph
        gradient = None if graph.gradient is None else sum((parts[0] for parts in found[1:]), found[0][0])
        start = int(graph.gradient is not None)
        touched = [
            (at, parts[start + 2 * use], parts[start + 2 * use + 1])
            for parts in found
            for use, at in enumerate(graph.uses)
        ]
        # Numbers that overflow are for ``healthy`` to find.
        with np.errstate(all="ignore"):
            self._weights.step(gradient, touched)


def joined(rows: Sequence[tuple[dict[str, Any], Any]]) -> tuple[dict[str, Any], Any]:
    """Return rows that waited as one mini-batch."""
    feeds = {name: np.concatenate([part[name] for part, _ in rows]) for name in rows[0][0]}
    return feeds, np.concatenate([target for _, target in rows])


def _cut(feeds: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    return {name: array[start:end] for name, array in feeds.items()}


def _padded(feeds: dict[str, Any], count: int, size: int) -> dict[str, Any]:
    if count == size:
        return feeds
    return {name: np.concatenate([part, part[-1:].repeat(size - count, axis=0)]) for name, part in feeds.items()}


def _first(raw: Sequence[Any], count: int, given: int) -> list[Any]:
    for part in raw:
        if len(part) != given:
            raise ValueError(f"it gave {len(part)} answers for {given} rows")
    return list(raw) if count == given else [part[:count] for part in raw]

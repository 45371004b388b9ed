"""The weights of one network and what its optimiser remembers: arrays, moved in place and written as bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.engines.neural_optimisers import Optimiser, Schedule

__all__ = ["Layout", "Training", "Weights"]

_HEAD = struct.Struct("<Q")  # steps so far
_GROWS_TO = 1e4  # a network whose weights grow beyond so many times their first size has diverged


class Layout(NamedTuple):
    """Which weights are trained, and their values before the first step.

    Attributes
    ----------
    dense : tuple of (str, ndarray)
        In the order of the gradient.
    tables : tuple of (str, ndarray)
        Embedding tables, of which a step touches some rows.
    decayed : frozenset of str
        Dense weights that L2 draws to zero: matrices and kernels, not biases and scales.
    """

    dense: tuple[tuple[str, Any], ...]
    tables: tuple[tuple[str, Any], ...]
    decayed: frozenset[str]


class Training(NamedTuple):
    """How weights are moved.

    Attributes
    ----------
    optimiser : Optimiser
        What turns a gradient into a move.
    schedule : callable
        Factor on the learning rate by the number of steps so far.
    clip : float
        The longest gradient, over all weights; 0: any.
    l2 : float
        Weight decay, added to the gradient.
    """

    optimiser: Optimiser
    schedule: Schedule
    clip: float
    l2: float


class Weights:
    """The trained weights of one network.

    All dense weights lie in one row, so that a step moves them by a few operations on one array; the runtime is fed
    views of it. A table is fed as it is, without a copy, and a step moves the rows it touched.

    Parameters
    ----------
    layout : Layout
        First values.
    training : Training
        How they are moved.

    Attributes
    ----------
    feeds : dict of str to ndarray
        The weights by name, for the runtime; always the current ones.
    steps : int
        Steps so far.
    """

    def __init__(self, layout: Layout, training: Training) -> None:
        self._layout, self._training = layout, training
        self.steps = 0
        self.feeds: dict[str, Any] = {}
        self._row = np.concatenate([np.zeros(0, np.float32), *(array.ravel() for _, array in layout.dense)])
        start = 0
        for name, array in layout.dense:
            self.feeds[name] = self._row[start : start + array.size].reshape(array.shape)
            start += array.size
        optimiser = training.optimiser
        self._slots = _stacked(optimiser.start(self._row), self._row)
        # Tables lie one behind the other as well, for the loop of dense networks.
        self._pool = np.concatenate([np.zeros(0, np.float32), *(array.ravel() for _, array in layout.tables)])
        self._pool_slots = _stacked(optimiser.start(self._pool), self._pool)
        self._tables = _pieces(self._pool, layout.tables)
        self.feeds.update((name, table) for (name, _), table in zip(layout.tables, self._tables, strict=True))
        remembered = [_pieces(slot, layout.tables) for slot in self._pool_slots]
        self._table_slots = [[slot[at] for slot in remembered] for at in range(len(self._tables))]
        decay = [np.full(array.size, training.l2 * (name in layout.decayed)) for name, array in layout.dense]
        self._decay = np.concatenate([np.zeros(0), *decay]).astype(np.float32)
        first = [self._row, *self._tables]
        self._limit = _GROWS_TO * (1 + max(float(np.abs(part).max(initial=0)) for part in first))
        self._grown = False
        self._rate = np.zeros(1)

    @property
    def arrays(self) -> tuple[Any, Any, Any, Any, Any]:
        """Dense weights, tables, what the optimiser remembers of both, and each dense weight's decay."""
        return self._row, self._pool, self._slots, self._pool_slots, self._decay

    @property
    def limit(self) -> float:
        """The largest size of a sound weight."""
        return self._limit

    def rates(self, steps: int) -> Any:
        """Return the learning rates of the next steps."""
        training = self._training
        if steps == 1:
            self._rate[0] = training.optimiser.rate * training.schedule(self.steps)
            return self._rate
        return np.array([training.optimiser.rate * training.schedule(self.steps + at) for at in range(steps)])

    def moved(self, steps: int, sound: bool) -> None:
        """Note that ``arrays`` have been moved, and whether the rows of tables that were are sound."""
        self.steps += steps
        self._grown |= not sound

    @property
    def size(self) -> int:
        """Numbers in all dense weights."""
        return int(self._row.size)

    def step(self, gradient: Any, touched: Sequence[tuple[int, Any, Any]]) -> None:
        """Move the weights by one step.

        Parameters
        ----------
        gradient : ndarray or None
            Of the dense weights, in one row.
        touched : sequence of (int, ndarray, ndarray)
            Per use of a table: which one, the places of the rows, and their gradients.
        """
        training = self._training
        optimiser = training.optimiser
        rate = optimiser.rate * training.schedule(self.steps)
        self.steps += 1
        rows = _summed(touched, [len(table) for table in self._tables])
        if training.l2:
            if gradient is not None:
                gradient = gradient + self._decay * self._row
            rows = {at: (places, part + training.l2 * self._tables[at][places]) for at, (places, part) in rows.items()}
        if training.clip:
            gradient, rows = _clipped(gradient, rows, training.clip)
        if gradient is not None:
            optimiser.move(self._row, self._slots, gradient, rate, self.steps)
        for at, (places, part) in rows.items():
            self._move_rows(at, places, part, rate)

    def _move_rows(self, at: int, places: Any, gradient: Any, rate: float) -> None:
        """Take the touched rows out, move them, put them back: the size of the table does not matter."""
        table, slots = self._tables[at], self._table_slots[at]
        moved, remembered = table[places], [slot[places] for slot in slots]
        self._training.optimiser.move(moved, remembered, gradient, rate, self.steps)
        table[places] = moved
        for slot, rows in zip(slots, remembered, strict=True):
            slot[places] = rows
        self._grown |= not self._fits(moved)

    def healthy(self) -> bool:
        """Return whether all weights are finite and none has grown past use."""
        return not self._grown and self._fits(self._row)

    def _fits(self, weights: Any) -> bool:
        return bool(np.abs(weights).max(initial=0) <= self._limit)

    def pack(self, used: Mapping[str, int]) -> bytes:
        """Return weights and memory as bytes; of a table in ``used``, only so many rows."""
        parts = [part.tobytes() for part in (self._row, *self._slots)]
        for (name, _), table, slots in zip(self._layout.tables, self._tables, self._table_slots, strict=True):
            parts += [part[: used.get(name, len(table))].tobytes() for part in (table, *slots)]
        return _HEAD.pack(self.steps) + b"".join(parts)

    def unpack(self, blob: memoryview, used: Mapping[str, int]) -> None:
        """Take what ``pack`` wrote; raises ValueError where it is not as long as these weights ask for."""
        parts = [self._row, *self._slots]
        for (name, _), table, slots in zip(self._layout.tables, self._tables, self._table_slots, strict=True):
            parts += [part[: used.get(name, len(table))] for part in (table, *slots)]
        if len(blob) != _HEAD.size + 4 * sum(part.size for part in parts):
            raise ValueError("it is not as long as the weights of the network and its optimiser ask for")
        (self.steps,) = _HEAD.unpack_from(blob)
        if self.steps >= 2**53:
            raise ValueError("it holds a count that cannot be")
        at = _HEAD.size
        for part in parts:
            part[...] = np.frombuffer(blob, "<f4", part.size, at).reshape(part.shape)
            at += 4 * part.size
        self._grown = not all(map(self._fits, self._tables))


def _stacked(slots: Sequence[Any], like: Any) -> Any:
    return np.stack(slots) if slots else np.zeros((0, like.size), np.float32)


def _pieces(line: Any, tables: Sequence[tuple[str, Any]]) -> list[Any]:
    """Return views of arrays that lie one behind the other."""
    found, at = [], 0
    for _, table in tables:
        found.append(line[at : at + table.size].reshape(table.shape))
        at += table.size
    return found


def _summed(touched: Sequence[tuple[int, Any, Any]], sizes: Sequence[int]) -> dict[int, tuple[Any, Any]]:
    """Return, by table, the rows that were touched, each once, and the sums of their gradients."""
    found: dict[int, list[tuple[Any, Any]]] = {}
    for at, places, gradient in touched:
        found.setdefault(at, []).append((places % sizes[at], gradient))
    rows = {}
    for at, parts in found.items():
        places, where = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
        total = np.zeros((len(places), parts[0][1].shape[1]), np.float32)
        np.add.at(total, where, np.concatenate([part[1] for part in parts]))
        rows[at] = (places, total)
    return rows


def _clipped(gradient: Any, rows: dict[int, tuple[Any, Any]], longest: float) -> tuple[Any, dict[int, tuple[Any, Any]]]:
    """Shorten a gradient to a length, its direction kept (Pascanu, Mikolov and Bengio, 2013)."""
    parts = [part for _, part in rows.values()] + ([] if gradient is None else [gradient])
    length = float(np.sqrt(sum(float(np.vdot(part, part)) for part in parts)))
    if length <= longest:
        return gradient, rows
    factor = longest / length
    shorter = None if gradient is None else gradient * factor
    return shorter, {at: (places, part * factor) for at, (places, part) in rows.items()}

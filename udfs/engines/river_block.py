"""Whole blocks of rows for River's scaled linear models: many models at once, as arrays, with the bits of single rows.

``LinearBlocks`` says which models it takes, and turns columns into arrays; ``LinearTable`` holds the models of a block
while its rows are answered and learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from thalweg.udfs.engines.base import NOT_READY, EngineSpec
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_kernel import LinearKernel
from thalweg.udfs.engines.river_plan import plan_of
from thalweg.udfs.engines.river_task import UNFINISHED

__all__ = ["LinearBlocks", "LinearTable", "Standing"]

_TYPES = {"number": float, "integer": int, "boolean": bool}
_USUAL = 1e15  # beyond it a whole number may be another one as a float: such rows go one by one


class Standing(NamedTuple):
    """What must be known about a model besides the model, while it learns from a block.

    Attributes
    ----------
    last_event_ms : int
        Time of the last event learned.
    loss, weight : float
        The mean loss fading over 1,000 rows, and how many rows are in it.
    stop_at : int
        With the row that makes it this many rows learned, the table stops; at any row of the model, if it is negative.
    due_ms : int
        From this row time on the table stops at rows to be learned.
    """

    last_event_ms: int
    loss: float
    weight: float
    stop_at: int
    due_ms: int


class LinearBlocks:
    """Takes blocks of rows for all models of one spec.

    Attributes
    ----------
    logistic : bool
        Whether the models are binary classifiers; otherwise they are regressors.
    refusals : tuple of Score
        What rows of status 1 and 2 are answered.
    """

    refusals = (NOT_READY, UNFINISHED)

    def __init__(self, spec: EngineSpec, kernel: LinearKernel, ready_at: int) -> None:
        from thalweg.udfs.engines import river_block_kernel  # Numba takes a second to be imported

        settings = kernel.settings
        self.logistic, self._kinds, self._label_kind = (
            settings.logistic,
            tuple(k for _, k in spec.inputs),
            spec.output.kind,
        )
        rates = [settings.rate, settings.intercept_rate, settings.clip, settings.positive, settings.negative]
        self._shared = _Shared(
            river_block_kernel, settings.width, settings.logistic, ready_at, np.array([*rates, 0.5, 2])
        )

    @classmethod
    def of(cls, spec: EngineSpec) -> LinearBlocks | None:
        """Return what takes the blocks of a spec's models, or None where they take single rows only.

        The machine code is compiled, or read from the disk, here and not with the first block.
        """
        plan = plan_of(spec) if spec.kind == "river" else None
        kernel = None if plan is None else plan.kernel
        # A classifier with another output than true and false answers with probabilities of each.
        if plan is None or type(kernel) is not LinearKernel or kernel.logistic != (spec.output.kind == "boolean"):
            return None
        blocks = cls(spec, kernel, plan.ready_at)
        table = blocks.table([RiverEngine.build(spec)], [Standing(0, 0.0, 0.0, 9, 9)])
        values = blocks.values([[_TYPES[kind](1)] for _, kind in spec.inputs])
        labels = blocks.labels([_TYPES[spec.output.kind](1)])
        if values is not None and labels is not None:  # they are
            table.give([0], np.ones(1, bool), values, labels, [0], [0])
            table.run(0)
        return blocks

    def values(self, columns: Sequence[list[Any]]) -> NDArray[np.float64] | None:
        """Return features as an array of shape (n, width), NULL as NaN; None where some are not of their types."""
        for column, kind in zip(columns, self._kinds, strict=True):
            if not {_TYPES[kind], type(None)}.issuperset(map(type, column)):
                return None
        return _floats(columns)

    def labels(self, column: list[Any]) -> NDArray[np.float64] | None:
        """Return labels, NaN where there is none that can be learned; None where some are not of their type."""
        if not {_TYPES[self._label_kind], type(None)}.issuperset(map(type, column)):
            return None
        labels = _floats([column])
        if labels is None:
            return None
        return np.where(np.abs(labels[:, 0]) < _USUAL, labels[:, 0], np.nan)

    def table(self, engines: Sequence[RiverEngine | None], standings: Sequence[Standing]) -> LinearTable:
        """Return the models of a block as a table; an engine may be None where ``stop_at`` is negative."""
        return LinearTable(self._shared, engines, standings)


class _Shared(NamedTuple):
    """What all tables of a spec share."""

    code: Any
    width: int
    logistic: bool
    ready_at: int
    numbers: NDArray[np.float64]


class LinearTable:
    """The models of a block of rows as arrays, until ``take`` writes each back.

    Attributes
    ----------
    scores : array of float64, shape (n,)
        Answers, where the status is 0.
    statuses : array of int64, shape (n,)
        0, ``ok``; others are those of ``LinearBlocks.refusals``, from 1.
    learned : array of int64, shape (n,)
        How many rows the model had learned before the row.
    """

    def __init__(self, shared: _Shared, engines: Sequence[RiverEngine | None], standings: Sequence[Standing]) -> None:
        self._shared, self._engines = shared, list(engines)
        nothing = bytes(8 * (3 + 3 * shared.width))
        states = b"".join([nothing if engine is None else _kernel(engine).pack() for engine in engines])
        self._table = np.frombuffer(bytearray(states), dtype=np.float64).reshape(len(engines), -1)
        self._head = self._table.view(np.int64)
        self._deviations = np.zeros((len(engines), shared.width))
        shared.code.spread(0, len(engines), shared.numbers[5], self._table, self._deviations)
        last_ms, loss, weight, stop_at, due_ms = zip(*standings, strict=True)
        self._before = [0 if engine is None else engine.learned for engine in engines]
        self._counts = np.array([self._before, last_ms, stop_at, due_ms], dtype=np.int64).T.copy()
        self._losses = np.array([loss, weight], dtype=np.float64).T.copy()

    def give(
        self,
        models: Sequence[int],
        learns: NDArray[np.bool_],
        values: NDArray[np.float64],
        labels: NDArray[np.float64],
        events_ms: Sequence[int],
        times_ms: Sequence[int],
    ) -> None:
        """Give the table its rows.

        Parameters
        ----------
        models : sequence of int
            Place of each row's model in the table; -1 for a row at which the table is to stop.
        learns : array of bool, shape (n,)
            Whether a row is to be learned, or only answered.
        values, labels : array of float64, shape (n, width) and (n,)
            As ``LinearBlocks`` made them.
        events_ms, times_ms : sequence of int
            Time of the event, and of the row.
        """
        rows = len(learns)
        # A NaN is below nothing.
        plain = (np.abs(values) < _USUAL).all(axis=1)
        self.scores = np.full(rows, np.nan)
        self.statuses, self.learned = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        numbers = [np.array(column, dtype=np.int64) for column in (models, events_ms, times_ms)]
        self._rows = (numbers[0], plain, learns, values, labels, *numbers[1:], self.scores, self.statuses, self.learned)

    def run(self, at: int) -> int:
        """Answer and learn rows from ``at`` on, and return the first that was not taken; the number of rows at last."""
        s = self._shared
        models = (self._table, self._head, self._deviations, self._counts, self._losses)
        return int(s.code.run(at, s.logistic, s.ready_at, s.numbers, *models, *self._rows))

    def take(self, model: int) -> Standing | None:
        """Write a model back into its engine; return its standing, or None where it has learned nothing."""
        learned, last_ms, stop_at, due_ms = self._counts[model].tolist()
        engine = self._engines[model]
        if engine is None or learned == self._before[model]:
            return None
        engine.learned = self._before[model] = learned
        _kernel(engine).hold(self._table[model].tobytes())
        loss, weight = self._losses[model].tolist()
        return Standing(last_ms, loss, weight, stop_at, due_ms)

    def load(self, model: int, engine: RiverEngine | None, standing: Standing) -> None:
        """Put a model in the place of another."""
        self._engines[model], last = engine, model + 1
        learned = 0 if engine is None else engine.learned
        self._before[model] = learned
        self._counts[model] = learned, standing.last_event_ms, standing.stop_at, standing.due_ms
        self._losses[model] = standing.loss, standing.weight
        if engine is not None:
            self._table[model] = np.frombuffer(_kernel(engine).pack(), dtype=np.float64)
            self._shared.code.spread(model, last, self._shared.numbers[5], self._table, self._deviations)


def _kernel(engine: RiverEngine) -> LinearKernel:
    return cast("LinearKernel", engine._kernel)  # noqa: SLF001


def _floats(columns: Sequence[list[Any]]) -> NDArray[np.float64] | None:
    found = np.empty((len(columns[0]), len(columns)))
    try:
        for at, column in enumerate(columns):
            found[:, at] = np.array(column, dtype=np.float64)
    except OverflowError:  # a whole number beyond every float
        return None
    return found

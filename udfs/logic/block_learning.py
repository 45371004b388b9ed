"""The learning machine for whole blocks of rows, for models that take them: no Python for most rows.

The numbers of a block's models stand in one table, in which machine code answers and learns row by row. It stops at
each row that asks for more: one that is refused, that is the first of its key, before which a snapshot is due, after
which the model is to be looked at. That row goes the way of single rows, and then the table goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.river_block import LinearBlocks, LinearTable, Standing
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.learning_outcome import Answers
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.upkeep import LOOK_EVERY, Policy

__all__ = ["FEWEST", "LATE", "ROWS_PER_MODEL", "BlockLearning", "put_in_place"]

ROWS_PER_MODEL = 2
"""Rows of a block for each of its models; with fewer a block is not worth while."""
FEWEST = 16
"""Rows of a block, for the same reason."""
_LATER = (1 << 63) - 1
_TRUTHS = {True: "true", False: "false", None: None}
LATE = "late: answered, but too late to be learned in order"
"""The reason beside the answer to a late row."""


class BlockLearning:
    """Runs blocks of rows whose columns are those of ``LearningLogic.on_rows``.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    policy : Policy
        How the models are kept.
    blocks : LinearBlocks
        What takes the rows.
    """

    def __init__(self, spec: EngineSpec, policy: Policy, blocks: LinearBlocks) -> None:
        self._spec, self._every, self._blocks = spec, policy.snapshot_every, blocks

    @classmethod
    def of(cls, spec: EngineSpec, policy: Policy) -> BlockLearning | None:
        """Return the machine, or None where each row asks for more than the numbers of its own model."""
        if policy.prior_strength is not None or policy.snapshot_every.drift or policy.cadence is not None:
            return None
        blocks = LinearBlocks.of(spec)
        return None if blocks is None else cls(spec, policy, blocks)

    def run(
        self,
        columns: Sequence[list[Any]],
        asks: Sequence[tuple[bool, bool, bool]],
        cells: Mapping[str, Cell],
        changed: set[str],
        one: Callable[[int, Answers], None],
        answers: Answers,
    ) -> bool:
        """Take a block of rows, and return whether it was taken: if not, nothing has happened.

        Parameters
        ----------
        columns : sequence of list
            The rows.
        asks : sequence of (bool, bool, bool)
            For each kind of row, whether it is learned, whether it is answered, whether it is late.
        cells : mapping of str to Cell
            The models of all its keys.
        changed : set of str
            Where the keys go whose models have learned.
        one : callable
            Takes a single row, whose place it is given, and adds its answer, if it has one.
        answers : Answers
            Where the answers go.
        """
        kinds, keys, _, events_ms, times_ms, labels, *features = columns
        rows = len(kinds)
        if rows < max(FEWEST, ROWS_PER_MODEL * len(cells)) or not cells:
            return False
        values, known = self._blocks.values(features), self._blocks.labels(labels)
        if values is None or known is None or None in events_ms or None in times_ms:
            return False
        place_of: dict[str | None, int] = {key: place for place, key in enumerate(cells)}
        place_of[None] = -1
        learns = np.array([ask[0] for ask in asks])[kinds]
        table = self._blocks.table(*zip(*map(self._standing, cells.values()), strict=True))
        table.give([place_of[key] for key in keys], learns, values, known, events_ms, times_ms)
        aside, single = Answers(), []
        at = table.run(0)
        while at < rows:
            key = keys[at]
            if key is not None:
                self._take(key, cells[key], table, place_of[key], changed)
            one(at, aside)
            if key is not None:
                table.load(place_of[key], *self._standing(cells[key]))
            single.append(at)
            at = table.run(at + 1)
        for place, (key, cell) in enumerate(cells.items()):
            self._take(key, cell, table, place, changed)
        self._answer(columns, asks, table, single, aside, answers)
        return True

    def _standing(self, cell: Cell) -> tuple[Any, Standing]:
        """Return the engine of a cell, None where its rows must go one by one, and what the table must know of it."""
        if cell.empty() or cell.frozen or cell.update_ms != NEVER or cell.examples != b"":
            return None, Standing(NEVER, 0.0, 0.0, -1, _LATER)
        engine, every = cell.engine(self._spec), self._every
        stop_at = (engine.learned // LOOK_EVERY + 1) * LOOK_EVERY
        if every.events is not None:
            stop_at = min(stop_at, max(cell.published + every.events, 0))
        elif every.time_ms is not None and cell.due_ms == NEVER:
            stop_at = 0
        return engine, Standing(
            cell.last_event_ms, *cell.losses(), stop_at, _LATER if cell.due_ms == NEVER else cell.due_ms
        )

    def _take(self, key: str, cell: Cell, table: LinearTable, place: int, changed: set[str]) -> None:
        standing = table.take(place)
        if standing is not None:
            cell.go_on(standing.last_event_ms, standing.loss, standing.weight)
            changed.add(key)

    def _answer(
        self,
        columns: Sequence[list[Any]],
        asks: Sequence[tuple[bool, bool, bool]],
        table: LinearTable,
        single: list[int],
        aside: Answers,
        answers: Answers,
    ) -> None:
        """Add the answers of a block: those of the table, and in their places those of single rows."""
        kinds, keys, event_ids, events_ms, _, labels, *_ = columns
        rows = len(kinds)
        given: list[list[Any]] = [
            event_ids, list(keys), list(events_ms), table.scores.tolist(), self._labels(table), [None] * rows,
            ["ok"] * rows, [""] * rows, table.learned.tolist(), self._truths(labels),
        ]  # fmt: skip
        _, _, _, scores, classes, _, statuses, reasons, _, truths = given
        asked = set(kinds)
        if any(asks[kind][2] for kind in asked):
            for at, kind in enumerate(kinds):
                if asks[kind][2]:
                    reasons[at] = LATE
        for at in np.flatnonzero(table.statuses).tolist():
            refusal = self._blocks.refusals[table.statuses[at] - 1]
            scores[at], classes[at], _, statuses[at], reasons[at] = refusal
        if not all(asks[kind][0] for kind in asked):
            for at, kind in enumerate(kinds):
                if not asks[kind][0]:
                    truths[at] = None
        put_in_place(given, kinds, asks, single, aside, answers)

    def _labels(self, table: LinearTable) -> list[str | None]:
        if not self._blocks.logistic:
            return [None] * len(table.scores)
        scores = table.scores
        with np.errstate(invalid="ignore"):
            labels: list[str | None] = np.where(scores > 1.0 - scores, "true", "false").tolist()
        return labels

    def _truths(self, labels: list[Any]) -> list[str | None]:
        if self._blocks.logistic:
            return [_TRUTHS[label] for label in labels]
        return [None if label is None else repr(label) for label in labels]


def put_in_place(
    given: list[list[Any]],
    kinds: Sequence[int],
    asks: Sequence[tuple[bool, bool, bool]],
    single: Sequence[int],
    aside: Answers,
    answers: Answers,
) -> None:
    """Add the answers of a block, among them in their places those to rows that went one by one.

    Parameters
    ----------
    given : list of list
        Columns of ``Answers`` with an entry for each row; those of single rows are written over.
    kinds, asks
        As of ``BlockLearning.run``.
    single : sequence of int
        Places of the rows that went one by one, in the order in which they did.
    aside : Answers
        The answers to those of them that are answered.
    answers : Answers
        Where the answers go.
    """
    answered = [at for at in single if asks[kinds[at]][1]]
    for column, values in zip(given[1:], aside.columns[1:], strict=True):
        for at, value in zip(answered, values, strict=True):
            column[at] = value
    if not all(asks[kind][1] for kind in set(kinds)):
        chosen = [asks[kind][1] for kind in kinds]
        given = [list(compress(column, chosen)) for column in given]
    for column, values in zip(answers.columns, given, strict=True):
        column += values

"""The learning machine for whole blocks of rows, for engines that take them by ``step_many``: edges, for instance.

An engine answers and learns the rows of its key in runs. A run ends before each row that asks for more: one that brings
a label or lacks a feature, before which a snapshot is due, after which the model is to be looked at. That row goes the
way of single rows, in its place among those of all keys, and then the next run begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines import engine_class
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.block_learning import FEWEST, ROWS_PER_MODEL, put_in_place
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.learning_outcome import Answers
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.upkeep import LOOK_EVERY, Policy

__all__ = ["EngineBlocks"]

_LABELS = {1: "true", 0: "false", -1: None}


class EngineBlocks:
    """Runs blocks of rows as ``BlockLearning`` does, through the ``step_many`` of an engine.

    ``step_many`` takes the columns of the features and returns ``scores``, floats of shape (n,), and ``flags``, None or
    integers of shape (n,): 1, the label is ``true``; 0, ``false``; -1, there is none. From the second example on it
    answers bit for bit as ``step`` would one by one; a RecordError leaves the model as it was.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    policy : Policy
        How the models are kept.
    """

    def __init__(self, spec: EngineSpec, policy: Policy) -> None:
        self._spec, self._every = spec, policy.snapshot_every

    @classmethod
    def of(cls, spec: EngineSpec, policy: Policy) -> EngineBlocks | None:
        """Return the machine, or None where the engine has no ``step_many`` or the policy looks at each row."""
        if policy.prior_strength is not None or policy.snapshot_every.drift or policy.cadence is not None:
            return None
        return cls(spec, policy) if hasattr(engine_class(spec.kind), "step_many") else None

    def run(
        self,
        columns: Sequence[list[Any]],
        asks: Sequence[tuple[bool, bool, bool]],
        cells: Mapping[str, Cell],
        changed: set[str],
        one: Callable[[int, Answers], None],
        answers: Answers,
    ) -> bool:
        """Take a block of rows, and return whether it was taken; parameters as of ``BlockLearning.run``."""
        kinds, keys, event_ids, events_ms, times_ms, *_ = columns
        rows = len(kinds)
        if rows < max(FEWEST, ROWS_PER_MODEL * len(cells)) or not cells or None in events_ms or None in times_ms:
            return False
        block = _Block(columns, asks)
        single: list[int] = []
        # Whatever a single row gives rise to comes in the order of the rows, whose keys they are.
        heap: list[tuple[int, str | None]] = []
        for key in block.places:
            self._go_on(key, cells, block, changed, heap)
        aside = Answers()
        while heap:
            at, key = heappop(heap)
            one(at, aside)
            single.append(at)
            self._go_on(key, cells, block, changed, heap)
        given = [
            event_ids, list(keys), list(events_ms), block.scores.tolist(), list(map(_LABELS.get, block.flags.tolist())),
            [None] * rows, ["ok"] * rows, [""] * rows, block.learned.tolist(), [None] * rows,
        ]  # fmt: skip
        put_in_place(given, kinds, asks, single, aside, answers)
        return True

    def _go_on(
        self,
        key: str | None,
        cells: Mapping[str, Cell],
        block: _Block,
        changed: set[str],
        heap: list[tuple[int, str | None]],
    ) -> None:
        """Run the rows of a key up to the next one that must go alone, and put that one's place on the heap."""
        places, begin = block.places[key], block.next[key]
        while begin < len(places):
            end = begin if key is None else begin + self._free(cells[key], places[begin:], block)
            if end == begin or key is None:
                break
            cell = cells[key]
            engine: Any = cell.engine(self._spec)
            taken = places[begin:end]
            before = engine.learned
            try:
                found = engine.step_many(block.features(taken))
            except RecordError:
                block.alone[taken] = True  # one of them is at fault, and the single rows tell which
                break
            block.scores[taken], block.learned[taken] = found.scores, np.arange(before, before + len(taken))
            if found.flags is not None:
                block.flags[taken] = found.flags
            cell.go_on(max(cell.last_event_ms, int(block.events[taken].max())), *cell.losses())
            changed.add(key)
            begin = end
        if begin < len(places):
            heappush(heap, (int(places[begin]), key))
        block.next[key] = begin + 1

    def _free(self, cell: Cell, places: Any, block: _Block) -> int:
        """Return how many of the rows at ``places`` can go in one run, from the first on."""
        if cell.empty() or cell.frozen or cell.update_ms != NEVER or cell.examples != b"":
            return 0
        learned, every = cell.engine(self._spec).learned, self._every
        if not learned or (every.time_ms is not None and cell.due_ms == NEVER):
            return 0
        stop_at = (learned // LOOK_EVERY + 1) * LOOK_EVERY
        if every.events is not None:
            stop_at = min(stop_at, cell.published + every.events)
        near = places[: max(stop_at - 1 - learned, 0)]
        halts = block.alone[near]
        if cell.due_ms != NEVER:
            halts = halts | (block.times[near] >= cell.due_ms)
        return int(halts.argmax()) if halts.any() else len(near)


class _Block:
    """The rows of a block: where those of each key are, which must go alone, and the answers to the others."""

    def __init__(self, columns: Sequence[list[Any]], asks: Sequence[tuple[bool, bool, bool]]) -> None:
        kinds, keys, _, events_ms, times_ms, labels, *self._features = columns
        rows = len(kinds)
        plain = np.array([ask == (True, True, False) for ask in asks])
        self.alone = ~plain[kinds]
        for column in (labels, *self._features):
            odd = [value is not None for value in column] if column is labels else [value is None for value in column]
            self.alone |= np.array(odd)
        self.events, self.times = np.array(events_ms, np.int64), np.array(times_ms, np.int64)
        self.scores, self.flags = np.zeros(rows), np.full(rows, -1, np.int8)
        self.learned = np.zeros(rows, np.int64)
        found: dict[str | None, list[int]] = {}
        for at, key in enumerate(keys):
            found.setdefault(key, []).append(at)
        self.places = {key: np.array(places) for key, places in found.items()}
        self.next = dict.fromkeys(self.places, 0)

    def features(self, places: Any) -> list[list[Any]]:
        """Return the features of the rows at ``places``, column by column."""
        first, last = int(places[0]), int(places[-1])
        if last - first == len(places) - 1:
            return [column[first : last + 1] for column in self._features]
        wanted = places.tolist()
        return [[column[at] for at in wanted] for column in self._features]

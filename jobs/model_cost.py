"""What one key of a model costs in bytes: measured on the model itself, taught with sample rows."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from thalweg.connector.errors import ConfigError, Problem
from thalweg.jobs.sample_rows import START_MS, STEP_MS, SampleRow
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.declaration import Declaration
from thalweg.udfs.logic.learning import STEP, LearningLogic, learning_kinds
from thalweg.udfs.logic.packing import pack_columns

__all__ = ["ModelCost", "Size", "measure"]

_GROWS = 1.1  # so much larger after twice the examples, and a model is said to grow with them
_COPIES = 16  # of a small model, so that what Python rounds up does not show
_COPY_BYTES = 65_536
_KEY = "sample-key-0000"
_BLOCK = 100


@dataclass(frozen=True)
class Size:
    """What one key holds after some examples.

    Attributes
    ----------
    examples : int
        That the model was given.
    state : int
        Bytes in Flink's state and so in a checkpoint, without the key: the model, its copy to go back to, book-keeping.
    model : int
        Bytes of the model alone: a snapshot's.
    live : int
        Bytes that Python holds while the model is in use, by tracemalloc.
    """

    examples: int
    state: int
    model: int
    live: int


@dataclass(frozen=True)
class ModelCost:
    """What a model costs.

    Attributes
    ----------
    sizes : tuple of Size
        After a tenth of the examples, half of them, all; one Size for a model that does not learn.
    row : int
        Bytes of one event in a block of rows.
    refused : int
        Examples that the model did not take.
    """

    sizes: tuple[Size, ...]
    row: int
    refused: int = 0

    @property
    def last(self) -> Size:
        """After all examples."""
        return self.sizes[-1]

    @property
    def grows(self) -> bool:
        """Whether the model was still growing in the second half of the examples."""
        return len(self.sizes) > 1 and self.last.model > _GROWS * self.sizes[-2].model


class _Store:
    """State in a dict."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self._prior: Cell | None = None
        self._specs: dict[bytes, EngineSpec] = {}

    def get(self, key: str) -> Cell | None:
        return self.cells.get(key)

    def put(self, key: str, cell: Cell) -> None:
        self.cells[key] = cell

    def prior(self) -> Cell | None:
        return self._prior

    def put_prior(self, cell: Cell) -> None:
        self._prior = cell

    def spec(self, mark: bytes) -> EngineSpec | None:
        return self._specs.get(mark)

    def remember(self, mark: bytes, spec: EngineSpec) -> None:
        self._specs[mark] = spec

    def wake(self, key: str, at_ms: int) -> None:
        return

    def due(self, now_ms: int) -> Iterator[str]:
        return iter(())


def measure(declaration: Declaration, rows: Sequence[SampleRow]) -> ModelCost:
    """Teach a model of the declaration the rows, as the learning operator would, and weigh it.

    Parameters
    ----------
    declaration : Declaration
        Of the model.
    rows : sequence of SampleRow, not empty
        What it is given, in this order.

    Raises
    ------
    ConfigError
        It takes none of the rows.
    """
    kinds = learning_kinds(declaration.spec)
    block = _columns(rows, 0, _KEY)
    row = len(pack_columns(zip(kinds, block, strict=True), len(rows))) // len(rows)
    if not declaration.learns:
        dump = len(build(declaration.spec).dump())
        return ModelCost((Size(0, 0, dump, dump),), row)
    trial = _Taught(declaration, 1)
    trial.learn(rows[: max(1, len(rows) // 10)])  # what all models share is made now, and is not weighed
    copies = max(1, min(_COPIES, _COPY_BYTES // len(trial.state())))
    del trial
    sizes: list[Size] = []
    with _traced() as held:
        before = held()
        taught = _Taught(declaration, copies)
        for mark in sorted({max(1, len(rows) // 10), max(1, len(rows) // 2), len(rows)}):
            taught.learn(rows[:mark])
            live = max(0, held() - before) // copies
            sizes.append(Size(mark, len(taught.state()), taught.model(), live))
    return ModelCost(tuple(sizes), row, taught.refused)


class _Taught:
    """Some keys' models that are all taught the same."""

    def __init__(self, declaration: Declaration, keys: int) -> None:
        self._declaration, self._store = declaration, _Store()
        self._keys = [f"sample-key-{key:04}" for key in range(keys)]
        self._logic = LearningLogic(declaration.spec, declaration.policy())
        self._learned, self._refused = 0, 0

    @property
    def refused(self) -> int:
        """Examples that one of them has refused."""
        return self._refused // len(self._keys)

    def learn(self, rows: Sequence[SampleRow]) -> None:
        """Go on to the end of the rows; raises ConfigError where there is no model then."""
        reason = ""
        while self._learned < len(rows):
            part = rows[self._learned : self._learned + _BLOCK]
            for key in self._keys:
                outcome = self._logic.on_rows(_columns(part, self._learned, key), self._store)
                self._refused += len(outcome.refusals)
                reason = reason or next((refusal.reason for refusal in outcome.refusals), "")
            self._learned += len(part)
        if self._keys[0] not in self._store.cells:
            what = f"takes none of {len(rows)} sample rows: {reason}."
            remedy = "Give real rows with --example FILE, one JSON object per line."
            raise ConfigError([Problem(f"model {self._declaration.name}", what, remedy)])

    def state(self) -> bytes:
        """Return the state of one key."""
        return self._store.cells[self._keys[0]].dump()

    def model(self) -> int:
        """Return the bytes of one model."""
        return len(self._store.cells[self._keys[0]].engine(self._declaration.spec).dump())


@contextmanager
def _traced() -> Iterator[Callable[[], int]]:
    """Give a function that returns the bytes that Python holds of what has been allocated since."""

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start(1)
    try:
        yield held
    finally:
        if not traced:
            tracemalloc.stop()


def _columns(rows: Sequence[SampleRow], first: int, key: str) -> list[list[object]]:
    """Return rows as the learning operator takes them."""
    times = [START_MS + (first + at) * STEP_MS for at in range(len(rows))]
    names = [f"event-{first + at:08}" for at in range(len(rows))]
    head: list[list[object]] = [[STEP] * len(rows), [key] * len(rows), [*names], [*times], [*times]]
    return [*head, [row.label for row in rows], *map(list, zip(*(row.values for row in rows), strict=True))]

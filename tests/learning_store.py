"""What tests of the learning machine share: state in a dict, a spec, rows as columns."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.learning_outcome import Outcome

MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"


class Store(dict[str, Cell]):
    """State in a dict; with ``through_bytes`` as in Flink with a cache that holds nothing."""

    def __init__(self, through_bytes: bool = False) -> None:
        super().__init__()
        self.through_bytes = through_bytes
        self.waits: dict[str, int] = {}
        self.shared: Cell | None = None
        self.specs: dict[bytes, EngineSpec] = {}

    def get(self, key: str, default: Any = None) -> Any:
        found = super().get(key)
        return pickle.loads(pickle.dumps(found)) if self.through_bytes else found

    def put(self, key: str, cell: Cell) -> None:
        self[key] = pickle.loads(pickle.dumps(cell)) if self.through_bytes else cell

    def prior(self) -> Cell | None:
        found: Cell | None = pickle.loads(pickle.dumps(self.shared)) if self.through_bytes else self.shared
        return found

    def put_prior(self, cell: Cell) -> None:
        self.shared = pickle.loads(pickle.dumps(cell)) if self.through_bytes else cell

    def spec(self, mark: bytes) -> EngineSpec | None:
        return self.specs.get(mark)

    def remember(self, mark: bytes, spec: EngineSpec) -> None:
        self.specs[mark] = spec

    def wake(self, key: str, at_ms: int) -> None:
        self.waits[key] = at_ms

    def due(self, now_ms: int) -> Iterator[str]:
        for key in [key for key, at in self.waits.items() if at <= now_ms]:
            del self.waits[key]
            yield key


def spec(model: str = MODEL, names: str = "ab") -> EngineSpec:
    return EngineSpec("river", "classification", model, tuple(Field(n, "number") for n in names), Field("y", "boolean"))


def rows(*given: tuple[Any, ...]) -> list[list[Any]]:
    """Columns from rows: kind, key, id, event ms, row ms, label, features."""
    return [list(column) for column in zip(*given, strict=True)]


def answers(outcome: Outcome) -> list[tuple[Any, ...]]:
    columns = outcome.answers.columns
    return list(zip(columns[0], columns[3], columns[6], columns[8], strict=True))

"""Rows through the pure machine of the learning operator, without Flink, in the order in which Flink brings them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.learning import LEARN, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

from tests.learning_store import Store

_BLOCK = 2000


class Answer(NamedTuple):
    """What was said of an event."""

    score: float | None
    label: str | None
    probabilities: dict[str, float] | None
    status: str
    learned: int


def played(spec: EngineSpec, rows: Iterable[tuple[Any, ...]], strength: int | None = None) -> dict[str, Answer]:
    """Return the answer to each event, by its id; a row is kind, key, id, event ms, row ms, label, features."""
    # Events come before the labels of their moment, and then it is the name of the event that decides.
    stream = sorted(rows, key=lambda row: (row[4], row[0] == LEARN, row[2]))
    logic, store = LearningLogic(spec, Policy(Every(1 << 40, None), 1 << 26, prior_strength=strength)), Store()
    found: dict[str, Answer] = {}
    for start in range(0, len(stream), _BLOCK):
        columns = [list(column) for column in zip(*stream[start : start + _BLOCK], strict=True)]
        told = logic.on_rows(columns, store).answers.columns
        for at, name in enumerate(told[0]):
            found[name] = Answer(told[3][at], told[4][at], told[5][at], told[6][at], told[8][at])
    return found

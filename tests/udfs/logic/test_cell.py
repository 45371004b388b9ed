"""A cell as bytes: of this version, of earlier ones, damaged."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from learning_store import spec
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.logic.cell import Cell

# Written by the version that had protocol 1, with the answers that it gave.
OLD: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "cells-v1.json").read_text())


def test_a_cell_is_its_bytes_and_nothing_else() -> None:
    cell = Cell()
    cell.fill(spec())
    cell.engine(spec()).learn({"a": 1.0, "b": 2.0}, True)
    cell.note(5, 0.25)
    again = pickle.loads(pickle.dumps(cell))
    assert again.dump() == cell.dump()
    assert (again.last_event_ms, again.progressive_loss()) == (5, 0.25)
    assert cell.__reduce__() == (Cell.load, (cell.dump(),))
    for bad in (b"", b"\x07" + cell.dump()[1:], cell.dump()[:20]):
        with pytest.raises(SnapshotError):
            Cell.load(bad)


@pytest.mark.parametrize("name", list(OLD))
def test_a_cell_of_the_first_protocol_goes_on(name: str) -> None:
    old = OLD[name]
    old_spec = EngineSpec.from_json(json.dumps(old["spec"]))
    data = bytes.fromhex(old["cell"])
    cell = Cell.load(data)
    assert (cell.published, cell.snapshots, cell.due_ms, cell.mark) == (512, 3, 1_700_000_600_000, b"")
    engine = cell.engine(old_spec)
    assert engine.learned == old["learned"]
    assert [score.score for score in engine.score(old["rows"])] == old["scores"]
    assert Cell.load(cell.dump()).dump() == cell.dump()
    assert (cell.inherited, cell.frozen) == (0, False)
    assert cell.roll_back(old_spec) == 512


def test_what_a_cell_keeps_beside_its_model_comes_back() -> None:
    cell = Cell()
    cell.fill(spec())
    cell.inherited, cell.frozen = 7, True
    for n in range(50):
        cell.engine(spec()).learn({"a": float(n), "b": 1.0}, n % 2 == 0)
        cell.drifted(spec(), 0.5)
    again = Cell.load(cell.dump())
    assert (again.inherited, again.frozen, again.mark) == (7, True, cell.mark)
    again.drifted(spec(), 0.5)
    cell.drifted(spec(), 0.5)
    assert again.dump() == cell.dump()

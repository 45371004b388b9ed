"""What travels to the workers: configuration alone, under names that a savepoint finds again (cases C28, C31)."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from pyflink.table.udf import UserDefinedFunctionWrapper
from thalweg.udfs import sql
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.flink import attach
from thalweg.udfs.flink.comparison_operator import ComparisonOperator
from thalweg.udfs.flink.comparison_rows import Carried
from thalweg.udfs.flink.functions import pack_function, score_function
from thalweg.udfs.flink.operators import EvaluationOperator, LearningOperator
from thalweg.udfs.logic.comparison import Arm, Plan
from thalweg.udfs.logic.declaration import Declaration, declare

FOLDER = Path(attach.__file__).parent
SPEC = EngineSpec("river", "classification", "linear_model.LogisticRegression()", (Field("a", "number"),),
                  Field("y", "boolean"))  # fmt: skip


def declaration() -> Declaration:
    options = {"provider": "river", "model": SPEC.model, "input-table": "t", "event-id": "id", "label": "y"}
    return declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], options, (), True)


def travelling() -> Iterator[tuple[str, Any]]:
    d = declaration()
    yield "learning", LearningOperator(d, True)
    yield "evaluation", EvaluationOperator(d, True)
    plan = Plan("c", (Arm("m"), Arm("n", 20)), "m")
    yield "comparison", ComparisonOperator(plan, [Carried(None, (), None)] * 2)
    yield "score", score_function(SPEC, "m")
    yield "pack", pack_function(("string", "number"), 0, (0, 1))
    for name in sql.__all__:
        yield name, getattr(sql, name)


THINGS = dict(travelling())


class Refuses(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Refuses what lives in one process alone, even where it could be copied."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        assert kind.__name__ not in ("lock", "RLock", "Thread", "socket", "InferenceSession"), kind
        assert not kind.__module__.startswith(("kafka", "onnxruntime", "py4j", "socket", "threading")), kind
        return super().reducer_override(obj)


@pytest.mark.parametrize("name", THINGS)
def test_it_holds_nothing_that_lives_in_one_process(name: str) -> None:
    thing = THINGS[name]
    if isinstance(thing, UserDefinedFunctionWrapper):
        thing = thing._func  # what the wrapper has besides belongs to the planner and stays at home
    written = io.BytesIO()
    Refuses(written).dump(thing)
    assert len(written.getvalue()) < 100_000
    assert type(cloudpickle.loads(written.getvalue())).__name__ == type(thing).__name__


def test_every_operator_has_a_name_that_a_savepoint_finds_again() -> None:
    """An operator without one is mapped by its place in the plan, which the next version of a file changes."""
    names: list[str] = []
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        made = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "process"]
        named = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "_name"]
        own = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "uid"]
        texts = [ast.unparse(c.args[2]) for c in named] or [ast.unparse(c.args[0]) for c in own]
        assert len(texts) == len(made), path.name
        names += texts
    assert len(names) == len(set(names)) == 3
    assert all("thalweg-{" in name and ".name}" in name for name in names), names

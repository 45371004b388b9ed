"""Blocks through an engine's ``step_many``: the same answers, snapshots, refusals and bytes as rows one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_store import MODEL, Store, rows
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.midas_engine import MidasEngine
from thalweg.udfs.logic.engine_blocks import EngineBlocks
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

_COLUMNS = ("num-columns", "8")
SPECS = [
    EngineSpec("midas", "anomaly", "midas", (Field("a", kind), Field("b", "string"), Field("ms", "integer")),
               Field("score", "number"), options)
    for kind, options in (
        ("string", (_COLUMNS, ("quantile", "0.9"), ("tick", "1 s"))),
        ("integer", (_COLUMNS, ("variant", "relational"))),
        ("string", (_COLUMNS, ("quantile", "0.5"), ("tick", "1 s"), ("variant", "filtering"))),
    )
]  # fmt: skip
POLICIES = [
    Policy(Every(None, 50), 1 << 26),
    Policy(Every(7, None), 1 << 26),
    Policy(Every(300, None), 1 << 26),
    Policy(Every(None, None), 1 << 26),
    Policy(Every(None, 1000), 10, "freeze"),
    Policy(Every(100, None), 10, "reset"),
    Policy(Every(90, None), 10, "keep"),
]


def _row(kind: str) -> st.SearchStrategy[tuple[Any, ...]]:
    node = st.sampled_from(["x", "y", "z"] if kind == "string" else [1, 2, -(1 << 63)])
    return st.tuples(
        st.sampled_from([STEP] * 12 + [LEARN, SCORE, SCORE_LATE]),
        st.sampled_from(["k"] * 6 + ["other", "", None]),
        st.integers(0, 20),
        st.sampled_from([None] * 12 + [0.0, 1.0]),
        st.one_of(node, node, node, node, st.sampled_from([None, 7, "7", 1 << 64])),
        st.sampled_from(["x"] * 4 + ["y", None]),
        st.one_of(st.integers(0, 9000), st.integers(0, 9000), st.sampled_from([None, 1 << 60])),
    )


@st.composite
def _streams(draw: st.DrawFn) -> tuple[EngineSpec, Policy, list[tuple[Any, ...]], int]:
    spec = draw(st.sampled_from(SPECS))
    unlike = draw(st.lists(_row(spec.inputs[0].kind), min_size=1, max_size=25))
    given, now = [], 0
    for at in range(draw(st.sampled_from([20, 90, 200, 700]))):
        kind, key, later, label, *values = unlike[at * at % len(unlike)]
        now += later
        given.append((kind, key, f"e{at}", now - at % 3, now - at % 5, label, *values))
    return spec, draw(st.sampled_from(POLICIES)), given, draw(st.sampled_from([16, 33, 200, 1000]))


def _all(
    spec: EngineSpec, policy: Policy, given: list[tuple[Any, ...]], cut: int, blocks: bool, through_bytes: bool
) -> Any:
    store, found = Store(through_bytes), []
    logic = LearningLogic(spec, policy)
    if not blocks:
        logic._blocks = None
    for start in range(0, len(given), cut):
        found.append(logic.on_rows(rows(*given[start : start + cut]), store))
    found.append(logic.on_time(10**9, store))
    seen = [repr([o.answers.columns, o.published, o.refusals, o.alerts]) for o in found]
    return seen, {key: store[key].dump() for key in sorted(store)}, sorted(store.waits.items())


@settings(max_examples=25, deadline=None)
@given(_streams(), st.booleans())
def test_a_block_of_edges_is_what_its_edges_are_one_by_one(stream: Any, cold: bool) -> None:
    assert _all(*stream, blocks=True, through_bytes=cold) == _all(*stream, blocks=False, through_bytes=cold)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("spec", SPECS)
def test_long_runs_stop_where_something_is_due(spec: EngineSpec, policy: Policy) -> None:
    given: list[tuple[Any, ...]] = []
    for n in range(900):
        node: Any = f"h{n * n % 7}" if spec.inputs[0].kind == "string" else n * n % 7
        # Event times run back at times, one edge cannot be, one is a label's, one has no destination.
        values = (node, None if n == 500 else "h", 1 << 60 if n == 333 else 400 * n)
        given.append((STEP, f"k{n % 2}", f"e{n}", abs(600 - n), 3 * n, 1.0 if n == 700 else None, *values))
    stream = (spec, policy, given, 400)
    assert _all(*stream, blocks=True, through_bytes=False) == _all(*stream, blocks=False, through_bytes=False)


def test_nearly_all_edges_of_a_block_go_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    single, many = [], []
    step, step_many = MidasEngine.step, MidasEngine.step_many

    def counted(self: Any, *given: Any) -> Any:
        single.append(1)
        return step(self, *given)

    def counted_many(self: Any, columns: Any) -> Any:
        many.append(len(columns[0]))
        return step_many(self, columns)

    monkeypatch.setattr(MidasEngine, "step", counted)
    monkeypatch.setattr(MidasEngine, "step_many", counted_many)
    given = [(STEP, f"k{n % 3}", f"e{n}", n, n, None, f"h{n % 7}", "h", n) for n in range(3000)]
    LearningLogic(SPECS[0], POLICIES[3]).on_rows(rows(*given), Store())
    assert sum(single) + sum(many) == 3000
    assert sum(single) <= 3 * (1 + 1000 // 64 + 1)


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        (EngineSpec("river", "classification", MODEL, (Field("a", "number"),), Field("y", "boolean")), POLICIES[0]),
        (SPECS[0], Policy(Every(None, None, True), 1 << 26)),
        (SPECS[0], Policy(Every(None, 50), 1 << 26, prior_strength=5)),
    ],
)
def test_engines_without_step_many_and_policies_of_single_rows_have_no_runs(spec: EngineSpec, policy: Policy) -> None:
    assert EngineBlocks.of(spec, policy) is None

"""Whole blocks against single rows: the same answers, refusals, snapshots, alerts and bytes, whatever the rows."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_store import MODEL, Store, rows
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.block_learning import BlockLearning
from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

_FIELDS = (Field("a", "number"), Field("n", "integer"), Field("flag", "boolean"))
_TEXT = "preprocessing.StandardScaler() | linear_model."
_SPECS = [
    EngineSpec("river", "classification", MODEL, _FIELDS, Field("y", "boolean"), (("min-samples", "3"),)),
    EngineSpec(
        "river", "classification", f"{_TEXT}LogisticRegression(optim.SGD(0.5), intercept_lr=0.1, "
        "loss=optim.losses.Log(weight_pos=3.0))", _FIELDS, Field("y", "boolean"),
    ),
    EngineSpec("river", "regression", f"{_TEXT}LinearRegression()", _FIELDS, Field("y", "number")),
    # Diverges within a block: a step of 3 overshoots more each time.
    EngineSpec("river", "regression", f"{_TEXT}LinearRegression(optim.SGD(3.0))", _FIELDS, Field("y", "integer")),
]  # fmt: skip
_POLICIES = [
    Policy(Every(None, 50), 1 << 26),
    Policy(Every(7, None), 1 << 26),
    Policy(Every(100, None), 150, "freeze"),
    Policy(Every(20, None), 150, "reset"),
    Policy(Every(None, 1000), 150, "keep"),
]

_numbers = st.one_of(
    st.floats(-5, 5), st.sampled_from([0.0, -0.0, 1.0, 1e16, 1e149, 1e160, math.nan, math.inf, None, 5e-324])
)
_integers = st.one_of(st.integers(-9, 9), st.sampled_from([None, 2**53 + 1, 2**62, 10**30]))
_labels = {"boolean": st.booleans(), "number": st.floats(-9, 9), "integer": st.integers(-9, 9)}
_odd = {"boolean": [None], "number": [None, math.nan, 1e200], "integer": [None, 2**60 + 1]}


def _row(kind: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(
        st.sampled_from([STEP] * 6 + [LEARN, SCORE, SCORE_LATE]),
        st.sampled_from(["k", "k", "k", "other", "", None]),
        st.integers(0, 20),
        st.one_of(_labels[kind], _labels[kind], _labels[kind], st.sampled_from(_odd[kind])),
        st.one_of(st.floats(-5, 5), _numbers),
        st.one_of(st.integers(-9, 9), _integers),
        st.one_of(st.booleans(), st.booleans(), st.none()),
    )


@st.composite
def _streams(draw: st.DrawFn) -> tuple[EngineSpec, Policy, list[tuple[Any, ...]], int]:
    spec = draw(st.sampled_from(_SPECS))
    unlike = draw(st.lists(_row(spec.output.kind), min_size=1, max_size=25))
    given: list[tuple[Any, ...]] = []
    now = 0
    # A long stream of few different rows: what happens at the 64th or the 512th is in it.
    for at in range(draw(st.sampled_from([20, 90, 200, 700]))):
        kind, key, later, label, *values = unlike[at * at % len(unlike)]
        now += later
        event_id = None if key is None and at % 2 else f"e{at}"
        given.append((kind, key, event_id, now - at % 3, now, label, *values))
    return spec, draw(st.sampled_from(_POLICIES)), given, draw(st.sampled_from([16, 33, 200, 1000]))


def _all(spec: EngineSpec, policy: Policy, given: list[tuple[Any, ...]], cut: int, blocks: bool, cold: bool) -> Any:
    store, found = Store(cold), []
    logic = LearningLogic(spec, policy)
    if not blocks:
        logic._blocks = None
    for start in range(0, len(given), cut):
        found.append(logic.on_rows(rows(*given[start : start + cut]), store))
    found.append(logic.on_time(10**9, store))
    # repr tells -0.0 from 0.0, int from float, and calls NaN the same as NaN.
    seen = [repr([o.answers.columns, o.published, o.refusals, o.alerts]) for o in found]
    return seen, {key: store[key].dump() for key in sorted(store)}, sorted(store.waits.items())


@settings(max_examples=120, deadline=None)
@given(_streams(), st.booleans())
def test_a_block_is_what_its_rows_are_one_by_one(stream: Any, cold: bool) -> None:
    assert _all(*stream, blocks=True, cold=cold) == _all(*stream, blocks=False, cold=cold)


def test_most_rows_of_a_plain_block_never_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    logic, store, single = LearningLogic(_SPECS[2], _POLICIES[0]), Store(), []
    whole = LearningLogic._rows

    def counted(self: Any, columns: Any, *rest: Any) -> None:
        single.append(len(columns[0]))
        whole(self, columns, *rest)

    monkeypatch.setattr(LearningLogic, "_rows", counted)
    given = [(STEP, f"k{n % 3}", f"e{n}", 0, 0, float(n % 7), n % 5 / 5, n % 11, n % 2 == 0) for n in range(2000)]
    logic.on_rows(rows(*given), store)
    assert 3 <= sum(single) < 40
    assert set(single) == {1}


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("linear_model.PAClassifier()", _POLICIES[0]),
        (MODEL, Policy(Every(None, None, True), 1 << 26)),
        (MODEL, Policy(Every(None, 50), 1 << 26, prior_strength=5)),
    ],
)
def test_models_and_policies_that_need_each_row_have_no_blocks(text: str, policy: Policy) -> None:
    spec = EngineSpec("river", "classification", text, _FIELDS, Field("y", "boolean"))
    assert BlockLearning.of(spec, policy) is None

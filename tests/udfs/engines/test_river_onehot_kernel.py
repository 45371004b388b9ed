"""The loop for scaled numbers and one-hot texts: River's numbers to the last bit, or River itself."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.safe_pickle import dumps

finite = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e-300, 5e-324, 123456.789])
UNION = "(compose.Select('a', 'n') | preprocessing.StandardScaler()) + (compose.Select({}) | {}) | {}"
ONE_HOT = "preprocessing.OneHotEncoder(drop_zeros=True)"
LOGIT = "linear_model.LogisticRegression(optim.SGD(0.3))"
MIXED = (
    Field("a", "number"),
    Field("b", "number"),
    Field("n", "integer"),
    Field("flag", "boolean"),
    Field("s", "string"),
    Field("t", "string"),
)
words = st.sampled_from(["x", "y", "x_y", "", "\ud800", "é"]) | st.text(max_size=2)


def spec_of(text: str, task: str = "classification", output: str = "boolean", inputs: Any = MIXED) -> EngineSpec:
    return EngineSpec("river", task, text, tuple(inputs), Field("y", output))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(finite, finite, st.integers(-2, 2), st.booleans(), words, words), min_size=2, max_size=40),
    st.sampled_from(
        [
            (UNION.format("'s', 't'", ONE_HOT, LOGIT), "classification", "boolean"),
            (UNION.format("'t', 'flag', 'b'", ONE_HOT, LOGIT), "classification", "boolean"),
            (UNION.format("'s'", ONE_HOT, "linear_model.LinearRegression(optim.SGD(0.1))"), "regression", "number"),
            (
                f"(compose.SelectType(str) | {ONE_HOT}) + (compose.SelectType(float) | preprocessing.StandardScaler())"
                f" + (compose.Select('n') | {ONE_HOT}) | {LOGIT}",
                "classification",
                "boolean",
            ),
        ]
    ),
    st.integers(1, 10),
)
def test_the_one_hot_loop_is_river_bit_for_bit(
    rows: list[tuple[Any, ...]], model: tuple[str, str, str], every: int
) -> None:
    spec = spec_of(*model)
    engine: Any = build(spec)
    assert engine._kernel is not None
    plain = parse(model[0]).construct(0)
    for at, values in enumerate(rows):
        row = {field.name: value for field, value in zip(MIXED, values, strict=True)}
        label: Any = values[3] if model[2] == "boolean" else values[0] / 7
        if at % every == 0:
            engine = restore(spec, engine.dump())
        answer = engine.step(row, label)
        if at and answer.status == "ok":
            assert answer.score == (
                plain.predict_proba_one(row)[True] if model[2] == "boolean" else plain.predict_one(row)
            )
        plain.learn_one(row, label)
    if engine.healthy():
        assert dumps(engine.model) == dumps(plain)
        assert list(engine.model[-1].weights) == list(plain[-1].weights)


@pytest.mark.parametrize(
    "text",
    [
        UNION.format("'s', 's_t'", ONE_HOT, LOGIT),  # s_t_x may be the value t_x of s
        UNION.format("'s'", "preprocessing.OneHotEncoder()", LOGIT),
        UNION.format("'s'", ONE_HOT, "linear_model.LogisticRegression(l2=0.1)"),
        f"compose.Select('s') + (compose.Select('s_t') | {ONE_HOT}) | {LOGIT}",
    ],
)
def test_what_the_one_hot_loop_cannot_do_river_does(text: str) -> None:
    inputs = (Field("a", "number"), Field("n", "number"), Field("s", "string"), Field("s_t", "string"))
    if text.startswith("compose.Select('s') +"):
        inputs = (Field("s", "number"), Field("s_t", "string"))
    engine: Any = build(spec_of(text, inputs=inputs))
    assert engine._kernel is None


def test_a_damaged_one_hot_state_is_refused() -> None:
    spec = spec_of(UNION.format("'s'", ONE_HOT, LOGIT))
    engine: Any = build(spec)
    engine.learn({"a": 1.0, "b": 2.0, "n": 3, "flag": True, "s": "x", "t": "y"}, True)
    kernel = engine._kernel
    state = kernel.pack()
    damages = (
        b"",
        state[:3],
        state[:-1],
        state + b"\0",
        b"\xff\xff\xff\x7f" + state[4:],
        state.replace(b"s_x", b'a",'),
    )
    for damaged in damages:
        with pytest.raises((ValueError, struct.error), match=r".+"):
            kernel.fresh().unpack(damaged)

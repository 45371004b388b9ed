"""Networks from text: the protocol, what they learn, what they refuse, and that a stop leaves no trace."""

from __future__ import annotations

import copy
import math
import os
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, RecordError, SnapshotError
from thalweg.udfs.engines import build, engine_class, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_options import PARAMS

MIXED = (Field("a", "number"), Field("n", "integer"), Field("b", "boolean"), Field("c", "string"), Field("v", "vector"))
TEXT = "mlp(8, 4, embedding(c, 3, 5), embedding(n, 2), vector(v, 2))"
AB = (Field("a", "number"), Field("b", "number"))
LABELS: dict[str, Any] = {
    "boolean": lambda row: row["a"] > 0,
    "number": lambda row: 1000 + 50 * row["a"],
    "string": lambda row: row["c"] if row["a"] > 0 else "none",
    "integer": lambda row: row["n"] % 3,
}
TASKS = {"boolean": "classification", "number": "regression", "string": "classification", "integer": "classification"}


def spec_of(
    text: str = "mlp(8)", output: str = "boolean", inputs: Any = AB, task: str = "", **params: str
) -> EngineSpec:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return EngineSpec("neural", task or TASKS[output], text, tuple(inputs), Field("y", output), named)


def made(spec: EngineSpec) -> NeuralEngine:
    engine = build(spec)
    assert isinstance(engine, NeuralEngine)
    return engine


def mixed_rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        {"a": dice.gauss(0, 1), "n": dice.randrange(4), "b": dice.random() < 0.5, "c": dice.choice("uvwxyz"),
         "v": [dice.gauss(5, 1), dice.random()]} for _ in range(count)
    ]  # fmt: skip


def problems(spec: EngineSpec) -> str:
    with pytest.raises(ConfigError) as caught:
        build(spec)
    assert all(problem.where and problem.what and problem.remedy for problem in caught.value.problems)
    return str(caught.value)


PARAM_SETS = [
    {},
    {"batch_size": "4", "optimiser": "adam", "schedule": "cosine(10)"},
    {"optimiser": "ftrl", "clip_norm": "0.5", "l2": "0.01"},
    {"optimiser": "momentum", "trainable": "embeddings", "schedule": "step(5, 0.5)"},
]


@pytest.mark.parametrize("output", list(LABELS))
@pytest.mark.parametrize("params", PARAM_SETS, ids=["sgd", "adam", "ftrl", "momentum"])
def test_networks_from_text_keep_the_protocol(output: str, params: dict[str, str]) -> None:
    check_learner(spec_of(TEXT, output, MIXED, **params), [(row, LABELS[output](row)) for row in mixed_rows(17)])


def test_networks_from_text_are_the_same_in_other_processes() -> None:
    rows = mixed_rows(20)
    check_processes([(spec_of(TEXT, output, MIXED), [(row, LABELS[output](row)) for row in rows]) for output in LABELS])


def test_the_engine_is_registered_with_its_options() -> None:
    assert engine_class("neural") is NeuralEngine
    assert set(NeuralEngine.OPTIONS) == set(PARAMS)


def test_a_line_between_two_circles_is_learned() -> None:
    """What no linear model can."""
    dice = random.Random(4)
    engine = made(spec_of("mlp(16, 8)", optimiser="adam", learning_rate="0.01"))
    hits = 0
    for turn in range(3000):
        angle, far = dice.uniform(0, 2 * math.pi), dice.random() < 0.5
        size = 100 * (3 if far else 1)
        row = {"a": 1e6 + size * math.cos(angle), "b": size * math.sin(angle)}
        answer = engine.step(row, far)
        hits += turn >= 2000 and answer.label == str(far).lower()
    assert hits > 980


def test_numbers_of_any_size_are_learned_and_missed_by_little() -> None:
    dice = random.Random(4)
    engine = made(spec_of("mlp(16)", "number", optimiser="adam", learning_rate="0.01"))
    errors = []
    for _ in range(3000):
        row = {"a": dice.gauss(1e9, 10), "b": dice.gauss(0, 1e-3)}
        truth = 5e6 + 1000 * (row["a"] - 1e9) * (1 if row["b"] > 0 else -1)
        answer = engine.step(row, truth)
        errors.append(abs((answer.score or 0) - truth))
    assert np.mean(errors[2500:]) < 2000  # of about 8,000 by which the best constant misses


def test_texts_are_learned_one_by_one_and_those_beyond_the_table_together() -> None:
    engine = made(spec_of("mlp(8, embedding(c, 4, 3))", "boolean", [Field("c", "string")], learning_rate="0.3"))
    dice = random.Random(1)
    truth = {"u": True, "v": False, "w": True, "x": False, "y": False}
    for name in "uvw":
        engine.learn({"c": name}, truth[name])
    for _ in range(400):
        name = dice.choice("uvwxy")
        engine.learn({"c": name}, truth[name])
    answers = dict(zip("uvwxyz", engine.score([{"c": name} for name in "uvwxyz"]), strict=True))
    assert {name: answer.label for name, answer in answers.items()} == {
        **{name: str(value).lower() for name, value in truth.items()}, "z": "false",
    }  # fmt: skip
    assert answers["x"] == answers["y"] == answers["z"]


def test_a_text_without_a_row_of_its_own_begins_as_nothing() -> None:
    engine = made(spec_of("mlp(8, embedding(c, 4))", "boolean", [Field("c", "string")]))
    assert not engine.weights.feeds["embedding.c"][0].any()
    assert engine.weights.feeds["embedding.c"][1:].all()


def test_classes_appear_in_their_order_up_to_a_bound() -> None:
    engine = made(spec_of(output="string", max_classes="3"))
    rows = [{"a": float(at), "b": 1.0} for at in range(3)]
    for row, name in zip(rows, ("red", "green", "blue"), strict=True):
        engine.learn(row, name)
    answer = engine.score(rows)[0]
    assert list(answer.probabilities or {}) == ["red", "green", "blue"]
    assert sum((answer.probabilities or {}).values()) == pytest.approx(1, abs=1e-6)
    with pytest.raises(RecordError, match="'pink' is one class more than the 3 that there may be"):
        engine.learn(rows[0], "pink")
    other = made(spec_of(output="string", max_classes="3"))
    assert list(other.learn_many(rows * 2, ["red", "green", "blue", "pink", "red", "red"])) == [3]
    named = made(spec_of(output="string", classes="no, yes"))
    named.learn(rows[0], "yes")
    assert list(named.score(rows)[0].probabilities or {}) == ["no", "yes"]


@pytest.mark.parametrize("params", PARAM_SETS, ids=["sgd", "adam", "ftrl", "momentum"])
def test_learning_a_batch_is_one_step(params: dict[str, str]) -> None:
    rows = mixed_rows(8)
    labels = [LABELS["boolean"](row) for row in rows]
    spec = spec_of(TEXT, "boolean", MIXED, **params)
    alone, one = made(spec), made(spec)
    alone.learn_many(rows[:1], labels[:1])
    if params.get("batch_size", "1") == "1":
        one.learn(rows[0], labels[0])
        assert one.dump() == alone.dump()
    many = made(spec)
    assert many.learn_many(rows, labels) == {}
    assert (many.weights.steps, many.learned) == (1, 8)
    assert many.learn_many([], []) == {}


def test_a_mini_batch_that_fills_up_is_one_step() -> None:
    spec = spec_of(batch_size="3", optimiser="adam")
    rows = [{"a": float(at), "b": float(-at * at)} for at in range(7)]
    engine = made(spec)
    steps = []
    for at, row in enumerate(rows):
        engine.learn(row, at % 2 == 0)
        steps.append(engine.weights.steps)
    assert steps == [0, 0, 1, 1, 1, 2, 2]
    assert engine.learned == 7


def test_bad_rows_of_a_batch_are_refused_and_the_others_learned() -> None:
    good, bad = {"a": 1.0, "b": 2.0}, {"a": math.nan, "b": 2.0}
    one, other = made(spec_of()), made(spec_of())
    found = one.learn_many([good, bad, good, good], [True, True, None, False])
    assert found == {1: "'a' is not finite (nan)", 2: "the label 'y' is missing"}
    other.learn_many([good, good], [True, False])
    assert one.dump() == other.dump()
    assert one.healthy()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["learn", "step", "many", "score", "stop", "bad"]), min_size=1, max_size=25),
    st.sampled_from(list(LABELS)),
    st.sampled_from(PARAM_SETS),
)
def test_a_stop_anywhere_leaves_no_trace(calls: list[str], output: str, params: dict[str, str]) -> None:
    spec = spec_of(TEXT, output, MIXED, **params)
    plain, stopped = made(spec), made(spec)
    for at, call in enumerate(calls):
        rows = mixed_rows(3, seed=at)
        labels = [LABELS[output](row) for row in rows]
        if call == "stop":
            stopped = restore(spec, stopped.dump())  # type: ignore[assignment]
        for engine in (plain, stopped):
            if call in ("learn", "step"):
                getattr(engine, call)(rows[0], labels[0])
            elif call == "many":
                engine.learn_many(rows, labels)
            elif call == "bad":
                with pytest.raises(RecordError):
                    engine.learn({**rows[0], "a": math.inf}, labels[0])
        assert plain.score(rows) == stopped.score(rows)
    assert plain.dump() == stopped.dump()


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adagrad", "adam"])
def test_a_learning_rate_that_is_too_high_is_found_out(optimiser: str) -> None:
    engine = made(spec_of("mlp(8)", "number", optimiser=optimiser, learning_rate="100000"))
    dice = random.Random(3)
    for _ in range(60):
        engine.learn({"a": dice.gauss(0, 1), "b": dice.gauss(0, 1)}, dice.gauss(0, 1))
    assert not engine.healthy()
    for answer in engine.score([{"a": 1.0, "b": 2.0}]):
        assert answer.status in ("ok", "refused")
    assert not restore(engine.spec, engine.dump()).healthy()  # type: ignore[attr-defined]


def test_a_process_that_was_forked_goes_on_learning() -> None:
    engine, other = made(spec_of()), made(spec_of())
    row = {"a": 1.0, "b": 2.0}
    for each in (engine, other):
        each.learn(row, True)
    other.learn(row, False)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            engine.learn(row, False)
            os.write(writer, b"y" if engine.dump() == other.dump() else b"n")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"y"
    assert os.waitpid(pid, 0)[1] == 0


def test_a_copy_learns_on_its_own() -> None:
    engine = made(spec_of())
    engine.learn({"a": 1.0, "b": 2.0}, True)
    other, blob = copy.deepcopy(engine), engine.dump()
    other.learn({"a": 1.0, "b": 2.0}, False)
    assert engine.dump() == blob != other.dump()


def test_a_table_that_grows_past_use_is_found_out() -> None:
    engine = made(spec_of("mlp(embedding(c, 4, 3))", "number", [Field("c", "string")], trainable="embeddings"))
    assert engine.healthy()
    engine.learn({"c": "u"}, 1.0)
    engine.weights.step(None, [(0, np.array([1]), np.full((1, 4), 1e9, np.float32))])
    assert not engine.healthy()
    assert not restore(engine.spec, engine.dump()).healthy()  # type: ignore[attr-defined]


def test_a_snapshot_holds_no_more_of_a_table_than_is_used() -> None:
    small, large = (
        made(spec_of(f"mlp(4, embedding(c, 8, {rows}))", inputs=[Field("c", "string")], optimiser="adam"))
        for rows in (100, 100_000)
    )
    for engine in (small, large):
        for name in "uvw":
            engine.learn({"c": name}, True)
    assert len(large.dump()) == len(small.dump()) < 2500


def test_another_declaration_does_not_take_the_snapshot() -> None:
    engine = made(spec_of())
    engine.learn({"a": 1.0, "b": 2.0}, True)
    for other in (spec_of("mlp(9)"), spec_of(optimiser="adam"), spec_of(trainable="last-layer"), spec_of(seed="1"),
                  spec_of(inputs=AB[::-1])):  # fmt: skip
        with pytest.raises(SnapshotError, match="another network"):
            restore(other, engine.dump())
    again = restore(spec_of(learning_rate="0.5", clip_norm="1"), engine.dump())
    assert again.dump() == engine.dump()


def test_snapshots_that_lie_are_refused() -> None:
    from thalweg.udfs.engines.neural_state import join, split

    spec = spec_of("mlp(4, embedding(c, 2, 3))", "string", [Field("c", "string")], batch_size="3", max_classes="2")
    engine = made(spec)
    engine.learn({"c": "u"}, "red")
    digest, parts = engine.plan.digest, split(engine.dump(), engine.plan.digest)
    codec, weights, rows = bytes(parts.codec), bytes(parts.weights), bytes(parts.rows)
    scaling = codec[: codec.index(b"[")]

    def with_names(text: bytes) -> bytes:
        return scaling[:-4] + len(text).to_bytes(4, "little") + text

    assert restore(spec, join(digest, 1, with_names(b'[[["u"]],["red"]]'), weights, rows)).dump() == engine.dump()
    broken = [
        (with_names(b'[[["u","v","w","x"]],["red"]]'), weights, rows),
        (with_names(b'[[["u"]],["red","blue","green"]]'), weights, rows),
        (with_names(b'[[["u","u"]],["red"]]'), weights, rows),
        (with_names(b'[[[1]],["red"]]'), weights, rows),
        (with_names(b'[[["u"]]]'), weights, rows),
        (with_names(b'[[["u","v"]],["red"]]'), weights, rows),
        (codec, weights + b"\0\0\0\0", rows),
        (codec, weights, rows[:-1]),
        (codec, weights, b"[[{},[[0,0]]]]"),
        (codec, weights, b'[[{"c":[0]},[[0]]]]'),
        (codec, weights, b"[" + b",".join([rows[1:-1]] * 3) + b"]"),
        (b"\xff" * 8 + codec[8:24] + b"\xff" * 8 + codec[32:], weights, rows),
    ]
    for part in broken:
        with pytest.raises(SnapshotError, match="damaged"):
            restore(spec, join(digest, 1, *part))


def test_all_that_is_wrong_with_a_declaration_is_told_at_once() -> None:
    told = problems(
        spec_of("mlp(0, embedding(z, 3), tree(4))", inputs=[*AB, Field("c", "string")], optimiser="adamw", sead="3",
                learning_rate="-1", schedule="sometimes", clip_norm="x", batch_size="0", loss="hinge", momentum="1",
                positive="yes")
    )  # fmt: skip
    for part in (
        "'0' is not a hidden layer", "embedding of 'z': that input is not declared", "'tree(4)' is no part", "'adamw'",
        "option 'learning-rate': '-1'", "'sometimes' is no schedule", "option 'clip-norm': 'x'",
        "option 'batch-size': '0'",
        "'hinge' is no loss of this task", "option 'momentum': 1.0", "option 'positive': is for a network from a file",
        "option 'sead'",
    ):  # fmt: skip
        assert part in told, part
    assert "input 'c': is a string" in problems(spec_of(inputs=[*AB, Field("c", "string")]))
    assert "Add vector(c, 16)" in problems(spec_of(inputs=[*AB, Field("c", "vector")]))
    assert "regression gives no boolean" in problems(spec_of(task="regression"))
    assert "there are none" in problems(spec_of(inputs=[]))
    assert "ftrl lowers its rate by itself" in problems(spec_of(optimiser="ftrl", schedule="cosine"))
    assert "is 0: nothing would be learned" in problems(spec_of(learning_rate="0"))
    assert "names no weights" in problems(spec_of(trainable="embeddings"))
    assert "names one twice" in problems(spec_of(output="string", classes="a,a"))

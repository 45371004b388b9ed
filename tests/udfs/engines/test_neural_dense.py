"""Dense networks in machine code against the same networks in the runtime, and which networks are taken for dense."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_neural_engine import LABELS, MIXED, mixed_rows
from test_neural_engine import made as made_of
from test_neural_engine import spec_of as text_spec
from test_neural_file import AMOUNT, EMBEDDED, EVENT, ROWS, dense, embedding, made, network, node, spec_of
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_text import ACTIVATIONS


def in_the_runtime(engine: NeuralEngine) -> NeuralEngine:
    assert engine._steps._loop is not None
    engine._steps._loop = None
    return engine


def assert_alike(one: NeuralEngine, other: NeuralEngine, rows: list[Any]) -> None:
    for name, array in one.weights.feeds.items():
        np.testing.assert_allclose(array, other.weights.feeds[name], atol=2e-5, err_msg=name)
    assert one.weights.steps == other.weights.steps
    for mine, theirs in zip(one.score(rows), other.score(rows), strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-4, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    output=st.sampled_from(list(LABELS)),
    layers=st.sampled_from(["", "3, ", "7, 5, ", "16, 9, 4, "]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    optimiser=st.sampled_from(["sgd", "momentum", "adam", "adagrad", "ftrl"]),
    params=st.sampled_from([{}, {"clip_norm": "0.3"}, {"l2": "0.05"}, {"clip_norm": "0.3", "l2": "0.05"}]),
    schedule=st.sampled_from(["constant", "inverse(3)"]),
    sizes=st.lists(st.integers(1, 24), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_machine_code_learns_as_the_runtime(
    output: str, layers: str, activation: str, optimiser: str, params: dict[str, str], schedule: str, sizes: list[int],
    seed: int,
) -> None:  # fmt: skip
    text = f"mlp({layers}embedding(c, 3, 4), embedding(n, 2), vector(v, 2), activation='{activation}')"
    more = {"schedule": "constant" if optimiser == "ftrl" else schedule, **params}
    spec = text_spec(text, output, MIXED, optimiser=optimiser, learning_rate="0.05", seed=str(seed), **more)
    one, other = made_of(spec), in_the_runtime(made_of(spec))
    for at, size in enumerate(sizes):
        rows = mixed_rows(size, seed + at)
        labels = [LABELS[output](row) for row in rows]
        for engine in (one, other):
            assert engine.learn_many(rows, labels) == {}
    rows = mixed_rows(5, seed + 100)
    # A gradient that is 0 in one of them and the rounding error of 0 in the other is a whole step of Adam.
    if optimiser not in ("adam", "adagrad", "ftrl"):
        assert_alike(one, other, rows)
    assert one.weights.steps == other.weights.steps == len(sizes)


@pytest.mark.parametrize("loss", ["squared", "huber(0.7)", "quantile(0.8)"])
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam", "adagrad", "ftrl"])
def test_losses_and_optimisers_of_a_file_are_those_of_the_runtime(loss: str, optimiser: str) -> None:
    spec = spec_of(dense(), "regression", "number", loss=loss, optimiser=optimiser, learning_rate="0.05", l2="0.01")
    one, other = made(spec), in_the_runtime(made(spec))
    for start in (0, 8, 11, 20):
        for engine in (one, other):
            engine.learn_many(ROWS[start : start + 8], AMOUNT[start : start + 8].tolist())
    assert_alike(one, other, ROWS)


def test_a_row_is_answered_alike_alone_among_others_and_on_the_way_to_being_learned() -> None:
    engine = made(spec_of(dense([node("Sigmoid", "z", "p")]), "classification", "boolean"))
    for at, (row, event) in enumerate(zip(ROWS, EVENT.tolist(), strict=True)):
        whole = engine.score(ROWS)
        assert engine.score([row]) == whole[at : at + 1]
        assert engine.step(row, event) == whole[at]


def test_which_networks_are_dense() -> None:
    def is_dense(data: bytes, task: str = "regression", output: str = "number", **params: Any) -> bool:
        return made(spec_of(data, task, output, **params))._steps._loop is not None

    squeezed = network(
        [node("MatMul", "x w", "m"), node("Add", "b m", "a"), node("Elu", "a", "e", alpha=0.5),
         node("Gemm", "e v", "g"), node("Reshape", "g s", "y")],
        {"w": np.ones((4, 3), np.float32), "b": np.ones(3, np.float32), "v": np.ones((3, 1), np.float32),
         "s": np.array([-1], np.int64)}, outputs=[("y", 1, ("n",))],
    )  # fmt: skip
    assert is_dense(dense())
    assert is_dense(squeezed)
    assert is_dense(dense([node("Softmax", "z", "p", axis=1)], 3), "classification", "integer")
    assert not is_dense(dense(), trainable="last-layer")
    assert not is_dense(dense([node("LogSoftmax", "z", "p", axis=1)], 3), "classification", "integer")
    assert not is_dense(embedding(), "classification", "boolean", inputs=EMBEDDED)
    for name, nodes in {
        "beside": [node("Gemm", "x w", "h"), node("Relu", "h", "r"), node("Add", "r x", "a"), node("Gemm", "a v", "y")],
        "factor": [node("Gemm", "x w", "h", alpha=0.5), node("Gemm", "h v", "y")],
        "other": [node("Gemm", "x w", "h"), node("Softplus", "h", "r"), node("Gemm", "r v", "y")],
        "scaled": [node("Mul", "x c", "m"), node("Gemm", "m w", "h"), node("Gemm", "h v", "y")],
    }.items():
        weights = {"w": np.ones((4, 4), np.float32), "v": np.ones((4, 1), np.float32), "c": np.ones(4, np.float32)}
        assert not is_dense(network(nodes, weights)), name
    shared = network(
        [node("Gemm", "x w", "h"), node("Relu", "h", "r"), node("Gemm", "r w", "g"), node("Gemm", "g v", "y")],
        {"w": np.eye(4, dtype=np.float32) / 2, "v": np.ones((4, 1), np.float32)},
    )
    for data in (squeezed, shared):
        spec = spec_of(data, "regression", "number", learning_rate="0.05")
        one, other = made(spec), in_the_runtime(made(spec))
        for engine in (one, other):
            engine.learn_many(ROWS[:8], AMOUNT[:8].tolist())
        assert_alike(one, other, ROWS)


def test_rows_of_a_table_that_grow_past_use_are_found_out_in_machine_code() -> None:
    spec = text_spec("mlp(2, embedding(c, 2, 3))", "number", [MIXED[3]], learning_rate="1e8")
    engine, dice = made_of(spec), random.Random(2)
    assert engine._steps._loop is not None
    for _ in range(30):
        engine.learn({"c": dice.choice("uv")}, dice.gauss(0, 1))
    assert not engine.healthy()

"""Networks in the learning operator: divergence, and a start from another file, with state through bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_operators import Flink
from test_warm_start import Arriving
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines import build
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_export import export_onnx
from thalweg.udfs.flink.operators import ANSWER_TYPES, EXTRA_TYPES, LearningOperator
from thalweg.udfs.flink.warm_start import open_warm_start
from thalweg.udfs.logic.declaration import Declaration, declare
from thalweg.udfs.logic.learning import SCORE, STEP, learning_kinds
from thalweg.udfs.logic.packing import pack_columns

DICE = np.random.default_rng(5)
X = DICE.normal(size=(64, 4)).astype(np.float32)
ROWS = [{f"f{at}": float(value) for at, value in enumerate(row)} for row in X]
AMOUNT = (X[:, 0] * 2 - X[:, 2]).astype(np.float64)


def dense(last: str = "Identity") -> bytes:
    weights = {"w0": (4, 6), "b0": (6,), "w1": (6, 1)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "w1"], ["z"]), helper.make_node(last, ["z"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.full(shape, 0.1, np.float32), name) for name, shape in weights.items()],
    )  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def declared(model: str, **options: str) -> Declaration:
    head = {"provider": "neural", "model": model, "input-table": "events", "event-id": "id", "label": "y", "key": "k"}
    chosen = {**head, **{name.replace("_", "-"): text for name, text in options.items()}}
    inputs = [(f"f{at}", "DOUBLE") for at in range(4)]
    return declare("m", inputs, [("y", "DOUBLE")], chosen, NeuralEngine.OPTIONS, True)


def block(d: Declaration, kind: int, start: int, count: int) -> bytes:
    labels = AMOUNT.tolist()
    given = [
        (kind, "k", f"e{n:04}", n, n, labels[n % 64] if kind == STEP else None, *ROWS[n % 64].values())
        for n in range(start, start + count)
    ]
    return pack_columns(list(zip(learning_kinds(d.spec), map(list, zip(*given, strict=True)), strict=True)), count)


def alerts(out: list[Any]) -> list[Any]:
    at = [*ANSWER_TYPES, *EXTRA_TYPES].index("alert")
    return [row[at] for row in out if row[at] is not None]


def scores(out: list[Any]) -> list[float]:
    return [score for row in out for score in row[3]]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("options", [{}, {"cadence": "100 events", "update_gate": "none"}], ids=["each", "updates"])
def test_a_network_that_diverges_goes_back_to_its_last_good_copy(options: dict[str, str], cached: bool) -> None:
    d = declared("mlp(16)", learning_rate="100000", **options)
    flink = Arriving(LearningOperator(d, False), cached)
    out = flink.element(block(d, STEP, 0, 256))
    found = alerts(out)
    assert {row[1] for row in found} == {"divergence"}
    assert {row[2] for row in found} == {"critical"}
    assert all("too high a learning rate" in row[6] for row in found)
    again = Arriving(LearningOperator(d, False), cached, flink.image())
    (cell,) = again.states["models"].values()
    engine = cell.engine(d.spec)
    assert engine.healthy()
    assert engine.learned == 0  # no copy was ever good
    assert again.element(block(d, SCORE, 256, 3))[0][6] == ["not_ready"] * 3


def test_a_network_goes_on_from_the_copy_before_it_diverged() -> None:
    calm, wild = declared("mlp(16)"), declared("mlp(16)", learning_rate="100000")
    flink = Arriving(LearningOperator(calm, False))
    flink.element(block(calm, STEP, 0, 512))
    wanted = scores(flink.element(block(calm, SCORE, 512, 5)))
    other = Arriving(LearningOperator(wild, False), True, flink.image())
    out = other.element(block(wild, STEP, 512, 64))
    (alert,) = alerts(out)
    assert "went back to the copy of 512" in alert[6]
    assert scores(other.element(block(wild, SCORE, 600, 5))) != wanted  # other rows
    assert scores(other.element(block(wild, SCORE, 512, 5))) == wanted


def test_keys_start_from_another_file_with_the_same_graph(tmp_path: Path) -> None:
    path, learned = tmp_path / "first.onnx", tmp_path / "learned.onnx"
    path.write_bytes(dense())
    engine: Any = build(declared(str(path)).spec)
    for row, label in zip(ROWS, AMOUNT.tolist(), strict=True):
        engine.learn(row, label)
    learned.write_bytes(export_onnx(engine))
    d = declared(str(path), warm_start=str(learned))
    flink = Flink(LearningOperator(d, False))
    assert scores(flink.element(block(d, SCORE, 0, 64))) == [answer.score for answer in engine.score(ROWS)]
    flink.operator.close()
    cold = declared(str(path))
    assert scores(Flink(LearningOperator(cold, False)).element(block(cold, SCORE, 0, 64))) != scores(
        Flink(LearningOperator(d, False)).element(block(d, SCORE, 0, 64))
    )
    learned.write_bytes(dense("Tanh"))
    with pytest.raises(ConfigError, match=r"(?s)model m, option 'warm-start': .*its graph is not that of 'model'"):
        open_warm_start(d)

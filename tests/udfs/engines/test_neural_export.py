"""Networks from text as ONNX files: the same answers in a fresh session, in both of Thalweg's own ways to serve one."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from thalweg.connector.errors import ModelError
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_export import export_onnx
from thalweg.udfs.engines.onnx_call import load_model

INPUTS = (
    Field("score", "number"),
    Field("n", "integer"),
    Field("b", "boolean"),
    Field("c", "string"),
    Field("v", "vector"),
)
TEXT = "mlp(8, embedding(c, 3, 4), embedding(n, 2), vector(v, 2))"
TASKS = {"boolean": "classification", "number": "regression", "string": "classification"}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        {"score": dice.gauss(1e6, 3), "n": dice.randrange(9), "b": dice.random() < 0.5, "c": dice.choice("uvwxyz"),
         "v": [dice.gauss(5, 1), dice.random()]} for _ in range(count)
    ]  # fmt: skip


def trained(output: str, count: int) -> NeuralEngine:
    labels: dict[str, Any] = {
        "boolean": lambda row: row["score"] > 1e6, "number": lambda row: row["score"] * 3,
        "string": lambda row: row["c"] + "!",
    }  # fmt: skip
    engine = build(EngineSpec("neural", TASKS[output], TEXT, INPUTS, Field("y", output), (("learning-rate", "0.05"),)))
    assert isinstance(engine, NeuralEngine)
    for row in rows(count, 1):
        engine.learn(row, labels[output](row))
    return engine


@pytest.mark.parametrize("output", list(TASKS))
@pytest.mark.parametrize("count", [2, 300])
def test_an_exported_network_gives_the_same_answers(output: str, count: int) -> None:
    engine = trained(output, count)
    data = export_onnx(engine)
    assert export_onnx(engine) == data
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    test = [*rows(40, 2), {"score": 1e12, "n": -(2**62), "b": True, "c": "never seen", "v": [1e100, 0.0]}]
    answers = engine.score(test)
    assert {answer.status for answer in answers} == {"ok"}

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds: dict[str, Any] = {
        "score": np.array([[row["score"]] for row in test]), "n": np.array([[row["n"]] for row in test]),
        "b": np.array([[row["b"]] for row in test]), "c": np.array([[row["c"]] for row in test], object),
        "v": np.array([row["v"] for row in test]),
    }  # fmt: skip
    raw = dict(zip([node.name for node in session.get_outputs()], session.run(None, feeds), strict=True))
    if output == "string":
        assert raw["y"].tolist() == [answer.label for answer in answers]
        wanted = [list((answer.probabilities or {}).values()) for answer in answers]
        np.testing.assert_allclose(raw["probabilities"], wanted, atol=1e-6)
    else:
        scale = 1e6 if output == "number" else 1.0
        np.testing.assert_allclose(
            raw["y"][:, 0] / scale, [(answer.score or 0) / scale for answer in answers], atol=1e-6
        )

    uri = "data:;base64," + base64.b64encode(data).decode()
    served = load_model(uri, [False] * 4 + [True])
    columns = [np.array([row[name] for row in test], object) for name in ("score", "n", "b", "c")]
    vectors = np.empty(len(test), object)
    vectors[:] = [np.array(row["v"]) for row in test]
    batch = served.run([*columns, vectors], len(test))
    if output == "string":
        assert batch.labels() == [answer.label for answer in answers]
        assert batch.probabilities()[0] == pytest.approx(answers[0].probabilities, abs=1e-6)
    else:
        np.testing.assert_allclose(batch.scores(), [answer.score for answer in answers], rtol=1e-6, atol=1e-6)
    assert batch.faults == {}
    frozen = build(EngineSpec("onnx", TASKS[output], uri, INPUTS, Field("y", output)))
    for mine, theirs in zip(answers, frozen.score(test), strict=True):
        assert (theirs.status, theirs.label) == ("ok", mine.label)
        assert theirs.score == pytest.approx(mine.score, rel=1e-6, abs=1e-6)


def test_a_network_of_one_class_cannot_be_exported() -> None:
    with pytest.raises(ModelError, match="has not seen two classes yet"):
        export_onnx(trained("string", 1))


def test_an_exported_network_goes_on_learning() -> None:
    data = export_onnx(trained("boolean", 50))
    uri = "data:;base64," + base64.b64encode(data).decode()
    engine: Any = build(EngineSpec("neural", "classification", uri, INPUTS, Field("y", "boolean")))
    assert len(engine.weights.feeds) == 6
    before = engine.score(rows(3, 3))
    engine.learn(rows(1, 3)[0], True)
    assert engine.score(rows(3, 3)) != before

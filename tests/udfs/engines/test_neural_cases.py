"""What poisons or inflates models elsewhere, for every way to bring a network: types, NaN, sizes of numbers, growth."""

from __future__ import annotations

import math
import random
from decimal import Decimal

import numpy as np
import pytest
from learning_store import Store, rows
from onnx import TensorProto
from test_neural_engine import made as made_of
from test_neural_engine import spec_of as text_spec
from test_neural_file import dense, made, network, node, spec_of
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.logic.learning import STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.upkeep import Policy

KINDS = {"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32}
FOUR = tuple(Field(f"f{at}", "number") for at in range(4))


def typed(kind: str) -> bytes:
    """A network whose input is of another type than its weights, as exporters leave it."""
    proto = {"float": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "int64": TensorProto.INT64,
             "int32": TensorProto.INT32}[kind]  # fmt: skip
    nodes = [node("Cast", "x", "c", to=TensorProto.FLOAT), node("Gemm", "c w b", "h"), node("Tanh", "h", "t"),
             node("Gemm", "t v", "y")]  # fmt: skip
    weights = {"w": np.full((4, 3), 0.1, np.float32), "b": np.zeros(3, np.float32), "v": np.ones((3, 1), np.float32)}
    return network(nodes, weights, [("x", proto, ("n", 4))])


def engines() -> dict[str, NeuralEngine]:
    found = {}
    for kind, dtype in KINDS.items():
        fields = [Field(f"f{at}", "integer" if dtype(0).dtype.kind == "i" else "number") for at in range(4)]
        found[f"file of {kind}"] = made(spec_of(typed(kind), "regression", "number", fields))
    found["plain file"] = made(spec_of(dense(), "regression", "number", FOUR))
    found["text"] = made_of(text_spec("mlp(6)", "number", FOUR))
    found["text in batches"] = made_of(text_spec("mlp(6)", "number", FOUR, batch_size="3"))
    return found


@pytest.mark.parametrize("name", list(engines()))
def test_numbers_of_every_type_are_cast_and_learned(name: str) -> None:
    """C34: what crosses the SQL boundary is int, bool, Decimal, float32 or float64, and the network has its own."""
    engine = engines()[name]
    plain = {"f0": 1, "f1": 2, "f2": 0, "f3": -3}
    odd = {"f0": 1, "f1": np.int64(2), "f2": Decimal("0"), "f3": -3}
    engine.learn(plain, 1.0)
    other = engines()[name]
    other.learn(odd, 1)
    assert other.dump() == engine.dump()
    assert other.score([odd]) == engine.score([plain])
    assert engine.score([plain])[0].status == "ok"


POISON = [math.nan, math.inf, -math.inf, None, "N/A", [1.0], Decimal("NaN"), 1e400, np.float32("inf"), 10**400]


@pytest.mark.parametrize("name", list(engines()))
def test_one_bad_number_is_refused_by_every_call_and_leaves_no_trace(name: str) -> None:
    """C51: a single NaN in a learned row makes every weight NaN, and the label is a number as well."""
    engine, good = engines()[name], {"f0": 1, "f1": 2, "f2": 0, "f3": -3}
    engine.learn(good, 1.0)
    blob = engine.dump()
    for poison in POISON:
        for row, label in (({**good, "f2": poison}, 1.0), (good, poison)):
            for call in (engine.learn, engine.step):
                with pytest.raises(RecordError):
                    call(row, label)
            assert list(engine.learn_many([row], [label])) == [0], poison
            assert engine.dump() == blob, poison
        assert engine.score([{**good, "f2": poison}])[0].status == "refused"
    assert engine.healthy()
    assert engine.score([good])[0].status == "ok"


def test_a_number_beyond_float32_is_refused_where_the_network_takes_float32() -> None:
    for name in ("plain file", "file of float"):
        engine = engines()[name]
        blob = engine.dump()
        with pytest.raises(RecordError):
            engine.learn({"f0": 1e39, "f1": 0.0, "f2": 0.0, "f3": 0.0}, 1.0)
        assert engine.dump() == blob


def policy(most: int = 1 << 26, then: str = "freeze") -> Policy:
    return Policy(Every(None, 1 << 40), most, then)


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
def test_epoch_seconds_without_a_scaler_end_in_the_last_good_copy(optimiser: str) -> None:
    """C52: raw timestamps and amounts; a text has its scaler first, a customer's file may have none."""
    dice = random.Random(5)
    given = [(STEP, "k", f"e{n}", n, n, dice.gauss(0, 1e6), 1.7e9 + n, dice.uniform(0, 6e5)) for n in range(256)]
    two = (Field("a", "number"), Field("b", "number"))
    weights = {"w": np.full((2, 3), 0.1, np.float32), "v": np.ones((3, 1), np.float32)}
    data = network([node("Gemm", "x w", "h"), node("Relu", "h", "r"), node("Gemm", "r v", "y")], weights,
                   [("x", TensorProto.FLOAT, ("n", 2))])  # fmt: skip
    rate = "1000000" if optimiser == "adam" else "0.01"  # Adam's step is the rate, whatever the gradient
    spec = spec_of(data, "regression", "number", two, optimiser=optimiser, learning_rate=rate)
    store = Store()
    outcome = LearningLogic(spec, policy()).on_rows(rows(*given), store)
    alerts = [alert for alert in outcome.alerts if alert.alert == "divergence"]
    assert len(alerts) >= 1
    assert "too high a learning rate" in alerts[0].reason
    assert "without a scaler" in alerts[0].reason
    assert store["k"].engine(spec).healthy()
    text = text_spec("mlp(6)", "number", two, optimiser=optimiser, learning_rate="0.01")
    calm, kept = LearningLogic(text, policy()).on_rows(rows(*given), Store()), Store()
    assert not calm.alerts
    assert all(score is None or abs(score) < 1e8 for score in calm.answers.columns[3])
    assert kept == {}


def test_a_network_past_its_budget_is_told_and_stops_growing() -> None:
    """C58: the size is looked at as the model learns, whatever made it large; a table of texts fills up by and by."""
    spec = EngineSpec(
        "neural", "classification", "mlp(4, embedding(c, 16, 100000))", (Field("c", "string"),), Field("y", "boolean"),
        (("learning-rate", "0.01"), ("optimiser", "adam")),
    )  # fmt: skip
    given = [(STEP, "k", f"e{n}", n, n, n % 2 == 0, f"text {n}") for n in range(1400)]
    sizes = {}
    for then in ("freeze", "reset", "keep"):
        store = Store()
        outcome = LearningLogic(spec, policy(60_000, then)).on_rows(rows(*given), store)
        alert = outcome.alerts[0]
        assert (alert.alert, alert.threshold) == ("model-size", 60_000.0)
        assert 60_000 < alert.value < 130_000
        engine = store["k"].engine(spec)
        sizes[then] = len(engine.dump())
        assert len(outcome.answers.columns[0]) == 1400
    assert sizes["reset"] < sizes["freeze"] < sizes["keep"]
    assert sizes["freeze"] < 130_000

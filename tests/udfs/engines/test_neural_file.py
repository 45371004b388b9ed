"""Networks of customers: trained as scikit-learn and autograd train them, read as the ONNX engine reads them."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from thalweg.connector.errors import ConfigError, RecordError, SnapshotError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.neural_engine import NeuralEngine
from thalweg.udfs.engines.neural_export import export_onnx
from thalweg.udfs.engines.onnx_call import load_model

OPSET = {"": 17, "ai.onnx.ml": 3}
dice = np.random.default_rng(5)
X = dice.normal(size=(64, 4)).astype(np.float32)
NUMBERS = tuple(Field(f"f{at}", "number") for at in range(4))
ROWS = [{f"f{at}": float(value) for at, value in enumerate(row)} for row in X]
EVENT = X[:, 0] + X[:, 1] > 0
CLASS = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
AMOUNT = (X[:, 0] * 2 - X[:, 2]).astype(np.float64)


def uri(data: bytes) -> str:
    return "data:;base64," + base64.b64encode(data).decode()


def spec_of(data: bytes, task: str, output: str, inputs: Sequence[Field] = NUMBERS, **params: str) -> EngineSpec:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return EngineSpec("neural", task, uri(data), tuple(inputs), Field("y", output), named)


def made(spec: EngineSpec) -> NeuralEngine:
    engine = build(spec)
    assert isinstance(engine, NeuralEngine)
    return engine


def problems(spec: EngineSpec) -> str:
    with pytest.raises(ConfigError) as caught:
        build(spec)
    assert all(problem.where and problem.what and problem.remedy for problem in caught.value.problems)
    return str(caught.value)


def network(
    nodes: Sequence[Any],
    weights: dict[str, Any],
    inputs: Sequence[tuple[str, int, Sequence[Any]]] = (("x", TensorProto.FLOAT, ("n", 4)),),
    outputs: Sequence[tuple[str, int, Sequence[Any]]] = (("y", TensorProto.FLOAT, ("n", 1)),),
    opset: int = 17,
) -> bytes:
    graph = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), output.split(), name=f"the {kind} of {output}", **attributes)


def random(*shape: int) -> Any:
    return (np.random.default_rng(sum(shape)).normal(size=shape) * 0.5).astype(np.float32)


def dense(last: Sequence[Any] = (), width: int = 1) -> bytes:
    """As PyTorch exports one: Gemm with turned weights."""
    nodes = [
        node("Gemm", "x w0 b0", "h", transB=1),
        node("Tanh", "h", "t"),
        node("Gemm", "t w1 b1", "z", transB=1),
        *last,
    ]
    weights = {"w0": random(6, 4), "b0": random(6), "w1": random(width, 6), "b1": random(width)}
    out = last[-1].output[0] if last else "z"
    return network(nodes, weights, outputs=[(out, TensorProto.FLOAT, ("n", width))])


SKLEARN: list[tuple[str, Callable[[], Any], Any, str, str]] = [
    ("binary", lambda: MLPClassifier((5,), activation="tanh"), EVENT.astype(int), "classification", "boolean"),
    ("classes", lambda: MLPClassifier((6, 5), activation="logistic"), CLASS, "classification", "string"),
    ("number", lambda: MLPRegressor(hidden_layer_sizes=(5,), activation="relu"), AMOUNT, "regression", "number"),
]


@pytest.mark.parametrize(("make", "target", "task", "output"), [c[1:] for c in SKLEARN], ids=[c[0] for c in SKLEARN])
@pytest.mark.parametrize("scaled", [False, True])
def test_steps_are_those_of_scikit_learn(make: Any, target: Any, task: str, output: str, scaled: bool) -> None:
    model = make()
    settings = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 0.0, "random_state": 1}
    model.set_params(**settings, batch_size=16, shuffle=False)
    whole = make_pipeline(StandardScaler(), model) if scaled else model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole.fit(X[:32], target[:32])
    data = to_onnx(whole, X[:1], target_opset=OPSET).SerializeToString()
    engine = made(spec_of(data, task, output, learning_rate="0.1"))
    ready = whole[:-1].transform(X).astype(np.float32) if scaled else X
    for start in range(0, 64, 16):
        part = slice(start, start + 16)
        model.partial_fit(ready[part], target[part])
        labels = [bool(y) if output == "boolean" else y.item() for y in target[part]]
        assert engine.learn_many(ROWS[part], labels) == {}
    assert engine.learned == 64
    answers = engine.score(ROWS)
    if task == "regression":
        assert [a.score for a in answers] == pytest.approx(model.predict(ready).tolist(), abs=1e-5)
        return
    shares = model.predict_proba(ready)
    assert [a.label for a in answers] == [
        str(y) if output == "string" else str(bool(y)).lower() for y in model.predict(ready)
    ]
    for answer, row in zip(answers, shares, strict=True):
        if output == "boolean":
            assert answer.score == pytest.approx(row[1], abs=1e-5)
        else:
            assert answer.probabilities == pytest.approx(
                dict(zip(map(str, model.classes_), row, strict=True)), abs=1e-5
            )


def in_autograd(weights: dict[str, Any], loss: Callable[..., Any], rate: float, steps: int) -> dict[str, Any]:
    """Plain descent on the loss of all rows, in double precision, by an independent framework."""
    slope = autograd.grad(loss)
    now = {name: array.astype(np.float64) for name, array in weights.items()}
    for _ in range(steps):
        found = slope(now)
        now = {name: array - rate * found[name] for name, array in now.items()}
    return now


def trained(data: bytes, task: str, output: str, labels: Any, steps: int, **params: Any) -> NeuralEngine:
    engine = made(spec_of(data, task, output, learning_rate="0.2", **params))
    for _ in range(steps):
        assert engine.learn_many(ROWS, labels) == {}
    return engine


def initial(data: bytes) -> dict[str, Any]:
    tensors = onnx.load_from_string(data).graph.initializer
    return {t.name: numpy_helper.to_array(t) for t in tensors if t.data_type == TensorProto.FLOAT and t.dims}


def test_whole_dense_networks_are_trained_as_autograd_trains_them() -> None:
    def raw(w: dict[str, Any]) -> Any:
        return anp.tanh(X.astype(np.float64) @ w["w0"].T + w["b0"]) @ w["w1"].T + w["b1"]

    one_hot = np.eye(3)[np.digitize(X[:, 0], [-0.5, 0.5])]
    error = AMOUNT[:, None]
    cases: list[tuple[bytes, str, str, Any, dict[str, str], Callable[..., Any]]] = [
        (dense([node("Sigmoid", "z", "p")]), "classification", "boolean", EVENT.tolist(), {},
         lambda w: anp.mean(anp.log(1 + anp.exp(-raw(w) * (2.0 * EVENT[:, None] - 1))))),
        (dense(), "classification", "boolean", EVENT.tolist(), {"loss": "binary-cross-entropy"},
         lambda w: anp.mean(anp.log(1 + anp.exp(-raw(w) * (2.0 * EVENT[:, None] - 1))))),
        (dense([node("LogSoftmax", "z", "p", axis=1)], 3), "classification", "integer", one_hot.argmax(1).tolist(), {},
         lambda w: anp.mean(anp.log(anp.sum(anp.exp(raw(w)), axis=1))) - anp.mean(anp.sum(one_hot * raw(w), axis=1))),
        (dense(), "regression", "number", AMOUNT.tolist(), {"l2": "0.05"},
         lambda w: anp.mean((raw(w) - error) ** 2) / 2 + 0.025 * (anp.sum(w["w0"] ** 2) + anp.sum(w["w1"] ** 2))),
        (dense(), "regression", "number", AMOUNT.tolist(), {"loss": "huber(0.7)"},
         lambda w: anp.mean(anp.where(anp.abs(raw(w) - error) < 0.7, (raw(w) - error) ** 2 / 2,
                                      0.7 * (anp.abs(raw(w) - error) - 0.35)))),
        (dense(), "regression", "number", AMOUNT.tolist(), {"loss": "quantile(0.8)"},
         lambda w: anp.mean(anp.maximum(0.8 * (error - raw(w)), -0.2 * (error - raw(w))))),
    ]  # fmt: skip
    for data, task, output, labels, params, loss in cases:
        engine = trained(data, task, output, labels, 10, **params)
        wanted = in_autograd(initial(data), loss, 0.2, 10)
        assert set(engine.weights.feeds) == set(wanted)
        for name, array in wanted.items():
            np.testing.assert_allclose(engine.weights.feeds[name], array, atol=1e-5, err_msg=f"{params} {name}")


def test_a_convolutional_network_is_trained_as_autograd_trains_it() -> None:
    nodes = [
        node("Conv", "x k c", "conv", pads=[1, 1]), node("Relu", "conv", "r"),
        node("AveragePool", "r", "pool", kernel_shape=[2], strides=[2]), node("Flatten", "pool", "flat"),
        node("LayerNormalization", "flat g s", "norm", axis=-1), node("MatMul", "norm w", "m"), node("Add", "m b", "y"),
    ]  # fmt: skip
    weights = {
        "k": random(3, 1, 3),
        "c": random(3),
        "g": 1 + random(6),
        "s": random(6),
        "w": random(6, 1),
        "b": random(1),
    }
    data = network(nodes, weights, inputs=[("x", TensorProto.FLOAT, ("n", 1, 4))])

    def loss(w: dict[str, Any]) -> Any:
        padded = np.pad(X.astype(np.float64), ((0, 0), (1, 1)))
        parts = anp.stack(
            [anp.sum(padded[:, None, at : at + 3] * w["k"][None, :, 0, :], axis=2) for at in range(4)], axis=2
        )
        active = anp.maximum(parts + w["c"][None, :, None], 0)
        flat = anp.reshape((active[:, :, ::2] + active[:, :, 1::2]) / 2, (64, 6))
        centred = flat - anp.mean(flat, axis=1, keepdims=True)
        norm = centred / anp.sqrt(anp.mean(centred**2, axis=1, keepdims=True) + 1e-5) * w["g"] + w["s"]
        return anp.mean((norm @ w["w"] + w["b"] - AMOUNT[:, None]) ** 2) / 2

    engine = trained(data, "regression", "number", AMOUNT.tolist(), 5)
    assert set(engine.weights.feeds) == set(weights)
    for name, array in in_autograd(weights, loss, 0.2, 5).items():
        np.testing.assert_allclose(engine.weights.feeds[name], array, atol=1e-5, err_msg=name)


def embedding(rows: int = 7) -> bytes:
    """As Keras exports one: a table, picked from by an integer, beside numbers."""
    nodes = [
        node("Gather", "table id", "e"), node("Squeeze", "e one", "s"), node("Concat", "x s", "h", axis=1),
        node("MatMul", "h w", "m"), node("Add", "m b", "z"), node("Sigmoid", "z", "y"),
    ]  # fmt: skip
    weights = {"table": random(rows, 3), "w": random(7, 1), "b": random(1), "one": np.array([1], np.int64)}
    return network(nodes, weights, [("x", TensorProto.FLOAT, ("n", 4)), ("id", TensorProto.INT64, ("n", 1))])


EMBEDDED = (*NUMBERS, Field("id", "integer"))


def test_a_network_with_a_table_is_trained_as_autograd_trains_it() -> None:
    places = np.arange(64) * 5 % 6
    data = embedding()
    weights = {name: array for name, array in initial(data).items() if name != "one"}

    def loss(w: dict[str, Any]) -> Any:
        z = anp.concatenate([X.astype(np.float64), w["table"][places]], axis=1) @ w["w"] + w["b"]
        return anp.mean(anp.log(1 + anp.exp(-z * (2.0 * EVENT[:, None] - 1))))

    engine = made(spec_of(data, "classification", "boolean", EMBEDDED, learning_rate="0.2"))
    rows = [{**row, "id": int(at)} for row, at in zip(ROWS, places, strict=True)]
    for _ in range(10):
        assert engine.learn_many(rows, EVENT.tolist()) == {}
    for name, array in in_autograd(weights, loss, 0.2, 10).items():
        np.testing.assert_allclose(engine.weights.feeds[name], array, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(engine.weights.feeds["table"][6], weights["table"][6])


@pytest.mark.parametrize("batch", ["1", "3"])
def test_a_row_beyond_the_table_is_refused_and_leaves_no_trace(batch: str) -> None:
    engine = made(spec_of(embedding(), "classification", "boolean", EMBEDDED, batch_size=batch))
    blob, bad = engine.dump(), {**ROWS[0], "id": 7}
    for call in (engine.learn, engine.step):
        with pytest.raises(RecordError, match="the model cannot"):
            call(bad, True)
    assert engine.dump() == blob
    good = {**ROWS[1], "id": 3}
    assert [answer.status for answer in engine.score([good, bad, good])] == ["ok", "refused", "ok"]
    assert list(engine.learn_many([good, bad, good], [True, True, False])) == [1]
    assert engine.learned == 2


CASES: list[tuple[str, bytes, str, str, tuple[Field, ...]]] = [
    ("sigmoid", dense([node("Sigmoid", "z", "p")]), "classification", "boolean", NUMBERS),
    ("logits", dense((), 3), "classification", "integer", NUMBERS),
    ("number", dense(), "regression", "number", NUMBERS),
    ("table", embedding(), "classification", "boolean", EMBEDDED),
]


@pytest.mark.parametrize(("data", "task", "output", "inputs"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
@pytest.mark.parametrize(
    "params", [{}, {"batch_size": "5", "optimiser": "adam", "clip_norm": "1"}], ids=["each", "batch"]
)
def test_conformance(data: bytes, task: str, output: str, inputs: Any, params: dict[str, str]) -> None:
    spec = spec_of(data, task, output, inputs, min_samples="1", **params)
    labels: Any = {"boolean": EVENT.tolist(), "integer": [at % 3 for at in range(64)], "number": AMOUNT.tolist()}[
        output
    ]
    examples = [({**row, "id": at % 7}, label) for at, (row, label) in enumerate(zip(ROWS, labels, strict=True))][:17]
    check_learner(spec, examples)


def test_other_processes_learn_the_same() -> None:
    spec = spec_of(embedding(), "classification", "boolean", EMBEDDED, min_samples="1", optimiser="adagrad")
    check_processes([(spec, [({**row, "id": at % 7}, at % 3 == 0) for at, row in enumerate(ROWS[:20])])])


def test_a_network_is_answered_by_from_the_first_row_as_the_onnx_engine_does() -> None:
    model = MLPClassifier((5,), max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, CLASS)
    for zipmap in (True, False):
        options = {id(model): {"zipmap": zipmap}}
        data = to_onnx(model, X[:1], target_opset=OPSET, options=options).SerializeToString()
        spec = spec_of(data, "classification", "string")
        frozen = build(EngineSpec("onnx", "classification", uri(data), NUMBERS, Field("y", "string")))
        for mine, theirs in zip(made(spec).score(ROWS), frozen.score(ROWS), strict=True):
            assert (mine.label, mine.status) == (theirs.label, "ok")
            assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-6)


def test_the_exported_file_keeps_all_that_the_customers_file_has() -> None:
    model = MLPClassifier((5,), max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, CLASS)
    data = to_onnx(model, X[:1], target_opset=OPSET).SerializeToString()
    engine = made(spec_of(data, "classification", "string", learning_rate="0.1"))
    for row, label in zip(ROWS, CLASS.tolist(), strict=True):
        engine.learn(row, label)
    exported = export_onnx(engine)
    onnx.checker.check_model(onnx.load_from_string(exported), full_check=True)
    before, after = (onnx.load_from_string(each).graph for each in (data, exported))
    assert [each.op_type for each in before.node] == [each.op_type for each in after.node]
    assert [each.name for each in before.output] == [each.name for each in after.output]
    served = load_model(uri(exported), [False] * 4).run(list(X.astype(np.float64).T), 64)
    answers = engine.score(ROWS)
    assert served.labels() == [answer.label for answer in answers]
    np.testing.assert_allclose(served.scores(), [answer.score for answer in answers], atol=1e-6)
    assert answers != made(engine.spec).score(ROWS)


@pytest.mark.parametrize("output", ["boolean", "integer"])
def test_raw_numbers_of_a_classifier_are_exported_with_their_probabilities(output: str) -> None:
    engine = made(spec_of(dense((), 1 if output == "boolean" else 3), "classification", output))
    for at, row in enumerate(ROWS):
        engine.learn(row, at % 2 == 0 if output == "boolean" else at % 3)
    served = load_model(uri(export_onnx(engine)), [False] * 4)
    found = served.run(list(X.astype(np.float64).T), 64)
    answers = engine.score(ROWS)
    wanted = [[a.score] if output == "boolean" else list((a.probabilities or {}).values()) for a in answers]
    np.testing.assert_allclose(found.vectors(), wanted, atol=1e-6)


TRAINABLE = {
    "all": {"w0", "b0", "w1", "b1"},
    "last-layer": {"w1", "b1"},
    "b*": {"b0", "b1"},
}


@pytest.mark.parametrize("pattern", list(TRAINABLE))
def test_only_what_is_trainable_moves(pattern: str) -> None:
    data = dense()
    engine = trained(data, "regression", "number", AMOUNT.tolist(), 2, trainable=pattern)
    after = initial(export_onnx(engine))
    moved = {name for name, array in initial(data).items() if (after[name] != array).any()}
    assert moved == TRAINABLE[pattern]


def test_embeddings_alone_can_be_trained() -> None:
    engine = made(spec_of(embedding(), "classification", "boolean", EMBEDDED, trainable="embeddings"))
    assert set(engine.weights.feeds) == {"table"}
    engine.learn({**ROWS[0], "id": 2}, True)
    changed = (engine.weights.feeds["table"] != initial(embedding())["table"]).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [2]


def test_a_network_of_a_fixed_number_of_rows_learns_as_one_of_any() -> None:
    any_number = onnx.load_from_string(dense([node("Sigmoid", "z", "p")]))
    for size in (1, 3):
        model = onnx.ModelProto.FromString(any_number.SerializeToString())
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = size
        one, other = (
            made(spec_of(each.SerializeToString(), "classification", "boolean")) for each in (any_number, model)
        )
        for engine in (one, other):
            engine.learn_many(ROWS[:8], EVENT[:8].tolist())
            assert engine.step(ROWS[8], True).status == "ok"
        for name, array in one.weights.feeds.items():
            np.testing.assert_allclose(other.weights.feeds[name], array, atol=1e-6)
        assert [a.score for a in other.score(ROWS)] == pytest.approx([a.score for a in one.score(ROWS)], abs=1e-6)


def test_images_come_as_vectors() -> None:
    nodes = [
        node("Conv", "x k", "c"), node("Relu", "c", "r"), node("MaxPool", "r", "m", kernel_shape=[2, 2]),
        node("GlobalAveragePool", "m", "g"), node("Flatten", "g", "f"), node("Gemm", "f w b", "z"),
        node("Softmax", "z", "y", axis=1),
    ]  # fmt: skip
    weights = {"k": random(4, 1, 3, 3), "w": random(4, 2), "b": random(2)}
    data = network(nodes, weights, [("x", TensorProto.FLOAT, ("n", 1, 6, 6))], [("y", TensorProto.FLOAT, ("n", 2))])
    engine = made(spec_of(data, "classification", "boolean", [Field("image", "vector")], learning_rate="0.5"))
    flat, upright = ([float(place % 6 == 2 if turned else place // 6 == 2) for place in range(36)] for turned in (0, 1))
    for _ in range(100):
        engine.learn_many([{"image": flat}, {"image": upright}], [False, True])
    assert [answer.label for answer in engine.score([{"image": flat}, {"image": upright}])] == ["false", "true"]
    assert engine.score([{"image": [1.0]}])[0].reason == "'image' has 1 numbers; the model takes 36"


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    sine = network(
        [node("Gemm", "x w", "h"), node("Sin", "h", "s"), node("Gemm", "s v", "y")],
        {"w": random(4, 3), "v": random(3, 1)},
    )
    assert "node 'the Sin of s': the operator Sin lies between weights and answer" in problems(
        spec_of(sine, "regression", "number")
    )
    assert made(spec_of(sine, "regression", "number", trainable="last-layer")).weights.feeds.keys() == {"v"}
    plain = dense()
    told = problems(spec_of(plain, "regression", "number", trainable="x*", optimizer="adam"))
    assert "option 'optimizer': the neural engine has no such option" in told
    assert "Its weights: w0, b0, w1, b1" in problems(spec_of(plain, "regression", "number", trainable="x*"))
    assert "hash to" in problems(spec_of(plain, "regression", "number", sha256="00"))
    assert "gives 3 numbers per row, and one is declared" in problems(spec_of(dense((), 3), "regression", "number"))
    assert "of two classes, and the network has 3" in problems(
        spec_of(dense((), 3), "classification", "integer", loss="binary-cross-entropy")
    )
    assert "is BOOLEAN, and the model has 3 classes" in problems(spec_of(dense((), 3), "classification", "boolean"))
    assert "is for a network built from text" in problems(spec_of(plain, "regression", "number", classes="a,b"))
    old = network([node("Gemm", "x w b", "y")], {"w": random(4, 1), "b": random(1)}, opset=10)
    assert "is of opset 10" in problems(spec_of(old, "regression", "number"))
    assert "cannot be read" in problems(
        EngineSpec("neural", "regression", str(tmp_path / "no.onnx"), NUMBERS, Field("y", "number"))
    )
    for task in ("anomaly", "clustering"):
        assert f"task '{task}'" in problems(spec_of(plain, task, "number"))


def test_a_snapshot_goes_with_the_file_it_was_learned_from(tmp_path: Path) -> None:
    one, moved, other = (tmp_path / name for name in ("one.onnx", "moved.onnx", "other.onnx"))
    for path in (one, moved):
        path.write_bytes(dense())
    other.write_bytes(dense([node("Identity", "z", "p")]))
    specs = [
        EngineSpec("neural", "regression", str(path), NUMBERS, Field("y", "number")) for path in (one, moved, other)
    ]
    engine = made(specs[0])
    engine.learn(ROWS[0], 1.0)
    assert len(engine.dump()) < len(dense())
    assert restore(specs[1], engine.dump()).score(ROWS) == engine.score(ROWS)
    with pytest.raises(SnapshotError, match="another network"):
        restore(specs[2], engine.dump())


def test_a_null_that_the_network_cannot_take_as_nan_poisons_nothing() -> None:
    engine = made(spec_of(dense(), "regression", "number", on_null="nan"))
    blob = engine.dump()
    for call in (engine.learn, engine.step):
        with pytest.raises(RecordError, match="nothing is learned of it"):
            call({**ROWS[0], "f1": None}, 1.0)
    assert list(engine.learn_many([{**ROWS[0], "f1": None}], [1.0])) == [0]
    assert engine.dump() == blob


def test_labels_that_are_no_class_of_the_network_are_refused() -> None:
    engine = made(spec_of(dense((), 3), "classification", "integer"))
    with pytest.raises(RecordError, match=r"'3' is none of the network's classes \(0, 1, 2\)"):
        engine.learn(ROWS[0], 3)
    with pytest.raises(RecordError, match="too large"):
        made(spec_of(dense(), "regression", "number")).learn(ROWS[0], 1e40)

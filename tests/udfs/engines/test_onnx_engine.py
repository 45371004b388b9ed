"""The ONNX engine: what is fed, what is read, what is refused, and that a batch equals one by one."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import pickle
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC, OneClassSVM
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.engines import build, engine_class, restore
from thalweg.udfs.engines.base import EngineSpec, Field, Scorer
from thalweg.udfs.engines.onnx_engine import OnnxEngine

OPSET = {"": 17, "ai.onnx.ml": 3}
ONE = (Field("x", "number"),)
NUMBERS = tuple(Field(f"f{at}", "number") for at in range(6))
_rng = np.random.default_rng(3)
X = _rng.normal(size=(120, 6)).astype(np.float32)
EVENT = (X[:, 0] + X[:, 1] > 0).astype(int)
CLASSES = np.digitize(X[:, 0], [-0.5, 0.5])
ROWS = [{f"f{at}": float(value) for at, value in enumerate(row)} for row in X]


def uri(data: bytes) -> str:
    return "data:;base64," + base64.b64encode(data).decode()


def spec_of(
    data: bytes, task: str, inputs: Sequence[Field] = NUMBERS, output: str = "boolean", **params: str
) -> EngineSpec:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return EngineSpec("onnx", task, uri(data), tuple(inputs), Field("y", output), named)


def converted(model: Any, target: Any = None, zipmap: bool = True, **kwargs: Any) -> bytes:
    model.fit(X, target) if target is not None else model.fit(X)
    options = {} if zipmap else {"options": {id(model): {"zipmap": False}}}
    return bytes(to_onnx(model, X[:1], target_opset=OPSET, **options, **kwargs).SerializeToString())


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: list[Any] = []) -> bytes:  # noqa: B006
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return bytes(made.SerializeToString())


def tensor(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[Any] = ("n", 1)) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def casts(kind: int, shape: Sequence[Any] = ("n", 1)) -> bytes:
    """A model that gives back its one input as a float."""
    node = helper.make_node("Cast", ["x"], ["score"], to=TensorProto.FLOAT)
    return graph([node], [tensor("x", kind, shape)], [tensor("score", shape=shape)])


def problems(spec: EngineSpec) -> str:
    with pytest.raises(ConfigError) as caught:
        build(spec)
    assert all(problem.where and problem.what and problem.remedy for problem in caught.value.problems)
    return str(caught.value)


CLASSIFIERS: list[tuple[str, Callable[[], Any], Any]] = [
    ("logistic", LogisticRegression, EVENT),
    ("forest", lambda: RandomForestClassifier(8, random_state=1), EVENT),
    ("boosted", lambda: GradientBoostingClassifier(n_estimators=8, random_state=1), CLASSES),
    ("network", lambda: MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=1), CLASSES),
    ("texts", LogisticRegression, np.array(["low", "mid", "top"])[CLASSES]),
]


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize(("make", "target"), [case[1:] for case in CLASSIFIERS], ids=[case[0] for case in CLASSIFIERS])
def test_classifiers_answer_as_scikit_learn_does(make: Callable[[], Any], target: Any, zipmap: bool) -> None:
    model = make()
    binary = len(set(target)) == 2
    data = converted(model, target, zipmap)
    engine = build(spec_of(data, "classification", output="boolean" if binary else "string"))
    answers = engine.score(ROWS)
    shares = model.predict_proba(X)
    assert [a.status for a in answers] == ["ok"] * len(ROWS)
    if binary:
        assert [a.score for a in answers] == pytest.approx(shares[:, 1].tolist(), abs=2e-6)
        assert [a.label for a in answers] == ["true" if yes else "false" for yes in model.predict(X)]
        assert {a.probabilities for a in answers} == {None}
    else:
        assert [a.label for a in answers] == [str(name) for name in model.predict(X)]
        for answer, row in zip(answers, shares, strict=True):
            assert answer.probabilities == pytest.approx(
                {str(k): v for k, v in zip(model.classes_, row, strict=True)}, abs=2e-6
            )
            assert answer.score == answer.probabilities[answer.label]


ALL_SHAPES: list[tuple[str, bytes, str, str]] = [
    ("logistic", converted(LogisticRegression(), EVENT), "classification", "boolean"),
    ("table", converted(LogisticRegression(), CLASSES, zipmap=False), "classification", "string"),
    ("forest", converted(RandomForestClassifier(5, random_state=1), EVENT), "classification", "boolean"),
    (
        "network",
        converted(make_pipeline(StandardScaler(), MLPClassifier((40, 9), solver="lbfgs", max_iter=2000)), EVENT),
        "classification",
        "boolean",
    ),
    ("regression", converted(LinearRegression(), X[:, 0] * 3 + 1), "regression", "number"),
    ("isolation", converted(IsolationForest(n_estimators=10, random_state=1)), "anomaly", "number"),
    ("one-class", converted(OneClassSVM()), "anomaly", "number"),
    ("k-means", converted(KMeans(3, n_init=1, random_state=1)), "clustering", "integer"),
]  # fmt: skip
each_shape = pytest.mark.parametrize(
    ("data", "task", "output"), [case[1:] for case in ALL_SHAPES], ids=[case[0] for case in ALL_SHAPES]
)


@each_shape
def test_a_batch_equals_one_by_one(data: bytes, task: str, output: str) -> None:
    engine = build(spec_of(data, task, output=output))
    whole = engine.score(ROWS)
    assert whole == [engine.score([row])[0] for row in ROWS]
    assert whole == [answer for at in range(0, 120, 7) for answer in engine.score(ROWS[at : at + 7])]
    columns = {name: X[:, at].astype(np.float64) for at, (name, _) in enumerate(NUMBERS)}
    assert whole == engine.score_columns(columns, 120)
    assert engine.score([]) == []


@each_shape
def test_what_was_dumped_answers_the_same(data: bytes, task: str, output: str) -> None:
    spec = spec_of(data, task, output=output)
    engine = build(spec)
    again = restore(spec, engine.dump())
    assert isinstance(engine, Scorer)
    assert again.score(ROWS) == engine.score(ROWS) == pickle.loads(pickle.dumps(engine)).score(ROWS)
    assert again.dump() == engine.dump()
    assert again.version == hashlib.sha256(data).hexdigest()[:12]


def test_regression_anomaly_and_clusters_mean_what_they_say() -> None:
    line = LinearRegression()
    engine = build(spec_of(converted(line, X[:, 0] * 3 + 1), "regression", output="number"))
    assert [a.score for a in engine.score(ROWS)] == pytest.approx(line.predict(X).tolist(), abs=1e-5)
    engine = build(spec_of(converted(IsolationForest(n_estimators=20, random_state=1)), "anomaly", output="number"))
    normal, odd = engine.score([dict.fromkeys(ROWS[0], 0.0), dict.fromkeys(ROWS[0], 9.0)])
    assert odd.score > 0 > normal.score
    assert odd.label is None
    model = KMeans(3, n_init=1, random_state=1)
    engine = build(spec_of(converted(model), "clustering", output="integer"))
    assert [(a.score, a.label) for a in engine.score(ROWS)] == [(float(c), str(c)) for c in model.predict(X)]


def mixed_model() -> tuple[Any, Any, list[dict[str, Any]]]:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "amount": X[:60, 0].astype(np.float64),
            "n": np.arange(60) % 5,
            "city": np.array(["ulm", "bonn", "köln"])[np.arange(60) % 3],
            "kind": np.array(["a", "b"])[np.arange(60) % 2],
        }
    )
    encoder = ColumnTransformer(
        [
            ("text", OneHotEncoder(handle_unknown="ignore"), ["city", "kind"]),
            ("number", StandardScaler(), ["amount", "n"]),
        ]
    )
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, EVENT[:60])
    return model, frame, frame.to_dict("records")


MIXED = (Field("kind", "string"), Field("n", "integer"), Field("amount", "number"), Field("city", "string"))


def test_columns_by_name_whatever_the_order_of_the_declaration() -> None:
    model, frame, rows = mixed_model()
    types = [
        ("amount", FloatTensorType([None, 1])),
        ("n", Int64TensorType([None, 1])),
        ("city", StringTensorType([None, 1])),
        ("kind", StringTensorType([None, 1])),
    ]
    data = to_onnx(model, initial_types=types, target_opset=OPSET).SerializeToString()
    engine = build(spec_of(data, "classification", MIXED))
    answers = engine.score(rows)
    assert [a.score for a in answers] == pytest.approx(model.predict_proba(frame)[:, 1].tolist(), abs=1e-5)
    assert answers == [engine.score([row])[0] for row in rows]
    # Nothing that is not a text is taken for an unknown category; a category never seen is one.
    refused = engine.score([{**rows[0], "city": bad} for bad in (None, b"ulm", 5)] + [{**rows[0], "city": "nowhere"}])
    assert [a.status for a in refused] == ["refused", "refused", "refused", "ok"]
    assert refused[0].reason == "'city' is NULL"


def test_groups_take_what_is_left_in_order() -> None:
    model = ColumnTransformer([("t", OneHotEncoder(), [2, 3]), ("n", "passthrough", [0, 1])])
    table = np.array([[1.0, 2.0, "u", "a"], [3.0, 4.0, "b", "c"]], dtype=object)
    model = make_pipeline(model, LinearRegression()).fit(table, [1.0, 5.0])
    types = [("numbers", FloatTensorType([None, 2])), ("texts", StringTensorType([None, 2]))]
    data = to_onnx(model, initial_types=types, target_opset=OPSET).SerializeToString()
    fields = [Field("p", "string"), Field("a", "number"), Field("q", "string"), Field("b", "number")]
    engine = build(spec_of(data, "regression", fields, "number"))
    answers = engine.score([{"a": 1, "b": 2, "p": "u", "q": "a"}, {"a": 3, "b": 4, "p": "b", "q": "c"}])
    assert [a.score for a in answers] == pytest.approx([1.0, 5.0], abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "field", "good", "bad"),
    [
        (TensorProto.FLOAT, "number", [1.5, 2, Decimal("2.5"), np.float64(3)], [math.nan, 1e39, "1", True, None]),
        (TensorProto.DOUBLE, "number", [1.5, 1e300 / 1e290], [math.nan, -math.inf, Decimal("NaN"), b"1"]),
        (TensorProto.FLOAT16, "number", [1.5, 2.0], [70000.0]),
        (TensorProto.FLOAT, "integer", [1, np.int64(2), 3.0], [1.5, 2**70, "1"]),
        (TensorProto.FLOAT, "boolean", [True, False], [1, 1.0, "true"]),
        (TensorProto.INT64, "integer", [1, 0, -(2**31)], [0.5, 2**63, None]),
        (TensorProto.INT32, "integer", [1, 0], [2**31, -(2**31) - 1]),
        (TensorProto.INT8, "integer", [1, -128], [128, 300]),
        (TensorProto.UINT8, "integer", [1, 255], [-1, 256]),
        (TensorProto.BOOL, "boolean", [True, False, np.True_], [1, 0, "x", None]),
    ],
)  # fmt: skip
def test_each_type_takes_its_values_and_no_others(kind: int, field: str, good: list[Any], bad: list[Any]) -> None:
    for shape in (("n", 1), ("n",)):
        engine = build(spec_of(casts(kind, shape), "regression", [Field("x", field)], "number"))
        mixed = [*good, *bad, *good]
        answers = engine.score([{"x": value} for value in mixed])
        right = [float(value) for value in good]
        assert [a.score for a in answers] == [*right, *[None] * len(bad), *right]
        assert [a.status for a in answers] == ["ok"] * len(good) + ["refused"] * len(bad) + ["ok"] * len(good)
        assert all("'x'" in a.reason for a in answers if a.status == "refused")
        assert answers == [engine.score([{"x": value}])[0] for value in mixed]
        assert engine.score([{}])[0].reason == "'x' is NULL"


def test_a_vector_is_spread_over_the_width() -> None:
    node = helper.make_node("ReduceSum", ["v", "axis"], ["score"], keepdims=1)
    axis = numpy_helper.from_array(np.array([1]), "axis")
    data = graph([node], [tensor("v", shape=("n", 3))], [tensor("score")], [axis])
    engine = build(spec_of(data, "regression", [Field("v", "vector")], "number"))
    rows: list[Any] = [[1.0, 2.0, 3.0], [1, 2, 3.5], np.ones(3), (1.0, 2.0)]
    rows += [[1.0], None, [1.0, None, 2.0], [1.0, math.inf, 1.0], "abc", []]
    answers = engine.score([{"v": value} for value in rows])
    assert [a.score for a in answers] == [6.0, 6.5, 3.0, *[None] * 7]
    assert "has 2 numbers; the model takes 3" in answers[3].reason
    assert "'v[1]' is NULL" in answers[6].reason
    assert "should be a vector" in answers[8].reason


def test_nan_goes_in_only_by_option_and_never_comes_out() -> None:
    node = helper.make_node("IsNaN", ["x"], ["bad"])
    cast = helper.make_node("Cast", ["bad"], ["score"], to=TensorProto.FLOAT)
    data = graph([node, cast], [tensor("x")], [tensor("score")])
    engine = build(spec_of(data, "regression", ONE, "number", on_null="nan"))
    rows = [{"x": value} for value in (1.0, None, math.nan, math.inf)]
    assert [a.score for a in engine.score(rows)] == [0.0, 1.0, 1.0, None]
    assert [a.score for a in engine.score_columns({"x": np.array([1.0, np.nan])}, 2)] == [0.0, 1.0]
    log = graph([helper.make_node("Log", ["x"], ["score"])], [tensor("x")], [tensor("score")])
    for task in ("regression", "anomaly"):
        answers = build(spec_of(log, task, ONE, "number")).score([{"x": v} for v in (1, 0, -1)])
        assert [a.score for a in answers] == [0.0, None, None]
        assert answers[1].reason == "the model's answer is not a finite number"


def test_an_answer_outside_zero_and_one_is_no_probability() -> None:
    engine = build(spec_of(casts(TensorProto.FLOAT), "classification", ONE))
    answers = engine.score([{"x": v} for v in (0.25, 0.75, 1.00001, 1.7, -3.0)])
    assert [a.score for a in answers] == [0.25, 0.75, 1.0, None, None]
    assert [a.label for a in answers] == ["false", "true", "true", None, None]
    assert "1.7 is no probability" in answers[3].reason


def test_which_class_is_the_event() -> None:
    names = np.array(["spam", "ham"])[EVENT]
    model = LogisticRegression()
    data = converted(model, names)
    spam = [a.score for a in build(spec_of(data, "classification")).score(ROWS)]
    assert spam == pytest.approx(model.predict_proba(X)[:, list(model.classes_).index("spam")].tolist(), abs=1e-6)
    ham = build(spec_of(data, "classification", positive="ham")).score(ROWS)
    assert [a.score for a in ham] == pytest.approx([1 - s for s in spam], abs=1e-6)
    assert [a.label == "true" for a in ham] == (model.predict(X) == "ham").tolist()
    assert "They are: ham, spam." in problems(spec_of(data, "classification", positive="eggs"))
    assert "BOOLEAN output alone" in problems(spec_of(data, "classification", output="string", positive="ham"))
    data = converted(LogisticRegression(), np.array(["Yes", "no"])[EVENT])
    assert build(spec_of(data, "classification")).score(ROWS) == build(
        spec_of(data, "classification", positive="Yes")
    ).score(ROWS)


def test_a_label_alone_is_certain() -> None:
    data = converted(LinearSVC(), np.array(["ham", "spam"])[EVENT])
    assert "decision value" in problems(spec_of(data, "classification"))
    params = (("output", "label"),)
    spec = EngineSpec("onnx", "classification", uri(data), NUMBERS, Field("y", "boolean"), params)
    assert {(a.score, a.label) for a in build(spec).score(ROWS)} == {(1.0, "true"), (0.0, "false")}
    spec = EngineSpec("onnx", "classification", uri(data), NUMBERS, Field("y", "string"), params)
    assert {(a.score, a.label) for a in build(spec).score(ROWS)} == {(1.0, "ham"), (1.0, "spam")}


def test_a_batch_of_one_by_declaration_is_run_row_by_row() -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["score"])
    shape = numpy_helper.from_array(np.array([1, 1]), "shape")
    data = graph([node], [tensor("x", shape=(1, 1))], [tensor("score", shape=(1, 1))], [shape])
    engine = build(spec_of(data, "regression", ONE, "number"))
    assert [a.score for a in engine.score([{"x": v} for v in (1.0, None, 3.0)])] == [1.0, None, 3.0]


def test_a_row_that_fails_inside_the_model_fails_alone() -> None:
    table = numpy_helper.from_array(np.array([[5.0], [6.0]], dtype=np.float32), "table")
    node = helper.make_node("Gather", ["table", "x"], ["score"])
    data = graph([node], [tensor("x", TensorProto.INT64, ("n",))], [tensor("score")], [table])
    engine = build(spec_of(data, "regression", [Field("x", "integer")], "number"))
    answers = engine.score([{"x": v} for v in (0, 9, 1)])
    assert [a.score for a in answers] == [5.0, None, 6.0]
    assert "cannot score this row" in answers[1].reason


def test_a_model_that_mixes_rows_up_is_refused() -> None:
    data = graph([helper.make_node("ReduceMean", ["x"], ["score"])], [tensor("x")], [tensor("score")])
    answers = build(spec_of(data, "regression", ONE, "number")).score([{"x": 1.0}, {"x": 2.0}])
    assert [a.status for a in answers] == ["refused", "refused"]
    assert "1 answers for 2 rows" in answers[0].reason


LOGISTIC = converted(LogisticRegression(), EVENT)
TWO_SCORES = graph(
    [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Identity", ["x"], ["b"])],
    [tensor("x")],
    [tensor("a"), tensor("b")],
)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        (spec_of(LOGISTIC, "classification", NUMBERS[:4]), ["takes 6 features and gets 4 (f0, f1, f2, f3)"]),
        (spec_of(LOGISTIC, "classification", [*NUMBERS, Field("g", "number")]), ["'g': the model does not use it"]),
        (spec_of(LOGISTIC, "classification", [Field("s", "string")]), ["no feature is left", "'s': the model"]),
        (spec_of(LOGISTIC, "classification", [*NUMBERS, NUMBERS[0]]), ["'f0': is declared twice"]),
        (spec_of(LOGISTIC, "regression", output="number"), ["not those of one regression"]),
        (spec_of(LOGISTIC, "forecast"), ["task 'forecast'"]),
        (spec_of(LOGISTIC, "classification", sha256="00", on_null="zero", seed="1"), ["hash to", "zero", "seed"]),
        (spec_of(converted(LogisticRegression(), CLASSES), "classification"), ["BOOLEAN, and the model has 3 classes"]),
        (spec_of(casts(TensorProto.INT64), "regression", ONE, "number"), ["declared as number"]),
        (spec_of(casts(TensorProto.BOOL), "regression", [Field("x", "string")], "number"), ["takes booleans"]),
        (spec_of(casts(TensorProto.FLOAT, ("n", 2, 2)), "regression", ONE, "number"), ["has the shape"]),
        (spec_of(casts(TensorProto.UINT64), "regression", [Field("x", "integer")], "number"), ["tensor(uint64)"]),
        (spec_of(casts(TensorProto.FLOAT, ("n", 2)), "regression", NUMBERS[:2], "number"), ["gives 2 numbers per row"]),
        (spec_of(casts(TensorProto.FLOAT, ("n", "w")), "regression", [Field("x", "vector")], "number"), ["how wide"]),
        (spec_of(TWO_SCORES, "regression", ONE, "number"), ["a tensor(float), b tensor(float)"]),
        (spec_of(TWO_SCORES, "regression", ONE, "number", output_="c"), ["has no such option"]),
        (spec_of(b"\x80\x05N.", "regression"), ["is not a model"]),
        (spec_of(LOGISTIC[:-40], "classification"), ["is not a model"]),
        (spec_of(b"", "classification"), ["has no bytes"]),
        (EngineSpec("onnx", "regression", "data:;base64,%%%", ONE, Field("y", "number")), ["is not base64"]),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_at_build(spec: EngineSpec, parts: list[str]) -> None:
    found = problems(spec)
    for part in parts:
        assert part in found


def test_all_offenders_at_once() -> None:
    fields = [Field("x", "number"), Field("spare", "string")]
    spec = spec_of(casts(TensorProto.INT64, ("n", 2)), "regression", fields, "number", on_null="zero", sha256="ab")
    assert len(problems(spec).splitlines()) == 6


def test_an_output_can_be_chosen() -> None:
    params = (("output", "b"),)
    spec = EngineSpec("onnx", "regression", uri(TWO_SCORES), (Field("x", "number"),), Field("y", "number"), params)
    assert build(spec).score([{"x": 2.0}])[0].score == 2.0
    params = (("output", "c"),)
    spec = EngineSpec("onnx", "regression", uri(TWO_SCORES), (Field("x", "number"),), Field("y", "number"), params)
    assert "no output 'c'" in problems(spec)


def test_files_and_what_can_be_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "a model.onnx"

    def at(where: str, **params: str) -> EngineSpec:
        return EngineSpec("onnx", "classification", where, NUMBERS, Field("y", "boolean"), tuple(params.items()))

    assert "every TaskManager must have the file" in problems(at(str(path)))
    path.write_bytes(b"")
    assert "is an empty file" in problems(at(str(path)))
    path.write_bytes(LOGISTIC)
    digest = hashlib.sha256(LOGISTIC).hexdigest()
    by_path, by_uri = build(at(str(path), sha256=digest)), build(at(path.as_uri(), sha256=digest.upper()))
    assert by_path.score(ROWS) == by_uri.score(ROWS)
    assert "'https:' cannot be read" in problems(at("https://127.0.0.1/m.onnx"))
    assert engine_class("onnx") is OnnxEngine


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_a_fixed_batch_is_cut_and_filled_up(size: int, rows: int) -> None:
    engine = build(spec_of(casts(TensorProto.FLOAT, (size, 1)), "regression", ONE, "number"))
    assert [answer.score for answer in engine.score([{"x": float(at)} for at in range(rows)])] == list(range(rows))


@pytest.mark.parametrize("inner", [False, True])
def test_weights_in_another_file_are_refused_by_name(inner: bool) -> None:
    weight = numpy_helper.from_array(np.ones((1, 1), dtype=np.float32), "weight")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="side.bin")
    inputs, outputs = [tensor("x")], [tensor("score")]
    if inner:
        constant = helper.make_node("Constant", [], ["weight"], value=weight)
        data = graph([constant, helper.make_node("MatMul", ["x", "weight"], ["score"])], inputs, outputs)
    else:
        data = graph([helper.make_node("MatMul", ["x", "weight"], ["score"])], inputs, outputs, [weight])
    found = problems(spec_of(data, "regression", ONE, "number"))
    assert "keeps weights in other files (weight)" in found


def test_damaged_snapshots_are_refused() -> None:
    spec = spec_of(LOGISTIC, "classification")
    blob = build(spec).dump()
    for bad in (b"", b"\x02" + blob[1:], blob[:-1], blob + b"x", blob[:33], blob[:20], pickle.dumps(print)):
        with pytest.raises(SnapshotError):
            restore(spec, bad)
    for at in range(0, len(blob), 13):
        with pytest.raises(SnapshotError):
            restore(spec, blob[:at] + bytes([blob[at] ^ 4]) + blob[at + 1 :])
    with pytest.raises(SnapshotError, match="does not fit the spec"):
        restore(spec_of(LOGISTIC, "classification", NUMBERS[:2]), blob)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(LOGISTIC)))
def test_no_bytes_do_more_than_be_refused(junk: bytes, at: int) -> None:
    spec = spec_of(LOGISTIC, "classification")
    data = LOGISTIC[:at] + junk + LOGISTIC[at + len(junk) :]
    try:
        answers = restore(spec, b"\x01" + hashlib.sha256(data).digest() + data).score(ROWS[:2])
    except SnapshotError:
        return
    assert all(a.status == "refused" or math.isfinite(a.score) for a in answers)


values = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6),
    st.sampled_from([None, math.nan, math.inf, "x", True, Decimal("1.5"), 7, 1e39, np.float32(2)]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[values] * 6), max_size=9), st.sampled_from(["refuse", "nan"]))
def test_any_mix_of_rows_equals_one_by_one(table: list[tuple[Any, ...]], on_null: str) -> None:
    engine = _engines.setdefault(on_null, build(spec_of(LOGISTIC, "classification", on_null=on_null)))
    rows = [{f"f{at}": value for at, value in enumerate(values)} for values in table]
    whole = engine.score(rows)
    assert whole == [engine.score([row])[0] for row in rows]
    assert all(math.isfinite(a.score) if a.status == "ok" else a.score is None and a.reason for a in whole)


_engines: dict[str, Any] = {}


def test_the_session_shares_its_machine_and_survives_a_fork() -> None:
    engine = build(spec_of(LOGISTIC, "classification"))
    options = engine._session._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    before = engine._session._session
    right = engine.score(ROWS)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writer, b"y" if engine.score(ROWS) == right and engine._session._session is not before else b"n")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"y"
    assert os.waitpid(pid, 0)[1] == 0
    assert engine._session._live() is before


def test_onnx_itself_agrees_on_the_graph() -> None:
    """The reader of the wire format against onnx: the names of the classes."""
    model = onnx.load_from_string(converted(LogisticRegression(), np.array(["low", "mid", "top"])[CLASSES]))
    (node,) = [node for node in model.graph.node if node.op_type == "LinearClassifier"]
    (names,) = [a.strings for a in node.attribute if a.name == "classlabels_strings"]
    answer = build(spec_of(model.SerializeToString(), "classification", output="string")).score(ROWS[:1])[0]
    assert list(answer.probabilities) == [name.decode() for name in names]

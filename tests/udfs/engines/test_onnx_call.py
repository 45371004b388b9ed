"""What the SQL functions answer: models of many converters against the library's own predictions."""

from __future__ import annotations

import gc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as TreesTensorType
from onnxruntime_extensions import get_library_path
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC, OneClassSVM
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines import onnx_call
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.onnx_call import LoadedModel, load_model
from thalweg.udfs.engines.onnx_columns import column
from thalweg.udfs.engines.onnx_inputs import Inputs, _Slot
from thalweg.udfs.engines.onnx_reference import parse_reference
from xgboost import XGBClassifier, XGBRegressor

OPSET = {"": 17, "ai.onnx.ml": 3}
_rng = np.random.default_rng(11)
X = _rng.normal(size=(200, 4)).astype(np.float32)
EVENT = (X[:, 0] + X[:, 1] > 0).astype(int)
NAMES = np.array(["high", "low", "mid"])[np.digitize(X[:, 0], [-0.5, 0.5])]
MANY = (X[:, :3] > 0).astype(int)
COLUMNS = [X[:, at].astype(np.float64) for at in range(4)]
ROWS = 50


def saved(model: Any, options: str = "", zipmap: bool | None = None) -> LoadedModel:
    settings = {} if zipmap is None else {"options": {id(model): {"zipmap": zipmap}}}
    return loaded(bytes(to_onnx(model, X[:1], target_opset=OPSET, **settings).SerializeToString()), options, 4)


def loaded(data: bytes, options: str = "", features: int = 1, vectors: tuple[bool, ...] | None = None) -> LoadedModel:
    return LoadedModel(parse_reference(f"/m.onnx?{options}"), data, None, vectors or (False,) * features)


def run(model: LoadedModel, columns: list[Any] = COLUMNS, count: int = ROWS) -> Any:
    return model.run([column[:count] for column in columns], count)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None) -> bytes:
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, weights or []),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return bytes(made.SerializeToString())


def info(name: str, shape: tuple[Any, ...] = ("n", 1), kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(op, inputs, outputs, **attributes)


def cast(kind: int, shape: tuple[Any, ...] = ("n", 1), out: int = TensorProto.FLOAT) -> bytes:
    return graph([node("Cast", ["x"], ["score"], to=out)], [info("x", shape, kind)], [info("score", shape, out)])


BINARY: list[Callable[[], Any]] = [
    lambda: LogisticRegression().fit(X, EVENT),
    lambda: MLPClassifier((8,), max_iter=30, random_state=0).fit(X, EVENT),
    lambda: GradientBoostingClassifier(n_estimators=10).fit(X, EVENT),
    lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, EVENT),
]


@pytest.mark.parametrize("make", BINARY, ids=["logistic", "mlp", "boosting", "pipeline"])
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_two_classes_score_the_positive_one(make: Callable[[], Any], zipmap: bool) -> None:
    model = make()
    batch = run(saved(model, zipmap=zipmap))
    proba = model.predict_proba(X[:ROWS])
    np.testing.assert_allclose(batch.scores(), proba[:, 1], atol=1e-5)
    assert batch.labels() == [str(label) for label in model.predict(X[:ROWS])]
    assert [set(row) for row in batch.probabilities()] == [{"0", "1"}] * ROWS
    np.testing.assert_allclose([[row["0"], row["1"]] for row in batch.probabilities()], proba, atol=1e-5)
    np.testing.assert_allclose(batch.vectors(), proba, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_trees_of_other_libraries(library: str, classes: int) -> None:
    truth = EVENT if classes == 2 else np.digitize(X[:, 0], [-0.5, 0.5])
    if library == "lightgbm":
        model, convert = LGBMClassifier(n_estimators=10, verbose=-1).fit(X, truth), convert_lightgbm
    else:
        model, convert = XGBClassifier(n_estimators=10).fit(X, truth), convert_xgboost
    made = convert(model, initial_types=[("x", TreesTensorType([None, 4]))], target_opset=15)
    batch = run(loaded(bytes(made.SerializeToString()), features=4))
    proba = model.predict_proba(X[:ROWS])
    np.testing.assert_allclose(batch.scores(), proba[:, 1] if classes == 2 else proba.max(axis=1), atol=1e-5)
    assert batch.labels() == [str(label) for label in model.predict(X[:ROWS])]


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_regression_trees_of_other_libraries(library: str) -> None:
    if library == "lightgbm":
        model, convert = LGBMRegressor(n_estimators=10, verbose=-1).fit(X, X[:, 1]), convert_lightgbm
    else:
        model, convert = XGBRegressor(n_estimators=10).fit(X, X[:, 1]), convert_xgboost
    made = convert(model, initial_types=[("x", TreesTensorType([None, 4]))], target_opset=15)
    batch = run(loaded(bytes(made.SerializeToString()), features=4))
    np.testing.assert_allclose(batch.scores(), model.predict(X[:ROWS]), atol=1e-5)


def test_the_positive_class_can_be_named() -> None:
    model = LogisticRegression().fit(X, EVENT)
    np.testing.assert_allclose(run(saved(model, "positive=0")).scores(), model.predict_proba(X[:ROWS])[:, 0], atol=1e-5)
    with pytest.raises(ConfigError, match=r"option 'positive': the model has no class '7'\. Its classes: 0, 1"):
        saved(model, "positive=7", zipmap=False)


@pytest.mark.parametrize("zipmap", [True, False])
def test_several_classes_score_the_predicted_one(zipmap: bool) -> None:
    model = RandomForestClassifier(20, random_state=1).fit(X, NAMES)
    batch = run(saved(model, zipmap=zipmap))
    proba = model.predict_proba(X[:ROWS])
    assert batch.labels() == list(model.predict(X[:ROWS]))
    np.testing.assert_allclose(batch.scores(), proba.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(
        [[row[name] for name in model.classes_] for row in batch.probabilities()], proba, atol=1e-5
    )


def test_regressors_give_their_number_and_their_vector() -> None:
    model = LinearRegression().fit(X, X[:, 0] * 2)
    np.testing.assert_allclose(run(saved(model)).scores(), model.predict(X[:ROWS]), atol=1e-5)
    two = LinearRegression().fit(X, X[:, :2])
    np.testing.assert_allclose(run(saved(two)).vectors(), two.predict(X[:ROWS]), atol=1e-4)
    with pytest.raises(ConfigError, match=r"does not give one number per row .* Use onnx_vector"):
        run(saved(two)).scores()
    with pytest.raises(ConfigError, match="does not give probabilities"):
        run(saved(two)).probabilities()


@pytest.mark.parametrize("make", [lambda: IsolationForest(random_state=0), OneClassSVM], ids=["forest", "svm"])
def test_a_detector_scores_higher_what_is_stranger(make: Callable[[], Any]) -> None:
    model = make().fit(X)
    batch = run(loaded(bytes(to_onnx(model, X[:1], target_opset=OPSET).SerializeToString()), features=4))
    np.testing.assert_allclose(batch.scores(), -model.decision_function(X[:ROWS]), atol=1e-4)
    assert batch.labels() == [str(label) for label in model.predict(X[:ROWS])]


def test_a_row_of_several_labels() -> None:
    model = OneVsRestClassifier(LogisticRegression()).fit(X, MANY)
    batch = run(saved(model, zipmap=False))
    proba = model.predict_proba(X[:ROWS])
    np.testing.assert_allclose(batch.vectors(), proba, atol=1e-5)
    wanted = [",".join(str(at) for at in np.flatnonzero(row)) for row in model.predict(X[:ROWS])]
    assert batch.labels() == wanted
    np.testing.assert_allclose([list(row.values()) for row in batch.probabilities()], proba, atol=1e-5)
    with pytest.raises(ConfigError, match="does not give one number per row"):
        batch.scores()


def test_clusters_and_decision_values_are_not_taken_for_probabilities() -> None:
    model = KMeans(3, n_init=1, random_state=0).fit(X)
    batch = run(loaded(bytes(to_onnx(model, X[:1], target_opset=OPSET).SerializeToString()), features=4))
    assert batch.labels() == [str(label) for label in model.predict(X[:ROWS])]
    np.testing.assert_allclose(np.abs(batch.vectors()), model.transform(X[:ROWS]), atol=1e-3)
    svm = LinearSVC().fit(X, NAMES)
    found = run(saved(svm))
    assert found.labels() == list(svm.predict(X[:ROWS]))
    assert np.isnan(found.scores()).any()
    assert any("are no probabilities: onnx_vector has them" in reason for reason in found.faults.values())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64])
def test_one_number_of_any_type(kind: int) -> None:
    model = loaded(cast(TensorProto.FLOAT, out=kind), "task=regression")
    assert model.run([np.array([1.0, 2.0, 4.0])], 3).scores().tolist() == [1.0, 2.0, 4.0]


def test_one_logit_or_one_probability() -> None:
    data = graph([node("Sigmoid", ["x"], ["p"])], [info("x")], [info("p")])
    shares = 1 / (1 + np.exp(-np.array([-1.0, 2.0])))
    np.testing.assert_allclose(loaded(data).run([np.array([-1.0, 2.0])], 2).scores(), shares, rtol=1e-6)
    named = loaded(data, "task=classification").run([np.array([-1.0, 2.0])], 2)
    np.testing.assert_allclose(named.scores(), shares, rtol=1e-6)
    assert named.labels() == ["0", "1"]
    logit = loaded(cast(TensorProto.FLOAT), "task=classification").run([np.array([-1.0, 0.25])], 2)
    assert logit.scores().tolist()[1] == 0.25
    assert "no probabilities" in logit.faults[0]


def test_numbers_and_texts_in_named_inputs() -> None:
    frame = np.array([[str(at % 3)] for at in range(200)], dtype=object)
    table = np.concatenate([frame, X[:, :1].astype(object)], axis=1)
    steps = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), [0]), ("n", StandardScaler(), [1])])
    model = make_pipeline(steps, LogisticRegression()).fit(table, EVENT)
    kinds = [("text", StringTensorType([None, 1])), ("number", FloatTensorType([None, 1]))]
    data = bytes(to_onnx(model, initial_types=kinds, target_opset=OPSET).SerializeToString())
    call = loaded(data, "on-null=default&default-text=2", 2)
    texts = np.array([*frame[:5, 0], None, b"1", 7], dtype=object)
    batch = call.run([texts, X[:8, 0].astype(np.float64)], 8)
    scores = batch.scores()
    np.testing.assert_allclose(scores[:5], model.predict_proba(table[:5])[:, 1], atol=1e-5)
    for at, text in ((5, "2"), (6, "1")):
        wanted = model.predict_proba(np.array([[text, X[at, 0]]], dtype=object))[0, 1]
        np.testing.assert_allclose(scores[at], wanted, atol=1e-5)
    assert batch.faults == {7: "'text' should be a string and is 7 (int)"}


def test_texts_are_taken_strictly() -> None:
    """What ONNX Runtime would take for an unknown category in silence: NULL, numbers and booleans; bytes are UTF-8."""
    data = graph(
        [helper.make_node("LabelEncoder", ["x"], ["s"], domain="ai.onnx.ml", keys_strings=["a", "é", "5"],
                          values_floats=[1.0, 2.0, 3.0], default_float=-1.0)],
        [info("x", ("n",), TensorProto.STRING)],
        [info("s", ("n",))],
    )  # fmt: skip
    made = onnx.load_from_string(data)
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    values = np.array(["a", "é".encode(), b"\xff", None, 5, True, 5.0, np.str_("a")], dtype=object)
    call = loaded(bytes(made.SerializeToString()), "task=regression")
    batch = call.run([values], 8)
    assert [None if v != v else v for v in batch.scores().tolist()] == [1, 2, -1, None, None, None, None, 1]
    assert batch.faults[3] == "'x' is NULL"
    assert batch.faults[4] == "'x' should be a string and is 5 (int)"
    assert batch.unseen == 1  # the bytes that are no UTF-8


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(0, 7), st.booleans())
def test_features_side_by_side_are_those_one_by_one(data: Any, width: int, count: int, as_nan: bool) -> None:
    """The one array of an input is what each feature gives alone, and so are the reasons, in the model's order."""
    numbers = st.sampled_from([0.0, 1.5, -2.25, np.nan, np.inf, 1e300, 3.0])
    columns = []
    for _ in range(width):
        values = data.draw(st.lists(numbers, min_size=count, max_size=count))
        kind = data.draw(st.sampled_from(["double", "float", "objects", "list"]))
        array = np.array(values, np.float64)
        with np.errstate(over="ignore"):
            columns.append({"double": array, "float": array.astype(np.float32), "objects": array.astype(object)}.get(
                kind, values))  # fmt: skip
    fields = tuple(Field(f"x[{at}]", "number") for at in range(width))
    slot = _Slot("x", np.float32, 2, width, fields)
    fed = Inputs([slot], as_nan).feeds({f.name: c for f, c in zip(fields, columns, strict=True)}, count)
    faults: dict[int, list[str]] = {}
    alone = [column(f, c, np.float32, width, as_nan, faults) for f, c in zip(fields, columns, strict=True)]
    kept = [at for at in range(count) if at not in faults]
    assert fed.faults == {at: "; ".join(reasons) for at, reasons in faults.items()}
    assert (fed.size, None if fed.kept is None else fed.kept.tolist()) == (len(kept), kept if faults else None)
    np.testing.assert_array_equal(fed.arrays["x"], np.stack(alone, axis=1)[kept])
    assert fed.arrays["x"].dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.5, np.nan, 1e300]), min_size=2, max_size=3), max_size=5))
def test_arrays_of_any_making_are_the_same_tensor(rows: list[list[float]]) -> None:
    field, found = Field("x", "vector"), []
    for make in (list, np.array, lambda row: np.array(row, np.float64)):
        values = np.empty(len(rows), dtype=object)
        values[:] = [make(row) for row in rows]
        faults: dict[int, list[str]] = {}
        found.append((column(field, values, np.float32, 2, False, faults).tolist(), faults))
    assert found[0] == found[1] == found[2]


def test_a_model_with_operators_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = get_library_path()
    nodes = [node("StringLength", ["x"], ["n"], domain="ai.onnx.contrib"), node("Cast", ["n"], ["s"], to=1)]
    made = onnx.load_from_string(graph(nodes, [info("x", ("n",), TensorProto.STRING)], [info("s", ("n",))]))
    made.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))
    file = tmp_path / "m.onnx"
    file.write_bytes(made.SerializeToString())
    monkeypatch.delenv("THALWEG_CUSTOM_OPS", raising=False)
    said = wrong(str(file), 1)
    assert "ai.onnx.contrib:StringLength" in said
    assert "is named by ?custom-ops=/path/of/it.so" in said
    text = f"{file}?task=regression&custom-ops={library}"
    assert "allows it by its absolute path, or its folder, in THALWEG_CUSTOM_OPS" in wrong(text, 1)
    (tmp_path / "link.so").symlink_to(library)
    monkeypatch.setenv("THALWEG_CUSTOM_OPS", str(tmp_path))
    for name, reason in (
        (library, "may not be loaded"),
        (f"{tmp_path}/link.so", "may not be loaded"),
        (f"{tmp_path}/../{Path(library).name}", "may not be loaded"),
        ("link.so", "may not be loaded"),
        (f"{tmp_path}/none.so", "there is no file"),
        (f"{tmp_path}/m.onnx", "is not a model that ONNX Runtime"),
    ):
        assert reason in wrong(f"{file}?custom-ops={name}", 1)
    for allowed in (library, str(Path(library).parent), f"/nowhere:{library}"):
        monkeypatch.setenv("THALWEG_CUSTOM_OPS", allowed)
        call = load_model(text, (False,))
        assert call.run([np.array(["a", "bcd"], dtype=object)], 2).scores().tolist() == [1, 3]


def test_an_array_is_one_tensor() -> None:
    data = graph([node("Identity", ["x"], ["e"])], [info("x", ("n", 3))], [info("e", ("n", 3))])
    call = loaded(data, vectors=(True,))
    arrays = np.empty(4, dtype=object)
    arrays[:] = [np.array([1.0, 2, 3]), np.array([1.0, 2]), None, [4.0, 5, 6]]
    batch = call.run([arrays], 4)
    assert batch.vectors() == [[1, 2, 3], None, None, [4, 5, 6]]
    assert batch.faults == {1: "'x' has 2 numbers; the model takes 3", 2: "'x' is NULL"}


SQL_VALUES: list[tuple[str, Any, int, list[float | None]]] = [
    ("TINYINT", np.array([1, -2], dtype=np.int8), TensorProto.FLOAT, [1, -2]),
    ("BIGINT", np.array([1, 2**40]), TensorProto.DOUBLE, [1, 2**40]),
    ("BIGINT with NULL", np.array([3.0, np.nan]), TensorProto.INT64, [3, None]),
    ("FLOAT", np.array([0.5, np.nan], dtype=np.float32), TensorProto.FLOAT, [0.5, None]),
    ("DOUBLE, too large", np.array([0.5, 1e300]), TensorProto.FLOAT, [0.5, None]),
    ("DOUBLE, broken", np.array([4.0, 4.5]), TensorProto.INT64, [4, None]),
    ("DECIMAL", np.array([Decimal("1.25"), None], dtype=object), TensorProto.FLOAT, [1.25, None]),
    ("DECIMAL, whole", np.array([Decimal("7.00"), Decimal("7.5")], dtype=object), TensorProto.INT32, [7, None]),
    ("BOOLEAN", np.array([True, False]), TensorProto.FLOAT, [1, 0]),
    ("BOOLEAN with NULL", np.array([True, None], dtype=object), TensorProto.INT64, [1, None]),
    ("BOOLEAN to bool", np.array([True, None], dtype=object), TensorProto.BOOL, [1, None]),
    ("INT to bool", np.array([1, 2]), TensorProto.BOOL, [1, None]),
    ("TIMESTAMP", np.array(["1970-01-01T00:00:01.5", "NaT"], "datetime64[ns]"), TensorProto.DOUBLE, [1500, None]),
    ("STRING", np.array(["1", None], dtype=object), TensorProto.FLOAT, [None, None]),
    ("INT too large", np.array([3, 2**33]), TensorProto.INT32, [3, None]),
    ("literal", Decimal("2.5"), TensorProto.FLOAT, [2.5, 2.5]),
    ("literal NULL", None, TensorProto.FLOAT, [None, None]),
]


@pytest.mark.parametrize(
    ("values", "kind", "wanted"), [case[1:] for case in SQL_VALUES], ids=[c[0] for c in SQL_VALUES]
)
def test_every_sql_type_is_cast_or_refused(values: Any, kind: int, wanted: list[float | None]) -> None:
    batch = loaded(cast(kind)).run([values], 2)
    scores = batch.scores().tolist()
    assert [None if score != score else score for score in scores] == wanted
    assert sorted(batch.faults) == [at for at, value in enumerate(wanted) if value is None]


def test_null_goes_in_as_nan_or_a_default_when_asked() -> None:
    values = [np.array([1.0, np.nan])]
    whole = graph([node("IsNaN", ["x"], ["b"]), node("Cast", ["b"], ["s"], to=1)], [info("x")], [info("s")])
    assert loaded(whole, "on-null=nan").run(values, 2).scores().tolist() == [0.0, 1.0]
    assert loaded(cast(TensorProto.FLOAT), "on-null=default&default-number=9").run(values, 2).scores().tolist() == [
        1,
        9,
    ]


@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_takes_any_number_of_rows(size: int) -> None:
    call = loaded(cast(TensorProto.FLOAT, (size, 1)))
    for count in (1, 3, 4, 9):
        assert call.run([np.arange(float(count))], count).scores().tolist() == list(range(count))


def test_a_row_that_fails_in_the_model_fails_alone() -> None:
    table = numpy_helper.from_array(np.arange(10, dtype=np.float32)[:, None], "table")
    data = graph([node("Gather", ["table", "x"], ["s"])], [info("x", ("n",), TensorProto.INT64)], [info("s")], [table])
    batch = loaded(data).run([np.array([0, 99, 2, 3, 77])], 5)
    assert [None if v != v else v for v in batch.scores().tolist()] == [0, None, 2, 3, None]
    assert sorted(batch.faults) == [1, 4]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_any_batches_give_the_same_answers(cuts: list[int], seed: int) -> None:
    call = _cached()
    rows = np.random.default_rng(seed).normal(size=(sum(cuts), 4))
    whole = call.run(list(rows.T), len(rows)).scores()
    parts = [call.run(list(part.T), len(part)).scores() for part in np.split(rows, np.cumsum(cuts)[:-1])]
    assert np.concatenate(parts).tolist() == whole.tolist()


_calls: list[LoadedModel] = []


def _cached() -> LoadedModel:
    if not _calls:
        _calls.append(saved(LogisticRegression().fit(X, EVENT)))
    return _calls[0]


def wrong(text: str, features: int) -> str:
    with pytest.raises(ConfigError) as caught:
        load_model(text, (False,) * features)
    return str(caught.value)


def test_bad_models_name_themselves_and_the_remedy(tmp_path: Path) -> None:
    good = bytes(to_onnx(LogisticRegression().fit(X, EVENT), X[:1], target_opset=OPSET).SerializeToString())
    file = tmp_path / "m.onnx"
    assert "cannot be read" in wrong(str(file), 4)
    for bad in (b"garbage", good[: len(good) // 2], b"\x80\x04N."):
        file.write_bytes(bad)
        assert f"model '{file}'" in wrong(str(file), 4)
    file.write_bytes(b"")
    assert "empty file" in wrong(str(file), 4)
    newer = onnx.load_from_string(good)
    next(entry for entry in newer.opset_import if entry.domain == "").version = 99
    file.write_bytes(newer.SerializeToString())
    assert "older opset" in wrong(str(file), 4)
    file.write_bytes(graph([node("Magic", ["x"], ["y"], domain="mine")], [info("x")], [info("y")]))
    assert "operators of the standard" in wrong(str(file), 1)
    file.write_bytes(good)
    assert "takes 4 and the call gives 3" in wrong(str(file), 3)
    assert "option 'treads': unknown option. Did you mean 'threads'?" in wrong(f"{file}?treads=2", 4)
    assert "no output 'x'" in wrong(f"{file}?output=x", 4)
    assert "hash to" in wrong(f"{file}?sha256=00", 4)
    assert "is not on this machine" in wrong(f"{file}?providers=CUDAExecutionProvider", 4)
    assert load_model(f"file://{file}?threads=2&output=output_probability", (False,) * 4).version


def test_weights_in_other_files_lie_beside_the_model(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.full((1, 1), 3, dtype=np.float32), "w")
    made = onnx.load_from_string(graph([node("MatMul", ["x", "w"], ["s"])], [info("x")], [info("s")], [weight]))
    onnx.save_model(made, tmp_path / "m.onnx", save_as_external_data=True, location="side.bin", size_threshold=0)
    assert load_model(str(tmp_path / "m.onnx"), (False,)).run([np.array([2.0])], 1).scores().tolist() == [6.0]
    (tmp_path / "inner").mkdir()
    (tmp_path / "side.bin").rename(tmp_path / "inner" / "side.bin")
    assert "that file is not beside the model" in wrong(str(tmp_path / "m.onnx"), 1)
    data = (tmp_path / "m.onnx").read_bytes().replace(b"side.bin", b"../s.bin")
    (tmp_path / "inner" / "m.onnx").write_bytes(data)
    assert "outside the model's own folder" in wrong(str(tmp_path / "inner" / "m.onnx"), 1)


def test_a_process_has_one_session_per_model_and_lets_it_go() -> None:
    data = cast(TensorProto.FLOAT, ("n", "w"))
    one, two = loaded(data), loaded(data, features=2)
    assert one.session is two.session
    assert loaded(data, "threads=2").session is not one.session
    del one, two
    gc.collect()
    assert not [key for key in onnx_call._sessions if key[0].startswith("nothing")]
    before = len(onnx_call._sessions)
    for factor in range(20):
        weight = numpy_helper.from_array(np.full((1, 1), factor, dtype=np.float32), "w")
        loaded(graph([node("MatMul", ["x", "w"], ["s"])], [info("x")], [info("s")], [weight]))
    gc.collect()
    assert len(onnx_call._sessions) <= before


def test_memory_does_not_grow_with_the_rows() -> None:
    model = saved(LogisticRegression().fit(X, EVENT), zipmap=False)
    columns = [np.random.default_rng(at).normal(size=10_000) for at in range(4)]

    sizes = np.random.default_rng(3)

    def score(rows: int) -> None:
        for _ in range(rows // 5_000):
            size = int(sizes.integers(1, 10_000))  # nearly every batch has a size that none before it had
            model.run([column[:size] for column in columns], size).scores()

    score(200_000)
    before = _resident_kb()
    score(2_000_000)
    assert _resident_kb() - before < 20_000


def _resident_kb() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text[text.index("VmRSS:") + 6 :].split()[0])

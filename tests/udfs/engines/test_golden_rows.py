"""Golden rows: a runtime that answers them as it should passes, any other one is refused with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.golden_rows import check_golden, record_golden
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.engines.onnx_session import OnnxSession

OPSET = {"": 17, "ai.onnx.ml": 3}
_rng = np.random.default_rng(5)
X = _rng.normal(size=(120, 3)).astype(np.float32)
EVENT = (X[:, 0] > 0.1).astype(int)
NAMES = np.array(["high", "low", "mid"])[np.digitize(X[:, 0], [-0.5, 0.5])]
ROWS = 30
COLUMNS = [X[:ROWS, at].astype(np.float64) for at in range(3)]
NAMED = parse_reference("fraud")


def converted(model: Any) -> bytes:
    return bytes(to_onnx(model, X[:1], target_opset=OPSET).SerializeToString())


def through_a_topic(golden: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(golden, allow_nan=False))
    return found


def refused(golden: Any, data: bytes, reference: Any = NAMED) -> str:
    with pytest.raises(ConfigError) as caught:
        check_golden(golden, data, None, reference)
    return str(caught.value)


MODELS: list[tuple[str, Callable[[], Any]]] = [
    ("two classes", lambda: LogisticRegression().fit(X, EVENT)),
    ("forest", lambda: RandomForestClassifier(10, random_state=0).fit(X, NAMES)),
    ("number", lambda: LinearRegression().fit(X, X[:, 0] * 1e6)),
    ("vector", lambda: LinearRegression().fit(X, X[:, :2])),
    ("detector", lambda: IsolationForest(random_state=0).fit(X)),
    ("clusters", lambda: KMeans(3, n_init=1, random_state=0).fit(X)),
    ("decisions", lambda: LinearSVC().fit(X, NAMES)),
]


@pytest.mark.parametrize("make", [case[1] for case in MODELS], ids=[case[0] for case in MODELS])
def test_the_runtime_that_recorded_them_answers_golden_rows_the_same(make: Callable[[], Any]) -> None:
    data = converted(make())
    golden = through_a_topic(record_golden(data, NAMED, COLUMNS, ROWS))
    check_golden(golden, data, None, NAMED)
    check_golden(golden, data, None, parse_reference("fraud$3?threads=2&positive=nobody"))
    check_golden({}, data, None, NAMED)
    for kind in ("numbers", "labels"):
        if golden[kind] is not None:
            false = through_a_topic(golden)
            # A label counts where the numbers beside it are clear.
            at = max(range(ROWS), key=lambda row: _gap(golden["numbers"][row]) if golden["numbers"] else 0)
            false[kind][at] = "another" if kind == "labels" else [value * 1.01 + 0.01 for value in false[kind][at]]
            said = refused(false, data)
            assert said.startswith("model 'fraud': onnxruntime ")
            assert f"answers 1 of {ROWS} golden rows otherwise than onnxruntime " in said
            assert f"where it was published (row {at + 1}: " in said
            assert "Run another release of onnxruntime on the workers" in said


def _gap(row: list[float]) -> float:
    best = sorted(row)[-2:]
    return min([abs(best[-1] - best[0]) or abs(row[0]), *(abs(value - 0.5) for value in row)])


def test_a_runtime_that_mispredicts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = converted(RandomForestClassifier(10, random_state=0).fit(X, EVENT))
    reference = parse_reference("fraud?session-options=session.use_env_allocators=0")  # a session of its own
    golden = record_golden(data, NAMED, COLUMNS, ROWS)
    run = OnnxSession.run

    def wrong(self: OnnxSession, names: Any, feeds: Any, count: int) -> Any:
        label, shares = run(self, names, feeds, count)
        return [label, [dict(zip(row, reversed(row.values()), strict=True)) for row in shares]]

    monkeypatch.setattr(OnnxSession, "run", wrong)
    assert f" of {ROWS} golden rows otherwise" in refused(golden, data, reference)


def test_what_the_training_library_predicts_is_asked_for_when_they_are_recorded() -> None:
    model = LogisticRegression().fit(X, EVENT)
    data = converted(model)
    scores, labels = model.predict_proba(X[:ROWS])[:, 1].tolist(), list(map(str, model.predict(X[:ROWS])))
    record_golden(data, NAMED, COLUMNS, ROWS, scores=scores, labels=labels)
    sure = max(range(ROWS), key=lambda at: abs(scores[at] - 0.5))
    for changed in (
        {"scores": [*scores[:-1], scores[-1] + 0.01]},
        {"labels": [*labels[:sure], "2", *labels[sure + 1 :]]},
    ):
        with pytest.raises(ConfigError, match=rf"1 of {ROWS} golden rows otherwise than its training library \(row"):
            record_golden(data, NAMED, COLUMNS, ROWS, **changed)
    record_golden(data, NAMED, COLUMNS, ROWS, scores=[scores[0] + 0.01, *scores[1:]], tolerance=0.02)
    swapped = [COLUMNS[1], COLUMNS[0], COLUMNS[2]]
    with pytest.raises(ConfigError, match="Check the conversion of the model, and the order and the types"):
        record_golden(data, NAMED, swapped, ROWS, scores=scores)


def test_a_tie_may_be_decided_either_way() -> None:
    # Ten trees, five for each class: rounding decides the label.
    data = converted(LogisticRegression().fit(np.array([[-1, 0, 0], [1, 0, 0]]), ["a", "b"]))
    golden = record_golden(data, NAMED, [np.array([0.0, 3.0]), np.zeros(2), np.zeros(2)], 2)
    golden["labels"][0] = "b" if golden["labels"][0] == "a" else "a"
    check_golden(golden, data, None, NAMED)
    golden["labels"][1] = "a"
    assert "(row 2: 'b' instead of 'a')" in refused(golden, data)


def test_texts_and_nulls_travel_as_they_are() -> None:
    table = np.concatenate([np.array([[str(at % 3)] for at in range(120)], object), X[:, :1].astype(object)], axis=1)
    steps = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), [0]), ("n", StandardScaler(), [1])])
    model = make_pipeline(steps, LogisticRegression()).fit(table, EVENT)
    kinds = [("text", StringTensorType([None, 1])), ("number", FloatTensorType([None, 1]))]
    data = bytes(to_onnx(model, initial_types=kinds, target_opset=OPSET).SerializeToString())
    columns = [np.array(["1", None, "x"], object), np.array([0.5, 1.5, np.nan])]
    with pytest.raises(ConfigError, match=r"golden row 2 has no answer \('text' is NULL\)\. Give rows that"):
        record_golden(data, NAMED, columns, 3)
    loose = parse_reference("fraud?on-null=default&default-text=1&threads=2")
    golden = through_a_topic(record_golden(data, loose, columns, 3))
    assert golden["columns"] == [["1", None, "x"], [0.5, 1.5, None]]
    assert golden["options"] == "on-null=default&default-text=1"  # how a session runs is the worker's affair
    check_golden(golden, data, None, NAMED)


def test_outputs_that_need_a_name_are_named_by_the_publisher() -> None:
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["b"])]
    made = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["n", 1])], [info(name, TensorProto.FLOAT, ["n", 1]) for name in "ab"]
    )
    data = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(ConfigError, match="Name those to use"):
        record_golden(data, NAMED, [np.array([1.0])], 1)
    golden = record_golden(data, parse_reference("m?output=b"), [np.array([1.0])], 1)
    assert golden["numbers"] == [[-1.0]]
    check_golden(golden, data, None, parse_reference("m?output=a"))


def test_too_many_golden_rows_are_refused() -> None:
    data = converted(LinearRegression().fit(X, X[:, 0]))
    with pytest.raises(ConfigError, match=r"its golden rows take \d+ bytes .* Give fewer rows"):
        record_golden(data, NAMED, [np.zeros(10_000)] * 3, 10_000)


DATA = converted(LogisticRegression().fit(X, EVENT))
GOLDEN = record_golden(DATA, NAMED, [column[:3] for column in COLUMNS], 3)
_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(GOLDEN)), _junk, st.booleans())
def test_golden_rows_of_a_hostile_topic_are_at_most_refused(part: str, junk: Any, gone: bool) -> None:
    golden = dict(GOLDEN, **{part: junk})
    if gone:
        del golden[part]
    with suppress(ConfigError):
        check_golden(golden, DATA, None, NAMED)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.floats(-0.5, 0.5))
def test_the_tolerance_is_what_it_says(row: int, by: float) -> None:
    golden = through_a_topic(GOLDEN)
    golden["numbers"][row] = [value + by for value in golden["numbers"][row]]
    if abs(by) < 0.9e-4:
        check_golden(golden, DATA, None, NAMED)
    elif abs(by) > 1.1e-4:
        assert "1 of 3 golden rows otherwise" in refused(golden, DATA)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"columns": [[1.0]]}, "not equally long"),
        ({"columns": [[[1.0]] * 3] * 3}, "neither a number nor a text"),
        ({"labels": None, "numbers": None}, "no answer in it"),
        ({"tolerance": float("inf")}, "no tolerance"),
        ({"options": "task=magic"}, "'magic' is not one of"),
        ({"columns": [[1.0] * 3] * 2}, "takes 3 and the call gives 2"),
    ],
)
def test_what_is_wrong_with_golden_rows_is_said(change: dict[str, Any], told: str) -> None:
    assert told in refused({**GOLDEN, **change}, DATA)


def test_a_topic_cannot_name_a_library_to_load() -> None:
    check_golden({**GOLDEN, "options": "custom-ops=/tmp/x.so&providers=Nowhere&sha256=0"}, DATA, None, NAMED)

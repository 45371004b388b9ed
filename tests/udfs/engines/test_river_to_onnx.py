"""An exported River model: what it takes and gives, what it says of itself, and what is refused with its reason."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_engine import OnnxEngine
from thalweg.udfs.engines.onnx_reference import parse_reference
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_to_onnx import export_onnx

from tests.river_exports import (
    MIXED,
    SCALED,
    asked,
    assert_equal,
    columns_of,
    learned,
    session_of,
    some_row,
    spec_of,
)

LOGISTIC = SCALED + "linear_model.LogisticRegression()"
LAST = "linear_model.LogisticRegression()"
ONE_HOT = "preprocessing.OneHotEncoder(drop_zeros=True)"


def served(engine: RiverEngine, on_null: str = "nan") -> OnnxEngine:
    """The export behind the engine ``onnx``, declared as the River model was."""
    uri = "data:;base64," + base64.b64encode(export_onnx(engine)).decode()
    return OnnxEngine.build(replace(engine.spec, kind="onnx", model=uri, params=(("on-null", on_null),)))


@pytest.mark.parametrize(
    ("text", "names", "output"),
    [
        (LOGISTIC, "abnf", "boolean"),
        (MIXED.format(True) + "multiclass.OneVsRestClassifier(linear_model.LogisticRegression())", "abnfst", "string"),
        ("tree.HoeffdingTreeClassifier(grace_period=50, delta=0.1)", "abnfst", "string"),
        ("naive_bayes.GaussianNB()", "abnf", "boolean"),
        (SCALED + "linear_model.LinearRegression()", "abnf", "number"),
    ],
)
def test_the_engine_onnx_answers_as_the_engine_river(text: str, names: str, output: str) -> None:
    spec = spec_of(text, names, output, on_null="refuse")
    engine = learned(spec, missing=0.0)
    rows = asked(spec, 500, missing=0.0)
    for row, want, got in zip(rows, engine.score(rows), served(engine).score(rows), strict=True):
        assert (got.status, got.label) == ("ok", want.label), row
        assert got.score == pytest.approx(want.score, abs=1e-6, rel=1e-9), row
        assert (got.probabilities or {}).keys() == (want.probabilities or {}).keys()


def test_a_missing_number_is_one_that_the_river_engine_skips() -> None:
    engine = learned(spec_of(LOGISTIC))
    rows: list[Any] = [{"a": 1.0, "b": None, "n": 2, "f": None}, {"a": None, "b": None, "n": None, "f": None}]
    for want, got in zip(engine.score(rows), served(engine).score(rows), strict=True):
        assert got.score == pytest.approx(want.score, abs=1e-12)
        assert got.label == want.label
    assert served(engine, "refuse").score(rows)[0].status == "refused"


def test_what_it_takes_and_what_it_says_of_itself() -> None:
    spec = spec_of(MIXED.format(True) + "linear_model.LogisticRegression()", "sabnft")
    engine = learned(spec)
    data = export_onnx(engine, "delay/UA", 1_357_000_000_123)
    session = session_of(data)
    assert [(node.name, node.type) for node in session.get_inputs()] == [
        (name, "tensor(string)" if kind == "string" else "tensor(double)") for name, kind in spec.inputs
    ]
    assert [(node.name, node.type, node.shape[1:]) for node in session.get_outputs()] == [
        ("label", "tensor(string)", []),
        ("probabilities", "tensor(double)", [2]),
    ]
    model = onnx.load_from_string(data)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert model.producer_name == "thalweg"
    assert (about["thalweg.model"], about["thalweg.text"]) == ("delay/UA", spec.model)
    assert (about["thalweg.learned"], about["thalweg.task"]) == ("700", "classification")
    assert json.loads(about["thalweg.features"]) == [list(field) for field in spec.inputs]
    assert about["thalweg.event_time"] == "2013-01-01T00:26:40.123+00:00"
    assert about["thalweg.missing"] == "NaN, empty text"
    assert RiverEngine.restore(spec, engine.dump()).dump() == engine.dump()
    assert export_onnx(RiverEngine.restore(spec, engine.dump()), "delay/UA", 1_357_000_000_123) == data


def test_asking_and_exporting_leave_the_model_as_it_is() -> None:
    for text in ("naive_bayes.GaussianNB()", "forest.ARFClassifier(n_models=3, seed=1)"):
        engine = learned(spec_of(text), 300)
        before = engine.dump()
        export_onnx(engine)
        assert engine.dump() == before


def test_names_of_features_may_be_any() -> None:
    names = ("label", "probabilities", "const", "where", "a b/c", "é", "zero")
    fields = tuple(Field(name, "number") for name in names)
    engine = RiverEngine.build(EngineSpec("river", "classification", LOGISTIC, fields, Field("y", "boolean")))
    dice = random.Random(3)
    rows = [{name: dice.gauss(0, 1) for name in names} for _ in range(200)]
    for row in rows:
        engine.learn(row, row["é"] > 0)
    session = session_of(export_onnx(engine))
    columns = columns_of(engine.spec, rows)
    _, shares = session.run(None, {name: column[:, None] for name, column in columns.items()})
    assert shares[:, 1] == pytest.approx([score.score for score in engine.score(rows)], abs=1e-12)


def test_models_of_one_class_and_of_none() -> None:
    cold = RiverEngine.build(spec_of(LOGISTIC))
    assert assert_equal(cold, asked(cold.spec, 100)) == 0
    for text in ("naive_bayes.GaussianNB()", "tree.HoeffdingTreeClassifier()", "forest.ARFClassifier(seed=1)"):
        spec = spec_of(text)
        with pytest.raises(ConfigError, match="has not seen any class yet"):
            export_onnx(RiverEngine.build(spec))
        for label in (True, False):
            engine = RiverEngine.build(spec)
            for row in asked(spec, 50, 0.0):
                engine.learn(row, label)
            assert assert_equal(engine, asked(spec, 100)) == 0
        engine = RiverEngine.build(replace(spec, output=Field("y", "string")))
        engine.learn({"a": 1.0}, "one")
        with pytest.raises(ConfigError, match="has seen one class alone, 'one'"):
            export_onnx(engine)


def test_the_empty_text_is_missing_where_nulls_are_skipped_and_a_value_where_they_are_not() -> None:
    text = f"{ONE_HOT} | linear_model.LogisticRegression()"
    for on_null in ("skip", "refuse"):
        engine = RiverEngine.build(spec_of(text, "s", on_null=on_null))
        for at in range(40):
            engine.learn({"s": "" if at % 2 else "p"}, bool(at % 2))
        if on_null == "refuse":
            assert assert_equal(engine, [{"s": value} for value in ("", "p", "q")]) == 0
        else:
            with pytest.raises(ConfigError, match=r"has learned the empty text.*NULLIF"):
                export_onnx(engine)


@pytest.mark.parametrize(
    ("text", "names", "output", "told"),
    [
        ("preprocessing.FeatureHasher(n_features=8) | linear_model.PAClassifier()", "st", "boolean", "FeatureHasher"),
        ("neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=9))", "ab", "boolean", "KNNClassifier"),
        ("ensemble.BaggingClassifier(tree.HoeffdingTreeClassifier())", "ab", "boolean", "BaggingClassifier"),
        (
            "tree.HoeffdingTreeClassifier(leaf_prediction='nb', splitter=tree.splitter.HistogramSplitter())",
            "ab",
            "boolean",
            "HistogramSplitter",
        ),
        (f"preprocessing.OneHotEncoder() | {LAST}", "ab", "boolean", "broken numbers"),
        (f"preprocessing.OneHotEncoder(drop_first=True) | {LAST}", "ns", "boolean", "drop_first"),
        (f"{ONE_HOT} | preprocessing.Normalizer() | {LAST}", "ns", "boolean", "Normalizer"),
        (f"{ONE_HOT} | {SCALED} naive_bayes.MultinomialNB()", "ns", "string", "Do without the scaler"),
        (
            "tree.HoeffdingTreeRegressor(leaf_model=linear_model.LinearRegression(loss=optim.losses.Poisson()),"
            "leaf_prediction='model')",
            "ab",
            "number",
            "link function",
        ),
    ],
)
def test_what_has_no_exact_counterpart_is_refused_by_name(text: str, names: str, output: str, told: str) -> None:
    engine = RiverEngine.build(spec_of(text, names, output))
    dice = random.Random(0)
    for at in range(30):
        row = {name: abs(value) if name in "ab" else value for name, value in some_row(dice, names).items()}
        engine.learn(row, {"boolean": at % 3 == 0, "string": f"c{at % 3}", "number": 1.0}[output])
    with pytest.raises(ConfigError, match=told):
        export_onnx(engine)


def test_all_parts_without_a_counterpart_are_named_at_once() -> None:
    text = (
        "(compose.SelectType(str) | preprocessing.FeatureHasher(n_features=4)) + "
        "(compose.SelectType(float) | preprocessing.GaussianRandomProjector(2)) | "
        "multiclass.OneVsRestClassifier(linear_model.ALMAClassifier()) "
    )
    engine = RiverEngine.build(spec_of(text, "abst", "string"))
    with pytest.raises(ConfigError, match=r"(?s)step FeatureHasher.*step GaussianRandomProjector") as caught:
        export_onnx(engine)
    assert len(caught.value.problems) == 2
    spec = EngineSpec("river", "anomaly", "anomaly.HalfSpaceTrees()", (Field("a", "number"),), Field("s", "number"))
    with pytest.raises(ConfigError, match="task 'anomaly': has no exact counterpart in ONNX"):
        export_onnx(RiverEngine.build(spec))


def test_a_model_that_has_diverged_is_not_exported() -> None:
    engine = RiverEngine.build(spec_of("linear_model.LinearRegression()", "a", "number"))
    for _ in range(200):
        engine.learn({"a": 1e10}, 1e10)
    assert not engine.healthy()
    with pytest.raises(ConfigError, match="has diverged"):
        export_onnx(engine)


@pytest.mark.parametrize("on_null", ["skip", "refuse"])
@pytest.mark.parametrize(
    "last", [MIXED.format(True) + LAST, "tree.HoeffdingTreeClassifier(grace_period=40, delta=0.5)"]
)
def test_values_beyond_the_limit_are_one(last: str, on_null: str) -> None:
    spec = spec_of(last, "ast", on_null=on_null)
    engine = learned(replace(spec, params=(("max-values", "3"), *spec.params)), missing=0.0)
    rows = [{"a": 0.3, "s": value, "t": "x"} for value in ("p", "q", "r", "s", "t", "u", "new", "(other)")]
    for row, want, got in zip(rows, engine.score(rows), served(engine).score(rows), strict=True):
        assert got.score == pytest.approx(want.score, abs=1e-12), row
    assert 1 < len({score.score for score in engine.score(rows)}) <= 4
    if on_null == "skip":
        (want,), (got,) = engine.score([{"a": 0.3, "t": "x"}]), served(engine).score([{"a": 0.3, "s": "", "t": "x"}])
        assert got.score == pytest.approx(want.score, abs=1e-12)


@pytest.mark.parametrize("last", ["linear_model.LogisticRegression()", "tree.HoeffdingTreeClassifier(grace_period=40)"])
def test_readers_of_the_model_find_the_texts_that_it_knows(last: str) -> None:
    engine = learned(spec_of(MIXED.format(True) + last, "ast"))
    rows = [{"s": "p", "t": "x"}, {"s": "new", "t": "y"}, {"s": "q"}, {"t": "newer"}, {}]
    columns = columns_of(engine.spec, rows)
    model = LoadedModel(parse_reference("/m.onnx?on-null=nan"), export_onnx(engine), None, (False,) * 3)
    assert model.run(list(columns.values()), len(rows)).unseen == 2


VALUES = {
    "a": st.floats(-1e6, 1e6),
    "n": st.integers(-3, 3),
    "f": st.booleans(),
    "s": st.sampled_from(["p", "q", "ü", "a_b", "p "]),
}
ROWS = st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=2, max_size=25)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(
        [
            MIXED.format(True) + "linear_model.LogisticRegression()",
            MIXED.format(False) + "naive_bayes.GaussianNB()",
            MIXED.format(False) + "tree.HoeffdingTreeClassifier(grace_period=3, delta=0.9, tau=0.9)",
            "tree.HoeffdingTreeClassifier(grace_period=3, delta=0.9, tau=0.9, nominal_attributes=['n'])",
            "forest.ARFClassifier(n_models=2, grace_period=3, delta=0.9, tau=0.9, seed=1)",
        ]
    ),
    ROWS,
    ROWS,
    st.randoms(use_true_random=False),
)
def test_any_rows_learned_and_any_rows_asked(text: str, rows: Any, others: Any, dice: random.Random) -> None:
    engine = RiverEngine.build(spec_of(text, "anfs"))
    for row in rows:
        engine.learn(row, dice.random() < 0.5)
    if engine.model.predict_proba_one({}):
        assert assert_equal(engine, [*rows, *others]) == 0


def test_no_rows_have_no_answers() -> None:
    for text in (LOGISTIC, "tree.HoeffdingTreeClassifier(grace_period=50, delta=0.1)"):
        labels, shares = session_of(export_onnx(learned(spec_of(text)))).run(
            None, {name: np.zeros((0, 1)) for name in "abnf"}
        )
        assert (labels.shape, shares.shape) == ((0,), (0, 2))

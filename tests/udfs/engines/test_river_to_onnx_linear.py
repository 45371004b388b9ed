"""Exported linear models and the steps before them, against River over random rows with missing features."""

from __future__ import annotations

import random

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_to_onnx import export_onnx

from tests.river_exports import MIXED, SCALED, asked, assert_equal, columns_of, learned, session_of, some_row, spec_of

LOGISTIC = "linear_model.LogisticRegression()"
ONE_HOT = "preprocessing.OneHotEncoder(drop_zeros=True)"


@pytest.mark.parametrize(
    ("text", "names", "output"),
    [
        (SCALED + LOGISTIC, "abnf", "boolean"),
        (SCALED + "linear_model.LogisticRegression(l2=0.1, intercept_init=0.5)", "abnf", "boolean"),
        (SCALED + "linear_model.Perceptron()", "abnf", "boolean"),
        (SCALED + "linear_model.PAClassifier(mode=2)", "abnf", "boolean"),
        (SCALED + "linear_model.ALMAClassifier()", "abnf", "boolean"),
        (SCALED + "linear_model.LinearRegression(optimizer=optim.Adam(0.01))", "abnf", "number"),
        (SCALED + "linear_model.PARegressor(C=0.1)", "abnf", "number"),
        (SCALED + "linear_model.SoftmaxRegression()", "abnf", "string"),
        (SCALED + f"multiclass.OneVsRestClassifier({LOGISTIC})", "abnf", "string"),
        (f"multiclass.OneVsRestClassifier({SCALED + LOGISTIC})", "abnf", "string"),
        ("multiclass.OneVsRestClassifier(tree.HoeffdingTreeClassifier(grace_period=50, delta=0.1))", "abst", "string"),
        (MIXED.format(True) + LOGISTIC, "abnfst", "boolean"),
        (MIXED.format(False) + "linear_model.SoftmaxRegression()", "abnfst", "string"),
        (MIXED.format(True) + f"multiclass.OneVsRestClassifier({LOGISTIC})", "abnfst", "string"),
        (f"compose.SelectType(str, int) | {ONE_HOT} | {LOGISTIC}", "anfst", "boolean"),
    ],
)
def test_linear_models(text: str, names: str, output: str) -> None:
    engine = learned(spec_of(text, names, output))
    assert assert_equal(engine, asked(engine.spec)) == 0


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ("preprocessing.StandardScaler(with_std=False)", "nf"),
        ("preprocessing.MinMaxScaler()", "abnf"),
        ("preprocessing.MaxAbsScaler()", "abnf"),
        ("preprocessing.RobustScaler()", "abnf"),
        ("preprocessing.RobustScaler(with_centering=False, q_inf=0.1)", "abnf"),
        ("preprocessing.AdaptiveStandardScaler(fading_factor=0.1)", "abnf"),
        ("preprocessing.Normalizer()", "abnf"),
        ("preprocessing.Normalizer(order=1)", "abnf"),
        ("preprocessing.Binarizer(threshold=1.5, dtype=float)", "abnf"),
        ("preprocessing.OrdinalEncoder(unknown_value=None) | preprocessing.StandardScaler()", "ns"),
        ("preprocessing.OrdinalEncoder()", "fst"),
        ("preprocessing.PreviousImputer() | preprocessing.StandardScaler()", "abnf"),
        ("preprocessing.StatImputer(('a', stats.Mean()), ('n', 3)) | preprocessing.StandardScaler()", "abnf"),
        ("compose.Select('a', 'n') | preprocessing.StandardScaler()", "abnfst"),
        ("compose.Discard('b', 's', 't') | preprocessing.StandardScaler()", "abnfst"),
        ("compose.SelectType(bool, float) | preprocessing.StandardScaler()", "abnfst"),
        ("compose.Prefixer('old_') | preprocessing.StandardScaler() | compose.Suffixer('_z')", "abnf"),
        ("compose.Renamer({'a': 'c', 'n': 'b', 'x': 'y'}) | preprocessing.Binarizer(dtype=float)", "af"),
        ("compose.Renamer({'a': 'b'}) | preprocessing.StandardScaler()", "abnf"),
        ("preprocessing.StandardScaler() + preprocessing.MinMaxScaler()", "abnf"),
        ("(preprocessing.MinMaxScaler() | compose.Prefixer('m')) + preprocessing.StandardScaler()", "abnf"),
        ("compose.SelectType(str) | preprocessing.OneHotEncoder() | compose.Prefixer('is_')", "ast"),
        ("preprocessing.OneHotEncoder() | preprocessing.StandardScaler()", "nfst"),
        ("preprocessing.OneHotEncoder(drop_zeros=True) | preprocessing.MaxAbsScaler()", "nfst"),
        ("(compose.SelectType(str) | preprocessing.OneHotEncoder()) + compose.SelectType(bool)", "fst"),
    ],
)
def test_steps_before_a_linear_model(steps: str, names: str) -> None:
    engine, dice = RiverEngine.build(spec_of(f"{steps} | {LOGISTIC}", names)), random.Random(5)
    for _ in range(300):
        row = some_row(dice, names)
        engine.learn(row, row.get("a", row.get("n", 0)) + 2 * (row.get("s") in ("p", "q")) > 1)
    assert_equal(engine, asked(engine.spec, 500))


def test_rows_that_a_select_cannot_score_have_no_answer() -> None:
    engine = learned(spec_of(f"compose.Select('a', 'b') | {SCALED}{LOGISTIC}", "abn"), missing=0.0)
    assert 400 < assert_equal(engine, asked(engine.spec, 2000, missing=0.15)) < 800


@pytest.mark.parametrize(
    "steps",
    [
        MIXED.format(True),
        "compose.SelectType(float) + (compose.SelectType(str) | preprocessing.OneHotEncoder()) | " + SCALED,
    ],
)
def test_a_term_that_is_a_feature_as_well_has_no_answer_rather_than_a_wrong_one(steps: str) -> None:
    fields = (Field("dest", "string"), Field("dest_temp", "number"))
    text = steps + LOGISTIC
    spec = EngineSpec("river", "classification", text, fields, Field("y", "boolean"))
    engine, dice = RiverEngine.build(spec), random.Random(2)
    for _ in range(200):
        size = dice.gauss(0, 1)
        engine.learn({"dest": dice.choice(["a", "b", "temp"]), "dest_temp": size}, size > 0.3)
    loaded = export_onnx(engine)
    rows = [{"dest": value, "dest_temp": 0.7} for value in ("a", "temp", "zzz")]
    feeds = {name: column[:, None] for name, column in columns_of(spec, rows).items()}
    _, shares = session_of(loaded).run(None, feeds)
    for row, got in zip(rows, shares[:, 1], strict=True):
        if row["dest"] == "temp":
            assert got != got
        else:
            assert got == pytest.approx(engine.model.predict_proba_one(row)[True], abs=1e-9)


def test_names_that_one_hot_encoding_may_confuse_are_refused() -> None:
    fields = (Field("s", "string"), Field("s_t", "string"))
    spec = EngineSpec("river", "classification", f"{ONE_HOT} | {LOGISTIC}", fields, Field("y", "boolean"))
    engine = RiverEngine.build(spec)
    engine.learn({"s": "t_x", "s_t": "x"}, True)
    with pytest.raises(ConfigError, match="features 's' and 's_t' can get one name"):
        export_onnx(engine)


def test_a_renamer_in_a_union_is_refused() -> None:
    text = f"(compose.Renamer({{'a': 'c'}}) + preprocessing.StandardScaler()) | {LOGISTIC}"
    engine = RiverEngine.build(spec_of(text, "ab"))
    with pytest.raises(ConfigError, match="step Renamer"):
        export_onnx(engine)


def test_poisson_regression() -> None:
    text = SCALED + "linear_model.LinearRegression(loss=optim.losses.Poisson(), intercept_lr=0.001)"
    engine, dice = RiverEngine.build(spec_of(text, "an", "number")), random.Random(4)
    for _ in range(500):
        row = some_row(dice, "an")
        engine.learn(row, float(min(row["n"], 3)))
    rows = asked(engine.spec, 1000)
    assert_equal(engine, [row for row in rows if abs(row.get("a", 0.0)) < 1e3])


def test_many_categories_are_one_table() -> None:
    engine, dice = RiverEngine.build(spec_of(f"{ONE_HOT} | {LOGISTIC}", "s")), random.Random(6)
    values = [f"user {at}" for at in range(5000)]
    for value in values:
        engine.learn({"s": value}, dice.random() < 0.3)
    data = export_onnx(engine)
    assert len(data) < 40 * len(values)
    assert assert_equal(engine, [{"s": value} for value in [*values[::25], "nobody", ""]]) == 0


def test_votes_beyond_30_are_certain() -> None:
    """River's logistic function is 0 below -30 and 1 above 30: of two that are certain the first class wins."""
    text = "multiclass.OneVsRestClassifier(linear_model.LogisticRegression(initializer=optim.initializers.Zeros()))"
    engine, dice = RiverEngine.build(spec_of(text, "ab", "string")), random.Random(7)
    for at in range(300):
        row = {"a": dice.gauss(0, 1), "b": dice.gauss(0, 1)}
        engine.learn(row, f"c{at % 4}" if dice.random() < 0.3 else f"c{int(row['a'] > 0) + 2 * int(row['b'] > 0)}")
    rows = [{"a": dice.choice([-1, 1]) * 10.0 ** dice.randrange(1, 9), "b": dice.gauss(0, 1e4)} for _ in range(500)]
    assert assert_equal(engine, rows) == 0
    feeds = {name: column[:, None] for name, column in columns_of(engine.spec, rows).items()}
    labels, shares = session_of(export_onnx(engine)).run(None, feeds)
    expected = [engine.model.predict_proba_one(row) for row in rows]
    assert labels.tolist() == [max(shares, key=shares.get) for shares in expected]
    assert [0.5, 0.5] in [sorted(row)[-2:] for row in shares.tolist()]


def test_nobody_votes() -> None:
    text = "multiclass.OneVsRestClassifier(linear_model.LogisticRegression(intercept_init=-100.0, intercept_lr=0.0))"
    engine = RiverEngine.build(spec_of(text, "ab", "string"))
    for at in range(6):
        engine.learn({"a": 0.0}, f"c{at % 3}")
    assert engine.model.predict_proba_one({"b": 1.0}) == {"c0": 1 / 3, "c1": 1 / 3, "c2": 1 / 3}
    assert assert_equal(engine, [{"b": 1.0}, {"a": 0.0}, {}]) == 0


@pytest.mark.parametrize("last", [LOGISTIC, "tree.HoeffdingTreeClassifier(grace_period=40, leaf_prediction='mc')"])
def test_a_row_without_a_length_cannot_be_normalised(last: str) -> None:
    engine = learned(spec_of(f"preprocessing.Normalizer() | {last}", "ab"))
    assert assert_equal(engine, [{"a": 0.0, "b": -0.0}, {"b": 0.0}, {"a": 0.0, "b": 2.0}, {}]) == 2

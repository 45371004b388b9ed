"""Exported trees and forests against River over random rows with missing features and unseen values."""

from __future__ import annotations

import random
from math import inf, nextafter

import pytest
from river.tree.base import Branch
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.river_to_onnx import export_onnx

from tests.river_exports import MIXED, SCALED, asked, assert_equal, learned, spec_of

EAGER = "grace_period=40, delta=0.1, tau=0.2"


@pytest.mark.parametrize(
    ("text", "names", "output"),
    [
        (f"tree.HoeffdingTreeClassifier({EAGER}, leaf_prediction='mc')", "abnf", "boolean"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, leaf_prediction='mc')", "abnfst", "string"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, leaf_prediction='nb', nb_threshold=30)", "abnfst", "string"),
        (f"tree.HoeffdingTreeClassifier({EAGER})", "abnfst", "string"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, nominal_attributes=['n', 'f'])", "nfst", "string"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, nominal_attributes=['n'], binary_split=True)", "nst", "string"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, nominal_attributes=['a'], binary_split=True)", "as", "boolean"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, max_depth=2)", "abns", "boolean"),
        (f"tree.HoeffdingTreeClassifier({EAGER}, splitter=tree.splitter.ExhaustiveSplitter())", "ab", "boolean"),
        (MIXED.format(True) + f"tree.HoeffdingTreeClassifier({EAGER})", "abnfst", "string"),
        (MIXED.format(False) + f"tree.HoeffdingTreeClassifier({EAGER}, leaf_prediction='mc')", "abnfst", "string"),
        (f"tree.ExtremelyFastDecisionTreeClassifier({EAGER})", "abnfst", "string"),
        (f"tree.HoeffdingTreeRegressor({EAGER}, leaf_prediction='mean')", "abnfst", "number"),
        (SCALED + f"tree.HoeffdingTreeRegressor({EAGER}, leaf_prediction='model')", "abnf", "number"),
        (SCALED + f"tree.HoeffdingTreeRegressor({EAGER})", "abnf", "number"),
        (f"tree.HoeffdingTreeRegressor({EAGER}, leaf_model=linear_model.PARegressor())", "abnf", "number"),
        (MIXED.format(True) + f"tree.HoeffdingTreeRegressor({EAGER}, leaf_prediction='model')", "abst", "number"),
        (
            f"tree.HoeffdingTreeRegressor({EAGER}, leaf_prediction='mean', "
            "splitter=tree.splitter.QOSplitter(radius=0.7, allow_multiway_splits=True))",
            "abnf",
            "number",
        ),
    ],
)
def test_trees(text: str, names: str, output: str) -> None:
    engine = learned(spec_of(text, names, output))
    tree = engine.model[-1] if hasattr(engine.model, "steps") else engine.model
    assert isinstance(tree._root, Branch)
    assert assert_equal(engine, asked(engine.spec)) == 0


@pytest.mark.parametrize("option", ["mc", "nb", "nba"])
def test_adaptive_trees(option: str) -> None:
    text = f"tree.HoeffdingAdaptiveTreeClassifier({EAGER}, leaf_prediction='{option}', seed=1)"
    engine = learned(spec_of(text, "abnfst", "string"), 1000)
    assert assert_equal(engine, asked(engine.spec)) == 0


def test_an_adaptive_tree_that_grows_an_alternate_is_refused() -> None:
    text = f"tree.HoeffdingAdaptiveTreeClassifier({EAGER}, seed=1, drift_window_threshold=5000)"
    engine, dice = RiverEngine.build(spec_of(text, "ab")), random.Random(3)
    for at in range(3000):
        row = {"a": dice.gauss(0, 1), "b": dice.gauss(0, 1)}
        engine.learn(row, (row["a"] > 0) == (at < 1500))
        if getattr(engine.model._root, "_alternate_tree", None):
            break
    assert engine.model.n_alternate_trees
    with pytest.raises(ConfigError, match="is growing an alternate tree"):
        export_onnx(engine)


@pytest.mark.parametrize(
    ("text", "names", "output"),
    [
        ("forest.ARFClassifier(n_models=5, seed=1)", "abnfst", "string"),
        (
            "forest.ARFClassifier(n_models=5, seed=1, leaf_prediction='mc', metric=metrics.CohenKappa())",
            "abn",
            "boolean",
        ),
        ("forest.ARFClassifier(n_models=5, seed=1, leaf_prediction='nb', disable_weighted_vote=True)", "abn", "string"),
        (SCALED + "forest.ARFRegressor(n_models=4, seed=1)", "abnf", "number"),
        ("forest.ARFRegressor(n_models=5, seed=1, leaf_prediction='mean')", "abnf", "number"),
        (
            SCALED + "forest.ARFRegressor(n_models=4, seed=1, aggregation_method='mean', disable_weighted_vote=False)",
            "abnf",
            "number",
        ),
        ("forest.ARFRegressor(n_models=3, seed=1, aggregation_method='mean')", "abn", "number"),
    ],
)
def test_forests(text: str, names: str, output: str) -> None:
    engine = learned(spec_of(text, names, output), 500)
    assert assert_equal(engine, asked(engine.spec)) == 0


def test_a_forest_after_a_drift_has_trees_of_every_age() -> None:
    text = (
        "forest.ARFClassifier(n_models=5, seed=1, drift_detector=drift.ADWIN(0.5), warning_detector=drift.ADWIN(0.9))"
    )
    engine, dice = RiverEngine.build(spec_of(text, "ab", "string")), random.Random(3)
    for at in range(800):
        row = {"a": dice.gauss(0, 1), "b": dice.gauss(0, 1)}
        late = at >= 700
        engine.learn(row, f"{'new' if late and row['b'] > 0 else 'old'}{(row['a'] > 0) == (at < 400)}")
    assert engine.model.n_drifts_detected() > 0
    assert assert_equal(engine, asked(engine.spec, 1000)) == 0


def test_trees_that_have_learned_nothing() -> None:
    for text in ("tree.HoeffdingTreeRegressor()", "forest.ARFRegressor(n_models=2, seed=1)"):
        engine = RiverEngine.build(spec_of(text, "ab", "number"))
        assert assert_equal(engine, asked(engine.spec, 100)) == 0


def test_thresholds_are_doubles() -> None:
    """A row on a threshold goes left; the next double goes right: a float32 could not tell them apart."""
    text = "tree.HoeffdingTreeClassifier(grace_period=40, delta=0.5, tau=0.9, leaf_prediction='mc')"
    engine, dice = RiverEngine.build(spec_of(text, "a")), random.Random(4)
    for _ in range(400):
        size = 1e6 + dice.random() * 1e-3
        engine.learn({"a": size}, size > 1e6 + 4e-4)
    splits = [node.threshold for node in engine.model._root.iter_branches()]
    rows = [{"a": value} for split in splits for value in (split, nextafter(split, inf), nextafter(split, -inf))]
    answers = {tuple(sorted(engine.model.predict_proba_one(row).items())) for row in rows}
    assert len(answers) > 1
    assert assert_equal(engine, rows, tolerance=0.0) == 0


def test_a_number_is_a_value_only_as_a_whole() -> None:
    text = "tree.HoeffdingTreeClassifier(grace_period=40, delta=0.5, tau=0.9, nominal_attributes=['a'])"
    for scale in (1.0, 0.5):  # values that are whole numbers, and values that are not
        engine, dice = RiverEngine.build(spec_of(text, "a")), random.Random(5)
        for _ in range(400):
            value = dice.randrange(4)
            engine.learn({"a": scale * value}, dice.random() < (0.9, 0.1, 0.8, 0.3)[value])
        assert isinstance(engine.model._root, Branch)
        rows = [{"a": scale * value} for value in (0, 1, 2, 3, 4, -1, 1.5, 2.000000001, 1e18, -1e149, -0.0)]
        assert assert_equal(engine, [*rows, {}]) == 0

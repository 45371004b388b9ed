"""The model text: what it builds, what it refuses, and that a refusal runs nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.model_text import MAX_LENGTH, parse

GOOD = [
    (
        "preprocessing.StandardScaler() | linear_model.LogisticRegression(optimizer=optim.SGD(0.05))",
        "StandardScaler | Log",
    ),
    ("river.anomaly.HalfSpaceTrees(height=3, limits={'a': (-1.5, +2)})", "HalfSpaceTrees"),
    ("compose.Select('a','b') | preprocessing.OneHotEncoder(drop_zeros=True)", "['a', 'b'] | OneHotEncoder"),
    (
        "(compose.Select('distance') | preprocessing.StandardScaler())\n + (compose.Select('carrier') |"
        " preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression()",
        "['distance'] | StandardScaler + ['carrier'] | OneHotEncoder | LogisticRegression",
    ),
    (
        "('scale', preprocessing.StandardScaler()) | linear_model.LinearRegression()",
        "StandardScaler | LinearRegression",
    ),
    (
        "preprocessing.StandardScaler() * 'carrier' | tree.HoeffdingTreeClassifier()",
        "Grouper | HoeffdingTreeClassifier",
    ),
    ("compose.SelectType(float) | linear_model.LinearRegression(l2=1e-3)", "Select(float) | LinearRegression"),
    (
        "ensemble.VotingClassifier([linear_model.LogisticRegression(), naive_bayes.GaussianNB()], False)",
        "VotingClassifier",
    ),
    ("neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=50))", "KNNClassifier"),
]

BAD = [
    ("", "is empty"),
    ("lambda x: x", "column 1: a lambda is code"),
    ("__import__('os').system('true')", "attribute of a result"),
    ("os.system('true')", "'os' is not open"),
    ("[].__class__.__base__.__subclasses__()", "attribute of a result"),
    ("stats.Mean().__init__.__globals__", "attribute of a result"),
    ("preprocessing.__builtins__.eval('1')", "private"),
    ("preprocessing.scale.np.fromfile('x')", "preprocessing.scale"),
    ("linear_model.base.GLM()", "no class of River"),
    ("compose.FuncTransformer(str)", "takes a function"),
    ("compose.learn_during_predict()", "no class of River"),
    ("feature_extraction.BagOfWords(tokenizer=lambda t: t)", "column 41: a lambda is code"),
    ("[stats.Mean() for _ in range(3)]", "a comprehension is code"),
    ("optim.SGD(f'{1}')", "an f-string is code"),
    ("optim.SGD(*[1])", "unpacking"),
    ("optim.SGD(**{'lr': 1})", "unpacking"),
    ("optim.SGD(1e999)", "not finite"),
    ("optim.SGD(1 + 2)", "joined here with a value"),
    ("optim.SGD(2 ** 9)", "only '|', '+' and '*'"),
    ("optim.SGD(x := 1)", "an assignment is code"),
    ("optim.SGD(1 if True else 2)", "a condition is code"),
    ("optim.SGD([1][0])", "an index is code"),
    ("optim.SGD(b'1')", "a bytes"),
    ("optim.SGD(...)", "ellipsis"),
    ("optim.SGD(not 1)", "a sign belongs before a number"),
    ("1", "a value, not a model"),
    ("['a', 'b']", "a value, not a model"),
    ("preprocessing.StandardScaler", "Write preprocessing.StandardScaler()."),
    ("preprocessing.StandardScaler() | ", "cannot be read"),
    ("StandardScaler()", "Did you mean preprocessing.StandardScaler?"),
    ("naive_bayes.GausianNB()", "Did you mean naive_bayes.GaussianNB?"),
    ("linear_model.LogisticRegression(lr=0.1)", "unexpected keyword argument 'lr'. Its signature is"),
    ("linear_model.LogisticRegression() | 3", "joined here with a value"),
    ("cluster.TextClust()", "Give real_time_fading=False"),
    ("datasets.Phishing()", "'datasets' is not open"),
    ("stream.Cache('/tmp')", "'stream' is not open"),
    ("neighbors.KNNClassifier()", "engine=neighbors.LazySearch"),
    ("(" * 5000 + ")" * 5000, "model text"),
    ("-" * 5000 + "1", "model text"),  # newer Pythons find it nested too deeply, older ones get to the sign
    ("stats.Link(" * 60 + "1" + ")" * 60, "nested too deeply"),
    (" " * MAX_LENGTH + "stats.Mean()", "The limit is"),
    ("9" * 5000, "cannot be read"),
    ("stats.Mean()\x00", "cannot be read"),
]


@pytest.mark.parametrize(("text", "shown"), GOOD)
def test_builds_what_it_says(text: str, shown: str) -> None:
    assert str(parse(text).construct()).startswith(shown)


@pytest.mark.parametrize(("text", "part"), BAD)
def test_refuses_with_a_reason(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert part in str(caught.value)
    assert all(problem.what and problem.remedy for problem in caught.value.problems)


def test_lists_all_offenders_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("preprocessing.Scaler() | linear_model.LogisticRegression(lr=lambda: 1) | stream.Cache()")
    assert len(caught.value.problems) == 4


def test_columns_count_from_the_start_of_the_text() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("  \n preprocessing.StandardScaler() | nothing.Here()")
    assert "column 38" in str(caught.value)


def test_bad_values_show_the_signature() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("linear_model.LinearRegression(l1=1, l2=1)").construct()
    assert "refuses its arguments" in str(caught.value)
    assert "optimizer=None" in str(caught.value)


def test_missing_seeds_are_filled_and_differ() -> None:
    text = "ensemble.BaggingClassifier(preprocessing.FeatureHasher() | forest.ARFClassifier(seed=9), n_models=2)"
    model = parse(text).construct(100)
    assert model.seed == 100
    hasher, forest = model.models[0].steps.values()
    assert (hasher.seed, forest.seed) == (101, 9)


def test_advice_names_the_traps() -> None:
    assert "drop_zeros" in parse("preprocessing.OneHotEncoder() | naive_bayes.BernoulliNB()").advice[0]
    assert parse("preprocessing.OneHotEncoder(True) | naive_bayes.BernoulliNB()").advice == ()
    assert "MinMaxScaler" in parse("anomaly.HalfSpaceTrees()").advice[0]
    assert parse("preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees()").advice == ()
    assert parse("anomaly.HalfSpaceTrees(limits={'a': (0, 9)})").advice == ()
    assert "StandardScaler" in parse("linear_model.LinearRegression()").advice[0]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="stats.MeanoptimSGD()|+*-,'[]{}:=0123 lambdafor_x", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(text).names

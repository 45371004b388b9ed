"""A model of texts stays bounded: beyond the limit it is River's own model of rows in which later values are one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.engines import build, restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.known_values import OTHER, KnownValues
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.safe_pickle import dumps

INPUTS = (Field("a", "number"), Field("city", "string"), Field("shop", "string"))
ONE_HOT = (
    "(compose.Select('a') | preprocessing.StandardScaler()) + (compose.SelectType(str) |"
    " preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression()"
)
MODELS = [
    ONE_HOT,
    ONE_HOT.replace("LogisticRegression()", "LogisticRegression(l2=0.1)"),
    "compose.Select('a') + feature_extraction.TargetAgg(['city', 'shop'], stats.Mean()) | linear_model.PAClassifier()",
    "(compose.SelectType(str) | preprocessing.OrdinalEncoder()) + compose.Select('a') | naive_bayes.GaussianNB()",
    "tree.HoeffdingTreeClassifier(grace_period=5)",
]


def spec_of(text: str, **params: str) -> EngineSpec:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return EngineSpec("river", "classification", text, INPUTS, Field("y", "boolean"), named)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 7), st.integers(0, 3), st.booleans()), min_size=3, max_size=40),
    st.integers(1, 9),
)
def test_beyond_the_limit_it_is_river_on_rows_with_one_other_value(
    text: str, rows: list[tuple[float, int, int, bool]], every: int
) -> None:
    spec = spec_of(text, max_values="2")
    engine: Any = build(spec)
    plain = parse(text).construct(0)
    seen: dict[str, list[str]] = {"city": [], "shop": []}
    for at, (a, city, shop, label) in enumerate(rows):
        if at % every == 0:
            engine = restore(spec, engine.dump())
        row: dict[str, Any] = {"a": a, "city": f"c{city}", "shop": f"s{shop}"}
        shown = dict(row)
        for name, known in seen.items():
            if row[name] not in known and len(known) >= 2:
                shown[name] = OTHER
            elif row[name] not in known:
                known.append(row[name])
        answer = engine.step(row, label)
        if answer.status == "ok":
            assert answer.score == plain.predict_proba_one(shown).get(True, 0.0)
        plain.learn_one(shown, label)
    assert dumps(engine.model) == dumps(plain)


@pytest.mark.parametrize("text", MODELS[:3])
def test_twenty_thousand_users_take_no_more_room_than_the_limit(text: str) -> None:
    def after(users: int) -> int:
        engine: Any = build(spec_of(text, max_values="100"))
        for n in range(users):
            engine.learn({"a": 0.5, "city": f"user-{n:06}", "shop": "s"}, n % 2 == 0)
        return len(engine.dump())

    assert after(2000) <= after(200) + 200
    unlimited: Any = build(spec_of(text))
    for n in range(2000):
        unlimited.learn({"a": 0.5, "city": f"user-{n:06}", "shop": "s"}, n % 2 == 0)
    assert len(unlimited.dump()) > 10 * after(200)


def test_text_that_is_taken_apart_into_words_has_no_such_limit() -> None:
    text = "feature_extraction.BagOfWords(on='shop') | naive_bayes.MultinomialNB()"
    engine: Any = build(spec_of(text, max_values="1"))
    for n in range(20):
        engine.learn({"a": 0.0, "city": "c", "shop": f"good cheap{n}" if n % 2 else f"bad dear{n}"}, n % 2 == 0)
    answers = engine.score([{"a": 0.0, "city": "new", "shop": words} for words in ("good", "bad")])
    assert [answer.label for answer in answers] == ["false", "true"]


def test_hostile_values_are_refused() -> None:
    for values in ([], {"city": ["x"]}, {"city": ("x", 1)}, {"country": ("x",)}):
        with pytest.raises(SnapshotError):
            KnownValues(["city"], 3).load(values)


def test_the_limit_is_above_zero() -> None:
    with pytest.raises(ConfigError, match=r"'max-values'.*above zero"):
        build(spec_of(ONE_HOT, max_values="0"))
    with pytest.raises(ConfigError, match="'many' is not a whole number"):
        build(spec_of(ONE_HOT, max_values="many"))

"""A model goes on under another text as River's own does after ``mutate``, or every change it cannot make is told."""

from __future__ import annotations

from typing import Any

import pytest
from river import linear_model, optim, preprocessing, tree
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.river_engine import RiverEngine

LINEAR = "preprocessing.StandardScaler() | linear_model.LogisticRegression({})"
WITH_COLOUR = (
    "(compose.Select('a', 'b') | preprocessing.StandardScaler())"
    " + (compose.Select('c') | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression({})"
)
NUMBERS = (Field("a", "number"), Field("b", "number"))


def spec(text: str, inputs: tuple[Field, ...] = NUMBERS) -> EngineSpec:
    return EngineSpec("river", "classification", text, inputs, Field("y", "boolean"))


def example(n: int, names: str = "ab") -> tuple[dict[str, Any], bool]:
    row = {"a": (n * 37 % 101) / 10 - 5, "b": (n * 53 % 89) / 7 - 6, "c": "xyz"[n % 3]}
    return {name: row[name] for name in names}, row["a"] * 2 - row["b"] > 0.5


def taught(the_spec: EngineSpec, rows: int, names: str = "ab") -> bytes:
    engine = RiverEngine.build(the_spec)
    for n in range(rows):
        engine.learn(*example(n, names))
    return engine.dump()


@pytest.mark.parametrize(
    ("before", "after", "mutation"),
    [
        ("optim.SGD(0.1)", "optim.SGD(0.01)", {"optimizer": {"lr": optim.schedulers.Constant(0.01)}}),
        ("optim.SGD(0.1)", "optim.SGD(0.1), l2=0.5", {"l2": 0.5}),
        ("optim.SGD(0.1)", "optim.Adam(0.01)", {"optimizer": optim.Adam(0.01)}),
        ("optim.Adam(0.1)", "optim.Adam(0.01)", {"optimizer": {"lr": optim.schedulers.Constant(0.01)}}),
        ("l2=0.1", "l2=0.2, intercept_lr=0.5", {"l2": 0.2, "intercept_lr": optim.schedulers.Constant(0.5)}),
    ],
)
def test_a_linear_model_goes_on_as_rivers_does_after_mutate(before: str, after: str, mutation: dict[str, Any]) -> None:
    old, new = spec(LINEAR.format(before)), spec(LINEAR.format(after))
    engine = RiverEngine.adopt(old, taught(old, 100), new)
    arguments: dict[str, Any] = {
        "optim.SGD(0.1)": {"optimizer": optim.SGD(0.1)},
        "optim.Adam(0.1)": {"optimizer": optim.Adam(0.1)},
        "l2=0.1": {"l2": 0.1},
    }[before]
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(**arguments)
    for n in range(100):
        model.learn_one(*example(n))
    model.mutate({"LogisticRegression": mutation})
    for n in range(100, 200):
        x, y = example(n)
        assert engine.step(x, y).score == model.predict_proba_one(x)[True]
        model.learn_one(x, y)
    assert engine.learned == 200
    assert RiverEngine.restore(new, engine.dump()).dump() == engine.dump()


def test_a_tree_and_a_union_go_on() -> None:
    old, new = spec("tree.HoeffdingTreeClassifier(grace_period=20)"), spec("tree.HoeffdingTreeClassifier(tau=0.2)")
    engine = RiverEngine.adopt(old, taught(old, 100), new)
    model = tree.HoeffdingTreeClassifier(grace_period=20, max_depth=12)
    for n in range(100):
        model.learn_one(*example(n))
    model.mutate({"grace_period": 200, "tau": 0.2})
    for n in range(100, 400):
        x, y = example(n)
        assert engine.step(x, y).score == model.predict_proba_one(x).get(True, 0.0)
        model.learn_one(x, y)
    inputs = (*NUMBERS, Field("c", "string"))
    old, new = (spec(WITH_COLOUR.format(f"optim.SGD({rate})"), inputs) for rate in (0.1, 0.02))
    engine = RiverEngine.adopt(old, taught(old, 100, "abc"), new)
    assert engine.learned == 100
    assert engine.score([example(7, "abc")[0]]) == RiverEngine.restore(old, taught(old, 100, "abc")).score(
        [example(7, "abc")[0]]
    )


def test_every_change_that_cannot_be_made_is_told() -> None:
    old = spec(LINEAR.format(""))
    blob = taught(old, 10)
    with pytest.raises(ConfigError, match=r"StandardScaler, with_std.*was True and is False"):
        RiverEngine.adopt(old, blob, spec("preprocessing.StandardScaler(False) | linear_model.LogisticRegression()"))
    with pytest.raises(ConfigError, match=r"was LogisticRegression and is PAClassifier|had the steps"):
        RiverEngine.adopt(old, blob, spec("preprocessing.StandardScaler() | linear_model.PAClassifier()"))
    with pytest.raises(ConfigError, match="INPUT"):
        RiverEngine.adopt(old, blob, spec(LINEAR.format("l2=0.1"), (Field("a", "number"),)))
    regularised = spec(LINEAR.format("l2=0.1"))
    with pytest.raises(ConfigError, match="another form"):
        RiverEngine.adopt(regularised, taught(regularised, 10), old)


def test_a_model_that_has_learned_nothing_changes_too() -> None:
    old, new = spec(LINEAR.format("l2=0.1")), spec(LINEAR.format("l2=0.2"))
    engine = RiverEngine.adopt(old, taught(old, 0), new)
    assert engine.dump() == RiverEngine.build(new).dump()

"""The River engine: the very numbers of River's own loop, and none of its accidents."""

from __future__ import annotations

import itertools
import math
import pickle
import random
import struct
import zlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import datasets, stats
from thalweg.connector.errors import ConfigError, RecordError, SnapshotError
from thalweg.udfs.engines import build, engine_class, restore
from thalweg.udfs.engines.base import EngineSpec, Field, Learner
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.river_engine import RiverEngine
from thalweg.udfs.engines.safe_pickle import dumps

AB = (Field("a", "number"), Field("b", "number"))
SCALED = "preprocessing.StandardScaler() | "
LOGISTIC = SCALED + "linear_model.LogisticRegression()"
PLAIN = "linear_model.LinearRegression()"
TARGET = "preprocessing.TargetStandardScaler(neighbors.KNNRegressor(engine=neighbors.LazySearch(window_size=50)))"
ONE_VS_REST = "multiclass.OneVsRestClassifier(linear_model.LogisticRegression())"
LAZY = "engine=neighbors.LazySearch(window_size=50)"
LINEAR = SCALED + "linear_model.LinearRegression()"
UNFINISHED = "the model's answer is not a finite number"
KINDS = {float: "number", int: "integer", bool: "boolean", str: "string"}


def spec_of(
    text: str = LOGISTIC, task: str = "classification", output: str = "boolean", inputs: Any = AB, **params: str
) -> EngineSpec:
    named = tuple(sorted((name.replace("_", "-"), value) for name, value in params.items()))
    return EngineSpec("river", task, text, tuple(inputs), Field("y", output), named)


def trained(spec: EngineSpec, count: int = 40) -> Any:
    engine, dice = build(spec), random.Random(2)
    for _ in range(count):
        row = {"a": dice.gauss(0, 1), "b": dice.gauss(3, 2)}
        engine.learn(row, row["a"] > 0 if spec.output.kind == "boolean" else row["a"] + row["b"])
    return engine


STREAMS: list[tuple[str, Any, str, str]] = [
    ("Phishing", datasets.Phishing(), "boolean", LOGISTIC),
    ("Phishing", datasets.Phishing(), "boolean", SCALED + "linear_model.LogisticRegression(optim.Adam(0.01), l2=0.1)"),
    ("Phishing", datasets.Phishing(), "boolean", "tree.HoeffdingTreeClassifier(grace_period=50)"),
    ("Phishing", datasets.Phishing(), "boolean", "forest.ARFClassifier(n_models=3)"),
    ("Bananas", datasets.Bananas(), "boolean", LOGISTIC),
    ("Bananas", datasets.Bananas(), "boolean", "forest.AMFClassifier(n_estimators=3)"),
    ("Bananas", datasets.Bananas(), "boolean", SCALED + "linear_model.PAClassifier()"),
    ("ImageSegments", datasets.ImageSegments(), "string", SCALED + "naive_bayes.GaussianNB()"),
    ("ImageSegments", datasets.ImageSegments(), "string", SCALED + ONE_VS_REST),
    ("ImageSegments", datasets.ImageSegments(), "string", f"neighbors.KNNClassifier({LAZY})"),
    ("TrumpApproval", datasets.TrumpApproval(), "number", LINEAR),
    ("TrumpApproval", datasets.TrumpApproval(), "number", SCALED + "linear_model.LinearRegression(optim.SGD(0.1))"),
    ("TrumpApproval", datasets.TrumpApproval(), "number", SCALED + "linear_model.LinearRegression(l2=0.1)"),
    ("TrumpApproval", datasets.TrumpApproval(), "number", "tree.HoeffdingAdaptiveTreeRegressor(grace_period=50)"),
    ("TrumpApproval", datasets.TrumpApproval(), "number", TARGET),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "output", "text"), [c[1:] for c in STREAMS], ids=[f"{c[0]}-{at}" for at, c in enumerate(STREAMS)]
)
def test_scores_and_state_are_those_of_rivers_own_loop(data: Any, output: str, text: str) -> None:
    examples = list(itertools.islice(iter(data), 400))
    inputs = [Field(str(name), KINDS[type(value)]) for name, value in examples[0][0].items()]
    task = "regression" if output == "number" else "classification"
    spec = spec_of(text, task, output, inputs)
    engine: Any = build(spec)
    plain = parse(text).construct(0)
    for at, (x, y) in enumerate(examples):
        if at % 90 == 70:
            engine = restore(spec, engine.dump())
        row: Any = {name: float(x[name]) if kind == "number" else x[name] for name, kind in inputs}
        label: Any = {"boolean": bool, "string": str, "number": float}[output](y)
        answer = engine.step(row, label)
        if at:
            if output == "number":
                assert answer.score == plain.predict_one(row)
            else:
                odds = plain.predict_proba_one(row)
                best = plain.predict_one(row)
                assert answer.score == odds.get(True if output == "boolean" else best, 0.0)
                assert answer.label == {True: "true", False: "false"}.get(best, best)
                assert output == "boolean" or answer.probabilities == odds
        plain.learn_one(row, label)
    assert answer.status == "ok"
    if "forest" not in text:  # River's forests keep what they were asked
        assert dumps(engine.model) == dumps(plain)


finite = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e-300, 5e-324, 123456.789])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(finite, finite, st.integers(-9, 9), st.booleans()), min_size=2, max_size=30),
    st.sampled_from(
        [
            (LOGISTIC, "classification", "boolean"),
            (SCALED + "linear_model.LogisticRegression(optim.SGD(0.5), intercept_lr=0.0)", "classification", "boolean"),
            (
                SCALED + "linear_model.LogisticRegression(loss=optim.losses.Log(5, 0.1), clip_gradient=0.2)",
                "classification",
                "boolean",
            ),
            (LINEAR, "regression", "number"),
            (SCALED + "linear_model.LinearRegression(optim.SGD(0.3), intercept_init=2)", "regression", "number"),
        ]
    ),
    st.integers(1, 10),
)
def test_the_tight_loop_is_river_bit_for_bit(
    rows: list[tuple[float, float, int, bool]], model: tuple[str, str, str], every: int
) -> None:
    inputs = (*AB, Field("n", "integer"), Field("flag", "boolean"))
    spec = spec_of(*model, inputs)
    engine: Any = build(spec)
    assert engine._kernel is not None
    plain = parse(model[0]).construct(0)
    for at, values in enumerate(rows):
        row = dict(zip(("a", "b", "n", "flag"), values, strict=True))
        label: Any = values[3] if model[2] == "boolean" else values[0] / 7
        if at % every == 0:
            engine = restore(spec, engine.dump())
        answer = engine.step(row, label)
        if at and answer.status == "ok":
            assert answer.score == (
                plain.predict_proba_one(row)[True] if model[2] == "boolean" else plain.predict_one(row)
            )
        plain.learn_one(row, label)
    if engine.healthy():
        assert dumps(engine.model) == dumps(plain)


@pytest.mark.parametrize("text", [LOGISTIC, "linear_model.LogisticRegression()", "tree.HoeffdingTreeClassifier()"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200, Decimal("NaN"), None, "1", True])
def test_one_bad_value_is_refused_and_does_no_harm(text: str, bad: Any) -> None:
    engine = trained(spec_of(text))
    before = engine.dump()
    row = {"a": 0.5, "b": bad}
    assert engine.score([row, {"a": 0.5, "b": 1.0}])[0].status == "refused"
    assert engine.score([row, {"a": 0.5, "b": 1.0}])[1].status == "ok"
    for call in (engine.learn, engine.step):
        with pytest.raises(RecordError, match="'b'"):
            call(row, True)
    assert engine.dump() == before
    assert engine.healthy()


def test_a_decimal_is_the_float_it_looks_like() -> None:
    for text in (LOGISTIC, "linear_model.LogisticRegression()"):
        engine, other = trained(spec_of(text)), trained(spec_of(text))
        for value in ("0.1", "-3.25", "7"):
            engine.learn({"a": Decimal(value), "b": 2}, True)
            other.learn({"a": float(value), "b": 2.0}, True)
        assert engine.dump() == other.dump()


@pytest.mark.parametrize(
    ("output", "good", "bad"),
    [
        ("boolean", [True, False], [1, 0, "1", "true", None, 1.0]),
        ("string", ["1", "true", "x"], [1, True, None, 1.0, b"x"]),
        ("integer", [1, 2, 3.0, Decimal(1)], ["1", True, None, 1.5, math.nan]),
    ],
)
def test_a_label_has_the_declared_type_and_no_other(output: str, good: list[Any], bad: list[Any]) -> None:
    engine: Any = build(spec_of("tree.HoeffdingTreeClassifier()", output=output))
    row = {"a": 1.0, "b": 2.0}
    for label in good:
        engine.learn(row, label)
    for label in bad:
        with pytest.raises(RecordError, match="'y'"):
            engine.learn(row, label)
    assert engine.learned == len(good)
    names = set(engine.score([row])[0].probabilities or ())
    assert names == (set() if output == "boolean" else {str(int(v) if output == "integer" else v) for v in good})


def test_exploding_weights_are_noticed_and_rolled_back() -> None:
    spec = spec_of("linear_model.LinearRegression(optim.SGD(1.0))", "regression", "number")
    engine: Any = build(spec)
    engine.learn({"a": 0.1, "b": 0.2}, 0.3)
    good = engine.dump()
    assert engine.healthy()
    for at in range(200):
        engine.learn({"a": 1.7e9 + at, "b": 1.0}, 1.0)
    assert not engine.healthy()
    assert not restore(spec, engine.dump()).healthy()
    assert restore(spec, good).healthy()
    assert all(a.score is None or math.isfinite(a.score) for a in engine.score([{"a": 1.7e9, "b": 1.0}]))


@pytest.mark.parametrize("rate", ["1e13", "1e200", "1e300"])
@pytest.mark.parametrize("kind", ["Linear", "Logistic"])
def test_a_diverged_model_says_so_and_stops_no_job(rate: str, kind: str) -> None:
    text = f"{SCALED}linear_model.{kind}Regression(optim.SGD({rate}))"
    spec = spec_of(text, "regression", "number") if kind == "Linear" else spec_of(text)
    engine: Any = build(spec)
    dice = random.Random(1)
    rows = [{"a": dice.gauss(0, 1), "b": dice.gauss(0, 1)} for _ in range(300)]
    for at, row in enumerate(rows):
        size = dice.gauss(0, 1)
        engine.step(row, size if kind == "Linear" else size > 0)
        if at == 150:
            engine = restore(spec, engine.dump())
    assert not engine.healthy()
    answers = engine.score(rows)
    assert all(math.isfinite(a.score) if a.status == "ok" else a.reason == UNFINISHED for a in answers)
    assert rate != "1e300" or kind != "Linear" or {a.status for a in answers} == {"refused"}
    again = restore(spec, engine.dump())
    assert (again.learned, again.healthy(), again.dump()) == (300, False, engine.dump())


def test_a_cold_model_says_so() -> None:
    for text in (LOGISTIC, "tree.HoeffdingTreeClassifier()"):
        engine: Any = build(spec_of(text, min_samples="3"))
        row = {"a": 1.0, "b": 1.0}
        assert [engine.step(row, True).status for _ in range(5)] == ["not_ready"] * 3 + ["ok"] * 2
    trees = "anomaly.HalfSpaceTrees(n_trees=2, window_size=12, limits={'a': (0, 1), 'b': (0, 1)})"
    engine = build(spec_of(trees, "anomaly", "number"))
    found = [engine.step({"a": at / 40, "b": 0.5}).status for at in range(40)]
    assert found == ["not_ready"] * 12 + ["ok"] * 28


def test_missing_features_are_refused_or_skipped() -> None:
    strict, lenient = trained(spec_of()), trained(spec_of(on_null="skip"))
    assert strict.score([{"a": 1.0}])[0].reason == "'b' is missing"
    assert lenient.score([{"a": 1.0}])[0].status == "ok"
    lenient.learn({"b": 1.0}, True)
    whole = lenient.score([{"a": 1.0, "b": 1.0, "c": 5.0}])[0]
    assert whole == lenient.score([{"a": 1.0, "b": 1.0}])[0]
    sparse: Any = build(spec_of(on_null="skip"))
    for at in range(9):
        sparse.learn({"a": float(at), "b": None}, at > 4)
    before = sparse.dump()
    assert sparse.score([{"a": 1.0, "b": 5.0}]) == sparse.score([{"a": 1.0}])
    assert sparse.dump() == before
    assert restore(spec_of(on_null="skip"), before).score([{"b": 1.0}])[0].status == "ok"


def test_texts_in_the_wrong_place_are_told_at_build() -> None:
    inputs = (*AB, Field("city", "string"))
    with pytest.raises(ConfigError, match=r"compose\.SelectType") as caught:
        build(spec_of(inputs=inputs))
    assert "city" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        (spec_of(task="forecast"), ["task 'forecast'"]),
        (spec_of(LINEAR), ["LinearRegression is not a classifier"]),
        (spec_of(LOGISTIC, "regression", "number"), ["is not a regressor"]),
        (spec_of(output="string"), ["more than two classes", "OneVsRestClassifier"]),
        (spec_of(LINEAR, "regression", "boolean"), ["regression gives no boolean"]),
        (spec_of(inputs=()), ["there are none"]),
        (spec_of(inputs=(*AB, AB[0], Field("v", "vector"))), ["declared twice", "no vector"]),
        (spec_of(seed="x", min_samples="-1", on_null="zero", cadence="1"), ["'x'", "'-1'", "on-null", "'cadence'"]),
        (spec_of("anomaly.GaussianScorer()", "anomaly", "number", (Field("s", "string"),)), ["Put a number first"]),
        (spec_of(f"ensemble.VotingClassifier([{PLAIN}, {PLAIN}])", output="string"), ["parts that do not fit"]),
        (spec_of("dummy.StatisticRegressor(optim.SGD())", "regression", "number"), ["fails on rows of these types"]),
        (spec_of("preprocessing.FeatureHasher() | linear_model.LogisticRegression()"), ["Put compose.Prefixer('h')"]),
        (spec_of("cluster.ODAC()", "clustering", "integer"), ["clusters features"]),
        (spec_of("reco.Baseline()", "recommendation", "number"), ["the user and the item first"]),
        (
            spec_of("preprocessing.StandardScalar() | linear_model.LogisticRegression()", seed="x"),
            ["StandardScaler?", "'x'"],
        ),
    ],
)
def test_what_cannot_work_is_said_at_build_all_at_once(spec: EngineSpec, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(spec)
    for part in parts:
        assert part in str(caught.value)


def blobs() -> Iterator[tuple[EngineSpec, bytes]]:
    for text in (LOGISTIC, "tree.HoeffdingTreeClassifier()"):
        yield spec_of(text), trained(spec_of(text)).dump()


@pytest.mark.parametrize(("spec", "blob"), blobs(), ids=["packed", "pickled"])
def test_any_damage_to_a_snapshot_is_noticed(spec: EngineSpec, blob: bytes) -> None:
    for at in range(len(blob)):
        with pytest.raises(SnapshotError):
            restore(spec, blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        with pytest.raises(SnapshotError):
            restore(spec, blob[:at])


def test_a_snapshot_of_another_model_is_refused() -> None:
    (one, packed), (other, pickled) = blobs()
    with pytest.raises(SnapshotError, match="protocol 2; this version reads protocol 1"):
        restore(one, b"\x02" + packed[1:])
    for spec, blob in ((other, packed), (one, pickled), (spec_of(inputs=AB[::-1]), packed)):
        with pytest.raises(SnapshotError, match="another model text, other features or another output"):
            restore(spec, blob)
    assert restore(spec_of(min_samples="99"), packed).score([{"a": 1.0, "b": 1.0}])[0].status == "not_ready"


def signed(spec: EngineSpec, form: int, body: bytes) -> bytes:
    """A blob that has all marks of a good one."""
    rest = trained(spec).dump()[5:13] + bytes([form]) + (7).to_bytes(8, "big") + body
    return struct.pack(">BI", 1, zlib.crc32(rest)) + rest


def test_a_signed_snapshot_is_audited_all_the_same() -> None:
    tree = spec_of("tree.HoeffdingTreeClassifier()")
    evil = pickle.dumps(Decimal("1"))
    bodies = [b"", b"\0" * 9, evil, len(evil).to_bytes(4, "big") + evil, dumps([1]), dumps([(), stats.Mean()])]
    for form in (0, 1, 9):
        for body in [*bodies, b"x"]:
            for spec in (tree, spec_of()):
                with pytest.raises(SnapshotError):
                    restore(spec, signed(spec, form, body))


def test_a_snapshot_from_before_values_were_limited_goes_on() -> None:
    inputs = (*AB, Field("city", "string"))
    spec = spec_of("compose.Select('a', 'city') | tree.HoeffdingTreeClassifier()", inputs=inputs)
    engine: Any = build(spec)
    for n in range(9):
        engine.learn({"a": n / 9, "b": 1.0, "city": "ulm" if n % 2 else "bonn"}, n > 4)
    older = dumps([("a", "b", "city"), engine.model])
    head = engine.dump()[5:22]
    again = restore(spec, struct.pack(">BI", 1, zlib.crc32(head + older)) + head + older)
    row = {"a": 0.9, "b": 1.0, "city": "ulm"}
    assert again.score([row]) == engine.score([row])
    again.learn(row, True)
    assert restore(spec, again.dump()).learned == 10


def test_two_builds_agree_and_two_seeds_do_not() -> None:
    def run(seed: str) -> bytes:
        return bytes(trained(spec_of("forest.ARFClassifier(n_models=2)", seed=seed)).dump())

    assert run("1") == run("1")
    assert run("1") != run("2")


def test_the_engine_says_what_it_is() -> None:
    engine = trained(spec_of())
    assert isinstance(engine, Learner)
    assert engine_class("river") is RiverEngine
    assert engine.version == "40"
    assert RiverEngine.OPTIONS == (
        "arms", "horizon", "max-values", "min-samples", "on-null", "seed", "threshold",
    )  # fmt: skip
    assert "StandardScaler" in RiverEngine.build(spec_of("linear_model.LogisticRegression()")).advice[0]
    with pytest.raises(ConfigError, match=r"Known: .*onnx, .*river"):
        engine_class("torch")

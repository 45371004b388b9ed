"""The conformance suite over both engines, and over engines that break one promise each."""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from thalweg.connector.errors import ConfigError, ModelError, RecordError, SnapshotError
from thalweg.udfs.engines import checks, engine_class
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Field, Score, Value
from thalweg.udfs.engines.checks import check_learner, check_processes, check_scorer
from thalweg.udfs.logic.options import OPTIONS

AB = (Field("a", "number"), Field("b", "number"))
MIXED = (*AB, Field("n", "integer"), Field("city", "string"), Field("new", "boolean"))
VISIT = (Field("user", "string"), Field("item", "integer"), Field("hour", "number"))
SCALED = "preprocessing.StandardScaler() | "
ENCODED = (
    "(compose.SelectType(float) | preprocessing.StandardScaler())"
    " + (compose.SelectType(str) | preprocessing.OneHotEncoder(drop_zeros=True)) | "
)
LOGISTIC = "linear_model.LogisticRegression()"
AGG = "compose.Select('a', 'b') + feature_extraction.Agg('a', 'city', stats.Mean()) | "
RELU = "neural_net.activations.ReLU"
NETWORK = f"neural_net.MLPRegressor((4,), ({RELU}, {RELU}, neural_net.activations.Identity))"
BANDIT = (
    "model_selection.BanditRegressor([linear_model.LinearRegression(), linear_model.PARegressor()],"
    " metrics.MAE(), bandit.EpsilonGreedy(0.5))"
)
TREES = "anomaly.HalfSpaceTrees(n_trees=3, height=3, window_size=10)"
LAZY = "engine=neighbors.LazySearch(window_size=30)"

# Task, kind of the output, features, model text.
MODELS: list[tuple[str, str, tuple[Field, ...], str]] = [
    ("classification", "boolean", AB, SCALED + "linear_model.LogisticRegression()"),
    ("classification", "boolean", MIXED, ENCODED + "linear_model.LogisticRegression(optimizer=optim.Adam(), l2=0.01)"),
    ("classification", "boolean", AB, SCALED + "linear_model.ALMAClassifier()"),
    ("classification", "boolean", AB, "preprocessing.AdaptiveStandardScaler() | linear_model.PAClassifier()"),
    ("classification", "string", AB, SCALED + "multiclass.OneVsRestClassifier(linear_model.LogisticRegression())"),
    ("classification", "string", AB, SCALED + "linear_model.SoftmaxRegression()"),
    ("classification", "string", MIXED, "tree.HoeffdingTreeClassifier(grace_period=5)"),
    ("classification", "integer", MIXED, "tree.HoeffdingAdaptiveTreeClassifier(grace_period=5)"),
    ("classification", "string", AB, "tree.ExtremelyFastDecisionTreeClassifier(grace_period=5)"),
    ("classification", "string", MIXED, "forest.ARFClassifier(n_models=3, grace_period=5)"),
    ("classification", "string", MIXED, "multiclass.OneVsOneClassifier(" + AGG + SCALED + LOGISTIC + ")"),
    ("classification", "string", AB, "forest.AMFClassifier(n_estimators=3)"),
    ("classification", "string", AB, "naive_bayes.GaussianNB()"),
    ("classification", "boolean", AB, "preprocessing.Binarizer(0.5) | naive_bayes.BernoulliNB()"),
    ("classification", "string", AB, f"neighbors.KNNClassifier(n_neighbors=3, {LAZY})"),
    ("classification", "boolean", AB, "ensemble.ADWINBaggingClassifier(linear_model.Perceptron(), n_models=3)"),
    ("classification", "boolean", AB, "ensemble.AdaBoostClassifier(tree.HoeffdingTreeClassifier(grace_period=5), 3)"),
    ("classification", "boolean", AB, "imblearn.RandomUnderSampler(linear_model.LogisticRegression(), {0: 1, 1: 1})"),
    ("classification", "boolean", AB, "feature_extraction.RBFSampler() | linear_model.LogisticRegression()"),
    ("classification", "boolean", MIXED, "feature_extraction.TargetAgg(by='city', how=stats.Mean()) | " + LOGISTIC),
    ("classification", "boolean", MIXED, AGG + SCALED + LOGISTIC),
    ("classification", "boolean", AB, "facto.FMClassifier(n_factors=3)"),
    ("regression", "number", AB, SCALED + "linear_model.LinearRegression()"),
    ("regression", "number", AB, "preprocessing.TargetStandardScaler(linear_model.BayesianLinearRegression())"),
    ("regression", "number", MIXED, "tree.HoeffdingTreeRegressor(grace_period=5, leaf_prediction='mean')"),
    ("regression", "number", AB, "forest.ARFRegressor(n_models=3, grace_period=5)"),
    ("regression", "number", AB, f"neighbors.KNNRegressor(n_neighbors=3, {LAZY})"),
    ("regression", "number", AB, SCALED + "rules.AMRules(n_min=5)"),
    ("regression", "number", AB, SCALED + NETWORK),
    ("regression", "number", AB, BANDIT),
    ("regression", "integer", MIXED, "dummy.StatisticRegressor(stats.Mean())"),
    ("anomaly", "number", AB, "preprocessing.MinMaxScaler() | " + TREES),
    ("anomaly", "number", AB, "anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.9)"),
    ("anomaly", "number", AB, "anomaly.GaussianScorer(grace_period=5)"),
    ("anomaly", "number", AB, "anomaly.LocalOutlierFactor(n_neighbors=3)"),
    ("clustering", "integer", AB, SCALED + "cluster.KMeans(3)"),
    ("clustering", "integer", AB, "cluster.DBSTREAM()"),
    ("clustering", "integer", AB, "cluster.STREAMKMeans(chunk_size=5, n_clusters=2)"),
    ("recommendation", "number", VISIT, "reco.BiasedMF(n_factors=3)"),
    ("recommendation", "number", VISIT, "reco.FunkMF(n_factors=3)"),
    ("recommendation", "number", VISIT, "reco.Baseline()"),
]  # fmt: skip


def example(dice: random.Random, inputs: Sequence[Field], task: str, output: str) -> tuple[dict[str, Any], Any]:
    row: dict[str, Any] = {}
    for name, kind in inputs:
        row[name] = {
            "number": round(dice.gauss(0.5, 0.3), 3),
            "integer": dice.randrange(6),
            "boolean": dice.random() < 0.5,
            "string": dice.choice(["ulm", "bonn", "köln", "jena"]),
        }[kind]
    size = sum(value for value in row.values() if isinstance(value, float))
    label = {
        "boolean": size > 1.0,
        "string": "abc"[min(2, int(max(0, size)))],
        "integer": int(size > 1),
        "number": size,
    }
    return row, None if task in ("anomaly", "clustering") else label[output]


def river_case(model: tuple[str, str, tuple[Field, ...], str], count: int) -> tuple[EngineSpec, list[Any]]:
    task, output, inputs, text = model
    dice = random.Random(text)
    spec = EngineSpec("river", task, text, inputs, Field("y", output), (("min-samples", "3"), ("seed", "7")))
    return spec, [example(dice, inputs, task, output) for _ in range(count)]


@pytest.mark.parametrize("model", MODELS, ids=[f"{at}-{model[0]}" for at, model in enumerate(MODELS)])
def test_river_models_keep_the_protocol(model: tuple[str, str, tuple[Field, ...], str]) -> None:
    check_learner(*river_case(model, 36))


def onnx_cases() -> list[tuple[EngineSpec, list[dict[str, Any]]]]:
    table = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    event = (table.sum(axis=1) > 0).astype(int)
    rows = [{"a": float(a), "b": float(b)} for a, b in table[:12]]
    opset = {"": 17, "ai.onnx.ml": 3}

    def case(data: bytes, task: str, output: str, inputs: tuple[Field, ...] = AB, given: Any = rows) -> Any:
        uri = "data:;base64," + base64.b64encode(data).decode()
        return EngineSpec("onnx", task, uri, inputs, Field("y", output)), given

    found = []
    for task, output, model in (
        ("classification", "boolean", LogisticRegression().fit(table, event)),
        ("classification", "string", RandomForestClassifier(4, random_state=1).fit(table, event + (table[:, 0] > 1))),
        ("regression", "number", LinearRegression().fit(table, table[:, 0])),
        ("anomaly", "number", IsolationForest(n_estimators=5, random_state=1).fit(table)),
    ):
        found.append(case(to_onnx(model, table[:1], target_opset=opset).SerializeToString(), task, output))
    encoder = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), [2]), ("n", "passthrough", [0, 1])])
    mixed = [[0.5, 1, "ulm"], [1.5, 2, "jena"], [0.1, 3, "bonn"], [2.5, 1, "ulm"]]
    model = make_pipeline(encoder, LogisticRegression()).fit(np.array(mixed, dtype=object), [0, 1, 0, 1])
    types = [
        ("x", FloatTensorType([None, 1])),
        ("n", Int64TensorType([None, 1])),
        ("city", StringTensorType([None, 1])),
    ]
    inputs = (Field("city", "string"), Field("n", "integer"), Field("x", "number"))
    given = [dict(zip(("x", "n", "city"), row, strict=True)) for row in mixed]
    data = to_onnx(model, initial_types=types, target_opset=opset).SerializeToString()
    found.append(case(data, "classification", "boolean", inputs, given))
    vector = helper.make_tensor_value_info("v", TensorProto.DOUBLE, [1, 2])
    score = helper.make_tensor_value_info("s", TensorProto.DOUBLE, [1, 1])
    node = helper.make_node("ReduceSum", ["v"], ["s"], keepdims=1)
    graph = helper.make_graph([node], "g", [vector], [score])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    found.append(case(data, "regression", "number", (Field("v", "vector"),), [{"v": [1.0, 2.0]}, {"v": [0.5, 0.0]}]))
    return found


@pytest.mark.parametrize(("spec", "rows"), onnx_cases())
def test_onnx_models_keep_the_protocol(spec: EngineSpec, rows: list[dict[str, Any]]) -> None:
    check_scorer(spec, rows)


def test_dumps_are_the_same_in_every_process() -> None:
    check_processes(
        [
            *(river_case(model, 24) for model in MODELS),
            *((spec, [(row, None) for row in rows]) for spec, rows in onnx_cases()),
        ]
    )  # fmt: skip


class Mean:
    """A third engine: predicts the mean label; each subclass breaks one promise."""

    OPTIONS: Any = ()
    version = "1"

    def __init__(self, spec: EngineSpec, total: float = 0.0, learned: int = 0) -> None:
        self.spec, self.total, self.learned = spec, total, learned

    @classmethod
    def build(cls, spec: EngineSpec) -> Mean:
        if spec.params:
            raise ConfigError([])
        return cls(spec)

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> Mean:
        try:
            total, learned = json.loads(blob[1:])
        except (ValueError, TypeError) as error:
            raise SnapshotError("damaged") from error
        if blob[:1] != b"\x01" or type(learned) is not int or len(blob) < 9:
            raise SnapshotError("damaged")
        return cls(spec, total, learned)

    def dump(self) -> bytes:
        return b"\x01" + json.dumps([self.total, self.learned]).encode()

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        return [self.one(row) for row in rows]

    def one(self, row: Mapping[str, Value]) -> Score:
        try:
            self.gate(row.get("a"))
        except RecordError as error:
            return Score(None, None, None, "refused", str(error))
        return Score(self.total / self.learned) if self.learned else NOT_READY

    def gate(self, value: Any) -> None:
        if type(value) is not float or not math.isfinite(value):
            raise RecordError("no number")

    def learn(self, row: Mapping[str, Value], label: Any = None) -> None:
        self.gate(row.get("a"))
        self.gate(label)
        self.total += label
        self.learned += 1

    def step(self, row: Mapping[str, Value], label: Any = None) -> Score:
        score = self.score([row])[0]
        self.learn(row, label)
        return score

    def healthy(self) -> bool:
        return True


class Restless(Mean):
    def one(self, row: Mapping[str, Value]) -> Score:
        self.total += 1e-9
        return super().one(row)


class Cold(Mean):
    def one(self, row: Mapping[str, Value]) -> Score:
        return super().one(row) if self.learned else Score(0.5)


class Forgetful(Mean):
    def __init__(self, spec: EngineSpec, total: float = 0.0, learned: int = 0) -> None:
        super().__init__(spec, round(total, 1), learned)


class Batchy(Mean):
    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        found = super().score(rows)
        return [s._replace(score=s.score + len(rows)) if s.score is not None else s for s in found]


class Trusting(Mean):
    def gate(self, value: Any) -> None:
        if value is None:
            raise RecordError("null")

    def learn(self, row: Mapping[str, Value], label: Any = None) -> None:
        self.gate(row.get("a"))
        self.gate(label)
        self.learned += 1


class Credulous(Mean):
    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> Mean:
        try:
            return super().restore(spec, blob)
        except SnapshotError:
            return cls(spec)


class Unpickler(Mean):
    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> Mean:
        import pickle

        try:
            return super().restore(spec, blob)
        except SnapshotError:
            pickle.loads(blob[1:])
            raise


class Leaky(Mean):
    def dump(self) -> bytes:
        return super().dump() + b" " * self.learned * 100


class Keeper(Mean):
    kept: Any = None

    def learn(self, row: Mapping[str, Value], label: Any = None) -> None:
        super().learn(row, label)
        self.kept = row

    def dump(self) -> bytes:
        return super().dump() + b" " * len(self.kept or "")


class Silent(Mean):
    def one(self, row: Mapping[str, Value]) -> Score:
        return Score(math.nan)


class Uneven(Mean):
    def step(self, row: Mapping[str, Value], label: Any = None) -> Score:
        self.learn(row, label)
        return self.score([row])[0]


MEAN_SPEC = EngineSpec("mean", "regression", "mean", (Field("a", "number"),), Field("y", "number"))
MEAN_EXAMPLES = [({"a": 0.1 * at}, 0.37 * at) for at in range(14)]


@pytest.mark.parametrize(
    ("engine", "part"),
    [
        (Mean, ""),
        (Restless, "score changes the model"),
        (Cold, "learned nothing answers"),
        (Forgetful, "learned otherwise than without a stop"),
        (Batchy, "not answered as its rows are one by one"),
        (Trusting, "it learns from 'a' = nan"),
        (Credulous, "restore accepts a blob of protocol"),
        (Unpickler, "restore runs code for a pickle that runs code"),
        (Leaky, "more than 1000"),
        (Keeper, "keeps the row it was given"),
        (Silent, "not made of finite floats"),
        (Uneven, "step does not answer as score does"),
    ],
)
def test_the_suite_finds_what_an_engine_breaks(monkeypatch: pytest.MonkeyPatch, engine: Any, part: str) -> None:
    monkeypatch.setattr(checks, "build", engine.build)
    monkeypatch.setattr(checks, "restore", engine.restore)
    monkeypatch.setattr(checks, "engine_class", lambda kind: engine)
    if not part:
        check_learner(MEAN_SPEC, MEAN_EXAMPLES, 1000)
        return
    with pytest.raises(ModelError) as caught:
        check_learner(MEAN_SPEC, MEAN_EXAMPLES, 1000)
    assert part in str(caught.value)


def test_options_of_engines_are_not_options_of_jobs() -> None:
    for kind in ("river", "onnx"):
        assert not set(engine_class(kind).OPTIONS) & set(OPTIONS)

"""More than two classes: every class's probability reaches the topic, and the evaluation reads the one of the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import linear_model, preprocessing
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from streams import as_json, kafka_table, publish, result_tables, results, run

pytestmark = pytest.mark.cluster
ROWS = 600
CLASSES = np.array(["bike", "car", "walk"])


@pytest.fixture(scope="module")
def stream() -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(3)
    features = dice.normal(size=(ROWS, 2)).round(6)
    return features, CLASSES[np.argmax(features @ [[1.0, -1.0, 0.2], [0.3, 1.0, -1.0]], axis=1)]


@pytest.fixture(scope="module")
def found(broker: str, stream: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    features, truth = stream
    records = [
        (as_json({"id": f"e{n}", "a": a, "b": b, "mode": str(mode)}), 1_700_000_000_000 + n * 1000)
        for n, ((a, b), mode) in enumerate(zip(features.tolist(), truth, strict=True))
    ]
    publish(broker, "classes.events", records)
    model = tmp_path_factory.mktemp("model") / "modes.onnx"
    write_onnx(model, stream)
    options = "'input-table' = 'events', 'event-id' = 'id', 'label' = 'mode', 'metrics-every' = '10 min'"
    columns = "INPUT (a DOUBLE, b DOUBLE) OUTPUT (mode STRING)"
    river = "preprocessing.StandardScaler() | linear_model.SoftmaxRegression()"
    run(
        kafka_table("events", "id STRING, a DOUBLE, b DOUBLE, mode STRING", "classes.events", broker)
        + f"CREATE MODEL learning {columns} WITH ('provider' = 'river', 'model' = '{river}', {options});\n"
        + f"CREATE MODEL frozen {columns} WITH ('provider' = 'onnx', 'model' = '{model}', {options});\n"
        + result_tables(broker, "classes")
        + "INSERT INTO predictions SELECT * FROM learning_predictions UNION ALL SELECT * FROM frozen_predictions;\n"
        + "INSERT INTO metrics SELECT * FROM learning_metrics UNION ALL SELECT * FROM frozen_metrics;\n"
    )
    return results(broker, "classes", ("predictions", "metrics"))


def write_onnx(path: Path, stream: Any) -> LogisticRegression:
    features, truth = stream
    fitted = LogisticRegression().fit(features.astype(np.float32), truth)
    exported = to_onnx(fitted, features[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)
    path.write_bytes(exported.SerializeToString())
    return fitted


def of_model(rows: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["model"] == model), key=lambda row: row["event_time_ms"])


def test_probabilities_are_those_of_a_plain_river_loop(found: Any, stream: Any) -> None:
    loop = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
    predictions = of_model(found["predictions"], "learning")
    assert len(predictions) == ROWS
    for prediction, (a, b), mode in zip(predictions, stream[0].tolist(), stream[1], strict=True):
        x = {"a": a, "b": b}
        odds = loop.predict_proba_one(x)
        if odds:
            assert prediction["probabilities"] == odds
            assert prediction["label"] == max(odds, key=odds.get)
        else:
            assert (prediction["status"], prediction["probabilities"]) == ("not_ready", None)
        loop.learn_one(x, str(mode))


def test_probabilities_of_a_frozen_model_are_scikit_learns(found: Any, stream: Any, tmp_path: Path) -> None:
    fitted = write_onnx(tmp_path / "again.onnx", stream)
    expected = fitted.predict_proba(stream[0].astype(np.float32))
    predictions = of_model(found["predictions"], "frozen")
    given = np.array([[prediction["probabilities"][name] for name in CLASSES] for prediction in predictions])
    assert np.abs(given - expected).max() < 1e-5


@pytest.mark.parametrize("model", ["learning", "frozen"])
def test_log_loss_is_scikit_learns(found: Any, stream: Any, model: str) -> None:
    ready = [
        (p["probabilities"], mode)
        for p, mode in zip(of_model(found["predictions"], model), stream[1], strict=True)
        if p["probabilities"]
    ]
    # A class that is not known yet has no probability; it counts as 1e-15.
    given = np.array([[odds.get(name, 1e-15) for name in CLASSES] for odds, _ in ready])
    given /= given.sum(axis=1, keepdims=True)  # the ONNX model's are single precision
    rows = of_model(found["metrics"], model)
    last = [row["value"] for row in rows if (row["metric"], row["window"]) == ("LogLoss", "cumulative")][-1]
    assert last == pytest.approx(log_loss([mode for _, mode in ready], given, labels=CLASSES), abs=1e-6)

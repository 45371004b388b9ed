"""Alerts, slices and baselines in a real job, held against scikit-learn on the predictions that it wrote."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from streams import as_json, kafka_table, publish, result_tables, results, run
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, read_topic

pytestmark = pytest.mark.cluster
START_MS = 1_700_000_040_000  # a full minute
EVENTS, FLIP, BACK, WINDOW, DELAY_MS, REFERENCE = 1500, 600, 900, 100, 5000, 300


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    dice = np.random.default_rng(3)
    rows = []
    for n, a in enumerate(dice.normal(0, 1, EVENTS).tolist()):
        noisy = bool(dice.random() < (0.2 if n % 3 == 0 else 0.02))
        truth = (a > 0.2) ^ noisy ^ (FLIP <= n < BACK)
        rows.append({"id": f"e{n:04}", "a": a, "carrier": f"C{n % 3}", "y": truth, "ms": START_MS + n * 1000})
    return rows


@pytest.fixture(scope="module")
def found(broker: str, events: list[dict[str, Any]], tmp_path_factory: Any) -> dict[str, list[dict[str, Any]]]:
    publish(
        broker, "evaluation.events", [(as_json({k: e[k] for k in ("id", "a", "carrier")}), e["ms"]) for e in events]
    )
    labels = [(as_json({"id": e["id"], "y": e["y"]}), e["ms"] + DELAY_MS) for e in events]
    publish(broker, "evaluation.labels", labels)
    create_topics(broker, {"evaluation.alerts": {}})
    path: Path = tmp_path_factory.mktemp("model") / "frozen.onnx"
    a = np.linspace(-2, 2, 200, dtype=np.float32)[:, None]
    fitted = LogisticRegression().fit(a, a[:, 0] > 0.2)
    path.write_bytes(to_onnx(fitted, a[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    common = (
        "'input-table' = 'events', 'event-id' = 'id', 'label-table' = 'labels', 'label' = 'y', 'slices' = 'carrier',"
        f" 'label-timeout' = '1 min', 'metrics-every' = '1 min', 'metrics-window' = '{WINDOW}',"
        " 'metrics' = 'ROCAUC, LogLoss, Accuracy, F1, ECE'"
    )
    river = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
    columns = "INPUT (a DOUBLE) OUTPUT (y BOOLEAN)"
    run(
        kafka_table("events", "id STRING, a DOUBLE, carrier STRING", "evaluation.events", broker)
        + kafka_table("reference", "id STRING, a DOUBLE", "evaluation.events", broker)
        + kafka_table("labels", "id STRING, y BOOLEAN", "evaluation.labels", broker)
        + f"CREATE MODEL frozen {columns} WITH ('provider' = 'onnx', 'model' = '{path}', {common},"
        " 'alerts' = 'critical: Accuracy < 0.6 for 2 min min-samples 50; psi(a) > 5 min-samples 10',"
        f" 'reference-events' = '{REFERENCE}');\n"
        + f"CREATE MODEL blind {columns} WITH ('provider' = 'onnx', 'model' = '{path}', 'input-table' = 'events',"
        " 'event-id' = 'id', 'metrics-every' = '1 min', 'watch-inputs' = 'all', 'reference-table' = 'reference');\n"
        + f"CREATE MODEL learning {columns} WITH ('provider' = 'river', 'model' = '{river}', {common});\n"
        + result_tables(broker, "evaluation")
        + create_table("alerts", "alert", "evaluation.alerts", broker)
        + ";\nINSERT INTO predictions SELECT * FROM frozen_predictions UNION ALL SELECT * FROM learning_predictions;\n"
        "INSERT INTO metrics SELECT * FROM frozen_metrics UNION ALL SELECT * FROM learning_metrics"
        " UNION ALL SELECT * FROM blind_metrics;\n"
        "INSERT INTO alerts SELECT * FROM frozen_alerts UNION ALL SELECT * FROM learning_alerts;\n"
    )
    out = results(broker, "evaluation", ("predictions", "metrics"))
    return {**out, "alerts": [row for row, _ in read_topic(broker, "evaluation.alerts", "alert")]}


def last(found: Any, model: str, metric: str, window: str, part: str = "") -> dict[str, Any]:
    rows = [
        row
        for row in found["metrics"]
        if (row["model"], row["metric"], row["window"], row["slice"]) == (model, metric, window, part)
    ]
    return max(rows, key=lambda row: row["event_time_ms"])


def scored(found: Any, events: Any, model: str) -> list[tuple[dict[str, Any], float]]:
    scores = {row["event_id"]: row["score"] for row in found["predictions"] if row["model"] == model}
    return [(event, scores[event["id"]]) for event in events if scores[event["id"]] is not None]


def test_the_alert_is_raised_once_and_cleared_once_when_it_must(found: Any, events: Any) -> None:
    """Told minute by minute from the predictions, with nothing of the evaluation's own."""
    window: deque[bool] = deque(maxlen=WINDOW)
    rows = scored(found, events, "frozen")
    expected, raised, since, at = [], False, None, 0
    for now in range(START_MS + 60_000, START_MS + EVENTS * 1000 + 120_000, 60_000):
        while at < len(rows) and rows[at][0]["ms"] + DELAY_MS < now:
            window.append((rows[at][1] > 0.5) == rows[at][0]["y"])
            at += 1
        if len(window) < 50 or (sum(window) / len(window) < 0.6) == raised:
            since = None
            continue
        since = now if since is None else since
        if now - since >= 120_000:
            raised, since = not raised, None
            expected.append(("raised" if raised else "cleared", now))
    mine = sorted((row for row in found["alerts"] if row["model"] == "frozen"), key=lambda row: row["event_time_ms"])
    assert [(row["state"], row["event_time_ms"]) for row in mine] == expected
    assert [state for state, _ in expected] == ["raised", "cleared"]
    assert FLIP * 1000 < expected[0][1] - START_MS < BACK * 1000 < expected[1][1] - START_MS
    assert {(row["severity"], row["count"], row["threshold"]) for row in mine} == {("critical", WINDOW, 0.6)}
    assert "the last 100 events" in mine[0]["reason"]


@pytest.mark.parametrize("model", ["frozen", "learning"])
def test_slices_are_scikit_learns(found: Any, events: Any, model: str) -> None:
    rows = scored(found, events, model)
    losses = {}
    for carrier in ("C0", "C1", "C2"):
        whole = [(event["y"], score) for event, score in rows if event["carrier"] == carrier]
        figure = last(found, model, "LogLoss", "cumulative", f"carrier={carrier}")
        assert figure["count"] == len(whole)
        assert figure["value"] == pytest.approx(log_loss(*zip(*whole, strict=True), labels=[False, True]))
        part = [(event["y"], score) for event, score in rows[-WINDOW:] if event["carrier"] == carrier]
        truth, score = zip(*part, strict=True)
        newest = last(found, model, "F1", "rolling", f"carrier={carrier}")
        assert newest["value"] == pytest.approx(f1_score(truth, [value > 0.5 for value in score]))
        losses[carrier] = log_loss(truth, score, labels=[False, True])
    worst = max(losses, key=lambda name: losses[name])
    named = last(found, model, "worst.LogLoss", "rolling", f"carrier={worst}")
    assert named["value"] == pytest.approx(losses[worst])
    newest_at = max(row["event_time_ms"] for row in found["metrics"] if row["metric"] == "worst.LogLoss")
    assert named["event_time_ms"] == newest_at


def test_the_prior_and_the_coverage_are_counted_by_hand(found: Any, events: Any) -> None:
    seen = true = 0
    loss = 0.0
    for event, _ in scored(found, events, "frozen"):
        p = (true + 1) / (seen + 2)
        loss -= float(np.log(p if event["y"] else 1 - p))
        seen, true = seen + 1, true + event["y"]
    assert last(found, "frozen", "baseline.prior.LogLoss", "cumulative")["value"] == pytest.approx(loss / seen)
    mine = last(found, "frozen", "LogLoss", "rolling")["value"]
    best = min(last(found, "frozen", f"baseline.{name}.LogLoss", "rolling")["value"] for name in ("prior", "last"))
    assert last(found, "frozen", "vs-baseline", "rolling")["value"] == pytest.approx((best - mine) / max(best, mine))
    assert last(found, "frozen", "label-coverage", "cumulative")["value"] == 1.0
    assert last(found, "frozen", "label-delay-ms.p50", "cumulative")["value"] == pytest.approx(DELAY_MS, rel=0.05)


def test_inputs_are_held_against_the_first_events_as_scipy_does(found: Any, events: Any) -> None:
    """Minutes of 60 events: the first whole ones are the reference, the window is the newest two."""
    values = [event["a"] for event in events]
    newest = last(found, "frozen", "psi(a)", "rolling")
    ends = min((newest["event_time_ms"] - START_MS) // 1000, EVENTS)
    assert (newest["count"], ends % 60) == (120, 0)
    reference, window = values[:REFERENCE], values[ends - 120 : ends]
    edges = np.quantile(reference, np.arange(0.1, 1, 0.1), method="inverted_cdf")
    shares = [np.bincount(np.searchsorted(edges, part), minlength=10) + 0.5 for part in (reference, window)]
    expected, mine = (share / share.sum() for share in shares)
    assert newest["value"] == pytest.approx(((mine - expected) * np.log(mine / expected)).sum(), rel=0.25)
    assert last(found, "frozen", "null-rate(a)", "rolling")["value"] == 0.0


def test_a_model_without_labels_has_metrics_against_the_reference_table(found: Any, events: Any) -> None:
    """Its reference is the topic itself, so the last window of all events is very near to it."""
    mine = {row["metric"] for row in found["metrics"] if row["model"] == "blind"}
    assert {"events", "psi(a)", "ks(a)", "null-rate(a)", "out-of-range(a)"} <= mine
    assert not [name for name in mine if name.startswith("label")]
    assert last(found, "blind", "events", "cumulative")["value"] == EVENTS
    assert last(found, "blind", "out-of-range(a)", "rolling")["value"] == 0.0
    whole = last(found, "blind", "ks(a)", "rolling")
    assert (whole["count"], whole["value"]) == (EVENTS, 0.0)

"""Alerts, slices, baselines, old examples and decisions in a real job, held against what it wrote itself."""

from __future__ import annotations

import json
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
from thalweg.connector.snapshot import assemble
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import EngineSpec

pytestmark = pytest.mark.cluster
START_MS = 1_700_000_040_000  # a full minute
EVENTS, FLIP, BACK, WINDOW, DELAY_MS, REFERENCE, FROZEN = 2100, 1200, 1600, 100, 5000, 300, 80


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
    publish(broker, "evaluation.labelled", [(as_json({k: e[k] for k in ("a", "y")}), e["ms"]) for e in events[:FROZEN]])
    create_topics(broker, {"evaluation.alerts": {}, "evaluation.decisions": {}})
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
        + kafka_table("labelled", "a DOUBLE, y BOOLEAN", "evaluation.labelled", broker)
        + kafka_table("labels", "id STRING, y BOOLEAN", "evaluation.labels", broker)
        + f"CREATE MODEL frozen {columns} WITH ('provider' = 'onnx', 'model' = '{path}', {common},"
        " 'alerts' = 'critical: Accuracy < 0.6 for 2 min min-samples 50; psi(a) > 5 min-samples 10',"
        f" 'reference-events' = '{REFERENCE}');\n"
        + f"CREATE MODEL blind {columns} WITH ('provider' = 'onnx', 'model' = '{path}', 'input-table' = 'events',"
        " 'event-id' = 'id', 'metrics-every' = '1 min', 'watch-inputs' = 'all', 'reference-table' = 'reference');\n"
        + f"CREATE MODEL learning {columns} WITH ('provider' = 'river', 'model' = '{river}', {common},"
        " 'reference-table' = 'labelled', 'reference-label' = 'y', 'evaluate-every' = '10 min', 'on-drift' = 'reset',"
        " 'snapshot-every' = '4 min');\n"
        + result_tables(broker, "evaluation")
        + create_table("alerts", "alert", "evaluation.alerts", broker)
        + ";\n"
        + create_table("decisions", "decision", "evaluation.decisions", broker)
        + ";\nINSERT INTO decisions SELECT * FROM learning_decisions;\n"
        "INSERT INTO snapshots SELECT * FROM learning_snapshots;\n"
        "INSERT INTO predictions SELECT * FROM frozen_predictions UNION ALL SELECT * FROM learning_predictions;\n"
        "INSERT INTO metrics SELECT * FROM frozen_metrics UNION ALL SELECT * FROM learning_metrics"
        " UNION ALL SELECT * FROM blind_metrics;\n"
        "INSERT INTO alerts SELECT * FROM frozen_alerts UNION ALL SELECT * FROM learning_alerts;\n"
    )
    out = results(broker, "evaluation", ("predictions", "metrics"))
    out["snapshots"] = [assemble([row]) for row, _ in read_topic(broker, "evaluation.snapshots", "snapshot")]
    return out | {
        f"{record}s": [row for row, _ in read_topic(broker, f"evaluation.{record}s", record)]
        for record in ("alert", "decision")
    }


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
    newest_at = max(
        row["event_time_ms"] for row in found["metrics"] if (row["metric"], row["model"]) == ("worst.LogLoss", model)
    )
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


def test_a_labelled_table_is_answered_after_each_snapshot_as_that_snapshot_answers(found: Any, events: Any) -> None:
    figures = {
        row["event_time_ms"]: row
        for row in found["metrics"]
        if (row["model"], row["metric"], row["window"]) == ("learning", "LogLoss", "reference")
    }
    truth = [event["y"] for event in events[:FROZEN]]
    compared = 0
    for snapshot in found["snapshots"]:
        figure = figures.get(snapshot.watermark_ms)
        if figure is None:
            continue
        engine = restore(EngineSpec.from_json(snapshot.spec), snapshot.blob)
        score = [engine.score([{"a": event["a"]}])[0].score for event in events[:FROZEN]]
        assert figure["count"] == FROZEN
        assert figure["value"] == pytest.approx(log_loss(truth, score, labels=[False, True]))
        compared += 1
    assert compared >= 4
    assert len(figures) > EVENTS * 1000 / 600_000 + 2  # more than the regular ones
    forgotten = last(found, "learning", "forgetting.LogLoss", "reference")
    assert forgotten["value"] == pytest.approx(last(found, "learning", "LogLoss", "reference")["value"] - min(
        figure["value"] for figure in figures.values()
    ))  # fmt: skip
    assert {row["count"] for row in found["metrics"] if row["window"] == "reservoir"} <= set(range(1, 1001))


def test_a_reaction_to_a_drift_is_a_decision_with_its_reason(found: Any) -> None:
    decisions = sorted(found["decisions"], key=lambda row: row["event_time_ms"])
    assert {(row["model"], row["arm"], row["decision"], row["decided_by"]) for row in decisions} == {
        ("learning", "learning", "reset", "thalweg")
    }
    times = [row["event_time_ms"] - START_MS for row in decisions]
    assert any(FLIP * 1000 < at < BACK * 1000 for at in times)
    drifts = {row["event_time_ms"]: row for row in found["alerts"] if "begins anew" in row["reason"]}
    for row in decisions:
        alert = drifts[row["event_time_ms"]]
        figures = json.loads(row["evidence"])
        assert (row["reason"], figures["newest_error"]) == (alert["reason"], alert["value"])
        assert figures["usual_error"] == alert["threshold"] < alert["value"]

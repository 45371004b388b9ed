"""Three models and a shadow compared in a real job: who is served by whom, exactly when that changes, what is told."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from streams import as_json, kafka_table, publish, result_tables, results, run
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, raw_records, read_topic
from thalweg.connector.keys import generate_key
from thalweg.connector.orders import sign_order
from thalweg.connector.wire import encode

pytestmark = pytest.mark.cluster
START_MS = 1_700_000_040_000
EVENTS, USERS, DELAY_MS = 3000, 1000, 5000
BOUNDARY_MS = START_MS + 2000 * 1000  # of the order: the event of this very time is still served by the old rule
MODELS = {
    "frozen": None,
    "linear": "preprocessing.StandardScaler() | linear_model.LogisticRegression()",
    "tree": "tree.HoeffdingTreeClassifier(grace_period=50)",
    "shadow": "naive_bayes.GaussianNB()",
}


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    dice = np.random.default_rng(11)
    rows = []
    for n, a in enumerate(dice.normal(0, 1, EVENTS).tolist()):
        truth = bool((a > 0.2) ^ (dice.random() < 0.1))
        user = f"u{dice.integers(USERS)}"
        rows.append({"id": f"e{n:04}", "a": a, "who": user, "y": truth, "ms": START_MS + n * 1000})
    return rows


@pytest.fixture(scope="module")
def found(broker: str, events: list[dict[str, Any]], tmp_path_factory: Any) -> dict[str, list[dict[str, Any]]]:
    publish(broker, "comparison.events", [(as_json({k: e[k] for k in ("id", "a", "who")}), e["ms"]) for e in events])
    publish(broker, "comparison.labels", [(as_json({"id": e["id"], "y": e["y"]}), e["ms"] + DELAY_MS) for e in events])
    create_topics(broker, {f"comparison.{name}": {} for name in ("served", "decisions", "alerts", "control")})
    order = {
        "model": "delay", "command": "weights", "argument": "linear:60, tree:20", "issued_by": "ana",
        "reason": "faster", "issued_ms": BOUNDARY_MS,
    }  # fmt: skip
    key, folder = generate_key("ed25519", "ana"), tmp_path_factory.mktemp("compared")
    (folder / "ana.pub").write_text(key.public().text())
    signed, other = sign_order(order, key), sign_order({**order, "model": "another"}, key)
    # A copy, an order that nobody signed, and one that was for another comparison.
    forged = [{**order, "command": "promote", "argument": "tree"}, {**other, "model": "delay", "command": "freeze"}]
    producer = KafkaProducer(bootstrap_servers=broker)
    for record in (signed, other, signed, *forged):
        producer.send("comparison.control", encode("control", record)).get(timeout=30)
    producer.close()
    path: Path = folder / "frozen.onnx"
    a = np.linspace(-2, 2, 200, dtype=np.float32)[:, None]
    fitted = LogisticRegression().fit(a, a[:, 0] > 0.5)
    path.write_bytes(to_onnx(fitted, a[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    common = (
        "'input-table' = 'events', 'event-id' = 'id', 'label-table' = 'labels', 'label' = 'y',"
        " 'label-timeout' = '1 min'"
    )
    engines = {name: ("river", text) if text else ("onnx", str(path)) for name, text in MODELS.items()}
    models = "".join(
        f"CREATE MODEL {name} INPUT (a DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = '{kind}', 'model' = '{text}',"
        f" {common});\n"
        for name, (kind, text) in engines.items()
    )
    run(
        kafka_table("events", "id STRING, a DOUBLE, who STRING", "comparison.events", broker)
        + kafka_table("labels", "id STRING, y BOOLEAN", "comparison.labels", broker)
        + models
        + create_table("orders", "control", "comparison.control", broker, extra={"scan.bounded.mode": "latest-offset"})
        + ";\nCREATE MODEL delay WITH ('provider' = 'compare', 'default' = 'frozen', 'unit' = 'who',"
        " 'candidates' = 'linear:30, tree:20', 'mirror' = 'shadow:100', 'control-table' = 'orders',"
        f" 'control-keys' = 'file:{folder}/ana.pub',"
        " 'metrics-every' = '5 min', 'min-samples' = '100000');\n"
        + result_tables(broker, "comparison")
        + create_table("decisions", "decision", "comparison.decisions", broker)
        + ";\nCREATE TABLE served (event_id STRING, score DOUBLE, label STRING, status STRING, model_version STRING,"
        " learned BIGINT, arm STRING, propensity DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'comparison.served',"
        f" 'properties.bootstrap.servers' = '{broker}', 'format' = 'json');\n"
        "INSERT INTO served SELECT event_id, score, label, status, model_version, learned, arm, propensity"
        " FROM delay_predictions;\n"
        "INSERT INTO predictions SELECT * FROM frozen_predictions UNION ALL SELECT * FROM linear_predictions UNION ALL"
        " SELECT * FROM tree_predictions UNION ALL SELECT * FROM shadow_predictions;\n"
        "INSERT INTO metrics SELECT * FROM delay_metrics;\n"
        "INSERT INTO decisions SELECT * FROM delay_decisions;\n"
    )
    out = results(broker, "comparison", ("predictions", "metrics"))
    served = [json.loads(record.value) for record in raw_records(broker, "comparison.served", {})]
    decisions = [row for row, _ in read_topic(broker, "comparison.decisions", "decision")]
    return {**out, "served": served, "decisions": decisions}


def test_each_event_is_served_once_with_the_answer_of_its_model(found: Any, events: Any) -> None:
    served = {row["event_id"]: row for row in found["served"]}
    assert len(found["served"]) == len(served) == EVENTS
    own = {(row["model"], row["event_id"]): row for row in found["predictions"]}
    assert len(own) == 4 * EVENTS
    for event in events:
        row = served[event["id"]]
        answer = own[row["arm"], event["id"]]
        fields = ("score", "label", "status", "model_version", "learned")
        assert [row[field] for field in fields] == [answer[field] for field in fields]
    assert {row["status"] for row in served.values()} == {"ok"}, "a model that is not ready yet never hurts the answer"
    assert {row["arm"] for row in served.values()} == {"frozen", "linear", "tree"}, "a shadow is never served"


def test_a_unit_keeps_its_model_until_the_very_event_after_the_order(found: Any, events: Any) -> None:
    served = {row["event_id"]: row for row in found["served"]}
    ready = 100  # before that a candidate may not be ready, and the default stands in
    arms: dict[bool, dict[str, set[str]]] = {False: defaultdict(set), True: defaultdict(set)}
    for event in events[ready:]:
        arms[event["ms"] > BOUNDARY_MS][event["who"]].add(served[event["id"]]["arm"])
    for when, shares in ((False, {"frozen": 0.5, "linear": 0.3, "tree": 0.2}), (True, {"frozen": 0.2, "linear": 0.6})):
        assert all(len(names) == 1 for names in arms[when].values())
        users = Counter(name for names in arms[when].values() for name in names)
        total = sum(users.values())
        for name, share in shares.items():
            assert abs(users[name] / total - share) < 4 * (share * (1 - share) / total) ** 0.5, (when, users)
    both = arms[False].keys() & arms[True].keys()
    moves = Counter((*arms[False][who], *arms[True][who]) for who in both)
    assert set(moves) == {(name, name) for name in ("frozen", "linear", "tree")} | {("frozen", "linear")}
    assert len(both) > USERS / 2
    for row in found["served"]:
        assert row["propensity"] > 0


def test_the_order_is_on_record(found: Any) -> None:
    (row,) = (row for row in found["decisions"] if row["decision"] == "weights")
    assert row["model"] == "delay"
    assert row["event_time_ms"] == BOUNDARY_MS
    assert row["decided_by"] == "ana"
    assert "faster" in row["reason"] + row["evidence"]
    assert {name: round(share) for name, share in row["shares"].items() if share} == {
        "frozen": 20, "linear": 60, "tree": 20,
    }  # fmt: skip


def test_orders_that_nobody_vouches_for_are_on_record_too(found: Any) -> None:
    refused = {row["reason"]: row["decided_by"] for row in found["decisions"] if row["decision"] == "refuse"}
    assert refused == {
        "'freeze' was not carried out: the order 'freeze': it is not what 'ana' has signed.": "(unproven) ana",
        "'promote' was not carried out: the order 'promote': it is not signed, and only what is signed is accepted.": (
            "(unproven) ana"
        ),
        "'weights' was not carried out: it was given before.": "ana",
    }
    counted = [row for row in found["metrics"] if row["metric"] == "orders_refused"]
    assert max(counted, key=lambda row: row["event_time_ms"])["value"] == 3


def test_the_losses_are_scikit_learns(found: Any, events: Any) -> None:
    truth = {event["id"]: event["y"] for event in events}
    for name in MODELS:
        rows = [row for row in found["predictions"] if row["model"] == name and row["score"] is not None]
        # A tree is sure, with 0 and 1: where they are clipped decides, and 1 - 1e-15 is not exact.
        scores = np.clip([row["score"] for row in rows], 1e-15, 1 - 1e-15)
        expected = log_loss([truth[row["event_id"]] for row in rows], scores)
        figures = [row for row in found["metrics"] if (row["model_version"], row["metric"]) == (name, "LogLoss")]
        last = max(figures, key=lambda row: row["event_time_ms"])
        assert last["count"] == len(rows)
        assert last["value"] == pytest.approx(expected, rel=1e-5)

"""A job that ends, and another one that starts from its snapshots: as if one River loop had gone on."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from river import linear_model, preprocessing
from streams import as_json, kafka_table, publish, result_tables, results, run
from thalweg.connector.kafka import SnapshotTopic
from thalweg.connector.keys import generate_key

pytestmark = pytest.mark.cluster
START_MS = 1_700_000_000_000
HALF, KEYS = 300, 20


def events(seed: int) -> list[tuple[int, dict[str, Any]]]:
    dice = random.Random(seed)
    found = []
    for n in range(HALF):
        a, b = dice.gauss(0, 1), dice.gauss(100, 30)
        key = f"u/{n % KEYS if n < KEYS else dice.randrange(KEYS)}"
        row = {"id": f"{seed}-{n:04}", "u": key, "a": a, "b": b, "y": a * 30 + b > 100}
        found.append((START_MS + (seed * HALF + n) * 1000, row))
    return found


def job(broker: str, name: str, half: list[tuple[int, dict[str, Any]]], options: str) -> list[dict[str, Any]]:
    publish(broker, f"{name}.events", [(as_json(row), ms) for ms, row in half])
    run(
        kafka_table("events", "id STRING, u STRING, a DOUBLE, b DOUBLE, y BOOLEAN", f"{name}.events", broker)
        + "CREATE MODEL warm INPUT (a DOUBLE, b DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
        " 'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()', 'input-table' = 'events',"
        f" 'event-id' = 'id', 'key' = 'u', 'label' = 'y', 'shards' = '1', 'snapshot-every' = '1 events'{options});\n"
        + result_tables(broker, name)
        + "INSERT INTO predictions SELECT * FROM warm_predictions;\n"
        + "INSERT INTO snapshots SELECT * FROM warm_snapshots;\n"
    )
    return results(broker, name, ("predictions",))["predictions"]


def test_a_job_goes_on_where_another_one_ended(broker: str, tmp_path: Path) -> None:
    first, second = events(0), events(1)
    key = generate_key("ed25519", "one")
    (tmp_path / "signing.key").write_text(key.text())
    (tmp_path / "trusted.keys").write_text(key.public().text())
    before = job(broker, "warm-one", first, f", 'signing-key' = 'file:{tmp_path}/signing.key'")
    forged = replace(SnapshotTopic(broker, "warm-one.snapshots").latest()["warm", "u/1"], blob=b"evil")
    SnapshotTopic(broker, "warm-one.snapshots").publish(forged)
    after = job(
        broker,
        "warm-two",
        second,
        f", 'warm-start' = 'warm-one.snapshots?brokers={broker}', 'require-signature' = 'true',"
        f" 'trusted-keys' = 'file:{tmp_path}/trusted.keys'",
    )
    models: dict[str, Any] = {}
    expected = []
    for _, row in first + second:
        x, key = {"a": row["a"], "b": row["b"]}, row["u"]
        model, learned = models.get(key, (preprocessing.StandardScaler() | linear_model.LogisticRegression(), 0))
        expected.append((row["id"], model.predict_proba_one(x)[True] if learned else None, learned))
        model.learn_one(x, row["y"])
        models[key] = (model, learned + 1)
    assert sorted((row["event_id"], row["score"], row["learned"]) for row in [*before, *after]) == sorted(expected)
    assert {row["status"] for row in after} == {"ok"}

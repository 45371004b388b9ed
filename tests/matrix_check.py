"""What ``tests/matrix.py`` runs in each environment: ``functions`` and ``learning``, held to ONNX Runtime and River.

Needs nothing but what the wheel brings along. Prints one line of JSON at the end: the versions that were at work.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fault_stream import linear_model
from river import metrics
from scenario import MODEL, TIMEOUT_MS, Loop, make_stream, river_model
from streams import as_json, kafka_table, publish, result_tables, results, run
from thalweg.connector.wire import encoder
from thalweg.jobs.broker import Broker

ROWS = 600
_EVENTS = "id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE, colour STRING"
_ANSWER = (
    "ROW<label STRING, score DOUBLE, probabilities MAP<STRING, DOUBLE>, status STRING, reason STRING,"
    " model_id STRING, model_version STRING>"
)
_RIVER = (
    f"CREATE TEMPORARY VIEW learned AS SELECT river_learn('{MODEL}', y, a, c) AS model, online_metric('MAE', c, a)"
    " AS error FROM points WHERE a IS NOT NULL GROUP BY TUMBLE(ts, INTERVAL '1' HOUR);\n"
)
_FOUND = "INSERT INTO found SELECT river_score(model, a, c), error FROM points, learned WHERE id = 5;\n"


def functions(folder: Path) -> None:
    """Answer rows of a file with ONNX, as a stream and as a batch; learn, score and measure with River."""
    model = folder / "m.onnx"
    model.write_bytes(linear_model((0.5, -0.25, 1.0), 0.1))
    dice = np.random.default_rng(3)
    rows = [
        {"id": n, "a": a, "b": b, "c": c, "y": a + c > 0} for n, (a, b, c) in enumerate(dice.normal(size=(ROWS, 3)))
    ]
    rows.append({**rows[0], "id": ROWS, "a": None})
    (folder / "points.json").write_text("".join(json.dumps(row, default=bool) + "\n" for row in rows))
    points = np.array([[row[name] for name in "abc"] for row in rows[:-1]], np.float32)
    (expected,) = onnxruntime.InferenceSession(str(model)).run(None, {"X": points})
    call = f"('{model}', a, b, c)"
    table = _file("points", "id BIGINT, a DOUBLE, b DOUBLE, c DOUBLE, y BOOLEAN", folder / "points.json")
    # One window has all rows, in the order of the file.
    table = table.replace("y BOOLEAN", "y BOOLEAN, ts AS TO_TIMESTAMP_LTZ(id, 3), WATERMARK FOR ts AS ts")
    found_table = _file("found", "score DOUBLE, error DOUBLE", folder / "river")
    for mode in ("streaming", "batch"):
        run(
            table
            + _file("answers", f"id BIGINT, score DOUBLE, vec ARRAY<DOUBLE>, pred {_ANSWER}", folder / mode)
            + f"INSERT INTO answers SELECT id, onnx_score{call}, onnx_vector{call}, onnx_predict{call} FROM points;\n"
            + ("" if mode == "batch" else _RIVER + found_table + _FOUND),
            {"execution.runtime-mode": mode},
        )
        *answers, refused = sorted(_rows(folder / mode), key=lambda row: int(row["id"]))
        assert [row["id"] for row in answers] == list(range(ROWS)), mode
        np.testing.assert_allclose([row["score"] for row in answers], expected[:, 0], atol=1e-6)
        assert all(row["vec"] == [row["score"]] == [row["pred"]["score"]] for row in answers)
        assert (refused["score"], refused["pred"]["status"]) == (None, "refused")
    (found,) = _rows(folder / "river")
    plain, error = river_model(MODEL), metrics.MAE()
    for row in rows[:-1]:
        plain.learn_one({"a": row["a"], "c": row["c"]}, bool(row["y"]))
        error.update(row["c"], row["a"])
    asked = plain.predict_proba_one({"a": rows[5]["a"], "c": rows[5]["c"]})[True]
    np.testing.assert_allclose([found["score"], found["error"]], [asked, error.get()], atol=1e-6)


def learning(folder: Path) -> None:
    """Learn from a broker to a broker, exactly once: one model per key, labels that come late, twice, or never."""
    events, labels = make_stream(ROWS)
    encode = encoder((("id", "STRING", True), ("y", "BOOLEAN", True)))
    columns = ("id", "k", "a", "b", "c", "colour")
    with Broker.start(folder / "broker") as running:
        broker = running.bootstrap
        publish(broker, "events", [(as_json({name: getattr(e, name) for name in columns}), e.ms) for e in events])
        publish(broker, "labels", [(encode({"id": x.id, "y": x.y}), x.ms) for x in labels])
        views = ("predictions", "metrics", "snapshots")
        run(
            kafka_table("events", _EVENTS, "events", broker)
            + kafka_table("labels", "id STRING, y BOOLEAN", "labels", broker, "avro")
            + "CREATE MODEL keyed INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
            f" 'model' = '{MODEL}', 'input-table' = 'events', 'event-id' = 'id', 'key' = 'k', 'label-table' = 'labels',"
            f" 'label' = 'y', 'label-timeout' = '{TIMEOUT_MS} ms', 'snapshot-every' = '10 min');\n"
            + result_tables(broker, "out", "exactly-once")
            + "".join(f"INSERT INTO {view} SELECT * FROM keyed_{view};\n" for view in views)
        )
        found = results(broker, "out", views)
    loop = Loop(events, labels, MODEL, True)
    told = ("event_id", "key", "score", "learned", "status")
    answers = Counter(tuple(row[name] for name in told) for row in found["predictions"])
    assert answers == Counter((event, *answer) for event, answer in loop.answers), "the answers differ from River's"
    newest = sorted(found["metrics"], key=lambda row: int(row["event_time_ms"]))
    books = {row["metric"]: row["value"] for row in newest if row["window"] == "cumulative"}
    assert books["labels_matched"] == loop.matched
    assert {row["key"] for row in found["snapshots"]} == set(loop.models)


def _file(name: str, columns: str, path: Path) -> str:
    options = f"'connector' = 'filesystem', 'path' = '{path.as_uri()}', 'format' = 'json'"
    return f"CREATE TABLE {name} ({columns}) WITH ({options});\n"


def _rows(folder: Path) -> list[dict[str, Any]]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name[0] not in "._"]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


CHECKS = {"functions": functions, "learning": learning}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="thalweg-matrix-") as scratch:
        CHECKS[sys.argv[1]](Path(scratch))
    names = ("thalweg", "apache-flink", "river", "numpy", "onnxruntime", "apache-beam", "pyarrow")
    print(json.dumps({name: version(name) for name in names}))

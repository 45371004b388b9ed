"""``thalweg snapshots``: a model that was learned in a stream leaves its topic, as a file or into the SQL functions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from thalweg.connector import kafka
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.models import ModelTopic
from thalweg.connector.snapshot import Snapshot
from thalweg.connector.snapshot_file import snapshot_from_file, snapshot_to_file
from thalweg.jobs.cli import main
from thalweg.udfs.engines import restore
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.onnx_call import load_model
from thalweg.udfs.engines.river_engine import RiverEngine

NOBODY = ("--brokers", "127.0.0.1:1")
LOGISTIC = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
FIELDS = (Field("amount", "number"), Field("age", "number"))


def engine_of(text: str = LOGISTIC, task: str = "classification", output: str = "boolean") -> RiverEngine:
    engine = RiverEngine.build(EngineSpec("river", task, text, FIELDS, Field("fraud", output)))
    dice = random.Random(1)
    for _ in range(300):
        row = {"amount": dice.gauss(0, 1), "age": dice.gauss(40, 9)}
        engine.learn(row, row["amount"] > 0.5)
    return engine


def snapshot_of(engine: RiverEngine, model: str = "fraud", key: str = "", **changes: Any) -> Snapshot:
    fields = {"kind": "river", "spec": engine.spec.to_json(), "version": engine.learned, "blob": engine.dump()}
    fields |= {"event_time_ms": 1_357_000_000_123, "metrics": {"accuracy": 0.9}, "writer": "thalweg"}
    return Snapshot(model, key, **(fields | changes))


def snapshots(*words: str | Path) -> Result:
    result = CliRunner().invoke(main, ["snapshots", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def refused(code: int, *words: str | Path) -> str:
    result = snapshots(*words)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Snapshot]:
    """What lies in the topic ``t`` of a broker that nobody runs."""
    found: dict[tuple[str, str], Snapshot] = {}

    class Topic:
        def __init__(self, brokers: str, topic: str, **_: Any) -> None:
            assert topic == "t"

        def latest(self) -> dict[tuple[str, str], Snapshot]:
            return found

        def publish(self, snapshot: Snapshot) -> None:
            found[snapshot.model, snapshot.key] = snapshot

    monkeypatch.setattr(kafka, "SnapshotTopic", Topic)
    monkeypatch.setattr(kafka, "create_topics", lambda *_: None)
    return found


def test_an_exported_model_serves_in_any_runtime(stored: dict[tuple[str, str], Snapshot], tmp_path: Path) -> None:
    engine = engine_of()
    stored["fraud", "UA"] = snapshot_of(engine, key="UA")
    out = tmp_path / "fraud.onnx"
    told = snapshots("export", "fraud", "--key", "UA", "--topic", "t", "--format", "onnx", "--out", out)
    assert told.stdout == f"fraud: version 300 is in {out} ({out.stat().st_size} bytes).\n"
    rows = np.array([[0.4, 40.0], [0.6, 20.0], [3.0, np.nan]])
    feeds = {"amount": rows[:, :1], "age": rows[:, 1:]}
    label, shares = onnxruntime.InferenceSession(str(out)).run(None, feeds)
    model = engine.model
    expected = [
        model.predict_proba_one({name: value for name, value in zip(feeds, row, strict=True) if value == value})[True]
        for row in rows.tolist()
    ]
    assert shares[:, 1] == pytest.approx(expected, abs=1e-9)
    assert label.tolist() == [str(share > 0.5).lower() for share in expected]
    # ... and in the SQL functions.
    batch = load_model(f"{out}?on-null=nan", (False, False)).run(list(rows.T), 3)
    assert batch.scores() == pytest.approx(expected, abs=1e-9)


def test_a_snapshot_as_a_file_comes_back(stored: dict[tuple[str, str], Snapshot], tmp_path: Path) -> None:
    engine, out = engine_of(), tmp_path / "fraud.avro"
    made = stored["fraud", ""] = snapshot_of(engine)
    facts = json.loads(snapshots("export", "fraud", "--topic", "t", "--format", "river", "--out", out, "--json").stdout)
    assert (facts["format"], facts["version"], facts["file"]) == ("river", 300, str(out))
    assert facts["exported_bytes"] == out.stat().st_size
    assert snapshot_from_file(out.read_bytes()) == made
    stored.clear()
    sent = json.loads(snapshots("import", out, "--topic", "t", "--json").stdout)
    assert (sent["model"], sent["version"], stored) == ("fraud", 300, {("fraud", ""): made})
    back = restore(EngineSpec.from_json(made.spec), stored["fraud", ""].blob)
    assert back.dump() == engine.dump()


def test_what_cannot_be_exported_is_told_and_nothing_is_written(
    stored: dict[tuple[str, str], Snapshot], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ("--topic", "t", "--out", out)
    engine = engine_of()
    stored["fraud", ""] = snapshot_of(engine)
    stored["bad", ""] = snapshot_of(engine, "bad", blob=b"\x01" + engine.dump()[:-1])
    stored["odd", ""] = snapshot_of(engine, "odd", spec='{"kind":"river"}')
    stored["other", ""] = snapshot_of(engine, "other", kind="onnx")
    stored["knn", ""] = snapshot_of(
        engine_of("neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=5))"), "knn"
    )
    assert "Models there: bad, fraud, knn, odd, other" in refused(2, "export", "frau", *given)
    assert "is damaged" in refused(1, "export", "bad", *given)
    assert "is damaged" in refused(1, "export", "bad", *given, "--format", "river")
    assert "its spec is not that of an engine" in refused(1, "export", "odd", *given)
    assert "of kind 'onnx', and its spec of kind 'river'" in refused(1, "export", "other", *given)
    assert "model KNNClassifier: has no exact counterpart in ONNX" in refused(2, "export", "knn", *given)
    assert snapshots("export", "knn", *given, "--format", "river").exit_code == 0
    out.unlink()
    told = refused(2, "export", "fraud", "--topic", "t", "--format", "river", "--publish", "fraud")
    assert "only ONNX models serve" in told
    assert "--publish" in refused(2, "export", "fraud", "--topic", "t")
    assert "no name for a model" in refused(2, "export", "fraud", "--topic", "t", "--publish", "a/b")
    assert "cannot be written" in refused(2, "export", "fraud", "--topic", "t", "--out", tmp_path / "no" / "out")
    assert not out.exists()


def test_a_file_that_no_job_could_use_is_not_sent(stored: dict[tuple[str, str], Snapshot], tmp_path: Path) -> None:
    file, engine = tmp_path / "file", engine_of()
    for data, told in (
        (b"garbage", "The file is no snapshot"),
        (snapshot_to_file(snapshot_of(engine, blob=b"\x01bad")), "is damaged"),
        (snapshot_to_file(snapshot_of(engine, spec="{}")), "its spec is not that of an engine"),
    ):
        file.write_bytes(data)
        assert told in refused(1, "import", file, "--topic", "t")
    assert stored == {}
    assert "does not exist" in refused(2, "import", tmp_path / "none", "--topic", "t")


@pytest.mark.cluster
def test_a_learned_model_is_published_to_the_sql_functions(broker: str, topic_name: str, tmp_path: Path) -> None:
    learned, served = f"{topic_name}.snapshot.v1", f"{topic_name}.models.v1"
    create_topics(broker, {learned: {"compact": True}})
    engine = engine_of()
    SnapshotTopic(broker, learned).publish(snapshot_of(engine))
    at = ("--topic", learned, "--brokers", broker)
    words = ("export", "fraud", *at, "--models", served, "--publish", "scorer")
    first = snapshots(*words, "--note", "tonight", "--out", tmp_path / "fraud.onnx")
    assert "published as 'scorer', version 1" in first.stdout
    version, _ = ModelTopic(broker, served).find("scorer", 1)
    assert (version.blob, version.note) == ((tmp_path / "fraud.onnx").read_bytes(), "tonight")
    for amount in (0.1, 2.0, -3.0) * 50:
        engine.learn({"amount": amount, "age": 3.0}, amount > 0)
    SnapshotTopic(broker, learned).publish(snapshot_of(engine))
    facts = json.loads(snapshots(*words, "--no-serve", "--json").stdout)
    assert (facts["version"], facts["published_version"], facts["serving"]) == (450, 2, 1)
    facts = json.loads(snapshots(*words, "--json").stdout)
    assert (facts["published_version"], facts["serving"]) == (3, 3)

    shown = CliRunner().invoke(main, ["models", "show", "scorer", "--topic", served, "--brokers", broker, "--json"])
    about = json.loads(shown.stdout)
    assert (about["version"], about["serves"], about["file"]) == (3, True, "fraud.onnx")
    assert [(node["name"], node["type"]) for node in about["inputs"]] == [
        ("amount", "tensor(double)"),
        ("age", "tensor(double)"),
    ]
    sent = tmp_path / "fraud.avro"
    assert snapshots("export", "fraud", *at, "--format", "river", "--out", sent).exit_code == 0
    copy = ("--topic", f"{topic_name}.copy.v1", "--brokers", broker)
    assert snapshots("import", sent, *copy).exit_code == 0
    (listed,) = json.loads(snapshots("list", *copy, "--json").stdout)
    assert (listed["model"], listed["version"]) == ("fraud", 450)

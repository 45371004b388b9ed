"""The SQL functions as an analyst calls them: ``sql-client.sh`` and ``sql-gateway.sh`` before a cluster of processes.

The Python of the cluster and of the client has no Thalweg: it comes in the bundle, or in the archive of an environment.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from cluster import StandaloneCluster, python_without_thalweg
from conftest import lacking
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sqlclient import Distribution, processes_of
from thalweg.connector.errors import SetupError
from thalweg.jobs.bundle import bundle
from thalweg.jobs.jars import gateway_jars

pytestmark = pytest.mark.cluster
ROWS = 40
FUNCTIONS = ("onnx_score", "onnx_label", "onnx_vector", "onnx_proba", "onnx_predict")
ANSWERS = (
    "id BIGINT, score DOUBLE, label STRING, vec ARRAY<DOUBLE>, proba MAP<STRING, DOUBLE>, pred ROW<label STRING,"
    " score DOUBLE, probabilities MAP<STRING, DOUBLE>, status STRING, reason STRING, model_id STRING,"
    " model_version STRING>"
)


class Bench(NamedTuple):
    """What the tests share: the tools, and files that each process of this machine can read."""

    tools: Distribution
    cluster: StandaloneCluster
    folder: Path

    @property
    def model(self) -> str:
        return str(self.folder / "m.onnx")

    @property
    def with_bundle(self) -> list[str]:
        # -pyexec is for the workers; planning a call runs Python on the client, and -pyclientexec says which.
        python = str(self.cluster.python)
        return ["-pyfs", str(self.folder / "thalweg.zip"), "-pyexec", python, "-pyclientexec", python]

    def script(self, parallelism: int, *functions: str) -> str:
        return "".join(
            f"{statement};\n"
            for statement in (
                "SET 'sql-client.execution.result-mode' = 'tableau'",
                "SET 'table.dml-sync' = 'true'",
                f"SET 'parallelism.default' = '{parallelism}'",
                self.table("points", "id BIGINT, a DOUBLE, b DOUBLE, c DOUBLE"),
                *map(function, functions),
            )
        )

    def table(self, name: str, columns: str) -> str:
        path = (self.folder / name).as_uri()
        return (
            f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')"
        )

    def rows(self, name: str) -> list[dict[str, Any]]:
        files = [file for file in (self.folder / name).rglob("*") if file.is_file() and file.name[0] not in "._"]
        return sorted((json.loads(line) for file in files for line in open(file)), key=lambda row: row["id"])

    def expected(self) -> tuple[list[str], Any]:
        """Return what onnxruntime itself says to all points but the last, which has a NULL: labels, probabilities."""
        points = np.array([[row[name] for name in "abc"] for row in self.rows("points")[:-1]], np.float32)
        labels, proba = onnxruntime.InferenceSession(self.model).run(None, {"X": points})
        return [str(label) for label in labels], np.array([[row[0], row[1]] for row in proba])


def function(name: str) -> str:
    return f"CREATE FUNCTION {name} AS 'thalweg.udfs.sql.{name}' LANGUAGE PYTHON"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    try:
        gateway_jars()
    except SetupError as error:
        lacking(str(error))
    folder = tmp_path_factory.mktemp("sql")
    for name in ("cluster", "flink", "points"):
        (folder / name).mkdir()
    points = np.random.default_rng(5).normal(size=(ROWS, 3)).astype(np.float32)
    model = LogisticRegression().fit(points, (points.sum(axis=1) > 0).astype(int))
    (folder / "m.onnx").write_bytes(
        to_onnx(model, points[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    )
    rows: list[dict[str, Any]] = [
        {"id": at, **dict(zip("abc", map(float, p), strict=True))} for at, p in enumerate(points)
    ]
    rows.append({"id": ROWS, "a": 1.0, "b": 1.0, "c": None})
    for name, some in (("one", rows[::2]), ("two", rows[1::2])):
        (folder / "points" / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in some))
    (folder / "thalweg.zip").write_bytes(bundle())
    # No TaskManager is to be killed here: the short heartbeat of the other test would count a busy machine as death.
    heartbeat = {"heartbeat.timeout": "60000", "heartbeat.interval": "10000"}
    tools = Distribution(folder / "flink")
    cluster = StandaloneCluster(folder / "cluster", heartbeat, tools.home)
    try:
        cluster.add_task_manager()
        cluster.add_task_manager()
        tools.point_at(cluster)
        yield Bench(tools, cluster, folder)
    finally:
        cluster.close()
    cluster.wait(lambda: not processes_of(folder), "no process is left", 20)


def test_the_client_answers_as_onnxruntime_does_streaming_and_batch(bench: Bench) -> None:
    call = f"('{bench.model}', a, b, c)"
    script = bench.script(2, *FUNCTIONS)
    for mode in ("streaming", "batch"):
        script += f"SET 'execution.runtime-mode' = '{mode}';\n{bench.table(mode, ANSWERS)};\n"
        script += f"INSERT INTO {mode} SELECT id, {', '.join(name + call for name in FUNCTIONS)} FROM points;\n"
    said = bench.tools.client(script, *bench.with_bundle)
    assert "[ERROR]" not in said, said
    labels, proba = bench.expected()
    for mode in ("streaming", "batch"):
        *answers, refused = bench.rows(mode)
        assert [row["id"] for row in answers] == list(range(ROWS)), said
        assert [row["label"] for row in answers] == [row["pred"]["label"] for row in answers] == labels
        np.testing.assert_allclose([row["score"] for row in answers], proba[:, 1], atol=1e-6)
        np.testing.assert_allclose([row["vec"] for row in answers], proba, atol=1e-6)
        np.testing.assert_allclose([[row["proba"]["0"], row["proba"]["1"]] for row in answers], proba, atol=1e-6)
        assert all(row["pred"]["probabilities"] == row["proba"] for row in answers)
        assert {(row["pred"]["status"], row["pred"]["model_id"]) for row in answers} == {("ok", bench.model)}
        assert [refused[name] for name in ("id", "score", "label", "vec", "proba")] == [ROWS, None, None, None, None]
        assert refused["pred"]["status"] == "refused"
        assert "NULL" in refused["pred"]["reason"].upper()


def test_the_client_ships_a_virtual_environment(bench: Bench) -> None:
    # Proved: Thalweg comes out of the archive alone, and the archive's own Python runs it on each TaskManager.
    # Not proved: that all packages fit into the archive (a .pth file leads to those of this machine, since a copy has
    # 1.5 GB), nor that it works on another machine: a virtual environment needs the Python it was made with there.
    made = bench.folder / "made" / "venv"
    own = python_without_thalweg(made)
    # The files that pip would put there for the wheel.
    shutil.unpack_archive(bench.folder / "thalweg.zip", own)
    archive = shutil.make_archive(str(bench.folder / "venv"), "zip", made.parent, "venv")
    flags = ["-pyarch", archive, "-pyexec", "venv.zip/venv/bin/python", "-pyclientexec", str(made / "bin" / "python")]
    query = f"SELECT id, onnx_score('{bench.model}', a, b, c) AS score FROM points WHERE c IS NOT NULL;\n"
    said = bench.tools.client(bench.script(2, "onnx_score") + query, *flags)
    assert "[ERROR]" not in said, said
    found = dict(re.findall(r"^\| \+I \| +(\d+) \| +([\d.E-]+) \|$", said, re.MULTILINE))
    assert len(found) == ROWS, said
    np.testing.assert_allclose([float(found[str(at)]) for at in range(ROWS)], bench.expected()[1][:, 1], atol=1e-6)


def test_the_gateway_answers_over_rest(bench: Bench) -> None:
    with bench.tools.gateway() as gateway:
        # Either way will do for each of them: a property of the session, or SET before the first call is planned.
        gateway.open({"parallelism.default": "2", "python.files": str(bench.folder / "thalweg.zip")})
        for key in ("python.executable", "python.client.executable"):
            gateway.run(f"SET '{key}' = '{bench.cluster.python}'")
        gateway.run(bench.table("points", "id BIGINT, a DOUBLE, b DOUBLE, c DOUBLE"))
        for name in ("onnx_score", "onnx_label"):
            gateway.run(function(name))
        arguments = f"('{bench.model}', a, b, c)"
        found = dict(gateway.run(f"SELECT id, onnx_score{arguments} FROM points WHERE onnx_label{arguments} = '1'"))
        gateway.close()
    labels, proba = bench.expected()
    chosen = [at for at, label in enumerate(labels) if label == "1"]
    assert sorted(found) == chosen
    np.testing.assert_allclose([found[at] for at in chosen], proba[chosen, 1], atol=1e-6)


def test_flink_run_takes_a_sql_file_to_the_cluster(bench: Bench) -> None:
    columns = (
        "id BIGINT, a DOUBLE, b DOUBLE, c DOUBLE, y AS a > 0, ts AS TO_TIMESTAMP_LTZ(id, 3), WATERMARK FOR ts AS ts"
    )
    file = bench.folder / "learn.sql"
    file.write_text(
        bench.table("points", columns)
        + ";\nCREATE MODEL odd INPUT (a DOUBLE, b DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = '${provider}',"
        " 'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()', 'input-table' = 'points',"
        " 'event-id' = 'id', 'label' = 'y', 'order' = 'arrival');\n"
        + bench.table("learned", "id STRING, learned BIGINT, status STRING")
        + ";\nINSERT INTO learned SELECT event_id, learned, status FROM odd_predictions;\n"
    )
    said = bench.tools.flink_run(*bench.with_bundle, "-pym", "thalweg.jobs", "run", str(file), "-D", "provider=river")
    found = re.search(r"job (\w+) is submitted to the cluster of 'flink run'", said)
    assert found, said
    bench.cluster.wait(lambda: bench.cluster.get(f"jobs/{found[1]}")["state"] == "FINISHED", "the job ends", 120)
    rows = bench.rows("learned")
    assert sorted(row["learned"] for row in rows) == list(range(ROWS + 1)), rows
    # What a mini cluster of one machine needs has no place here, such as three attempts to restart.
    told = bench.cluster.get(f"jobs/{found[1]}/config")["execution-config"]
    assert "fixed delay" not in told["restart-strategy"].lower(), told


def test_the_client_says_in_one_sentence_what_is_wrong_with_a_call(bench: Bench) -> None:
    script = bench.script(1, "onnx_score") + bench.table("wrong", "id BIGINT, score DOUBLE") + ";\n"
    calls = ("'/nowhere/m.onnx', a, b, c", f"'{bench.model}', a, b", f"'{bench.model}', a, b, TO_TIMESTAMP_LTZ(id, 3)")
    for call in calls:
        script += f"INSERT INTO wrong SELECT id, onnx_score({call}) FROM points;\n"
    said = bench.tools.client(script + "QUIT;\n", *bench.with_bundle, typed=True)
    # The last line of each error, below what Python and Beam tell.
    assert re.findall(r"^thalweg\.connector\.errors\.ConfigError: (.+)$", said, re.MULTILINE) == [
        "model '/nowhere/m.onnx': cannot be read (No such file or directory). Check the path; on a cluster every"
        " TaskManager must have the file.",
        f"model '{bench.model}', features: the model takes 3 and the call gives 2; its inputs: X tensor(float)"
        " ['n', 3]. Give them all, in the order of the model, or one ARRAY per input.",
        "feature 3 of onnx_score: TIMESTAMP_LTZ arrives in Python shifted by the time zone of the session."
        " Pass a number instead, such as a BIGINT of epoch milliseconds.",
    ], said
    assert not bench.rows("wrong")

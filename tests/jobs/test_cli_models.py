"""``thalweg models``: what it says, what it refuses, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from thalweg.connector import client
from thalweg.connector.errors import ConfigError
from thalweg.connector.models import ModelTopic
from thalweg.jobs.cli import main
from thalweg.jobs.cli_publish import check_onnx
from thalweg.udfs.engines.golden_rows import check_golden
from thalweg.udfs.engines.onnx_reference import parse_reference

NOBODY = ("--brokers", "127.0.0.1:1")


def line(slope: float = 2.0, external: bool = False) -> bytes:
    """The model y = slope * x, for rows of one number."""
    weight = numpy_helper.from_array(np.array([[slope]], np.float32), "slope")
    if external:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights.bin")
    shape = ["rows", 1]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "slope"], ["y"])], "line", inputs, outputs, [weight])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def models(*words: str | Path) -> Result:
    result = CliRunner().invoke(main, ["models", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def facts(*words: str | Path) -> Any:
    result = models(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(code: int, *words: str | Path) -> str:
    result = models(*words)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


def labelled(folder: Path) -> Path:
    """600 rows of which the model y = 2 * x answers most rightly."""
    path = folder / "rows.csv"
    dice = np.random.default_rng(0)
    xs = dice.uniform(0.0, 0.5, 600)
    late = 2 * xs + dice.normal(0, 0.1, 600) > 0.5
    path.write_text("x,late\n" + "".join(f"{x},{str(bool(y)).lower()}\n" for x, y in zip(xs, late, strict=True)))
    return path


def test_a_bound_that_is_not_kept_is_told_before_anything_is_sent(tmp_path: Path, file: Path) -> None:
    rows = labelled(tmp_path)
    given = ("publish", "line", file, *NOBODY, "--auc-threshold", "0.5")
    assert "its auc was not measured" in refused(2, *given)
    assert "there is no column 'label'. It has: x, late" in refused(2, *given, "--evaluate", rows)
    told = refused(2, *given, "--evaluate", rows, "--label", "late", "--num-eval-samples", "1000")
    assert "its samples is 600, and at least 1000 is asked for" in told
    rows.write_text("x,late\n1,yes\n")
    assert "1 classes" in refused(2, *given, "--evaluate", rows, "--label", "late")


def test_golden_rows_are_tried_before_anything_is_sent(tmp_path: Path, file: Path) -> None:
    rows = tmp_path / "golden.csv"
    rows.write_text("x,predicted\n1,2\n2,4\n3,7\n")
    given = ("publish", "line", file, *NOBODY, "--golden", rows)
    told = refused(2, *given, "--golden-score", "predicted")
    assert "answers 1 of 3 golden rows otherwise than its training library (row 3: 6 instead of 7)" in told
    assert "there is no column 'score'. It has: x, predicted. Name it by --golden-score." in refused(
        2, *given, "--golden-score", "score"
    )
    assert "the model takes 1 and the call gives 2" in refused(2, *given)
    assert "Give them with --golden" in refused(2, "publish", "line", file, *NOBODY, "--golden-label", "x")
    assert "unknown option" in refused(2, *given, "--options", "outputs=y")
    rows.write_text("")
    assert "there are no rows in it" in refused(2, *given)
    rows.write_text("x,predicted\n1,two\n")
    assert "holds a score that is no number" in refused(2, *given, "--golden-score", "predicted")
    rows.write_text("x\n1\n\n,\n")
    assert "golden row 2 has no answer ('x' is NULL)" in refused(2, *given)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "line.onnx"
    path.write_bytes(line())
    return path


def test_what_an_onnx_file_takes_and_gives() -> None:
    assert check_onnx(line(), "file") == {
        "inputs": [{"name": "x", "type": "tensor(float)", "shape": ["rows", 1]}],
        "outputs": [{"name": "y", "type": "tensor(float)", "shape": ["rows", 1]}],
    }


@pytest.mark.parametrize("data", [b"", b"garbage", line()[:-20], b"\x80" * 50, bytes(100)])
def test_what_is_no_onnx_file_is_told_by_its_place(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^file x: is not a model that ONNX Runtime"):
        check_onnx(data, "file x")


def test_files_that_cannot_serve_are_refused_before_anything_is_sent(tmp_path: Path, file: Path) -> None:
    # Nobody is at the address: exit code 2 and not 3 says that nobody was asked.
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"garbage")
    assert f"file {bad}: is not a model that ONNX Runtime" in refused(2, "publish", "line", bad, *NOBODY)
    bad.write_bytes(line(external=True))
    assert "keeps weights in other files (slope)" in refused(2, "publish", "line", bad, *NOBODY)
    assert "does not exist" in refused(2, "publish", "line", tmp_path / "none.onnx", *NOBODY)
    assert "is a directory" in refused(2, "publish", "line", tmp_path, *NOBODY)
    assert "model 'a/b': is no name for a model" in refused(2, "publish", "a/b", file, *NOBODY)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--auc-threshold", "1.5"),
        ("--auc-threshold", "x"),
        ("--log-loss-threshold", "0"),
        ("--num-eval-samples", "0"),
        ("--num-eval-samples", "1.5"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(file: Path, option: str, value: str) -> None:
    assert option in refused(2, "publish", "line", file, option, value, *NOBODY)


def test_without_a_broker_each_command_says_so(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(client, "_CONNECT_MS", 300)
    for words in (
        ("publish", "line", file),
        ("list",),
        ("show", "line"),
        ("promote", "line", "1"),
        ("rollback", "line"),
        ("retire", "line", "1"),
    ):
        assert "127.0.0.1:1 cannot be used" in refused(3, *words, *NOBODY), words


def test_numbers_of_versions_are_checked() -> None:
    for command in ("promote", "retire", "show"):
        for number in ("0", "x", "1.5"):
            assert "VERSION" in refused(2, command, "line", number, *NOBODY)


@pytest.mark.cluster
def test_a_model_from_publish_to_retire(broker: str, topic_name: str, tmp_path: Path, file: Path) -> None:
    at = ("--brokers", broker, "--topic", topic_name)
    assert "has no topic" in refused(3, "list", *at)
    gate = ("--auc-threshold", "0.8", "--log-loss-threshold", "0.4", "--num-eval-samples", "500", "--allow-new-inputs")
    measured = ("--evaluate", labelled(tmp_path), "--label", "late")
    first = models("publish", "line", file, "--note", "June", *gate, *measured, *at)
    assert first.stdout == f"line: version 1 is published ({len(line())} bytes), it serves.\n"
    second = models("publish", "line", file, "--no-serve", *at)
    assert second.stdout == f"line: version 2 is published ({len(line())} bytes), version 1 serves.\n"
    third = facts("publish", "line", file, "--by-reference", *at)
    assert (third["version"], third["serves"], third["previous"], third["gate"]) == (3, True, [1], {})
    assert third["uri"] == file.resolve().as_uri()

    rows = tmp_path / "golden.csv"
    rows.write_text("x,predicted\n" + "".join(f"{x},{2 * x}\n" for x in range(300)))
    golden = ("--golden", rows, "--golden-score", "predicted", "--golden-rows", "3", "--options", "output=y")
    fourth = facts("publish", "gold", file, *golden, *at)
    assert {part: fourth["golden"][part] for part in ("rows", "tolerance", "options")} == {
        "rows": 3,
        "tolerance": 1e-4,
        "options": "output=y",
    }
    stored = ModelTopic(broker, topic_name).models()["gold"].versions[1]
    assert (stored.golden["columns"], stored.golden["numbers"]) == ([[0, 100, 200]], [[0], [200], [400]])
    check_golden(stored.golden, stored.blob, None, parse_reference("gold"))

    listed = next(one for one in facts("list", *at) if one["name"] == "line")
    assert (listed["name"], listed["serving"], listed["versions"]) == ("line", 3, [1, 2, 3])
    table = models("list", *at).stdout
    assert table.split()[:6] == ["name", "serving", "versions", "size", "published", "sha256"]
    assert listed["sha256"][:12] in table
    assert listed["sha256"] not in table

    shown = facts("show", "line", "1", *at)
    assert (shown["note"], shown["file"], shown["size"], shown["uri"]) == ("June", "line.onnx", len(line()), None)
    assert shown["gate"] == {
        "auc-threshold": 0.8,
        "log-loss-threshold": 0.4,
        "num-eval-samples": 500,
        "allow-new-inputs": True,
    }
    assert shown["metrics"]["samples"] == 600
    assert shown["metrics"]["auc"] > 0.95
    assert shown["inputs"] == [{"name": "x", "type": "tensor(float)", "shape": ["rows", 1]}]
    assert "inputs" not in facts("show", "line", *at)  # the file of version 3 is not in the topic
    text = models("show", "line", "1", *at).stdout
    assert "allow-new-inputs yes" in text
    assert "x tensor(float) ['rows', 1]" in text

    assert models("promote", "line", "2", *at).stdout == "line: version 2 serves. Versions: 1, 2, 3.\n"
    assert facts("rollback", "line", *at) == {"name": "line", "serving": 3, "previous": [1], "versions": [1, 2, 3]}
    assert "version 3: it serves, and cannot be retired. Promote another" in refused(2, "retire", "line", "3", *at)
    assert models("retire", "line", "1", *at).stdout == "line: version 3 serves. Versions: 2, 3.\n"
    for command in ("promote", "retire", "show"):
        assert "no such version. There are 2, 3." in refused(2, command, "line", "7", *at)
        assert "Did you mean 'line'?" in refused(2, command, "lime", "1", *at)
    assert "Did you mean 'line'?" in refused(2, "rollback", "lime", *at)
    assert "no version that served before is left" in refused(2, "rollback", "line", *at)
    for bound, told in (("0.999", "auc is 0.9"), ("nan", "'auc-threshold': cannot be nan")):
        assert told in refused(2, "publish", "line", file, "--auc-threshold", bound, *measured, *at)
    assert next(one["versions"] for one in facts("list", *at) if one["name"] == "line") == [2, 3]


@pytest.mark.cluster
def test_what_this_runtime_cannot_load_is_shown_nevertheless(broker: str, topic_name: str) -> None:
    topic = ModelTopic(broker, topic_name)
    topic.create()
    topic.publish("odd", b"from the future", file="odd.onnx")
    topic.publish("tree", b"of another engine", file="tree.txt", kind="other")
    at = ("--brokers", broker, "--topic", topic_name)
    assert "is not a model that ONNX Runtime" in facts("show", "odd", *at)["unreadable"]
    assert not {"inputs", "unreadable"} & facts("show", "tree", *at).keys()
    assert "odd.onnx" in models("show", "odd", *at).stdout

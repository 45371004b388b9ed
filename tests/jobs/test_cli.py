from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from thalweg.connector import kafka
from thalweg.connector.errors import ConfigError, ModelError, Problem, SetupError
from thalweg.jobs import cli_snapshots
from thalweg.jobs.cli import main


def thalweg(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_command_has_an_example_and_help_for_each_option() -> None:
    found = dict(commands(main))
    assert ("broker", "start") in found
    for path, command in found.items():
        shown = thalweg(*path, "--help")
        assert shown.exit_code == 0, path
        assert "\\b" not in shown.output, path
        assert f"thalweg {path[0]}" in shown.output.partition("Example:")[2], path
        assert all(option.help for option in command.params if isinstance(option, click.Option)), path


def test_help_is_quick_because_it_imports_little() -> None:
    code = (
        "import sys\n"
        "from thalweg.jobs.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyflink', 'river', 'onnxruntime', 'numpy', 'pandas', 'apache_beam'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Exit codes" in done.stdout


def test_version() -> None:
    assert thalweg("--version").output == "thalweg 0.1.0\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([Problem("a", "b.", "c."), Problem("d", "e.", "f.")]), 2),
        (SetupError("g."), 3),
        (ModelError("h."), 1),
    ],
)
def test_errors_are_sentences_with_a_code(monkeypatch: pytest.MonkeyPatch, error: Exception, code: int) -> None:
    def raises(brokers: str, topic: str) -> None:
        raise error

    monkeypatch.setattr(cli_snapshots, "_latest", raises)
    result = thalweg("snapshots", "list", "--topic", "t")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"{error}\n")


def test_ddl() -> None:
    result = thalweg("ddl", "label", "metric", "--app", "flights", "--brokers", "127.0.0.1:7")
    assert result.exit_code == 0
    assert result.stdout.count("CREATE TABLE") == 2
    assert "'topic' = 'flights.label.v1'" in result.stdout
    assert "'properties.bootstrap.servers' = '127.0.0.1:7'" in result.stdout
    assert set(json.loads(thalweg("ddl", "--json").stdout)) >= {"label", "prediction", "snapshot", "metric", "alert"}
    unknown = thalweg("ddl", "lable", "metrik")
    assert unknown.exit_code == 2
    assert unknown.stderr.count("no such schema.") == 2


@dataclass
class Stored:
    model: str
    key: str
    kind: str = "river"
    spec: str = "{}"
    version: int = 7
    event_time_ms: int = 1_357_000_000_123
    blob: bytes = b"\x01model"
    sha256: str = "ab" * 32
    size: int = 6
    writer: str = "thalweg 0.1.0"
    signature: str = "ed25519:ci:abc"
    metrics: dict[str, float] = field(default_factory=lambda: {"accuracy": 0.5})


def test_snapshots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Topic:
        def __init__(self, brokers: str, topic: str, trust: object) -> None:
            assert (brokers, topic, trust) == ("127.0.0.1:9092", "t", None)

        def latest(self) -> dict[tuple[str, str], Stored]:
            return {("delay", "UA"): Stored("delay", "UA"), ("delay", "AA"): Stored("delay", "AA")}

    monkeypatch.setattr(kafka, "SnapshotTopic", Topic)
    listed = json.loads(thalweg("snapshots", "list", "--topic", "t", "--json").stdout)
    assert [(row["key"], row["version"], row["event_time"]) for row in listed] == [
        ("AA", 7, "2013-01-01T00:26:40.123+00:00"),
        ("UA", 7, "2013-01-01T00:26:40.123+00:00"),
    ]
    assert thalweg("snapshots", "list", "--topic", "t").stdout.count("delay") == 2
    blob = tmp_path / "blob"
    shown = thalweg("snapshots", "show", "delay", "--key", "UA", "--topic", "t", "--json", "--blob", str(blob))
    assert json.loads(shown.stdout)["metrics"] == {"accuracy": 0.5}
    assert blob.read_bytes() == b"\x01model"
    assert "accuracy" in thalweg("snapshots", "show", "delay", "--key", "UA", "--topic", "t").stdout
    missing = thalweg("snapshots", "show", "delay", "--topic", "t")
    assert missing.exit_code == 2
    assert "no snapshot with key ''" in missing.stderr


@pytest.mark.cluster
def test_broker_from_start_to_stop(broker: str, tmp_path: Path) -> None:
    # 'broker' is asked for its rule about what the machine lacks.
    state = ("--state", str(tmp_path))
    assert thalweg("broker", "status", *state).exit_code == 1
    taken = thalweg("broker", "start", *state, "--port", broker.rpartition(":")[2])
    assert taken.exit_code == 3
    assert "is taken" in taken.stderr
    try:
        started = thalweg("broker", "start", *state, "--port", "0", "--json")
        assert started.exit_code == 0, started.output
        facts = json.loads(started.stdout)
        assert json.loads(thalweg("broker", "status", *state, "--json").stdout) == facts
        assert facts["bootstrap"] in thalweg("broker", "status", *state).stdout
    finally:
        stopped = thalweg("broker", "stop", *state)
    assert stopped.stdout == "Stopped.\n"
    assert json.loads(thalweg("broker", "stop", *state, "--json").stdout) == {"stopped": False}
    assert json.loads(thalweg("broker", "status", *state, "--json").stdout) == {"running": False}

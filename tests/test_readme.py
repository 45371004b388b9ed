"""Every command and SQL block of the README is tried; its table of options is the table of options."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from streams import publish, run
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, raw_records
from thalweg.jobs.cli import main
from thalweg.jobs.script import parse_script
from thalweg.udfs import sql
from thalweg.udfs.engines.onnx_reference import OPTIONS as REFERENCE
from thalweg.udfs.logic.options import OPTIONS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.endswith((".onnx", ".csv")):
            Path(word).touch()
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    assert words[0] == "thalweg"
    command: Any = main
    context = click.Context(main)
    rest = words[1:]
    while isinstance(command, click.Group):
        command = command.get_command(context, rest.pop(0))
        assert command is not None, line
    command.make_context("thalweg", [*rest], resilient_parsing=False)


def test_the_table_of_options_is_complete() -> None:
    for name, option in OPTIONS.items():
        assert f"| `{name}` | {'' if option.default is None else f'`{option.default}`'} | {option.meaning}" in TEXT


def test_python_blocks_are_python() -> None:
    for block in blocks("python"):
        ast.parse(block)


@pytest.mark.cluster
def test_the_sql_of_the_readme_runs_as_it_stands(broker: str, tmp_path: Path) -> None:
    declared, function, joined = blocks("sql")
    base = 1_700_000_000_000
    flown = [
        (f'{{"flight_id": "f{n}", "carrier": "UA", "distance": {n}.0, "dep_delay": {n % 9}.0}}', n) for n in range(90)
    ]
    landed = [(f'{{"flight_id": "f{n}", "late": {"true" if n % 9 > 4 else "false"}}}', n + 5) for n in range(90)]
    publish(broker, "flown", [(text.encode(), base + n * 60_000) for text, n in flown])
    publish(broker, "landed", [(text.encode(), base + n * 60_000) for text, n in landed])
    create_topics(broker, {"scores": {}})
    create_topics(broker, {"delay.snapshots": {"compact": True}})
    run(
        _ending(
            declared.replace("'label-timeout' = '12 h'", "'label-timeout' = '12 h', 'snapshot-every' = '9 events'")
            + create_table("snapshot", "snapshot", "delay.snapshots", broker)
            + ";\n"
            + "INSERT INTO snapshot SELECT * FROM delay_snapshots;\n",
            broker,
        )
    )
    assert len(_statuses(broker)) == 90
    assert _statuses(broker).count("ok") > 70

    tables = declared[: declared.index("CREATE MODEL")] + declared[declared.index("CREATE TABLE scores") :]
    tables = tables[: tables.index("INSERT")]
    model = tmp_path / "delay.onnx"
    rows = np.array([[n, n % 9] for n in range(90)], dtype=np.float32)
    fitted = LogisticRegression().fit(rows, rows[:, 1] > 4)
    model.write_bytes(to_onnx(fitted, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
    run(_ending(tables + function.replace("/models/delay.onnx", str(model)), broker))
    assert _statuses(broker)[90:] == ["ok"] * 90

    snapshot = create_table("snapshot", "snapshot", "delay.snapshots", broker) + ";\n"
    run(_ending(tables + snapshot + joined, broker))
    statuses = _statuses(broker)[180:]
    assert len(statuses) == 90
    assert statuses.count("ok") > 60  # the first flights left before there was a snapshot


def _ending(text: str, broker: str) -> str:
    """The only change: the topics end, so that the test does."""
    text = text.replace("'scan.startup.mode'", "'scan.bounded.mode' = 'latest-offset', 'scan.startup.mode'")
    text = text.replace(
        "'connector' = 'upsert-kafka'", "'connector' = 'upsert-kafka', 'scan.bounded.mode' = 'latest-offset'"
    )
    text = text.replace("${brokers}", broker)
    assert parse_script(text, "README.md", {})
    return text


def _statuses(broker: str) -> list[str]:
    return [json.loads(record.value)["status"] for record in raw_records(broker, "scores", {})]


def test_the_table_of_a_models_options_is_complete() -> None:
    for name, (_, default, meaning) in REFERENCE.items():
        shown = (
            ",".join(default) if isinstance(default, tuple) else f"{default:g}" if type(default) is float else default
        )
        assert f"| `{name}` | {f'`{shown}`' if shown != '' else ''} | {meaning} |" in TEXT


def test_the_table_of_functions_is_complete() -> None:
    for name in sql.__all__:
        assert f"`{name}(" in TEXT or f"`{name}`" in TEXT, name

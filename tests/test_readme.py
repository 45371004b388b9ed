"""Every command and SQL block of the README is tried; its table of options is the table of options."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from streams import publish, run
from thalweg.connector.kafka import create_topics, raw_records
from thalweg.jobs.cli import main
from thalweg.jobs.script import parse_script
from thalweg.udfs.logic.options import OPTIONS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line: str) -> None:
    words = shlex.split(line)
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
def test_the_sql_of_the_readme_runs_as_it_stands(broker: str) -> None:
    (sql,) = blocks("sql")
    base = 1_700_000_000_000
    flown = [
        (f'{{"flight_id": "f{n}", "carrier": "UA", "distance": {n}.0, "dep_delay": {n % 9}.0}}', n) for n in range(90)
    ]
    landed = [(f'{{"flight_id": "f{n}", "late": {"true" if n % 9 > 4 else "false"}}}', n + 5) for n in range(90)]
    publish(broker, "flown", [(text.encode(), base + n * 60_000) for text, n in flown])
    publish(broker, "landed", [(text.encode(), base + n * 60_000) for text, n in landed])
    create_topics(broker, {"scores": {}})
    # The only change: the topics end, so that the test does.
    sql = sql.replace("'scan.startup.mode'", "'scan.bounded.mode' = 'latest-offset', 'scan.startup.mode'")
    sql = sql.replace("${brokers}", broker)
    assert parse_script(sql, "README.md", {})
    run(sql)
    scores = [record.value for record in raw_records(broker, "scores", {})]
    assert len(scores) == 90
    assert sum(b'"status":"ok"' in value for value in scores) > 70

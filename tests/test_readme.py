"""Every command and SQL block of the README is tried; its table of options is the table of options."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from pyflink.common import Row, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from streams import publish, run
from thalweg.connector.ddl import create_table
from thalweg.connector.kafka import create_topics, raw_records
from thalweg.jobs.cli import main
from thalweg.jobs.environment import make_environment
from thalweg.jobs.script import parse_script
from thalweg.udfs import sql
from thalweg.udfs.engines.onnx_reference import OPTIONS as REFERENCE
from thalweg.udfs.logic.compare_options import COMPARE_OPTIONS
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
        if word.endswith((".onnx", ".csv", ".avro")):
            Path(word).touch()
        if word.endswith(".properties"):
            Path(word).write_text("security.protocol=PLAINTEXT\n")
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
    for name, option in (*OPTIONS.items(), *COMPARE_OPTIONS.items()):
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


@pytest.mark.cluster
def test_the_python_of_the_readme_runs_as_it_stands(broker: str) -> None:
    base = 1_700_000_000_000
    departures = [
        (f'{{"flight_id": "f{n}", "carrier": "UA", "distance": {n}.0, "dep_delay": {n % 9}.0}}', n) for n in range(90)
    ]
    arrivals = [(f'{{"flight_id": "f{n}", "late": {"true" if n % 9 > 4 else "false"}}}', n + 5) for n in range(90)]
    for topic, rows in (("flown.python", departures), ("landed.python", arrivals)):
        publish(broker, topic, [(text.encode(), base + n * 60_000) for text, n in rows])
    tables = _ending(
        blocks("sql")[0].replace("'flown'", "'flown.python'").replace("'landed'", "'landed.python'"), broker
    )
    t_env = make_environment("throughput", {}, None)
    for statement in parse_script(tables, "README.md", {})[:2]:
        t_env.execute_sql(statement.text)
    paid = [Row(f"p{n}", float(n % 7), float(n % 24), n % 7 > 3) for n in range(300)]
    fields = Types.ROW_NAMED(
        ["id", "amount", "hour", "fraud"], [Types.STRING(), Types.DOUBLE(), Types.DOUBLE(), Types.BOOLEAN()]
    )
    stream = StreamExecutionEnvironment(t_env._j_tenv.execEnv()).from_collection(paid, type_info=fields)
    names: dict[str, Any] = {
        "t_env": t_env,
        "payments": stream.assign_timestamps_and_watermarks(WatermarkStrategy.for_monotonous_timestamps()),
    }
    # So few examples make nobody sure.
    first, second = (block.replace("0.9", "0.5") for block in blocks("python"))
    exec(first, names)
    exec(second.replace('event_id="id",', 'event_id="id", order="arrival",'), names)
    sure = t_env.to_data_stream(t_env.from_path("sure"))
    picked = [
        found.map(lambda p: Row(p["model"], p["event_id"]), output_type=Types.ROW([Types.STRING(), Types.STRING()]))
        for found in (sure, names["alarms"])
    ]
    with picked[0].union(picked[1]).execute_and_collect() as rows:
        found = Counter(row[0] for row in rows)
    assert 10 < found["late"] < 60
    assert 30 < found["fraud"] < 200


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

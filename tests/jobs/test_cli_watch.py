"""``thalweg watch`` on real topics."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer
from rich.console import Console
from test_watch_view import NOW_MS, alert, metric, prediction
from thalweg.connector.ddl import topic
from thalweg.connector.kafka import create_topics
from thalweg.connector.wire import encode
from thalweg.jobs import cli_watch
from thalweg.jobs.cli import main
from thalweg.jobs.watch_state import WatchState


def watch(*words: str) -> Result:
    result = CliRunner().invoke(main, ["watch", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_an_application_is_watched_by_its_prefix(broker: str, topic_name: str) -> None:
    records = [
        *(("prediction", prediction()) for _ in range(20)),
        ("metric", metric("ROCAUC", "rolling", 0.8)),
        ("alert", alert("raised")),
    ]
    create_topics(broker, {topic(topic_name, kind): {} for kind in ("prediction", "metric", "alert")})
    producer = KafkaProducer(bootstrap_servers=broker)
    for kind, record in records:
        producer.send(topic(topic_name, kind), encode(kind, record), timestamp_ms=NOW_MS)
    producer.send(topic(topic_name, "metric"), b"\1junk")
    producer.close()

    found = watch("--app", topic_name, "--brokers", broker, "--once", "--json")
    assert found.exit_code == 0, found.output
    (model,) = json.loads(found.stdout)
    assert (model["model"], model["predictions"], model["rolling"]) == ("fraud", {"ok": 20}, {"ROCAUC": 0.8})
    some = watch(
        "--predictions", topic(topic_name, "prediction"), "--brokers", broker, "--once", "--json", "--newest", "5"
    )
    assert json.loads(some.stdout)[0]["predictions"] == {"ok": 5}
    text = watch("--app", topic_name, "--brokers", broker, "--once").stdout
    assert "ROCAUC < 0.7" in text
    assert "1 records unreadable." in text
    assert watch("--metrics", f"{topic_name}.none", "--brokers", broker, "--once").exit_code == 3
    assert watch("--app", f"{topic_name}.none", "--brokers", broker, "--once").exit_code == 3

    command = [
        sys.executable,
        "-m",
        "thalweg.jobs",
        "watch",
        "--brokers",
        broker,
        "--app",
        topic_name,
        "--every",
        "50 ms",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        seen = ""
        while "ROCAUC" not in seen:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            seen += line
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")


def test_on_a_terminal_the_screen_is_drawn_anew_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160, height=40)
    looks = iter([0.7, 0.8])

    def read(_: Any, state: WatchState, __: int) -> None:
        value = next(looks, None)
        if value is None:
            raise KeyboardInterrupt
        state.add("metric", metric("ROCAUC", "rolling", value), NOW_MS)

    monkeypatch.setattr(cli_watch, "_console", lambda: console)
    monkeypatch.setattr(cli_watch, "_read", read)
    with pytest.raises(KeyboardInterrupt):
        cli_watch._follow([], WatchState(), 1, 0.0)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.7" in written
    assert "▁█" in written
    assert written.count("\x1b[?1049h") == written.count("\x1b[?1049l") == 1  # the other screen, and back


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--app"),
        (("--app", "a b"), "a b"),
        (("--app", "a", "--every", "now"), "--every"),
        (("--app", "a", "--json"), "--once"),
    ],
)
def test_wrong_options_of_watch_end_with_2(words: tuple[str, ...], named: str) -> None:
    found = watch(*words)
    assert found.exit_code == 2
    assert named in found.stderr
